//! Metrics against scikit-learn (`reference/metrics.py`).

use std::collections::BTreeMap;

use luthier_nn::{Metric, Predicted, compute};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    kind: String,
    width: usize,
    predicted: Vec<f64>,
    truth: Vec<f64>,
    values: BTreeMap<String, f64>,
}

#[test]
fn metrics_agree_with_scikit_learn() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/metrics.json")).unwrap();
    assert_eq!(cases.len(), 9);
    for (number, case) in cases.iter().enumerate() {
        let probabilities: Vec<f32> = case.predicted.iter().map(|&p| p as f32).collect();
        let classes: Vec<u32> = case.truth.iter().map(|&t| t as u32).collect();
        let labels: Vec<f32> = case.truth.iter().map(|&t| t as f32).collect();
        let (probabilities, width) = (&probabilities[..], case.width);
        let predicted = match &*case.kind {
            "classes" => Predicted::Classes { probabilities, width, truth: &classes },
            "labels" => Predicted::Labels { probabilities, width, truth: &labels },
            _ => Predicted::Values { predicted: &case.predicted, width, truth: &case.truth },
        };
        for (name, want) in &case.values {
            let metric = Metric::named(name).unwrap();
            let measured = compute(&[metric], predicted);
            let got = measured.get(metric).unwrap_or_else(|| panic!("case {number}: {:?}", measured.notes));
            assert!(
                (got - want).abs() < 1e-6 * want.abs().max(1.0),
                "case {number}: {name} is {got}, not {want}"
            );
        }
    }
}

//! Every loss and its gradient against PyTorch in double precision (`reference/losses.py`).

use luthier_nn::{Arch, Loss, Targets, total_weight};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    loss: Loss,
    rows: usize,
    scores: Vec<f32>,
    classes: Option<Vec<u32>>,
    values: Option<Vec<f32>>,
    weights: Option<Vec<f32>>,
    sum: f64,
    gradient: Vec<f64>,
}

#[test]
fn losses_and_gradients_agree_with_pytorch() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/losses.json")).unwrap();
    assert_eq!(cases.len(), 34);
    for (number, case) in cases.iter().enumerate() {
        let targets = match (&case.classes, &case.values) {
            (Some(classes), None) => Targets::Classes(classes),
            (None, Some(values)) => Targets::Values(values),
            _ => panic!("case {number} has targets of one kind"),
        };
        let weights = case.weights.as_deref();
        let mut scores = case.scores.clone();
        let value = case.loss.value(Arch::new(), &scores, case.rows, targets, weights);
        let sum = case.loss.gradient(Arch::new(), &mut scores, case.rows, targets, weights);
        assert_eq!(value, sum, "case {number}: one sum with and without the gradient");
        let (mean, expected) =
            (sum / total_weight(case.rows, weights), case.sum / total_weight(case.rows, weights));
        assert!(
            (mean - expected).abs() < 1e-6 * expected.abs().max(1.0),
            "case {number}, {:?}: {mean}, not {expected}",
            case.loss
        );
        for (place, (&got, want)) in scores.iter().zip(&case.gradient).enumerate() {
            let close = (f64::from(got) - want).abs() < 1e-6 * want.abs().max(1.0);
            assert!(close, "case {number}, {:?}: slope {place} is {got}, not {want}", case.loss);
        }
    }
}

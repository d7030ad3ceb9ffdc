//! Every kind of layer on the Burn engine, by hand and by Burn's own operations, against PyTorch in double precision
//! (`reference/burn_layers.py`).
#![cfg(feature = "burn")]

use luthier_nn::{
    Batch, BurnEngine, Compute, Engine, Layout, Network, Optimizer, Purpose, Segment, Stream, Targets,
    Tensor, UpdateSettings, Updater, seed_from_u64,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    network: Network,
    rows: usize,
    parameters: Vec<Vec<f32>>,
    inputs: Vec<f32>,
    targets: Vec<f32>,
    predicted: Vec<f64>,
    loss: f64,
    gradients: Vec<Vec<f64>>,
    /// Place and value after the step of each moving statistic.
    moving: Vec<(usize, Vec<f64>)>,
}

impl Case {
    fn engine(&self, compute: Compute) -> BurnEngine {
        let still = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        let mut engine =
            BurnEngine::new(&self.network, updater(&self.network, still), &seed_from_u64(1), compute)
                .unwrap();
        let before = engine.weights();
        assert_eq!(before.len(), self.parameters.len(), "{}", self.name);
        let given = before.into_iter().zip(&self.parameters);
        let given: Vec<Tensor> =
            given.map(|(tensor, data)| Tensor { data: data.clone(), ..tensor }).collect();
        engine.load_weights(&given).unwrap();
        engine
    }

    fn check(&self, what: &str, got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len(), "{}: {what}", self.name);
        for (place, (&got, want)) in got.iter().zip(want).enumerate() {
            let difference = (f64::from(got) - want).abs();
            let allowed = 3e-5 * want.abs().max(1.0);
            assert!(difference < allowed, "{}: {what}[{place}] is {got}, not {want}", self.name);
        }
    }
}

fn updater(network: &Network, rule: Optimizer) -> Updater {
    let layout = Layout::new(network).expect("layers that fit");
    Updater::new(rule, UpdateSettings::default(), Segment::of(&layout))
}

fn agrees(compute: Compute) {
    let fixture: Fixture = serde_json::from_str(include_str!("reference/burn_layers.json")).unwrap();
    assert_eq!(fixture.cases.len(), 61);
    for case in &fixture.cases {
        let mut engine = case.engine(compute);
        let mut outputs = vec![0.0; case.predicted.len()];
        engine.predict(&case.inputs, case.rows, &mut outputs);
        case.check("prediction", &outputs, &case.predicted);

        let batch = Batch {
            rows: case.rows,
            inputs: &case.inputs,
            targets: Targets::Values(&case.targets),
            weights: None,
        };
        let mut unused = Stream::new(&seed_from_u64(0), Purpose::Dropout, 0);
        let loss = engine.train(batch, 0.0, &mut unused);
        case.check("loss", &[loss as f32], &[case.loss]);
        for (tensor, want) in engine.gradients().iter().zip(&case.gradients) {
            case.check(&format!("gradient of {}", tensor.name), &tensor.data, want);
        }
        let after = engine.weights();
        for (place, want) in &case.moving {
            case.check(&after[*place].name, &after[*place].data, want);
        }
    }
}

#[test]
fn layers_by_hand_agree_with_double_precision() {
    agrees(Compute::Cpu);
}

#[test]
fn layers_by_burns_operations_agree_with_double_precision() {
    agrees(Compute::PlainCpu);
}

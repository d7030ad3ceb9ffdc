//! Every layer of the dense engine against PyTorch in double precision (`reference/dense_layers.py`): predictions,
//! first gradients, and weights and moving statistics after four steps.

use luthier_nn::{
    Batch, DenseEngine, Engine, Layout, Network, Optimizer, Purpose, Segment, Stream, Targets, Tensor,
    UpdateSettings, Updater,
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
    inputs: Vec<Vec<f32>>,
    classes: Vec<Vec<u32>>,
    before: Vec<Vec<f32>>,
    predicted_before: Vec<f64>,
    losses: Vec<f64>,
    first_gradients: Vec<Vec<f64>>,
    after: Vec<Vec<f64>>,
    predicted_after: Vec<f64>,
}

impl Case {
    fn engine(&self) -> DenseEngine {
        let rule = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        let segments = Segment::of(&Layout::new(&self.network).unwrap());
        let updater = Updater::new(rule, UpdateSettings::default(), segments);
        let mut engine = DenseEngine::new(&self.network, updater, &[0; 32], self.rows).expect(&self.name);
        let before = engine.weights().into_iter().zip(&self.before);
        let before: Vec<Tensor> =
            before.map(|(tensor, data)| Tensor { data: data.clone(), ..tensor }).collect();
        engine.load_weights(&before).expect(&self.name);
        engine
    }

    fn check_prediction(&self, engine: &mut DenseEngine, want: &[f64], tolerance: f64) {
        let mut got = vec![0.0; want.len()];
        engine.predict(self.inputs.last().unwrap(), self.rows, &mut got);
        self.check("predictions", &got, want, tolerance);
    }

    fn check_tensors(&self, what: &str, got: &[Tensor], want: &[Vec<f64>], tolerance: f64) {
        assert_eq!(got.len(), want.len(), "{}", self.name);
        for (tensor, want) in got.iter().zip(want) {
            self.check(&format!("{what} of {}", tensor.name), &tensor.data, want, tolerance);
        }
    }

    fn check(&self, what: &str, got: &[f32], want: &[f64], tolerance: f64) {
        assert_eq!(got.len(), want.len(), "{}", self.name);
        for (&x, y) in got.iter().zip(want) {
            let close = (f64::from(x) - y).abs() < tolerance * (1.0 + y.abs());
            assert!(close, "{}: {what} are {got:?}, not {want:?}", self.name);
        }
    }
}

#[test]
fn layers_agree_with_pytorch() {
    let fixture: Fixture = serde_json::from_str(include_str!("reference/dense_layers.json")).unwrap();
    assert_eq!(fixture.cases.len(), 33);
    for case in &fixture.cases {
        let mut engine = case.engine();
        case.check_prediction(&mut engine, &case.predicted_before, 3e-6);
        for (step, want) in case.losses.iter().enumerate() {
            let targets = Targets::Classes(&case.classes[step]);
            let batch = Batch { rows: case.rows, inputs: &case.inputs[step], targets, weights: None };
            let mut unused = Stream::new(&[0; 32], Purpose::Dropout, 0);
            let loss = engine.train(batch, 0.1, &mut unused) / case.rows as f64;
            assert!((loss - want).abs() < 1e-5, "{}: loss {step} is {loss}, not {want}", case.name);
            if step == 0 {
                case.check_tensors("gradients", &engine.gradients(), &case.first_gradients, 5e-6);
            }
        }
        case.check_tensors("values", &engine.weights(), &case.after, 1e-5);
        case.check_prediction(&mut engine, &case.predicted_after, 2e-5);
    }
}

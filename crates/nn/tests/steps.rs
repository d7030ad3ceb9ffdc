//! First gradients and twenty steps of every optimiser against double precision (`reference/steps.py`).

use luthier_nn::{
    Activation, Batch, Dense, DenseEngine, Engine, Layer, Layout, Loss, Network, Optimizer, Penalty, Purpose,
    Segment, Stream, Targets, Tensor, UpdateSettings, Updater, WeightSettings,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    activations: Vec<Activation>,
    units: Vec<usize>,
    optimizer: Rule,
    learning_rate: f64,
    loss: Loss,
    l1: f64,
    l2: f64,
    inputs: Vec<Vec<f32>>,
    targets: Vec<Vec<f32>>,
    before: Vec<Vec<f32>>,
    first_gradients: Vec<Vec<f64>>,
    losses: Vec<f64>,
    after: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Rule {
    Sgd { momentum: f64, nesterov: bool },
    Adam { beta1: f64, beta2: f64, epsilon: f64 },
}

impl Case {
    fn network(&self) -> Network {
        let weights =
            WeightSettings { kernel: Penalty { l1: self.l1, l2: self.l2 }, ..WeightSettings::default() };
        let layer = |units, activation| {
            Layer::Dense(Dense { units, activation, bias: true, weights: weights.clone() })
        };
        let outputs = if self.loss == Loss::SquaredError { 1 } else { 3 };
        let hidden =
            self.units.iter().zip(&self.activations).map(|(&units, &activation)| layer(units, activation));
        let layers = hidden.chain([layer(outputs, Activation::Linear)]).collect();
        Network { input: vec![4], layers, loss: self.loss }
    }

    fn engine(&self) -> DenseEngine {
        let optimizer = match self.optimizer {
            Rule::Sgd { momentum, nesterov } => Optimizer::Sgd { momentum, nesterov },
            Rule::Adam { beta1, beta2, epsilon } => Optimizer::Adam { beta1, beta2, epsilon },
        };
        let network = self.network();
        let segments = Segment::of(&Layout::new(&network).unwrap());
        let updater = Updater::new(optimizer, UpdateSettings::default(), segments);
        let mut engine = DenseEngine::new(&network, updater, &[0; 32], 6).unwrap();
        let before = engine.weights().into_iter().zip(&self.before);
        let before: Vec<Tensor> =
            before.map(|(tensor, data)| Tensor { data: data.clone(), ..tensor }).collect();
        engine.load_weights(&before).unwrap();
        engine
    }

    fn step(&self, engine: &mut DenseEngine, step: usize) -> f64 {
        let classes: Vec<u32> = self.targets[step].iter().map(|&y| y as u32).collect();
        let targets = match self.loss {
            Loss::SquaredError => Targets::Values(&self.targets[step]),
            _ => Targets::Classes(&classes),
        };
        let mut unused = Stream::new(&[0; 32], Purpose::Dropout, 0);
        let batch = Batch { rows: 6, inputs: &self.inputs[step], targets, weights: None };
        engine.train(batch, self.learning_rate, &mut unused) / 6.0
    }
}

fn check(case: &Case, what: &str, got: &[Tensor], want: &[Vec<f64>], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (tensor, want) in got.iter().zip(want) {
        assert_eq!(tensor.data.len(), want.len());
        for (&got, want) in tensor.data.iter().zip(want) {
            let difference = (f64::from(got) - want).abs();
            assert!(difference < tolerance, "{}: {what} of {} is {got}, not {want}", case.name, tensor.name);
        }
    }
}

#[test]
fn gradients_and_steps_agree_with_double_precision() {
    let fixture: Fixture = serde_json::from_str(include_str!("reference/steps.json")).unwrap();
    assert_eq!(fixture.cases.len(), 17);
    for case in &fixture.cases {
        let mut engine = case.engine();
        for (step, want) in case.losses.iter().enumerate() {
            let loss = case.step(&mut engine, step);
            assert!(
                (loss - want).abs() < 1e-5 * want.max(1.0),
                "{}: loss {step} is {loss}, not {want}",
                case.name
            );
            if step == 0 {
                check(case, "gradient", &engine.gradients(), &case.first_gradients, 2e-6);
            }
        }
        check(case, "value", &engine.weights(), &case.after, 2e-5);
    }
}

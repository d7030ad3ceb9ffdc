//! Initial weights against moments of Keras's (`reference/initializers.py`), for every kind and for the fans of dense
//! layers and convolutions.

use luthier_nn::{
    Activation, Conv, Dense, Initializer, InitializerKind, Layer, Layout, Loss, Network, Padding,
    WeightSettings,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: InitializerKind,
    layer: String,
    inputs: usize,
    units: usize,
    field: usize,
    mean: f64,
    variance: f64,
    limit: f64,
}

impl Case {
    fn network(&self) -> Network {
        let kernel_initializer = Initializer { kind: self.kind, scale: Some(0.3) };
        let weights = WeightSettings { kernel_initializer, ..WeightSettings::default() };
        let (units, activation) = (self.units, Activation::Linear);
        let conv = Conv {
            filters: units,
            kernel_size: self.field,
            stride: 1,
            padding: Padding::Same,
            activation,
            bias: true,
            weights: weights.clone(),
        };
        let (input, layer) = match self.layer.as_str() {
            "dense" => (vec![self.inputs], Layer::Dense(Dense { units, activation, bias: true, weights })),
            "conv1d" => (vec![8, self.inputs], Layer::Conv1d(conv)),
            _ => (vec![self.inputs, 8, 8], Layer::Conv2d(conv)),
        };
        Network { input, layers: vec![layer], loss: Loss::SquaredError }
    }
}

/// Each kernel has 40,000 weights or more, so its variance has a relative standard error of at most 0.7 %, and its mean
/// one of σ / 200: the bands are five of those. The largest of so many numbers within limits comes within 1 % of them.
#[test]
fn moments_are_those_of_keras() {
    let fixture: Fixture = serde_json::from_str(include_str!("reference/initializers.json")).unwrap();
    assert_eq!(fixture.cases.len(), 3 * InitializerKind::ALL.len());
    for case in &fixture.cases {
        let layout = Layout::new(&case.network()).unwrap();
        let name = format!("{} of a {}", case.kind, case.layer);
        let weights = &layout.initial(&[3; 32])[layout.range("layers.1.kernel").unwrap()];
        let count = weights.len() as f64;
        assert!(count > 40_000.0);
        let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / count;
        let variance = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / count;
        let largest = weights.iter().map(|&w| f64::from(w.abs())).fold(0.0, f64::max);
        let error = case.variance.sqrt() / 40.0 + 1e-6;
        assert!((mean - case.mean).abs() < error, "{name}: mean {mean}, not {}", case.mean);
        assert!(
            (variance - case.variance).abs() <= 0.035 * case.variance + 1e-9,
            "{name}: variance {variance}, not {}",
            case.variance
        );
        let has_limit = !matches!(case.kind, InitializerKind::Normal | InitializerKind::Orthogonal);
        let near = (largest - case.limit).abs() <= 0.01 * case.limit;
        assert!(near || !has_limit, "{name}: at most {largest}, not {}", case.limit);
    }
}

/// What else a layer has starts as Keras starts it.
#[test]
fn biases_and_normalisations_start_with_constants() {
    let normal = Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-3 };
    let network = Network { input: vec![3], layers: vec![Layer::dense(2), normal], loss: Loss::SquaredError };
    let layout = Layout::new(&network).unwrap();
    let values = layout.initial(&[1; 32]);
    for (name, start) in [
        ("layers.1.bias", 0.0),
        ("layers.2.gamma", 1.0),
        ("layers.2.beta", 0.0),
        ("layers.2.moving_mean", 0.0),
        ("layers.2.moving_variance", 1.0),
    ] {
        assert_eq!(values[layout.range(name).unwrap()], [start; 2], "{name}");
    }
}

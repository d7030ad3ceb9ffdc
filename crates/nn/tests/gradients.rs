//! The engine's gradients against finite differences of an independent forward pass in double precision, for every
//! activation; and what dropout does.

use luthier_nn::{
    Activation, Batch, Dense, DenseEngine, Engine, InitializerKind, Layer, Loss, Network, Optimizer, Penalty,
    Purpose, Stream, Targets, WeightSettings,
};

const ROWS: usize = 7;
const PENALTY: Penalty = Penalty { l1: 0.01, l2: 0.03 };
const PLAIN: Optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };

fn network(activation: Activation, loss: Loss) -> Network {
    let weights = WeightSettings {
        kernel_initializer: InitializerKind::HeNormal.into(),
        kernel: PENALTY,
        ..WeightSettings::default()
    };
    let layer =
        |units, activation| Layer::Dense(Dense { units, activation, bias: true, weights: weights.clone() });
    let outputs = if loss == Loss::SquaredError { 1 } else { 4 };
    let layers = vec![layer(6, activation), layer(5, activation), layer(outputs, Activation::Linear)];
    Network { input: vec![3], layers, loss }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Linear => x,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
        Activation::Selu => 1.050_700_987_355_48 * (x.max(0.0) + 1.673_263_242_354_377 * x.min(0.0).exp_m1()),
        Activation::Gelu => 0.5 * x * libm::erfc(-x / 2f64.sqrt()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Softplus => x.exp().ln_1p(),
    }
}

/// Mean loss with penalties, from the definition.
fn loss(network: &Network, weights: &[Vec<f64>], inputs: &[f32], classes: &[u32], values: &[f32]) -> f64 {
    let mut total = 0.0;
    for (row, x) in inputs.chunks_exact(network.inputs()).enumerate() {
        let mut x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        for (layer, tensors) in network.layers.iter().zip(weights.chunks_exact(2)) {
            let (kernel, bias) = (&tensors[0], &tensors[1]);
            let Layer::Dense(layer) = layer else { unreachable!("dense layers only") };
            x = (0..layer.units)
                .map(|unit| {
                    let sum: f64 =
                        x.iter().enumerate().map(|(i, v)| v * kernel[i * layer.units + unit]).sum();
                    activate(layer.activation, sum + bias[unit])
                })
                .collect();
        }
        total += match network.loss {
            Loss::SquaredError => (x[0] - f64::from(values[row])).powi(2),
            _ => x.iter().map(|v| v.exp()).sum::<f64>().ln() - x[classes[row] as usize],
        };
    }
    let penalties = weights
        .chunks_exact(2)
        .map(|tensors| tensors[0].iter().map(|w| PENALTY.l1 * w.abs() + PENALTY.l2 * w * w).sum::<f64>());
    total / ROWS as f64 + penalties.sum::<f64>()
}

fn check(activation: Activation, kind: Loss) {
    let network = network(activation, kind);
    let mut stream = Stream::new(&[5; 32], Purpose::Shuffle, 0);
    let inputs: Vec<f32> = (0..ROWS * network.inputs()).map(|_| stream.normal() as f32).collect();
    let values: Vec<f32> = (0..ROWS).map(|_| stream.normal() as f32).collect();
    let classes: Vec<u32> = (0..ROWS).map(|_| stream.below(4)).collect();
    let mut engine = DenseEngine::new(&network, PLAIN, &[6; 32], ROWS).unwrap();
    let mut weights: Vec<Vec<f64>> =
        engine.weights().iter().map(|t| t.data.iter().map(|&w| f64::from(w)).collect()).collect();
    let targets = match kind {
        Loss::SquaredError => Targets::Values(&values),
        _ => Targets::Classes(&classes),
    };
    engine.train(Batch { rows: ROWS, inputs: &inputs, targets, weights: None }, 0.1, &mut stream);
    for (tensor, gradient) in engine.gradients().iter().enumerate() {
        for (place, &got) in gradient.data.iter().enumerate() {
            let kept = weights[tensor][place];
            let h = 1e-6;
            let mut side = |w: f64| {
                weights[tensor][place] = w;
                loss(&network, &weights, &inputs, &classes, &values)
            };
            let want = (side(kept + h) - side(kept - h)) / (2.0 * h);
            side(kept);
            // A bias that is exactly zero is fine; a kernel weight at zero would sit on the kink of |w|.
            let close = (f64::from(got) - want).abs() < 3e-6 * (1.0 + want.abs());
            assert!(close, "{activation}, {kind:?}: {}[{place}] is {got}, not {want}", gradient.name);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_for_every_activation() {
    for &activation in Activation::ALL {
        for kind in [Loss::CROSS_ENTROPY, Loss::SquaredError] {
            check(activation, kind);
        }
    }
}

/// A linear layer of ones on an input of ones: an output shows which units were kept and how they were scaled.
#[test]
fn dropout_drops_at_its_rate_scales_the_rest_and_is_off_in_prediction() {
    let (rate, rows, units) = (0.3, 100, 100);
    let ones =
        WeightSettings { kernel_initializer: InitializerKind::Ones.into(), ..WeightSettings::default() };
    let layer = |units| {
        Layer::Dense(Dense { units, activation: Activation::Linear, bias: true, weights: ones.clone() })
    };
    let layers = vec![layer(units), Layer::Dropout { rate }, layer(1)];
    let network = Network { input: vec![1], layers, loss: Loss::SquaredError };
    let mut engine = DenseEngine::new(&network, PLAIN, &[0; 32], rows).unwrap();
    let targets = vec![0.0; rows];
    let batch = Batch { rows, inputs: &vec![1.0; rows], targets: Targets::Values(&targets), weights: None };
    let mut outputs = vec![0.0; rows];
    engine.predict(batch.inputs, rows, &mut outputs);
    assert_eq!(outputs, vec![100.0; rows]);

    // With dropout a row's output y is the number of kept units / 0.7: mean 100, variance 100 · 0.3 / 0.7. So the mean
    // of y² over the rows is 10,043 with a standard error of about 130; the band is five of those.
    let loss = engine.train(batch, 1e-9, &mut Stream::new(&[0; 32], Purpose::Dropout, 1)) / rows as f64;
    assert!((loss - 10_043.0).abs() < 650.0, "mean square {loss}: kept units are not scaled by 1 / 0.7");
    let output_kernel = &engine.gradients()[2].data;
    assert!(output_kernel.iter().any(|g| *g != output_kernel[0]), "all units were dropped alike");
}

#[test]
fn the_same_stream_drops_the_same_units() {
    let mut layers = network(Activation::Tanh, Loss::CROSS_ENTROPY);
    layers.layers.insert(1, Layer::Dropout { rate: 0.5 });
    let run = |epoch| {
        let mut engine = DenseEngine::new(&layers, PLAIN, &[2; 32], ROWS).unwrap();
        let inputs: Vec<f32> = (0..ROWS * 3).map(|i| (i as f32).sin()).collect();
        let targets = Targets::Classes(&[0, 1, 2, 3, 0, 1, 2]);
        let batch = Batch { rows: ROWS, inputs: &inputs, targets, weights: None };
        engine.train(batch, 0.1, &mut Stream::new(&[3; 32], Purpose::Dropout, epoch));
        engine.weights()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

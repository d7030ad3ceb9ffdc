//! The dense engine's gradients against finite differences of an independent forward pass in double precision, for
//! every activation and every kind of layer; and what dropout does.

use luthier_nn::{
    Activation, Batch, Dense, DenseEngine, EmbedColumn, Engine, InitializerKind, Layer, Layout, Loss,
    Network, Optimizer, Penalty, Purpose, Segment, Stream, Targets, Tensor, UpdateSettings, Updater,
    WeightSettings,
};

const ROWS: usize = 7;
const PENALTY: Penalty = Penalty { l1: 0.01, l2: 0.03 };
const BATCH: Layer = Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-3 };
const ROW: Layer = Layer::LayerNormalization { epsilon: 1e-3 };

fn engine(network: &Network, seed: u8, rows: usize) -> DenseEngine {
    let rule = Optimizer::Sgd { momentum: 0.0, nesterov: false };
    let segments = Segment::of(&Layout::new(network).unwrap());
    let updater = Updater::new(rule, UpdateSettings::default(), segments);
    DenseEngine::new(network, updater, &[seed; 32], rows).unwrap()
}

fn dense(units: usize, activation: Activation, bias: bool) -> Layer {
    let weights = WeightSettings {
        kernel_initializer: InitializerKind::HeNormal.into(),
        initial_bias: 0.1,
        kernel: PENALTY,
        biases: Penalty { l1: 0.02, l2: 0.05 },
        activity: Penalty { l1: 0.04, l2: 0.06 },
        ..WeightSettings::default()
    };
    Layer::Dense(Dense { units, activation, bias, weights })
}

fn plain(units: usize) -> Layer {
    Layer::dense(units)
}

fn alone(activation: Activation) -> Layer {
    Layer::Activation { activation }
}

fn residual(layers: Vec<Layer>) -> Layer {
    Layer::Residual { layers }
}

fn activate(activation: Activation, row: &mut [f64]) {
    let f: fn(f64) -> f64 = match activation {
        Activation::Linear => |x| x,
        Activation::Sigmoid => |x| 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => f64::tanh,
        Activation::Relu => |x| x.max(0.0),
        Activation::LeakyRelu => |x| x.max(0.01 * x),
        Activation::Elu => |x| x.max(0.0) + x.min(0.0).exp_m1(),
        Activation::Selu => {
            |x| 1.050_700_987_355_48 * (x.max(0.0) + 1.673_263_242_354_377 * x.min(0.0).exp_m1())
        }
        Activation::Gelu => |x| 0.5 * x * libm::erfc(-x / 2f64.sqrt()),
        Activation::Silu => |x| x / (1.0 + (-x).exp()),
        Activation::Softplus => |x| x.exp().ln_1p(),
        Activation::Softmax => {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            for x in row {
                *x = x.exp() / sum;
            }
            return;
        }
    };
    for x in row {
        *x = f(*x);
    }
}

fn size(penalty: Penalty, values: &[f64]) -> f64 {
    values.iter().map(|x| penalty.l1 * x.abs() + penalty.l2 * x * x).sum()
}

fn normalize(values: &mut [&mut f64], epsilon: f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|x| **x).sum::<f64>() / count;
    let variance = values.iter().map(|x| (**x - mean).powi(2)).sum::<f64>() / count;
    for x in values {
        **x = (**x - mean) / (variance + epsilon).sqrt();
    }
}

/// A forward pass by the definitions, one vector for each row (of each step of a sequence).
struct Definition<'a> {
    tensors: std::slice::Iter<'a, Vec<f64>>,
    penalties: f64,
}

type Rows = Vec<Vec<f64>>;

impl Definition<'_> {
    fn chain(&mut self, layers: &[Layer], mut x: Rows) -> Rows {
        for layer in layers {
            x = self.layer(layer, x);
        }
        x
    }

    fn next(&mut self) -> &[f64] {
        self.tensors.next().unwrap()
    }

    fn layer(&mut self, layer: &Layer, mut x: Rows) -> Rows {
        match layer {
            Layer::Dense(dense) => return self.dense(dense, &x),
            Layer::Activation { activation } => x.iter_mut().for_each(|row| activate(*activation, row)),
            Layer::BatchNormalization { epsilon, .. } => {
                for column in 0..x[0].len() {
                    let mut values: Vec<&mut f64> = x.iter_mut().map(|row| &mut row[column]).collect();
                    normalize(&mut values, *epsilon);
                }
                self.scale_and_shift(&mut x);
                self.tensors.nth(1).unwrap();
            }
            Layer::LayerNormalization { epsilon } => {
                for row in &mut x {
                    let mut values: Vec<&mut f64> = row.iter_mut().collect();
                    normalize(&mut values, *epsilon);
                }
                self.scale_and_shift(&mut x);
            }
            Layer::Flatten => {
                let steps = x.len() / ROWS;
                x = x.chunks(steps).map(<[_]>::concat).collect();
            }
            Layer::EmbedColumns { columns } => {
                let is_plain = |place: usize| columns.iter().all(|column| column.input != place);
                let mut y: Rows = x
                    .iter()
                    .map(|row| (0..row.len()).filter(|&i| is_plain(i)).map(|i| row[i]).collect())
                    .collect();
                for column in columns {
                    let table = self.next();
                    for (x, y) in x.iter().zip(&mut y) {
                        let start = x[column.input] as usize * column.dimension;
                        y.extend(&table[start..start + column.dimension]);
                    }
                }
                return y;
            }
            Layer::Residual { layers } => {
                let mut y = self.chain(layers, x.clone());
                let same = x[0].len() == y[0].len();
                let past = if same { x } else { product(&x, self.next(), y[0].len()) };
                y.iter_mut().flatten().zip(past.iter().flatten()).for_each(|(y, x)| *y += x);
                return y;
            }
            other => unreachable!("{} is not tested here", other.kind()),
        }
        x
    }

    fn dense(&mut self, dense: &Dense, x: &Rows) -> Rows {
        let kernel = self.next();
        let mut penalties = size(dense.weights.kernel, kernel);
        let mut y = product(x, kernel, dense.units);
        if dense.bias {
            let bias = self.next();
            penalties += size(dense.weights.biases, bias);
            for row in &mut y {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
        for row in &mut y {
            activate(dense.activation, row);
            penalties += size(dense.weights.activity, row) / ROWS as f64;
        }
        self.penalties += penalties;
        y
    }

    fn scale_and_shift(&mut self, x: &mut Rows) {
        let (gamma, beta) = (self.next().to_vec(), self.next());
        for row in x {
            row.iter_mut().zip(&gamma).zip(beta).for_each(|((x, gamma), beta)| *x = gamma * *x + beta);
        }
    }
}

fn product(x: &Rows, kernel: &[f64], units: usize) -> Rows {
    let unit = |row: &[f64], unit| row.iter().enumerate().map(|(i, v)| v * kernel[i * units + unit]).sum();
    x.iter().map(|row| (0..units).map(|u| unit(row, u)).collect()).collect()
}

struct Data {
    inputs: Vec<f32>,
    classes: Vec<u32>,
    values: Vec<f32>,
}

impl Data {
    /// Normal numbers; where the network embeds columns, category numbers.
    fn new(network: &Network) -> Self {
        let mut stream = Stream::new(&[5; 32], Purpose::Shuffle, 0);
        let width = network.inputs();
        let mut inputs: Vec<f32> = (0..ROWS * width).map(|_| stream.normal() as f32).collect();
        if let Some(Layer::EmbedColumns { columns }) = network.layers.first() {
            for row in inputs.chunks_exact_mut(width) {
                for column in columns {
                    row[column.input] = stream.below(column.cardinality as u32) as f32;
                }
            }
        }
        let values = (0..ROWS).map(|_| stream.normal() as f32).collect();
        Self { inputs, classes: (0..ROWS).map(|_| stream.below(4)).collect(), values }
    }

    fn targets(&self, loss: Loss) -> Targets<'_> {
        match loss {
            Loss::SquaredError => Targets::Values(&self.values),
            _ => Targets::Classes(&self.classes),
        }
    }

    /// Mean loss with penalties, from the definition.
    fn loss(&self, network: &Network, weights: &[Vec<f64>]) -> f64 {
        let features = *network.input.last().unwrap();
        let rows = self.inputs.chunks_exact(features);
        let rows = rows.map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
        let mut definition = Definition { tensors: weights.iter(), penalties: 0.0 };
        let outputs = definition.chain(&network.layers, rows);
        assert!(definition.tensors.next().is_none());
        let losses = outputs.iter().enumerate().map(|(row, x)| match network.loss {
            Loss::SquaredError => (x[0] - f64::from(self.values[row])).powi(2),
            _ => x.iter().map(|v| v.exp()).sum::<f64>().ln() - x[self.classes[row] as usize],
        });
        losses.sum::<f64>() / ROWS as f64 + definition.penalties
    }
}

fn check(input: &[usize], layers: Vec<Layer>, loss: Loss) {
    let network = Network { input: input.to_vec(), layers, loss };
    let data = Data::new(&network);
    let mut engine = engine(&network, 6, ROWS);
    let mut weights: Vec<Vec<f64>> =
        engine.weights().iter().map(|t| t.data.iter().map(|&w| f64::from(w)).collect()).collect();
    let batch = Batch { rows: ROWS, inputs: &data.inputs, targets: data.targets(loss), weights: None };
    engine.train(batch, 0.1, &mut Stream::new(&[5; 32], Purpose::Dropout, 0));
    for (tensor, gradient) in engine.gradients().iter().enumerate() {
        for (place, &got) in gradient.data.iter().enumerate() {
            let kept = weights[tensor][place];
            let h = 1e-6;
            let mut side = |w: f64| {
                weights[tensor][place] = w;
                data.loss(&network, &weights)
            };
            let want = (side(kept + h) - side(kept - h)) / (2.0 * h);
            side(kept);
            let close = (f64::from(got) - want).abs() < 3e-6 * (1.0 + want.abs());
            assert!(close, "{:?}: {}[{place}] is {got}, not {want}", network.layers, gradient.name);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_for_every_activation() {
    for &activation in Activation::ALL {
        for (outputs, loss) in [(4, Loss::CROSS_ENTROPY), (1, Loss::SquaredError)] {
            let fused = vec![
                dense(6, activation, true),
                dense(5, activation, false),
                dense(outputs, Activation::Linear, true),
            ];
            check(&[3], fused, loss);
            let apart =
                vec![plain(6), BATCH, alone(activation), plain(5), ROW, alone(activation), plain(outputs)];
            check(&[3], apart, loss);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_for_every_layer() {
    let tanh = Activation::Tanh;
    let columns = vec![
        EmbedColumn { input: 0, cardinality: 3, dimension: 2 },
        EmbedColumn { input: 2, cardinality: 2, dimension: 4 },
    ];
    let cases: Vec<(&[usize], Vec<Layer>)> = vec![
        (&[3], vec![BATCH, plain(5), alone(tanh), BATCH, plain(4)]),
        (&[3], vec![ROW, dense(5, tanh, false), ROW, plain(4)]),
        (&[3], vec![alone(tanh), alone(Activation::Silu), plain(4), alone(tanh)]),
        (&[3], vec![dense(5, Activation::Softmax, true), alone(Activation::Softmax), plain(4)]),
        (&[3], vec![residual(vec![dense(3, tanh, true)]), plain(4)]),
        (&[3], vec![plain(5), residual(vec![dense(5, tanh, true), BATCH]), alone(tanh), plain(4)]),
        (&[3], vec![residual(vec![plain(5), ROW, alone(tanh)]), plain(4)]),
        (
            &[3],
            vec![
                plain(4),
                residual(vec![alone(tanh), residual(vec![plain(5), BATCH]), ROW, plain(6)]),
                plain(4),
            ],
        ),
        (&[3], vec![plain(5), residual(vec![residual(vec![dense(4, tanh, false)]), alone(tanh)])]),
        (&[3], vec![plain(4), residual(vec![]), alone(tanh), plain(4)]),
        (
            &[2, 3],
            vec![
                plain(4),
                BATCH,
                alone(tanh),
                residual(vec![dense(3, tanh, true), ROW]),
                Layer::Flatten,
                plain(4),
            ],
        ),
        (
            &[2, 3],
            vec![
                alone(Activation::Softmax),
                dense(5, Activation::Softmax, true),
                Layer::Flatten,
                ROW,
                plain(4),
            ],
        ),
        (&[4], vec![Layer::EmbedColumns { columns }, residual(vec![dense(5, tanh, true)]), BATCH, plain(4)]),
    ];
    for (input, layers) in cases {
        check(input, layers, Loss::CROSS_ENTROPY);
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
    let mut engine = engine(&network, 0, rows);
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

/// Half of the numbers are dropped wherever a dropout stands: what is left of a constant is 0 or twice it, so the
/// gradient of an output kernel shows the mask that the way back went through.
#[test]
fn dropout_acts_on_inputs_behind_normalisation_and_behind_itself() {
    let of = |network: &Network, inputs: &[f32], rows: usize| {
        let mut engine = engine(network, 1, rows);
        let targets = vec![1.0; rows];
        let batch = Batch { rows, inputs, targets: Targets::Values(&targets), weights: None };
        engine.train(batch, 0.0, &mut Stream::new(&[7; 32], Purpose::Dropout, 1));
        engine.gradients().into_iter().map(|tensor| tensor.data).collect::<Vec<_>>()
    };
    let zeros =
        WeightSettings { kernel_initializer: InitializerKind::Zeros.into(), ..WeightSettings::default() };
    let output = Layer::Dense(Dense { units: 1, activation: Activation::Linear, bias: true, weights: zeros });
    let half = Layer::Dropout { rate: 0.5 };
    let network = |before: Vec<Layer>| {
        let layers = before.into_iter().chain([output.clone()]).collect();
        Network { input: vec![64], layers, loss: Loss::SquaredError }
    };

    // The outputs are 0 and the targets 1, so the gradient of a kernel weight is −2 times what came in: 0 or 2.
    let gradients = of(&network(vec![half.clone()]), &[1.0; 64], 1);
    let kept = gradients[0].iter().filter(|g| **g == -4.0).count();
    let dropped = gradients[0].iter().filter(|g| **g == 0.0).count();
    // 32 of each expected with a standard deviation of 4.
    assert!(kept + dropped == 64 && (12..=52).contains(&kept), "{gradients:?}");

    // Two dropouts in a row: 0 or 4.
    let gradients = of(&network(vec![half.clone(), half.clone()]), &[1.0; 64], 1);
    assert!(gradients[0].iter().all(|g| *g == 0.0 || *g == -8.0), "{gradients:?}");
    assert!(gradients[0].contains(&-8.0));

    // Behind a normalisation: without noise each weight's input would be ±1 / √(1 + ε).
    let inputs: Vec<f32> = (0..128).map(|i| if i < 64 { 1.0 } else { -1.0 }).collect();
    let plain = of(&network(vec![BATCH]), &inputs, 2);
    assert!(plain[4].iter().all(|g| g.abs() < 1e-6));
    let gradients = of(&network(vec![BATCH, half]), &inputs, 2);
    let expected = 2.0 / 1.001f32.sqrt();
    assert!(
        gradients[4].iter().all(|g| g.abs() < 1e-6 || (g.abs() - expected).abs() < 1e-5),
        "{gradients:?}"
    );
    assert!(gradients[4].iter().any(|g| g.abs() > 1.0), "{gradients:?}");
}

#[test]
fn the_same_stream_drops_the_same_units() {
    let half = Layer::Dropout { rate: 0.5 };
    let layers =
        vec![half.clone(), dense(6, Activation::Tanh, true), BATCH, half.clone(), ROW, half, plain(4)];
    let network = Network { input: vec![3], layers, loss: Loss::CROSS_ENTROPY };
    let data = Data::new(&network);
    let run = |epoch| {
        let mut engine = engine(&network, 2, ROWS);
        let targets = data.targets(network.loss);
        let batch = Batch { rows: ROWS, inputs: &data.inputs, targets, weights: None };
        engine.train(batch, 0.1, &mut Stream::new(&[3; 32], Purpose::Dropout, epoch));
        engine.weights()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

fn a_bit_of_everything() -> Network {
    let block = residual(vec![dense(5, Activation::Gelu, false), BATCH, Layer::Dropout { rate: 0.2 }]);
    let layers =
        vec![BATCH, dense(6, Activation::Tanh, true), BATCH, alone(Activation::Silu), block, ROW, plain(4)];
    Network { input: vec![3], layers, loss: Loss::CROSS_ENTROPY }
}

#[test]
fn a_run_that_is_saved_and_restored_ends_with_the_same_bits() {
    let network = a_bit_of_everything();
    let data = Data::new(&network);
    let batch =
        Batch { rows: ROWS, inputs: &data.inputs, targets: data.targets(network.loss), weights: None };
    let engine = || {
        let segments = Segment::of(&Layout::new(&network).unwrap());
        let rule = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let updater = Updater::new(rule, UpdateSettings::default(), segments);
        DenseEngine::new(&network, updater, &[2; 32], ROWS).unwrap()
    };
    let train = |engine: &mut DenseEngine, epoch| {
        let mut stream = Stream::new(&[3; 32], Purpose::Dropout, epoch);
        (0..5).map(|_| engine.train(batch, 0.01, &mut stream)).collect::<Vec<f64>>()
    };
    let mut whole = engine();
    train(&mut whole, 1);
    let mut resumed = engine();
    resumed.load_weights(&whole.weights()).unwrap();
    resumed.load_memory(&whole.memory()).unwrap();
    assert_eq!(train(&mut whole, 2), train(&mut resumed, 2));
    assert_eq!(whole.weights(), resumed.weights());
    assert_eq!(whole.memory(), resumed.memory());
    let moved = |tensor: &&Tensor| tensor.name.ends_with("moving_variance");
    assert_eq!(whole.weights().iter().filter(moved).count(), 3);
    assert!(whole.weights().iter().filter(moved).all(|tensor| tensor.data.iter().all(|v| *v != 1.0)));
    // Statistics are not trained, so nothing is remembered about them but zeros.
    let memory = whole.memory();
    assert!(memory.slots.iter().any(|tensor| tensor.name == "mean.layers.2.kernel"));
    assert!(memory.slots.iter().filter(moved).all(|tensor| tensor.data.iter().all(|v| *v == 0.0)));
}

#[test]
fn a_row_is_predicted_as_it_is_alone() {
    let network = a_bit_of_everything();
    let data = Data::new(&network);
    let mut engine = engine(&network, 2, ROWS);
    let batch =
        Batch { rows: ROWS, inputs: &data.inputs, targets: data.targets(network.loss), weights: None };
    engine.train(batch, 0.1, &mut Stream::new(&[3; 32], Purpose::Dropout, 1));
    let before = engine.weights();
    let mut together = [0.0; 4 * ROWS];
    engine.predict(&data.inputs, ROWS, &mut together);
    for (row, x) in data.inputs.chunks_exact(3).enumerate() {
        let mut alone = [0.0; 4];
        engine.predict(x, 1, &mut alone);
        for (a, b) in alone.iter().zip(&together[4 * row..]) {
            assert!((a - b).abs() < 1e-5, "row {row}: {alone:?}, not {together:?}");
        }
        let mut others = data.inputs.clone();
        others.iter_mut().enumerate().filter(|(i, _)| i / 3 != row).for_each(|(_, x)| *x += 5.0);
        let mut beside_others = [0.0; 4 * ROWS];
        engine.predict(&others, ROWS, &mut beside_others);
        assert_eq!(beside_others[4 * row..4 * row + 4], together[4 * row..4 * row + 4]);
    }
    assert_eq!(engine.weights(), before, "predicting moved the statistics");
}

#[test]
fn a_batch_of_one_row_is_normalised_to_beta_and_stays_finite() {
    let network =
        Network { input: vec![2], layers: vec![plain(3), BATCH, plain(2)], loss: Loss::CROSS_ENTROPY };
    let mut engine = engine(&network, 4, 1);
    let batch = Batch { rows: 1, inputs: &[3.0, -2.0], targets: Targets::Classes(&[1]), weights: None };
    let mut unused = Stream::new(&[3; 32], Purpose::Dropout, 1);
    // β is 0, so the outputs are the output bias, 0 at first.
    let loss = engine.train(batch, 0.1, &mut unused);
    assert!((loss - 2f64.ln()).abs() < 1e-6, "{loss}");
    let weights = engine.weights();
    let named = |name: &str| weights.iter().find(|tensor| tensor.name == name).unwrap().data.clone();
    assert!(weights.iter().all(|tensor| tensor.data.iter().all(|w| w.is_finite())));
    assert!(named("layers.2.moving_variance").iter().all(|v| (v - 0.9).abs() < 1e-6));
    assert!(engine.gradients()[0].data.iter().all(|g| *g == 0.0), "a gradient came through a single row");
}

#[test]
fn networks_with_other_layers_are_left_to_another_engine() {
    let supports = |input: &[usize], layers| {
        DenseEngine::supports(&Network { input: input.to_vec(), layers, loss: Loss::SquaredError })
    };
    assert!(supports(&[2, 4, 4], vec![Layer::Dropout { rate: 0.1 }, Layer::Flatten, plain(1)]));
    assert!(supports(&[5, 2], vec![plain(3), BATCH, Layer::Flatten, plain(1)]));
    assert!(!supports(&[2, 4, 4], vec![BATCH, Layer::Flatten, plain(1)]), "statistics of channels");
    assert!(!supports(&[2, 4, 4], vec![Layer::Rows, Layer::Flatten, plain(1)]));
    assert!(!supports(
        &[5],
        vec![Layer::Embedding { vocabulary: 9, dimension: 2 }, Layer::Flatten, plain(1)]
    ));
    assert!(!supports(&[5, 2], vec![plain(3), plain(0)]), "shapes that do not fit");
}

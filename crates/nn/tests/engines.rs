//! The two engines hold each other to their word: same bits at the start, same curves; and runs in threads do not
//! meet in anything that is global to the process.
#![cfg(feature = "burn")]

use luthier_nn::{
    Activation, Batch, BurnEngine, Cell, Compute, Conv, Dense, DenseEngine, Engine, Layer, Layout, Loss,
    Network, Optimizer, Padding, Penalty, Pool, Pooling, Purpose, Recurrent, Segment, Stream, Targets,
    UpdateSettings, Updater, WeightSettings, seed_from_u64,
};

const SEED: u64 = 5;
const ROWS: usize = 32;
const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };

fn updater(network: &Network, rule: Optimizer) -> Updater {
    let layout = Layout::new(network).expect("layers that fit");
    Updater::new(rule, UpdateSettings::default(), Segment::of(&layout))
}

fn dense(units: usize, activation: Activation) -> Layer {
    let weights = WeightSettings { kernel: Penalty { l1: 1e-4, l2: 1e-3 }, ..WeightSettings::default() };
    Layer::Dense(Dense { units, activation, bias: true, weights })
}

/// Batches whose class depends on the inputs.
fn batches(network: &Network, count: usize) -> Vec<(Vec<f32>, Vec<u32>)> {
    let mut stream = Stream::new(&seed_from_u64(9), Purpose::Shuffle, 0);
    let width = network.inputs();
    let mut batch = |_| {
        let inputs: Vec<f32> = (0..ROWS * width).map(|_| stream.normal() as f32).collect();
        let class = |row: &[f32]| u32::from(row[0] > 0.0) + u32::from(row[1] > row[2]);
        let classes = inputs.chunks_exact(width).map(class).collect();
        (inputs, classes)
    };
    (0..count).map(&mut batch).collect()
}

/// The mean loss at each step, and the predictions for the first batch afterwards.
fn curve(engine: &mut dyn Engine, network: &Network, steps: usize) -> (Vec<f64>, Vec<f32>) {
    let mut noise = Stream::new(&seed_from_u64(SEED), Purpose::Dropout, 1);
    let batches = batches(network, steps);
    let losses = batches
        .iter()
        .map(|(inputs, classes)| {
            let batch = Batch { rows: ROWS, inputs, targets: Targets::Classes(classes), weights: None };
            engine.train(batch, 0.01, &mut noise) / ROWS as f64
        })
        .collect();
    let mut outputs = vec![0.0; ROWS * network.outputs()];
    engine.predict(&batches[0].0, ROWS, &mut outputs);
    (losses, outputs)
}

fn check_same_curves(layers: Vec<Layer>) {
    let network = Network { input: vec![6], layers, loss: Loss::CROSS_ENTROPY };
    let seed = seed_from_u64(SEED);
    let mut own =
        DenseEngine::new(&network, updater(&network, ADAM), &seed, ROWS).expect("the dense engine runs this");
    let start = own.weights();
    let (expected, predicted) = curve(&mut own, &network, 60);
    assert!(expected[59] < 0.8 * expected[0], "it learns: {} to {}", expected[0], expected[59]);
    for compute in [Compute::Cpu, Compute::PlainCpu] {
        let mut engine = BurnEngine::new(&network, updater(&network, ADAM), &seed, compute).unwrap();
        assert_eq!(engine.weights(), start);
        let (losses, outputs) = curve(&mut engine, &network, 60);
        for (step, (loss, expected)) in losses.iter().zip(&expected).enumerate() {
            assert!((loss - expected).abs() < 2e-4, "{compute:?}, step {step}: {loss}, not {expected}");
        }
        for (output, expected) in outputs.iter().zip(&predicted) {
            assert!((output - expected).abs() < 5e-3, "{compute:?}: predicts {output}, not {expected}");
        }
    }
}

#[test]
fn engines_agree_without_dropout() {
    check_same_curves(vec![
        dense(24, Activation::Silu),
        dense(16, Activation::Tanh),
        dense(3, Activation::Linear),
    ]);
}

#[test]
fn engines_agree_with_dropout() {
    check_same_curves(vec![
        dense(24, Activation::Relu),
        Layer::Dropout { rate: 0.3 },
        dense(16, Activation::Tanh),
        Layer::Dropout { rate: 0.1 },
        dense(3, Activation::Linear),
    ]);
}

#[test]
fn engines_agree_on_normalisation_and_residual_blocks() {
    check_same_curves(vec![
        dense(16, Activation::Linear),
        Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-3 },
        Layer::Activation { activation: Activation::Tanh },
        Layer::Residual { layers: vec![dense(16, Activation::Silu), Layer::Dropout { rate: 0.2 }] },
        Layer::LayerNormalization { epsilon: 1e-3 },
        dense(3, Activation::Linear),
    ]);
}

#[test]
fn every_seed_and_its_dropout_are_its_own_in_threads() {
    let recurrent = Layer::Recurrent(Recurrent {
        cell: Cell::Gru,
        units: 5,
        activation: Activation::Tanh,
        bidirectional: true,
        return_sequences: true,
        weights: WeightSettings::default(),
    });
    let convolution = Layer::Conv2d(Conv {
        filters: 4,
        kernel_size: 3,
        stride: 1,
        padding: Padding::Same,
        activation: Activation::Relu,
        bias: true,
        weights: WeightSettings::default(),
    });
    let network = Network {
        input: vec![1, 6, 6],
        layers: vec![
            convolution.clone(),
            Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-3 },
            Layer::Residual { layers: vec![convolution, Layer::Dropout { rate: 0.2 }] },
            Layer::Pool2d(Pool { pooling: Pooling::Max, size: 2, stride: 2 }),
            Layer::Rows,
            recurrent,
            Layer::Flatten,
            Layer::Dropout { rate: 0.2 },
            dense(3, Activation::Linear),
        ],
        loss: Loss::CROSS_ENTROPY,
    };
    let run = |seed: u64| {
        let mut engine =
            BurnEngine::new(&network, updater(&network, ADAM), &seed_from_u64(seed), Compute::Cpu).unwrap();
        curve(&mut engine, &network, 25)
    };
    let alone: Vec<_> = [1, 2].into_iter().map(run).collect();
    assert_ne!(alone[0], alone[1]);
    let together: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = [1, 2, 1, 2].into_iter().map(|seed| scope.spawn(move || run(seed))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for (index, found) in together.iter().enumerate() {
        assert!(*found == alone[index % 2], "run {index} in a thread differs from the same run alone");
    }
}

#[test]
fn a_run_continues_from_its_state_with_the_same_bits() {
    let network = Network {
        input: vec![4, 3],
        layers: vec![
            Layer::Recurrent(Recurrent {
                cell: Cell::Lstm,
                units: 4,
                activation: Activation::Tanh,
                bidirectional: false,
                return_sequences: true,
                weights: WeightSettings::default(),
            }),
            Layer::BatchNormalization { momentum: 0.8, epsilon: 1e-3 },
            Layer::Flatten,
            dense(3, Activation::Linear),
        ],
        loss: Loss::CROSS_ENTROPY,
    };
    let seed = seed_from_u64(SEED);
    let mut whole = BurnEngine::new(&network, updater(&network, ADAM), &seed, Compute::Cpu).unwrap();
    let _ = curve(&mut whole, &network, 10);
    let mut resumed =
        BurnEngine::new(&network, updater(&network, ADAM), &seed_from_u64(77), Compute::Cpu).unwrap();
    resumed.load_weights(&whole.weights()).unwrap();
    resumed.load_memory(&whole.memory()).unwrap();
    assert_eq!(curve(&mut whole, &network, 10), curve(&mut resumed, &network, 10));
}

//! Optimiser steps per second on one thread for the networks that the engines are measured with (Adam, softmax
//! cross-entropy). Prints the best of five rounds, as other programs may be running; with a network and a number of
//! steps it trains just that, for whoever takes the time from outside (`benchmarks/networks/run.py`).
//!
//! cargo run --release -p luthier-nn --features burn --example networks [NETWORK STEPS]

use std::time::Instant;

use luthier_nn::{
    Activation, Batch, DenseEngine, Engine, Layer, Layout, Loss, Network, Optimizer, Purpose, Segment,
    Stream, Targets, UpdateSettings, Updater, seed_from_u64,
};
#[cfg(feature = "burn")]
use luthier_nn::{Cell, Compute};

const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.as_slice() {
        [name, steps] => match (measured(name), steps.parse()) {
            (Some(mut measured), Ok(steps)) => measured.train(steps),
            _ => eprintln!("usage: networks [{} STEPS]", NAMES.join("|")),
        },
        _ => {
            for measured in NAMES.iter().filter_map(|name| measured(name)) {
                measured.report();
            }
        }
    }
}

const NAMES: [&str; 7] = ["mlp", "tiny", "cnn", "lstm", "gru", "cnn-plain", "lstm-plain"];

/// A network with an engine and a batch to train it on again and again.
struct Measured {
    name: &'static str,
    engine: Box<dyn Engine>,
    rows: usize,
    inputs: Vec<f32>,
    classes: Vec<u32>,
    noise: Stream,
    /// Steps in a round.
    round: u32,
}

impl Measured {
    fn train(&mut self, steps: u32) {
        for _ in 0..steps {
            let targets = Targets::Classes(&self.classes);
            let batch = Batch { rows: self.rows, inputs: &self.inputs, targets, weights: None };
            self.engine.train(batch, 1e-3, &mut self.noise);
        }
    }

    fn report(mut self) {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let started = Instant::now();
            self.train(self.round);
            best = best.min(started.elapsed().as_secs_f64() / f64::from(self.round));
        }
        println!("{}, batch {}, adam: {:.0} steps/s on one thread", self.name, self.rows, 1.0 / best);
    }
}

/// The network of this name; `None` if there is none, or this build has no engine for it.
fn measured(name: &str) -> Option<Measured> {
    match name {
        "mlp" => dense("64-128-128-10", &[64, 128, 128, 10], 64, 2_000),
        "tiny" => dense("16-32-3", &[16, 32, 3], 32, 40_000),
        #[cfg(feature = "burn")]
        "cnn" => others::cnn("CNN 28x28, 16-32 filters", Compute::Cpu),
        #[cfg(feature = "burn")]
        "lstm" => others::recurrent("LSTM 16-64, 32 steps", Compute::Cpu, Cell::Lstm),
        #[cfg(feature = "burn")]
        "gru" => others::recurrent("GRU 16-64, 32 steps", Compute::Cpu, Cell::Gru),
        #[cfg(feature = "burn")]
        "cnn-plain" => others::cnn("the CNN by Burn's own operations", Compute::PlainCpu),
        #[cfg(feature = "burn")]
        "lstm-plain" => others::recurrent("the LSTM by Burn's own operations", Compute::PlainCpu, Cell::Lstm),
        _ => None,
    }
}

fn dense(name: &'static str, widths: &[usize], rows: usize, round: u32) -> Option<Measured> {
    let last = widths.len() - 1;
    let layer = |(at, &units): (usize, &usize)| match Layer::dense(units) {
        Layer::Dense(dense) if at < last => {
            Layer::Dense(luthier_nn::Dense { activation: Activation::Relu, ..dense })
        }
        layer => layer,
    };
    let layers = widths.iter().enumerate().skip(1).map(layer).collect();
    let network = Network { input: vec![widths[0]], layers, loss: Loss::CROSS_ENTROPY };
    let engine = Box::new(DenseEngine::new(&network, updater(&network, ADAM), &seed_from_u64(1), rows)?);
    Some(with_batch(name, &network, engine, rows, round))
}

fn updater(network: &Network, rule: Optimizer) -> Updater {
    let layout = Layout::new(network).expect("layers that fit");
    Updater::new(rule, UpdateSettings::default(), Segment::of(&layout))
}

fn with_batch(
    name: &'static str,
    network: &Network,
    engine: Box<dyn Engine>,
    rows: usize,
    round: u32,
) -> Measured {
    let mut noise = Stream::new(&seed_from_u64(1), Purpose::Shuffle, 0);
    let inputs = (0..rows * network.inputs()).map(|_| noise.normal() as f32).collect();
    let classes = (0..rows).map(|_| noise.below(network.outputs() as u32)).collect();
    Measured { name, engine, rows, inputs, classes, noise, round }
}

#[cfg(feature = "burn")]
mod others {
    use luthier_nn::{
        Activation, BurnEngine, Cell, Compute, Conv, Layer, Loss, Network, Padding, Pool, Pooling, Recurrent,
        WeightSettings, seed_from_u64,
    };

    use super::{ADAM, Measured, updater, with_batch};

    pub(super) fn cnn(name: &'static str, compute: Compute) -> Option<Measured> {
        let convolution = |filters| {
            Layer::Conv2d(Conv {
                filters,
                kernel_size: 3,
                stride: 1,
                padding: Padding::Valid,
                activation: Activation::Relu,
                bias: true,
                weights: WeightSettings::default(),
            })
        };
        let pool = || Layer::Pool2d(Pool { pooling: Pooling::Max, size: 2, stride: 2 });
        let layers = vec![convolution(16), pool(), convolution(32), pool(), Layer::Flatten, Layer::dense(10)];
        on_burn(name, compute, vec![1, 28, 28], layers, 100)
    }

    pub(super) fn recurrent(name: &'static str, compute: Compute, cell: Cell) -> Option<Measured> {
        let recurrent = Layer::Recurrent(Recurrent {
            cell,
            units: 64,
            activation: Activation::Tanh,
            bidirectional: false,
            return_sequences: false,
            weights: WeightSettings::default(),
        });
        on_burn(name, compute, vec![32, 16], vec![recurrent, Layer::dense(10)], 200)
    }

    fn on_burn(
        name: &'static str,
        compute: Compute,
        input: Vec<usize>,
        layers: Vec<Layer>,
        round: u32,
    ) -> Option<Measured> {
        let network = Network { input, layers, loss: Loss::CROSS_ENTROPY };
        let engine = BurnEngine::new(&network, updater(&network, ADAM), &seed_from_u64(1), compute).ok()?;
        Some(with_batch(name, &network, Box::new(engine), 64, round))
    }
}

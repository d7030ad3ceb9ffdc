//! Steps per second of processor time on one thread for the two networks that the engine was designed with, plain and
//! with normalisation, residual connections and dropout. Prints the best of five rounds, as other programs may be
//! running.
//!
//! cargo run --release -p luthier-nn --example throughput

use std::sync::LazyLock;
use std::time::Instant;

use luthier_nn::{
    Batch, DenseEngine, Engine, Layout, Loss, Network, Normalization, PerLayer, Purpose, Settings, Signature,
    Stream, Targets, Updater, seed_from_u64,
};

fn main() {
    let plain = Settings::default();
    let batch = Settings { normalization: PerLayer::all(Normalization::Batch), ..Settings::default() };
    let layer = Settings { normalization: PerLayer::all(Normalization::Layer), ..Settings::default() };
    let all = Settings { residual: true, dropout: PerLayer::all(0.2), ..batch.clone() };
    for (name, settings) in [
        ("plain", &plain),
        ("batch normalisation", &batch),
        ("layer normalisation", &layer),
        ("batch normalisation, residual, dropout", &all),
    ] {
        println!("{name}:");
        measure(settings, 64, &[128, 128], 10, 64, 2_000);
        measure(settings, 16, &[32], 3, 32, 20_000);
    }
}

fn measure(settings: &Settings, inputs: usize, hidden: &[usize], classes: usize, rows: usize, steps: u32) {
    let units = PerLayer::list(hidden).unwrap_or_else(|| PerLayer::all(1));
    let settings = Settings { layers: Some(hidden.len()), units, ..settings.clone() };
    let network = Network::build(&Signature::rows(inputs, classes, Loss::CROSS_ENTROPY), &settings);
    let seed = seed_from_u64(1);
    let updater = Updater::for_network(&Layout::new(&network).expect("layers that fit"), &settings);
    let mut engine = DenseEngine::new(&network, updater, &seed, rows).expect("dense layers");
    let mut stream = Stream::new(&seed, Purpose::Shuffle, 0);
    let x: Vec<f32> = (0..rows * inputs).map(|_| stream.normal() as f32).collect();
    let y: Vec<u32> = (0..rows).map(|_| stream.below(classes as u32)).collect();
    let mut round = || {
        let started = processor_seconds();
        for _ in 0..steps {
            let batch = Batch { rows, inputs: &x, targets: Targets::Classes(&y), weights: None };
            engine.train(batch, 1e-3, &mut stream);
        }
        f64::from(steps) / (processor_seconds() - started)
    };
    let best = (0..5).map(|_| round()).fold(0.0, f64::max);
    println!("  {inputs}-{hidden:?}-{classes}, batch {rows}, adam: {best:.0} steps/s on one thread");
}

/// Time that this program has had a processor, where the system says so (Linux); else time on the clock.
fn processor_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |n| n * 1e-9)
}

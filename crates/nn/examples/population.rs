//! Member-epochs per second of many networks on the digits, 64-128-128-10, batches of 64, Adam: each by itself on as
//! many threads as are given, or all as one tensor program.
//!
//! cargo run --release -p luthier-nn --features burn --example population -- alone 32 2 5
//! cargo run --release -p luthier-nn --features burn --example population -- together 32 1 5
//!
//! The numbers are members, threads and epochs. With `--features cuda` or `--features wgpu` the tensor program runs
//! on the GPU: `together 512 1 20`. Prints the member-epochs per second on the clock and of processor time, as JSON.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Instant;

use luthier_nn::{Compute, DataSpec, PerLayer, Population, Problem, Settings, Shape, Trainer, seed_from_u64};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(usual);
    let (members, threads, epochs) = (number(1, 32), number(2, 2), number(3, 5));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/digits.csv");
    let problem = Arc::new(Problem::prepare(&DataSpec::new(file), Path::new(".")).expect("the digits"));
    let trainers: Vec<Trainer> =
        (0..members as u64).map(|seed| trainer(&problem, seed, epochs + 1)).collect();
    let (way, rates) = match words.first().map(String::as_str) {
        Some("together") => ("together", together(&problem, trainers, epochs)),
        _ => ("alone", alone(trainers, threads, epochs)),
    };
    let [clock, processor] = rates.map(|seconds| (members * epochs) as f64 / seconds);
    println!(
        "{{\"way\": \"{way}\", \"members\": {members}, \"threads\": {threads}, \"per_second\": {clock:.1}, \
         \"per_processor_second\": {processor:.1}}}"
    );
}

/// Each member has a learning rate and a seed of its own.
fn trainer(problem: &Arc<Problem>, seed: u64, epochs: usize) -> Trainer {
    let settings = Settings {
        units: PerLayer::list(&[128, 128]).expect("two widths"),
        batch_size: 64,
        learning_rate: Some(1e-3 * 1.05f64.powi(seed as i32 % 40)),
        epochs,
        ..Settings::default()
    };
    Trainer::new(problem, settings, seed_from_u64(seed)).expect("sound settings")
}

/// Seconds on the clock and of processor time.
fn alone(trainers: Vec<Trainer>, threads: usize, epochs: usize) -> [f64; 2] {
    let waiting = Mutex::new(trainers);
    timed(|| {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().expect("no trainer panics").pop();
                        let Some(mut trainer) = next else { break };
                        for _ in 0..epochs {
                            trainer.epoch().expect("a sound run");
                        }
                    }
                });
            }
        });
    })
}

fn together(problem: &Arc<Problem>, trainers: Vec<Trainer>, epochs: usize) -> [f64; 2] {
    let shape = Shape::of(&trainers[0]).expect("dense layers");
    let mut population = Population::new(problem, shape, Compute::best());
    for trainer in trainers {
        assert!(population.add(trainer).is_ok(), "all have one shape");
    }
    // A GPU compiles its kernels in the first epoch.
    population.epoch();
    timed(|| {
        for _ in 0..epochs {
            assert!(population.epoch().iter().all(|(_, report)| report.is_ok()), "sound runs");
        }
    })
}

fn timed(work: impl FnOnce()) -> [f64; 2] {
    let (clock, processor) = (Instant::now(), processor_seconds());
    work();
    [clock.elapsed().as_secs_f64(), processor_seconds() - processor]
}

/// Time that all threads of this program have had a processor, where the system says so (Linux); else time on the
/// clock.
fn processor_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        // A tick is a hundredth of a second on every Linux.
        (Some(user), Some(system)) => (user + system) / 100.0,
        _ => START.elapsed().as_secs_f64(),
    }
}

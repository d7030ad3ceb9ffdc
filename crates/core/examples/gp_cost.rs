//! Prints what a Gaussian process costs: CPU milliseconds per fit, per row appended to a copy and per belief, by the number of
//! rows, on ten mixed parameters. Run it with `--release`.
//!
//! CPU time is the kernel's account of this thread where there is one, so that a loaded machine does not matter; elsewhere
//! it is wall time.

use std::sync::Arc;
use std::time::Instant;

use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::Space;
use luthier_core::surrogate::Surrogate;
use luthier_core::surrogate::gaussian_process::{GaussianProcess, Kernel, Row, Settings, rows_at_fit};

fn main() {
    let space = ten();
    let kernel = Arc::new(Kernel::of(&space));
    let mut rng = Rng::stream(1, 0, Purpose::Surrogate, 0);
    let units: Vec<Vec<f64>> =
        (0..1000).map(|_| space.to_unit(&space.from_unit(&rng.uniforms(space.len())))).collect();
    let rows: Vec<Row> =
        units.iter().map(|unit| Row { unit, loss: loss(unit, &mut rng), error: f64::NAN }).collect();
    println!(
        "{:>6} {:>10} {:>10} {:>14} {:>14} {:>10}",
        "rows", "fit", "append", "1000 beliefs", "belief+slope", "density"
    );
    for n in [10, 20, 50, 100, 200, 300, 500, 1000] {
        measure(&kernel, &rows[..n], &units);
    }
    let mut total = 0.0;
    let mut fitted = 0;
    for n in 1..=300 {
        if rows_at_fit(n, 500) != fitted {
            fitted = n;
            total += cpu(|| GaussianProcess::fit(&kernel, &rows[..n], &Settings::default())).0;
        }
    }
    println!("fits of asks 1 to 300: {:.2} ms each on average", total / 300.0);
}

fn measure(kernel: &Arc<Kernel>, rows: &[Row], units: &[Vec<f64>]) {
    let (fit, model) = cpu(|| GaussianProcess::fit(kernel, rows, &Settings::default()));
    let (append, _) = cpu(|| {
        let mut longer = model.clone();
        longer.push(Row { unit: &units[999], loss: 0.3, error: f64::NAN });
        longer
    });
    let (beliefs, _) = cpu(|| model.beliefs(units));
    let (slope, _) = cpu(|| units[..100].iter().map(|unit| model.slope(unit)).collect::<Vec<_>>());
    let (n, density) = (rows.len(), model.log_posterior());
    println!("{n:>6} {fit:>10.2} {append:>10.3} {beliefs:>14.2} {:>14.4} {density:>10.3}", slope / 100.0);
}

fn ten() -> Space {
    Space::builder()
        .float("a", 1e-5..=1.0)
        .log()
        .float("b", 1e-5..=1.0)
        .log()
        .float("c", 1e-5..=1.0)
        .log()
        .float("d", 1e-5..=1.0)
        .log()
        .int("e", 1..=10)
        .int("f", 1..=100)
        .int("g", 1..=5)
        .categorical("h", ["x", "y", "z"])
        .categorical("i", ["x", "y"])
        .categorical("j", ["v", "w", "x", "y", "z"])
        .build()
        .expect("the space is valid")
}

fn loss(unit: &[f64], rng: &mut Rng) -> f64 {
    let bowl: f64 = unit[..4].iter().zip([8.0, 4.0, 2.0, 1.0]).map(|(u, w)| w * (u - 0.4) * (u - 0.4)).sum();
    let wave = (6.0 * unit[4] + 3.0 * unit[0]).sin() * 0.5;
    bowl + wave + unit[7] * unit[1] + 0.3 * unit[9] + 0.05 * rng.normal()
}

/// Milliseconds of one run of `work`, repeated until the kernel's clock, which may tick 250 times a second, says enough.
fn cpu<T>(work: impl Fn() -> T) -> (f64, T) {
    let (wall, before) = (Instant::now(), on_cpu());
    let mut made = work();
    let mut runs = 1.0;
    loop {
        let spent = match (before, on_cpu()) {
            (Some(before), Some(after)) => (after - before) as f64 * 1e-6,
            _ => wall.elapsed().as_secs_f64() * 1e3,
        };
        if spent > 100.0 {
            return (spent / runs, made);
        }
        made = work();
        runs += 1.0;
    }
}

/// Nanoseconds that this thread has been on a CPU, on Linux.
fn on_cpu() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

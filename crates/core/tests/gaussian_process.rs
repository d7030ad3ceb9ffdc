//! Gaussian processes: what they believe, how the beliefs change, and against whom they were checked.

use std::sync::Arc;

use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::Space;
use luthier_core::surrogate::Surrogate;
use luthier_core::surrogate::gaussian_process::{GaussianProcess, Kernel, Row, Settings};

fn mixed() -> Space {
    Space::builder()
        .float("rate", 0.0..=1.0)
        .int("layers", 1..=4)
        .categorical("optimizer", ["sgd", "adam", "lion"])
        .build()
        .unwrap()
}

fn draws(space: &Space, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Rng::stream(seed, 0, Purpose::Surrogate, 0);
    (0..n).map(|_| space.to_unit(&space.from_unit(&rng.uniforms(space.len())))).collect()
}

fn bowl(unit: &[f64]) -> f64 {
    unit.iter().filter(|u| !u.is_nan()).map(|u| (u - 0.3) * (u - 0.3)).sum()
}

fn rows<'a>(units: &'a [Vec<f64>], loss: impl Fn(&[f64]) -> f64) -> Vec<Row<'a>> {
    units.iter().map(|unit| Row { unit, loss: loss(unit), error: f64::NAN }).collect()
}

#[test]
fn slopes_agree_with_differences() {
    let space = mixed();
    let kernel = Arc::new(Kernel::of(&space));
    let units = draws(&space, 30, 1);
    let model = GaussianProcess::fit(&kernel, &rows(&units, bowl), &Settings::default());
    for unit in draws(&space, 10, 2) {
        let slope = model.slope(&unit).unwrap();
        for k in 0..2 {
            let moved = |by: f64| {
                let mut unit = unit.clone();
                unit[k] += by;
                model.belief(&unit)
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            let mean = (up.mean - down.mean) / 2e-5;
            let deviation = (up.deviation - down.deviation) / 2e-5;
            assert!((slope.mean[k] - mean).abs() < 1e-5, "{} is not {mean}", slope.mean[k]);
            assert!(
                (slope.deviation[k] - deviation).abs() < 1e-5,
                "{} is not {deviation}",
                slope.deviation[k]
            );
        }
        assert_eq!((slope.mean[2], slope.deviation[2]), (0.0, 0.0));
    }
}

#[test]
fn a_bowl_is_learned() {
    let space = mixed();
    let kernel = Arc::new(Kernel::of(&space));
    let units = draws(&space, 60, 1);
    let model = GaussianProcess::fit(&kernel, &rows(&units, bowl), &Settings::default());
    for unit in draws(&space, 20, 3) {
        let belief = model.belief(&unit);
        let expected = model.outputs().forward(bowl(&unit));
        assert!((belief.mean - expected).abs() < 0.2, "{belief:?} for {expected}");
    }
}

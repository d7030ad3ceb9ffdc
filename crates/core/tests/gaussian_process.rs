//! Gaussian processes: what they believe, how the beliefs change, and against whom they were checked.
//!
//! Reference numbers were made by `reference/gaussian_process.py` and `reference/noisy_improvement.py` with numpy, scipy and scikit-learn.

#[path = "spaces/mod.rs"]
#[allow(dead_code)]
mod spaces;

use std::sync::Arc;

use luthier_core::acquisition::expected_improvement::ExpectedImprovement;
use luthier_core::acquisition::noisy::NoisyLogExpectedImprovement;
use luthier_core::acquisition::{Acquisition, Worth};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{Condition, Space};
use luthier_core::surrogate::gaussian_process::{
    GaussianProcess, Kernel, Outputs, Power, Row, Scales, Settings, Success, Warp, most_at_fit, rows_at_fit,
};
use luthier_core::surrogate::{Belief, Surrogate};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    models: Vec<ModelCase>,
    transforms: Vec<TransformCase>,
}

#[derive(Deserialize)]
struct ModelCase {
    name: String,
    /// Choices of each parameter; 0 for a number.
    cells: Vec<usize>,
    /// Parameters that hang on the first choice of the first.
    hangs: Vec<usize>,
    units: Vec<Vec<Option<f64>>>,
    losses: Vec<f64>,
    errors: Vec<Option<f64>>,
    lengths: Vec<f64>,
    signal: f64,
    noise: f64,
    log_posterior: f64,
    asked: Vec<Vec<Option<f64>>>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// The highest posterior density found from forty random starts.
    highest: f64,
}

#[derive(Deserialize)]
struct TransformCase {
    name: String,
    losses: Vec<f64>,
    kind: String,
    power: f64,
    values: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/gaussian_process.json")).unwrap()
}

const LINEAR: Settings =
    Settings { transform: false, warp: false, most_rows: 1000, most_fitted: 300, exact: false };

impl ModelCase {
    fn kernel(&self) -> Arc<Kernel> {
        let mut builder = Space::builder();
        for (k, cells) in self.cells.iter().enumerate() {
            let name = format!("p{k}");
            builder = if *cells == 0 {
                builder.float(&name, 0.0..=1.0)
            } else {
                builder.categorical(&name, (0..*cells).map(|cell| format!("choice {cell}")))
            };
            if self.hangs.contains(&k) {
                builder = builder.when(Condition::eq("p0", "choice 0"));
            }
        }
        Arc::new(Kernel::of(&builder.build().unwrap()))
    }

    fn units(&self) -> Vec<Vec<f64>> {
        self.units.iter().map(|unit| filled(unit)).collect()
    }

    fn rows<'a>(&self, units: &'a [Vec<f64>]) -> Vec<Row<'a>> {
        let seen = self.losses.iter().zip(filled(&self.errors));
        units.iter().zip(seen).map(|(unit, (loss, error))| Row { unit, loss: *loss, error }).collect()
    }
}

fn filled(row: &[Option<f64>]) -> Vec<f64> {
    row.iter().map(|x| x.unwrap_or(f64::NAN)).collect()
}

fn mixed() -> Space {
    Space::builder()
        .float("rate", 0.0..=1.0)
        .int("layers", 1..=4)
        .categorical("optimizer", ["sgd", "adam", "lion"])
        .float("momentum", 0.0..=1.0)
        .when(Condition::eq("optimizer", "sgd"))
        .build()
        .unwrap()
}

fn kernel(space: &Space) -> Arc<Kernel> {
    Arc::new(Kernel::of(space))
}

fn draws(space: &Space, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Rng::stream(seed, 0, Purpose::Surrogate, 0);
    (0..n).map(|_| space.to_unit(&space.from_unit(&rng.uniforms(space.len())))).collect()
}

fn bowl(unit: &[f64]) -> f64 {
    unit.iter().filter(|u| !u.is_nan()).map(|u| (u - 0.3) * (u - 0.3)).sum()
}

fn rows(units: &[Vec<f64>], loss: impl Fn(&[f64]) -> f64) -> Vec<Row<'_>> {
    units.iter().map(|unit| Row { unit, loss: loss(unit), error: f64::NAN }).collect()
}

fn fitted(space: &Space, units: &[Vec<f64>], loss: impl Fn(&[f64]) -> f64) -> GaussianProcess {
    GaussianProcess::fit(&kernel(space), &rows(units, loss), &Settings::default())
}

fn check(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{name}: {found} is not {expected}");
}

fn check_beliefs(name: &str, found: &[Belief], expected: &[Belief], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        check(name, found.mean, expected.mean, tolerance);
        check(name, found.deviation, expected.deviation, tolerance);
    }
}

#[test]
fn beliefs_and_likelihoods_are_those_of_scikit_learn_and_numpy() {
    for case in reference().models {
        let units = case.units();
        let scales = Scales {
            lengths: case.lengths.clone(),
            signal: case.signal,
            noise: case.noise,
            warps: Vec::new(),
        };
        let model =
            GaussianProcess::with(&case.kernel(), &case.rows(&units), Outputs::linear(&case.losses), scales);
        check(&case.name, model.log_posterior(), case.log_posterior, 1e-8 * case.log_posterior.abs());
        let asked: Vec<Vec<f64>> = case.asked.iter().map(|unit| filled(unit)).collect();
        let expected = case.mean.iter().zip(&case.deviation);
        let expected: Vec<Belief> =
            expected.map(|(mean, deviation)| Belief { mean: *mean, deviation: *deviation }).collect();
        check_beliefs(&case.name, &model.beliefs(&asked), &expected, 1e-8);
        let one_by_one: Vec<Belief> = asked.iter().map(|unit| model.belief(unit)).collect();
        check_beliefs(&case.name, &one_by_one, &expected, 1e-8);
    }
}

#[test]
fn a_fit_is_as_plausible_as_the_best_of_forty_by_scipy() {
    for case in reference().models {
        let units = case.units();
        let model = GaussianProcess::fit(&case.kernel(), &case.rows(&units), &LINEAR);
        let found = model.log_posterior();
        assert!(found > case.highest - 1e-3, "{}: {found} is below {}", case.name, case.highest);
    }
}

#[test]
fn powers_are_those_of_scipy() {
    for case in reference().transforms {
        let outputs = Outputs::of(&case.losses);
        let (kind, power) = match outputs.power() {
            Power::Linear => ("linear", 1.0),
            Power::BoxCox(power) => ("boxcox", power),
            Power::YeoJohnson(power) => ("yeojohnson", power),
            Power::Bilog => ("bilog", f64::NAN),
        };
        assert_eq!(kind, case.kind, "{}", case.name);
        check(&case.name, power, case.power, 1e-6);
        for (loss, value) in case.losses.iter().zip(&case.values) {
            check(&case.name, outputs.forward(*loss), *value, 1e-5);
        }
    }
}

#[test]
fn outputs_increase_and_are_undone() {
    let mut rng = Rng::stream(1, 0, Purpose::Surrogate, 0);
    let normal: Vec<f64> = (0..50).map(|_| rng.normal()).collect();
    let samples: [Vec<f64>; 4] = [
        normal.clone(),
        normal.iter().map(|z| z.exp()).collect(),
        normal.iter().map(|z| -(2.0 * z).exp()).collect(),
        normal.iter().map(|z| (-z).exp().sqrt() - 0.5).collect(),
    ];
    for losses in samples {
        let outputs = Outputs::of(&losses);
        let (low, high) = losses.iter().fold((f64::MAX, f64::MIN), |(a, b), y| (a.min(*y), b.max(*y)));
        let at = |k: i32| low + f64::from(k - 20) / 60.0 * (high - low);
        for k in 0..=80 {
            let (loss, value) = (at(k), outputs.forward(at(k)));
            assert!(value.is_finite() && value <= outputs.forward(at(k + 1)));
            let rise = (outputs.forward(loss + 1e-6) - outputs.forward(loss - 1e-6)) / 2e-6;
            if outputs.slope(loss) > 0.0 {
                check("slope", outputs.slope(loss), rise, 1e-4 * (1.0 + rise));
                check("loss", outputs.backward(value), loss, 1e-7 * (1.0 + loss.abs()));
            }
        }
    }
}

#[test]
fn diverged_losses_do_not_flatten_the_others() {
    let regular: Vec<f64> = (0..20).map(|k| 0.1 + 0.02 * f64::from(k)).collect();
    for diverged in [1, 5, 30] {
        for size in [1e6, 1e30, f64::MAX] {
            let mut losses = regular.clone();
            losses.extend(vec![size; diverged]);
            let outputs = Outputs::of(&losses);
            let between = outputs.forward(regular[19]) - outputs.forward(regular[0]);
            assert!(between > 0.8, "{between} with {diverged} of {size:e}");
            assert!(outputs.forward(size) > outputs.forward(regular[19]));
            assert!(outputs.forward(size) < 10.0);
        }
    }
}

#[test]
fn losses_at_the_ends_of_the_numbers_are_like_any_others() {
    let space = mixed();
    let units = draws(&space, 30, 1);
    let usual = fitted(&space, &units, |unit| bowl(unit) - 0.5);
    for scale in [1.5e308, 1e200, 1e-300] {
        let model = fitted(&space, &units, |unit| (bowl(unit) - 0.5) * scale);
        check_beliefs("scaled", &model.beliefs(&units), &usual.beliefs(&units), 1e-3);
    }
    let mut model = fitted(&space, &units, |_| 0.0);
    model.push(Row { unit: &units[0], loss: f64::MAX, error: f64::NAN });
    assert!(model.belief(&units[0]).mean.is_finite());
}

#[test]
fn losses_over_many_magnitudes_are_not_taken_for_diverged() {
    let losses: Vec<f64> = (-20..20).map(|k| 2_f64.powi(k)).collect();
    let outputs = Outputs::of(&losses);
    assert!(losses.windows(2).all(|pair| outputs.forward(pair[0]) + 1e-3 < outputs.forward(pair[1])));
}

#[test]
fn slopes_agree_with_differences() {
    let space = mixed();
    let model = fitted(&space, &draws(&space, 30, 1), bowl);
    for unit in draws(&space, 20, 2) {
        let slope = model.slope(&unit).unwrap();
        assert_eq!((slope.mean[2], slope.deviation[2]), (0.0, 0.0));
        for k in [0, 1, 3] {
            if unit[k].is_nan() {
                assert_eq!((slope.mean[k], slope.deviation[k]), (0.0, 0.0));
                continue;
            }
            let moved = |by: f64| {
                let mut unit = unit.clone();
                unit[k] += by;
                model.belief(&unit)
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            check("mean", slope.mean[k], (up.mean - down.mean) / 2e-5, 1e-5);
            check("deviation", slope.deviation[k], (up.deviation - down.deviation) / 2e-5, 1e-5);
        }
    }
}

#[test]
fn rows_pushed_one_by_one_give_the_model_made_at_once() {
    let space = mixed();
    let units = draws(&space, 60, 4);
    let mut rows = rows(&units, bowl);
    rows[50].error = 0.1;
    let whole = GaussianProcess::fit(&kernel(&space), &rows, &Settings::default());
    let mut grown =
        GaussianProcess::with(whole.kernel(), &rows[..7], whole.outputs().clone(), whole.scales().clone());
    for row in &rows[7..] {
        grown.push(*row);
    }
    let asked = draws(&space, 20, 5);
    check_beliefs("pushed", &grown.beliefs(&asked), &whole.beliefs(&asked), 1e-9);
    check("likelihood", grown.log_likelihood(), whole.log_likelihood(), 1e-8);

    let before = grown.beliefs(&asked);
    grown.push_believed(&asked[0], -1.0, 0.0);
    grown.push_believed(&asked[1], -1.0, 0.0);
    assert!(grown.belief(&asked[0]).mean < before[0].mean);
    grown.truncate(60);
    check_beliefs("taken back", &grown.beliefs(&asked), &before, 0.0);
}

#[test]
fn a_row_without_itself_is_believed_as_if_it_had_never_been_seen() {
    let space = mixed();
    let units = draws(&space, 25, 6);
    let rows = rows(&units, bowl);
    let model = GaussianProcess::fit(&kernel(&space), &rows, &Settings::default());
    let left_out = model.leave_one_out();
    for k in [0, 7, 24] {
        let mut others = rows.clone();
        others.remove(k);
        let other =
            GaussianProcess::with(model.kernel(), &others, model.outputs().clone(), model.scales().clone());
        let belief = other.belief(&units[k]);
        check("mean", left_out[k].mean, belief.mean, 1e-7);
        let deviation = (belief.deviation.powi(2) + model.scales().noise).sqrt();
        check("deviation", left_out[k].deviation, deviation, 1e-7);
    }
}

#[test]
fn smoothed_losses_are_the_beliefs_at_the_rows() {
    let space = mixed();
    let units = draws(&space, 40, 7);
    let model = fitted(&space, &units, |unit| bowl(unit) + (unit[0] * 1e4).sin() * 0.1);
    check_beliefs("smoothed", &model.smoothed(), &model.beliefs(&units), 1e-6);
}

#[test]
fn joint_beliefs_agree_with_single_ones_and_draws_follow_them() {
    let space = mixed();
    let model = fitted(&space, &draws(&space, 20, 8), bowl);
    let asked = draws(&space, 4, 9);
    let joint = model.joint(&asked);
    for (k, belief) in model.beliefs(&asked).iter().enumerate() {
        check("mean", joint.mean[k], belief.mean, 1e-12);
        check("deviation", joint.covariance[k * 5].sqrt(), belief.deviation, 1e-9);
    }
    let mut rng = Rng::stream(1, 0, Purpose::Surrogate, 1);
    let n = 20_000;
    let draws: Vec<Vec<f64>> = (0..n).map(|_| joint.draw(&mut rng)).collect();
    for i in 0..4 {
        for j in 0..4 {
            let product = |draw: &Vec<f64>| (draw[i] - joint.mean[i]) * (draw[j] - joint.mean[j]);
            let covariance = draws.iter().map(product).sum::<f64>() / f64::from(n);
            let size = (joint.covariance[i * 5] * joint.covariance[j * 5]).sqrt();
            // Five standard errors of the mean of a product of two normal numbers.
            check(
                "covariance",
                covariance,
                joint.covariance[i * 4 + j],
                5.0 * size * (2.0 / f64::from(n)).sqrt(),
            );
        }
    }
}

#[test]
fn a_conditional_parameter_counts_where_it_is_active_only() {
    let space = mixed();
    let kernel = Kernel::of(&space);
    assert_eq!((kernel.len(), kernel.feature_of(3)), (5, Some(3)));
    let lengths = [1.0; 5];
    let correlation = |a: [f64; 4], b: [f64; 4]| kernel.correlation(&lengths, &a, &b);
    let (with, without) = (|u| [0.5, 0.5, 1.0 / 6.0, u], [0.5, 0.5, 0.5, f64::NAN]);
    assert_eq!(correlation(without, without), 1.0);
    assert_eq!(correlation(with(0.2), with(0.2)), 1.0);
    assert!(correlation(with(0.2), with(0.9)) < 1.0);
    // The choice and the condition both differ, whatever the value.
    assert!(correlation(with(0.5), without) < correlation(with(0.2), with(0.9)));
    assert!(correlation(with(0.0), without) > 0.1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// z'Kz is not negative, whatever the space, the points, the lengths and the signs in z.
    #[test]
    fn the_kernel_is_positive_definite(space in spaces::any_space(), seed in 0..1000u64, scale in -2.0..2.0f64) {
        let kernel = kernel(&space);
        let units = draws(&space, 14, seed);
        let lengths: Vec<f64> = (0..kernel.len()).map(|f| 10f64.powf(scale * (f as f64 * 0.7).cos())).collect();
        let rows = rows(&units, |_| 0.0);
        let scales = Scales { lengths, signal: 1.0, noise: 1e-9, warps: Vec::new() };
        let model = GaussianProcess::with(&kernel, &rows, Outputs::identity(), scales);
        // A matrix with a negative eigenvalue has no factor without jitter.
        prop_assert!(model.jitter() == 0.0, "jitter {}", model.jitter());
    }

    /// Whatever the space and the losses, beliefs are finite and pushing agrees with conditioning.
    #[test]
    fn beliefs_are_finite_on_any_space(space in spaces::any_space(), seed in 0..1000u64, n in 0..25usize) {
        let units = draws(&space, n, seed);
        let model = fitted(&space, &units, |unit| bowl(unit).exp());
        for (unit, belief) in draws(&space, 10, seed + 1).iter().zip(model.beliefs(&draws(&space, 10, seed + 1))) {
            prop_assert!(belief.mean.is_finite() && belief.deviation > 0.0 && belief.deviation.is_finite());
            let slope = model.slope(unit).unwrap();
            prop_assert!(slope.mean.iter().chain(&slope.deviation).all(|s| s.is_finite()));
        }
    }
}

#[test]
fn a_bowl_is_learned() {
    let space = mixed();
    let model = fitted(&space, &draws(&space, 80, 1), bowl);
    for unit in draws(&space, 20, 3) {
        let expected = model.outputs().forward(bowl(&unit));
        check("mean", model.belief(&unit).mean, expected, 0.3);
    }
}

#[test]
fn a_parameter_without_effect_gets_a_long_length() {
    let space = Space::builder().float("matters", 0.0..=1.0).float("idle", 0.0..=1.0).build().unwrap();
    let model = fitted(&space, &draws(&space, 40, 2), |unit| (7.0 * unit[0]).sin());
    let lengths = &model.scales().lengths;
    assert!(lengths[1] > 5.0 * lengths[0], "{lengths:?}");
}

#[test]
fn coordinates_are_bent_where_losses_change_at_one_end_only() {
    let space = Space::builder().float("x", 0.0..=1.0).float("y", 0.0..=1.0).build().unwrap();
    let units = draws(&space, 60, 2);
    let early = |unit: &[f64]| (6.0 * (unit[0] + 0.01).ln()).sin() + unit[1];
    let warped = Settings { warp: true, ..LINEAR };
    let straight = GaussianProcess::fit(&kernel(&space), &rows(&units, early), &LINEAR);
    let bent = GaussianProcess::fit(&kernel(&space), &rows(&units, early), &warped);
    let [Warp { a, .. }, _] = bent.scales().warps[..] else { panic!("no warps: {:?}", bent.scales()) };
    assert!(a < 0.7, "{:?}", bent.scales());
    assert!(bent.log_likelihood() > straight.log_likelihood() + 3.0);
    let even = |unit: &[f64]| (6.0 * unit[0]).sin() + unit[1];
    let even = GaussianProcess::fit(&kernel(&space), &rows(&units, even), &warped);
    assert!(even.scales().warps.is_empty(), "{:?}", even.scales());

    for unit in draws(&space, 10, 3) {
        let slope = bent.slope(&unit).unwrap();
        for k in 0..2 {
            let moved = |by: f64| {
                let mut unit = unit.clone();
                unit[k] += by;
                bent.belief(&unit)
            };
            let (up, down) = (moved(1e-6), moved(-1e-6));
            check("mean", slope.mean[k], (up.mean - down.mean) / 2e-6, 1e-4 * (1.0 + slope.mean[k].abs()));
            let deviation = (up.deviation - down.deviation) / 2e-6;
            check("deviation", slope.deviation[k], deviation, 1e-4 * (1.0 + deviation.abs()));
        }
    }
}

#[test]
fn noise_is_told_from_signal() {
    let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
    let units = draws(&space, 60, 2);
    let mut rng = Rng::stream(3, 0, Purpose::Surrogate, 0);
    let noise: Vec<f64> = units.iter().map(|_| 0.3 * rng.normal()).collect();
    let at = |unit: &[f64]| units.iter().position(|other| other == unit).unwrap();
    let quiet = fitted(&space, &units, |unit| (6.0 * unit[0]).sin());
    let loud = fitted(&space, &units, |unit| (6.0 * unit[0]).sin() + noise[at(unit)]);
    assert!(quiet.scales().noise < 1e-3, "{:?}", quiet.scales());
    assert!((0.02..0.4).contains(&loud.scales().noise), "{:?}", loud.scales());
}

#[test]
fn known_errors_take_the_place_of_noise() {
    let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
    let units = draws(&space, 12, 2);
    let mut rows = rows(&units, bowl);
    rows[3].loss += 3.0;
    rows[3].error = 10.0;
    let model = GaussianProcess::fit(&kernel(&space), &rows, &LINEAR);
    let belief = model.belief(&units[3]);
    assert!((belief.mean - model.outputs().forward(bowl(&units[3]))).abs() < 0.1, "{belief:?}");
}

#[test]
fn equal_losses_duplicates_and_single_rows_are_no_trouble() {
    let space = mixed();
    let units = draws(&space, 30, 1);
    let equal = fitted(&space, &units, |_| 0.7);
    let belief = equal.belief(&units[0]);
    check("equal", equal.outputs().backward(belief.mean), 0.7, 1e-9);

    let same = vec![units[0].clone(); 30];
    let same = GaussianProcess::fit(
        &kernel(&space),
        &same
            .iter()
            .enumerate()
            .map(|(k, unit)| Row { unit, loss: k as f64, error: 0.0 })
            .collect::<Vec<_>>(),
        &Settings::default(),
    );
    check("mean of duplicates", same.belief(&units[0]).mean, 0.0, 0.05);

    for n in [0, 1, 2] {
        let few = fitted(&space, &units[..n], bowl);
        assert_eq!(few.len(), n);
        let belief = few.belief(&units[5]);
        assert!(belief.mean.is_finite() && belief.deviation > 0.1);
        assert!(few.slope(&units[5]).is_some());
        check_beliefs("few", &few.beliefs(&units[5..6]), &[belief], 1e-12);
        assert_eq!(few.joint(&units[..2]).mean.len(), 2);
    }
}

#[test]
fn a_space_of_fixed_values_has_one_belief() {
    let space = Space::builder().fixed("seed", 1).build().unwrap();
    let units = draws(&space, 5, 1);
    let mut losses = [0.0, 1.0, 2.0, 3.0, 4.0].iter();
    let rows: Vec<Row> =
        units.iter().map(|unit| Row { unit, loss: *losses.next().unwrap(), error: f64::NAN }).collect();
    let model = GaussianProcess::fit(&kernel(&space), &rows, &LINEAR);
    check("mean", model.belief(&units[0]).mean, 0.0, 1e-9);
}

#[test]
fn five_hundred_parameters_are_fitted() {
    let mut builder = Space::builder();
    for k in 0..500 {
        builder = builder.float(&format!("x{k}"), 0.0..=1.0);
    }
    let space = builder.build().unwrap();
    let model = fitted(&space, &draws(&space, 40, 1), |unit| unit[0] + 0.5 * unit[1]);
    let low = |x: f64| model.belief(&[&[x], &[0.5; 499][..]].concat()).mean;
    assert!(low(0.1) < low(0.9));
}

#[test]
fn long_histories_are_thinned() {
    let space = mixed();
    let units = draws(&space, 300, 1);
    let settings = Settings { most_rows: 60, most_fitted: 40, ..Settings::default() };
    let model = GaussianProcess::fit(&kernel(&space), &rows(&units, bowl), &settings);
    assert_eq!(model.len(), 60);
    for unit in draws(&space, 10, 3) {
        check("mean", model.belief(&unit).mean, model.outputs().forward(bowl(&unit)), 0.5);
    }
}

#[test]
fn fits_become_rarer_and_never_depend_on_the_past() {
    let first: Vec<usize> = (0..=25).map(|n| rows_at_fit(n, 500)).collect();
    assert_eq!(first[18..], [18, 19, 20, 20, 22, 22, 24, 24]);
    for (n, most) in (1..3000).flat_map(|n| [(n, 50), (n, 500), (n, usize::MAX)]) {
        let rows = rows_at_fit(n, most);
        assert!(rows <= n && n - rows <= n / 10 && rows >= rows_at_fit(n - 1, most));
        assert!(n - rows < most - most_at_fit(most), "{n} rows, {rows} at the fit");
        assert_eq!(rows_at_fit(rows, most), rows);
    }
}

#[test]
fn success_is_learned_and_its_slope_agrees_with_differences() {
    let space = mixed();
    let units = draws(&space, 60, 1);
    let works = |unit: &[f64]| unit[0] < 0.6 || unit[2] > 0.5;
    let outcomes: Vec<(&[f64], bool)> = units.iter().map(|unit| (&unit[..], works(unit))).collect();
    let success = Success::fit(&kernel(&space), &outcomes);
    let asked = draws(&space, 100, 2);
    let right = asked.iter().filter(|unit| (success.probability(unit) > 0.5) == works(unit)).count();
    assert!(right >= 88, "{right}");
    let all = success.log_probabilities(&asked);
    for (unit, log) in asked.iter().zip(all).take(20) {
        check("one by one", success.log_probability(unit), log, 1e-9);
        let (value, slope) = success.slope(unit);
        check("value", value, log, 1e-9);
        let moved = |by: f64| success.log_probability(&[&[unit[0] + by], &unit[1..]].concat());
        check("slope", slope[0], (moved(1e-5) - moved(-1e-5)) / 2e-5, 1e-4);
    }
}

#[test]
fn success_is_flat_while_outcomes_are_alike() {
    let space = mixed();
    let units = draws(&space, 3, 1);
    let outcomes: Vec<(&[f64], bool)> = units.iter().map(|unit| (&unit[..], true)).collect();
    let mut success = Success::fit(&kernel(&space), &outcomes);
    assert!(success.is_flat() && !success.push(&units[0], false));
    check("probability", success.probability(&units[0]), 0.8, 1e-12);
    let mut both = outcomes.clone();
    both[0].1 = false;
    let mut success = Success::fit(&kernel(&space), &both);
    let before = success.probability(&units[0]);
    assert!(before < success.probability(&units[1]));
    assert!(success.push(&units[0], false));
    assert!(success.probability(&units[0]) < before);
}

#[test]
fn values_around_zero_keep_their_sign_and_are_drawn_in_where_they_spread_over_magnitudes() {
    let even: Vec<f64> = (0..20).map(|k| 0.1 * f64::from(k) - 0.3).collect();
    assert_eq!(Outputs::around_zero(&even).1, None);
    let wild: Vec<f64> = (0..20).map(|k| (0.9 * f64::from(k) - 3.0).exp() - 1.0).collect();
    let bilog = Outputs::around_zero(&wild).1.expect("they spread over seven magnitudes");
    assert_eq!(bilog.power(), Power::Bilog);
    let zero = bilog.forward(0.0);
    for value in &wild {
        assert_eq!(bilog.forward(*value) > zero, *value > 0.0, "{value}");
        let back = bilog.backward(bilog.forward(*value));
        assert!((back - value).abs() < 1e-9 * value.abs().max(1.0), "{back} is not {value}");
        let step = 1e-5 * value.abs().max(1e-2);
        let slope = (bilog.forward(value + step) - bilog.forward(value - step)) / (2.0 * step);
        assert!((bilog.slope(*value) - slope).abs() < 1e-3 * slope, "{value}: {slope}");
    }
}

#[derive(Deserialize)]
struct NoisyCase {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    noise: Vec<f64>,
    points: Vec<Vec<f64>>,
    lengths: Vec<f64>,
    signal: f64,
    draws: Vec<Vec<f64>>,
    asked: Vec<Vec<f64>>,
    log: Vec<f64>,
}

impl NoisyCase {
    fn model(&self) -> GaussianProcess {
        let mut builder = Space::builder();
        for k in 0..self.lengths.len() {
            builder = builder.float(&format!("x{k}"), 0.0..=1.0);
        }
        let pairs = self.x.iter().zip(&self.y);
        let rows: Vec<Row> = pairs.map(|(unit, loss)| Row { unit, loss: *loss, error: f64::NAN }).collect();
        let scales = Scales {
            lengths: self.lengths.clone(),
            signal: self.signal,
            noise: self.noise[0],
            warps: Vec::new(),
        };
        GaussianProcess::with(&kernel(&builder.build().unwrap()), &rows, Outputs::identity(), scales)
    }
}

#[test]
fn the_noisy_expected_improvement_is_that_of_models_that_believe_the_draws() {
    let cases: Vec<NoisyCase> =
        serde_json::from_str(include_str!("reference/noisy_improvement.json")).unwrap();
    for case in cases {
        let model = case.model();
        let noisy = NoisyLogExpectedImprovement::new(&model, &case.points, &case.draws, 0.0);
        for ((unit, log), found) in case.asked.iter().zip(&case.log).zip(noisy.values(&case.asked)) {
            check("value", found, *log, 1e-4 * log.abs());
            check("alone", noisy.value(unit), found, 1e-9 * found.abs());
            let (value, slope) = noisy.slope(unit).unwrap();
            check("value with its slope", value, found, 1e-9 * found.abs());
            for (k, slope) in slope.iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = unit.clone();
                    moved[k] += by;
                    noisy.value(&moved)
                };
                check("slope", *slope, (at(1e-5) - at(-1e-5)) / 2e-5, 1e-3 * slope.abs().max(1.0));
            }
        }
    }
}

#[test]
fn less_is_expected_next_to_the_best_than_if_it_were_believed_apart() {
    // Where a trial is the best of a draw, the model that believes the draw knows what is beside it.
    let case: Vec<NoisyCase> =
        serde_json::from_str(include_str!("reference/noisy_improvement.json")).unwrap();
    let model = case[1].model();
    let joint = model.joint(&case[1].points);
    let mut rng = Rng::stream(1, 0, Purpose::Surrogate, 0);
    let draws: Vec<Vec<f64>> = (0..64).map(|_| joint.draw(&mut rng)).collect();
    let noisy = NoisyLogExpectedImprovement::new(&model, &case[1].points, &draws, 0.0);
    let beside = &case[1].points[0];
    let apart = draws.iter().map(|draw| {
        let best = draw.iter().copied().fold(f64::INFINITY, f64::min);
        ExpectedImprovement { best }.worth(model.belief(beside))
    });
    let apart = (apart.sum::<f64>() / 64.0).ln();
    assert!(noisy.value(beside) < apart - 2.0, "{} beside {apart}", noisy.value(beside));
}

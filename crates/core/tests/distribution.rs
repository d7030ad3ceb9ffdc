//! Random search draws from the distributions it claims, and its streams never change.
//!
//! Each comparison has a critical value at α = 0.001. Seeds are fixed, so a test that passes keeps passing; after a
//! wanted change of the streams, one of the 8 comparisons fails by chance with probability 0.008.

mod play;

use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{Distribution, Parameter, Prior, Scale, Value};
use play::{Play, choice, completed, float, int, on_scale, space};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

const DRAWS: usize = 4000;

/// The values of one parameter over a study of random search, as numbers or choice indices.
fn drawn(parameter: Parameter) -> Vec<f64> {
    let mut spec = play::spec(space(vec![float("first", 0.0, 1.0), parameter]), "random");
    spec.seed = 2024;
    let mut play = Play::new(spec);
    play.run(DRAWS, |_| completed(1.0));
    play.study.trials().iter().map(|trial| trial.point.0[1]).collect()
}

/// The largest gap to a distribution function (Kolmogorov 1933), against its asymptotic critical value.
fn check_continuous(parameter: Parameter, cdf: impl Fn(f64) -> f64) {
    let name = parameter.name.clone();
    let mut values = drawn(parameter);
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let gap =
        |(k, x): (usize, &f64)| (cdf(*x) - k as f64 / n).abs().max(((k + 1) as f64 / n - cdf(*x)).abs());
    let largest = values.iter().enumerate().map(gap).fold(0.0, f64::max);
    // 2 exp(−2 c²) = 0.001 at c = 1.9495.
    assert!(largest < 1.9495 / n.sqrt(), "{name}: {largest}");
}

/// Pearson's χ² of the counts of values against their shares.
fn check_discrete(parameter: Parameter, shares: &[(f64, f64)]) {
    let name = parameter.name.clone();
    let values = drawn(parameter);
    let n = values.len() as f64;
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    assert!((total - 1.0).abs() < 1e-9, "{name}: the shares sum to {total}");
    let count = |value: f64| values.iter().filter(|x| **x == value).count() as f64;
    assert_eq!(shares.iter().map(|(value, _)| count(*value)).sum::<f64>(), n, "{name}: a value off the list");
    let term = |(value, share): &(f64, f64)| (count(*value) - n * share).powi(2) / (n * share);
    let statistic: f64 = shares.iter().map(term).sum();
    let critical = ChiSquared::new(shares.len() as f64 - 1.0).unwrap().inverse_cdf(0.999);
    assert!(statistic < critical, "{name}: {statistic} ≥ {critical}");
}

#[test]
fn linear_numbers_are_uniform() {
    check_continuous(float("x", -3.0, 5.0), |x| (x + 3.0) / 8.0);
}

#[test]
fn logarithms_of_log_numbers_are_uniform() {
    check_continuous(on_scale("lr", 1e-5, 1.0, Scale::Log), |x| (x / 1e-5).ln() / 1e5f64.ln());
}

#[test]
fn logarithms_of_the_distance_to_one_are_uniform() {
    check_continuous(on_scale("momentum", 0.5, 0.9999, Scale::Log1m), |x| {
        (0.5 / (1.0 - x)).ln() / (0.5f64 / 0.0001).ln()
    });
}

#[test]
fn integers_have_equal_shares() {
    let shares: Vec<(f64, f64)> = (3..=12).map(|k| (f64::from(k), 0.1)).collect();
    check_discrete(int("n", 3, 12), &shares);
}

#[test]
fn integers_on_a_log_scale_have_the_share_of_their_cell() {
    let distribution = Distribution::Int { low: 1, high: 16, scale: Scale::Log, step: 1 };
    let share = |k: f64| ((k + 0.5) / (k - 0.5)).ln() / (16.5f64 / 0.5).ln();
    let shares: Vec<(f64, f64)> = (1..=16).map(|k| (f64::from(k), share(f64::from(k)))).collect();
    check_discrete(Parameter::new("n", distribution), &shares);
}

#[test]
fn choices_have_equal_shares() {
    let shares: Vec<(f64, f64)> = (0..7).map(|k| (f64::from(k), 1.0 / 7.0)).collect();
    check_discrete(choice("c", (0..7).map(|k| Value::from(format!("c{k}")))), &shares);
}

#[test]
fn a_bell_is_drawn_with_one_fifth_of_doubt() {
    let mut parameter = on_scale("lr", 1e-4, 1.0, Scale::Log);
    parameter.prior = Some(Prior::Center { center: 1e-2.into(), spread: 0.1 });
    let bell = Normal::new(0.5, 0.1).unwrap();
    check_continuous(parameter, |x| {
        let unit = (x / 1e-4).ln() / 1e4f64.ln();
        let mass = (bell.cdf(unit) - bell.cdf(0.0)) / (bell.cdf(1.0) - bell.cdf(0.0));
        0.2 * unit + 0.8 * mass
    });
}

#[test]
fn weighted_choices_are_drawn_with_one_fifth_of_doubt() {
    let mut parameter = choice("c", ["a", "b", "c", "d"]);
    parameter.prior = Some(Prior::Weights { weights: vec![1.0, 0.0, 6.0, 3.0] });
    let share = |weight: f64| 0.2 / 4.0 + 0.8 * weight / 10.0;
    check_discrete(parameter, &[(0.0, share(1.0)), (1.0, share(0.0)), (2.0, share(6.0)), (3.0, share(3.0))]);
}

#[test]
fn parameters_are_drawn_independently() {
    let mut play = Play::new(play::spec(space(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)]), "random"));
    play.run(DRAWS, |_| completed(1.0));
    let mut counts = [0.0f64; 64];
    for trial in play.study.trials() {
        counts[(trial.point.0[0] * 8.0) as usize * 8 + (trial.point.0[1] * 8.0) as usize] += 1.0;
    }
    let expected = DRAWS as f64 / 64.0;
    let statistic: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    assert!(statistic < ChiSquared::new(63.0).unwrap().inverse_cdf(0.999), "{statistic}");
}

// Values that must never change.

#[test]
fn the_generator_is_chacha_with_eight_rounds() {
    // Strombergson, "Test Vectors for the Stream Cipher ChaCha" (2013), TC1: 256-bit key and IV of zeros, 8 rounds.
    let expected = "3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e\
                    984ce172b9216f419f445367456d5619314a42a3da86b001387bfdb80e0cfe42";
    let mut block = [0; 64];
    ChaCha8Rng::from_seed([0; 32]).fill_bytes(&mut block);
    let byte = |k: usize| u8::from_str_radix(&expected[2 * k..2 * k + 2], 16).unwrap();
    assert_eq!(block, std::array::from_fn(byte));
    let mut keyed = ChaCha8Rng::from_seed(Rng::key(1, 2, Purpose::Drawn, 3));
    let mut stream = Rng::stream(1, 2, Purpose::Drawn, 3);
    for _ in 0..20 {
        assert_eq!(stream.bits(), keyed.next_u64());
    }
}

#[test]
fn a_key_is_seed_trial_purpose_and_draw() {
    let key = Rng::key(0x0102_0304, 5, Purpose::Study, u64::MAX);
    let mut expected = [0; 32];
    expected[..4].copy_from_slice(&[4, 3, 2, 1]);
    expected[8] = 5;
    expected[16] = 6;
    expected[24..].fill(255);
    assert_eq!(key, expected);
}

#[test]
fn streams_give_the_numbers_they_always_gave() {
    let stream = |purpose| Rng::stream(42, 7, purpose, 0);
    let mut bits = stream(Purpose::Sampler);
    assert_eq!(
        [bits.bits(), bits.bits(), bits.bits()],
        [5_952_004_014_005_906_206, 16_867_591_613_510_958_003, 13_163_694_625_274_847_114]
    );
    let mut uniform = stream(Purpose::Scheduler);
    assert_eq!([uniform.uniform(), uniform.uniform()], [0.685_130_289_252_367_2, 0.977_899_099_982_783_5]);
    let mut below = stream(Purpose::Drawn);
    assert_eq!([below.below(10), below.below(1000), below.below(1 << 40)], [6, 911, 505_419_073_165]);
    let mut normal = stream(Purpose::Objective);
    for expected in [-0.568_530_624_082_992, -1.403_005_752_620_309_2, 1.514_881_032_085_928_7] {
        let found = normal.normal();
        assert!((found - expected).abs() < 1e-12, "{found}");
    }
}

#[test]
fn samplers_give_the_points_they_always_gave() {
    check_snapshot("random", [[0.391_733_680_246_907_3, 2.0, 0.0], [1.282_683_932_427_032e-5, 3.0, 2.0]]);
    check_snapshot("sobol", [[4.787_307_994_577_539e-5, 6.0, 0.0], [0.205_887_668_186_272_94, 3.0, 1.0]]);
    check_snapshot("grid", [[1e-5, 5.0, 1.0], [1e-5, 5.0, 2.0]]);
}

/// Trials 10 and 11 of a study of seed 3 in which trial `n` had the loss `(5 n) mod 7`.
fn check_snapshot(sampler: &str, expected: [[f64; 3]; 2]) {
    let parameters =
        vec![on_scale("lr", 1e-5, 1.0, Scale::Log), int("n", 1, 6), choice("c", ["a", "b", "c"])];
    let mut spec = play::spec(space(parameters), sampler);
    spec.seed = 3;
    let mut play = Play::new(spec);
    play.run(12, |trial| completed(f64::from(trial.number * 5 % 7)));
    for (trial, expected) in play.study.trials()[10..].iter().zip(expected) {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs();
        assert!(trial.point.0.iter().zip(&expected).all(close), "{sampler}: {:?}", trial.point.0);
    }
}

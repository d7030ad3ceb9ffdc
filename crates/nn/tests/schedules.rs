//! Learning-rate schedules against PyTorch and Keras (`reference/optimizers.py`) and by themselves.

use luthier_nn::{LearningRate, Plateau, PlateauSettings, Schedule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    schedules: Vec<Case>,
    plateaus: Vec<Watched>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    from: String,
    plan: LearningRate,
    planned: f64,
    passed: Vec<f64>,
    factors: Vec<f64>,
}

#[derive(Deserialize)]
struct Watched {
    from: String,
    settings: PlateauSettings,
    losses: Vec<f64>,
    factors: Vec<f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("reference/optimizers.json")).unwrap()
}

#[test]
fn factors_agree_with_pytorch_and_keras() {
    let fixture = fixture();
    assert_eq!(fixture.schedules.len(), 19);
    for case in &fixture.schedules {
        // Keras computes schedules in single precision.
        let tolerance = if case.from == "keras" { 1e-6 } else { 1e-9 };
        for (&passed, want) in case.passed.iter().zip(&case.factors) {
            let got = case.plan.factor(passed, case.planned);
            assert!(
                (got - want).abs() < tolerance,
                "{}: factor {got} after {passed} epochs, in {} {want}",
                case.name,
                case.from
            );
        }
    }
}

#[test]
fn every_schedule_but_the_constant_ones_is_checked() {
    let fixture = fixture();
    for &schedule in Schedule::ALL {
        let checked = fixture.schedules.iter().any(|case| case.plan.schedule == schedule);
        assert!(checked || schedule == Schedule::ReduceOnPlateau, "{schedule}");
    }
}

#[test]
fn plateaus_agree_with_pytorch_and_keras_and_survive_being_saved() {
    let fixture = fixture();
    assert_eq!(fixture.plateaus.len(), 5);
    for (number, case) in fixture.plateaus.iter().enumerate() {
        let mut plateau = Plateau::new(case.settings);
        for (epoch, (&loss, want)) in case.losses.iter().zip(&case.factors).enumerate() {
            let got = plateau.observe(loss);
            assert!(
                (got - want).abs() < 1e-6,
                "plateau {number}: {got} after epoch {epoch}, in {} {want}",
                case.from
            );
            let saved = serde_json::to_string(&plateau).unwrap();
            assert_eq!(serde_json::from_str::<Plateau>(&saved).unwrap(), plateau);
        }
        assert!(plateau.factor() < 1.0, "plateau {number} never cut the rate");
    }
}

#[test]
fn a_plateau_takes_negative_and_infinite_losses() {
    let settings = PlateauSettings { patience: 2, factor: 0.5, threshold: 0.1, ..PlateauSettings::default() };
    let mut plateau = Plateau::new(settings);
    let factors =
        [f64::NAN, -1.0, -1.05, -1.2, f64::INFINITY, f64::NAN, -2.0].map(|loss| plateau.observe(loss));
    assert_eq!(factors, [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
}

#[test]
fn a_watch_exists_only_where_it_is_asked_for() {
    for &schedule in Schedule::ALL {
        let plan = LearningRate { schedule, ..LearningRate::default() };
        assert_eq!(plan.watch().is_some(), schedule == Schedule::ReduceOnPlateau);
    }
}

#[test]
fn factors_are_fractions_at_every_moment_and_stay_beyond_the_end() {
    for &schedule in Schedule::ALL {
        for (warmup_epochs, planned) in [(0.0, 10.0), (2.5, 10.0), (10.0, 10.0), (20.0, 10.0), (0.0, 1.0)] {
            for restart_factor in [1.0, 1.001, 1.5, 3.0] {
                let plan =
                    LearningRate { schedule, warmup_epochs, restart_factor, ..LearningRate::default() };
                for i in 0..=400 {
                    let passed = f64::from(i) / 10.0;
                    let factor = plan.factor(passed, planned);
                    assert!((0.0..=1.0).contains(&factor), "{plan:?}: {factor} after {passed} of {planned}");
                }
            }
        }
    }
    for schedule in [Schedule::Polynomial, Schedule::Cosine, Schedule::OneCycle] {
        let plan = LearningRate { schedule, end_factor: 0.25, ..LearningRate::default() };
        for passed in [10.0, 12.0, 1e6] {
            assert!((plan.factor(passed, 10.0) - 0.25).abs() < 1e-12, "{schedule} after {passed}");
        }
    }
}

#[test]
fn a_restart_falls_on_its_epoch() {
    for restart_factor in [1.0, 1.5, 2.0, 3.0] {
        let plan = LearningRate {
            schedule: Schedule::CosineRestarts,
            restart_epochs: 3.0,
            restart_factor,
            ..LearningRate::default()
        };
        let (mut begin, mut length) = (0.0, 3.0);
        for period in 0..12 {
            assert!((plan.factor(begin, 100.0) - 1.0).abs() < 1e-9, "period {period} times {restart_factor}");
            assert!((plan.factor(begin + 0.5 * length, 100.0) - 0.5).abs() < 1e-9);
            assert!(plan.factor(begin + 0.999 * length, 100.0) < 1e-4);
            begin += length;
            length *= restart_factor;
        }
    }
}

#[test]
fn one_cycle_rises_and_falls() {
    let plan = |peak| LearningRate { schedule: Schedule::OneCycle, peak, ..LearningRate::default() };
    let check = |plan: LearningRate, want: [f64; 3]| {
        let got = [0.0, 3.0, 10.0].map(|passed| plan.factor(passed, 10.0));
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12), "{got:?}");
    };
    check(plan(0.3), [0.04, 1.0, 0.0]);
    check(plan(0.0), [1.0, 0.5 * (1.0 + (0.3 * std::f64::consts::PI).cos()), 0.0]);
    assert_eq!(plan(1.0).factor(10.0, 10.0), 1.0);
}

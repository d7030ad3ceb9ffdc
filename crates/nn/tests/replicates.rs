//! Replicates against the same trainings done by hand, interrupted and not; and the last training of a winner.

use std::path::Path;
use std::sync::Arc;

use luthier_nn::{
    Consistency, DataSpec, Design, KnownTargets, MetricQuality, Problem, QualitySpec, Replicates,
    Replication, Settings, Trainer, replicate_seed, train_anew,
};

const SEED: [u8; 32] = [5; 32];

fn digits() -> Arc<Problem> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits/digits.csv");
    let spec = DataSpec { target: Some("digit".into()), ..DataSpec::new(file) };
    Arc::new(Problem::prepare(&spec, Path::new("")).unwrap())
}

fn numbers() -> Arc<Problem> {
    let inputs: Vec<f32> = (0..240).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let targets = inputs.chunks(2).map(|x| f64::from(3.0 * x[0] - x[1] * x[1]) + 10.0).collect();
    let problem = Problem::from_arrays(&[2], inputs, KnownTargets::Values(targets), &DataSpec::new(""));
    Arc::new(problem.unwrap())
}

fn plan(problem: &Arc<Problem>, text: &str) -> Arc<Replication> {
    let spec: QualitySpec = toml::from_str(text).unwrap();
    Arc::new(Replication::new(problem, &spec).unwrap())
}

fn settings(extra: &[(&str, i64)]) -> Settings {
    let usual = [("units", 12), ("epochs", 4), ("batch_size", 16)];
    let start = Settings::default().with_param("learning_rate", 0.01).unwrap();
    usual.iter().chain(extra).fold(start, |s, &(name, value)| s.with_param(name, value).unwrap())
}

fn run(replicates: &mut Replicates) -> Vec<Vec<(String, f64)>> {
    let mut reports = Vec::new();
    while !replicates.is_done() {
        reports.push(replicates.epoch().unwrap().values());
    }
    reports
}

fn value(report: &[(String, f64)], name: &str) -> f64 {
    report.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}: {report:?}")).1
}

#[test]
fn cross_validation_is_what_one_gets_by_hand() {
    let problem = digits();
    let settings = settings(&[]);
    let mut replicates = Replicates::new(&plan(&problem, "folds = 3\nrepeats = 2"), &settings, SEED).unwrap();
    let reports = run(&mut replicates);

    let folds = problem.folds(3, 2, 0).unwrap();
    let mut by_hand = vec![Vec::new(); 4];
    for (number, fold) in folds.iter().enumerate() {
        let part = Arc::new(problem.fold(fold).unwrap());
        let mut trainer = Trainer::new(&part, settings.clone(), replicate_seed(&SEED, number)).unwrap();
        for values in &mut by_hand {
            values.push(trainer.epoch().unwrap().validation.values()[1].1);
        }
    }
    let rows = folds.iter().map(|fold| fold.validation.len() as f64 / fold.train.len() as f64);
    let design = Design::Folds { test_per_train: rows.sum::<f64>() / 6.0 };
    for (report, values) in reports.iter().zip(&by_hand) {
        let expected = MetricQuality::of("val_accuracy", values, design);
        let spread = expected.spread.unwrap();
        let bits = |name| value(report, name).to_bits();
        assert_eq!(bits("val_accuracy"), expected.mean.to_bits());
        assert_eq!(bits("val_accuracy_sd"), spread.standard_deviation.to_bits());
        assert!((value(report, "val_accuracy_lower") - spread.bound).abs() < 1e-12);
    }
    assert_eq!(reports.len(), 4);
}

#[test]
fn repeated_folds_and_seeds_tell_how_consistent_a_network_is_and_one_pass_says_why_not() {
    let problem = digits();
    let measured = |text: &str| {
        let plan = plan(&problem, text);
        let mut replicates = Replicates::new(&plan, &settings(&[]), SEED).unwrap();
        run(&mut replicates);
        let measured = replicates.measure();
        (plan.quality(&measured), measured)
    };
    let (twice, said) = measured("folds = 2\nrepeats = 2");
    let Consistency::Classes { examples, always_right, kappa, .. } = &twice.consistency else {
        panic!("{twice}")
    };
    let kept = problem.train().len() + problem.validation().len();
    assert_eq!(examples.len(), kept, "each row that is not held out scores once a repetition");
    assert!(examples.iter().all(|hits| hits.times == 2));
    assert!((0.5..1.0).contains(always_right) && kappa.unwrap() > 0.5, "{twice}");
    // Hits and accuracies count the same answers.
    let right: u32 = examples.iter().map(|hits| hits.right).sum();
    let scored = said.replicates.iter().map(|replicate| {
        let accuracy = replicate.values.iter().find(|(name, _)| name == "val_accuracy").unwrap().1;
        (accuracy * replicate.examples.len() as f64).round() as u32
    });
    assert_eq!(right, scored.sum::<u32>());

    let (seeds, said) = measured("seeds = 3");
    let Consistency::Classes { examples, .. } = &seeds.consistency else { panic!("{seeds}") };
    assert_eq!(examples.len(), problem.validation().len());
    assert!(examples.iter().all(|hits| hits.times == 3));
    assert!(said.replicates.windows(2).all(|pair| pair[0].answers != pair[1].answers), "seeds differ");

    let (once, _) = measured("folds = 3");
    assert!(once.to_string().contains("consistency is not known: no example was predicted twice"), "{once}");
}

#[test]
fn predicted_numbers_are_compared_in_the_unit_of_the_target() {
    let problem = numbers();
    let plan = plan(&problem, "seeds = 4\nconfidence = 0.9");
    let mut replicates = Replicates::new(&plan, &settings(&[("epochs", 40)]), SEED).unwrap();
    run(&mut replicates);
    let quality = plan.quality(&replicates.measure());
    let Consistency::Values { examples, spread, relative_spread } = &quality.consistency else {
        panic!("{quality}")
    };
    assert!(examples.iter().all(|example| (4.0..15.0).contains(&example.mean)), "{examples:?}");
    assert!(*spread > 0.0 && relative_spread.unwrap() < 1.0);
    assert!(quality.to_string().contains("90 % interval"), "{quality}");
    assert!(
        quality.metric("val_rmse").unwrap().spread.unwrap().bound > quality.metric("val_rmse").unwrap().mean
    );
}

#[test]
fn an_interrupted_run_gives_the_same_bits() {
    let problem = digits();
    for (text, extra) in [("folds = 3", &[][..]), ("seeds = 2", &[("patience", 1), ("epochs", 12)][..])] {
        let (plan, settings) = (plan(&problem, text), settings(extra));
        let mut whole = Replicates::new(&plan, &settings, SEED).unwrap();
        let expected = run(&mut whole);

        let folder = tempfile::tempdir().unwrap();
        let mut reports = Vec::new();
        let mut part = Replicates::new(&plan, &settings, SEED).unwrap();
        while !part.is_done() {
            reports.push(part.epoch().unwrap().values());
            part.save(folder.path()).unwrap();
            part = Replicates::resume(&plan, &settings, SEED, folder.path()).unwrap();
        }
        assert_eq!(reports, expected, "{text}");
        assert_eq!(part.measure(), whole.measure(), "{text}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "one state, and what describes it");
        assert!(Replicates::resume(&plan, &settings, [6; 32], folder.path()).is_err(), "another seed");
    }
}

#[test]
fn a_replicate_that_ended_early_keeps_its_last_values_in_the_mean() {
    let problem = digits();
    let settings = settings(&[("patience", 1), ("epochs", 30)]).with_param("learning_rate", 0.02).unwrap();
    let plan = plan(&problem, "seeds = 4");
    let mut together = Replicates::new(&plan, &settings, SEED).unwrap();
    let reports = run(&mut together);
    let mut alone: Vec<Vec<f64>> = Vec::new();
    for replicate in 0..4 {
        let mut trainer = Trainer::new(&problem, settings.clone(), replicate_seed(&SEED, replicate)).unwrap();
        let mut curve = Vec::new();
        while !trainer.is_done() {
            curve.push(trainer.epoch().unwrap().validation.loss);
        }
        alone.push(curve);
    }
    let longest = alone.iter().map(Vec::len).max().unwrap();
    assert!(alone.iter().any(|curve| curve.len() < longest), "they end at different epochs: {alone:?}");
    assert_eq!(reports.len(), longest);
    for (epoch, report) in reports.iter().enumerate() {
        let at = |curve: &Vec<f64>| curve[epoch.min(curve.len() - 1)];
        let mean = alone.iter().map(at).sum::<f64>() / 4.0;
        assert_eq!(value(report, "val_loss").to_bits(), mean.to_bits(), "epoch {}", epoch + 1);
    }
    let ends: Vec<usize> = alone.iter().map(Vec::len).collect();
    let measured = together.measure();
    assert!(measured.epochs.iter().zip(&ends).all(|(best, end)| best < end), "{measured:?}");
}

#[test]
fn a_replicate_that_diverges_is_named() {
    let problem = numbers();
    let settings =
        settings(&[]).with_param("learning_rate", 1e30).unwrap().with_param("optimizer", "sgd").unwrap();
    let mut replicates = Replicates::new(&plan(&problem, "folds = 3"), &settings, SEED).unwrap();
    let error =
        std::iter::repeat_with(|| replicates.epoch()).take(4).find_map(Result::err).expect("a divergence");
    assert!(error.to_string().starts_with("fold 1 of 3: diverged at step"), "{error}");
    assert_eq!(replicates.epoch().unwrap_err(), error, "the error stays");
    assert!(replicates.save(Path::new("/nowhere")).is_err());
}

#[test]
fn a_winner_is_trained_on_all_rows_but_those_held_out_and_measured_on_these() {
    let problem = digits();
    let (mut model, anew) = train_anew(&problem, &settings(&[("epochs", 30)]), 7, SEED).unwrap();
    let kept = problem.train().len() + problem.validation().len();
    assert_eq!((anew.trained_rows, anew.epochs, anew.measured_rows), (kept, 7, problem.held_out_rows()));
    assert!(anew.held_out.iter().any(|(name, value)| name == "accuracy" && *value > 0.8), "{anew:?}");
    let whole = problem.whole().unwrap();
    let rows = whole.train().rows();
    assert!(
        rows.is_sorted()
            && rows.len() == kept
            && problem.validation().rows().iter().all(|r| rows.contains(r))
    );
    let again = model.held_out(&whole).unwrap().values();
    assert!(anew.held_out.iter().map(|(name, v)| (name.as_str(), *v)).eq(again), "the model it measured");
    assert!(
        anew.to_string().starts_with(&format!("trained anew on {kept} rows, 7 epochs, measured once on"))
    );

    let patient = settings(&[("epochs", 40), ("patience", 2)]);
    let (_, anew) = train_anew(&problem, &patient, 1, SEED).unwrap();
    assert!(anew.epochs > 1 && anew.watched_rows > 0, "{anew:?}");
    assert_eq!(anew.trained_rows + anew.watched_rows, kept);
}

//! Whole runs: they learn, repeat themselves, continue after an interruption with the same bits, and say when they
//! diverge. Checkpoints and models are refused when they are damaged or belong elsewhere.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use luthier_nn::{
    Activation, Checkpoint, Compile, DataSpec, Evaluation, Fit, KnownTargets, Layer, Loss, Metric, Model,
    Network, OptimizerKind, Prediction, Problem, Purpose, Settings, Stream, Targets, Task, TrainError,
    Trainer,
};

fn digits() -> Arc<Problem> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/digits.csv");
    Arc::new(Problem::prepare(&DataSpec::new(file), Path::new(".")).unwrap())
}

/// y = x₀ − 2 x₁ + 100, 300 rows without noise.
fn plane(directory: &Path) -> Arc<Problem> {
    let row = |i: u32| {
        let (a, b) = (f64::from(i * 7 % 100) / 10.0, f64::from(i * 13 % 37) / 5.0);
        format!("{a},{b},{}", a - 2.0 * b + 100.0)
    };
    let rows = (0..300).map(row).collect::<Vec<_>>().join("\n");
    fs::write(directory.join("plane.csv"), format!("a,b,y\n{rows}")).unwrap();
    Arc::new(Problem::prepare(&DataSpec::new("plane.csv"), directory).unwrap())
}

fn settings(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

const BUSY: &str = "
    units = [20, 12]\n activation = ['tanh', 'gelu']\n dropout = 0.2\n l2 = 1e-4\n epochs = 6\n learning_rate = 0.01
    schedule = 'cosine'";

fn accuracy(evaluation: &Evaluation) -> f64 {
    evaluation.metric(Metric::Accuracy).expect("an accuracy")
}

fn run(trainer: &mut Trainer, epochs: usize) -> Vec<Vec<(&'static str, f64)>> {
    (0..epochs).map(|_| trainer.epoch().unwrap().values()).collect()
}

fn run_to_end(trainer: &mut Trainer) -> Vec<Vec<(&'static str, f64)>> {
    let mut reports = Vec::new();
    while !trainer.is_done() {
        reports.push(trainer.epoch().unwrap().values());
    }
    reports
}

#[test]
fn digits_are_learned() {
    let problem = digits();
    assert_eq!(
        (problem.train().len(), problem.validation().len(), problem.held_out_rows()),
        (1079, 359, 359)
    );
    let mut trainer =
        Trainer::new(&problem, settings("units = 128\nlearning_rate = 0.003\nepochs = 15"), [1; 32]).unwrap();
    let mut last = None;
    while !trainer.is_done() {
        last = Some(trainer.epoch().unwrap());
    }
    let last = last.unwrap();
    assert_eq!(last.epoch, 15);
    assert!(accuracy(&last.validation) > 0.95, "{last:?}");
    assert_eq!(
        last.values().iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "val_f1"]
    );
    let test = trainer.model().held_out(&problem).unwrap();
    assert_eq!(test.rows, 359);
    assert!(accuracy(&test) > 0.94, "{test:?}");
}

#[test]
fn sgd_with_momentum_and_softmax_regression_learn_digits_too() {
    let problem = digits();
    for text in [
        "layers = 0\nlearning_rate = 0.01\nepochs = 15",
        "optimizer = 'sgd'\nmomentum = 0.9\nnesterov = true\nlearning_rate = 0.05\nunits = 64\nepochs = 10",
        "optimizer = 'sgd'\nlearning_rate = 0.1\nactivation = 'selu'\nlayers = 3\nunits = 32\nepochs = 15\nbatch_size = 16",
    ] {
        let mut trainer = Trainer::new(&problem, settings(text), [2; 32]).unwrap();
        while !trainer.is_done() {
            trainer.epoch().unwrap();
        }
        let reached = accuracy(&trainer.evaluate_validation());
        assert!(reached > 0.93, "{text}: {reached}");
    }
}

#[test]
fn a_plane_is_fitted_and_reported_in_units_of_the_target() {
    let directory = tempfile::tempdir().unwrap();
    let problem = plane(directory.path());
    assert_eq!(problem.task(), Task::Regression);
    let mut trainer =
        Trainer::new(&problem, settings("layers = 0\nlearning_rate = 0.02\nepochs = 60"), [3; 32]).unwrap();
    let reports = run(&mut trainer, 60);
    let names: Vec<&str> = reports[59].iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["train_loss", "val_loss", "val_rmse", "val_mae", "val_r2"]);
    let (loss, rmse, r2) = (reports[59][1].1, reports[59][2].1, reports[59][4].1);
    assert!((loss.sqrt() - rmse).abs() < 1e-6);
    assert!(rmse < 0.05 && r2 > 0.9999, "rmse {rmse}, r² {r2}");
    // Before the first step predictions are near the mean, so the error is near the spread of y, about 5.
    assert!(reports[0][2].1 > 1.0 && reports[0][2].1 < 20.0, "{:?}", reports[0]);

    let file = directory.path().join("new.csv");
    fs::write(&file, "b,a\n1.0,4.0\n3,2\n").unwrap();
    let predictions = trainer.model().predict_file(&file).unwrap();
    for (prediction, expected) in predictions.iter().zip([102.0, 96.0]) {
        let Prediction::Value { value } = prediction else { panic!("a number was expected") };
        assert!((value - expected).abs() < 0.2, "{value}, not {expected}");
    }
}

#[test]
fn the_same_seed_gives_the_same_curve_and_another_seed_another() {
    let problem = digits();
    let curve = |seed| run(&mut Trainer::new(&problem, settings(BUSY), [seed; 32]).unwrap(), 3);
    assert_eq!(curve(1), curve(1));
    assert_ne!(curve(1), curve(2));
}

#[test]
fn runs_in_threads_are_the_runs_alone() {
    let problem = digits();
    let problem = &problem;
    let curve = |seed| run(&mut Trainer::new(problem, settings(BUSY), [seed; 32]).unwrap(), 2);
    let alone: Vec<_> = (0..4).map(curve).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|seed| scope.spawn(move || curve(seed))).collect();
        runs.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

/// Settings that keep something from epoch to epoch, or draw something in each.
const RUNS: [&str; 8] = [
    BUSY,
    "optimizer = 'sgd'\nmomentum = 0.9\nepochs = 6\ndropout = 0.5\nunits = 16",
    "units = 16\nepochs = 6\nnoise = 0.1\nmixup = 0.3\nclass_weights = 'balanced'\nlabel_smoothing = 0.1",
    "units = 16\nepochs = 6\npatience = 2\nlearning_rate = 0.03\nmin_delta = 0.01",
    "units = 16\nepochs = 6\npatience = 1\nmonitor = 'roc_auc'\nlearning_rate = 0.1\ndropout = 0.3",
    "units = 16\nepochs = 6\nschedule = 'reduce_on_plateau'\nplateau_patience = 1\nlearning_rate = 0.1",
    "units = 16\nepochs = 6\nschedule = 'reduce_on_plateau'\nplateau_patience = 1\npatience = 3\nlearning_rate = 0.1",
    "units = 16\nepochs = 6\nschedule = 'one_cycle'\nwarmup_epochs = 1.5\nmax_steps = 120\noptimizer = 'nadam'",
];

#[test]
fn a_resumed_run_continues_bit_for_bit_from_every_epoch() {
    let problem = digits();
    for text in RUNS {
        let mut whole = Trainer::new(&problem, settings(text), [4; 32]).unwrap();
        let expected = run_to_end(&mut whole);
        let (inputs, rows) = (problem.validation().inputs(), problem.validation().len());
        for stop in [0, 1, expected.len() - 1, expected.len()] {
            let directory = tempfile::tempdir().unwrap();
            let mut first = Trainer::new(&problem, settings(text), [4; 32]).unwrap();
            run(&mut first, stop);
            first.save(directory.path()).unwrap();
            drop(first);
            let mut second = Trainer::resume(&problem, settings(text), [4; 32], directory.path()).unwrap();
            assert_eq!(second.epochs_done(), stop);
            assert_eq!(run_to_end(&mut second), expected[stop..], "{text} after {stop}");
            assert_eq!(second.best_epoch(), whole.best_epoch());
            assert_eq!(second.evaluate_validation(), whole.evaluate_validation());
            assert_eq!(second.model().predict(inputs, rows), whole.model().predict(inputs, rows));
        }
    }
}

#[test]
fn images_and_sequences_are_changed_alike_after_a_resumption() {
    let problem = digits();
    let network = |shape: &[usize]| {
        Network::sequential(shape).flatten().dense(12).activation(Activation::Relu).dense(10)
    };
    let settings = settings("epochs = 4\nshift = 2\nflip = true\nnoise = 0.2\nmixup = 0.4\nbatch_size = 100");
    // 61 of the 64 pixels differ between rows.
    for shape in [&[1, 1, 61][..], &[61, 1]] {
        let network = network(shape).build(Loss::CROSS_ENTROPY).unwrap();
        let mut whole = Trainer::with_network(&problem, network.clone(), settings.clone(), [4; 32]).unwrap();
        let expected = run_to_end(&mut whole);
        let directory = tempfile::tempdir().unwrap();
        let mut first = Trainer::with_network(&problem, network.clone(), settings.clone(), [4; 32]).unwrap();
        run(&mut first, 2);
        first.save(directory.path()).unwrap();
        let resume =
            |network| Trainer::resume_network(&problem, network, settings.clone(), [4; 32], directory.path());
        assert_eq!(run_to_end(&mut resume(network.clone()).unwrap()), expected[2..]);
        let other = Network { input: vec![61], layers: vec![Layer::dense(10)], loss: Loss::CROSS_ENTROPY };
        assert!(resume(other).err().unwrap().to_string().contains("another network"));
    }
}

#[test]
fn early_stopping_ends_with_the_best_weights_and_reports_them() {
    let problem = digits();
    let text = "units = 32\nepochs = 60\npatience = 3\nlearning_rate = 0.05\nstopping_fraction = 0.2";
    let mut trainer = Trainer::new(&problem, settings(text), [1; 32]).unwrap();
    let mut reports = Vec::new();
    while !trainer.is_done() {
        reports.push(trainer.epoch().unwrap());
    }
    let (last, best) = (reports.last().unwrap(), trainer.best_epoch().unwrap());
    assert!(reports.len() < 60, "this learning rate is too large to go on improving");
    assert_eq!((last.restored, last.epoch), (Some(best), best + 3));
    assert!(reports[..reports.len() - 1].iter().all(|report| report.restored.is_none()));
    let lowest = reports.iter().filter_map(|report| report.watched).fold(f64::INFINITY, f64::min);
    assert_eq!(reports[best - 1].watched, Some(lowest));
    // The last report, the best epoch's, the trainer's and the model's numbers are one.
    assert_eq!(last.validation, reports[best - 1].validation);
    assert_eq!(last.validation, trainer.evaluate_validation());
    let mut model = trainer.model();
    assert_eq!(model.epochs(), best);
    let predictions = model.predict(problem.validation().inputs(), problem.validation().len());
    let Targets::Classes(truth) = problem.validation().targets() else { panic!("classes were expected") };
    let right = predictions.iter().zip(truth).filter(|(prediction, class)| match prediction {
        Prediction::Class { class: said, .. } => *said == problem.classes()[**class as usize],
        _ => false,
    });
    assert_eq!(right.count() as f64 / 359.0, accuracy(&last.validation));
}

#[test]
fn a_run_that_has_stopped_goes_on_from_its_last_weights_if_it_may() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let text =
        |epochs| settings(&format!("units = 16\nlearning_rate = 0.05\npatience = 4\nepochs = {epochs}"));
    let mut short = Trainer::new(&problem, text(3), [2; 32]).unwrap();
    run_to_end(&mut short);
    short.save(directory.path()).unwrap();
    let mut long = Trainer::new(&problem, text(6), [2; 32]).unwrap();
    let expected = run_to_end(&mut long);
    let mut resumed = Trainer::resume(&problem, text(6), [2; 32], directory.path()).unwrap();
    assert_eq!(run_to_end(&mut resumed), expected[3..]);
}

#[test]
fn early_stopping_watches_what_it_is_told_and_says_what_it_can_watch() {
    let problem = digits();
    let refused = |text: &str| Trainer::new(&problem, settings(text), [0; 32]).err().unwrap().to_string();
    assert!(refused("patience = 1\nmonitor = 'r2'").contains("early stopping can watch loss, accuracy"));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("few.csv"), "a,y\n1,no\n2,no\n3,no\n4,yes\n5,yes\n6,yes\n").unwrap();
    let one_each = DataSpec { validation: 0.34, test: 0.33, ..DataSpec::new("few.csv") };
    let few = Arc::new(Problem::prepare(&one_each, directory.path()).unwrap());
    let error = Trainer::new(&few, settings("patience = 1"), [0; 32]).err().unwrap().to_string();
    assert!(error.contains("too few to split off"), "{error}");
}

#[test]
fn epochs_steps_and_seconds_are_honoured() {
    let problem = digits();
    let epochs = |text: &str| {
        let mut trainer = Trainer::new(&problem, settings(text), [0; 32]).unwrap();
        run_to_end(&mut trainer).len()
    };
    // 1079 rows are 34 batches.
    for (text, expected) in [
        ("epochs = 3", 3),
        ("epochs = 9\nmax_steps = 1", 1),
        ("epochs = 9\nmax_steps = 34", 1),
        ("epochs = 9\nmax_steps = 35", 2),
        ("epochs = 9\nmax_seconds = 1e-9", 1),
        ("epochs = 2\nmax_seconds = 1e9\nmax_steps = 1000000", 2),
    ] {
        assert_eq!(epochs(text), expected, "{text}");
    }
}

#[test]
fn a_loss_that_no_longer_falls_lowers_the_learning_rate() {
    let problem = digits();
    let text = "units = 8\nlearning_rate = 0.3\nepochs = 12\nschedule = 'reduce_on_plateau'\nplateau_patience = 1\nplateau_factor = 0.5\nend_factor = 0.25";
    let mut trainer = Trainer::new(&problem, settings(text), [0; 32]).unwrap();
    let mut best = f64::INFINITY;
    let mut expected = 0.3;
    let mut rates = Vec::new();
    while !trainer.is_done() {
        let report = trainer.epoch().unwrap();
        assert_eq!(report.learning_rate, expected);
        if report.validation.loss < best * (1.0 - 1e-4) {
            best = report.validation.loss;
        } else {
            expected = (expected * 0.5).max(0.075);
        }
        rates.push(report.learning_rate);
    }
    assert_eq!(rates.last(), Some(&0.075), "{rates:?}");
}

#[test]
fn augmentation_changes_training_and_nothing_else() {
    let problem = digits();
    let plain = run(&mut Trainer::new(&problem, settings("units = 32"), [0; 32]).unwrap(), 1);
    for text in ["noise = 0.5", "mixup = 1.0", "label_smoothing = 0.2", "class_weights = 'balanced'"] {
        let mut trainer = Trainer::new(&problem, settings(&format!("units = 32\n{text}")), [0; 32]).unwrap();
        assert_eq!(
            Trainer::new(&problem, settings("units = 32"), [0; 32]).unwrap().evaluate_validation(),
            trainer.evaluate_validation()
        );
        let changed = run(&mut trainer, 8);
        assert_ne!(changed[0], plain[0], "{text}");
        assert!(changed[7][2].1 > 0.9, "{text}: {:?}", changed[7]);
    }
}

/// x and label; class `rare` is one row in ten, and overlaps with the other.
fn lopsided(directory: &Path) -> Arc<Problem> {
    let mut stream = Stream::new(&[1; 32], Purpose::Shuffle, 0);
    let row = |i: usize| {
        let rare = i.is_multiple_of(10);
        let x = stream.normal() + if rare { 1.5 } else { 0.0 };
        format!("{x},{}", if rare { "rare" } else { "common" })
    };
    let rows = (0..1000).map(row).collect::<Vec<_>>().join("\n");
    fs::write(directory.join("lopsided.csv"), format!("x,y\n{rows}")).unwrap();
    Arc::new(Problem::prepare(&DataSpec::new("lopsided.csv"), directory).unwrap())
}

#[test]
fn balanced_weights_find_the_rare_class() {
    let directory = tempfile::tempdir().unwrap();
    let problem = lopsided(directory.path());
    let recall = |text: &str| {
        let text = format!("layers = 0\nlearning_rate = 0.05\nepochs = 20\n{text}");
        let mut trainer =
            Trainer::new(&problem, settings(&text), [0; 32]).unwrap().measuring(&[Metric::Recall]);
        run_to_end(&mut trainer);
        trainer.evaluate_validation().metric(Metric::Recall).unwrap()
    };
    let (equal, balanced) = (recall(""), recall("class_weights = 'balanced'"));
    assert!(balanced > equal + 0.3, "{equal} {balanced}");
    // Mixing must not lose the weights.
    assert!(recall("class_weights = 'balanced'\nmixup = 0.2") > equal + 0.3);
}

#[test]
fn two_classes_have_one_score_unless_told_otherwise_and_both_learn_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let problem = lopsided(directory.path());
    let train = |text: &str| {
        let text = format!("layers = 0\nlearning_rate = 0.02\nepochs = 40\n{text}");
        let mut trainer =
            Trainer::new(&problem, settings(&text), [0; 32]).unwrap().measuring(&[Metric::RocAuc]);
        run_to_end(&mut trainer);
        trainer
    };
    let (mut one, mut two) = (train(""), train("loss = 'cross_entropy'"));
    assert_eq!((one.network().outputs(), two.network().outputs()), (1, 2));
    let (first, second) = (one.evaluate_validation(), two.evaluate_validation());
    assert!((first.loss - second.loss).abs() < 0.01, "{first:?} {second:?}");
    assert_eq!(first.metric(Metric::RocAuc), second.metric(Metric::RocAuc));
    let rows = problem.validation().len();
    for model in [&mut one.model(), &mut two.model()] {
        for prediction in model.predict(problem.validation().inputs(), rows) {
            let Prediction::Class { class, probabilities } = prediction else { panic!("a class") };
            assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert_eq!(class, problem.classes()[usize::from(probabilities[1] > probabilities[0])]);
        }
    }
    one.export_model(directory.path()).unwrap();
    let mut loaded = Model::load(directory.path()).unwrap();
    assert_eq!(
        loaded.predict(problem.validation().inputs(), rows),
        one.model().predict(problem.validation().inputs(), rows)
    );
    assert_eq!(loaded.held_out(&problem).unwrap().metric(Metric::RocAuc).map(|auc| auc > 0.7), Some(true));
}

#[test]
fn a_loss_that_does_not_fit_the_target_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (digits, plane) = (digits(), plane(directory.path()));
    let refused = |problem: &Arc<Problem>, text: &str| {
        Trainer::new(problem, settings(text), [0; 32]).err().unwrap().to_string()
    };
    for loss in ["squared_error", "binary_cross_entropy", "poisson", "multi_label"] {
        let message = refused(&digits, &format!("loss = '{loss}'"));
        assert!(message.contains("one of 10 classes: choose cross_entropy"), "{message}");
    }
    let message = refused(&plane, "loss = 'cross_entropy'");
    assert!(message.contains("the target is a number: choose squared_error"), "{message}");
    let network = Network { input: vec![61], layers: vec![Layer::dense(9)], loss: Loss::CROSS_ENTROPY };
    let error = Trainer::with_network(&digits, network, Settings::default(), [0; 32]).err().unwrap();
    assert!(error.to_string().contains("needs 10 for these data"), "{error}");
    let network = Network { input: vec![60], layers: vec![Layer::dense(10)], loss: Loss::CROSS_ENTROPY };
    let error = Trainer::with_network(&digits, network, Settings::default(), [0; 32]).err().unwrap();
    assert!(error.to_string().contains("61 numbers an example"), "{error}");
}

/// Counts with mean exp(0.5 + 0.4 a).
fn counts(directory: &Path) -> Arc<Problem> {
    let mut stream = Stream::new(&[2; 32], Purpose::Shuffle, 0);
    let row = |i: u32| {
        let a = f64::from(i % 40) / 10.0;
        let limit = (-(0.5 + 0.4 * a).exp()).exp();
        let (mut count, mut product) = (0, stream.uniform());
        while product > limit {
            (count, product) = (count + 1, product * stream.uniform());
        }
        format!("{a},{count}")
    };
    let rows = (0..4000).map(row).collect::<Vec<_>>().join("\n");
    fs::write(directory.join("counts.csv"), format!("a,y\n{rows}")).unwrap();
    let spec = DataSpec { task: Some(Task::Regression), ..DataSpec::new("counts.csv") };
    Arc::new(Problem::prepare(&spec, directory).unwrap())
}

#[test]
fn counts_are_learned_by_poisson_in_their_own_unit() {
    let directory = tempfile::tempdir().unwrap();
    let problem = counts(directory.path());
    let text = "layers = 0\nloss = 'poisson'\nlearning_rate = 0.02\nepochs = 20";
    let mut trainer =
        Trainer::new(&problem, settings(text), [0; 32]).unwrap().measuring(&[Metric::PoissonDeviance]);
    run_to_end(&mut trainer);
    let file = directory.path().join("new.csv");
    fs::write(&file, "a\n0\n2\n3.9\n").unwrap();
    for (prediction, a) in trainer.model().predict_file(&file).unwrap().iter().zip([0.0, 2.0, 3.9f64]) {
        let Prediction::Value { value } = prediction else { panic!("a number was expected") };
        let expected = (0.5 + 0.4 * a).exp();
        assert!((value / expected - 1.0).abs() < 0.12, "{value}, not {expected}");
    }
    // A Poisson variable's deviance is about 1 a row.
    let deviance = trainer.evaluate_validation().metric(Metric::PoissonDeviance).unwrap();
    assert!((0.8..1.4).contains(&deviance), "{deviance}");
    let negative = Trainer::new(&plane_below_zero(directory.path()), settings("loss = 'poisson'"), [0; 32]);
    assert!(negative.err().unwrap().to_string().contains("is for counts, but a target is -"));
}

fn plane_below_zero(directory: &Path) -> Arc<Problem> {
    let rows = (0..60).map(|i| format!("{i},{}", f64::from(i) - 30.5)).collect::<Vec<_>>().join("\n");
    fs::write(directory.join("below.csv"), format!("a,y\n{rows}")).unwrap();
    Arc::new(Problem::prepare(&DataSpec::new("below.csv"), directory).unwrap())
}

#[test]
fn losses_of_numbers_are_reported_in_the_unit_of_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let problem = plane(directory.path());
    let train = |loss: &str| {
        let text = format!("layers = 0\nepochs = 3\nloss = '{loss}'\nlearning_rate = 1e-6");
        let mut trainer = Trainer::new(&problem, settings(&text), [0; 32]).unwrap();
        (0..3).map(|_| trainer.epoch().unwrap()).next_back().unwrap()
    };
    let (squared, absolute, huber) = (train("squared_error"), train("absolute_error"), train("huber"));
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-4, "{a} {b}");
    close(squared.validation.loss, squared.validation.metric(Metric::Rmse).unwrap().powi(2));
    close(absolute.validation.loss, absolute.validation.metric(Metric::Mae).unwrap());
    assert!(huber.validation.loss < 0.5 * squared.validation.loss);
    // At this learning rate both parts are measured with nearly the same weights.
    for report in [squared, absolute, huber] {
        assert!((report.gap() / report.validation.loss).abs() < 0.2, "{report:?}");
    }
}

#[test]
fn a_network_that_is_given_trains_as_the_one_that_settings_describe() {
    let problem = digits();
    let mut by_settings = Trainer::new(&problem, settings(BUSY), [3; 32]).unwrap();
    let network = by_settings.network().clone();
    let mut given = Trainer::with_network(&problem, network, settings(BUSY), [3; 32]).unwrap();
    assert_eq!(run(&mut by_settings, 2), run(&mut given, 2));
}

#[test]
fn a_fit_keeps_its_curves_and_says_how_it_went() {
    let problem = digits();
    let compiled =
        Network::sequential([problem.inputs()]).dense(32).activation(Activation::Relu).dense(10).compile(
            Compile {
                optimizer: Some(OptimizerKind::Rmsprop),
                learning_rate: Some(0.003),
                metrics: vec![Metric::RocAuc, Metric::R2],
                ..Compile::default()
            },
        );
    let fit = Fit { epochs: Some(6), batch_size: Some(64), seed: 3, ..Fit::default() };
    let mut history = compiled.fit(&problem, fit).unwrap();
    assert_eq!(history.reports().len(), 6);
    assert_eq!((history.curve("val_roc_auc").len(), history.curve("val_r2").len()), (6, 0));
    assert_eq!(history.curve("train_loss"), compiled.fit(&problem, fit).unwrap().curve("train_loss"));
    let text = history.to_string();
    assert!(text.starts_with("6 epochs, best ") && text.contains(&history.diagnosis().sentence), "{text}");
    assert!(history.model().held_out(&problem).unwrap().metric(Metric::Accuracy) > Some(0.9));
    let stopped = compiled.fit_with(&problem, fit, |report| match report.epoch {
        2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(stopped.unwrap().reports().len(), 2);
    let misfit = Network::sequential([problem.inputs()]).dense(9).compile(Compile::default());
    assert!(misfit.fit(&problem, fit).is_err());
}

#[test]
fn more_epochs_may_be_asked_for_when_resuming() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let mut trainer = Trainer::new(&problem, settings("epochs = 1"), [0; 32]).unwrap();
    run(&mut trainer, 1);
    trainer.save(directory.path()).unwrap();
    let resumed = Trainer::resume(&problem, settings("epochs = 3"), [0; 32], directory.path()).unwrap();
    assert!(trainer.is_done() && !resumed.is_done());
}

#[test]
fn a_branch_takes_the_weights_and_its_own_settings() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let mut parent = Trainer::new(&problem, settings("units = 24"), [0; 32]).unwrap();
    run(&mut parent, 2);
    parent.save(directory.path()).unwrap();
    let changed = settings("units = 24\nlearning_rate = 0.01\ndropout = 0.3\nbatch_size = 100");
    let mut child = Trainer::branch(&problem, changed, [9; 32], directory.path()).unwrap();
    assert_eq!(child.epochs_done(), 2);
    assert_eq!(child.evaluate_validation(), parent.evaluate_validation());
    assert_eq!(child.epoch().unwrap().epoch, 3);
    let other_shape = Trainer::branch(&problem, settings("units = 25"), [9; 32], directory.path());
    let message = other_shape.err().unwrap().to_string();
    assert!(message.contains("layers.1.kernel") && message.contains("[61, 25]"), "{message}");
    let other_rule =
        Trainer::branch(&problem, settings("units = 24\noptimizer = 'sgd'"), [9; 32], directory.path());
    assert!(other_rule.err().unwrap().to_string().contains("velocity"));
}

#[test]
fn divergence_is_said_with_its_step_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let problem = plane(directory.path());
    let wild =
        settings("optimizer = 'sgd'\nlearning_rate = 1e6\nunits = 8\nepochs = 30\nactivation = 'linear'");
    let mut trainer = Trainer::new(&problem, wild, [0; 32]).unwrap();
    let error = (0..30).find_map(|_| trainer.epoch().err()).expect("this learning rate diverges");
    let TrainError::Diverged { step, epoch, .. } = error.clone() else { panic!("{error}") };
    assert!(step >= 1 && epoch >= 1);
    assert!(error.to_string().contains(&format!("diverged at step {step}")), "{error}");
    assert_eq!(trainer.epoch().unwrap_err(), error);
    assert!(trainer.save(directory.path()).unwrap_err().to_string().contains("diverged"));
    assert!(!Checkpoint::exists(directory.path()));
}

#[test]
fn a_network_that_would_not_fit_is_refused_before_it_is_made() {
    let error = Trainer::new(&digits(), settings("layers = 64\nunits = 65536"), [0; 32]).err().unwrap();
    assert!(error.to_string().contains("GiB"), "{error}");
}

#[test]
fn a_batch_larger_than_the_data_is_the_data() {
    let problem = digits();
    let mut trainer = Trainer::new(&problem, settings("batch_size = 100000"), [0; 32]).unwrap();
    assert!(trainer.epoch().is_ok());
}

#[test]
fn saving_again_leaves_one_checkpoint() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let mut trainer = Trainer::new(&problem, settings("units = 8"), [0; 32]).unwrap();
    for _ in 0..3 {
        trainer.epoch().unwrap();
        trainer.save(directory.path()).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["checkpoint.json", "state-3.safetensors"]);
    assert_eq!(Checkpoint::read(directory.path()).unwrap().epoch, 3);
}

/// What a kill leaves: any mixture of new tensor files, temporary files and the old description.
#[test]
fn leftovers_of_a_killed_save_do_not_matter() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let mut trainer = Trainer::new(&problem, settings("units = 8"), [0; 32]).unwrap();
    trainer.epoch().unwrap();
    trainer.save(directory.path()).unwrap();
    fs::write(directory.path().join("state-2.safetensors"), "complete or not").unwrap();
    fs::write(directory.path().join("state-2.safetensors.77.tmp"), "half").unwrap();
    fs::write(directory.path().join("checkpoint.json.77.tmp"), "{").unwrap();
    let mut resumed = Trainer::resume(&problem, settings("units = 8"), [0; 32], directory.path()).unwrap();
    assert_eq!(resumed.epochs_done(), 1);
    resumed.epoch().unwrap();
    resumed.save(directory.path()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

/// A saved run, and what resuming it says after its files were changed.
fn resume_after(change: impl FnOnce(&Path)) -> String {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let mut trainer = Trainer::new(&problem, settings("units = 8"), [0; 32]).unwrap();
    trainer.epoch().unwrap();
    trainer.save(directory.path()).unwrap();
    change(directory.path());
    Trainer::resume(&problem, settings("units = 8"), [0; 32], directory.path()).err().unwrap().to_string()
}

fn edit(path: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_with_a_reason() {
    let json = |d: &Path| d.join("checkpoint.json");
    let tensors = |d: &Path| d.join("state-1.safetensors");
    let cut = |path: PathBuf, keep: usize| {
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..keep.min(bytes.len())]).unwrap();
    };
    for (message, word) in [
        (resume_after(|d| cut(tensors(d), 1000)), "damaged"),
        (resume_after(|d| cut(tensors(d), 0)), "damaged"),
        (resume_after(|d| fs::remove_file(tensors(d)).unwrap()), "cannot read"),
        (resume_after(|d| cut(json(d), 40)), "damaged"),
        (resume_after(|d| edit(json(d), "\"epoch\"", "\"epoche\"")), "damaged"),
        (resume_after(|d| edit(json(d), "luthier-checkpoint", "something")), "is not a luthier-checkpoint"),
        (resume_after(|d| edit(json(d), "\"version\": 1", "\"version\": 2")), "newer"),
        (resume_after(|d| fs::remove_file(json(d)).unwrap()), "cannot read"),
        (resume_after(|d| fs::write(json(d), [0xff, 0, 7]).unwrap()), "damaged"),
    ] {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    Trainer::new(&problem, settings("units = 8"), [0; 32]).unwrap().save(directory.path()).unwrap();
    let refused = |problem: &Arc<Problem>, text, seed| {
        Trainer::resume(problem, settings(text), seed, directory.path()).err().unwrap().to_string()
    };
    assert!(refused(&problem, "units = 9", [0; 32]).contains("other settings"));
    assert!(refused(&problem, "units = 8", [1; 32]).contains("other seed"));
    let plane = plane(directory.path());
    assert!(refused(&plane, "units = 8", [0; 32]).contains("other data"));
}

#[test]
fn a_saved_model_predicts_the_same() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let mut trainer = Trainer::new(&problem, settings(BUSY), [5; 32]).unwrap();
    run(&mut trainer, 2);
    trainer.export_model(directory.path()).unwrap();
    let mut model = Model::load(directory.path()).unwrap();
    let (inputs, rows) = (problem.validation().inputs(), problem.validation().len());
    assert_eq!(model.predict(inputs, rows), trainer.model().predict(inputs, rows));
    assert_eq!(model.held_out(&problem).unwrap(), trainer.model().held_out(&problem).unwrap());
    assert_eq!((model.classes().len(), model.epochs()), (10, 2));
    assert_eq!(model.settings(), &trainer.settings().resolved());
    assert_eq!(model.network(), trainer.network());
}

#[test]
fn predictions_for_a_file_need_neither_target_nor_order() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        fs::write(directory.path().join(name), text).unwrap();
        directory.path().join(name)
    };
    let color = |i: usize| ["red", "blue"][i % 2];
    let rows = |f: &dyn Fn(usize) -> String| (0..80).map(f).collect::<String>();
    write(
        "train.csv",
        "x,color,y\n".to_owned() + &rows(&|i| format!("{i},{},{}\n", color(i), ["no", "yes"][i % 2])),
    );
    let problem = Arc::new(Problem::prepare(&DataSpec::new("train.csv"), directory.path()).unwrap());
    let mut trainer = Trainer::new(&problem, settings("learning_rate = 0.02"), [0; 32]).unwrap();
    run(&mut trainer, 20);
    let file = write("new.csv", "color,more,x\nblue,1,7\nred,2,8\ngreen,3,\n".to_owned());
    let predictions = trainer.model().predict_file(&file).unwrap();
    let class = |i: usize| match &predictions[i] {
        Prediction::Class { class, probabilities } => {
            assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            class.as_str()
        }
        Prediction::Value { .. } | Prediction::Values { .. } | Prediction::Labels { .. } => {
            panic!("a class was expected")
        }
    };
    assert_eq!((predictions.len(), class(0), class(1)), (3, "yes", "no"));
    let lacking = write("lacking.csv", "x\n1\n".to_owned());
    let message = trainer.model().predict_file(&lacking).unwrap_err().to_string();
    assert!(message.contains("no column `color`"), "{message}");
}

#[test]
fn damaged_and_foreign_models_are_refused_with_a_reason() {
    let (problem, directory) = (digits(), tempfile::tempdir().unwrap());
    let trainer = Trainer::new(&problem, settings("units = 8"), [0; 32]).unwrap();
    let load_after = |change: &dyn Fn(&Path)| {
        trainer.export_model(directory.path()).unwrap();
        change(directory.path());
        Model::load(directory.path()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let json = |d: &Path| d.join("model.json");
    for (message, word) in [
        (load_after(&|d| fs::write(d.join("model.safetensors"), "short").unwrap()), "damaged"),
        (load_after(&|d| edit(json(d), "\"units\": 8", "\"units\": 9")), "does not fit"),
        (load_after(&|d| edit(json(d), "luthier-model", "x")), "not a luthier-model"),
        (load_after(&|d| fs::write(json(d), "").unwrap()), "damaged"),
    ] {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    let plane = plane(directory.path());
    let message = trainer.model().held_out(&plane).unwrap_err().to_string();
    assert!(message.contains("other data"), "{message}");
}

/// 400 examples of three numbers, deterministic.
fn three_numbers() -> Vec<f32> {
    let mut stream = Stream::new(&[5; 32], Purpose::Shuffle, 0);
    (0..1200).map(|_| stream.normal() as f32).collect()
}

#[test]
fn labels_that_do_not_exclude_each_other_are_learned_each() {
    let inputs = three_numbers();
    let flags = inputs.chunks(3).flat_map(|x| [x[0] > 0.0, x[1] + x[2] > 0.5]).collect();
    let names = ["first", "second"].map(str::to_owned).to_vec();
    let targets = KnownTargets::Labels { names, flags };
    let problem = Arc::new(Problem::from_arrays(&[3], inputs, targets, &DataSpec::new("")).unwrap());
    let text = "layers = 0\nlearning_rate = 0.05\nepochs = 30\npatience = 8\nmixup = 0.1\nclass_weights = 'balanced'";
    let mut trainer =
        Trainer::new(&problem, settings(text), [0; 32]).unwrap().measuring(&[Metric::RocAuc, Metric::R2]);
    let reports = run_to_end(&mut trainer);
    let names: Vec<&str> = reports[0].iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["train_loss", "val_loss", "val_accuracy", "val_subset_accuracy", "val_f1", "val_roc_auc"]
    );
    let measured = trainer.evaluate_validation();
    assert!(measured.metric(Metric::Accuracy) > Some(0.93), "{measured:?}");
    for prediction in trainer.model().predict(&[3.0, 3.0, 0.0, -3.0, -3.0, 0.0, 3.0, -3.0, 0.0], 3) {
        let Prediction::Labels { labels, probabilities } = prediction else { panic!("labels") };
        assert_eq!(labels.contains(&"first".to_owned()), probabilities[0] > 0.5);
        assert_eq!(probabilities.len(), 2);
    }
    let labels = trainer.model().predict(&[3.0, 3.0, 0.0], 1);
    assert!(matches!(&labels[0], Prediction::Labels { labels, .. } if labels.len() == 2), "{labels:?}");
}

#[test]
fn several_numbers_are_learned_at_once_each_in_its_unit() {
    let inputs = three_numbers();
    let values = inputs.chunks(3).flat_map(|x| [f64::from(x[0]) * 1000.0 + 5000.0, f64::from(x[1] - x[2])]);
    let names = ["large", "small"].map(str::to_owned).to_vec();
    let targets = KnownTargets::SeveralValues { names, values: values.collect() };
    let problem = Arc::new(Problem::from_arrays(&[3], inputs, targets, &DataSpec::new("")).unwrap());
    for loss in ["squared_error", "absolute_error", "huber"] {
        let text =
            format!("layers = 0\nlearning_rate = 0.05\nepochs = 40\nschedule = 'cosine'\nloss = '{loss}'");
        let mut trainer = Trainer::new(&problem, settings(&text), [0; 32]).unwrap();
        run_to_end(&mut trainer);
        assert!(trainer.evaluate_validation().metric(Metric::R2) > Some(0.99), "{loss}");
        let example: Vec<f32> = problem.validation().inputs()[..3].to_vec();
        let predictions = trainer.model().predict(&example, 1);
        let Prediction::Values { values } = &predictions[0] else { panic!("{predictions:?}") };
        assert!((3.0..1e4).contains(&values[0].abs()) && values[1].abs() < 10.0, "{values:?}");
    }
}

#[test]
fn a_problem_with_rows_for_stopping_is_watched_there_and_trained_on_all_others() {
    let problem = digits();
    let inner = Arc::new(problem.inner(0.25, 1).unwrap());
    let text = settings("units = 16\nepochs = 3\npatience = 5");
    let mut trainer = Trainer::new(&inner, text.clone(), [0; 32]).unwrap();
    let report = trainer.epoch().unwrap();
    assert!(report.watched.is_some());
    assert_eq!(report.steps as usize, inner.train().len().div_ceil(32));
    let mut own = Trainer::new(&problem, text, [0; 32]).unwrap();
    assert_eq!(own.epoch().unwrap().steps as usize, (1079usize - 108).div_ceil(32));
}

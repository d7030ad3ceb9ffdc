//! Whole runs: they learn, repeat themselves, continue after an interruption with the same bits, and say when they
//! diverge. Checkpoints and models are refused when they are damaged or belong elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use luthier_nn::{
    Checkpoint, DataSpec, Evaluation, Metric, Model, Prediction, Problem, Settings, Task, TrainError, Trainer,
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
    evaluation.metric(Metric::Accuracy).expect("accuracy")
}

fn run(trainer: &mut Trainer, epochs: usize) -> Vec<Vec<(&'static str, f64)>> {
    (0..epochs).map(|_| trainer.epoch().unwrap().values()).collect()
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
        ["train_loss", "val_loss", "val_accuracy"]
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
    assert_eq!(names, ["train_loss", "val_loss", "val_rmse", "val_r2"]);
    let (loss, rmse, r2) = (reports[59][1].1, reports[59][2].1, reports[59][3].1);
    assert!((loss.sqrt() - rmse).abs() < 1e-12);
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

#[test]
fn a_resumed_run_continues_bit_for_bit_from_every_epoch() {
    let problem = digits();
    for text in [BUSY, "optimizer = 'sgd'\nmomentum = 0.9\nepochs = 6\ndropout = 0.5\nunits = 16"] {
        let mut whole = Trainer::new(&problem, settings(text), [4; 32]).unwrap();
        let expected = run(&mut whole, 6);
        for stop in [0, 1, 5] {
            let directory = tempfile::tempdir().unwrap();
            let mut first = Trainer::new(&problem, settings(text), [4; 32]).unwrap();
            run(&mut first, stop);
            first.save(directory.path()).unwrap();
            drop(first);
            let mut second = Trainer::resume(&problem, settings(text), [4; 32], directory.path()).unwrap();
            assert_eq!(second.epochs_done(), stop);
            assert_eq!(run(&mut second, 6 - stop), expected[stop..]);
            let inputs = problem.validation().inputs();
            assert_eq!(
                second.model().predict(inputs, problem.validation().len()),
                whole.model().predict(inputs, problem.validation().len())
            );
        }
    }
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
        other => panic!("a class was expected, not {other:?}"),
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

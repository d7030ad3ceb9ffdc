//! Problems made of arrays, of folds and of inner splits: which rows are where, and that scales come from the training
//! rows alone.

use std::sync::Arc;

use luthier_nn::{
    DataSpec, ExampleKind, KnownTargets, Part, Prediction, Problem, Settings, SplitKind, Targets, Task,
    Trainer,
};

fn arrays(rows: usize) -> Problem {
    let inputs = (0..rows * 2).map(|i| (i * i % 97) as f32).collect();
    let of_example = (0..rows as u32).map(|row| row % 3).collect();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    Problem::from_arrays(&[2], inputs, KnownTargets::Classes { names, of_example }, &DataSpec::new(""))
        .unwrap()
}

fn moments(part: &Part, width: usize, column: usize) -> (f64, f64) {
    let cells: Vec<f64> = part.inputs().chunks(width).map(|row| f64::from(row[column])).collect();
    let mean = cells.iter().sum::<f64>() / cells.len() as f64;
    (mean, cells.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cells.len() as f64)
}

#[test]
fn a_fold_is_scaled_by_its_own_training_rows() {
    let problem = arrays(300);
    let folds = problem.folds(5, 2, 1).unwrap();
    assert_eq!(folds.len(), 10);
    let held_out =
        |row: &u32| !problem.train().rows().contains(row) && !problem.validation().rows().contains(row);
    for fold in &folds {
        assert!(!fold.train.iter().chain(&fold.validation).any(held_out), "held-out rows are in no fold");
        let prepared = problem.fold(fold).unwrap();
        assert_eq!(
            (prepared.train().rows(), prepared.validation().rows()),
            (&*fold.train, &*fold.validation)
        );
        for column in 0..2 {
            let (mean, variance) = moments(prepared.train(), 2, column);
            assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5);
        }
        assert!(
            moments(prepared.validation(), 2, 0).0.abs() > 1e-4,
            "scoring rows take no part in the scale"
        );
        assert_eq!(prepared.held_out_rows(), 0);
        assert_ne!(prepared.fingerprint(), problem.fingerprint());
    }
    assert_eq!(problem.folds(5, 2, 1).unwrap(), folds);
    assert_ne!(problem.folds(5, 2, 2).unwrap(), folds);
}

#[test]
fn a_share_has_every_class_in_proportion_the_rows_of_smaller_ones_and_the_scales_of_all() {
    let problem = arrays(300);
    let shares = [5.0, 30.0, 90.0, 100.0].map(|percent| problem.share(percent).unwrap());
    assert_eq!(shares.each_ref().map(|share| share.train().len()), [9, 54, 162, 180]);
    assert_eq!(problem.share(0.1).unwrap().train().len(), 3, "one of each class");
    for (share, larger) in shares.iter().zip(&shares[1..]) {
        assert!(share.train().rows().iter().all(|row| larger.train().rows().contains(row)));
        let Targets::Classes(classes) = share.train().targets() else { unreachable!() };
        let of = |class| classes.iter().filter(|found| **found == class).count();
        assert_eq!([of(0), of(1), of(2)], [share.train().len() / 3; 3]);
        assert_eq!(
            (share.validation(), share.held_out_rows()),
            (problem.validation(), problem.held_out_rows())
        );
        assert_eq!(share.preprocessing(), problem.preprocessing());
        assert_ne!(share.fingerprint(), larger.fingerprint(), "a checkpoint of the one is not the other's");
    }
    let one = &shares[0].train();
    let place = problem.train().rows().iter().position(|row| *row == one.rows()[0]).unwrap();
    assert_eq!(one.inputs()[..2], problem.train().inputs()[2 * place..2 * place + 2]);
    for percent in [0.0, 100.5, f64::NAN] {
        assert!(problem.share(percent).is_err());
    }
}

#[test]
fn a_share_of_rows_in_time_is_the_latest_and_one_of_groups_has_whole_ones() {
    let spec = DataSpec { split: Some(SplitKind::Time), ..DataSpec::new("") };
    let targets = KnownTargets::Values((0..100).map(f64::from).collect());
    let problem = Problem::from_arrays(&[1], (0..100u8).map(f32::from).collect(), targets, &spec).unwrap();
    let all = problem.train().rows();
    assert_eq!(problem.share(25.0).unwrap().train().rows(), &all[all.len() - all.len() / 4..]);

    let folder = tempfile::tempdir().unwrap();
    // Groups of two to sixteen rows.
    let group = |k: u32| (0..16).find(|group| k < (group + 1) * (group + 2) / 2 + group).unwrap();
    let rows: String = (0..150).map(|k| format!("{k},g{},{}\n", group(k), k * 7 % 31)).collect();
    std::fs::write(folder.path().join("groups.csv"), format!("x,group,y\n{rows}")).unwrap();
    let spec: DataSpec = toml::from_str("file = \"groups.csv\"\ntarget = \"y\"\ngroup = \"group\"").unwrap();
    let problem = Problem::prepare(&spec, folder.path()).unwrap();
    let mut smaller: Vec<u32> = Vec::new();
    for percent in [1.0, 4.0, 12.0, 36.0, 60.0, 80.0] {
        let share = problem.share(percent).unwrap();
        let rows = share.train().rows();
        assert!(smaller.iter().all(|row| rows.contains(row)), "{percent}: {smaller:?} {rows:?}");
        let of_groups = |row: &&u32| rows.iter().any(|own| group(*own) == group(**row));
        let whole = problem.train().rows().iter().filter(of_groups);
        assert_eq!(whole.count(), rows.len(), "whole groups");
        smaller = rows.to_vec();
    }
    assert!(smaller.len() < problem.train().len());
}

#[test]
fn an_inner_split_takes_from_the_training_part_only() {
    let problem = arrays(300);
    let inner = problem.inner(0.25, 0).unwrap();
    let stopping = inner.stopping().unwrap();
    assert_eq!((inner.train().len(), stopping.len()), (135, 45));
    assert_eq!(inner.validation(), problem.validation());
    let mut both = [inner.train().rows(), stopping.rows()].concat();
    both.sort_unstable();
    assert_eq!(both, problem.train().rows());
    let Targets::Classes(classes) = stopping.targets() else { panic!("classes expected") };
    assert_eq!(classes.iter().filter(|&&class| class == 2).count(), 15, "classes keep their share");
    assert!(stopping.rows().iter().zip(classes).all(|(row, class)| row % 3 == *class));
    let whole = problem.train();
    for (row, inputs) in stopping.rows().iter().zip(stopping.inputs().chunks(2)) {
        let place = whole.rows().iter().position(|other| other == row).unwrap();
        assert_eq!(inputs, &whole.inputs()[place * 2..place * 2 + 2]);
    }
    assert!(problem.inner(1.0, 0).unwrap_err().to_string().contains("`fraction` is 1"));
}

#[test]
fn arrays_of_every_rank_make_problems() {
    let numbers = |count: usize| (0..count).map(|i| (i % 13) as f32).collect::<Vec<f32>>();
    let values = || KnownTargets::Values((0..20).map(f64::from).collect());
    let spec = DataSpec::new("");
    for shape in [vec![6], vec![3, 2], vec![3, 4, 2]] {
        let inputs = numbers(20 * shape.iter().product::<usize>());
        let problem = Problem::from_arrays(&shape, inputs, values(), &spec).unwrap();
        assert_eq!((problem.shape(), problem.task()), (&*shape, Task::Regression));
    }
    let tokens = DataSpec { kind: Some(ExampleKind::Tokens), ..spec.clone() };
    let problem = Problem::from_arrays(&[5], numbers(100), values(), &tokens).unwrap();
    assert_eq!((problem.shape(), problem.vocabulary()), (&[5][..], Some(13)));
    let labels = KnownTargets::Labels {
        names: vec!["p".into(), "q".into()],
        flags: (0..40).map(|i| i % 3 == 0).collect(),
    };
    let problem = Problem::from_arrays(&[1], numbers(20), labels, &spec).unwrap();
    assert_eq!((problem.task(), problem.classes().len()), (Task::MultiLabel, 2));
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let refused = |shape: &[usize], inputs: Vec<f32>, targets: KnownTargets| {
        Problem::from_arrays(shape, inputs, targets, &DataSpec::new("")).unwrap_err().to_string()
    };
    let values = |count: usize| KnownTargets::Values((0..count).map(|i| i as f64).collect());
    assert_eq!(refused(&[3], vec![0.0; 10], values(3)), "10 numbers do not make whole examples of shape [3]");
    assert_eq!(refused(&[2], vec![0.5; 20], values(9)), "there are 9 targets for 10 examples");
    let mut inputs: Vec<f32> = (0..20u8).map(f32::from).collect();
    inputs[5] = f32::NAN;
    assert_eq!(refused(&[2], inputs, values(10)), "inputs, example 3: NaN is not a finite number");
    let infinite = KnownTargets::Values((0..10).map(|i| if i == 4 { f64::INFINITY } else { 0.0 }).collect());
    assert_eq!(refused(&[2], vec![0.5; 20], infinite), "targets, example 5: inf is not a finite number");
    let classes = KnownTargets::Classes {
        names: vec!["a".into(), "b".into()],
        of_example: vec![0, 1, 2, 0, 1, 0, 1, 0, 1, 0],
    };
    assert_eq!(
        refused(&[2], vec![0.5; 20], classes),
        "class number 2 of example 3 has no name: only 2 names are given"
    );
}

#[test]
fn several_targets_are_learned_and_predicted() {
    let inputs: Vec<f32> = (0..400).map(|i| (i * 37 % 100) as f32 / 100.0).collect();
    let row = |i: usize| (inputs[2 * i], inputs[2 * i + 1]);
    let flags = (0..200).flat_map(|i| [row(i).0 > 0.5, row(i).1 > 0.5, row(i).0 < 0.3]).collect();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let labels = KnownTargets::Labels { names: names(&["a", "b", "c"]), flags };
    let values = (0..200).flat_map(|i| [f64::from(row(i).0) * 100.0, 5.0 - f64::from(row(i).1)]).collect();
    let numbers = KnownTargets::SeveralValues { names: names(&["u", "v"]), values };
    for targets in [labels, numbers] {
        let problem = Problem::from_arrays(&[2], inputs.clone(), targets, &DataSpec::new("")).unwrap();
        let problem = Arc::new(problem);
        let settings = Settings { epochs: 60, learning_rate: Some(0.01), ..Settings::default() };
        let mut trainer = Trainer::new(&problem, settings, [3; 32]).unwrap();
        let first = trainer.epoch().unwrap().validation.loss;
        while !trainer.is_done() {
            trainer.epoch().unwrap();
        }
        let last = trainer.evaluate_validation().loss;
        assert!(last < first / 4.0, "{first} {last}");
        let mut model = trainer.model();
        assert!(model.held_out(&problem).unwrap().loss < first / 4.0);
        let part = problem.validation();
        for (place, prediction) in model.predict(part.inputs(), part.len()).into_iter().enumerate() {
            let (x, y) = row(part.rows()[place] as usize);
            match prediction {
                Prediction::Values { values } => {
                    let far = (values[0] - f64::from(x) * 100.0).abs() / 30.0
                        + (values[1] - 5.0 + f64::from(y)).abs();
                    assert!(far < 0.5, "{values:?} {x} {y}");
                }
                Prediction::Labels { labels, probabilities } if (x - 0.5).abs() > 0.1 => {
                    assert_eq!((labels.contains(&"a".to_owned()), probabilities.len()), (x > 0.5, 3));
                }
                Prediction::Labels { .. } => (),
                other => panic!("several targets were expected, not {other:?}"),
            }
        }
    }
}

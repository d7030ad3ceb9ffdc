//! Networks that train together: each member's curve is the one it has alone, whatever the others are and whenever they
//! come and go.
#![cfg(feature = "burn")]

use std::fs;
use std::sync::Arc;

use luthier_nn::{
    BranchError, Compute, DataSpec, EpochReport, Member, OptimizerKind, Population, Problem, Purpose,
    Settings, Shape, Stream, TrainError, Trainer,
};

/// Rows whose class is that of the nearest of three points, with noise; or a number; or two classes.
fn problem(target: &str) -> Arc<Problem> {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = Stream::new(&[5; 32], Purpose::Split, 99);
    let mut text = String::from("a,b,c,d,y\n");
    for row in 0..230u32 {
        let class = f64::from(row % 3);
        let x: Vec<f64> =
            (0..4).map(|k| (class * f64::from(k) * 0.7).sin() + 0.4 * stream.normal()).collect();
        let y = match target {
            "class" => format!("c{class}"),
            "pair" => format!("p{}", row % 2),
            "count" => format!("{}", (x[0].abs() * 3.0).floor() + class),
            _ => format!("{}", x[0] - 2.0 * x[1] + x[2] * x[3] + 0.1 * stream.normal()),
        };
        text.push_str(&format!("{},{},{},{},{y}\n", x[0], x[1], x[2], x[3]));
    }
    fs::write(folder.path().join("table.csv"), text).unwrap();
    let mut spec = DataSpec::new("table.csv");
    if target == "count" {
        spec.task = Some(luthier_nn::Task::Regression);
    }
    Arc::new(Problem::prepare(&spec, folder.path()).unwrap())
}

fn settings(text: &str) -> Settings {
    let settings: Settings = toml::from_str(&format!("epochs = 5\nbatch_size = 16\n{text}")).unwrap();
    settings.check().unwrap();
    settings
}

fn trainer(problem: &Arc<Problem>, settings: &Settings, seed: u8) -> Trainer {
    Trainer::new(problem, settings.clone(), [seed; 32]).unwrap()
}

fn population(problem: &Arc<Problem>, settings: &[Settings], compute: Compute) -> (Population, Vec<Member>) {
    let shape = Shape::of(&trainer(problem, &settings[0], 0)).unwrap();
    let mut population = Population::new(problem, shape, compute);
    let add = |(seed, settings)| match population.add(trainer(problem, settings, seed)) {
        Ok(member) => member,
        Err(misfit) => panic!("{}", misfit.reason),
    };
    let members = (1u8..).zip(settings).map(add).collect();
    (population, members)
}

type Curve = Vec<EpochReport>;

fn alone(trainer: &mut Trainer, epochs: usize) -> Curve {
    (0..epochs).map(|_| trainer.epoch().unwrap()).collect()
}

fn together(population: &mut Population, epochs: usize) -> Vec<(Member, EpochReport)> {
    (0..epochs).flat_map(|_| population.epoch()).map(|(member, report)| (member, report.unwrap())).collect()
}

fn of(member: Member, reports: &[(Member, EpochReport)]) -> Curve {
    reports.iter().filter(|(other, _)| *other == member).map(|(_, report)| report.clone()).collect()
}

fn assert_close(what: &str, found: &[EpochReport], expected: &[EpochReport]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.epoch, found.steps), (expected.epoch, expected.steps), "{what}");
        assert_eq!(found.learning_rate, expected.learning_rate, "{what}, epoch {}", found.epoch);
        let pairs =
            [(found.train_loss, expected.train_loss), (found.validation.loss, expected.validation.loss)];
        for (found_loss, expected_loss) in pairs {
            let error = (found_loss - expected_loss).abs() / expected_loss.abs().max(1e-3);
            assert!(error < 1e-4, "{what}, epoch {}: {found_loss}, but alone {expected_loss}", found.epoch);
        }
    }
}

/// All members, on both ways of predicting, against themselves alone.
fn check(problem: &Arc<Problem>, texts: &[&str]) {
    let all: Vec<Settings> = texts.iter().map(|text| settings(text)).collect();
    let curves: Vec<Curve> =
        (1u8..).zip(&all).map(|(seed, one)| alone(&mut trainer(problem, one, seed), 5)).collect();
    for compute in [Compute::Cpu, Compute::PlainCpu] {
        let (mut population, members) = population(problem, &all, compute);
        let reports = together(&mut population, 5);
        for ((member, curve), text) in members.into_iter().zip(&curves).zip(texts) {
            assert_close(text, &of(member, &reports), curve);
        }
    }
}

#[test]
fn every_optimiser_gives_each_member_its_own_curve() {
    let problem = problem("class");
    for kind in OptimizerKind::ALL {
        let own = match kind {
            OptimizerKind::Sgd | OptimizerKind::Momentum | OptimizerKind::Nesterov => "momentum = 0.7",
            OptimizerKind::Rmsprop => "momentum = 0.5\nrho = 0.8",
            OptimizerKind::Adagrad => "initial_accumulator = 0.5",
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::NAdam | OptimizerKind::Lion => {
                "beta1 = 0.7\nbeta2 = 0.9"
            }
        };
        let base = format!("optimizer = '{kind}'\nunits = [9, 7]\nactivation = 'tanh'\n");
        let [first, second, third] = [
            format!("{base}learning_rate = 0.003"),
            format!("{base}{own}\nschedule = 'cosine'\nlearning_rate = 0.002\nweight_decay = 0.1"),
            format!("{base}l1 = 1e-3\nl2 = 1e-2\nwarmup_epochs = 1.5\nclip_norm = 0.5"),
        ];
        check(&problem, &[&first, &second, &third]);
    }
}

#[test]
fn members_of_the_sgd_family_and_both_adams_train_together() {
    let problem = problem("number");
    check(
        &problem,
        &[
            "optimizer = 'sgd'",
            "optimizer = 'nesterov'\nclip_value = 0.05",
            "optimizer = 'momentum'\nmax_norm = 0.7\nschedule = 'one_cycle'",
        ],
    );
    check(&problem, &["optimizer = 'adam'", "optimizer = 'adamw'\nl1 = 0.01"]);
    check(&problem, &["l1 = 0.01\nl1_proximal = true", "l1_proximal = true\nlearning_rate = 0.01"]);
}

#[test]
fn widths_dropout_and_normalisation_are_each_members_own() {
    let problem = problem("class");
    for normalization in ["none", "batch", "layer"] {
        for activation in ["relu", "sigmoid"] {
            let base = format!("normalization = '{normalization}'\nactivation = '{activation}'\n");
            check(
                &problem,
                &[
                    &format!("{base}units = [5, 12]"),
                    &format!("{base}units = [11, 3]\ndropout = [0.4, 0.0]\nnormalization_momentum = 0.7"),
                    &format!(
                        "{base}units = [8, 8]\ndropout = 0.2\nlearning_rate = 0.02\nnormalization_epsilon = 1e-2"
                    ),
                ],
            );
        }
    }
}

#[test]
fn every_activation_and_every_loss_is_the_same_together() {
    let numbers = problem("number");
    for activation in ["linear", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus"] {
        let base = format!("activation = '{activation}'\n");
        check(&numbers, &[&format!("{base}units = 6"), &format!("{base}units = 9")]);
    }
    for loss in ["absolute_error", "huber"] {
        check(&numbers, &[&format!("loss = '{loss}'"), &format!("loss = '{loss}'\nhuber_delta = 0.4")]);
    }
    check(&problem("count"), &["loss = 'poisson'", "loss = 'poisson'\nunits = 7"]);
    check(
        &problem("pair"),
        &["loss = 'binary_cross_entropy'\nlabel_smoothing = 0.1", "loss = 'bce'\nunits = 7"],
    );
}

#[test]
fn changed_examples_class_weights_and_early_stopping_are_the_same_together() {
    let problem = problem("class");
    check(&problem, &["noise = 0.1\nlabel_smoothing = 0.2", "mixup = 0.3\nclass_weights = 'balanced'"]);
    check(&problem, &["patience = 1\nlearning_rate = 0.1", "patience = 3\nschedule = 'reduce_on_plateau'"]);
    check(&problem, &["layers = 0", "layers = 0\nl2 = 0.1"]);
}

#[test]
fn members_come_and_go_and_are_at_different_epochs() {
    let problem = problem("class");
    let texts = ["units = [6, 4]", "units = [9, 9]\ndropout = 0.3", "units = [4, 5]\nlearning_rate = 0.01"];
    let all: Vec<Settings> =
        texts.iter().map(|text| settings(&format!("{text}\nschedule = 'exponential'"))).collect();
    let mut lone: Vec<Curve> =
        (1u8..).zip(&all).map(|(seed, one)| alone(&mut trainer(&problem, one, seed), 6)).collect();

    let (mut population, members) = population(&problem, &all, Compute::Cpu);
    let mut reports = together(&mut population, 2);
    // The widest leaves with all it has learned, and goes on alone.
    let mut gone = population.remove(members[1]).unwrap();
    assert!(population.remove(members[1]).is_none() && population.trainer(members[1]).is_none());
    let rest = alone(&mut gone, 2);
    assert_close("on its own", &rest, &lone[1][2..4]);
    // A wider one joins at its beginning, the others are in their third epoch.
    let late = settings("units = [13, 4]\nschedule = 'exponential'");
    let expected = alone(&mut trainer(&problem, &late, 77), 4);
    let joined = population.add(trainer(&problem, &late, 77)).map_err(|misfit| misfit.reason).unwrap();
    reports.extend(together(&mut population, 2));
    // And the one that left comes back.
    let back = population.add(gone).map_err(|misfit| misfit.reason).unwrap();
    reports.extend(together(&mut population, 2));
    assert_close("first", &of(members[0], &reports), &lone.remove(0));
    assert_close("third", &of(members[2], &reports), &lone.remove(1));
    assert_close("late", &of(joined, &reports), &expected);
    assert_close("back", &of(back, &reports), &lone[0][4..]);
}

#[test]
fn a_copy_goes_on_from_its_parents_weights_with_its_own_settings() {
    let problem = problem("class");
    let parent = settings("units = [6, 4]\ndropout = 0.1");
    let child = settings("units = [6, 4]\ndropout = 0.3\nlearning_rate = 0.004\nbeta1 = 0.8");
    let folder = tempfile::tempdir().unwrap();
    let mut before = trainer(&problem, &parent, 1);
    alone(&mut before, 2);
    before.save(folder.path()).unwrap();
    let expected = alone(&mut Trainer::branch(&problem, child.clone(), [9; 32], folder.path()).unwrap(), 3);

    let others = [parent, settings("units = [9, 3]")];
    let (mut population, members) = population(&problem, &others, Compute::Cpu);
    together(&mut population, 2);
    let copy = population.branch(members[0], child, [9; 32]).unwrap();
    let reports = together(&mut population, 3);
    assert_close("copy", &of(copy, &reports), &expected);
    let wider = population.branch(members[1], settings("units = [6, 4]"), [9; 32]);
    assert!(matches!(wider, Err(BranchError::Shape(_))));
}

#[test]
fn checkpoints_are_those_of_a_lone_trainer_either_way() {
    let problem = problem("class");
    let one = settings("units = [6, 4]\nnormalization = 'batch'\ndropout = 0.2");
    let expected = alone(&mut trainer(&problem, &one, 1), 5);
    let folder = tempfile::tempdir().unwrap();
    let wider = settings("units = [10, 9]\nnormalization = 'batch'");
    let (mut population, members) = population(&problem, &[one.clone(), wider], Compute::PlainCpu);
    together(&mut population, 2);
    population.trainer(members[0]).unwrap().save(folder.path()).unwrap();

    let resume = || Trainer::resume(&problem, one.clone(), [1; 32], folder.path()).unwrap();
    assert_close("from the population", &alone(&mut resume(), 1), &expected[2..3]);
    let mut lone = resume();
    alone(&mut lone, 1);
    lone.save(folder.path()).unwrap();
    let member = population.add(resume()).map_err(|misfit| misfit.reason).unwrap();
    let reports = together(&mut population, 2);
    assert_close("to the population", &of(member, &reports), &expected[3..]);
}

#[test]
fn the_same_population_gives_the_same_bits() {
    let problem = problem("class");
    let all = ["dropout = 0.3", "units = 30", "learning_rate = 0.02"].map(settings);
    let run = || {
        let (mut population, members) = population(&problem, &all, Compute::Cpu);
        let reports = together(&mut population, 3);
        let values: Vec<_> = reports.iter().map(|(_, report)| format!("{:?}", report.values())).collect();
        (values, population.remove(members[1]).unwrap().evaluate_validation())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_member_that_diverges_does_no_harm_to_the_others() {
    let problem = problem("number");
    let all = [settings("optimizer = 'sgd'"), settings("optimizer = 'sgd'\nlearning_rate = 1e12")];
    let expected = alone(&mut trainer(&problem, &all[0], 1), 3);
    let error = trainer(&problem, &all[1], 2).epoch().unwrap_err();
    let (mut population, members) = population(&problem, &all, Compute::Cpu);
    let mut curve = Vec::new();
    for _ in 0..3 {
        for (member, report) in population.epoch() {
            if member == members[0] {
                curve.push(report.unwrap());
            } else {
                assert_eq!(report.unwrap_err(), error);
                assert!(matches!(error, TrainError::Diverged { .. }));
            }
        }
    }
    assert_close("the sound one", &curve, &expected);
    assert!(population.remove(members[1]).unwrap().epoch().is_err());
}

#[test]
fn who_does_not_fit_is_given_back_with_a_reason() {
    let problem = problem("class");
    let (mut population, _) = population(&problem, &[settings("units = [6, 4]")], Compute::Cpu);
    for text in [
        "units = 6",
        "units = [6, 4]\nactivation = 'tanh'",
        "units = [6, 4]\noptimizer = 'lion'",
        "units = [6, 4]\nresidual = true",
    ] {
        let misfit = population.add(trainer(&problem, &settings(text), 3)).expect_err(text);
        assert!(!misfit.reason.is_empty());
        let mut trainer = *misfit.trainer;
        assert_eq!(trainer.epoch().unwrap().epoch, 1);
    }
    let elsewhere = trainer(&self::problem("class"), &settings("units = [6, 4]"), 3);
    assert!(population.add(elsewhere).is_err());
}

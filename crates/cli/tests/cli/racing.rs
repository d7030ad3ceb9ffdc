//! Folds and seeds of a command, from the study file to the best trial measured again.

use luthier::core::figures::figure;
use serde_json::Value;

use crate::support::{Bench, study, toml_text};

/// A study of a shell command that is good at x = 0 and harder on later folds; `replicates` is its table.
fn bench(replicates: &str, policy: &str) -> Bench {
    let script = "awk -v x={x} -v f={fold} -v k={folds} -v s={seed} \
                  'BEGIN {{ srand(s + f); printf \"{{\\\"loss\\\": %.6f, \\\"seed\\\": %d}}\\n\", x * x + f / k + 0.001 * rand(), s }}'";
    Bench::with_study(&format!(
        "trials = 10\nreplicates = {replicates}\n[metric]\nname = \"loss\"\n[policy]\nsampler = \"sobol\"\n{policy}\n\
         [params.x]\ntype = \"float\"\nlow = -1.0\nhigh = 1.0\n[command]\nrun = [\"sh\", \"-c\", {}]\n",
        toml_text(script)
    ))
}

#[test]
fn folds_of_a_command_race_and_the_best_is_measured_again() {
    let bench = bench("{ folds = 4 }", "");
    let out = bench.ok(&["tune", "-j", "2"]);
    assert!(out.err.contains("sobol + race"), "{}", out.err);
    assert!(out.err.contains("trial 0, fold 3 of 4, seed 0 completed: "), "{}", out.err);
    assert!(out.err.contains("measured again"), "{}", out.err);
    assert!(out.out.contains("measured again, by what did not choose it: loss  "), "{}", out.out);
    assert!(out.out.contains("(4 replicates)"), "{}", out.out);

    let trials = bench.trials();
    let pruned: Vec<&Value> = trials.iter().filter(|trial| trial["state"] == "pruned").collect();
    assert!(pruned.len() >= 4, "{trials:?}");
    for trial in pruned {
        let values = trial["replicates"]["loss"]["values"].as_array().unwrap();
        assert!((1..4).contains(&values.len()), "{trial}");
        assert!(trial["replicates"]["loss"]["estimate"]["mean"].is_f64(), "{trial}");
    }
    bench.ok(&["verify"]);
    let shown = bench.ok(&["show", "--trial", "0"]).out;
    assert!(shown.contains("fold 0 of 4, seed 0  ") && shown.contains("mean loss  "), "{shown}");
    let number = trials.iter().position(|trial| trial["state"] == "pruned").expect("some were").to_string();
    let shown = bench.ok(&["show", "--trial", &number]).out;
    assert!(shown.contains("\nstopped: after ") && shown.contains(" of 4 replicates: "), "{shown}");
    let estimate = shown.lines().find(|line| line.starts_with("mean loss, estimated from ")).expect("one");
    let mean = estimate.split("  ").nth(1).and_then(|told| told.split(' ').next()).expect("a number");
    let listed = bench.ok(&["trials", "--state", "pruned"]).out;
    assert!(listed.contains(&format!("({mean})")), "{estimate}\n{listed}");
}

#[test]
fn seeds_are_the_same_for_all_trials_and_folds() {
    let bench = bench("{ folds = 2, seeds = 2 }", "scheduler = \"run_all\"");
    let out = bench.ok(&["tune", "-n", "3", "--json"]).out;
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let started = lines.filter(|line| line["event"] == "started");
    let places: Vec<(u64, u64)> =
        started.map(|line| (line["fold"].as_u64().unwrap(), line["seed_index"].as_u64().unwrap())).collect();
    assert_eq!(places[..4], [(0, 0), (1, 0), (0, 1), (1, 1)]);
    assert_eq!(places.len(), 12);
    let seeds: Vec<String> =
        (0..3).flat_map(|trial| [0, 1, 2, 3].map(|replicate| seed_of(&bench, trial, replicate))).collect();
    assert_eq!(seeds[0], seeds[1], "both folds have one seed");
    assert_ne!(seeds[0], seeds[2]);
    assert_eq!(seeds[..4], seeds[4..8], "all trials have the same");
}

/// The seed that a replicate's command printed.
fn seed_of(bench: &Bench, trial: u32, replicate: u16) -> String {
    let folder = match replicate {
        0 => format!("study.trials/{trial:05}"),
        replicate => format!("study.trials/{trial:05}/replicate-{replicate}"),
    };
    let line: Value = serde_json::from_str(bench.read(&format!("{folder}/stdout.log")).trim()).expect("JSON");
    line["seed"].to_string()
}

#[test]
fn replicates_that_are_all_the_same_leave_no_doubt_and_no_steps() {
    let bench = Bench::with_study(&study("trials = 1\nreplicates = 3", r#"echo '{"loss": 0.14211}'"#, ""));
    let out = bench.ok(&["tune"]).out;
    assert!(out.contains("mean loss  0.14211 ± 0 (3 replicates)\n"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("cost ") && line.ends_with(" s of work")), "{out}");
}

#[test]
fn by_hand_each_fold_is_asked_for() {
    let bench = bench("{ folds = 3 }", "");
    bench.luthier(&["tune", "--for", "0s", "--quiet"]);
    let asked: Value = serde_json::from_str(&bench.ok(&["ask"]).out).expect("JSON");
    assert_eq!((&asked["fold"], &asked["folds"]), (&Value::from(0), &Value::from(3)));
    let second: Value = serde_json::from_str(&bench.ok(&["ask"]).out).expect("JSON");
    assert_eq!((&second["trial"], &second["replicate"], &second["fold"]), (&0.into(), &1.into(), &1.into()));
    bench.ok(&["tell", "-t", "0", "--replicate", "1", "loss=0.5"]);
}

#[test]
fn networks_race_by_folds_of_their_rows() {
    let bench = Bench::with_study(
        "trials = 6\n[replicates]\nfolds = 3\n[metric]\nname = \"val_accuracy\"\ndirection = \"maximize\"\ncurve = \"best\"\n\
         [network.data]\nfile = \"data.csv\"\ntarget = \"y\"\n[network.settings]\nepochs = 4\nunits = 6\nbatch_size = 16\n\
         [policy]\nsampler = \"random\"\nscheduler = \"race\"\n[params.learning_rate]\ntype = \"float\"\nlow = 0.0001\nhigh = 0.1\nscale = \"log\"\n",
    );
    bench.write_classes();
    let out = bench.ok(&["tune"]).out;
    assert!(out.contains("replicates by folds"), "{out}");
    assert!(out.contains("trained anew on 160 rows, "), "{out}");
    assert!(out.contains("measured again, by what did not choose it: val_accuracy  "), "{out}");
    assert_eq!(told_loss(&out), mean_loss(&bench), "beside a mean of the folds, others stand for one fold");
    let first = &bench.trials()[0];
    let values = first["replicates"]["val_accuracy"]["values"].as_array().unwrap();
    assert_eq!(values.len(), 3);
    assert_ne!(values[0]["value"], values[1]["value"], "each fold has rows of its own");
    let curves = first["curves"].as_array().unwrap();
    assert_eq!(curves[0]["curve"], first["curve"], "the one curve that is told is that of the first");
    for (value, curve) in values.iter().zip(curves) {
        let points = curve["curve"].as_array().unwrap().iter();
        let best = points.map(|point| point["val_accuracy"].as_f64().unwrap()).fold(f64::MIN, f64::max);
        assert_eq!(value["replicate"], curve["replicate"]);
        assert_eq!(value["value"].as_f64(), Some(best), "{curve}");
    }
    bench.ok(&["verify"]);
}

/// The loss that a result tells beside its accuracy.
fn told_loss(out: &str) -> String {
    let line = out.lines().find(|line| line.starts_with("  val_loss ")).expect("the loss is told");
    line.trim_start_matches("  val_loss ").trim().to_owned()
}

/// The mean over the best trial's folds of their losses in the epochs that its accuracy is the mean of.
fn mean_loss(bench: &Bench) -> String {
    let best: Value = serde_json::from_str(&bench.ok(&["best", "--json"]).out).expect("JSON");
    let values = best["replicates"]["val_accuracy"]["values"].as_array().expect("one of each fold");
    let losses = values.iter().zip(best["curves"].as_array().expect("curves")).map(|(value, curve)| {
        let mut points = curve["curve"].as_array().expect("points").iter();
        points.find(|point| point["val_accuracy"] == value["value"]).expect("the best")["val_loss"]
            .as_f64()
            .expect("a number")
    });
    figure(losses.sum::<f64>() / values.len() as f64)
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    for (replicates, policy, expected) in [
        ("{ folds = 1 }", "", "give folds or seeds from 2"),
        (
            "{ folds = 3, confirm = 1 }",
            "scheduler = \"run_all\"",
            "only the scheduler \"race\" measures trials again",
        ),
        ("{ fold = 3 }", "", "unknown field `fold`"),
        ("0", "", "replicates must be at least 1"),
    ] {
        let ended = bench(replicates, policy).luthier(&["tune"]);
        assert_eq!(ended.code, 1, "{}", ended.err);
        assert!(ended.err.contains(expected) && ended.err.contains("study.toml:2"), "{}", ended.err);
    }
}

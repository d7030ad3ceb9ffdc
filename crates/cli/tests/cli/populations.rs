//! Populations over time, end to end: children go on with the checkpoints of others, whatever is killed meanwhile.

use std::fs;

use luthier::core::event::Event;
use serde_json::Value;

use crate::support::{Bench, eventually};

/// Adds `x` to what it has at each step, saves that and says it. It counts from 1 and goes to the budget. What it said and
/// nobody wrote down, because the tuner was killed, it says again; without a checkpoint it begins from the start.
const ADDS: &str = r#"step=0; sum=0
say() { echo "{\"step\": $1, \"score\": $2}"; }
[ -f "$LUTHIER_CHECKPOINT/state" ] && read step sum < "$LUTHIER_CHECKPOINT/state"
for unheard in $(seq $((LUTHIER_STEP + 1)) "$step"); do say $(cat "$LUTHIER_CHECKPOINT/at-$unheard"); done
while [ "$step" -lt "$LUTHIER_BUDGET" ]; do
  step=$((step + 1)); sum=$((sum + $1))
  SAVE
  say "$step" "$sum"
  PAUSE
done
"#;
/// The checkpoint is a file that is overwritten: whoever begins with it must have a copy.
const IN_PLACE: &str = r#"echo "$step $sum" > "$LUTHIER_CHECKPOINT/state""#;
/// The checkpoint is the old one or the new one, whenever the program is killed.
const AT_ONCE: &str = r#"cd "$LUTHIER_CHECKPOINT"; echo "$step $sum" > "at-$step"; cp "at-$step" next; mv next state; cd - > /dev/null"#;

fn adding(scheduler: &str, save: &str, pause: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        r#"trials = 6
max_attempts = 1000
[metric]
name = "score"
direction = "maximize"
[budget]
max = 12
[policy]
sampler = "random"
scheduler = {scheduler}
[command]
run = ["sh", "adds.sh", "{{x}}", "{{budget}}"]
[params.x]
type = "int"
low = 1
high = 100
"#
    ));
    bench.write("adds.sh", &ADDS.replace("SAVE", save).replace("PAUSE", pause));
    bench
}

/// A trial's values by step.
fn curve(bench: &Bench, number: u64) -> Vec<(u64, f64)> {
    let shown: Value =
        serde_json::from_str(&bench.ok(&["show", "--trial", &number.to_string(), "--json"]).out).unwrap();
    let curve = shown["curve"].as_array().unwrap_or_else(|| panic!("{shown}"));
    curve.iter().map(|point| (point["step"].as_u64().unwrap(), point["score"].as_f64().unwrap())).collect()
}

/// Each trial adds its own `x`, from what its parent had at the step of the checkpoint; returns how many have a parent.
fn check_sums(bench: &Bench) -> usize {
    let trials = bench.trials();
    let mut children = 0;
    for trial in &trials {
        let number = trial["trial"].as_u64().unwrap();
        let x = trial["params"]["x"].as_f64().unwrap();
        let (mut step, mut sum) = (0, 0.0);
        if let Some(parent) = trial["parent"].as_object() {
            step = parent["step"].as_u64().unwrap();
            sum = curve(bench, parent["trial"].as_u64().unwrap())
                .iter()
                .find(|point| point.0 == step)
                .unwrap()
                .1;
            children += 1;
        }
        for (at, score) in curve(bench, number) {
            (step, sum) = (step + 1, sum + x);
            assert_eq!((at, score), (step, sum), "trial {number}");
        }
    }
    children
}

/// What trials go on from is removed again and again, and made again.
#[test]
fn a_population_of_commands_with_a_quota_of_nothing_fails_nobody() {
    for scheduler in [
        r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5 }"#,
        r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5, synchronous = true }"#,
    ] {
        let bench = adding(scheduler, IN_PLACE, ":");
        bench.ok(&["tune", "-j", "2", "--quiet", "--checkpoint-quota", "0"]);
        bench.verify();
        let states: Vec<Value> = bench.trials().iter().map(|trial| trial["state"].clone()).collect();
        let count = |state: &str| states.iter().filter(|other| **other == state).count();
        assert_eq!((count("completed"), count("failed")), (6, 0), "{states:?}");
        assert!(check_sums(&bench) >= 2, "{states:?}");
        let events = bench.events();
        let is_anew = |event: &Event| matches!(event, Event::Noted { key, .. } if &**key == "begins anew");
        assert!(events.iter().filter(|(_, event)| is_anew(event)).count() > 2);
        let folders =
            || fs::read_dir(bench.path("study.trials")).unwrap().flatten().map(|trial| trial.path());
        let left = |name: &str| folders().filter(|trial| trial.join(name).exists()).count();
        assert_eq!((left("checkpoint"), left("kept"), left("before")), (1, 0, 0));
    }
}

#[test]
fn commands_go_on_from_the_checkpoints_of_others() {
    for scheduler in [
        r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5 }"#,
        r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5, synchronous = true }"#,
        r#"{ name = "pb2", population = 6, interval = 2 }"#,
    ] {
        for workers in ["1", "3"] {
            let bench = adding(scheduler, IN_PLACE, "");
            bench.ok(&["tune", "-q", "-j", workers]);
            assert!(check_sums(&bench) >= 3, "{scheduler}");
            let trials = bench.trials();
            let count = |state: &str| trials.iter().filter(|trial| trial["state"] == state).count();
            assert_eq!((count("completed"), count("failed")), (6, 0), "{scheduler}: {trials:?}");
            assert_eq!(count("replaced"), trials.len() - 6);
            bench.verify();
            // Of the checkpoints only the best trial's is left.
            let kept = |name: &str| {
                let folders = fs::read_dir(bench.path("study.trials")).unwrap().flatten();
                folders.filter(|folder| folder.path().join(name).exists()).count()
            };
            assert_eq!((kept("checkpoint"), kept("kept")), (1, 0));
        }
    }
}

#[test]
fn the_best_of_a_population_is_said_to_be_a_schedule() {
    let bench = adding(r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5 }"#, IN_PLACE, "");
    let ended = bench.ok(&["tune", "-q"]).out;
    let schedule: Value = serde_json::from_str(&bench.ok(&["replay", "--schedule"]).out).unwrap();
    let legs = schedule["legs"].as_array().unwrap().len();
    assert!(legs > 1, "{schedule}");
    let note = format!(
        "these params are those of the last of {legs} legs; a schedule led to the best\n\
         to train along it: luthier replay study.luthier; to print it: luthier replay study.luthier --schedule\n"
    );
    let best = bench.ok(&["best", "study.luthier"]).out;
    assert!(ended.contains(&note) && best.contains(&note), "{ended}{best}");
    let params = bench.ok(&["best", "--params", "study.luthier"]);
    assert!(params.out.starts_with("x=") && params.out.lines().count() == 1, "{params:?}");
    assert!(params.err.contains(&note), "{params:?}");
    let alone = adding(r#""run_all""#, IN_PLACE, "");
    alone.ok(&["tune", "-q", "-n", "1"]);
    assert!(!alone.ok(&["best"]).out.contains("legs"));
}

#[test]
fn a_killed_population_goes_on_where_it_was() {
    // Nobody comes to the end before `go` is there, so every tuner is killed while it works, however busy the machine is.
    let slow = r#"sleep 0.02; while [ "$step" -ge 10 ] && [ ! -e go ]; do sleep 0.02; done"#;
    let pbt = r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5 }"#;
    let bench = adding(pbt, AT_ONCE, slow);
    for reports in [1, 5, 9, 14, 18] {
        let tuner = bench.start(&["tune", "-q", "-j", "2"]);
        eventually("it has come further", || bench.reports("study.luthier") >= reports);
        assert_eq!(tuner.kill().code, -9);
    }
    bench.write("go", "");
    bench.ok(&["tune", "-q", "-j", "2"]);
    assert!(check_sums(&bench) >= 1);
    assert_eq!(bench.trials().iter().filter(|trial| trial["state"] == "completed").count(), 6);
    bench.verify();
}

/// Spirals of three classes, which a network does not learn at once.
fn rings(rows: usize) -> String {
    let row = |i: usize| {
        let (angle, radius) = (i as f64 * 0.7, (i % 3) as f64 + 0.3 * (i as f64 * 1.3).sin());
        format!("{},{},r{}\n", radius * angle.cos(), radius * angle.sin(), i % 3)
    };
    format!("x,y,ring\n{}", (0..rows).map(row).collect::<String>())
}

fn networks(scheduler: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        r#"trials = 6
[policy]
sampler = "random"
scheduler = {scheduler}
[network]
population = "off"
[network.data]
file = "rings.csv"
[network.settings]
epochs = 12
batch_size = 32
[params.learning_rate]
type = "float"
low = 1e-5
high = 0.3
scale = "log"
[params.units]
type = "int"
low = 3
high = 20
"#
    ));
    bench.write("rings.csv", &rings(240));
    bench
}

#[test]
fn networks_go_on_from_the_weights_of_others_and_keep_their_shape() {
    let bench = networks(r#"{ name = "pbt", population = 6, interval = 3, quantile = 0.5 }"#);
    bench.ok(&["tune", "-q"]);
    let trials = bench.trials();
    let mut children = 0;
    for child in trials.iter().filter(|trial| trial["parent"].is_object()) {
        let parent = &trials[child["parent"]["trial"].as_u64().unwrap() as usize];
        assert_eq!(child["params"]["units"], parent["params"]["units"]);
        assert_ne!(child["params"]["learning_rate"], parent["params"]["learning_rate"]);
        children += 1;
    }
    assert!(children >= 3, "{children}");
    assert_eq!(trials.iter().filter(|trial| trial["state"] == "completed").count(), 6);
    bench.verify();
    // Which parameters may change is spelled out in the log, and nothing changes when the study goes on.
    let text = format!("{:?}", bench.events()[0].1);
    assert!(text.contains(r#""change": Array [String("learning_rate")]"#), "{text}");
    assert!(!bench.ok(&["tune", "-n", "7"]).err.contains("changes"));
    // The model left behind is that of the best epoch of the best trial.
    let best: Value = serde_json::from_str(&bench.ok(&["best", "--json"]).out).unwrap();
    let text = bench.ok(&["evaluate", "study.toml", "rings.csv"]).out;
    assert!(best["values"]["val_loss"].as_f64().unwrap() > 0.0 && !text.is_empty());
}

/// The validation loss at each step along a trial's lineage, as the study has it.
fn losses_along(bench: &Bench, schedule: &Value) -> Vec<(u64, f64)> {
    let mut losses = Vec::new();
    for leg in schedule["legs"].as_array().unwrap() {
        let number = leg["trial"].to_string();
        let shown: Value =
            serde_json::from_str(&bench.ok(&["show", "--trial", &number, "--json"]).out).unwrap();
        let step = |point: &Value| point["step"].as_u64().unwrap();
        let (from, to) = (leg["from"].as_u64().unwrap(), leg["to"].as_u64().unwrap());
        let curve = shown["curve"].as_array().unwrap();
        let within = curve.iter().filter(|point| from < step(point) && step(point) <= to);
        losses.extend(within.map(|point| (step(point), point["val_loss"].as_f64().unwrap())));
    }
    losses
}

/// What makes a training depend on its past and on chance: momentum, dropout, noise, batches in a new order, a
/// learning rate that falls.
const WITH_A_PAST: &str = r#"optimizer = "nesterov"
dropout = 0.1
noise = 0.05
schedule = "cosine"
units = [12, 8]
[params.momentum]
type = "float"
low = 0.5
high = 0.99
scale = "log1m"
[params.learning_rate]"#;

#[test]
fn a_replayed_network_has_the_winners_curve_and_weights() {
    for (scheduler, workers) in [
        (r#"{ name = "pbt", population = 6, interval = 2, quantile = 0.5 }"#, "1"),
        (r#"{ name = "pbt", population = 6, interval = 2, quantile = 0.5, synchronous = true }"#, "2"),
        (r#"{ name = "pbt", population = 6, interval = 1, frequencies = [1, 3] }"#, "2"),
        (r#"{ name = "pb2", population = 6, interval = 2 }"#, "1"),
    ] {
        let bench = networks(scheduler);
        let text = fs::read_to_string(bench.path("study.toml")).unwrap();
        let text =
            text.split("[params.units]").next().unwrap().replace("[params.learning_rate]", WITH_A_PAST);
        bench.write("study.toml", &text);
        bench.ok(&["tune", "-q", "-j", workers]);
        // The winner, and of all that came to their end the one with the longest lineage.
        let best: Value = serde_json::from_str(&bench.ok(&["best", "--json"]).out).unwrap();
        let legs = |number: &str| {
            let schedule: Value =
                serde_json::from_str(&bench.ok(&["replay", "--trial", number, "--schedule"]).out).unwrap();
            schedule["legs"].as_array().unwrap().len()
        };
        let completed = bench.trials().into_iter().filter(|trial| trial["state"] == "completed");
        let longest =
            completed.map(|trial| trial["trial"].to_string()).max_by_key(|number| legs(number)).unwrap();
        assert!(legs(&longest) >= 3, "{scheduler}");
        for number in [best["trial"].to_string(), longest] {
            let told = bench.ok(&["replay", "--trial", &number, "--json", "--out", "again"]).out;
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["difference"].as_f64(), Some(0.0), "{scheduler}, trial {number}");
            let curve = told["curve"].as_array().unwrap().iter();
            let again: Vec<(u64, f64)> = curve
                .map(|point| (point["step"].as_u64().unwrap(), point["val_loss"].as_f64().unwrap()))
                .collect();
            assert_eq!(again, losses_along(&bench, &told["schedule"]), "{scheduler}, trial {number}");
            let weights = |folder: &str| fs::read(bench.path(folder).join("model.safetensors")).unwrap();
            if number == best["trial"] {
                assert_eq!(weights("again/model"), weights("study.trials/best"), "{scheduler}");
            }
        }
    }
}

#[test]
fn what_cannot_change_in_a_network_is_refused_by_name() {
    let bench = networks(r#"{ name = "pbt", change = ["learning_rate", "units"] }"#);
    let said = bench.error(&["tune"]);
    assert!(
        said.contains("units cannot change while a network trains") && said.contains("learning_rate"),
        "{said}"
    );
    assert!(!bench.has("study.luthier"));
}

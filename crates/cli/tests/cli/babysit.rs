//! One model watched, end to end: scripts, going back, kills, other terminals, commands that hear of their knobs.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Bench, Ended, eventually};

/// Spirals of three classes, which a network does not learn at once.
fn rings(rows: usize) -> String {
    let row = |i: usize| {
        let (angle, radius) = (i as f64 * 0.7, (i % 3) as f64 + 0.3 * (i as f64 * 1.3).sin());
        format!("{},{},r{}\n", radius * angle.cos(), radius * angle.sin(), i % 3)
    };
    format!("x,y,ring\n{}", (0..rows).map(row).collect::<String>())
}

fn network(epochs: u32) -> Bench {
    let bench = Bench::with_study(&format!(
        r#"[network.data]
file = "rings.csv"
[network.settings]
epochs = {epochs}
batch_size = 32
units = 16
[params.learning_rate]
type = "float"
low = 1e-5
high = 10.0
scale = "log"
default = 0.01
"#
    ));
    bench.write("rings.csv", &rings(240));
    bench
}

/// A run that adds `x` to what it has at each step, saves that and says so; `PAUSE` comes before it saves. It counts from 1 and
/// goes to the budget, and reads a line after each report if `$LUTHIER_KNOBS` is a dash. What it said and nobody wrote down,
/// because Luthier was killed, it says again.
const ADDS: &str = r#"step=$LUTHIER_STEP; sum=0; x=$LUTHIER_PARAM_X
say() {
  echo "{\"step\": $1, \"sum\": $2, \"x\": $3}"
  if [ "$LUTHIER_KNOBS" = - ]; then
    read -r line || exit 1
    x=$(echo "$line" | sed 's/.*"x":\([0-9]*\).*/\1/')
  fi
}
[ -f "$LUTHIER_CHECKPOINT/state" ] && read step sum used < "$LUTHIER_CHECKPOINT/state"
echo "$$" >> processes
echo "$LUTHIER_TRIAL $LUTHIER_SEED" >> seeds
for unheard in $(seq $((LUTHIER_STEP + 1)) "$step"); do say $(cat "$LUTHIER_CHECKPOINT/at-$unheard"); done
while [ "$step" -lt "$LUTHIER_BUDGET" ]; do
  case "$LUTHIER_KNOBS" in /*) x=$(sed 's/.*"x":\([0-9]*\).*/\1/' "$LUTHIER_KNOBS");; esac
  step=$((step + 1)); sum=$((sum + x)); used=$x
  PAUSE
  echo "$step $sum $used" > "$LUTHIER_CHECKPOINT/at-$step"
  cp "$LUTHIER_CHECKPOINT/at-$step" "$LUTHIER_CHECKPOINT/next"
  mv "$LUTHIER_CHECKPOINT/next" "$LUTHIER_CHECKPOINT/state"
  say "$step" "$sum" "$used"
done
"#;

/// `how` is a line of the command's table.
fn adding(how: &str, pause: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        r#"name = "study"
[metric]
name = "sum"
direction = "maximize"
[budget]
max = 20
[policy]
scheduler = {{ name = "babysit", spike = 1e9, lower = "x" }}
[command]
run = ["sh", "adds.sh"]
env = {{ LUTHIER_BUDGET = "{{budget}}" }}
{how}
[params.x]
type = "int"
low = 1
high = 100
default = 1
"#
    ));
    bench.write("adds.sh", &ADDS.replace("PAUSE", pause));
    bench
}

const LOG: &str = "study.babysit.luthier";

fn shown(bench: &Bench, trial: usize) -> Value {
    serde_json::from_str(&bench.ok(&["show", LOG, "--trial", &trial.to_string(), "--json"]).out).unwrap()
}

fn trials(bench: &Bench) -> Vec<Value> {
    let listed = bench.ok(&["trials", LOG, "--json", "--limit", "0"]).out;
    let count = listed.lines().count();
    (0..count).map(|trial| shown(bench, trial)).collect()
}

/// The last value of an objective by step, along the line of a trial.
fn curve(trials: &[Value], number: usize, metric: &str) -> Vec<(u64, f64)> {
    let own = trials[number]["curve"].as_array().unwrap();
    let own = own.iter().map(|point| (point["step"].as_u64().unwrap(), point[metric].as_f64().unwrap()));
    let Some(parent) = trials[number]["parent"].as_object() else { return own.collect() };
    let (of, step) = (parent["trial"].as_u64().unwrap() as usize, parent["step"].as_u64().unwrap());
    let before = curve(trials, of, metric).into_iter().filter(|(at, _)| *at <= step);
    before.chain(own).collect()
}

/// The sums are those that follow from the schedule of a trial: nothing was trained twice or with another knob.
fn check_sums(bench: &Bench, number: usize) {
    let all = trials(bench);
    let schedule = bench.ok(&["replay", LOG, "--trial", &number.to_string(), "--schedule"]).out;
    let schedule: Value = serde_json::from_str(&schedule).unwrap();
    let legs = schedule["legs"].as_array().unwrap();
    let mut sum = 0.0;
    for (at, (step, found)) in curve(&all, number, "sum").into_iter().enumerate() {
        assert_eq!(step, at as u64 + 1);
        let is_in =
            |leg: &&Value| leg["from"].as_u64().unwrap() < step && step <= leg["to"].as_u64().unwrap();
        sum += legs.iter().find(is_in).unwrap()["params"]["x"].as_f64().unwrap();
        assert_eq!(found, sum, "step {step}: {legs:?}");
    }
}

/// A command that is gone on with has the seed it had; whoever went back, to trial 3, has another.
fn check_seeds(bench: &Bench) {
    let seeds: BTreeSet<(bool, String)> = bench
        .read("seeds")
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(trial, seed)| (trial.parse::<u32>().unwrap() >= 3, seed.to_owned()))
        .collect();
    let different: BTreeSet<&str> = seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    assert_eq!((seeds.len(), different.len()), (2, 2), "{seeds:?}");
}

fn verify(bench: &Bench) {
    bench.ok(&["verify", LOG]);
}

fn best_loss(ended: &Ended) -> f64 {
    let words = ended.out.lines().next().unwrap().rsplit(' ').next().unwrap();
    words.parse().unwrap_or_else(|_| panic!("{ended:?}"))
}

#[test]
fn a_run_driven_to_divergence_recovers_ends_where_it_would_have_and_replays() {
    for seed in ["1", "2", "3"] {
        let bench = network(150);
        let calm = bench.ok(&["babysit", "--study", "calm.luthier", "-q", "--seed", seed]);
        bench.write("turns.txt", "# far too much\nat step 10: lr *300\n");
        let wild = bench.ok(&["babysit", "--script", "turns.txt", "--seed", seed]);
        let (calm, wild_loss) = (best_loss(&calm), best_loss(&wild));
        assert_eq!(wild_loss, calm, "seed {seed}: what was taken back leaves no trace");
        assert!(wild.err.contains("learning_rate 0.01 → 3 from the next epoch on"), "{}", wild.err);
        assert!(wild.err.contains("(rollback 1 of 5)"), "{}", wild.err);
        let all = trials(&bench);
        assert_eq!(all.len(), 3);
        assert_eq!((&all[1]["params"]["learning_rate"], &all[1]["state"]), (&3.0.into(), &"replaced".into()));
        assert_eq!(all[2]["parent"], serde_json::json!({"trial": 0, "step": 10}));
        verify(&bench);
        let replay = bench.ok(&["replay", LOG, "--json"]);
        let replay: Value = serde_json::from_str(replay.out.lines().last().unwrap()).unwrap();
        assert_eq!(replay["difference"], 0.0, "bit for bit");
        assert_eq!(replay["schedule"]["legs"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_loss_that_is_no_number_is_gone_back_from_with_a_lower_rate() {
    let bench = network(12);
    bench.edit("high = 10.0", "high = 1e30");
    let ended = bench.ok(&["babysit", "--set", "lr=1e25", "--rule", "factor=1e-7", "--rule", "rollbacks=4"]);
    let all = trials(&bench);
    assert_eq!(all[0]["state"], "failed", "{ended:?}");
    assert_eq!(all[1]["parent"]["step"], 0, "it begins anew");
    assert!(
        ended.err.contains("diverged at step") && ended.err.contains("at the beginning"),
        "{}",
        ended.err
    );
    assert_eq!(all.last().unwrap()["state"], "completed");
    verify(&bench);
}

#[test]
fn on_a_plateau_a_network_goes_on_with_a_lower_rate() {
    let bench = network(30);
    let rules = ["--rule", "plateau=2", "--rule", "plateau_threshold=0.5", "--rule", "plateau_min=1e-3"];
    let said = bench.ok(&[&["babysit"][..], &rules].concat()).err;
    let all = trials(&bench);
    let from = all[1]["parent"]["step"].as_u64().unwrap();
    let words = format!(": trial 1, from epoch {from} on: learning_rate 0.001\n");
    assert!(
        said.contains("↓ the last 2 reports are not 50 % better than ") && said.contains(&words),
        "{said}"
    );
    assert_eq!((all.len(), all[1]["params"]["learning_rate"].as_f64()), (2, Some(0.001)), "no further");
    assert!(
        bench.ok(&["show", LOG, "--lineage"]).out.contains("by itself: learning_rate 0.001  → completed")
    );
    verify(&bench);
    let replay: Value = serde_json::from_str(&bench.ok(&["replay", LOG, "--json"]).out).unwrap();
    assert_eq!(
        (replay["schedule"]["legs"].as_array().unwrap().len(), &replay["difference"]),
        (2, &0.0.into())
    );
}

#[test]
fn on_a_plateau_a_command_hears_of_its_lower_knob_by_the_rule_of_its_study_file() {
    for how in ["knobs = \"stdin\"", ""] {
        let bench = adding(how, "");
        // A sum that grows by 10 a step gains half of what it was at step 4, and not by step 6.
        bench.edit("lower = \"x\"", "lower = \"x\", plateau = 2, plateau_threshold = 0.5");
        let said = bench.ok(&["babysit", "--set", "x=10"]).err;
        assert!(
            said.contains("↓ the last 2 reports are not 50 % better than 40: trial 1, from step 6 on: x 1\n"),
            "{said}"
        );
        assert!(!said.contains("rollback") && !said.contains("the command"), "{said}");
        let all = trials(&bench);
        assert_eq!(
            (all.len(), all[1]["step"].as_u64(), &all[1]["state"]),
            (2, Some(20), &"completed".into())
        );
        check_sums(&bench, 1);
        verify(&bench);
        let replay: Value = serde_json::from_str(&bench.ok(&["replay", LOG, "--json"]).out).unwrap();
        assert_eq!(replay["difference"], 0.0);
    }
}

#[test]
fn knobs_that_nobody_has_declared_are_there_and_those_that_cannot_be_are_refused_while_it_goes_on() {
    let bench = network(12);
    bench.write(
        "turns.txt",
        "at step 2: dropout 0.2\nat step 3: units 8\nat step 4: lr 99\nat step 5: speed 3\nat step 6: batch_size *2\nat step 7: back 90\nat step 8: lr 1e-3\n",
    );
    let said = bench.ok(&["babysit", "--script", "turns.txt"]).err;
    for words in [
        "at step 2: dropout 0 → 0.2 from the next epoch on",
        "at step 3: not done: units cannot change while a network trains; `knobs` lists what can",
        "at step 4: not done: learning_rate: 99 is outside",
        "at step 5: not done: there is no knob \"speed\"; `knobs` lists what there is",
        "at step 6: batch_size 32 → 64",
        "at step 7: not done: there is no checkpoint of step 90 on this line; there are 0 (the beginning) and 1 … 6",
        "at step 8: learning_rate 0.01 → 0.001",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let all = trials(&bench);
    let last = all.last().unwrap();
    assert_eq!((last["step"].as_u64(), &last["state"]), (Some(12), &"completed".into()));
    assert_eq!(last["params"]["dropout"], 0.2);
    let schedule = bench.ok(&["replay", LOG, "--schedule"]).out;
    let schedule: Value = serde_json::from_str(&schedule).unwrap();
    let ends: Vec<u64> =
        schedule["legs"].as_array().unwrap().iter().map(|leg| leg["to"].as_u64().unwrap()).collect();
    assert_eq!(ends, [2, 6, 8, 12]);
    assert!(bench.ok(&["replay", LOG]).out.contains("the curve is that of the study"));
    verify(&bench);
}

#[test]
fn commands_hear_of_their_knobs_or_are_started_again_and_train_nothing_twice() {
    let turns = "at step 4: x 10\nat step 8: x *3\nat step 12: back 6\nat step 15: x 2\n";
    // How many processes: one for each interval and turn, or one until it goes back.
    for (how, args, processes, turned) in [
        ("knobs = \"stdin\"", &[][..], Some(2), [4, 8, 6, 15]),
        // Started again every other step, it takes a knob there: six times up to step 12, seven times from 6 to 20.
        ("", &[][..], Some(13), [4, 8, 6, 16]),
        ("", &["--every", "1"], None, [4, 8, 6, 15]),
    ] {
        let bench = adding(how, "");
        bench.write("turns.txt", turns);
        let ended = bench.ok(&[&["babysit", "--script", "turns.txt"], args].concat());
        let all = trials(&bench);
        assert_eq!(all.len(), 5, "{how}: {ended:?}");
        let parents: Vec<u64> =
            all[1..].iter().map(|trial| trial["parent"]["step"].as_u64().unwrap()).collect();
        assert_eq!(parents, turned, "{how}");
        assert_eq!(all[3]["params"]["x"], 10, "the knobs of then");
        check_sums(&bench, 4);
        check_sums(&bench, 2);
        if let Some(count) = processes {
            assert_eq!(bench.read("processes").lines().count(), count);
        }
        check_seeds(&bench);
        let told = if how.is_empty() {
            "x 10 → 2 from the checkpoint of step"
        } else {
            "x 10 → 2 from the next step on"
        };
        assert!(ended.err.contains(told), "{}", ended.err);
        assert!(!ended.err.contains("the command"), "{}", ended.err);
        verify(&bench);
        let replay: Value = serde_json::from_str(&bench.ok(&["replay", LOG, "--json"]).out).unwrap();
        assert_eq!(replay["difference"], 0.0);
    }
}

#[test]
fn a_command_that_always_begins_anew_is_heard_from_where_its_trial_begins() {
    let bench = adding("", "");
    let counts = r#"for step in $(seq "$LUTHIER_BUDGET"); do echo "{\"step\": $step, \"sum\": $step}"; done"#;
    bench.write("adds.sh", counts);
    bench.write("turns.txt", "at step 4: x 10\n");
    bench.ok(&["babysit", "--script", "turns.txt"]);
    let all = trials(&bench);
    assert_eq!(all[1]["parent"]["step"], 4);
    assert_eq!(curve(&all, 1, "sum"), (1..=20).map(|step| (step, step as f64)).collect::<Vec<_>>());
    verify(&bench);
}

#[test]
fn what_a_program_that_fails_said_is_told_and_where_its_value_was_none() {
    let failing = |what: &str| {
        let bench = adding("", what);
        bench.luthier(&["babysit", "--every", "1", "--rule", "rollbacks=1"])
    };
    let broken = failing("[ $step -lt 7 ] || { echo first >&2; echo boom at seven >&2; exit 3; }");
    assert!(broken.err.contains("↩ exit code 3: boom at seven: trial 1 goes on"), "{}", broken.err);
    assert!(
        broken.out.contains("ended: exit code 3: boom at seven\n  | first\n  | boom at seven\n"),
        "{broken:?}"
    );
    assert!(broken.out.contains("→ failed: exit code 3: boom at seven\n"), "{}", broken.out);
    let no_number = failing("[ $step -lt 7 ] || { echo '{\"step\": 7, \"sum\": NaN}'; exit; }");
    assert!(no_number.err.contains("↩ sum was nan after step 6: trial 1"), "{}", no_number.err);
    let silent = failing("echo '{\"total\": 3}'; exit");
    assert!(silent.out.contains("ended: ended without a value for sum; it printed total\n"), "{silent:?}");
    assert!(silent.out.contains("it printed total, but no sum: `name` under [metric]"), "{silent:?}");
}

#[test]
fn what_another_study_left_in_the_folder_is_nothing_to_begin_with() {
    let bench = adding("", "");
    bench.write("turns.txt", "at step 4: x 10\nat step 8: back 6\n");
    for _ in 0..2 {
        bench.ok(&["babysit", "--script", "turns.txt"]);
        check_sums(&bench, 2);
        for file in [LOG.to_owned(), format!("{LOG}-wal"), format!("{LOG}-shm")] {
            let _absent = fs::remove_file(bench.path(&file));
        }
        assert!(bench.has("study.babysit.trials/00000/kept/4/state"));
    }
}

#[test]
fn a_command_that_reads_its_knobs_from_a_file_takes_them_within_a_step() {
    // The program waits for nobody; here it waits at step 6, for on a busy machine it could be done before it is told.
    let told = r#"[ "$step" != 6 ] || for _ in $(seq 400); do grep -q '"x":50' "$LUTHIER_KNOBS" && break; sleep 0.05; done"#;
    let bench = adding("knobs = \"file\"", told);
    bench.write("turns.txt", "at step 5: x 50\n");
    let ended = bench.ok(&["babysit", "--script", "turns.txt"]);
    let all = trials(&bench);
    let values = curve(&all, 1, "sum");
    assert_eq!(values.len(), 20, "{ended:?}");
    assert_eq!(values[4].1, 5.0);
    // Five steps with 1, at most one more, then 50 each.
    let last = values[19].1;
    assert!(last == 755.0 || last == 706.0, "{last}");
    assert_eq!(bench.read("processes").lines().count(), 1);
    verify(&bench);
}

#[test]
fn a_command_that_does_not_listen_or_leaves_nothing_is_told_about() {
    let bench = adding("knobs = \"stdin\"", "");
    let script = bench.read("adds.sh");
    bench.write(
        "adds.sh",
        &script.replace(", \\\"x\\\": $3", "").replace("echo \"$step $sum $used\" >", "true >"),
    );
    bench.write("turns.txt", "at step 5: x 3\n");
    let said = bench.ok(&["babysit", "--script", "turns.txt"]).err;
    assert!(said.contains("the command does not say whether it took x 3: its reports have no x"), "{said}");
    let bench = adding("knobs = \"stdin\"", "");
    let script = bench.read("adds.sh");
    let saves =
        |line: &&str| ["> \"$LUTHIER_CHECKPOINT", "cp ", "mv "].iter().any(|word| line.contains(word));
    let script = script.lines().filter(|line| !saves(line)).collect::<Vec<_>>().join("\n");
    bench.write("adds.sh", &script.replace("x=$(echo", "y=$(echo"));
    bench.write("turns.txt", "at step 5: x 3\n");
    let said = bench.ok(&["babysit", "--script", "turns.txt"]).err;
    assert!(said.contains("the command reports x 1, although it was told 3"), "{said}");
    assert!(said.contains("leaves nothing in its checkpoint folder"), "{said}");
}

#[test]
fn a_better_line_that_was_left_is_told_of_and_the_study_file_finds_the_run() {
    let bench = adding("knobs = \"stdin\"", "");
    // The rules of this study lower `x`, so that is its learning rate.
    bench.write("turns.txt", "at step 10: lr 50\nat step 12: branch 0@5\n");
    let ended = bench.ok(&["babysit", "--script", "turns.txt"]);
    assert!(ended.err.contains("at step 10: x 1 → 50 from the next step on"), "{}", ended.err);
    assert!(ended.out.contains("better on another line: trial 1 had sum "), "{}", ended.out);
    assert!(ended.out.contains("--send \"branch 1@"), "{}", ended.out);
    assert!(bench.ok(&["show", "study.toml"]).out.starts_with("study (study.babysit.luthier)"));
    let again = bench.ok(&["replay", "study.toml"]).out;
    assert!(again.contains("the curve is that of the study"), "{again}");
}

#[test]
fn another_terminal_steers_a_run_that_goes_on() {
    // It waits in step 3 until the pause is asked for.
    let bench = adding(
        "knobs = \"stdin\"",
        r#": > "in-$step"; while [ "$step" = 3 ] && [ ! -e on ]; do sleep 0.02; done"#,
    );
    let run = bench.start(&["babysit"]);
    eventually("it is in step 3", || bench.path("in-3").exists());
    assert_eq!(
        bench.ok(&["babysit", "--send", "pause"]).out,
        "pausing at the end of this step; `go` goes on\n"
    );
    bench.write("on", "");
    eventually("it pauses", || run.err().contains("paused at step 3"));
    assert!(bench.ok(&["babysit", "--send", "x 7"]).out.contains("x 1 → 7 when it goes on"));
    let refused = bench.luthier(&["babysit", "--send", "x 700"]);
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("not done: x: 700 is outside"), "{refused:?}");
    assert!(bench.error(&["babysit", "--send", "faster!"]).contains("is not understood"));
    bench.ok(&["babysit", "--send", "go", "--send", "knobs"]);
    let ended = run.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    let all = trials(&bench);
    assert_eq!((all.len(), &all[1]["params"]["x"]), (2, &7.into()));
    check_sums(&bench, 1);
    verify(&bench);
    // It is over, but it can be taken back and goes on.
    assert!(bench.luthier(&["babysit", "--send", "x 9"]).out.contains("the run is over"));
    bench.ok(&["babysit", "--send", "branch 0@1", "--send", "x 9"]);
    bench.ok(&["babysit"]);
    assert_eq!(trials(&bench)[2]["params"]["x"], 9);
    check_sums(&bench, 2);
    verify(&bench);
}

#[test]
fn stopping_keeps_the_model_as_it_is() {
    let bench = network(400);
    bench.write("turns.txt", "at step 6: stop\n");
    let ended = bench.ok(&["babysit", "--script", "turns.txt"]);
    let all = trials(&bench);
    assert_eq!((all.len(), all[0]["step"].as_u64(), &all[0]["state"]), (1, Some(6), &"completed".into()));
    assert!(ended.out.contains("model  "), "{ended:?}");
    assert!(bench.ok(&["replay", LOG]).out.contains("the curve is that of the study"));
    verify(&bench);
}

/// With `curve = "best"`, as networks have it, a knob that is turned too far in the end loses nothing that was there before.
#[test]
fn the_best_of_the_whole_line_counts_and_its_model_is_kept() {
    let bench = network(40);
    bench.write("stop.txt", "at step 20: stop\n");
    bench.write("far.txt", "at step 20: lr *900\n");
    let by = |script: &str, log: &str| {
        bench.ok(&["babysit", "--study", log, "--script", script, "--rule", "none", "--json"])
    };
    let (stopped, far) = (by("stop.txt", "stopped.luthier"), by("far.txt", LOG));
    let result = |ended: &Ended| serde_json::from_str::<Value>(ended.out.lines().last().unwrap()).unwrap();
    let (stopped, far) = (result(&stopped), result(&far));
    let value = |result: &Value| result["best"]["values"]["val_loss"].as_f64().unwrap();
    assert_eq!(value(&far), value(&stopped));
    assert_eq!(far["held_out"], stopped["held_out"], "it is the same model");
    let all = trials(&bench);
    let own: Vec<(u64, f64)> =
        curve(&all, 1, "val_loss").into_iter().filter(|(step, _)| *step > 20).collect();
    assert!(own.len() == 20 && own.iter().all(|(_, loss)| *loss > value(&far)), "{own:?}");
    assert!(bench.ok(&["replay", LOG]).out.contains("the curve is that of the study"));
    verify(&bench);
}

#[test]
fn a_winner_is_trained_anew_along_its_schedule() {
    let bench = network(40);
    bench.edit("[network.data]", "[network]\nretrain = true\n[network.data]");
    bench.write("turns.txt", "at step 30: lr 1e-5\n");
    let accuracy = |arguments: &[&str]| {
        let ended = bench.ok(arguments);
        assert!(ended.out.contains("trained anew on "), "{ended:?}");
        let line =
            ended.out.lines().find(|line| line.starts_with("held-out test accuracy")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let turned = accuracy(&["babysit", "--script", "turns.txt"]);
    let calm = accuracy(&["babysit", "--study", "calm.luthier"]);
    let slow = accuracy(&["babysit", "--study", "slow.luthier", "--set", "lr=1e-5"]);
    assert!(
        turned > f64::midpoint(calm, slow) + 0.1,
        "{turned}, {calm} at the first rate, {slow} at the last"
    );
}

#[test]
fn a_line_whose_step_is_past_is_refused_and_one_whose_step_never_comes_is_told_of() {
    let bench = adding("knobs = \"stdin\"", r#"while [ "$step" = 6 ] && [ ! -e on ]; do sleep 0.02; done"#);
    bench.write("turns.txt", "at step 3: x 2\nat step 99: x 9\n");
    let mut command = bench.command(&["babysit", "--script", "turns.txt"]);
    command.stdin(Stdio::piped());
    let mut run = bench.start_command(command);
    eventually("it is in step 6", || run.err().contains("step 5  sum"));
    run.say("at step 4: x 7\nat step 50: x 8\n");
    eventually("it has heard", || run.err().contains("at step 50: noted"));
    bench.write("on", "");
    let said = run.wait().err;
    for words in [
        "not done: step 4 is past: the model has come to 5\n",
        "at step 99: not done: the run ended at 20\n",
        "at step 50: not done: the run ended at 20\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("at step 3: not done"), "{said}");
    assert_eq!(trials(&bench).len(), 2);
    // A script that is given again has been heard.
    let again = bench.ok(&["babysit", "--script", "turns.txt"]).err;
    assert!(!again.contains("at step 3"), "{again}");
}

/// Standard input is closed, so nobody can say `go` there; another process can.
#[test]
fn a_paused_model_waits_for_go_and_says_how_to_say_it() {
    let bench = network(6);
    bench.write("turns.txt", "at step 3: pause\n");
    let run = bench.start(&["babysit", "--script", "turns.txt"]);
    eventually("it stands still", || run.err().contains("paused at epoch 3"));
    run.signal("TERM");
    let ended = run.wait();
    let told = format!(
        "interrupted while paused; to go on: luthier babysit {LOG} --send go, then luthier babysit {LOG}\n"
    );
    assert!(ended.code == 130 && ended.out.contains(&told), "{ended:?}");
    bench.ok(&["babysit", LOG, "--send", "go"]);
    bench.ok(&["babysit", LOG]);
    assert_eq!(trials(&bench)[0]["state"], "completed");
    verify(&bench);
}

#[test]
fn a_killed_run_goes_on_where_it_was_and_hears_each_line_of_its_script_once() {
    // It does not come to the end before `go` is there, so it is killed while it works, however busy the machine is.
    let slow = r#"sleep 0.02; while [ "$step" -ge 17 ] && [ ! -e go ]; do sleep 0.02; done"#;
    for how in ["knobs = \"stdin\"", ""] {
        let bench = adding(how, slow);
        bench.write("turns.txt", "at step 3: x 10\nat step 9: back 5\nat step 14: x 4\n");
        let arguments = ["babysit", "--script", "turns.txt", "--every", "1"];
        for reports in [2, 7, 12, 18] {
            let run = bench.start(&arguments);
            eventually("it has come further", || bench.reports(LOG) >= reports);
            assert_eq!(run.kill().code, -9);
        }
        bench.write("go", "");
        bench.ok(&arguments);
        let all = trials(&bench);
        assert_eq!(all.len(), 4, "{how}");
        let parents: Vec<u64> =
            all[1..].iter().map(|trial| trial["parent"]["step"].as_u64().unwrap()).collect();
        assert_eq!(parents, [3, 5, 14]);
        check_sums(&bench, 3);
        verify(&bench);
        #[cfg(target_os = "linux")]
        bench.no_process_is_left();
    }
}

/// Before its first report there is nothing by which it is seen to come further.
#[test]
fn a_run_may_be_killed_any_number_of_times_before_it_says_anything() {
    let bench = adding("knobs = \"stdin\"", "touch begun; while [ ! -e go ]; do sleep 0.02; done");
    for _ in 0..4 {
        let run = bench.start(&["babysit"]);
        eventually("it has begun", || bench.path("begun").exists());
        assert_eq!(run.kill().code, -9);
        fs::remove_file(bench.path("begun")).unwrap();
    }
    bench.write("go", "");
    bench.ok(&["babysit"]);
    assert_eq!(trials(&bench)[0]["state"], "completed");
    verify(&bench);
}

#[test]
fn lines_on_standard_input_are_heard() {
    let bench = adding("knobs = \"stdin\"", r#"while [ "$step" = 2 ] && [ ! -e on ]; do sleep 0.02; done"#);
    bench.write("lines", "at step 3: x 5\nhelp\nx what\n");
    let mut command = bench.command(&["babysit"]);
    command.stdin(fs::File::open(bench.path("lines")).unwrap());
    let run = bench.start_command(command);
    eventually("it has heard the last line", || run.err().contains("not done: x: "));
    bench.write("on", "");
    let ended = run.wait();
    assert!(ended.code == 0 && ended.err.contains("at step 3: noted"), "{ended:?}");
    assert!(ended.err.contains("turn a knob"), "{ended:?}");
    assert_eq!(trials(&bench)[1]["params"]["x"], 5);
    check_sums(&bench, 1);
}

#[test]
fn what_is_wrong_is_said_before_anything_begins() {
    let bench = network(5);
    bench.write("turns.txt", "at step 3: lr\n");
    let said = bench.error(&["babysit", "--script", "turns.txt"]);
    assert!(said.contains("line 1 of the script") && said.contains("is not understood"), "{said}");
    bench.write("turns.txt", "lr 3\n");
    assert!(bench.error(&["babysit", "--script", "turns.txt"]).contains("does not say when"));
    assert!(bench.error(&["babysit", "--set", "speed=3"]).contains("is not a network setting"));
    assert!(bench.error(&["babysit", "--set", "lr=1e9"]).contains("learning_rate"));
    assert!(bench.error(&["babysit", "--rule", "spike=-1"]).contains("standard deviations"));
    for (rule, said) in [
        ("plateau=0", "plateau = 0 would lower the learning rate at every report"),
        ("plateau=soon", "plateau = \"soon\""),
        ("plateau_factor=2", "plateau_factor = 2 lowers nothing"),
        ("plateau_cooldown=-1", "plateau_cooldown = -1"),
    ] {
        let error = bench.error(&["babysit", "--rule", rule]);
        assert!(error.contains(said), "{rule}: {error}");
    }
    let rules =
        "--rule spork: there is no such rule; there are interval, spike, patience, window, rollbacks, lower";
    assert!(bench.error(&["babysit", "--rule", "spork=1"]).contains(rules));
    bench.write("turns.txt", "at step 2: lr 0.01\nat step 3: lr *0\n");
    let said = bench.error(&["babysit", "--script", "turns.txt"]);
    assert!(said.contains("line 2 of the script") && said.contains("is no factor"), "{said}");
    let missing = bench.error(&["babysit", "--send", "pause"]);
    assert!(
        missing.contains("there is no study at") && missing.contains("`luthier babysit` with"),
        "{missing}"
    );
    assert!(!bench.has(LOG));
    bench.ok(&["tune", "-q", "-n", "1"]);
    let tuned = bench.luthier(&["babysit", "study.luthier", "--send", "pause"]);
    assert!(tuned.out.contains("nothing to steer"), "{tuned:?}");
}

#[test]
fn a_run_that_is_watched_is_not_tuned_and_stays_as_it_is() {
    let bench = network(2);
    bench.ok(&["babysit", "-q"]);
    let before = bench.events_of(LOG).len();
    for tune in [&["tune", LOG, "-n", "2"][..], &["tune", LOG], &["tune", "--study", LOG, "-n", "2"]] {
        let said = bench.error(tune);
        assert!(said.ends_with(&format!("to go on with it: luthier babysit {LOG}")), "{said}");
    }
    assert_eq!(bench.events_of(LOG).len(), before);
    assert_eq!(bench.ok(&["babysit", "--send", "back 1"]).out, "going back to epoch 1 of trial 0\n");
}

#[test]
fn a_run_that_has_begun_says_that_it_does_not_begin_otherwise() {
    let bench = network(2);
    let begun = bench.ok(&["babysit", "--set", "lr=0.02"]).err;
    let again = bench.ok(&["babysit", "--set", "lr=0.02"]).err;
    assert!(!begun.contains("not used") && !again.contains("not used"), "{begun}{again}");
    let other = bench.ok(&["babysit", "--set", "lr=0.03"]).err;
    let told =
        "--set lr is not used: the run began with 0.02; `--send \"learning_rate 0.03\"` turns the knob\n";
    assert!(other.contains(told), "{other}");
    let same = ["--seed", "0", "--every", "1", "--rule", "spike=10", "--rule", "patience=5"];
    let same = bench.ok(&[&["babysit"][..], &same].concat()).err;
    assert!(!same.contains("not used"), "{same}");
    let others = ["--seed", "7", "--every", "5", "--keep", "3", "--rule", "spike=6", "--rule", "none"];
    let other = bench.ok(&[&["babysit"][..], &others].concat()).err;
    for told in [
        "--seed 7 is not used: the run began with 0\n",
        "--every 5 is not used: the run began with 1\n",
        "--keep 3 is not used: the run began with none\n",
        "--rule spike=6, none is not used: the run keeps the rules that it began with\n",
    ] {
        assert!(other.contains(told), "{told}: {other}");
    }
}

#[test]
fn a_paused_model_that_is_told_to_stop_is_done_at_once() {
    let bench = network(6);
    bench.write("turns.txt", "at step 3: pause\n");
    let run = bench.start(&["babysit", "--script", "turns.txt"]);
    eventually("it stands still", || run.err().contains("paused at epoch 3"));
    assert_eq!(bench.ok(&["babysit", "--send", "stop"]).out, "done: the model as it is counts\n");
    assert_eq!(run.wait().code, 0);
    assert_eq!(
        (trials(&bench)[0]["state"].clone(), trials(&bench)[0]["step"].clone()),
        ("completed".into(), 3.into())
    );
}

#[test]
fn where_many_models_are_watched_nobody_is_told_of_pauses_that_end_at_once() {
    let bench = network(5);
    bench.edit("[params", "[policy]\nsampler = \"random\"\nscheduler = \"babysit\"\n[params");
    let said = bench.ok(&["tune", "-n", "2"]).err;
    assert!(said.contains("trial 1 completed: ") && !said.contains("paused"), "{said}");
}

#[test]
fn a_knob_whose_condition_no_longer_holds_is_told_as_such() {
    let bench = adding("knobs = \"stdin\"", "");
    let text = bench.read("study.toml");
    bench.write(
        "study.toml",
        &format!(
            "{text}[params.way]\ntype = \"categorical\"\nchoices = [\"a\", \"b\"]\ndefault = \"b\"\n\
             [params.push]\ntype = \"float\"\nlow = 0.0\nhigh = 1.0\ndefault = 0.5\nwhen = {{ param = \"way\", eq = \"b\" }}\n"
        ),
    );
    bench.write("turns.txt", "at step 5: way a\n");
    let ended = bench.ok(&["babysit", "--script", "turns.txt"]);
    assert!(ended.out.contains("you: way a, no push"), "{ended:?}");
}

/// Keys need a terminal; `script` makes one.
#[cfg(target_os = "linux")]
#[test]
fn keys_turn_pause_and_go_back_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("there is no `script` here to make a terminal with");
        return;
    }
    // It waits in the step that stands in a file until the key that is to be heard there has been.
    let bench = adding(
        "knobs = \"stdin\"",
        r#": > "in-$step"; while [ "$step" = "$(cat wait)" ]; do sleep 0.02; done"#,
    );
    bench.write("wait", "3");
    let luthier = env!("CARGO_BIN_EXE_luthier");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{luthier} babysit"), "/dev/null"]).current_dir(bench.path("."));
    command.env("TERM", "xterm").stdin(Stdio::piped());
    let seen = fs::File::create(bench.path("seen")).unwrap();
    let mut child = command.stdout(seen).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let mut press = |text: &str| {
        std::io::Write::write_all(&mut keys, text.as_bytes()).unwrap();
        std::io::Write::flush(&mut keys).unwrap();
    };
    // What is said before would be heard at the end of step 2.
    eventually("it is in step 3", || bench.path("in-3").exists());
    press(" ");
    eventually("it is asked to pause", || bench.read("seen").contains("pausing at the end of this step"));
    bench.write("wait", "8");
    eventually("it pauses", || bench.read("seen").contains("paused at step 3"));
    press("x 20\u{7f}5\r");
    eventually("the line is heard", || bench.read("seen").contains("x 1 → 25 when it goes on"));
    press(" ");
    eventually("it goes on", || bench.read("seen").contains("| x 25"));
    press("\u{1b}[D");
    eventually("it goes back", || bench.read("seen").contains("going back to step"));
    bench.write("wait", "0");
    assert!(child.wait().unwrap().success(), "{}", bench.read("seen"));
    let all = trials(&bench);
    assert!(all.len() >= 3 && all[1]["params"]["x"] == 25, "{}", bench.read("seen"));
    verify(&bench);
}

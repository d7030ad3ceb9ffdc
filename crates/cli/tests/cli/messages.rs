//! What a user reads when something is wrong: the whole text, as it is printed.

use std::fs;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{Bench, study};

/// Study files with a mistake, and what `luthier tune` says.
const FILES: &[(&str, &str)] = &[
    (
        "trials = 3\n[metric\nname = 1",
        "error: study.toml:2:8: unclosed table, expected `]`
    2 | [metric",
    ),
    (
        r#"trials = "x""#,
        r#"error: study.toml:1:10: trials: invalid type: string "x", expected a whole number from 0
    1 | trials = "x""#,
    ),
    (
        "seed = -1",
        "error: study.toml:1:8: seed: invalid value: integer `-1`, expected a whole number from 0
    1 | seed = -1",
    ),
    (
        "limits.converged.chanse = 0.2",
        "error: study.toml:1:18: limits.converged.chanse: unknown field `chanse`, expected one of `epsilon`, `share`, `chance`, `trials`, `patience`, `min_trials`
    1 | limits.converged.chanse = 0.2",
    ),
    (
        "limits.converged = { trials = -5 }",
        "error: study.toml:1:31: limits.converged.trials: invalid value: integer `-5`, expected a whole number from 0
    1 | limits.converged = { trials = -5 }",
    ),
    (
        r#"limits.converged = "yes""#,
        r#"error: study.toml:1:20: limits.converged: invalid type: string "yes", expected true, false, or a table with epsilon, share, chance, trials, patience and min_trials
    1 | limits.converged = "yes""#,
    ),
    (
        "trails = 3",
        "error: study.toml:1:1: trails: unknown field `trails`, expected one of `name`, `seed`, `trials`, `limits`, `metric`, `metrics`, `feasible`, `budget`, `replicates`, `max_attempts`, `policy`, `command`, `network`, `params`, `constraints`
    1 | trails = 3",
    ),
    (
        r#"metric.directon = "max""#,
        r#"error: study.toml:1:8: metric.directon: unknown field `directon`, expected one of `name`, `direction`, `curve`
    1 | metric.directon = "max""#,
    ),
    (
        r#"metric = { name = "x", direction = "max" }"#,
        r#"error: study.toml:1:36: metric.direction: unknown variant `max`, expected `minimize` or `maximize`
    1 | metric = { name = "x", direction = "max" }"#,
    ),
    (
        r#"command.run = "train.py {x}""#,
        r#"error: study.toml:1:15: command.run: invalid type: string "train.py {x}", expected a list with the program and each argument, such as ["python3", "train.py", "--lr", "{lr}"]
    1 | command.run = "train.py {x}""#,
    ),
    (
        "",
        "error: study.toml: there is no [command] to run and no [network] to train; `luthier init` writes an example",
    ),
    (
        r#"command.run = ["true"]
[params.x]
type = "bool""#,
        "error: study.toml: which number is to be made small or large? Add [metric] with name and direction",
    ),
    (
        r#"command.run = ["true"]
metric.name = "loss"
"#,
        "error: study.toml: there is no parameter to tune; add a table such as [params.learning_rate]",
    ),
    (
        r#"command.run = ["true"]
metric.name = "loss"
[params.x]
type = "float"
low = 2
high = 1"#,
        r#"error: study.toml:5:1: parameter "x", low: low = 2 is above high = 1; swap them
    5 | low = 2"#,
    ),
    (
        r#"command.run = ["true"]
metric.name = "loss"
[params.x]
type = "flaot""#,
        r#"error: study.toml:4:8: params.x.type: unknown variant `flaot`, expected one of `float`, `int`, `bool`, `categorical`, `ordinal`, `fixed`
    4 | type = "flaot""#,
    ),
    (
        r#"limits.trials = 4
trials = 3
command.run = ["true"]
metric.name = "loss"
[params.x]
type = "bool""#,
        "error: study.toml:1:8: trials is given twice; keep one of trials and limits.trials
    1 | limits.trials = 4",
    ),
    (
        r#"name = "a/b"
policy.sampler = "random"
command.run = ["true"]
metric.name = "loss"
[params.x]
type = "bool""#,
        r#"error: study.toml:1:1: a study's name becomes a file name; it may not be empty or hold a slash
    1 | name = "a/b""#,
    ),
    (
        r#"policy.sampler = "random"
policy.scheduler = "asha"
command.run = ["true"]
metric.name = "loss"
[params.x]
type = "bool""#,
        r#"error: study.toml:2:8: scheduler "asha": it compares trials at fractions of the largest budget, which the study does not declare; give max_budget, the largest step a trial can reach (`max` under [budget] in a study file)
    2 | policy.scheduler = "asha""#,
    ),
    (
        r#"policy.sampler = { name = "random", gamma = 1 }
command.run = ["true"]
metric.name = "loss"
[params.x]
type = "bool""#,
        r#"error: study.toml:1:8: sampler "random": unknown field `gamma`, there are no fields
    1 | policy.sampler = { name = "random", gamma = 1 }"#,
    ),
    (
        r#"budget.max = 0
command.run = ["true"]
metric.name = "loss"
[params.x]
type = "bool""#,
        "error: study.toml:1:8: the largest step must be at least 1
    1 | budget.max = 0",
    ),
    (
        r#"metric.name = "step"
command.run = ["true"]
[params.x]
type = "bool""#,
        r#"error: study.toml:1:1: "step" cannot be a metric's name
    1 | metric.name = "step""#,
    ),
    (
        r#"network.data.file = "x.csv"
command.run = ["true"]
metric.name = "loss"
[params.x]
type = "bool""#,
        r#"error: study.toml:1:1: a study has either [command] or [network], not both
    1 | network.data.file = "x.csv""#,
    ),
];

/// `[command]` tables with a mistake.
const COMMANDS: &[(&str, &str)] = &[
    (
        "run = []",
        r#"error: study.toml:8:1: command.run is empty; give the program and its arguments, e.g. run = ["python3", "train.py"]
    8 | run = []"#,
    ),
    (
        r#"run = ["sh", "-c", "echo {y}"]"#,
        r#"error: study.toml:8:1: "echo {y}" has the placeholder {y}, which is neither a parameter nor one of x, budget, step, trial, replicate, fold, folds, outer_fold, outer_folds, outer_part, seed, attempt, params, checkpoint, folder; write {{ for a brace
    8 | run = ["sh", "-c", "echo {y}"]"#,
    ),
    (
        r#"run = ["sh", "-c", "echo {x"]"#,
        r#"error: study.toml:8:1: "echo {x" has a brace without its partner; write {{ or }} for a brace
    8 | run = ["sh", "-c", "echo {x"]"#,
    ),
    (
        r#"run = ["t"]
time_limit = -1"#,
        "error: study.toml:9:1: command.time_limit must be a positive number, not -1
    9 | time_limit = -1",
    ),
    (
        r#"run = ["t"]
grace = inf"#,
        "error: study.toml:9:1: command.grace must be a positive number, not inf
    9 | grace = inf",
    ),
    (
        r#"run = ["t"]
pattern = { loss = 'x=' }"#,
        "error: study.toml:9:13: command.pattern.loss: it has 0 groups; put the number, and only it, in ( )
    9 | pattern = { loss = 'x=' }",
    ),
    (
        r#"run = ["t"]
pattern = { loss = 'x=(' }"#,
        "error: study.toml:9:13: command.pattern.loss: regex parse error:
    x=(
      ^
error: unclosed group
    9 | pattern = { loss = 'x=(' }",
    ),
    (
        r#"run = ["t"]
pattern = { los = 'x=(.*)' }"#,
        r#"error: study.toml:9:1: command.pattern has no pattern for the metric "loss"
    9 | pattern = { los = 'x=(.*)' }"#,
    ),
    (
        r#"run = ["t"]
env = { A = "{q}" }"#,
        r#"error: study.toml:9:9: "{q}" has the placeholder {q}, which is neither a parameter nor one of x, budget, step, trial, replicate, fold, folds, outer_fold, outer_folds, outer_part, seed, attempt, params, checkpoint, folder; write {{ for a brace
    9 | env = { A = "{q}" }"#,
    ),
    (
        r#"run = ["t"]
result = "{q}.json""#,
        r#"error: study.toml:9:1: "{q}.json" has the placeholder {q}, which is neither a parameter nor one of x, budget, step, trial, replicate, fold, folds, outer_fold, outer_folds, outer_part, seed, attempt, params, checkpoint, folder; write {{ for a brace
    9 | result = "{q}.json""#,
    ),
    (
        r#"run = ["t"]
timelimit = 3"#,
        "error: study.toml:9:1: command.timelimit: unknown field `timelimit`, expected one of `run`, `pattern`, `result`, `knobs`, `time_limit`, `memory_limit`, `grace`, `env`, `working_dir`, `outer`
    9 | timelimit = 3",
    ),
];

/// `[command]` tables of commands that cannot be started: why.
const UNSTARTED: &[(&str, &str)] = &[
    (
        r#"run = ["nosuchprogram"]"#,
        "the program `nosuchprogram` was not found in PATH (/usr/bin:/bin); check the spelling, or give its full path",
    ),
    (
        r#"run = ["./no.sh"]"#,
        "the program `./no.sh` was not found; check the spelling, or give its full path",
    ),
    (
        r#"run = ["true"]
working_dir = "nowhere""#,
        "the working directory `./nowhere` does not exist or cannot be entered",
    ),
    (
        r#"run = ["./study.toml"]"#,
        "`./study.toml` may not be executed: make it executable (`chmod +x`), or run it through its interpreter",
    ),
];

/// `[command]` tables that are right, of commands that are not: what is said at the end.
const RUNS: &[(&str, &str)] = &[
    (
        r#"run = ["true"]"#,
        r#"no trial has completed (1 failed)
trial 0 failed: ended without a value for loss
  the command has to print a line such as {"loss":0.41} on standard output,
  or the study file names a pattern or a result file under [command]"#,
    ),
    (
        r#"run = ["sh", "-c", "echo careful >&2; echo '{{\"auc\": 0.5, \"name\": \"a\"}}'"]"#,
        r#"no trial has completed (1 failed)
trial 0 failed: ended without a value for loss
  | {"auc": 0.5, "name": "a"}
  it printed auc, but no loss: `name` under [metric] has to be a name that the command prints"#,
    ),
    (
        r#"run = ["echo", '{{"step": 1, "auc": 0.5}}']"#,
        "no trial has completed (1 failed)
trial 0 failed: ended without a value for loss
  it printed auc, but no loss: `name` under [metric] has to be a name that the command prints",
    ),
    (
        r#"run = ["echo", "{{'loss': 0.5}}"]"#,
        r#"no trial has completed (1 failed)
trial 0 failed: ended without a value for loss
  | {'loss': 0.5}
  the command has to print a line such as {"loss":0.41} on standard output,
  or the study file names a pattern or a result file under [command]
  (a printed dictionary of Python is not JSON; json.dumps(...) makes it so)"#,
    ),
    (
        r#"run = ["true"]
result = "r.json""#,
        "no trial has completed (1 failed)
trial 0 failed: the command ended without writing its result file FOLDER/study.trials/00000/r.json",
    ),
    (
        r#"run = ["sh", "-c", "echo reading data; echo Oops: no data >&2; exit 2"]"#,
        "no trial has completed (1 failed)
trial 0 failed: exit code 2
  | Oops: no data",
    ),
];

const PARAMS: &str = "[params.x]\ntype = \"float\"\nlow = 0.0\nhigh = 1.0\n";
const HEAD: &str = "metric.name = \"loss\"\npolicy.sampler = \"random\"\n";

/// Everything that is wrong with a file is said before there is a study.
fn check_file(text: &str, message: &str) {
    let bench = Bench::with_study(text);
    assert_eq!(bench.error(&["tune"]), message, "{text}");
    assert!(!bench.has("study.luthier"), "a study was made of {text}");
}

#[test]
fn study_files_with_mistakes() {
    for (text, message) in FILES {
        check_file(text, message);
    }
    let unknown =
        Bench::with_study(&format!("{HEAD}command.run = [\"true\"]\n{PARAMS}").replace("random", "best"));
    let said = unknown.error(&["tune"]);
    assert!(said.starts_with("error: study.toml:2:8: there is no sampler \"best\"; there are "), "{said}");
    for (name, hint) in [
        ("CMA-ES", "did you mean cma_es?"),
        ("tpee", "did you mean tpe?"),
        ("hyperband", "hyperband is a scheduler"),
    ] {
        unknown.edit("policy.sampler = \"best\"", &format!("policy.sampler = {name:?}"));
        let said = unknown.error(&["tune"]);
        assert!(said.contains(&format!("there is no sampler {name:?} ({hint}); there are ")), "{said}");
        unknown.edit(&format!("policy.sampler = {name:?}"), "policy.sampler = \"best\"");
    }
}

#[test]
fn json_study_files_with_mistakes() {
    let bench = Bench::new();
    bench.write(
        "study.json",
        "{\"metric\": {\"name\": \"loss\"},\n \"params\": {\"x\": {\"low\": 0 \"high\": 1}}}",
    );
    assert_eq!(
        bench.error(&["tune", "study.json"]),
        "error: study.json:2:28: params.x.high: expected `,` or `}`\n    2 |  \"params\": {\"x\": {\"low\": 0 \"high\": 1}}}"
    );
}

#[test]
fn commands_with_mistakes() {
    for (table, message) in COMMANDS {
        check_file(&format!("{HEAD}{PARAMS}[command]\n{table}\n"), message);
    }
}

#[test]
fn commands_that_cannot_be_started_cost_no_trial() {
    for (table, why) in UNSTARTED {
        let bench = Bench::with_study(&format!("{HEAD}trials = 2\n{PARAMS}[command]\n{table}\n"));
        let mut command = bench.command(&["tune", "--quiet"]);
        command.env("PATH", "/usr/bin:/bin");
        let ended = bench.start_command(command).wait();
        assert_eq!((ended.code, &*ended.err), (1, ""), "{ended:?}");
        let line = format!("stopped: trial 0 could not be started and waits to be: {why}\n");
        assert!(ended.out.contains(&line), "{line}: {}", ended.out);
        // Nothing has been measured yet, so the command may be another.
        bench.edit(table, r#"run = ["echo", '{"loss": 1}']"#.replace('{', "{{").replace('}', "}}").as_str());
        bench.ok(&["tune", "--quiet"]);
        let states: Vec<Value> = bench.trials().iter().map(|trial| trial["state"].clone()).collect();
        assert_eq!(states, ["completed", "completed"]);
        bench.verify();
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_ends_the_run_and_costs_no_trial() {
    let bench = Bench::with_study(&study("trials = 4", r#"echo '{"loss": 1}'"#, ""));
    bench.ok(&["tune", "--quiet", "-n", "1"]);
    bench.write("full", "a file where a folder is wanted");
    let ended = bench.luthier(&["tune", "--quiet", "--folder", "full"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let why = "\nstopped: trial 1 could not be started and waits to be: FOLDER/full/00001: Not a directory (os error 20)\n";
    let told = ended.out.replace(&bench.name(), "FOLDER");
    assert!(told.contains(why), "{told}");
    assert!(ended.out.contains("\nto continue: luthier tune study.toml --folder full\n"), "{}", ended.out);
    assert!(bench.trials().iter().all(|trial| trial["state"] != "failed"), "{:?}", bench.trials());
    bench.ok(&["tune", "--quiet"]);
    assert!(bench.trials().iter().all(|trial| trial["state"] == "completed"), "{:?}", bench.trials());
    assert_eq!(bench.trials().len(), 4);
    bench.verify();
}

#[test]
fn a_program_that_the_params_name_may_fail_to_start() {
    let text = format!(
        "{HEAD}trials = 2\n[params.tool]\ntype = \"categorical\"\nchoices = [\"echo\", \"nosuchprogram\"]\n\
         [command]\nrun = [\"{{tool}}\", '{{{{\"loss\": 1}}}}']\n"
    );
    let bench = Bench::with_study(&text);
    bench.ok(&["tune", "--quiet"]);
    let mut ends: Vec<String> = bench.trials().iter().map(|trial| trial["state"].to_string()).collect();
    ends.sort();
    assert_eq!(ends, ["\"completed\"", "\"failed\""]);
}

#[test]
fn a_metric_that_was_named_wrongly_is_told_while_it_runs_and_how_to_begin_anew() {
    let bench = Bench::with_study(&study("trials = 1", r#"echo '{"auc": 0.5}'"#, ""));
    let ended = bench.luthier(&["tune"]);
    let told = "trial 0 failed: ended without a value for loss; it printed auc  [x=";
    assert!(ended.err.contains(told), "{}", ended.err);
    bench.edit("name = \"loss\"", "name = \"auc\"");
    assert_eq!(
        bench.error(&["tune"]),
        "error: study.toml:2:2: the metrics have changed since the study began. None of its trials has told a value, so nothing is lost: to begin anew, remove study.luthier and study.trials\n    2 | [metric]"
    );
    std::fs::remove_file(bench.path("study.luthier")).unwrap();
    std::fs::remove_dir_all(bench.path("study.trials")).unwrap();
    bench.ok(&["tune"]);
}

#[test]
fn the_last_words_of_a_command_are_told_where_it_fails() {
    let bench = Bench::with_study(&study("trials = 1", "echo one >&2; echo Oops: no data >&2; exit 2", ""));
    let told = bench.luthier(&["tune"]).err;
    assert!(told.contains("trial 0 failed: exit code 2: Oops: no data  [x="), "{told}");
    let shown = bench.ok(&["show"]).out;
    assert!(shown.ends_with("last failure: trial 0, exit code 2: Oops: no data\n"), "{shown}");
}

#[test]
fn commands_that_cannot_work() {
    for (table, message) in RUNS {
        let bench = Bench::with_study(&format!("{HEAD}trials = 1\n{PARAMS}[command]\n{table}\n"));
        let mut command = bench.command(&["tune", "--quiet"]);
        command.env("PATH", "/usr/bin:/bin");
        let ended = bench.start_command(command).wait();
        assert_eq!((ended.code, &*ended.err), (1, ""), "{ended:?}");
        let end = ended.out.find("cost ").unwrap_or(ended.out.len());
        assert_eq!(ended.out[..end].trim().replace(&bench.name(), "FOLDER"), *message);
    }
}

#[test]
fn files_that_are_not_there_or_not_ours() {
    let bench = Bench::new();
    let check =
        |arguments: &[&str], message: &str| assert_eq!(bench.error(arguments), message, "{arguments:?}");
    check(&["tune"], "error: there is no study file study.toml; `luthier init` writes one");
    check(&["tune", "x.toml"], "error: there is no study file x.toml; `luthier init` writes one");
    let none = "error: there is no study at x.luthier; `luthier tune` with its study file creates it";
    check(&["tune", "--data", "x.csv"], "error: cannot read ./x.csv: No such file or directory (os error 2)");
    bench.write("train.py", "print(1)\n");
    check(
        &["tune", "train.py"],
        "error: train.py:1:9: key with no value, expected `=`\n    1 | print(1)\na study file is TOML or JSON and names the program to tune; `luthier init -- python3 train.py --lr {lr}` writes one for `train.py`",
    );
    check(&["tune", "x.luthier"], none);
    check(&["best", "x.luthier"], none);
    check(&["tell", "--study", "x.luthier", "-t", "1", "loss=1"], none);
    check(&["tune", "."], "error: cannot read the study file .: Is a directory (os error 21)");
    check(&["best"], "error: there is no study in this folder; name its .luthier file or its study file");
    check(
        &["tune", "x.luthier", "--study", "y.luthier"],
        "error: --study goes with a study file; x.luthier is a log already",
    );
    bench.write("text.luthier", "hello");
    for arguments in [["tune", "text.luthier"], ["show", "text.luthier"], ["verify", "text.luthier"]] {
        check(
            &arguments,
            "error: text.luthier is not a Luthier study: it is not an SQLite database, or its beginning is damaged. \
             Nothing was changed; give another --study path",
        );
    }
    assert_eq!(bench.read("text.luthier"), "hello");
    bench.write("more.luthier", "");
    check(&["best"], "error: there are several studies here (./more.luthier, ./text.luthier); name one");
}

fn begun() -> Bench {
    let bench = Bench::with_study(&study("trials = 2", r#"echo '{"loss": 1}'"#, ""));
    bench.ok(&["tune"]);
    bench
}

fn sql(bench: &Bench, statements: &str) {
    let conn = Connection::open(bench.path("study.luthier")).expect("a database");
    conn.execute_batch(statements).expect("SQL");
}

/// Every command refuses the study with `message` and changes nothing.
fn refused(bench: &Bench, message: &str) {
    let before = fs::read(bench.path("study.luthier")).expect("the study");
    for command in ["tune", "best", "trials", "show", "verify", "ask"] {
        assert_eq!(bench.error(&[command, "study.luthier"]), message, "{command}");
    }
    assert_eq!(bench.error(&["tune"]), message);
    assert_eq!(fs::read(bench.path("study.luthier")).expect("the study"), before);
}

#[test]
fn a_study_of_a_newer_version_is_refused() {
    let bench = begun();
    sql(&bench, "PRAGMA user_version = 99");
    refused(
        &bench,
        "error: study.luthier has log format 99, and this program writes 1. Nothing was changed; use a newer luthier",
    );
}

#[test]
fn a_damaged_study_is_refused() {
    let bench = begun();
    sql(&bench, "DELETE FROM log WHERE seq = 3");
    refused(
        &bench,
        "error: study.luthier is damaged: record 3 is missing. Nothing was changed; restore a copy, or keep what comes \
         before with `luthier export`",
    );
}

#[test]
fn what_comes_before_the_damage_can_be_exported() {
    let bench = Bench::with_study(&study("trials = 9", r#"echo '{"loss": 1}'"#, ""));
    bench.ok(&["tune"]);
    let whole = bench.ok(&["export"]).out;
    let fifth = bench.ends()[4].0;
    sql(&bench, &format!("DELETE FROM log WHERE seq = {}", fifth + 1));
    let ended = bench.luthier(&["export"]);
    assert_eq!(ended.code, 1);
    let message = format!(
        "error: only what comes before the damage was exported: study.luthier is damaged: record {} is missing.",
        fifth + 1
    );
    assert!(ended.err.replace("./", "").starts_with(&message), "{}", ended.err);
    let kept: Vec<&str> = whole.lines().take(6).collect();
    assert_eq!(ended.out.lines().collect::<Vec<_>>(), kept);
}

#[test]
fn a_study_with_an_unknown_event_is_refused() {
    let bench = begun();
    sql(&bench, "UPDATE log SET body = '{\"dreamt\": 1}' WHERE seq = 2");
    let said = bench.error(&["best"]);
    assert!(said.starts_with("error: event 2 cannot be understood: unknown variant `dreamt`"), "{said}");
    assert!(said.ends_with("It was written by a newer luthier, or the study is damaged"), "{said}");
}

#[test]
fn a_study_that_was_never_begun_is_begun() {
    let bench = begun();
    sql(&bench, "DELETE FROM log; DELETE FROM leases");
    assert_eq!(
        bench.error(&["best"]),
        "error: the study at ./study.luthier is empty: whoever created it ended before saying what it is. \
         `luthier tune` with its study file begins it"
    );
    bench.ok(&["tune"]);
    assert_eq!(bench.trials().len(), 2);
}

#[test]
fn a_study_that_may_not_be_written_can_be_read() {
    let bench = begun();
    let path = bench.path("study.luthier");
    let mut permissions = fs::metadata(&path).expect("the study").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("ours");
    let said = bench.error(&["tune"]);
    assert!(said.starts_with("error: study.luthier: "), "{said}");
    assert!(said.contains("read-only") || said.contains("may not be written"), "{said}");
    assert_eq!(bench.trials().len(), 2);
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let bench = begun();
    let check =
        |arguments: &[&str], message: &str| assert_eq!(bench.error(arguments), message, "{arguments:?}");
    check(&["enqueue", "x=3"], "error: \"x\": 3 is outside 0 … 1");
    check(&["enqueue", "x=0.5..5"], "error: \"x\": 5 is outside 0 … 1");
    check(&["enqueue", "x=abc"], "error: \"x\": \"abc\" is not a number");
    check(&["enqueue", "y=1"], "error: \"y\": the space has no such parameter; it has x");
    check(&["enqueue", "x"], "error: \"x\" is not NAME=VALUE");
    check(&["stop", "7"], "error: there is no trial 7; `luthier trials` lists them");
    check(&["tell", "-t", "7", "loss=1"], "error: there is no trial 7; `luthier trials` lists them");
    check(
        &["tell", "-t", "1", "loss=1"],
        "error: trial 1 is completed, not running; `luthier ask` takes one",
    );
    check(&["tell", "-t", "1"], "error: nothing to tell: give METRIC=VALUE, or --failed REASON");
    check(&["tell", "-t", "1", "loss=x"], "error: \"x\" is not a number: invalid float literal");
    check(
        &["init", "-o", "new.toml", "--", "python3", "train.py"],
        "error: the command has no placeholder to tune; write {name} where a value goes, as in --lr {lr}",
    );
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let bench = begun();
    let check = |arguments: &[&str], first: &str| {
        let ended = bench.luthier(arguments);
        assert_eq!((ended.code, ended.err.lines().next()), (2, Some(first)), "{ended:?}");
    };
    check(&["tune", "-j", "0"], "error: invalid value '0' for '--workers <N>': write a whole number from 1");
    check(
        &["tune", "--for", "soon"],
        "error: invalid value 'soon' for '--for <TIME>': write 90s, 10m, 2h or 1d",
    );
    check(
        &["tune", "--checkpoint-quota", "2 barrels"],
        "error: invalid value '2 barrels' for '--checkpoint-quota <MB>': write a whole number of megabytes, such as 500, or with its unit, such as 2GB",
    );
    check(&["tune", "--sampler", "best"], "error: invalid value 'best' for '--sampler <NAME>'");
    check(&["tune", "--json", "--quiet"], "error: the argument '--json' cannot be used with '--quiet'");
    check(&["tun"], "error: unrecognized subcommand 'tun'");
}

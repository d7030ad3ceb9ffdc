//! A command as an objective: what it is given, what of it is understood, how it ends, what it leaves.

use std::fs;

use luthier::core::event::Event;
use serde_json::{Value, json};

use crate::support::{Bench, eventually, study};

/// A study whose trial k runs the k-th script.
fn cases(scripts: &[&str], tail: &str) -> Bench {
    let branches: String =
        scripts.iter().enumerate().map(|(k, script)| format!("{k}) {script};;\n")).collect();
    let script = format!("case $LUTHIER_TRIAL in\n{branches}esac");
    Bench::with_study(&study(&format!("trials = {}", scripts.len()), &script, tail))
}

/// How a trial ended, in short: its value, or why it failed.
fn outcome(trial: &Value) -> String {
    match trial["state"].as_str() {
        Some("completed") => trial["values"]["loss"].to_string(),
        Some("failed") => trial["failure"]["text"].as_str().unwrap_or("?").to_owned(),
        other => other.unwrap_or("?").to_owned(),
    }
}

/// Runs every script in a trial of its own and compares how they end.
fn check(expected: &[(&str, &str)], tail: &str) -> Bench {
    let scripts: Vec<&str> = expected.iter().map(|(script, _)| *script).collect();
    let bench = cases(&scripts, tail);
    bench.luthier(&["tune", "study.toml", "--quiet"]);
    let trials = bench.trials();
    let found: Vec<String> =
        trials.iter().map(|trial| outcome(trial).replace(&bench.name(), "FOLDER")).collect();
    let found: Vec<(&str, &str)> = scripts.iter().copied().zip(found.iter().map(String::as_str)).collect();
    assert_eq!(found, expected, "{trials:?}");
    bench
}

const GIVEN: &str = r#"
trials = 2
[metric]
name = "loss"
[policy]
sampler = "random"
scheduler = "run_all"
[command]
run = ["sh", "record.sh", "--opt", "{opt}", "--momentum", "{momentum}", "--m={momentum}", "--x={x}", "{{}} ;$HOME", "{trial}-{attempt}-{step}"]
env = { MY_OPT = "opt is {opt}", MY_MOMENTUM = "{momentum}", PATH_TO = "{folder}" }
[params.x]
type = "fixed"
value = 0.1
[params.opt]
type = "categorical"
choices = ["sgd", "adam w"]
[params.momentum]
type = "fixed"
value = 0.9
when = { param = "opt", eq = "sgd" }
[params.layers]
type = "fixed"
value = 2
[params.units]
type = "int"
low = 7
high = 8
repeat = "layers"
"#;

const RECORD: &str = r#"
printf '%s\n' "$@" > "$LUTHIER_FOLDER/arguments"
env > "$LUTHIER_FOLDER/environment"
cp "$LUTHIER_PARAMS" "$LUTHIER_FOLDER/copy.json"
test -d "$LUTHIER_CHECKPOINT" && pwd > "$LUTHIER_FOLDER/where"
echo '{"loss": 1}'
"#;

#[test]
fn a_command_is_given_its_params_in_three_ways() {
    let bench = Bench::new();
    fs::create_dir(bench.path("sub")).expect("a folder");
    bench.write("sub/study.toml", GIVEN);
    bench.write("sub/record.sh", RECORD);
    for opt in ["opt=sgd", "opt=adam w"] {
        if !bench.has("sub/study.luthier") {
            bench.ok(&["tune", "sub/study.toml", "--for", "0s"]);
        }
        bench.ok(&["enqueue", "--study", "sub/study.luthier", opt, "units[1]=7", "units[2]=8"]);
    }
    bench.ok(&["tune", "sub/study.toml"]);

    let lines = |name: &str| bench.read(&format!("sub/study.trials/{name}"));
    assert_eq!(lines("00000/arguments"), "--opt\nsgd\n--momentum\n0.9\n--m=0.9\n--x=0.1\n{} ;$HOME\n0-1-0\n");
    assert_eq!(lines("00001/arguments"), "--opt\nadam w\n--x=0.1\n{} ;$HOME\n1-1-0\n");

    let environment = lines("00000/environment");
    let has = |line: &str| assert!(environment.lines().any(|known| known == line), "{line}: {environment}");
    for line in [
        "LUTHIER_PARAM_X=0.1",
        "LUTHIER_PARAM_OPT=sgd",
        "LUTHIER_PARAM_MOMENTUM=0.9",
        "LUTHIER_PARAM_UNITS_1=7",
        "LUTHIER_PARAM_UNITS_2=8",
        "LUTHIER_TRIAL=0",
        "LUTHIER_REPLICATE=0",
        "LUTHIER_ATTEMPT=1",
        "LUTHIER_STEP=0",
        "MY_OPT=opt is sgd",
        "MY_MOMENTUM=0.9",
    ] {
        has(line);
    }
    let other = lines("00001/environment");
    assert!(!other.contains("MOMENTUM"), "inactive: {other}");

    let params: Value = serde_json::from_str(&lines("00001/copy.json")).expect("JSON");
    assert_eq!(params, json!({ "x": 0.1, "opt": "adam w", "layers": 2, "units[1]": 7, "units[2]": 8 }));
    let here = fs::canonicalize(bench.path("sub")).expect("a folder");
    assert_eq!(lines("00000/where").trim_end(), here.display().to_string());
}

#[test]
fn results_are_json_lines() {
    check(
        &[
            (r#"echo '{"loss": 0.5}'"#, "0.5"),
            (r#"echo loading; echo ' {"loss": "1e3", "other": "x"} '; echo bye"#, "1000.0"),
            (r#"echo '{"loss": 0.5}'; echo '{"loss": 0.25}'"#, "0.25"),
            (r#"echo '{"step": 1, "loss": 3}'; echo '{"step": 2, "loss": 2}'; echo '{"acc": 9}'"#, "2.0"),
            (r#"echo '{"step": 1, "loss": 3}'; echo '{"loss": 7}'"#, "7.0"),
            (r#"printf '{"loss": 1}\r{"loss": 2}\r'"#, "2.0"),
            (r#"printf '{"loss": 4}'"#, "4.0"),
            (r#"echo '{"loss": NaN}'"#, "loss was nan"),
            (r#"echo '{"loss": -Infinity}'"#, "loss was -inf"),
            (r#"echo '{"step": 1, "loss": 1}'; echo '{"step": 2, "loss": NaN}'"#, "loss was nan"),
            (r#"echo '{"loss": 0.5}'; echo '{"loss": NaN}'"#, "loss was nan"),
            (r#"echo '{"step": 1, "loss": 1, "aux": NaN}'"#, "1.0"),
            (r#"echo '{"loss": null}'"#, "ended without a value for loss"),
            (r#"echo '{"los": 1}'"#, "ended without a value for loss"),
            (r#"echo '{"loss": 1}' >&2"#, "ended without a value for loss"),
            ("true", "ended without a value for loss"),
            (r#"echo '{"loss": 1}'; exit 3"#, "exit code 3"),
            (r#"echo '{"loss": 1}'; kill -SEGV $$"#, "killed by signal 11"),
            (r#"cat; echo '{"loss": 6}'"#, "6.0"),
            (r#"setsid sleep 1000 & echo '{"loss": 8}'"#, "8.0"),
        ],
        "",
    );
}

#[test]
fn results_are_found_by_patterns() {
    check(
        &[
            ("echo 'epoch 1: loss=0.5'; echo 'epoch 2: loss=0.25' >&2", "0.25"),
            ("printf 'loss=3\\rloss=2\\r'; echo", "2.0"),
            ("echo 'loss=1,000.5'", "1000.5"),
            ("echo 'loss=nan'", "loss was nan"),
            ("echo 'loss=abc'", "ended without a value for loss"),
            (r#"echo '{"loss": 1}'"#, "ended without a value for loss"),
        ],
        "pattern = { loss = 'loss=(\\S+)', step = 'epoch (\\d+)' }",
    );
}

#[test]
fn results_are_read_from_a_file() {
    check(
        &[
            (r#"echo '{"loss": 0.5}' > $LUTHIER_FOLDER/out-$LUTHIER_TRIAL.json"#, "0.5"),
            (r#"echo '{"loss": NaN}' > $LUTHIER_FOLDER/out-$LUTHIER_TRIAL.json"#, "loss was nan"),
            (
                "echo nonsense > $LUTHIER_FOLDER/out-$LUTHIER_TRIAL.json",
                "the result file FOLDER/study.trials/00002/out-2.json is not a JSON object",
            ),
            (
                "true",
                "the command ended without writing its result file FOLDER/study.trials/00003/out-3.json",
            ),
        ],
        "result = 'out-{trial}.json'",
    );
}

#[test]
fn a_failure_keeps_the_last_clean_lines() {
    let bench = check(
        &[
            (r"printf '\033[31mred\377\007 \033]0;title\007end\n' >&2; exit 1", "exit code 1"),
            ("echo only out; exit 1", "exit code 1"),
            ("for i in $(seq 100); do echo line $i; done >&2; exit 1", "exit code 1"),
        ],
        "",
    );
    let details: Vec<Value> = bench.trials().iter().map(|trial| trial["failure"]["detail"].clone()).collect();
    assert_eq!(details[0], "red\u{fffd} ]0;titleend");
    assert_eq!(details[1], "only out");
    let last: Vec<String> = (89..=100).map(|i| format!("line {i}")).collect();
    assert_eq!(details[2], last.join("\n"));
    assert!(bench.read("study.trials/00002/stderr.log").starts_with("line 1\nline 2\n"));
}

#[test]
fn time_and_memory_have_limits() {
    // Each has one limit, for on a busy machine the other would come first.
    for (script, outcome, limit) in [
        (
            "trap '' TERM; setsid sleep 1000 & sleep 1000",
            "still running after 1 s",
            "time_limit = 1.0\ngrace = 0.1",
        ),
        (
            "(head -c 300000000 /dev/zero; sleep 1000) | tail",
            "used more than 100 MB of memory",
            "memory_limit = 100",
        ),
    ] {
        let bench = check(&[(script, outcome)], limit);
        #[cfg(target_os = "linux")]
        bench.no_process_is_left();
    }
}

#[test]
fn output_is_bounded_on_disk_and_in_memory() {
    let wait = r"while [ ! -e go ]; do sleep 0.02; done";
    let script = format!(
        r#"yes 'a line of text' | head -c 100000000; head -c 100000000 /dev/zero | tr '\0' a; echo
           echo '{{"step": 1, "loss": 0.5}}'; {wait}; echo end"#
    );
    let bench = Bench::with_study(&study("trials = 1", &script, ""));
    let tuner = bench.start(&["tune", "study.toml", "--quiet"]);
    let reported = |event: &(_, Event)| matches!(event.1, Event::Reported { .. });
    eventually("200 MB have been read", || bench.events().iter().any(reported));
    #[cfg(target_os = "linux")]
    {
        let status = fs::read_to_string(format!("/proc/{}/status", tuner.pid())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kilobytes < 100_000, "{kilobytes} kB");
    }
    bench.write("go", "");
    assert_eq!(tuner.wait().code, 0);
    let log = fs::read(bench.path("study.trials/00000/stdout.log")).expect("the output");
    assert!(log.len() < 1_200_000, "{}", log.len());
    assert!(log.ends_with(b"{\"step\": 1, \"loss\": 0.5}\nend\n"), "the end is kept");
}

const RESUMES: &str = r#"
last=$(cat "$2/step" 2>/dev/null || echo 0)
step=$last
while [ $step -lt $1 ]; do
  step=$((step + 1))
  echo "{\"step\": $step, \"loss\": $3}"
  echo $step > "$2/step"
  [ -z "$4" ] || sleep 0.2
done
echo "$LUTHIER_TRIAL $LUTHIER_STEP $last $step" >> runs
"#;

fn promotes(arguments: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        r#"
trials = 8
budget.max = 4
[metric]
name = "loss"
[policy]
sampler = "random"
scheduler = {{ name = "asha", mode = "promote", eta = 2, min_budget = 1 }}
[command]
run = ["sh", "train.sh", {arguments}]
grace = 5.0
[params.x]
type = "float"
low = 0.0
high = 1.0
"#
    ));
    bench.write("train.sh", RESUMES);
    bench.ok(&["tune", "study.toml", "-j", "2", "--keep-all"]);
    bench.verify();
    let paused = bench.events().iter().filter(|(_, event)| matches!(event, Event::Paused { .. })).count();
    let resumed = bench.events().iter().filter(|(_, event)| matches!(event, Event::Resumed { .. })).count();
    assert!(paused >= 4 && resumed >= 3, "{paused} paused, {resumed} resumed");
    bench
}

#[test]
fn a_paused_trial_goes_on_from_its_checkpoint() {
    let bench = promotes(r#""{budget}", "{checkpoint}", "{x}""#);
    let mut reached = [0; 64];
    for line in bench.read("runs").lines() {
        let numbers: Vec<usize> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        let [trial, told, began, ended] = numbers[..] else { panic!("{line}") };
        assert_eq!((told, began), (reached[trial], reached[trial]), "{line}");
        assert!(ended > began, "{line}");
        reached[trial] = ended;
    }
    assert!(reached.contains(&4), "none came to its end");
}

/// Whether it says its value with the last step, after it, or both.
#[test]
fn a_command_that_is_at_the_largest_step_at_once_has_completed() {
    let step = r#"echo '{"step": 9, "loss": 0.5}'"#;
    let value = r#"echo '{"loss": 0.25}'"#;
    for (script, expected) in [(step, 0.5), (&*format!("{step}; {value}"), 0.25)] {
        let bench = Bench::with_study(&study("trials = 3\nbudget.max = 9", script, ""));
        bench.edit("\"run_all\"", "{ name = \"asha\", mode = \"promote\", min_budget = 1 }");
        bench.ok(&["tune", "study.toml", "--quiet"]);
        for trial in bench.trials() {
            assert_eq!((&trial["state"], trial["step"].as_u64()), (&"completed".into(), Some(9)), "{trial}");
            assert_eq!(trial["values"]["loss"].as_f64(), Some(expected), "{trial}");
        }
        bench.verify();
    }
}

#[test]
fn a_command_that_ignores_its_budget_is_ended_at_the_pause() {
    let bench = promotes(r#""4", "{checkpoint}", "{x}", "slow""#);
    // Until the signal comes it may go on past its budget; such steps were not asked for and are not recorded.
    for trial in bench.trials() {
        let curve = trial["curve"].as_array().expect("a curve");
        let steps: Vec<u64> = curve.iter().map(|point| point["step"].as_u64().unwrap_or(0)).collect();
        assert!(steps.first() == Some(&1) && steps.is_sorted_by(|a, b| a < b), "{trial}");
        assert!(trial["state"] != "completed" || steps.last() == Some(&4), "{trial}");
    }
}

#[test]
fn a_pruned_command_is_asked_to_end_and_then_killed() {
    let script = r#"
trap 'echo asked >> asked' TERM
for step in 1 2; do echo "{\"step\": $step, \"loss\": 9}"; sleep 0.05; done
while true; do sleep 0.05; done
"#;
    // Long enough for a shell on a busy machine to hear of it.
    let text = study("trials = 1", script, "grace = 3.0")
        .replace("\"run_all\"", r#"{ name = "threshold", upper = 5.0 }"#);
    let bench = Bench::with_study(&text);
    let ended = bench.luthier(&["tune", "study.toml"]);
    assert_eq!(outcome(&bench.trials()[0]), "pruned", "{ended:#?}");
    assert_eq!(bench.read("asked"), "asked\n");
    #[cfg(target_os = "linux")]
    bench.no_process_is_left();
}

#[test]
fn parallel_commands_share_the_cores() {
    let script =
        r#"env | grep -E '^(OMP|MKL|OPENBLAS)_' | sort > threads-$LUTHIER_TRIAL; echo '{"loss": 1}'"#;
    let bench = Bench::with_study(&study("trials = 1", script, ""));
    bench.ok(&["tune", "study.toml"]);
    assert_eq!(bench.read("threads-0"), "", "one command has all cores");

    bench.ok(&["tune", "study.toml", "-n", "2", "-j", "64"]);
    let threads = bench.read("threads-1");
    assert!(threads.contains("OMP_NUM_THREADS=1\n") && threads.contains("OMP_WAIT_POLICY="), "{threads}");

    let mut command = bench.command(&["tune", "study.toml", "-n", "3", "-j", "64"]);
    command.env("OMP_NUM_THREADS", "7");
    assert_eq!(bench.start_command(command).wait().code, 0);
    let threads = bench.read("threads-2");
    assert!(threads.contains("OMP_NUM_THREADS=7\n"), "the user's own: {threads}");
}

#[test]
fn a_broken_command_does_not_burn_the_budget() {
    let script = r#"[ -e fixed ] || exit 1; echo '{"loss": 1}'"#;
    let bench = Bench::with_study(&study("trials = 50\nlimits.failures = 3", script, ""));
    let ended = bench.luthier(&["tune", "study.toml"]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("ended because the last 3 trials failed\n"), "{}", ended.out);
    assert_eq!(bench.trials().len(), 3);

    // Whoever continues has done something about it.
    assert_eq!(bench.luthier(&["tune", "study.toml"]).code, 1);
    assert_eq!(bench.trials().len(), 6);
    bench.write("fixed", "");
    bench.ok(&["tune", "study.toml"]);
    assert_eq!(bench.trials().len(), 50);
    bench.verify();
}

/// What `tune` says while one trial runs this script.
fn remarks(script: &str, tail: &str) -> String {
    Bench::with_study(&study("trials = 1", script, tail)).luthier(&["tune", "study.toml"]).err
}

#[test]
fn a_curve_may_count_epochs_or_its_own_unit() {
    let script = |name: &str| format!(r#"for k in 0 1 2; do echo "{{\"{name}\": $k, \"loss\": 1}}"; done"#);
    for (name, tail) in [("step", ""), ("epoch", ""), ("tree", "[budget]\nunit = \"tree\"")] {
        let bench = Bench::with_study(&study("trials = 1", &script(name), tail));
        bench.ok(&["tune", "study.toml", "-q"]);
        assert_eq!(bench.trials()[0]["step"], 3, "{name}");
    }
}

#[test]
fn what_is_odd_about_a_command_is_told_once() {
    let twice = r#"echo '{"iteration": 1, "loss": 2}'; echo '{"iteration": 2, "loss": 1}'"#;
    let said = remarks(twice, "");
    assert!(
        said.contains("trial 0 printed loss 2 times without a whole-numbered step, so only the last"),
        "{said}"
    );
    assert!(said.contains("{\"step\": 1, …}"), "{said}");
    let said = remarks(twice, "pattern = { loss = 'loss.: ([0-9]+)' }");
    assert!(said.contains("a pattern for step"), "{said}");
    let said = remarks(r#"echo '{"loss": 2}'"#, "");
    assert!(!said.contains("without a"), "one value is no curve: {said}");

    let back = r#"for k in 3 1 2; do echo "{\"step\": $k, \"loss\": $k}"; done"#;
    let said = remarks(back, "[budget]\nmax = 2");
    assert_eq!(said.matches("trial 0 reported step 1 after step 3; steps ascend").count(), 1, "{said}");
    assert_eq!(said.matches("after step 3").count(), 1, "{said}");
    assert!(
        said.contains("trial 0 reported step 3, but the study file says that the largest is 2 (budget.max)"),
        "{said}"
    );
}

#[test]
fn a_command_that_pauses_and_leaves_nothing_is_told_of() {
    let script = |save: &str| {
        format!(
            r#"{save}for k in 1 2 3; do echo "{{\"step\": $k, \"loss\": $LUTHIER_TRIAL}}"; done; sleep 5"#
        )
    };
    let promoting = |script: &str| {
        let text = study("trials = 1", script, "grace = 1\n[budget]\nmax = 3");
        let text = text.replace("\"run_all\"", "{ name = \"asha\", mode = \"promote\" }");
        Bench::with_study(&text).luthier(&["tune", "study.toml"]).err
    };
    let expected = "leaves nothing in its checkpoint folder ({checkpoint}, LUTHIER_CHECKPOINT)";
    let said = promoting(&script(""));
    assert!(said.contains(expected), "{said}");
    let said = promoting(&script("touch $LUTHIER_CHECKPOINT/state; "));
    assert!(said.contains("trial 0 paused") && !said.contains(expected), "{said}");
}

#[test]
fn a_value_on_standard_error_is_found_there() {
    let bench = Bench::with_study(&study("trials = 1", r#"echo '{"loss": 2}' >&2"#, ""));
    let out = bench.luthier(&["tune", "study.toml"]).out;
    assert!(
        out.contains("it printed loss on standard error; lines of JSON are read from standard output"),
        "{out}"
    );
}

#[test]
fn a_run_that_only_paused_trials_has_no_result_until_one_completes() {
    let script = "for s in $(seq $((LUTHIER_STEP + 1)) @budget@); do echo \"{\\\"step\\\": $s, \\\"loss\\\": @x@}\"; done";
    let text =
        study("trials = 12\nlimits.steps = 2\nbudget.max = 9", script, "").replace("@budget@", "{budget}");
    let promote = "{ name = \"asha\", mode = \"promote\", min_budget = 1 }";
    let bench = Bench::with_study(&text.replace("\"run_all\"", promote));
    let ended = bench.luthier(&["tune"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("no trial has completed (2 paused)\n"), "{}", ended.out);
    assert_eq!(bench.luthier(&["tune", "--for", "0s"]).code, 1, "there is still none");
    bench.edit("limits.steps = 2", "");
    bench.ok(&["tune"]);
    bench.ok(&["tune"]);
}

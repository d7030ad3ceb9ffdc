//! Each command in its everyday use.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Bench, study};

const QUADRATIC: &str = r#"awk -v x=@x@ 'BEGIN { print "{\"loss\": " (x - 0.5) * (x - 0.5) "}" }'"#;

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn finished() -> Bench {
    let bench = Bench::with_study(&study("trials = 6", QUADRATIC, ""));
    bench.ok(&["tune", "study.toml"]);
    bench
}

#[test]
fn init_writes_a_file_that_runs_and_never_overwrites() {
    let bench = Bench::new();
    let said = bench.ok(&[
        "init",
        "--metric",
        "score",
        "--maximize",
        "--",
        "sh",
        "-c",
        "echo \"$1\"",
        "{lr}",
        "a\\b",
    ]);
    assert_eq!(
        said.err,
        "wrote study.toml: set the metric and the ranges, then run `luthier tune study.toml`\n"
    );
    assert_eq!(said.out, "");
    let text = bench.read("study.toml");
    assert!(text.contains(r#"run = ["sh", "-c", "echo \"$1\"", "{lr}", "a\\b"]"#), "{text}");

    let again = bench.error(&["init", "--", "sh", "{x}"]);
    assert_eq!(again, "error: study.toml is there already and is never overwritten; --output names another");
    assert_eq!(bench.read("study.toml"), text);
    bench.ok(&["init", "-o", "other.toml"]);
    assert!(bench.read("other.toml").contains("\n# [budget] "));
    let other = Bench::new();
    other.ok(&["init", "--", "sh", "{x}", "{budget}"]);
    assert!(other.read("study.toml").contains("\n[budget] "));
    other.ok(&["tune", "--for", "0s"]);

    bench.write("study.toml", &text.replace(r#"echo \"$1\""#, r#"echo \"{{\\\"score\\\": $0}}\""#));
    bench.ok(&["tune", "-n", "3"]);
    assert!(bench.trials().iter().all(|trial| trial["state"] == "completed"));
}

#[test]
fn the_best_trial_is_told_to_people_and_machines() {
    let bench = finished();
    let best: Value = serde_json::from_str(&bench.ok(&["best", "--json"]).out).expect("JSON");
    let losses: Vec<f64> =
        bench.trials().iter().map(|trial| trial["values"]["loss"].as_f64().unwrap()).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(best["values"]["loss"], lowest);
    let x = best["params"]["x"].as_f64().expect("a number");
    assert_eq!(bench.ok(&["best", "--params"]).out, format!("x={x}\n"));
    let text = bench.ok(&["best", "study.toml"]).out;
    assert!(text.starts_with(&format!("trial {}: loss 0.0", best["trial"])), "{text}");
}

#[test]
fn trials_are_listed_filtered_and_sorted() {
    let bench = finished();
    let table = bench.ok(&["trials", "--limit", "2"]);
    let lines: Vec<&str> = table.out.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["trial", "state", "loss", "x"]);
    assert_eq!(lines.len(), 3);
    assert!(lines[1].starts_with("4      completed  "), "{}", table.out);
    assert_eq!(table.err, "2 of 6 trials; --limit 0 shows all\n");
    let best = json_lines(&bench.ok(&["trials", "--best", "--json"]).out);
    let losses: Vec<f64> = best.iter().map(|trial| trial["values"]["loss"].as_f64().unwrap()).collect();
    assert!(losses.is_sorted(), "{losses:?}");
    assert_eq!(bench.ok(&["trials", "--state", "failed", "--json"]).out, "");
}

#[test]
fn trials_that_were_stopped_show_how_far_they_came() {
    let script = r#"for k in 1 2 3; do echo "{\"step\": $k, \"loss\": $k}"; done"#;
    let head = "trials = 2\nbudget = { max = 9, unit = \"epoch\" }";
    let bench = Bench::with_study(&study(head, &format!("{script}; sleep 600"), ""));
    bench.edit("\"run_all\"", "{ name = \"threshold\", upper = 2.5 }");
    let told = bench.luthier(&["tune"]).err;
    assert!(told.contains("trial 0 pruned: at epoch 3, loss 3  [x="), "{told}");
    let table = bench.ok(&["trials"]).out;
    assert!(table.starts_with("trial  state   epoch  loss  x"), "{table}");
    assert!(table.contains("\n0      pruned  3      (3)   0."), "{table}");
}

#[test]
fn a_limit_of_no_trials_is_told_how_to_go_on() {
    let bench = Bench::with_study(&study("trials = 0", QUADRATIC, ""));
    assert!(bench.ok(&["tune"]).out.ends_with("to continue: luthier tune study.toml --trials 1\n"));
}

#[test]
fn a_study_and_a_trial_are_shown() {
    let bench = finished();
    let shown = bench.ok(&["show"]).out;
    for part in [
        "study (./study.luthier)\nrandom + run_all, seed 0\n6 completed\n",
        "\nbest trial ",
        "\ntrajectory  ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json: Value = serde_json::from_str(&bench.ok(&["show", "--json"]).out).expect("JSON");
    assert_eq!(json["trials_by_state"]["completed"], 6);
    let trial = bench.ok(&["show", "--trial", "3"]).out;
    assert!(trial.starts_with("trial 3 (completed, params by sampler)\n  x  0."), "{trial}");
    assert_eq!(
        bench.error(&["show", "--trial", "6"]),
        "error: there is no trial 6; `luthier trials` lists them"
    );
}

#[test]
fn exports_are_complete_and_safe_in_spreadsheets() {
    let bench = Bench::with_study(
        r#"
trials = 2
[metric]
name = "loss"
[policy]
sampler = "grid"
scheduler = "run_all"
[command]
run = ["sh", "-c", "echo '{{\"step\": 1, \"loss\": 3}}'; echo '{{\"step\": 2, \"loss\": 2, \"=aux\": 7}}'"]
[params."=cmd()"]
type = "categorical"
choices = ["=1+1", "+A1, \"quoted\"\nline"]
"#,
    );
    bench.ok(&["tune", "study.toml"]);
    let csv = bench.ok(&["export"]).out;
    let rows: Vec<&str> = csv.split_inclusive('\n').collect();
    assert_eq!(rows[0], "trial,state,origin,loss,param =cmd(),step,seconds,failure\n");
    assert!(rows[1].starts_with("0,completed,sampler,2,'=1+1,2,"), "{csv}");
    assert!(csv.contains("\n1,completed,sampler,2,\"'+A1, \"\"quoted\"\"\nline\",2,"), "{csv}");
    let curves = bench.ok(&["export", "--curves", "-o", "curves.csv"]);
    assert_eq!(curves.out, "");
    assert_eq!(
        bench.read("curves.csv"),
        "trial,replicate,step,loss,'=aux\n0,0,1,3,\n0,0,2,2,7\n1,0,1,3,\n1,0,2,2,7\n"
    );
    let json: Value = serde_json::from_str(&bench.ok(&["export", "--format", "json"]).out).expect("JSON");
    assert_eq!(json["trials"][1]["params"], json!({ "=cmd()": "+A1, \"quoted\"\nline" }));
    assert_eq!(
        json["trials"][0]["curve"],
        json!([{ "loss": 3.0, "step": 1 }, { "loss": 2.0, "=aux": 7.0, "step": 2 }])
    );
    assert_eq!(json["spec"]["name"], "study");
}

#[test]
fn a_shell_drives_the_loop_with_ask_and_tell() {
    let bench = Bench::with_study(&study("trials = 4\nbudget.max = 3", "true", ""));
    bench.ok(&["tune", "study.toml", "--for", "0s"]);

    let asked: Value = serde_json::from_str(&bench.ok(&["ask"]).out).expect("JSON");
    let x = asked["params"]["x"].clone();
    assert_eq!(asked, json!({ "trial": 0, "attempt": 1, "params": { "x": x }, "budget": 3, "step": 0 }));
    for step in ["1", "2"] {
        assert_eq!(bench.ok(&["tell", "-t", "0", "loss=0.5", "--step", step]).out, "");
    }
    bench.ok(&["tell", "-t", "0", "--step", "3", "loss=0.25", "aux=7", "--seconds", "2.5"]);
    bench.ok(&["tell", "-t", "0", "loss=0.25"]);

    let words = bench.ok(&["ask", "--words"]).out;
    assert!(words.starts_with("1 x=0."), "{words}");
    bench.ok(&["tell", "-t", "1", "--failed", "it rained"]);

    bench.ok(&["ask"]);
    bench.ok(&["stop", "2"]);
    let stopped = bench.luthier(&["tell", "-t", "2", "loss=1", "--step", "1"]);
    assert_eq!((stopped.code, &*stopped.out), (4, "stop: you asked to stop it\n"));

    bench.ok(&["ask"]);
    let nan = bench.luthier(&["tell", "-t", "3", "loss=nan"]);
    assert_eq!(nan.code, 0, "{nan:?}");

    let done = bench.luthier(&["ask"]);
    assert_eq!((done.code, &*done.out), (3, ""));
    let trials = bench.trials();
    let states: Vec<&str> = trials.iter().map(|trial| trial["state"].as_str().unwrap_or("?")).collect();
    assert_eq!(states, ["completed", "failed", "cancelled", "failed"], "{done:?}");
    assert_eq!(trials[0]["values"]["loss"], 0.25);
    assert_eq!(trials[0]["seconds"], 2.5);
    assert_eq!(trials[1]["failure"]["text"], "it rained");
    bench.verify();
}

#[test]
fn queued_values_and_ranges_come_first() {
    let bench = finished();
    bench.ok(&["enqueue", "x=0.125"]);
    let said = bench.ok(&["enqueue", "x=0.25..0.26", "--count", "2"]);
    assert_eq!(
        said.err,
        "queued; 3 waiting. 6 of 6 trials have been started; `luthier tune --trials 9` runs them all\n"
    );
    bench.ok(&["tune", "study.toml", "-n", "10"]);
    let trials = bench.trials();
    let x: Vec<f64> = trials.iter().map(|trial| trial["params"]["x"].as_f64().unwrap()).collect();
    assert_eq!(x[6], 0.125);
    assert!(x[7..9].iter().all(|x| (0.25..=0.26).contains(x)) && x[7] != x[8], "{x:?}");
    let origins: Vec<&str> =
        trials[5..].iter().map(|trial| trial["origin"].as_str().unwrap_or("?")).collect();
    assert_eq!(origins, ["sampler", "enqueued", "enqueued", "enqueued", "sampler"]);
    bench.verify();
}

#[test]
fn machines_get_json_lines_and_people_plain_lines() {
    let text = study("trials = 2", r#"echo '{"step": 1, "loss": 0.5}'; echo '{"step": 2, "loss": @x@}'"#, "");
    let bench = Bench::with_study(&text);
    let machine = bench.ok(&["tune", "study.toml", "--json"]);
    let lines = json_lines(&machine.out);
    let kinds: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap_or("?")).collect();
    assert_eq!(
        kinds,
        [["started", "reported", "reported", "ended"]; 2]
            .concat()
            .into_iter()
            .chain(["result"])
            .collect::<Vec<_>>()
    );
    assert_eq!(machine.err, "");
    assert_eq!(lines[8]["continue"], "luthier tune study.toml --trials 4");

    let people = bench.ok(&["tune", "study.toml", "-n", "3"]);
    assert!(people.err.contains("\ntrial 2 completed: loss "), "{}", people.err);
    assert!(!people.err.contains('\u{1b}') && !people.err.contains('\r'), "{:?}", people.err);
    assert_eq!(bench.ok(&["tune", "study.toml", "-n", "4", "-q"]).err, "");
}

/// Runs a command whose outputs nobody reads; returns its exit code and, where standard error is read, what it said there.
fn unread(bench: &Bench, arguments: &[&str], reads_errors: bool) -> (Option<i32>, String) {
    let mut command = bench.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    if !reads_errors {
        drop(child.stderr.take());
    }
    let ended = child.wait_with_output().expect("it ends");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = finished();
    for arguments in [
        &["export", "--format", "json"][..],
        &["export", "--curves"],
        &["trials"],
        &["show"],
        &["best"],
        &["verify"],
        &["completions", "bash"],
        &["--help"],
    ] {
        assert_eq!(unread(&bench, arguments, true), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn a_run_goes_on_without_its_readers() {
    let bench = finished();
    assert_eq!(unread(&bench, &["tune", "-n", "8", "--json"], true), (Some(0), String::new()));
    assert_eq!(unread(&bench, &["tune", "-n", "10"], false).0, Some(0));
    assert_eq!(bench.trials().len(), 10);
    bench.verify();
}

#[test]
fn completions_are_understood_by_their_shells() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.ok(&["completions", shell]).out;
        assert!(script.contains("tune") && script.contains("scheduler"), "{shell}");
        bench.write(shell, &script);
        let checked = Command::new(shell).args(["-n", shell]).current_dir(bench.path("")).output();
        match checked {
            Ok(checked) => assert!(checked.status.success(), "{shell}: {checked:?}"),
            Err(_) => eprintln!("{shell} is not installed here; not checked"),
        }
    }
}

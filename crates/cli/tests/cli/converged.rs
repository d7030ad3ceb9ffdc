//! Studies that end when more trials would hardly gain anything, and what they say about it.

use serde_json::Value;

use crate::support::{Bench, study};

/// A command that costs next to nothing, best at x = 0.3.
fn bench(head: &str, tail: &str) -> Bench {
    Bench::with_study(&study(head, "echo \"{\\\"loss\\\": $(awk 'BEGIN { print (@x@ - 0.3) ^ 2 }')}\"", tail))
}

/// A rule that a few dozen trials of random search meet.
const SOON: &str = "[limits.converged]\nshare = 0.2\nchance = 0.3\ntrials = 10\nmin_trials = 10";

#[test]
fn a_study_without_a_number_of_trials_ends_by_itself() {
    let bench = bench("", SOON);
    let out = bench.ok(&["tune"]);
    assert!(out.err.contains("until converged, seed 0"), "{}", out.err);
    assert!(out.out.contains("\nstopped: another 10 trials had a chance of "), "{}", out.out);
    assert!(out.out.contains("% of the gain so far)\n"), "{}", out.out);
    assert!(out.out.contains("\nadvice another 10 trials: "), "{}", out.out);
    assert!(out.out.contains("once limits.converged in the study file is gone"), "{}", out.out);
    let trials = bench.trials().len();
    assert!((10..300).contains(&trials), "{trials} trials");
    bench.ok(&["verify"]);
    let shown = bench.ok(&["show"]).out;
    assert!(shown.contains("\nadvice      another 10 trials: "), "{shown}");
    assert!(shown.contains("\nconverged   another 10 trials had a chance of "), "{shown}");
    let json: Value = serde_json::from_str(&bench.ok(&["show", "--json"]).out).expect("JSON");
    assert!(json["converged"].is_string() && json["advice"]["chance"].as_f64().unwrap() < 0.3, "{json}");
    // Going on starts nothing, until the rule is gone.
    bench.ok(&["tune", "--quiet"]);
    assert_eq!(bench.trials().len(), trials);
    bench.write("study.toml", &bench.read("study.toml").replace(SOON, ""));
    let more = (trials + 2).to_string();
    let out = bench.ok(&["tune", "--trials", &more]);
    assert!(out.out.contains(&format!("ended because all {more} trials")), "{}", out.out);
    assert!(!bench.ok(&["show"]).out.contains("converged"));
}

#[test]
fn the_flag_takes_a_number_of_trials_as_a_bound() {
    let bench = bench("", "");
    let out = bench.ok(&["tune", "--until-converged", "--trials", "25", "--json"]).out;
    let result: Value = serde_json::from_str(out.lines().last().unwrap()).expect("JSON");
    assert_eq!(result["converged"], Value::Null);
    assert_eq!(result["advice"]["trials"], 50);
    assert!(result["continue"].as_str().unwrap().contains("--trials 50 --until-converged"), "{result}");
    assert_eq!(bench.trials().len(), 25);
    // It goes on to where it has converged, and the next command line does not say so again.
    let out = bench.ok(&["tune", "--until-converged", "--trials", "5000", "--sampler", "random"]);
    assert!(out.err.contains("until converged, at most 5000 trials"), "{}", out.err);
    assert!(out.out.contains("\nstopped: another 50 trials had a chance of "), "{}", out.out);
    let trials = bench.trials().len();
    assert!(trials < 2000, "{trials} trials");
    let again = format!("to continue: luthier tune study.toml --trials {}", 2 * trials);
    assert!(out.out.contains(&again) && !out.out.contains("--until"), "{}", out.out);
}

#[test]
fn plain_progress_tells_the_chance_now_and_then() {
    let bench = bench("trials = 45", "");
    let err = bench.ok(&["tune"]).err;
    let told = err.lines().filter(|line| line.starts_with("advice another 50 trials: ")).count();
    // Every ten trials.
    assert_eq!(told, 4, "{err}");
}

#[test]
fn a_rule_that_never_holds_is_refused_where_it_is_written() {
    let bench = bench("", "[limits.converged]\nchance = 0");
    let out = bench.luthier(&["tune"]);
    assert!(out.code != 0 && out.err.contains("with chance = 0 and no patience"), "{}", out.err);
    assert!(out.err.contains("study.toml:"), "{}", out.err);
    bench.write("study.toml", &bench.read("study.toml").replace("chance = 0", "chanse = 0.1"));
    let out = bench.luthier(&["tune"]);
    assert!(out.code != 0 && out.err.contains("min_trials"), "{}", out.err);
}

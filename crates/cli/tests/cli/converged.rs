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

/// A command that goes on from its checkpoint, which holds nothing, and never gains; `named` is what else its environment has.
fn by_rungs(head: &str, named: &str) -> Bench {
    let script = "s=$((${LUTHIER_STEP:-0} + 1)); while [ $s -le @budget@ ]; do echo \"{\\\"step\\\":$s,\\\"loss\\\":1}\"; s=$((s + 1)); done";
    let text = study(head, script, "").replace("@budget@", "{budget}");
    let text = text.replace("\"run_all\"", "{ name = \"asha\", mode = \"promote\" }");
    // Who names the checkpoint can go on from it.
    let env = format!("[command]\nenv = {{ KEPT = \"{{checkpoint}}\"{named} }}");
    Bench::with_study(&text.replace("[command]", &env))
}

#[test]
fn trials_that_pause_bring_a_study_to_its_end() {
    let bench = by_rungs("budget.max = 27", "");
    let out = bench.ok(&["tune", "--until-converged"]).out;
    assert!(out.contains("\nstopped: another 50 trials had a chance of "), "{out}");
    let trials = bench.trials().len();
    assert!((20..60).contains(&trials), "{trials} trials");
    // Twice as many as were started, of which most are paused.
    let again = format!("to continue: luthier tune study.toml --trials {}", 2 * trials);
    assert!(out.contains(&again) && out.contains(" paused"), "{out}");
    bench.ok(&["verify"]);
    bench.ok(&["tune", "--quiet", "--trials", &(trials + 3).to_string()]);
    assert_eq!(bench.trials().len(), trials + 3);
}

#[test]
fn counts_are_of_trials_and_not_of_their_replicates() {
    let bench = by_rungs("trials = 6\nbudget.max = 9\nreplicates.folds = 3", ", FOLD = \"{fold}\"");
    let out = bench.ok(&["tune"]).out;
    let json: Value = serde_json::from_str(&bench.ok(&["show", "--json"]).out).expect("JSON");
    let states = &json["trials_by_state"];
    let count = |state: &str| states[state].as_u64().unwrap();
    assert_eq!(count("completed") + count("paused"), 6, "{states}");
    let told = format!("best of {} completed, {} paused\n", count("completed"), count("paused"));
    assert!(count("paused") > 0 && out.contains(&told), "{out}");
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

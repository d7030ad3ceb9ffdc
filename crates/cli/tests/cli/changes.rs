//! A study that is continued after its file was changed.

use crate::support::{Bench, study};

const SCRIPT: &str = r#"echo "{\"loss\": @x@}""#;

/// A study of two trials that have been run.
fn begun() -> Bench {
    let bench = Bench::with_study(&study("trials = 2", SCRIPT, ""));
    bench.ok(&["tune"]);
    bench
}

#[test]
fn limits_may_change() {
    let bench = begun();
    bench.edit("trials = 2", "trials = 4");
    let said = bench.ok(&["tune"]);
    assert!(said.err.starts_with("continuing study (study.luthier): random + run_all, 4 trials, seed 0\nso far: 2 completed; best loss "), "{}", said.err);
    assert_eq!(bench.trials().len(), 4);
    bench.ok(&["tune", "study.luthier", "-n", "5"]);
    assert_eq!(bench.trials().len(), 5);
    bench.verify();
}

#[test]
fn the_space_may_change_and_says_so() {
    let bench = begun();
    bench.edit("high = 1.0", "high = 2.0\n[params.y]\ntype = \"int\"\nlow = 1\nhigh = 3\ndefault = 2");
    let said = bench.ok(&["tune", "-n", "4"]);
    assert!(said.err.contains("the space changes from here on: x is declared differently: high 1 → 2\nthe space changes from here on: y is new\n"), "{}", said.err);
    let trials = bench.trials();
    assert_eq!(trials[1]["params"].get("y"), None);
    assert!((1..=3).contains(&trials[3]["params"]["y"].as_i64().unwrap_or(0)), "{}", trials[3]);

    bench.edit("[params.y]\ntype = \"int\"\nlow = 1\nhigh = 3\ndefault = 2", "");
    let said = bench.ok(&["tune", "-n", "5"]);
    assert!(said.err.contains("the space changes from here on: y is gone\n"), "{}", said.err);
    assert_eq!(bench.trials()[4]["params"].get("y"), None);
    let said = bench.ok(&["tune", "-n", "6"]);
    assert!(!said.err.contains("changes"), "told once: {}", said.err);
    bench.verify();
}

#[test]
fn the_policy_may_change_and_says_so() {
    let bench = begun();
    let said = bench.ok(&["tune", "-n", "3", "--sampler", "sobol"]);
    assert!(said.err.starts_with("the policy changes from here on: sobol + run_all\n"), "{}", said.err);
    let said = bench.ok(&["tune", "study.luthier", "-n", "4"]);
    assert!(!said.err.contains("changes"), "the log remembers: {}", said.err);
    let said = bench.ok(&["tune", "-n", "5", "--sampler", "sobol"]);
    assert!(!said.err.contains("changes"), "it is the same: {}", said.err);
    bench.verify();
}

/// Continuing is refused with `message`, and the study is as it was.
fn refused(bench: &Bench, message: &str) {
    let before = bench.events().len();
    assert_eq!(bench.error(&["tune", "-n", "9"]), message);
    assert_eq!(bench.events().len(), before, "something was written");
}

#[test]
fn what_makes_trials_incomparable_is_refused() {
    let bench = begun();
    bench.edit("name = \"loss\"", "name = \"accuracy\"");
    refused(
        &bench,
        "error: study.toml:2:2: the metrics have changed since the study began, so old and new trials cannot be compared; undo the change, or begin another study with --study FILE\n    2 | [metric]",
    );
    bench.ok(&["tune", "--study", "another.luthier", "--for", "0s"]);

    let bench = begun();
    bench.edit("trials = 2", "trials = 2\nbudget.max = 7");
    refused(
        &bench,
        "error: study.toml:2:8: the largest step has changed since the study began, so old and new trials cannot be compared; undo the change, or begin another study with --study FILE\n    2 | budget.max = 7",
    );

    let bench = begun();
    bench.edit("echo ", "sleep 0; echo ");
    refused(
        &bench,
        "error: the objective's table has changed since the study began; old and new trials cannot be compared. Begin another study with --study FILE, or say --accept-changes",
    );
    bench.ok(&["tune", "-n", "3", "--accept-changes"]);
    assert_eq!(bench.trials().len(), 3);
}

#[test]
fn the_data_of_a_network_may_not_change() {
    let bench = Bench::with_study(
        r#"
trials = 1
[policy]
sampler = "random"
scheduler = "run_all"
[network.data]
file = "data.csv"
target = "y"
[network.settings]
epochs = 2
[params.learning_rate]
type = "float"
low = 0.001
high = 0.01
"#,
    );
    let rows: String = (0..60).map(|k| format!("{},{},{}\n", k % 7, k % 5, k % 3 + k % 5)).collect();
    bench.write("data.csv", &format!("a,b,y\n{rows}"));
    bench.ok(&["tune"]);
    bench.write("data.csv", &format!("a,b,y\n{rows}1,2,3\n"));
    refused(
        &bench,
        "error: the data has changed since the study began; old and new trials cannot be compared. Begin another study with --study FILE, or say --accept-changes",
    );
    bench.ok(&["tune", "-n", "2", "--accept-changes"]);
}

#[test]
fn a_seed_belongs_to_a_new_study() {
    let bench = begun();
    let said = bench.ok(&["tune", "-n", "3", "--seed", "5"]);
    assert!(said.err.contains("--seed 5 is not used: the study began with 0\n"), "{}", said.err);
}

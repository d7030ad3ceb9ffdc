//! What a study keeps, what it takes over and what it refuses when it is continued again and again.

use crate::support::{Bench, study};

const SCRIPT: &str = r#"echo "{\"loss\": @x@}""#;
const ADDED: &str = "[params.y]\ntype = \"int\"\nlow = 1\nhigh = 3";

fn begun(tail: &str) -> Bench {
    let bench = Bench::with_study(&study("trials = 2", SCRIPT, tail));
    bench.ok(&["tune"]);
    bench
}

#[test]
fn an_added_parameter_is_part_of_the_space_from_then_on() {
    let bench = begun("");
    bench.edit("[command]", &format!("{ADDED}\n[command]"));
    assert!(bench.ok(&["tune", "-n", "3"]).err.contains("the space changes from here on: y is new\n"));
    assert!(!bench.ok(&["tune", "-n", "4"]).err.contains("changes"));
    bench.edit("high = 3", "high = 5");
    let said = bench.ok(&["tune", "-n", "5"]);
    assert!(
        said.err.contains("the space changes from here on: y is declared differently: high 3 → 5\n"),
        "{}",
        said.err
    );
    assert!(!bench.ok(&["tune", "-n", "6"]).err.contains("changes"));
    assert!(bench.trials()[2..].iter().all(|trial| trial["params"]["y"].is_i64()));
    bench.verify();
}

#[test]
fn a_parameter_may_be_added_before_the_one_it_depends_on() {
    let bench = begun("");
    let child = "[params.a]\ntype = \"float\"\nlow = 0\nhigh = 1\nwhen = { param = \"b\", eq = \"on\" }";
    let parent = "[params.b]\ntype = \"categorical\"\nchoices = [\"on\", \"off\"]";
    bench.edit("[command]", &format!("{child}\n{parent}\n[command]"));
    let said = bench.ok(&["tune", "-n", "4"]);
    for new in ["a is new", "b is new"] {
        assert!(said.err.contains(new), "{}", said.err);
    }
    assert!(!bench.ok(&["tune", "-n", "5"]).err.contains("changes"));
    bench.verify();
}

#[test]
fn constraints_may_not_change() {
    let constraint = "[[constraints]]\nrequire = { param = \"x\", le = 0.95 }";
    let bench = begun(constraint);
    bench.edit("[command]", &format!("{ADDED}\n[command]"));
    bench.ok(&["tune", "-n", "3"]);
    bench.edit("0.95", "0.5");
    let before = bench.events().len();
    let said = bench.error(&["tune", "-n", "4"]);
    assert!(said.starts_with("error: study.toml:"), "{said}");
    assert!(said.contains("the constraints have changed since the study began"), "{said}");
    assert!(said.contains("begin another study with --study FILE"), "{said}");
    assert_eq!(bench.events().len(), before);
}

#[test]
fn a_policy_of_an_earlier_command_line_stays_until_the_file_says_otherwise() {
    let bench = Bench::with_study(&study("trials = 2", SCRIPT, ""));
    let first = bench.ok(&["tune", "--sampler", "sobol", "--keep-all", "--folder", "my trials"]);
    let again =
        "to continue: luthier tune study.toml --trials 4 --sampler sobol --folder 'my trials' --keep-all\n";
    assert!(first.out.contains(again), "{}", first.out);
    let said = bench.ok(&["tune", "-n", "3"]);
    assert!(said.err.contains("sobol + run_all") && !said.err.contains("changes"), "{}", said.err);
    bench.edit("\"random\"", "\"tpe\"");
    let said = bench.ok(&["tune", "-n", "4"]);
    assert!(said.err.contains("the policy changes from here on: tpe + run_all\n"), "{}", said.err);
    bench.ok(&["tune", "-n", "5", "--sampler", "random"]);
    let said = bench.ok(&["tune", "-n", "6"]);
    assert!(!said.err.contains("changes"), "the file is as it was: {}", said.err);
    bench.verify();
}

#[test]
fn how_a_command_is_run_may_change_and_what_it_measures_is_accepted_once() {
    let bench = begun("");
    bench.edit("[command]", "[command]\ntime_limit = 60\ngrace = 1\nenv = { A = \"1\" }");
    bench.ok(&["tune", "-n", "3"]);
    bench.edit("echo ", "sleep 0; echo ");
    bench.error(&["tune", "-n", "4"]);
    bench.ok(&["tune", "-n", "4", "--accept-changes"]);
    bench.ok(&["tune", "-n", "5"]);
    bench.ok(&["tune", "study.luthier", "-n", "6"]);
    bench.edit("sleep 0; echo ", "echo ");
    assert!(bench.error(&["tune", "-n", "7"]).contains("--accept-changes"));
    bench.verify();
}

#[test]
fn a_result_is_told_although_the_best_model_is_gone() {
    let bench = Bench::with_study(
        "trials = 1\n[network.data]\nfile = \"data.csv\"\ntarget = \"y\"\n[network.settings]\nepochs = 2\n\
         [params.learning_rate]\ntype = \"float\"\nlow = 0.001\nhigh = 0.01\n",
    );
    let rows: String = (0..60).map(|k| format!("{},{},{}\n", k % 7, k % 5, k % 3 + k % 5)).collect();
    bench.write("data.csv", &format!("a,b,y\n{rows}"));
    bench.ok(&["tune"]);
    std::fs::remove_dir_all(bench.path("study.trials")).expect("the trials' files");
    let ended = bench.luthier(&["tune"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.out.contains("best of 1 completed"), "{}", ended.out);
    assert!(ended.out.contains("\nmodel  the model of trial 0 cannot be saved: "), "{}", ended.out);
    assert!(ended.out.contains("to continue: "), "{}", ended.out);
}

#[test]
fn a_study_that_has_more_trials_than_were_asked_for_goes_on_beyond_them() {
    let bench = begun("");
    bench.ok(&["tune", "-n", "7"]);
    let out = bench.ok(&["tune", "-n", "5"]).out;
    assert!(out.contains("to continue: luthier tune study.toml --trials 14\n"), "{out}");
}

#[test]
fn a_limit_that_has_ended_a_run_is_named_with_what_would_go_on() {
    let stepping = r#"for s in 1 2 3; do echo "{\"step\": $s, \"loss\": @x@}"; done"#;
    for (limit, condition) in [
        ("limits.steps = 5", "  once limits.steps in the study file is above 6\n"),
        ("limits.seconds = 0.0001", "  once limits.seconds in the study file is above 1\n"),
        (
            "limits.target = 2.0",
            "  once limits.target in the study file is gone, or better than the best: loss ",
        ),
    ] {
        let bench = Bench::with_study(&study(limit, stepping, ""));
        let out = bench.ok(&["tune"]).out;
        assert!(out.contains(&format!("to continue: luthier tune study.toml\n{condition}")), "{out}");
    }
}

#[test]
fn a_space_that_is_used_up_has_to_grow() {
    let bench = Bench::with_study(&study("", SCRIPT, ""));
    bench.edit("type = \"float\"\nlow = 0.0\nhigh = 1.0", "type = \"int\"\nlow = 0\nhigh = 1");
    let out = bench.ok(&["tune"]).out;
    assert!(out.contains("study.toml\n  once the space in the study file has more points\n"), "{out}");
}

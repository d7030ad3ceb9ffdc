//! Studies with constraints on metrics, and with several metrics: what is told of trials.

use crate::support::{Bench, study};

/// The loss falls with x, `over` may not be above 0: the best x that is allowed is 0.5.
const BOUNDED: &str = "echo \"{\\\"loss\\\": @x@, \\\"over\\\": $(awk 'BEGIN { print 0.5 - @x@ }')}\"";

fn bounded() -> Bench {
    let bench = Bench::with_study(&study("trials = 12\nfeasible = [\"over\"]", BOUNDED, ""));
    bench.ok(&["tune", "--json"]);
    bench
}

/// Whether a trial breaks the constraint.
fn breaks(bench: &Bench, trial: &str) -> bool {
    let trials = bench.trials();
    let number: usize = trial.parse().unwrap_or_else(|_| panic!("{trial} is no number"));
    trials[number]["violation"].as_f64().is_some_and(|violation| violation > 0.0)
}

#[test]
fn tables_have_the_constraints_and_put_first_what_keeps_them() {
    let bench = bounded();
    let said = bench.ok(&["trials", "--best"]);
    let rows: Vec<Vec<&str>> = said.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["trial", "state", "loss", "over", "x"]);
    let kept = rows[1..].iter().take_while(|row| row[4] != "!").count();
    assert!((1..12).contains(&kept), "{}", said.out);
    for (k, row) in rows[1..].iter().enumerate() {
        assert_eq!((breaks(&bench, row[0]), row[4] == "!"), (k >= kept, k >= kept), "{}", said.out);
    }
    let losses = |rows: &[Vec<&str>]| rows.iter().filter_map(|row| row[2].parse().ok()).collect::<Vec<f64>>();
    assert!(losses(&rows[1..=kept]).is_sorted(), "{}", said.out);
    // What breaks the constraint less comes first, so the larger loss.
    assert!(losses(&rows[1 + kept..]).is_sorted_by(|a, b| a >= b), "{}", said.out);
    assert!(said.err.contains("! breaks a constraint, which wants 0 or less"), "{}", said.err);
    assert_eq!(bench.ok(&["best", "--json"]).out, bench.ok(&["show", "--trial", rows[1][0], "--json"]).out);
    let header = bench.ok(&["export"]).out;
    assert!(header.starts_with("trial,state,origin,loss,over,param x,"), "{header}");
}

#[test]
fn a_broken_constraint_is_told_as_it_happens() {
    let broken = "echo \"{\\\"loss\\\": @x@, \\\"over\\\": @x@}\"";
    let bench = Bench::with_study(&study("trials = 3\nfeasible = [\"over\"]", broken, ""));
    let said = bench.ok(&["tune"]);
    let first = said.err.lines().find(|line| line.starts_with("trial 0 ")).unwrap_or_default();
    assert!(first.contains(", breaks over by 0."), "{first}");
    assert!(first.ends_with("(nearest to the constraints so far)"), "{first}");
    assert!(said.out.contains("no trial keeps all constraints\n"), "{}", said.out);
    let shown = bench.ok(&["show"]).out;
    assert!(shown.contains("breaks over by ") && !shown.contains("trajectory"), "{shown}");
    let trial = bench.ok(&["show", "--trial", "0"]).out;
    assert!(trial.contains(": a constraint wants 0 or less\n") && !trial.contains("curve"), "{trial}");
}

#[test]
fn a_trial_that_tells_no_value_of_a_constraint_has_failed() {
    let untold = "echo '{\"loss\": 0.5, \"ovr\": -1}'";
    let bench = Bench::with_study(&study("trials = 2\nfeasible = [\"over\"]", untold, ""));
    let said = bench.luthier(&["tune"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("failed: ended without a value for over\n"), "{}", said.out);
    assert!(said.out.contains("`feasible` names over, so every trial has to tell it"), "{}", said.out);

    let undefined = "echo '{\"loss\": 0.5, \"over\": NaN}'";
    let bench = Bench::with_study(&study("trials = 2\nfeasible = [\"over\"]", undefined, ""));
    let said = bench.luthier(&["tune"]);
    assert!(said.out.contains("failed: over was nan\n"), "{}", said.out);

    let text = study("trials = 2\nfeasible = [\"loss\"]", untold, "");
    let said = Bench::with_study(&text).error(&["tune"]);
    assert!(said.contains("the metric \"loss\" is listed twice"), "{said}");
}

#[test]
fn where_every_point_has_been_tried_nothing_is_advised() {
    let numbers = study("trials = 40", "echo '{\"loss\": @x@}'", "");
    let numbers = numbers.replace("\"float\"\nlow = 0.0\nhigh = 1.0", "\"int\"\nlow = 1\nhigh = 12");
    let bench = Bench::with_study(&numbers);
    bench.ok(&["tune"]);
    let shown = bench.ok(&["show"]).out;
    assert!(shown.contains("next: nothing: every point of the space has been tried\n"), "{shown}");
    assert!(!shown.contains("advice"), "{shown}");
}

/// Two metrics of which each is best where the other is worst.
fn of_two_metrics() -> Bench {
    let text = study(
        "trials = 6",
        "echo \"{\\\"a\\\": @x@, \\\"b\\\": $(awk 'BEGIN { print (1 - @x@) ^ 2 }')}\"",
        "",
    );
    let text =
        text.replace("[metric]\nname = \"loss\"", "[[metrics]]\nname = \"a\"\n[[metrics]]\nname = \"b\"");
    let bench = Bench::with_study(&text);
    bench.ok(&["tune", "--json"]);
    bench
}

#[test]
fn the_front_of_several_metrics_is_told() {
    let bench = of_two_metrics();
    let told = "6 of 6 completed trials are beaten by no other in all metrics";
    assert!(bench.ok(&["best"]).out.ends_with(&format!("best by a; {told}: `luthier trials --front`\n")));
    assert!(bench.ok(&["show"]).out.contains(&format!("front       best by a; {told}\n")));
    let front = bench.ok(&["trials", "--front"]).out;
    let numbers: Vec<i64> =
        front.lines().skip(1).filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    let known: serde_json::Value = serde_json::from_str(&bench.ok(&["show", "--json"]).out).expect("JSON");
    assert_eq!(known["front"], serde_json::json!(numbers));
    let values =
        |number: &i64| bench.trials()[usize::try_from(*number).expect("a trial")]["values"]["a"].as_f64();
    assert_eq!(numbers.len(), 6);
    assert!(numbers.iter().map(values).is_sorted(), "{front}");
    let said = bench.ok(&["tune", "-n", "7", "--sampler", "cma_es"]);
    assert!(said.err.contains("cma_es looks at a only, not at b; "), "{}", said.err);
    assert!(said.out.contains("front  best by a; 7 of 7 "), "{}", said.out);
}

#[test]
fn one_metric_has_no_front() {
    let bench = Bench::with_study(&study("trials = 2", "echo \"{\\\"loss\\\": @x@}\"", ""));
    bench.ok(&["tune"]);
    let said = bench.error(&["trials", "--front"]);
    assert!(said.starts_with("error: the study has one metric, and so one best trial"), "{said}");
}

#[test]
fn a_grid_that_is_used_up_says_how_to_go_on() {
    let bench =
        Bench::with_study(&study("", "echo \"{\\\"loss\\\": @x@}\"", "").replace("\"random\"", "\"grid\""));
    let said = bench.ok(&["tune"]);
    assert!(
        said.out.contains("ended because sampler \"grid\" has tried every point that it has\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("  once it has more `points` or `values` in the study file, or with another sampler: --sampler auto\n"), "{}", said.out);
    assert!(!said.out.contains("advice"), "{}", said.out);
    bench.ok(&["tune", "--sampler", "random", "-n", "6"]);
    assert_eq!(bench.trials().len(), 6);
}

#[test]
fn a_grid_with_more_points_than_trials_says_so() {
    let bench = Bench::with_study(
        &study("trials = 2", "echo \"{\\\"loss\\\": @x@}\"", "").replace("\"random\"", "\"grid\""),
    );
    let said = bench.ok(&["tune"]);
    assert!(said.err.contains("the grid has 5 points, of which the first 2 are tried: "), "{}", said.err);
}

#[test]
fn a_best_trial_outside_a_narrower_space_says_so() {
    let bench = Bench::with_study(&study("trials = 4", "echo \"{\\\"loss\\\": @x@}\"", ""));
    bench.ok(&["tune"]);
    bench.edit("low = 0.0", "low = 0.999");
    let said = bench.ok(&["tune", "-n", "5"]);
    assert!(said.err.contains("x is declared differently: low 0 → 0.999\n"), "{}", said.err);
    assert!(said.out.contains("  outside the space as it is now\n"), "{}", said.out);
    assert!(bench.ok(&["best"]).out.contains("  outside the space as it is now\n"));
}

//! Trials run by hand: fencing, pauses, waiting for others, and what is said of replicates.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Bench, eventually, study};

fn empty(head: &str) -> Bench {
    let bench = Bench::with_study(&study(head, "true", ""));
    bench.ok(&["tune", "--for", "0s"]);
    bench
}

fn asked(bench: &Bench, arguments: &[&str]) -> Value {
    serde_json::from_str(&bench.ok(arguments).out).expect("JSON")
}

#[test]
fn who_held_a_trial_before_cannot_tell_for_who_holds_it_now() {
    let bench = empty("trials = 1");
    assert_eq!(asked(&bench, &["ask", "--lease", "0.05"])["attempt"], 1);
    eventually("the lease has run out", || {
        thread::sleep(Duration::from_millis(100));
        let again = bench.luthier(&["ask", "--words"]);
        again.code == 0 && again.out.starts_with("0 attempt=2 x=")
    });
    let unsure = bench.error(&["tell", "-t", "0", "loss=1"]);
    assert_eq!(
        unsure,
        "error: trial 0 has been handed out 2 times; give --attempt as `luthier ask` printed it"
    );
    let late = bench.error(&["tell", "-t", "0", "--attempt", "1", "loss=1"]);
    assert!(late.contains("taken over by another worker; nothing was recorded"), "{late}");
    bench.ok(&["tell", "-t", "0", "--attempt", "2", "loss=2"]);
    assert_eq!(bench.trials()[0]["values"]["loss"], 2.0);
    bench.verify();
}

#[test]
fn nobody_tells_for_a_tuner_that_lives_unless_they_say_so() {
    let script = r#"while [ ! -e go ]; do sleep 0.02; done; echo "{\"loss\": @x@}""#;
    let bench = Bench::with_study(&study("trials = 1", &format!("echo begun > begun; {script}"), ""));
    let tuner = bench.start(&["tune"]);
    eventually("it runs", || bench.has("begun"));
    let said = bench.error(&["tell", "-t", "0", "loss=1"]);
    assert!(said.contains("being run by `luthier tune`"), "{said}");

    let other = bench.start(&["tune"]);
    eventually("the second tuner says what it waits for", || {
        other.err().contains("waiting for trial 0, held by another process\n")
    });
    bench.write("go", "");
    assert_eq!((tuner.wait().code, other.wait().code), (0, 0));
}

#[test]
fn a_trial_at_its_budget_is_paused_and_free() {
    let text = study("trials = 9\nbudget.max = 9", "true", "");
    let text =
        text.replace("\"run_all\"", "{ name = \"asha\", mode = \"promote\", eta = 3, min_budget = 1 }");
    let bench = Bench::with_study(&text);
    bench.ok(&["tune", "--for", "0s"]);
    assert_eq!(asked(&bench, &["ask"])["budget"], 1);
    let told = bench.luthier(&["tell", "-t", "0", "--step", "1", "loss=0.5"]);
    assert_eq!((told.code, &*told.out), (4, "pause\n"), "{told:?}");
    assert_eq!(bench.trials()[0]["state"], "paused");
    // Final values at a budget short of the end stand for that budget.
    assert_eq!(asked(&bench, &["ask"])["trial"], 1);
    let told = bench.luthier(&["tell", "-t", "1", "loss=0.7"]);
    assert_eq!((told.code, &*told.out), (4, "pause\n"), "{told:?}");
    assert_eq!(bench.trials()[1]["state"], "paused");
    bench.verify();
}

#[test]
fn seconds_of_work_are_a_duration() {
    let bench = empty("trials = 1");
    bench.ok(&["ask"]);
    for seconds in ["--seconds=nan", "--seconds=-1", "--seconds=inf", "--seconds=soon"] {
        let said = bench.luthier(&["tell", "-t", "0", "loss=1", seconds]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("write a number of seconds from 0"), "{}", said.err);
    }
    bench.ok(&["tell", "-t", "0", "loss=1", "--seconds", "1.5"]);
}

#[test]
fn each_replicate_is_told_by_its_name_and_its_own_reports() {
    let script =
        r#"for step in 1 2; do echo "{\"step\": $step, \"loss\": $((10 * LUTHIER_REPLICATE + step))}"; done"#;
    let bench = Bench::with_study(&study("trials = 1\nreplicates = 2", script, ""));
    let people = bench.ok(&["tune"]);
    for replicate in ["trial 0 replicate 0 completed: ", "trial 0 replicate 1 completed: "] {
        assert_eq!(people.err.matches(replicate).count(), 1, "{}", people.err);
    }
    let machine = bench.ok(&["tune", "-n", "2", "--json"]);
    let lines = machine.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let reported: Vec<(Value, Value)> = lines
        .filter(|line| line["event"] == "reported")
        .map(|line| (line["replicate"].clone(), line["values"]["loss"].clone()))
        .collect();
    let expected = [(0, 1.0), (0, 2.0), (1, 11.0), (1, 12.0)];
    assert_eq!(reported, expected.map(|(replicate, loss)| (replicate.into(), loss.into())));
}

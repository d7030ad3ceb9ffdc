//! Ctrl-C and SIGTERM.

use luthier::core::event::Event;

use crate::support::{Bench, Running, eventually, study};

/// Ends once `go` is there; knows no mercy for SIGTERM.
const STUBBORN: &str = r#"
trap '' TERM
touch begun-$LUTHIER_TRIAL
while [ ! -e go ]; do sleep 0.02; done
echo "{\"loss\": @x@}"
"#;

fn start(bench: &Bench) -> Running {
    let tuner = bench.start(&["tune", "study.toml", "-j", "2"]);
    eventually("two trials run", || bench.has("begun-0") && bench.has("begun-1"));
    tuner
}

/// Each state of the study's trials, in order.
fn states(bench: &Bench) -> Vec<String> {
    bench.trials().iter().map(|trial| trial["state"].as_str().unwrap_or("?").to_owned()).collect()
}

fn continues(bench: &Bench) {
    bench.write("go", "");
    bench.ok(&["tune", "study.toml", "-j", "2"]);
    assert_eq!(states(bench), ["completed"; 5]);
    bench.verify();
}

fn once(signal: &str) {
    let bench = Bench::with_study(&study("trials = 5", STUBBORN, ""));
    let mut tuner = start(&bench);
    tuner.signal(signal);
    let told = "finishing what is running; Ctrl-C again stops now";
    eventually("it says what it does", || tuner.err().contains(told));
    assert!(tuner.is_running());
    bench.write("go", "");
    let ended = tuner.wait();
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert_eq!(ended.err.matches(told).count(), 1, "{}", ended.err);
    assert!(
        ended.out.contains("stopped by you\nto continue: luthier tune study.toml -j 2\n"),
        "{}",
        ended.out
    );
    assert_eq!(states(&bench), ["completed"; 2]);
    continues(&bench);
}

#[test]
fn an_interrupt_finishes_what_is_running() {
    once("INT");
}

#[test]
fn a_termination_is_an_interrupt() {
    once("TERM");
}

#[test]
fn a_third_interrupt_ends_the_process_and_loses_nothing() {
    let bench = Bench::with_study(&study("trials = 5", STUBBORN, "grace = 600.0"));
    let tuner = start(&bench);
    for told in ["finishing what is running", "stopping now"] {
        tuner.signal("INT");
        eventually("it has heard", || tuner.err().contains(told));
    }
    tuner.signal("INT");
    let ended = tuner.wait();
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(ended.err.contains("ended at once; the same command goes on"), "{}", ended.err);
    #[cfg(target_os = "linux")]
    bench.no_process_is_left();
    continues(&bench);
}

#[test]
fn a_second_interrupt_stops_now() {
    let bench = Bench::with_study(&study("trials = 5", STUBBORN, "grace = 0.2"));
    let tuner = start(&bench);
    tuner.signal("INT");
    eventually("it has heard", || tuner.err().contains("finishing what is running"));
    tuner.signal("INT");
    let ended = tuner.wait();
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(ended.err.contains("stopping now; the study continues where it is"), "{}", ended.err);
    assert!(
        ended.out.contains("stopped by you\nto continue: luthier tune study.toml -j 2\n"),
        "{}",
        ended.out
    );
    #[cfg(target_os = "linux")]
    bench.no_process_is_left();
    assert_eq!(states(&bench), ["waiting"; 2]);
    let given_back = |event: &&(_, Event)| matches!(event.1, Event::Lost { returned: true, .. });
    assert_eq!(bench.events().iter().filter(given_back).count(), 2);
    continues(&bench);
}

//! Several processes on one study file.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use luthier::core::event::{Event, Outcome, Work};

use crate::support::{Bench, eventually, study};

/// Ends once a file named after its trial is there.
const WAITS: &str = r#"
echo begun >> begun-$LUTHIER_TRIAL-$LUTHIER_ATTEMPT
while [ ! -e go-$LUTHIER_TRIAL-$LUTHIER_ATTEMPT ]; do sleep 0.02; done
echo "{\"loss\": @x@}"
"#;
const REPORTS: &str = r#"for step in 1 2 3; do echo "{\"step\": $step, \"loss\": @x@}"; done"#;

/// Each trial has exactly one end, of its last attempt.
fn check_ends(bench: &Bench, total: u32) {
    let mut attempts = BTreeMap::new();
    let mut ended = BTreeMap::new();
    for (_, event) in bench.events() {
        match event {
            Event::Claimed { work, attempt } => drop(attempts.insert(work, attempt)),
            Event::Ended { work, outcome, .. } => {
                assert!(matches!(outcome, Outcome::Completed { .. }), "{work:?} {outcome:?}");
                assert_eq!(ended.insert(work, attempts[&work]), None, "{work:?} ended twice");
            }
            _ => {}
        }
    }
    assert_eq!(ended.into_keys().collect::<Vec<_>>(), (0..total).map(Work::of).collect::<Vec<_>>());
}

#[test]
fn two_tuners_and_a_watcher_share_a_study() {
    let bench = Bench::with_study(&study("trials = 40", REPORTS, ""));
    let tuners = [1, 2].map(|_| bench.start(&["tune", "study.toml", "-j", "2"]));
    eventually("the study is there", || !bench.events().is_empty());
    let mut watcher = bench.start(&["show", "study.luthier", "--watch"]);
    let mut seen = 0;
    while bench.ends().len() < 40 {
        let now = bench.trials().len();
        assert!(now >= seen, "trials vanish: {seen}, then {now}");
        seen = now;
    }
    for tuner in tuners {
        let ended = tuner.wait();
        assert_eq!(ended.code, 0, "{ended:#?}");
        assert!(ended.out.contains("ended because all 40 trials have been run"), "{}", ended.out);
    }
    eventually("the watcher has seen the end", || watcher.out().contains("\n40 completed; best loss "));
    assert!(watcher.is_running());
    watcher.kill();
    check_ends(&bench, 40);
    bench.verify();
}

#[test]
fn eight_processes_write_a_log_that_verifies() {
    let bench = Bench::with_study(&study("trials = 64", REPORTS, ""));
    let tuners: Vec<_> = (0..8).map(|_| bench.start(&["tune", "study.toml", "--quiet"])).collect();
    for tuner in tuners {
        let ended = tuner.wait();
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
    check_ends(&bench, 64);
    bench.verify();
    let writers: std::collections::BTreeSet<_> =
        bench.events().iter().map(|(record, _)| record.writer).collect();
    assert!(writers.len() > 1, "one process did everything");
}

#[test]
fn a_tuner_that_slept_past_its_lease_loses_its_trial_and_goes_on() {
    let bench = Bench::with_study(&study("trials = 2", WAITS, ""));
    let sleeper = bench.start(&["tune", "study.toml", "--lease", "6"]);
    eventually("trial 0 runs", || bench.has("begun-0-1"));
    sleeper.signal("STOP");
    bench.write("go-1-1", "");
    let other = bench.start(&["tune", "study.toml", "--lease", "6"]);
    eventually("another process takes trial 0 over", || bench.has("begun-0-2"));
    assert_eq!(bench.ends().len(), 1, "and before that it has finished trial 1");
    bench.ok(&["tune", "study.toml", "--trials", "3", "--for", "0s"]);

    // What the sleeper's command says now is too late.
    bench.write("go-0-1", "");
    thread::sleep(Duration::from_millis(300));
    sleeper.signal("CONT");
    eventually("the sleeper takes the next trial", || bench.has("begun-2-1"));
    bench.write("go-0-2", "");
    bench.write("go-2-1", "");
    let (sleeper, other) = (sleeper.wait(), other.wait());
    assert_eq!((sleeper.code, other.code), (0, 0), "{sleeper:#?} {other:#?}");
    assert!(sleeper.err.contains("trial 0 was taken over by another process"), "{}", sleeper.err);
    check_ends(&bench, 3);
    bench.verify();

    let claims: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|(record, event)| match event {
            Event::Claimed { work, attempt } => Some((record.writer, work.trial, attempt)),
            _ => None,
        })
        .collect();
    let [(sleeper, 0, 1), (other, 1, 1), (again, 0, 2), (last, 2, 1)] = claims[..] else {
        panic!("{claims:?}")
    };
    assert!(sleeper != other && again == other && last == sleeper, "{claims:?}");
}

//! `kill -9` of the tuner at 20 random moments, most of them after it has begun a trial: nothing finished is lost, nothing is
//! counted twice, no process stays.
#![cfg(target_os = "linux")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use luthier::core::event::{Event, Outcome, Work};
use luthier::session::LEASE;

use support::{Bench, eventually};

const KILLS: u32 = 20;
/// Trials finished after the last kill.
const MORE: usize = 12;

/// Reports four steps and leaves behind everything it can: it ignores SIGTERM, starts a process in a session of its
/// own, and one that is nobody's child.
const TRIAL: &str = r#"#!/bin/sh
trap '' TERM
setsid sleep 1000 &
(setsid sh -c 'trap "" TERM HUP; sleep 1000; sleep 1000' >/dev/null 2>&1 &)
for step in 1 2 3 4; do
  sleep 0.04
  echo "{\"step\": $step, \"loss\": 0.$step}"
done
echo "$LUTHIER_TRIAL $LUTHIER_ATTEMPT" >> completed
"#;

const STUDY: &str = r#"
max_attempts = 1000
[metric]
name = "loss"
[policy]
sampler = "random"
scheduler = "run_all"
[command]
run = ["sh", "trial.sh", "{x}"]
[params.x]
type = "float"
low = 0.0
high = 1.0
"#;

#[test]
fn a_tuner_killed_at_any_moment_loses_nothing_and_leaves_nothing() {
    let bench = Bench::with_study(STUDY);
    bench.write("trial.sh", TRIAL);
    let mut moments = Moments(20_261_121);
    let mut ended = Vec::new();
    for kill in 0..KILLS {
        let before = claims(&bench);
        let mut tuner = bench.start(&["tune", "study.toml", "-n", "100000", "-j", "4", "--quiet"]);
        // Every fifth is killed wherever its start has got to; how far that is depends on the machine.
        if kill % 5 > 0 {
            eventually("it has begun a trial", || claims(&bench) > before);
        }
        if kill + 1 == KILLS {
            eventually("a trial has ended", || !bench.ends().is_empty());
        }
        thread::sleep(moments.next());
        assert!(tuner.is_running(), "{:?}", tuner.err());
        assert_eq!(tuner.kill().code, -9);
        bench.no_process_is_left();
        let now = bench.ends();
        assert!(now.starts_with(&ended), "after kill {kill}: {ended:?}, then {now:?}");
        ended = now;
    }
    assert!(!ended.is_empty(), "every tuner was killed before it had finished a trial");

    let total = ended.len() + MORE;
    bench.ok(&["tune", "study.toml", "-n", &total.to_string(), "-j", "4", "--quiet"]);
    bench.no_process_is_left();
    assert!(bench.ends().starts_with(&ended));
    check_trials(&bench, total);
    check_log(&bench, total);
    bench.verify();
}

fn claims(bench: &Bench) -> usize {
    let is_claim = |(_, event): &&(_, Event)| matches!(event, Event::Claimed { .. });
    bench.events().iter().filter(is_claim).count()
}

fn check_trials(bench: &Bench, total: usize) {
    let trials = bench.trials();
    assert_eq!(trials.len(), total);
    for (number, trial) in trials.iter().enumerate() {
        assert_eq!(trial["trial"], number);
        assert_eq!(trial["state"], "completed", "{trial}");
        assert_eq!(trial["values"]["loss"], 0.4, "{trial}");
    }
}

/// Each trial has one accepted end, of an attempt that did run to its end; whatever a dead tuner held was taken over
/// long before its lease ran out.
fn check_log(bench: &Bench, total: usize) {
    let lines = bench.read("completed");
    let mut attempts = BTreeMap::new();
    let mut ended = BTreeSet::new();
    let mut lost = 0;
    for (record, event) in bench.events() {
        match event {
            Event::Claimed { work, attempt } => drop(attempts.insert(work, (attempt, record.at))),
            Event::Lost { work, returned } => {
                assert!(!returned);
                let waited = Duration::from_millis((record.at - attempts[&work].1) as u64);
                assert!(waited < LEASE, "{work:?} was taken over only after {waited:?}");
                lost += 1;
            }
            Event::Ended { work, outcome, .. } => {
                assert!(matches!(outcome, Outcome::Completed { .. }), "{work:?}: {outcome:?}");
                assert!(ended.insert(work), "{work:?} ended twice");
                let line = format!("{} {}", work.trial, attempts[&work].0);
                assert_eq!(lines.lines().filter(|known| **known == line).count(), 1, "{line}");
            }
            _ => {}
        }
    }
    assert_eq!(ended.len(), total);
    assert_eq!(ended.first().copied(), Some(Work::of(0)));
    assert!(lost >= KILLS * 4 / 5, "the kills came when nothing was running: only {lost} trials were lost");
}

/// Waits of 5 ms to 0.8 s, the same in every run.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        // Knuth's MMIX generator; the high bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(5 + (self.0 >> 33) % 795)
    }
}

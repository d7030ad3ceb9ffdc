//! What every log promises to the handle that writes it.

use std::time::Duration;

use luthier::log::{Draft, Guard, Log, LogError, MemoryLog};
use luthier_core::event::{Class, Work};

use crate::{all, bodies, create, ended, note, resumed};

#[test]
fn a_log_in_memory_keeps_the_contract() {
    contract(|| Box::new(MemoryLog::new()));
}

#[test]
fn a_log_in_a_file_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    contract(|| {
        count.set(count.get() + 1);
        Box::new(create(&directory.path().join(format!("{}.luthier", count.get()))))
    });
}

fn contract(make: impl Fn() -> Box<dyn Log>) {
    positions_count_from_one_without_gaps(&mut *make());
    records_come_back_as_they_were_written(&mut *make());
    an_abandoned_turn_leaves_nothing(&mut *make());
    a_refused_append_writes_nothing(&mut *make());
    decisions_conflict_only_with_decisions(&mut *make());
    only_the_holder_may_say_what_became_of_the_work(&mut *make());
    leases_run_out_and_are_renewed(&mut *make());
    news_is_what_was_appended_since(&mut *make());
}

fn positions_count_from_one_without_gaps(log: &mut dyn Log) {
    assert_eq!(log.read(0, 10).unwrap(), []);
    for turn in 0..10_u64 {
        log.lock().unwrap();
        for part in 1..=3 {
            assert_eq!(log.append(&[note("x")], Guard::None).unwrap(), 3 * turn + part);
        }
        log.unlock().unwrap();
    }
    for limit in [1, 7, 30, 31] {
        let mut seen = 0;
        loop {
            let chunk = log.read(seen, limit).unwrap();
            assert!(chunk.len() <= limit);
            if chunk.is_empty() {
                break;
            }
            for record in chunk {
                seen += 1;
                assert_eq!(record.seq, seen);
            }
        }
        assert_eq!(seen, 30);
    }
}

fn records_come_back_as_they_were_written(log: &mut dyn Log) {
    let texts = ["", "quote \" and \\", "line\nbreak", "žluťoučký 🎻", "\u{0}nul"];
    let mut written = Vec::new();
    for (basis, text) in texts.iter().enumerate() {
        let draft = Draft { basis: basis as u64, ..note(text) };
        log.append(std::slice::from_ref(&draft), Guard::None).unwrap();
        written.push((draft.body, basis as u64, log.writer()));
    }
    let read = all(log).into_iter().map(|r| (r.body, r.basis, r.writer));
    assert_eq!(read.collect::<Vec<_>>(), written);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(
        all(log).iter().all(|r| now.abs_diff(r.at as u128) < 60_000),
        "times are milliseconds since 1970"
    );
}

fn an_abandoned_turn_leaves_nothing(log: &mut dyn Log) {
    log.append(&[note("kept")], Guard::None).unwrap();
    log.lock().unwrap();
    log.append(&[resumed(Work::of(0)), note("lost")], Guard::End(1)).unwrap();
    log.hold(Work::of(0), 1, Duration::from_secs(9)).unwrap();
    assert_eq!(all(log).len(), 3, "a turn sees what it has appended");
    log.abandon();
    assert_eq!(bodies(log), [note("kept").body]);
    assert_eq!(log.leases().unwrap(), []);
    assert_eq!(log.append(&[note("next")], Guard::Decisions(1)).unwrap(), 2, "the decision is forgotten too");
    log.abandon();
    log.unlock().unwrap();
    assert_eq!(all(log).len(), 2, "giving back a turn one does not have does nothing");
}

fn a_refused_append_writes_nothing(log: &mut dyn Log) {
    log.append(&[note("a"), note("b")], Guard::End(0)).unwrap();
    for wrong in [0, 1, 3] {
        let refused = log.append(&[note("c")], Guard::End(wrong));
        assert!(matches!(refused, Err(LogError::Conflict { end: 2 })), "{refused:?}");
    }
    log.lock().unwrap();
    log.append(&[note("c")], Guard::End(2)).unwrap();
    let refused = log.append(&[note("d")], Guard::End(2));
    assert!(matches!(refused, Err(LogError::Conflict { end: 3 })), "{refused:?}");
    log.append(&[note("e")], Guard::End(3)).unwrap();
    log.unlock().unwrap();
    assert_eq!(bodies(log), ["a", "b", "c", "e"].map(|text| note(text).body));
}

fn decisions_conflict_only_with_decisions(log: &mut dyn Log) {
    let work = Work::of(0);
    assert_eq!(resumed(work).class, Class::Decision);
    log.append(&[note("1"), ended(work)], Guard::Decisions(0)).unwrap();
    log.append(&[resumed(work), note("4")], Guard::Decisions(0)).unwrap();
    let refused = log.append(&[resumed(work)], Guard::Decisions(2));
    assert!(matches!(refused, Err(LogError::Conflict { end: 4 })), "{refused:?}");
    log.append(&[resumed(work)], Guard::Decisions(3)).unwrap();
    assert_eq!(all(log).len(), 5);
}

fn only_the_holder_may_say_what_became_of_the_work(log: &mut dyn Log) {
    let work = Work { trial: 3, replicate: 2 };
    let by = |attempt| Guard::Holds { work, attempt };
    let fenced = |result: Result<u64, LogError>, by: u32| {
        assert!(
            matches!(result, Err(LogError::Fenced { work: w, attempt }) if w == work && attempt == by),
            "{result:?}"
        );
    };
    fenced(log.append(&[ended(work)], by(1)), 1);
    log.hold(work, 1, Duration::from_secs(9)).unwrap();
    log.append(&[ended(work)], by(1)).unwrap();
    log.hold(work, 2, Duration::from_secs(9)).unwrap();
    fenced(log.append(&[ended(work)], by(1)), 1);
    log.append(&[ended(work)], by(2)).unwrap();
    log.release(work).unwrap();
    fenced(log.append(&[ended(work)], by(2)), 2);
    assert_eq!(all(log).len(), 2);
}

fn leases_run_out_and_are_renewed(log: &mut dyn Log) {
    let (first, second) = (Work::of(1), Work { trial: 1, replicate: 1 });
    log.hold(first, 1, Duration::from_millis(20)).unwrap();
    log.hold(second, 4, Duration::from_secs(1_000)).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let leases = log.leases().unwrap();
    let found: Vec<_> = leases.iter().map(|l| (l.work, l.attempt, l.writer, l.expired_for > 0.0)).collect();
    assert_eq!(found, [(first, 1, log.writer(), true), (second, 4, log.writer(), false)]);
    assert!(leases[0].expired_for >= 0.03 && leases[1].expired_for < -900.0, "{leases:?}");

    let gone = log.renew(&[(first, 1), (second, 3), (Work::of(9), 1)], Duration::from_secs(500)).unwrap();
    assert_eq!(gone, [second, Work::of(9)], "an older attempt has lost its work");
    let left: Vec<f64> = log.leases().unwrap().iter().map(|lease| -lease.expired_for).collect();
    assert!(left[0] > 400.0 && left[0] <= 500.0 && left[1] > 900.0, "{left:?}");
    log.release(first).unwrap();
    log.release(first).unwrap();
    assert_eq!(log.leases().unwrap().len(), 1);
}

fn news_is_what_was_appended_since(log: &mut dyn Log) {
    assert!(!log.has_news(0).unwrap());
    let end = log.append(&[note("x"), note("y")], Guard::None).unwrap();
    assert!(log.has_news(0).unwrap());
    assert!(log.has_news(end - 1).unwrap());
    assert!(!log.has_news(end).unwrap());
}

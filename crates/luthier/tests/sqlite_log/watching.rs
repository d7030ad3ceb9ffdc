//! Looking at a study without disturbing it.

use luthier::log::{Guard, Log, SqliteLog};
use luthier_core::event::Work;

use crate::{all, create, names, note, open, study};

#[test]
fn looking_at_a_study_at_rest_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 5);
    let before = std::fs::read(&path).unwrap();
    let mut watcher = SqliteLog::watch(&path).unwrap();
    assert_eq!(all(&mut watcher).len(), 5);
    assert!(!watcher.has_news(5).unwrap());
    assert_eq!(watcher.leases().unwrap(), []);
    assert_eq!(names(directory.path()).len(), 1, "while it looks");
    drop(watcher);
    assert_eq!(names(directory.path()).len(), 1, "afterwards");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_watcher_notices_that_somebody_has_begun_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 1);
    let mut watcher = SqliteLog::watch(&path).unwrap();
    for round in 1..4 {
        let mut writer = open(&path);
        assert!(!watcher.has_news(round).unwrap());
        writer.append(&[note("x")], Guard::End(round)).unwrap();
        assert!(watcher.has_news(round).unwrap());
        drop(writer);
        assert_eq!(all(&mut watcher).len() as u64, round + 1);
    }
}

#[test]
fn a_watcher_at_rest_notices_what_was_written_between_two_looks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 1);
    let mut watcher = SqliteLog::watch(&path).unwrap();
    // The file's time of change may be as coarse as the system's clock ticks.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut writer = open(&path);
    writer.append(&[note("x"), note("y")], Guard::None).unwrap();
    drop(writer);
    assert_eq!(names(directory.path()).len(), 1);
    assert!(watcher.has_news(1).unwrap());
    assert_eq!(all(&mut watcher).len(), 3);
}

#[test]
fn a_watcher_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let mut writer = create(&path);
    let mut watcher = SqliteLog::watch(&path).unwrap();
    let expected = format!("{}: it was opened only to look at it", path.display());
    assert_eq!(watcher.lock().unwrap_err().to_string(), expected);
    assert_eq!(watcher.append(&[note("x")], Guard::None).unwrap_err().to_string(), expected);
    assert_eq!(watcher.hold(Work::of(0), 1, std::time::Duration::ZERO).unwrap_err().to_string(), expected);
    assert_eq!(watcher.release(Work::of(0)).unwrap_err().to_string(), expected);
    writer.append(&[note("x")], Guard::End(0)).unwrap();
}

#[test]
fn a_watcher_reads_what_a_killed_writer_left() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("study.luthier"), directory.path().join("copy.luthier"));
    let mut writer = create(&path);
    writer.append(&[note("x"), note("y")], Guard::None).unwrap();
    // What lies on the disk while a writer is at work is what its sudden end would leave.
    for (suffix, needed) in [("", true), ("-wal", true), ("-shm", false)] {
        let beside = |path: &std::path::Path| format!("{}{suffix}", path.display());
        if needed {
            std::fs::copy(beside(&path), beside(&copy)).unwrap();
        }
    }
    let mut watcher = SqliteLog::watch(&copy).unwrap();
    assert_eq!(all(&mut watcher).len(), 2);
    assert_eq!(open(&copy).append(&[note("z")], Guard::End(2)).unwrap(), 3);
    assert_eq!(all(&mut watcher).len(), 3);
}

//! Several handles, threads and processes on one file; processes that are killed; disks that are full.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use luthier::log::{Guard, Log, LogError, Options, SqliteLog};
use luthier_core::event::{Event, Work};

use crate::{all, bodies, create, ended, names, note, open, resumed, study};

/// Starts this test program again as a process that plays `role` on the study at `path`.
fn child(role: &str, path: &Path, count: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::a_child_plays_its_role", "--nocapture"]);
    command.env("LUTHIER_ROLE", role).env("LUTHIER_STUDY", path).env("LUTHIER_COUNT", count.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Not a test by itself: what the processes started by the tests below do.
#[test]
fn a_child_plays_its_role() {
    let Ok(role) = std::env::var("LUTHIER_ROLE") else { return };
    let path = std::env::var_os("LUTHIER_STUDY").unwrap();
    let count: usize = std::env::var("LUTHIER_COUNT").unwrap().parse().unwrap();
    match &*role {
        "append" => append_turns(&mut open(Path::new(&path)), count, |_| {}),
        "say" => append_turns(&mut open(Path::new(&path)), count, |end| println!("\nconfirmed {end}")),
        "create" => match SqliteLog::create(&path, Options::default()) {
            Ok(_) => println!("\ncreated"),
            Err(LogError::Exists { .. }) => println!("\nexists"),
            Err(other) => println!("\nfailed: {other}"),
        },
        "fill" => {
            let mut log = open(Path::new(&path));
            loop {
                match log.append(&[note(&"x".repeat(10_000))], Guard::None) {
                    Ok(end) => println!("\nconfirmed {end}"),
                    Err(error) => return println!("\nfailed: {error}"),
                }
            }
        }
        other => panic!("no such role: {other}"),
    }
}

/// Turns of three records each that say who wrote them and after what.
fn append_turns(log: &mut SqliteLog, turns: usize, confirmed: impl Fn(u64)) {
    let mut seen = 0;
    for turn in 0..turns {
        log.lock().unwrap();
        seen += log.read(seen, usize::MAX >> 1).unwrap().len() as u64;
        let before = seen;
        for part in 0..3 {
            let mut draft = note(&format!("turn {turn} part {part}"));
            draft.basis = before;
            seen = log.append(&[draft], Guard::End(seen)).unwrap();
        }
        log.unlock().unwrap();
        confirmed(seen);
    }
}

/// Every turn is there once, in one piece, after exactly what it had seen.
fn check_turns(log: &mut SqliteLog) -> BTreeMap<u64, usize> {
    let records = all(log);
    let mut turns = BTreeMap::new();
    for (k, records) in records.chunks(3).enumerate() {
        let writer = records[0].writer;
        let turn = turns.entry(writer).or_insert(0);
        for (part, record) in records.iter().enumerate() {
            assert_eq!(record.seq, (3 * k + part) as u64 + 1);
            assert_eq!((record.writer, record.basis), (writer, 3 * k as u64));
            assert_eq!(record.body, note(&format!("turn {turn} part {part}")).body);
        }
        assert_eq!(records.len(), 3);
        *turn += 1;
    }
    turns
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn processes_that_append_together_leave_every_turn_once_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    drop(create(&path));
    let children: Vec<Child> = (0..8).map(|_| child("append", &path, 40).spawn().unwrap()).collect();
    for child in children {
        let _printed = finish(child);
    }
    let turns = check_turns(&mut open(&path));
    assert_eq!(turns.values().copied().collect::<Vec<_>>(), [40; 8]);
}

#[test]
fn sixty_four_processes_all_get_their_turns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    drop(create(&path));
    let children: Vec<Child> = (0..64).map(|_| child("append", &path, 25).spawn().unwrap()).collect();
    for child in children {
        let _printed = finish(child);
    }
    let turns = check_turns(&mut open(&path));
    assert_eq!(turns.values().copied().collect::<Vec<_>>(), [25; 64]);
}

#[test]
fn one_of_many_creators_succeeds_and_the_others_are_told() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let path = directory.path().join(format!("{round}.luthier"));
        let children: Vec<Child> = (0..6).map(|_| child("create", &path, 0).spawn().unwrap()).collect();
        let said: Vec<String> = children.into_iter().map(finish).collect();
        let count = |word: &str| said.iter().filter(|text| text.lines().any(|line| line == word)).count();
        assert_eq!((count("created"), count("exists")), (1, 5), "{said:?}");
        assert_eq!(all(&mut open(&path)), []);
    }
    assert_eq!(names(directory.path()).len(), 5, "nothing is left beside the studies");
}

#[test]
fn a_killed_creation_stands_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = directory.path().join(format!("{round}.luthier"));
        let mut creator = child("create", &path, 0).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(700 * round));
        creator.kill().unwrap();
        creator.wait().unwrap();
        let mut log = match SqliteLog::create(&path, Options::default()) {
            Ok(log) => log,
            Err(LogError::Exists { .. }) => open(&path),
            Err(other) => panic!("after {round} × 0.7 ms: {other}"),
        };
        assert_eq!(log.append(&[note("works")], Guard::End(0)).unwrap(), 1);
    }
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_confirmed_and_tears_no_turn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    drop(create(&path));
    let mut confirmed = 0;
    for round in 0..20_u64 {
        let mut writer = child("say", &path, 1_000_000).spawn().unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut count = 0;
        // Killed after another number of turns each round, at whatever it is doing then.
        while count <= 3 * round {
            let line = lines.next().unwrap().unwrap();
            if let Some(end) = line.strip_prefix("confirmed ") {
                confirmed = end.parse().unwrap();
                count += 1;
            }
        }
        writer.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(end) = line.strip_prefix("confirmed ") {
                confirmed = end.parse().unwrap_or(confirmed);
            }
        }
        writer.wait().unwrap();
        let mut log = open(&path);
        check_turns(&mut log);
        assert!(!log.has_news(confirmed + 3).unwrap(), "at most the turn being confirmed is more");
        assert!(confirmed == 0 || log.has_news(confirmed - 1).unwrap(), "round {round}: {confirmed} is lost");
    }
    let conn = rusqlite::Connection::open(&path).unwrap();
    let sound: String = conn.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn a_decision_waits_for_no_fact_but_for_every_other_decision() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let (mut one, mut other) = (create(&path), open(&path));
    assert_ne!(one.writer(), other.writer());
    let work = Work::of(0);
    let seen = one.append(&[note("a")], Guard::End(0)).unwrap();
    other.append(&[ended(work)], Guard::None).unwrap();
    one.append(&[resumed(work)], Guard::Decisions(seen)).unwrap();
    let refused = other.append(&[resumed(work)], Guard::Decisions(2));
    assert!(matches!(refused, Err(LogError::Conflict { end: 3 })), "{refused:?}");
    let writers: Vec<u64> = all(&mut one).iter().map(|record| record.writer).collect();
    assert_eq!(writers, [one.writer(), other.writer(), one.writer()]);
}

#[test]
fn a_worker_whose_work_was_taken_over_is_fenced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let options = Options { holder: "host 7".into(), ..Options::default() };
    let (mut slow, mut quick) = (SqliteLog::create(&path, options).unwrap(), open(&path));
    let work = Work::of(0);
    slow.hold(work, 1, Duration::ZERO).unwrap();
    let lease = &quick.leases().unwrap()[0];
    assert_eq!((&*lease.holder, lease.writer, lease.expired_for >= 0.0), ("host 7", slow.writer(), true));
    slow.append(&[note("late but not too late")], Guard::Holds { work, attempt: 1 }).unwrap();
    quick.hold(work, 2, Duration::from_mins(1)).unwrap();
    assert_eq!(slow.renew(&[(work, 1)], Duration::from_mins(1)).unwrap(), [work]);
    let refused = slow.append(&[ended(work)], Guard::Holds { work, attempt: 1 });
    assert_eq!(refused.unwrap_err().to_string(), "trial 0 replicate 0 is no longer held by attempt 1");
    quick.append(&[ended(work)], Guard::Holds { work, attempt: 2 }).unwrap();
    assert_eq!(all(&mut quick).len(), 2);
}

#[test]
fn whoever_has_the_turn_has_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    drop(create(&path));
    let inside = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut log = open(&path);
                for _ in 0..50 {
                    log.lock().unwrap();
                    assert!(!inside.swap(true, Ordering::SeqCst));
                    log.append(&[note("x")], Guard::None).unwrap();
                    inside.store(false, Ordering::SeqCst);
                    log.unlock().unwrap();
                }
            });
        }
    });
    assert_eq!(all(&mut open(&path)).len(), 200);
}

#[test]
fn waiting_ends_with_a_message_when_the_turn_is_never_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let mut hog = create(&path);
    hog.lock().unwrap();
    let options = Options { busy: Duration::from_millis(30), ..Options::default() };
    let mut patient = SqliteLog::open(&path, options).unwrap();
    let said = patient.append(&[note("x")], Guard::None).unwrap_err().to_string();
    let expected = "another process keeps it locked; see what it does, end it if it hangs, then try again";
    assert_eq!(said, format!("{}: {expected}", path.display()));
    assert_eq!(patient.read(0, 9).unwrap(), [], "reading goes on");
    hog.append(&[note("y")], Guard::None).unwrap();
    hog.unlock().unwrap();
    patient.append(&[note("x")], Guard::End(1)).unwrap();
}

#[test]
fn readers_see_whole_turns_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let mut writer = create(&path);
    let (mut reader, mut watcher) = (open(&path), SqliteLog::watch(&path).unwrap());
    writer.lock().unwrap();
    writer.append(&[note("x"), note("y")], Guard::None).unwrap();
    assert_eq!((all(&mut reader).len(), all(&mut watcher).len()), (0, 0));
    assert!(!watcher.has_news(0).unwrap());
    writer.unlock().unwrap();
    assert_eq!((all(&mut reader).len(), all(&mut watcher).len()), (2, 2));

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            append_turns(&mut open(&path), 0, |_| {});
            let mut log = open(&path);
            for _ in 0..300 {
                log.lock().unwrap();
                log.append(&[note("x")], Guard::None).unwrap();
                log.append(&[note("y")], Guard::None).unwrap();
                log.unlock().unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            assert_eq!(all(&mut watcher).len() % 2, 0);
        }
    });
    assert_eq!(all(&mut watcher).len(), 602);
}

#[test]
fn a_study_that_is_deleted_or_replaced_while_open_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 2);
    let mut log = open(&path);
    let aside = directory.path().join("moved.luthier");
    std::fs::rename(&path, &aside).unwrap();
    let expected =
        format!("{}: the file was deleted or replaced while it was in use; start again", path.display());
    assert_eq!(log.append(&[note("x")], Guard::None).unwrap_err().to_string(), expected);
    assert_eq!(log.has_news(0).unwrap_err().to_string(), expected);
    assert!(!path.exists(), "nothing is made anew");
}

#[test]
fn a_long_reader_does_not_let_the_write_ahead_file_grow_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let mut log = create(&path);
    log.append(&[note("first")], Guard::None).unwrap();
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM log").unwrap();
    let large = note(&"x".repeat(1_000_000));
    for _ in 0..100 {
        log.append(std::slice::from_ref(&large), Guard::None).unwrap();
    }
    let length = || std::fs::metadata(directory.path().join("study.luthier-wal")).map_or(0, |m| m.len());
    assert!(length() > 90_000_000, "the reader keeps it: {}", length());
    reader.execute_batch("COMMIT").unwrap();
    for _ in 0..70 {
        log.append(&[note("small")], Guard::None).unwrap();
    }
    assert!(length() <= 64 << 20, "{}", length());
    assert_eq!(all(&mut log).len(), 171);
}

/// A limit on the size of a process's files is the nearest thing to a full disk that needs no rights.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 1);
    let fill = child("fill", &path, 0);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$@\"", "sh"]).arg(fill.get_program());
    shell.args(fill.get_args()).envs(fill.get_envs().map(|(key, value)| (key, value.unwrap())));
    let said = finish(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let confirmed = said.lines().filter_map(|line| line.strip_prefix("confirmed ")).next_back().unwrap();
    let failed = said.lines().find_map(|line| line.strip_prefix("failed: ")).unwrap();
    assert!(failed.contains("the disk failed or is full") && failed.ends_with("is safe"), "{failed}");
    let mut log = open(&path);
    let end: u64 = confirmed.parse().unwrap();
    assert_eq!(bodies(&mut log).len() as u64, end);
    assert_eq!(log.append(&[note("with space again")], Guard::End(end)).unwrap(), end + 1);
    assert!(matches!(all(&mut log)[0].event().unwrap(), Event::Noted { .. }));
}

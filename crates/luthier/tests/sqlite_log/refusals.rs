//! Files that are not studies, or not sound ones, are refused by name and stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use luthier::log::{Guard, Log, LogError, Options, SqliteLog};
use rusqlite::Connection;

use crate::{create, note, open, study};

const NOT_OURS: &str = "Nothing was changed; give another --study path";
const DAMAGED: &str = "Nothing was changed; restore a copy, or keep what comes before with `luthier export`";

/// Every file of a directory with what it holds.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect()
}

/// Makes something at a path and expects `expected` (with `PATH` for the path) from opening, watching and creating.
fn check(expected: &str, make: impl FnOnce(&Path)) {
    check_each(expected, expected, make);
}

/// The same where creating finds a study, if a bad one, and opening finds what is bad with it.
fn check_inside(expected: &str, make: impl FnOnce(&Path)) {
    check_each(expected, "there is already a study at PATH", make);
}

fn check_each(opening: &str, creating: &str, make: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a file.luthier");
    make(&path);
    let before = contents(directory.path());
    let say = |result: Result<SqliteLog, LogError>| match result {
        Ok(_) => "opened".to_owned(),
        Err(error) => error.to_string().replace(&path.display().to_string(), "PATH"),
    };
    assert_eq!(say(SqliteLog::open(&path, Options::default())), opening);
    assert_eq!(say(SqliteLog::watch(&path)), opening);
    assert_eq!(say(SqliteLog::create(&path, Options::default())), creating);
    assert!(contents(directory.path()) == before, "something was changed: {opening}");
}

#[test]
fn an_empty_file() {
    check(&format!("PATH is not a Luthier study: it is empty. {NOT_OURS}"), |path| {
        fs::write(path, "").unwrap();
    });
}

#[test]
fn a_text() {
    let expected = format!(
        "PATH is not a Luthier study: it is not an SQLite database, or its beginning is damaged. {NOT_OURS}"
    );
    check(&expected, |path| fs::write(path, "[space]\nlr = \"a text\"\n").unwrap());
    check(&expected, |path| fs::write(path, "0123456789abcdef".repeat(5_000)).unwrap());
    check(&expected, |path| fs::write(path, "x").unwrap());
}

#[test]
fn a_study_whose_beginning_is_overwritten() {
    let expected = format!(
        "PATH is not a Luthier study: it is not an SQLite database, or its beginning is damaged. {NOT_OURS}"
    );
    check(&expected, |path| {
        study(path, 100);
        let mut bytes = fs::read(path).unwrap();
        bytes[..100].fill(0x5a);
        fs::write(path, bytes).unwrap();
    });
}

#[test]
fn a_directory() {
    check(&format!("PATH is not a Luthier study: it is a directory. {NOT_OURS}"), |path| {
        fs::create_dir(path).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_pipe() {
    check(&format!("PATH is not a Luthier study: it is not a regular file. {NOT_OURS}"), |path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    });
}

#[test]
fn another_programs_database() {
    let expected =
        format!("PATH is not a Luthier study: it is an SQLite database of another program. {NOT_OURS}");
    check(&expected, |path| {
        Connection::open(path).unwrap().execute_batch("CREATE TABLE log(seq)").unwrap();
    });
    check(
        &format!(
            "PATH is not a Luthier study: it is an SQLite database of another program (application id \
             0x47504b47). {NOT_OURS}"
        ),
        |path| {
            let conn = Connection::open(path).unwrap();
            conn.execute_batch("PRAGMA application_id=0x47504b47; CREATE TABLE t(x)").unwrap();
        },
    );
}

/// Opening it in the ordinary way would move the rest of its log into it.
#[test]
fn another_programs_database_whose_process_was_killed() {
    let expected =
        format!("PATH is not a Luthier study: it is an SQLite database of another program. {NOT_OURS}");
    check(&expected, |path| {
        let origin = path.with_extension("origin");
        let conn = Connection::open(&origin).unwrap();
        conn.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        fs::copy(&origin, path).unwrap();
        let beside = |path: &Path| format!("{}-wal", path.display());
        fs::copy(beside(&origin), beside(path)).unwrap();
    });
}

#[test]
fn a_newer_format() {
    let expected =
        "PATH has log format 2, and this program writes 1. Nothing was changed; use a newer luthier";
    check(expected, |path| {
        study(path, 3);
        Connection::open(path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    });
}

#[test]
fn a_format_that_never_was() {
    let expected = format!("PATH is damaged: its header says log format 0, which never was. {DAMAGED}");
    check(&expected, |path| {
        study(path, 3);
        Connection::open(path).unwrap().pragma_update(None, "user_version", 0).unwrap();
    });
}

#[test]
fn a_study_cut_short() {
    check_inside(&format!("PATH is damaged: database disk image is malformed. {DAMAGED}"), |path| {
        study(path, 1_000);
        let length = fs::metadata(path).unwrap().len();
        fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    });
}

#[test]
fn a_study_with_something_added() {
    for (sql, kind, name) in [
        ("CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM leases; END", "trigger", "t"),
        ("CREATE VIEW v AS SELECT 1", "view", "v"),
        ("CREATE INDEX i ON log(trial)", "index", "i"),
        ("CREATE TABLE more(x)", "table", "more"),
    ] {
        let expected = format!(
            "PATH is not a Luthier study: it holds a {kind} {name:?}, which no study has. {NOT_OURS}"
        );
        check_inside(&expected, |path| {
            study(path, 3);
            Connection::open(path).unwrap().execute_batch(sql).unwrap();
        });
    }
}

#[test]
fn a_study_with_other_tables() {
    let expected = format!("PATH is damaged: its tables are not those of a study. {DAMAGED}");
    for sql in [
        "DROP TABLE leases",
        "ALTER TABLE log ADD COLUMN more TEXT",
        "DROP TABLE leases; CREATE VIEW leases AS SELECT 1",
    ] {
        check_inside(&expected, |path| {
            study(path, 3);
            Connection::open(path).unwrap().execute_batch(sql).unwrap();
        });
    }
}

#[test]
fn a_study_without_its_first_record() {
    let expected = format!("PATH is damaged: the log's first or last record is missing or wrong. {DAMAGED}");
    check_inside(&expected, |path| {
        study(path, 3);
        Connection::open(path).unwrap().execute_batch("DELETE FROM log WHERE seq = 1").unwrap();
    });
}

#[test]
fn a_record_missing_from_the_middle_is_found_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 9);
    Connection::open(&path).unwrap().execute_batch("DELETE FROM log WHERE seq = 5").unwrap();
    let mut log = open(&path);
    assert_eq!(log.read(0, 4).unwrap().len(), 4);
    for (after, limit) in [(0, 9), (4, 1), (3, 2)] {
        let said = log.read(after, limit).unwrap_err().to_string();
        assert_eq!(said, format!("{} is damaged: record 5 is missing. {DAMAGED}", path.display()));
    }
}

#[test]
fn a_damaged_page_in_the_middle_is_found_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 2_000);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let mut log = open(&path);
    let said = log.read(0, 10_000).unwrap_err().to_string();
    let expected = format!("{} is damaged: database disk image is malformed. {DAMAGED}", path.display());
    assert_eq!(said, expected);
    drop(log);
    assert!(fs::read(&path).unwrap() == bytes, "something was changed");
}

#[test]
fn an_event_that_nobody_knows_is_refused_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 1);
    let sql = "UPDATE log SET body = '{\"tuned\":{\"trial\":0}}' WHERE seq = 1";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let said = open(&path).read(0, 1).unwrap()[0].event().unwrap_err().to_string();
    assert!(said.starts_with("event 1 cannot be understood: unknown variant `tuned`"), "{said}");
    assert!(said.ends_with("It was written by a newer luthier, or the study is damaged"), "{said}");
}

#[test]
fn nothing_where_a_study_should_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    let expected = format!("there is no study at {}", path.display());
    assert_eq!(SqliteLog::open(&path, Options::default()).unwrap_err().to_string(), expected);
    assert_eq!(SqliteLog::watch(&path).unwrap_err().to_string(), expected);
    assert!(contents(directory.path()).is_empty());
}

#[test]
fn a_directory_that_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("none");
    let path = parent.join("study.luthier");
    let expected = format!("{}: there is no directory {}; create it first", path.display(), parent.display());
    assert_eq!(SqliteLog::create(&path, Options::default()).unwrap_err().to_string(), expected);
    let expected = format!("there is no study at {}", path.display());
    assert_eq!(SqliteLog::open(&path, Options::default()).unwrap_err().to_string(), expected);
}

#[test]
fn a_read_only_study_can_be_looked_at_but_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("study.luthier");
    study(&path, 3);
    let mut rights = fs::metadata(&path).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(&path, rights).unwrap();
    let said = SqliteLog::open(&path, Options::default()).unwrap_err().to_string();
    let expected = "the file is read-only; make it writable, or use a command that only reads";
    assert_eq!(said, format!("{}: {expected}", path.display()));
    assert_eq!(SqliteLog::watch(&path).unwrap().read(0, 9).unwrap().len(), 3);
}

#[test]
fn what_a_deleted_study_left_behind_is_not_mixed_into_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("study.luthier"), directory.path().join("other.luthier"));
    let mut writer = create(&other);
    writer.append(&[note("old")], Guard::None).unwrap();
    fs::copy(format!("{}-wal", other.display()), format!("{}-wal", path.display())).unwrap();
    let said = SqliteLog::create(&path, Options::default()).unwrap_err().to_string();
    let expected = format!(
        "{0}: the study that was here is gone but has left {0}-wal; delete that too, or give another path",
        path.display()
    );
    assert_eq!(said, expected);
    assert!(!path.exists());
}

#[test]
fn names_that_mean_something_to_sqlite_are_only_names() {
    let directory = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x?mode=memory", "a%20b#c", "ü ß.luthier"] {
        let path = directory.path().join(name);
        study(&path, 2);
        assert!(path.is_file(), "{name}");
        assert_eq!(SqliteLog::watch(&path).unwrap().read(0, 9).unwrap().len(), 2, "{name}");
    }
    assert!(matches!(SqliteLog::open("", Options::default()), Err(LogError::Store { .. })));
}

//! Logs: what every log promises, and what the one in a file promises besides, with real processes and real damage.

mod contract;
mod format;

mod processes;
mod refusals;
mod watching;

use std::collections::BTreeSet;
use std::path::Path;

use luthier::log::{Draft, Guard, Log, Options, Record, SqliteLog};
use luthier_core::event::{Event, Outcome, Work};

/// A wish that says `text`.
fn note(text: &str) -> Draft {
    Draft::new(&Event::Noted { trial: None, key: "note".into(), value: text.into() }, 0).unwrap()
}

/// A fact about `work`.
fn ended(work: Work) -> Draft {
    let outcome = Outcome::Completed { values: vec![0.5] };
    Draft::new(&Event::Ended { work, outcome, seconds: 1.0, used: None }, 0).unwrap()
}

/// A decision about `work`.
fn resumed(work: Work) -> Draft {
    Draft::new(&Event::Resumed { work, budget: None }, 0).unwrap()
}

fn all(log: &mut dyn Log) -> Vec<Record> {
    log.read(0, usize::MAX >> 1).unwrap()
}

fn bodies(log: &mut dyn Log) -> Vec<String> {
    all(log).into_iter().map(|record| record.body).collect()
}

fn create(path: &Path) -> SqliteLog {
    SqliteLog::create(path, Options::default()).unwrap()
}

fn open(path: &Path) -> SqliteLog {
    SqliteLog::open(path, Options::default()).unwrap()
}

/// A study with `count` notes, closed again.
fn study(path: &Path, count: usize) {
    let mut log = create(path);
    let notes: Vec<Draft> = (1..=count).map(|k| note(&format!("number {k}"))).collect();
    log.append(&notes, Guard::None).unwrap();
}

/// The names in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

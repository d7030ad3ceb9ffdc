//! How a command hears of its knobs while it runs: after each report one JSON object, as a line on its standard input or in a
//! file. What it does about that is its own affair.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;

use luthier_core::space::Params;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::objective::kept::{self, Sharing};

/// Where a command hears of its knobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnobsBy {
    /// A line on standard input after each report; a command that reads it before it trains on keeps step with what is decided.
    Stdin,
    /// A file, replaced after each report, that the command reads when it likes.
    File,
}

impl KnobsBy {
    /// What `LUTHIER_KNOBS` is: the file, or a dash for standard input.
    pub(super) fn variable(self, folder: &Path) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::File => file(folder).display().to_string(),
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("knobs.json")
}

/// The way to one running command.
pub(super) enum Wire {
    Stdin(ChildStdin),
    File(PathBuf),
}

impl Wire {
    /// For a command that was started in the folder of its first trial.
    pub(super) fn new(by: KnobsBy, stdin: Option<ChildStdin>, folder: &Path) -> Option<Self> {
        match by {
            KnobsBy::Stdin => stdin.map(Self::Stdin),
            KnobsBy::File => Some(Self::File(file(folder))),
        }
    }

    /// Says with which params to go on after `step`. A command that does not listen any more is no reason to do anything: it
    /// has ended, or will.
    pub(super) fn say(&mut self, step: u64, params: &Params) {
        let text = line(step, params);
        let _deaf = match self {
            Self::Stdin(pipe) => pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush()),
            Self::File(path) => replace_file(path, &text),
        };
    }
}

/// Has the knobs' file say where a command begins: it is there before the command, which may read it at once.
pub(super) fn begin_file(folder: &Path, step: u64, params: &Params) -> io::Result<()> {
    replace_file(&file(folder), &line(step, params))
}

fn line(step: u64, params: &Params) -> String {
    json!({ "step": step, "params": params }).to_string() + "\n"
}

fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

/// The folder that a command calls its checkpoint folder while it serves one trial after the other: in that of the first.
pub(super) fn home(folder: &Path) -> PathBuf {
    folder.join("live")
}

/// Makes the home of a command ready: with the checkpoint of its trial, if there is one.
pub(super) fn move_in(home: &Path, checkpoint: &Path) -> io::Result<()> {
    kept::replace(checkpoint, home, Sharing::Copies)
}

/// Puts what a command has at home where its trial keeps it.
pub(super) fn put_by(home: &Path, checkpoint: &Path) -> io::Result<()> {
    kept::replace(home, checkpoint, Sharing::Copies)
}

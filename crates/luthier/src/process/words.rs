//! What the tuner and its supervisor say to each other, on every Unix.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ended;

/// The variable that marks every process of a command; its value is a `:`-separated list of `mark`s, outermost
/// tuner first, since a command may itself be a tuner.
pub(super) const MARK: &str = "LUTHIER_SUPERVISED";
/// Set for the supervisor only: an executable that sees it and still launches has not called the hook.
pub(super) const ASKED: &str = "LUTHIER_SUPERVISOR_OF";
/// First words on the socket; another version of this module may be behind another executable.
pub(super) const GREETING: &str = "luthier supervisor 1";
pub(super) const TERMINATE: u8 = b'T';
pub(super) const KILL: u8 = b'K';

/// What the tuner tells the supervisor, as one line of JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) tuner: u32,
    pub(super) program: OsString,
    /// The program and its arguments, as the program sees them.
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) working_dir: Option<OsString>,
    pub(super) memory_limit: Option<u64>,
    pub(super) grace: Duration,
    pub(super) mark: String,
}

/// What the supervisor tells the tuner, one line of JSON each.
#[derive(Serialize, Deserialize)]
pub(super) enum Word {
    Greeting(String),
    Running { pid: u32 },
    Refused { step: Step, errno: i32 },
    Ended(Ended),
}

/// Where starting the command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    WorkingDir,
    Execute,
}

pub(super) fn say(socket: &mut UnixStream, words: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(words)?;
    line.push(b'\n');
    socket.write_all(&line)
}

pub(super) fn hear(words: &mut BufReader<UnixStream>) -> io::Result<Word> {
    let mut line = String::new();
    if words.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

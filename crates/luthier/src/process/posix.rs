//! What supervision needs from a Unix that is neither Linux nor macOS: only what POSIX has, which is the command's
//! process group. What leaves the group is not found, memory is not measured, and other processes are not known.
#![allow(unsafe_code)]

use std::io;
use std::path::PathBuf;

pub(super) const SUPERVISOR_NAME: &str = "trial-guard";
/// Whether this system tells which processes run.
pub(super) const CAN_LIST: bool = false;

/// One process of a command.
pub(super) struct Member {
    pub(super) pid: i32,
    /// Its process group.
    pub(super) group: i32,
    /// It has ended and only waits to be waited for.
    pub(super) zombie: bool,
}

/// The command's process group, which stands for all that is in it.
pub(super) struct Tree {
    command: i32,
}

impl Tree {
    pub(super) fn below_this_process(command: i32) -> Self {
        Self { command }
    }

    /// Whether [`members`](Self::members) can see processes at all.
    #[expect(clippy::unused_self, reason = "the same call on every system")]
    pub(super) fn lists_processes(&self) -> bool {
        false
    }

    /// The command as the one known member, while its group has any.
    pub(super) fn members(&mut self) -> Vec<Member> {
        // SAFETY: signal 0 only asks whether there is a receiver.
        let alive = unsafe { libc::kill(-self.command, 0) } == 0;
        if alive {
            vec![Member { pid: self.command, group: self.command, zombie: false }]
        } else {
            Vec::new()
        }
    }
}

/// Nothing to prepare in POSIX.
pub(super) fn prepare_supervisor() {}

/// POSIX has no death signal.
#[expect(clippy::unnecessary_wraps, reason = "the same call on every system")]
pub(super) fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Unknown, given as nothing.
pub(super) fn memory(_members: &[Member], _limit: Option<u64>) -> u64 {
    0
}

/// The largest resident set of the process, or of a child it waited for, in bytes.
pub(super) fn peak_of(usage: &libc::rusage) -> u64 {
    usage.ru_maxrss as u64 * 1024
}

/// Unknown, except that this process has a start.
pub(super) fn start_time(_pid: u32) -> Option<u64> {
    None
}

/// Always possible, since nothing is known.
pub(super) fn is_hidden(_pid: u32) -> bool {
    true
}

pub(super) fn host() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is live and its length is given; the last byte stays zero.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

pub(super) fn boot() -> String {
    String::new()
}

pub(super) fn this_executable() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Kills the command's process group.
pub(super) fn kill_marked(_variable: &str, _mark: &str, session: u32) -> (u32, u32) {
    // SAFETY: `kill` touches no memory of ours.
    let killed = unsafe { libc::kill(-(session as i32), libc::SIGKILL) } == 0;
    (u32::from(killed), 0)
}

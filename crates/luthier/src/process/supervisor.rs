//! The way into the supervisor process: what a program that launches commands has to call first.

use std::sync::atomic::{AtomicBool, Ordering};

/// The first argument that turns an executable into a supervisor. Not for users to type.
pub const HIDDEN_ARGUMENT: &str = "__supervise";

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Turns this process into a supervisor if it was started as one, and then never returns; does nothing otherwise.
///
/// To be called first in `main`, before any thread is started and any file opened. A program that launches commands
/// without ever calling this gets [`LaunchError::NoSupervisor`](super::LaunchError::NoSupervisor), unless it names
/// another executable in [`Launch::supervisor`](super::Launch::supervisor).
pub fn run_if_asked() {
    INSTALLED.store(true, Ordering::Relaxed);
    #[cfg(unix)]
    if std::env::args_os().nth(1).is_some_and(|argument| argument == HIDDEN_ARGUMENT) {
        std::process::exit(super::guard::supervise());
    }
}

#[cfg(unix)]
pub(super) fn is_installed() -> bool {
    INSTALLED.load(Ordering::Relaxed)
}

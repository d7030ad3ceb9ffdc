//! Ctrl-C and SIGTERM: once finishes what is running, twice stops now, and once more ends the process itself.

use std::process::exit;

use anyhow::Context;
use luthier::executor::Stop;

/// The exit status of a run that was stopped.
pub(crate) const STOPPED: u8 = 130;

/// Listens from now on; once in a process.
///
/// A process that was asked twice may still be inside one long decision. The log is whole at any moment, so that a third signal may end it
/// there; what it ran is then given back as after a crash.
pub(crate) fn listen(stop: &Stop) -> anyhow::Result<()> {
    let stop = stop.clone();
    let heard = move || {
        if stop.is_now() {
            eprintln!("ended at once; the same command goes on");
            exit(STOPPED.into());
        }
        stop.harder();
    };
    ctrlc::set_handler(heard).context("cannot listen for Ctrl-C")
}

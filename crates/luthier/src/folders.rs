//! Where trials keep their files.

use std::path::{Path, PathBuf};

use luthier_core::event::Work;

/// The folder of a piece of work under that of a study's trials: `00007`, of other replicates than the first
/// `00007/replicate-2`.
pub fn of_work(trials: &Path, work: Work) -> PathBuf {
    let trial = trials.join(format!("{:05}", work.trial));
    if work.replicate == 0 { trial } else { trial.join(format!("replicate-{}", work.replicate)) }
}

/// What a trial saves to go on from, within its folder.
pub fn checkpoint_in(folder: &Path) -> PathBuf {
    folder.join("checkpoint")
}

/// The same of a piece of work under the folder of a study's trials.
pub fn checkpoint_of(trials: &Path, work: Work) -> PathBuf {
    checkpoint_in(&of_work(trials, work))
}

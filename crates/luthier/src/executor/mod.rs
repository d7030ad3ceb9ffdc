//! Who calls the objective: workers in threads of this process, fed by one session; or nobody, in a simulation.

mod replay;
mod retention;
pub mod simulated;
mod threads;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use luthier_core::engine::Done;
use luthier_core::event::Work;
use luthier_core::study::Study;

pub use replay::{Replay, Report};
pub use threads::run;

/// How to run a study.
#[derive(Clone, Debug)]
pub struct Options {
    /// Workers, at least 1; each evaluates as many trials at a time as the objective has slots, mostly one.
    pub workers: usize,
    /// Where trials keep their files: one folder each, named by number.
    pub folder: PathBuf,
    /// Stop asking for trials after this many seconds of wall-clock time.
    pub seconds: Option<f64>,
    /// Stop asking after this many trials have been finished by this run.
    pub trials: Option<u64>,
    /// How to stop the run from outside.
    pub stop: Stop,
    /// Which trials keep their checkpoints.
    pub keep: Keep,
    /// Bytes of checkpoints, with those kept for trials that go on from others, beyond which those are removed that are missed
    /// least: copies first, then what trials might go back to, what complete members of a population have for others, and at last
    /// what paused trials go on from; each time of those that came least far first, of these the worst. Whoever is resumed all the
    /// same begins anew, and what another goes on from is trained again along its schedule. Those of the best trial, with several
    /// metrics of all that no other beats, are never removed.
    pub checkpoint_quota: Option<u64>,
}

impl Options {
    /// One worker, files under `folder`, no limit but the study's own.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            workers: 1,
            folder: folder.into(),
            seconds: None,
            trials: None,
            stop: Stop::default(),
            keep: Keep::default(),
            checkpoint_quota: None,
        }
    }
}

/// Which finished trials keep their checkpoints. Unfinished ones do as far as the quota allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Only the best one; with several metrics all that no other beats.
    #[default]
    Best,
    /// All.
    All,
}

/// Stops a run from another thread or a signal handler.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Finish what is running, start nothing more.
    pub fn gently(&self) {
        self.0.fetch_max(1, Ordering::SeqCst);
    }

    /// End what is running now; it continues when the study does.
    pub fn now(&self) {
        self.0.fetch_max(2, Ordering::SeqCst);
    }

    /// One step further: first gently, then now.
    pub fn harder(&self) {
        if self.is_asked() { self.now() } else { self.gently() }
    }

    /// Whether any stop was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= 1
    }

    /// Whether an immediate stop was asked for.
    pub fn is_now(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= 2
    }
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The study has nothing more to start.
    Done(Done),
    /// Somebody stopped it.
    Stopped,
    /// Its own seconds or trials were used up.
    Limit,
    /// A trial could not be started, and not by fault of its params: a full disk, a program that is not there. It was given
    /// back and is the first to be run when that is mended; what ran beside it was finished.
    NotStarted {
        /// The trial's number.
        trial: u32,
        /// Why.
        problem: Arc<str>,
    },
}

/// Something a display may want to know.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// A worker took this work.
    Started(Work),
    /// It reported.
    Reported(Work),
    /// It is over or paused.
    Ended(Work),
    /// It was taken over by another process, and what this one found out does not count.
    Gone(Work),
    /// Nothing happened for a moment.
    Idle,
}

/// Watches a run: is called after every change with the study as it is then.
pub type Observer<'a> = dyn FnMut(&Study, Moment) + 'a;

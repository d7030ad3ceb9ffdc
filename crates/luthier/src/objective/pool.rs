//! Many trials in one call: what an objective takes them from, and how their time is shared. Who runs next, and when,
//! is decided elsewhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Running;

/// Where an objective that evaluates many trials at once takes them from: up to [`Pool::slots`] run together, and the
/// slot of one that has finished is refilled.
///
/// Each trial is reported to, paused, stopped, interrupted and finished on its own. A slot is free again once its
/// trial is [finished](Running::finish). A trial that is dropped instead fails.
pub struct Pool<'a> {
    intake: &'a mut dyn Intake,
    slots: usize,
}

/// The answer to a request for another trial.
#[allow(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub enum Next<'a> {
    /// Evaluate this one.
    Trial(Running<'a>),
    /// Nothing now: the slots are taken, or more depends on what the trials that run will report.
    Later,
    /// Nothing more in this run: it was stopped, it has come to a limit, or the study is done.
    Over,
}

/// Who hands out trials to a [`Pool`].
pub trait Intake {
    /// The next trial, if there is one. All that has been said about earlier ones has been heard before.
    fn next(&mut self) -> Next<'static>;
}

impl<'a> Pool<'a> {
    /// A pool that is fed by `intake`, which never has more than `slots` unfinished trials handed out.
    pub fn new(intake: &'a mut dyn Intake, slots: usize) -> Self {
        Self { intake, slots: slots.max(1) }
    }

    /// How many trials can run at once, at least 1.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Another trial for a free slot. Does not wait for one that may come later, only until those which have been
    /// finished are written down; so the trial that takes the slot of one just finished is there at once.
    ///
    /// Trials are started and claimed as soon as a slot is free, so refill soon: what waits here waits for this worker.
    pub fn refill(&mut self) -> Next<'a> {
        self.intake.next()
    }
}

/// The time of one worker, shared equally by the trials that run on it: while there are k of them, a second costs each
/// 1/k. So the seconds of all trials add up to those that the worker was busy, however many it evaluates at once.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<Share>>);

#[derive(Default)]
struct Share {
    trials: u32,
    /// Seconds of a trial that has run since the beginning.
    seconds: f64,
    at: Option<Instant>,
}

impl Clock {
    /// One more trial runs from now on.
    pub(super) fn enter(&self) {
        self.now(|share| share.trials += 1);
    }

    /// One of the trials runs no longer.
    pub(super) fn leave(&self) {
        self.now(|share| share.trials = share.trials.saturating_sub(1));
    }

    /// Seconds of a trial that has run since the beginning.
    pub(super) fn seconds(&self) -> f64 {
        self.now(|share| share.seconds)
    }

    fn now<R>(&self, then: impl FnOnce(&mut Share) -> R) -> R {
        let mut share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        share.advance(Instant::now());
        then(&mut share)
    }
}

impl Share {
    fn advance(&mut self, now: Instant) {
        if let Some(at) = self.at.replace(now).filter(|_| self.trials > 0) {
            self.seconds += now.duration_since(at).as_secs_f64() / f64::from(self.trials);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_seconds_of_trials_that_run_together_add_up_to_those_of_their_worker() {
        let mut share = Share::default();
        let begun = Instant::now();
        let mut read_at = |second: u64, trials: u32| {
            share.advance(begun + Duration::from_secs(second));
            share.trials = trials;
            share.seconds
        };
        let first = read_at(0, 1);
        let second = read_at(10, 2);
        let both = read_at(14, 0);
        assert_eq!([both - first, both - second], [12.0, 2.0]);
        assert_eq!(read_at(99, 1), both, "nobody is charged for an idle worker");
    }

    #[test]
    fn a_running_trial_may_be_moved_to_another_thread() {
        fn check<T: Send>() {}
        check::<Running<'static>>();
    }
}

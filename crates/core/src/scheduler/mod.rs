//! Who spends budget: what runs next and how far, and what a running trial does now.
//!
//! To add one: write a file with an `ENTRY`, and name it in [`SCHEDULERS`]. A pruner is a scheduler that only judges.

mod run_all;

use std::sync::Arc;

use crate::event::{Decision, Work};
use crate::memo::Memo;
use crate::registry::Entry;
use crate::rng::Rng;
use crate::study::Study;

/// Every scheduler there is.
pub static SCHEDULERS: &[Entry<dyn Scheduler>] = &[run_all::ENTRY];

/// What runs next.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// A new trial, up to this step; none means to its end.
    Start {
        /// The first budget.
        budget: Option<u64>,
    },
    /// Paused work goes on.
    Resume {
        /// Which.
        work: Work,
        /// Up to this step; none means to its end.
        budget: Option<u64>,
    },
    /// Nothing now; ask again when something running has reported.
    Wait,
    /// Nothing any more: all that could be promoted has been.
    Done,
}

/// What a running piece of work does now, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What.
    pub decision: Decision,
    /// Why, in one line with the numbers that decided; empty for continuing.
    pub why: Arc<str>,
}

impl Verdict {
    /// Go on.
    pub fn go_on() -> Self {
        Self { decision: Decision::Continue, why: "".into() }
    }

    /// End for good, because of `why`.
    pub fn stop(why: impl Into<Arc<str>>) -> Self {
        Self { decision: Decision::Stop, why: why.into() }
    }
}

/// What the engine allows when it asks for an assignment.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Whether a new trial may be started within the study's limits.
    pub may_start: bool,
}

/// Gives budgets and verdicts.
///
/// The same study and stream give the same answers, whatever the memo holds.
pub trait Scheduler: Send + Sync {
    /// What runs next. Without leave to start a trial, only paused work may be resumed.
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, rng: &mut Rng) -> Assignment;

    /// What `work` does after its latest report, which the study already holds.
    fn judge(&self, study: &Study, work: Work, memo: &mut Memo, rng: &mut Rng) -> Verdict;

    /// What the study must declare for this scheduler to work; an error says what is missing.
    fn check(&self, _spec: &crate::spec::Spec) -> Result<(), String> {
        Ok(())
    }
}

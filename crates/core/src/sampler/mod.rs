//! Who proposes params. A sampler is a function of the study and a random stream; it holds configuration only.
//!
//! To add one: write a file with an `ENTRY`, and name it in [`SAMPLERS`]. Help, docs, contract tests and
//! benchmark rows follow from the entry.

pub mod adaptive_tpe;
pub mod auto;
pub mod bohb;
pub mod cma_es;
pub mod coarse_to_fine;
mod comparable;
pub mod dehb;
mod depths;
pub mod differential_evolution;
mod expectation;
pub mod forest;
mod genetic;
pub mod gp;
mod grid;
mod halton;
pub mod latin_hypercube;
mod manual;
mod modelled;
pub mod nelder_mead;
pub mod nsga2;
pub mod nsga3;
mod population;
pub mod priorband;
mod random;
pub mod regularized_evolution;
mod sequence;
mod sobol;
pub mod tpe;
pub mod variation;

use crate::event::Choice;
use crate::memo::Memo;
use crate::registry::Entry;
use crate::rng::Rng;
use crate::space::Point;
use crate::spec::Spec;
use crate::study::Study;

/// Every sampler there is.
pub static SAMPLERS: &[Entry<dyn Sampler>] = &[
    auto::ENTRY,
    tpe::ENTRY,
    adaptive_tpe::ENTRY,
    gp::ENTRY,
    forest::ENTRY,
    cma_es::ENTRY,
    nelder_mead::ENTRY,
    random::ENTRY,
    sobol::ENTRY,
    halton::ENTRY,
    latin_hypercube::ENTRY,
    coarse_to_fine::ENTRY,
    differential_evolution::ENTRY,
    regularized_evolution::ENTRY,
    nsga2::ENTRY,
    nsga3::ENTRY,
    bohb::ENTRY,
    dehb::ENTRY,
    priorband::ENTRY,
    grid::ENTRY,
    manual::ENTRY,
];

/// Points that are drawn for one proposal at most.
const MOST_CANDIDATES: usize = 1_000_000;

/// Members of a population at most.
const MOST_MEMBERS: usize = 100_000;

/// For which trial a proposal is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The number the trial will have.
    pub trial: u32,
    /// How often the engine has asked for this trial before, because the proposal was already tried or not allowed.
    pub draw: u64,
    /// How far the trial may go at first; none means to its end.
    pub budget: Option<u64>,
}

/// A sampler's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposal {
    /// Try this.
    Point(Point),
    /// Try this; one of several arms chose it.
    Chosen(Point, Choice),
    /// Nothing is left to try.
    Exhausted,
}

impl Proposal {
    /// The point, whoever chose it.
    pub fn point(self) -> Option<Point> {
        match self {
            Self::Point(point) | Self::Chosen(point, _) => Some(point),
            Self::Exhausted => None,
        }
    }
}

/// What to say about a sampler that looks at the first of several metrics only.
fn first_metric_only(name: &str, spec: &Spec) -> Option<String> {
    let first = spec.metrics.objectives.first()?;
    let other = spec.metrics.objectives.get(1)?;
    Some(format!(
        "{name} looks at {} only, not at {}; auto, gp, tpe, forest, nsga2 and nsga3 look at all metrics",
        first.name, other.name
    ))
}

/// What to say about a sampler that learns from trials stopped on the way, where none is.
fn no_rungs(name: &str, spec: &Spec) -> Option<String> {
    (*spec.policy.scheduler.name == *"run_all").then(|| {
        format!("{name} is made for a scheduler that stops trials on the way, such as hyperband; this study runs all to their end")
    })
}

/// Several cautions as one.
fn cautions(found: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let found: Vec<String> = found.into_iter().flatten().collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// Proposes params.
///
/// The same study, request and stream give the same proposal, whatever the memo holds. Trials whose `outside` flag
/// is set no longer fit the space and must be skipped.
pub trait Sampler: Send + Sync {
    /// A point for the next trial, active parameters set and inactive ones NaN.
    ///
    /// It may break a constraint or repeat a trial: the engine then asks again with another stream.
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal;

    /// What of the study this sampler cannot work with; an error says what to change.
    fn check(&self, _spec: &Spec) -> Result<(), String> {
        Ok(())
    }

    /// What users should know who have chosen it for this study, though it can be done, in one line.
    fn caution(&self, _spec: &Spec) -> Option<String> {
        None
    }

    /// What it would do for the next trial and why, in one line; none where its name says it all.
    fn explain(&self, _study: &Study, _memo: &mut Memo) -> Option<String> {
        None
    }

    /// Whether trial 0 should be the user's defaults, where there are any. Samplers with an order of their own say no.
    fn starts_with_defaults(&self) -> bool {
        true
    }

    /// Whether the engine should ask again when a point of a discrete space has been tried.
    fn avoids_repeats(&self) -> bool {
        true
    }

    /// Whether trials come only from the queue, so that an empty queue means waiting rather than the end.
    fn waits_for_queue(&self) -> bool {
        false
    }
}

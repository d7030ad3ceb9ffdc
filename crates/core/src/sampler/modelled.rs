//! What samplers with a surrogate share: which trials say something, when there are enough, and which of them are the best.
//!
//! The surrogates themselves, and what is maximised over them, differ from sampler to sampler and are not here.

use super::comparable::{Comparable, comparable_losses};
use super::sequence::Place;
use crate::acquisition::Acquisition;
use crate::acquisition::search::Search;
use crate::coverage::Coverage;
use crate::observation::{Observation, Observations, Standing};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;

/// The fold of a study that proposals need, whatever the surrogate.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) observations: Observations,
    pub(super) coverage: Coverage,
    pub(super) place: Place,
}

impl Seen {
    /// Takes in what is new. False if it had to begin anew, so that no model of earlier rows holds.
    pub(super) fn advance(&mut self, study: &Study) -> bool {
        let holds = self.observations.advance(study);
        if !holds {
            self.coverage = Coverage::default();
            self.place = Place::default();
        }
        self.coverage.advance(study);
        holds
    }

    /// Whether `wanted` trials have a loss; half as many do if the others failed.
    pub(super) fn suffices(&self, wanted: usize) -> bool {
        let rows = self.observations.stopped();
        let with_loss = rows.iter().filter(|row| speaks(row)).count();
        let failed = rows.iter().filter(|row| row.standing == Standing::Failed).count();
        with_loss >= wanted.max(1) || (with_loss >= 2 && with_loss + failed >= 2 * wanted)
    }
}

/// How many parameters have more than one value.
pub(super) fn free_parameters(space: &Space) -> usize {
    space.parameters().iter().filter(|p| !p.retired && !p.distribution.is_fixed()).count()
}

/// Whether a row has losses for the model.
pub(super) fn speaks(row: &Observation) -> bool {
    let stopped = match row.standing {
        Standing::Completed | Standing::Raced | Standing::Partial => true,
        Standing::Failed | Standing::Pending => false,
    };
    stopped && row.losses.iter().all(|loss| !loss.is_nan())
}

/// The comparable losses of the last of `rows`.
pub(super) fn latest_losses(study: &Study, rows: &[Observation]) -> Box<[Comparable]> {
    match rows.last() {
        Some(row) if row.standing == Standing::Partial => {
            comparable_losses(study, rows).pop().unwrap_or_default()
        }
        Some(row) => row.losses.iter().map(|&loss| Comparable { loss, error: 0.0 }).collect(),
        None => Box::default(),
    }
}

/// A feasible trial with its comparable losses.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) unit: Vec<f64>,
    pub(super) losses: Vec<f64>,
}

impl Known {
    /// The trial of a row with these comparable losses; none if it says nothing or breaks a constraint.
    pub(super) fn of(row: &Observation, losses: &[Comparable]) -> Option<Self> {
        if !speaks(row) || row.violation > 0.0 {
            return None;
        }
        let losses = losses.iter().map(|found| found.loss).collect();
        Some(Self { unit: row.unit.to_vec(), losses })
    }
}

/// Trials front by front.
pub(super) fn on_fronts(known: &[Known]) -> Vec<&Known> {
    let losses: Vec<&[f64]> = known.iter().map(|known| &*known.losses).collect();
    let ranks = crate::pareto::ranks(&losses);
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by_key(|k| (ranks[*k], *k));
    order.into_iter().map(|k| &known[k]).collect()
}

/// Refuses a factor on a search's effort that is none, or with which no search would end.
pub(super) fn check_effort(effort: f64) -> Result<(), String> {
    if effort > 0.0 && effort <= 100.0 {
        Ok(())
    } else {
        Err(format!("effort is above 0 and up to 100, not {effort}"))
    }
}

/// The best point that a search finds, if it finds any.
pub(super) fn best_found(search: &Search, acquisition: &dyn Acquisition, rng: &mut Rng) -> Option<Point> {
    search.maximise(acquisition, rng).into_iter().next().map(|found| found.candidate.point)
}

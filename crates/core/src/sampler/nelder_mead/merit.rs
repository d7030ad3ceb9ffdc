//! What trials cost a simplex, wherever they have stopped.
//!
//! A completed trial costs its loss. One that stopped on the way, for now or for good, is known by a loss that would have
//! fallen further, so it is compared at its own step: among trials that went further it takes the place that its loss has there, and
//! costs what trials in that place came to (as in `comparable`, which models use). Beyond the best and the worst of them it is
//! better or worse by as much as it was ahead or behind, so trials that stopped at the same step always keep their order.

use crate::halton::radical_inverse;
use crate::observation::{Observation, Standing, losses_so_far};
use crate::pareto::front;
pub(super) use crate::sampler::comparable::Ahead;
use crate::sampler::comparable::Ranks;
use crate::space::Point;
use crate::study::Study;

/// Costs beyond all losses: of trials whose loss is not known, that break constraints, that failed, and of forbidden points.
pub(super) const PARTIAL: f64 = 1e301;
const INFEASIBLE: f64 = 1e303;
const FAILED: f64 = 1e305;
pub(super) const FORBIDDEN: f64 = 1e306;
/// What a running vertex of a new simplex counts as.
pub(super) const UNKNOWN: f64 = 2e300;

/// How far a completed trial has come.
const WHOLE: u64 = u64::MAX;

/// Trials that one is compared with at most: the best of those that went further.
const MOST: usize = 128;

/// A trial that has stopped, as it was at its latest stop.
pub(super) struct Row {
    pub(super) trial: u32,
    pub(super) point: Point,
    /// None if the trial says nothing but that it failed.
    pub(super) observation: Option<Observation>,
}

impl Row {
    pub(super) fn unit(&self) -> &[f64] {
        self.observation.as_ref().map_or(&[], |row| &row.unit)
    }
}

/// What rows cost in some direction.
#[derive(Clone, Copy)]
pub(super) struct Merits<'a> {
    pub(super) study: &'a Study,
    pub(super) rows: &'a [Row],
    pub(super) aim: &'a Aim,
}

/// Trials that others are compared with, and what they cost, the deepest first.
#[derive(Default)]
pub(super) struct Scale {
    known: Vec<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    row: usize,
    depth: u64,
    cost: f64,
}

impl Merits<'_> {
    /// What a row costs beside those of `scale`.
    pub(super) fn cost(&self, scale: &Scale, row: usize) -> f64 {
        let Some(depth) = self.depth(row) else { return self.cost_beyond(row) };
        // Nobody there went further than the deepest.
        let step = scale.known.first().map_or(depth, |deepest| depth.min(deepest.depth));
        self.cost_at(step, row, &scale.known, Ahead::Stays)
    }

    /// The scale that some rows make; those without a loss are left out.
    pub(super) fn scale(&self, rows: impl IntoIterator<Item = usize>, ahead: Ahead) -> Scale {
        let with_depth = |row| Some(Mark { row, depth: self.depth(row)?, cost: f64::NAN });
        let mut known: Vec<Mark> = rows.into_iter().filter_map(with_depth).collect();
        known.sort_by_key(|mark| (std::cmp::Reverse(mark.depth), mark.row));
        let mut at = 0;
        while at < known.len() {
            let (deeper, rest) = known.split_at_mut(at);
            let depth = rest[0].depth;
            let count = rest.iter().take_while(|mark| mark.depth == depth).count();
            let mut best = deeper.to_vec();
            if best.len() > MOST {
                best.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.row.cmp(&b.row)));
                best.truncate(MOST);
            }
            let ranks = self.ranks(depth, &best);
            for mark in &mut rest[..count] {
                mark.cost = ranks.end_of(self.loss(mark.row), ahead);
            }
            at += count;
        }
        Scale { known }
    }

    /// Rows by what they cost on one scale; of equal ones those that went further first.
    pub(super) fn ranked(&self, rows: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut known = self.scale(rows, Ahead::IsLost).known;
        known.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        known.into_iter().map(|mark| mark.row).collect()
    }

    fn cost_at(&self, step: u64, row: usize, known: &[Mark], ahead: Ahead) -> f64 {
        if step == WHOLE {
            return self.loss(row);
        }
        self.ranks(step, known).end_of(self.loss_at(row, step), ahead)
    }

    /// What those that came to `step` had there and what they cost.
    fn ranks(&self, step: u64, known: &[Mark]) -> Ranks {
        let there = known.iter().filter(|mark| mark.depth >= step);
        Ranks::of(there.map(|mark| (self.loss_at(mark.row, step), mark.cost)))
    }

    /// How far a row came; none if it has no loss that compares with others.
    fn depth(&self, row: usize) -> Option<u64> {
        let seen = self.rows[row].observation.as_ref().filter(|seen| seen.violation <= 0.0)?;
        match seen.standing {
            Standing::Completed | Standing::Raced => Some(WHOLE),
            Standing::Partial | Standing::Pending => {
                (!self.aim.loss(&seen.losses).is_nan()).then_some(seen.step)
            }
            Standing::Failed => None,
        }
    }

    fn cost_beyond(&self, row: usize) -> f64 {
        let squashed = |x: f64| x / (1.0 + x);
        match &self.rows[row].observation {
            Some(seen) if seen.standing != Standing::Failed => {
                if seen.violation > 0.0 {
                    INFEASIBLE * (1.0 + squashed(seen.violation.min(1e300)))
                } else {
                    PARTIAL * (1.0 + 1.0 / (1.0 + seen.step as f64))
                }
            }
            _ => FAILED,
        }
    }

    /// A row's loss where it stopped.
    fn loss(&self, row: usize) -> f64 {
        let seen = self.rows[row].observation.as_ref();
        seen.map_or(f64::NAN, |seen| self.aim.loss(&seen.losses).clamp(-1e300, 1e300))
    }

    /// Its loss at a step that it came to; where its curve does not say, where it stopped.
    fn loss_at(&self, row: usize, step: u64) -> f64 {
        if self.depth(row).is_some_and(|depth| depth > step) {
            let trial = &self.study.trials()[self.rows[row].trial as usize];
            let then = self.aim.loss(&losses_so_far(self.study, trial, step));
            if !then.is_nan() {
                return then.clamp(-1e300, 1e300);
            }
        }
        self.loss(row)
    }
}

/// What a simplex walks down: the loss, or one number made of several.
#[derive(Default)]
pub(super) struct Aim {
    /// For each of several losses, its least value on the front, its range there, and its weight; nothing for one loss.
    parts: Vec<Part>,
}

struct Part {
    least: f64,
    range: f64,
    weight: f64,
}

/// Weight of the sum of all losses, so that what is better in one and equal in the worst is better.
const AUGMENTED: f64 = 0.05;

impl Aim {
    /// The direction of simplex number `simplex`, given all rows so far.
    pub(super) fn of(rows: &[Row], objectives: usize, simplex: usize) -> Self {
        if objectives < 2 {
            return Self::default();
        }
        let seen = || rows.iter().filter_map(|row| row.observation.as_ref()).filter(|row| has_losses(row));
        let mut losses: Vec<&[f64]> = seen().filter(|row| is_whole(row)).map(|row| &*row.losses).collect();
        if losses.len() < 2 {
            losses = seen().map(|row| &*row.losses).collect();
        }
        let front: Vec<&[f64]> = front(&losses).into_iter().map(|k| losses[k]).collect();
        // Sorted even coordinates cut the unit into weights that are even over the simplex of all weights.
        let mut cuts: Vec<f64> =
            (1..objectives).map(|k| radical_inverse(k - 1, simplex as u32 + 1)).collect();
        cuts.extend([0.0, 1.0]);
        cuts.sort_by(f64::total_cmp);
        let part = |k: usize| {
            let losses = || front.iter().map(|losses| losses[k]);
            let least = losses().fold(f64::INFINITY, f64::min);
            let range = losses().fold(f64::NEG_INFINITY, f64::max) - least;
            let weight = cuts[k + 1] - cuts[k];
            let is_known = range > 0.0 && range.is_finite();
            Part {
                least: if least.is_finite() { least } else { 0.0 },
                range: if is_known { range } else { 1.0 },
                weight,
            }
        };
        Self { parts: (0..objectives).map(part).collect() }
    }

    /// NaN where a loss is unknown.
    fn loss(&self, losses: &[f64]) -> f64 {
        if self.parts.is_empty() {
            return losses.first().copied().unwrap_or(f64::NAN);
        }
        let scaled = |(part, loss): (&Part, &f64)| part.weight * (loss - part.least) / part.range;
        let scaled: Vec<f64> = self.parts.iter().zip(losses).map(scaled).collect();
        let sum: f64 = scaled.iter().sum();
        if sum.is_nan() {
            sum
        } else {
            scaled.into_iter().fold(f64::NEG_INFINITY, f64::max) + AUGMENTED * sum
        }
    }
}

fn is_whole(row: &Observation) -> bool {
    matches!(row.standing, Standing::Completed | Standing::Raced)
}

fn has_losses(row: &Observation) -> bool {
    row.violation <= 0.0 && row.losses.iter().all(|loss| loss.is_finite())
}

//! Trials that take the points of a low-discrepancy sequence in order, without looking at any loss.
//!
//! Trials that a sampler chose are counted, whether they run, ended or failed, and trial `n` of those takes the `n`-th
//! point of the sequence that keeps the constraints: enqueued trials and defaults use up no point, and parallel workers
//! never get the same one. Where a point repeats a trial of a discrete space, or where none of 64 points in a row is
//! allowed, an independent draw replaces it.
//!
//! Samplers with a Gaussian process begin with such points, too, and may want the first of them in the inner part of the
//! ranges ([`Reach`]).

use super::{Proposal, Request};
use crate::event::Origin;
use crate::memo::Memo;
use crate::rng::{Purpose, Rng};
use crate::space::Point;
use crate::study::Study;

/// A sequence of points in the unit cube: coordinate (`dimension`, `index`) scrambled by the dimension's key.
pub(super) type Sequence = fn(dimension: usize, index: u32, key: u64) -> f64;

/// Points of the sequence that are looked at for one trial before independent draws replace them.
const LOOKED_AT: u32 = 64;

/// How far from the middle of the ranges the points of a sequence lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// Up to the ends.
    #[default]
    Whole,
    /// The first so many points keep to the inner [`INNER`] of the ranges of numbers without a prior, the others do not.
    ///
    /// In a cube of many dimensions nearly every point lies near some end, and there a Gaussian process learns least from it:
    /// half of its neighbours do not exist. What lies further out the model proposes itself, where it promises more. The
    /// share was chosen on the development half of `benchmarks/suite`.
    Inner(u32),
}

impl Reach {
    /// What serves the first `points` of a sampler with a Gaussian process: the inner part, but the whole where the few points that
    /// are allowed may lie at an end, and where trials are compared by their first steps, which a broad choice of trials survives
    /// better.
    pub(super) fn of_first(points: usize, study: &Study) -> Self {
        if study.metrics().constraints.is_empty() && study.spec().max_budget.is_none() {
            Self::Inner(u32::try_from(points).unwrap_or(u32::MAX))
        } else {
            Self::Whole
        }
    }
}

/// The share of a range in which inner points lie, around its middle.
const INNER: f64 = 0.6;

/// The proposal of a sampler whose trials are the points of `sequence`.
pub(super) fn propose(
    sequence: Sequence,
    study: &Study,
    request: &Request,
    memo: &mut Memo,
    rng: &mut Rng,
) -> Proposal {
    Proposal::Point(memo.get::<Place>().propose(sequence, Reach::Whole, study, request, rng))
}

/// Point `index` of `sequence` in the study's space, pushed through the priors.
fn point(sequence: Sequence, reach: Reach, study: &Study, index: u32) -> Point {
    let mut coordinates = coordinates(sequence, study, index);
    if matches!(reach, Reach::Inner(first) if index < first) {
        for (coordinate, parameter) in coordinates.iter_mut().zip(study.space().parameters()) {
            if !parameter.distribution.is_categorical() && parameter.prior.is_none() {
                *coordinate = 0.5 + INNER * (*coordinate - 0.5);
            }
        }
    }
    study.space().draw(&coordinates)
}

/// Point `index` of `sequence` in the unit cube of the study's space.
pub(super) fn coordinates(sequence: Sequence, study: &Study, index: u32) -> Vec<f64> {
    let seed = study.spec().seed;
    let key = |k: usize| Rng::stream(seed, k as u64, Purpose::Study, 0).bits();
    (0..study.space().len()).map(|k| sequence(k, index, key(k))).collect()
}

/// The first allowed point from index `from` on, with its index; the last one looked at if none is.
fn search(sequence: Sequence, reach: Reach, study: &Study, from: u32) -> (u32, Point) {
    let (mut index, mut found) = (from, point(sequence, reach, study, from));
    while !study.space().allows(&found.0) && index + 1 < from + LOOKED_AT {
        index += 1;
        found = point(sequence, reach, study, index);
    }
    (index, found)
}

/// The memo: where in the sequence the next trial begins to look. Model-based samplers start with it, too.
#[derive(Default)]
pub(super) struct Place {
    space_version: u32,
    reach: Reach,
    seen: usize,
    next: u32,
}

impl Place {
    /// The next point of the sequence, or an independent draw where that one was refused.
    pub(super) fn propose(
        &mut self,
        sequence: Sequence,
        reach: Reach,
        study: &Study,
        request: &Request,
        rng: &mut Rng,
    ) -> Point {
        let space = study.space();
        if request.draw > 0 {
            return space.draw(&rng.uniforms(space.len()));
        }
        let next = self.after(sequence, reach, study);
        search(sequence, reach, study, next).1
    }

    fn after(&mut self, sequence: Sequence, reach: Reach, study: &Study) -> u32 {
        if (self.space_version, self.reach) != (study.space_version(), reach) {
            *self = Self { space_version: study.space_version(), reach, ..Self::default() };
        }
        let unconstrained = study.space().constraints().is_empty();
        for trial in &study.trials()[self.seen..] {
            match trial.origin {
                Origin::Sampler | Origin::Fallback if unconstrained => self.next += 1,
                Origin::Sampler | Origin::Fallback => {
                    self.next = search(sequence, reach, study, self.next).0 + 1
                }
                Origin::Default | Origin::Enqueued | Origin::Scheduler | Origin::Steered => {}
            }
        }
        self.seen = study.trials().len();
        self.next
    }
}

//! Trials that take the points of a low-discrepancy sequence in order, without looking at any loss.
//!
//! Trials that a sampler chose are counted, whether they run, ended or failed, and trial `n` of those takes the `n`-th
//! point of the sequence that keeps the constraints: enqueued trials and defaults use up no point, and parallel workers
//! never get the same one. Where a point repeats a trial of a discrete space, or where none of 64 points in a row is
//! allowed, an independent draw replaces it. Samplers with a model begin with such points, too.

use super::{Proposal, Request};
use crate::event::Origin;
use crate::memo::Memo;
use crate::rng::{Purpose, Rng};
use crate::space::{Parameter, Point};
use crate::study::Study;
use crate::{halton, sobol};

/// A sequence of points in the unit cube.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    /// Coordinate (`dimension`, `index`), scrambled by the dimension's key.
    coordinate: fn(dimension: usize, index: u32, key: u64) -> f64,
    /// Whether every other pair of points keeps to the inner [`INNER`] of the ranges.
    inner: bool,
}

pub(super) const HALTON: Sequence = Sequence { coordinate: halton::scrambled, inner: false };
pub(super) const SOBOL: Sequence = Sequence { coordinate: sobol::scrambled, inner: false };

/// Where samplers with a Gaussian process begin: Sobol points, of which every other pair keeps away from the ends of the ranges.
///
/// In a cube of many dimensions nearly every point lies near some end, where such a model learns least from it, because half of
/// its neighbours do not exist; and the best values are seldom there. Pairs, because the two points of a pair lie in different
/// halves of every range. The share was chosen on the development half of `benchmarks/suite`.
pub(super) const BEGINNING: Sequence = Sequence { coordinate: sobol::scrambled, inner: true };

/// The share of a range in which inner points lie, around its middle.
const INNER: f64 = 0.6;

impl Sequence {
    /// Point `index` in the unit cube of `parameters`. What has no order, and what has a prior to keep to, takes its whole range.
    fn unit(self, index: u32, parameters: &[Parameter], key: impl Fn(usize) -> u64) -> Vec<f64> {
        let inner = self.inner && index % 4 < 2;
        let place = |(k, parameter): (usize, &Parameter)| {
            let coordinate = (self.coordinate)(k, index, key(k));
            if inner && parameter.prior.is_none() && !parameter.distribution.is_categorical() {
                0.5 + INNER * (coordinate - 0.5)
            } else {
                coordinate
            }
        };
        parameters.iter().enumerate().map(place).collect()
    }
}

/// Points of the sequence that are looked at for one trial before independent draws replace them.
const LOOKED_AT: u32 = 64;

/// The proposal of a sampler whose trials are the points of `sequence`.
pub(super) fn propose(
    sequence: Sequence,
    study: &Study,
    request: &Request,
    memo: &mut Memo,
    rng: &mut Rng,
) -> Proposal {
    Proposal::Point(memo.get::<Place>().propose(sequence, study, request, rng))
}

/// Point `index` of `sequence` in the study's space, pushed through the priors.
fn point(sequence: Sequence, study: &Study, index: u32) -> Point {
    study.space().draw(&coordinates(sequence, study, index))
}

/// Point `index` of `sequence` in the unit cube of the study's space.
pub(super) fn coordinates(sequence: Sequence, study: &Study, index: u32) -> Vec<f64> {
    let seed = study.spec().seed;
    sequence
        .unit(index, study.space().parameters(), |k| Rng::stream(seed, k as u64, Purpose::Study, 0).bits())
}

/// The first allowed point from index `from` on, with its index; the last one looked at if none is.
fn search(sequence: Sequence, study: &Study, from: u32) -> (u32, Point) {
    let (mut index, mut found) = (from, point(sequence, study, from));
    while !study.space().allows(&found.0) && index + 1 < from + LOOKED_AT {
        index += 1;
        found = point(sequence, study, index);
    }
    (index, found)
}

/// The memo: where in the sequence the next trial begins to look. Model-based samplers start with it, too.
#[derive(Default)]
pub(super) struct Place {
    space_version: u32,
    seen: usize,
    next: u32,
}

impl Place {
    /// The next point of the sequence, or an independent draw where that one was refused.
    pub(super) fn propose(
        &mut self,
        sequence: Sequence,
        study: &Study,
        request: &Request,
        rng: &mut Rng,
    ) -> Point {
        let space = study.space();
        if request.draw > 0 {
            return space.draw(&rng.uniforms(space.len()));
        }
        let next = self.after(sequence, study);
        search(sequence, study, next).1
    }

    fn after(&mut self, sequence: Sequence, study: &Study) -> u32 {
        if self.space_version != study.space_version() {
            *self = Self { space_version: study.space_version(), ..Self::default() };
        }
        let unconstrained = study.space().constraints().is_empty();
        for trial in &study.trials()[self.seen..] {
            match trial.origin {
                Origin::Sampler | Origin::Fallback if unconstrained => self.next += 1,
                Origin::Sampler | Origin::Fallback => self.next = search(sequence, study, self.next).0 + 1,
                Origin::Default | Origin::Enqueued | Origin::Scheduler | Origin::Steered => {}
            }
        }
        self.seen = study.trials().len();
        self.next
    }
}

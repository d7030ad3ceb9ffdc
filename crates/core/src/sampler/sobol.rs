//! Scrambled Sobol points: even coverage of the space from the first trial on, without looking at any loss.
//!
//! Parameter `k` takes dimension `k` of the sequence; past the sequence's 1,024 dimensions, parameters are
//! drawn independently. Trials that a sampler chose are counted, whether they run, ended or failed, and trial `n` of
//! those takes the `n`-th point of the sequence that keeps the constraints: enqueued trials and defaults use up no
//! point, and parallel workers never get the same one. Where a point repeats a trial of a discrete
//! space, or where none of 64 points in a row is allowed, an independent draw replaces it.

use serde::{Deserialize, Serialize};

use super::{Proposal, Request, Sampler};
use crate::event::Origin;
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::{Purpose, Rng};
use crate::sobol::scrambled;
use crate::space::Point;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "sobol",
    summary: "scrambled Sobol points, which cover the space evenly",
    options: &[],
    build: |options| configure::<Sobol>(options).map(|(sobol, complete)| (Box::new(sobol) as _, complete)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sobol {}

/// Points of the sequence that are looked at for one trial before independent draws replace them.
const LOOKED_AT: u32 = 64;

impl Sampler for Sobol {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        Proposal::Point(memo.get::<Place>().propose(study, request, rng))
    }
}

/// The first allowed point from index `from` on, with its index; the last one looked at if none is.
fn search(study: &Study, from: u32) -> (u32, Point) {
    let (mut index, mut point) = (from, point(study, from));
    while !study.space().allows(&point.0) && index + 1 < from + LOOKED_AT {
        index += 1;
        point = self::point(study, index);
    }
    (index, point)
}

fn point(study: &Study, index: u32) -> Point {
    let (space, seed) = (study.space(), study.spec().seed);
    let key = |k: usize| Rng::stream(seed, k as u64, Purpose::Study, 0).bits();
    let cube: Vec<f64> = (0..space.len()).map(|k| scrambled(k, index, key(k))).collect();
    space.draw(&cube)
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
    pub(super) fn propose(&mut self, study: &Study, request: &Request, rng: &mut Rng) -> Point {
        if request.draw > 0 {
            return study.space().draw(&rng.uniforms(study.space().len()));
        }
        let next = self.after(study);
        search(study, next).1
    }

    fn after(&mut self, study: &Study) -> u32 {
        if self.space_version != study.space_version() {
            *self = Self { space_version: study.space_version(), ..Self::default() };
        }
        let unconstrained = study.space().constraints().is_empty();
        for trial in &study.trials()[self.seen..] {
            match trial.origin {
                Origin::Sampler | Origin::Fallback if unconstrained => self.next += 1,
                Origin::Sampler | Origin::Fallback => self.next = search(study, self.next).0 + 1,
                Origin::Default | Origin::Enqueued => {}
            }
        }
        self.seen = study.trials().len();
        self.next
    }
}

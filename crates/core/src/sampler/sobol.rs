//! Scrambled Sobol points: even coverage of the space from the first trial on, without looking at any loss.
//!
//! Parameter `k` takes dimension `k` of the sequence; past the sequence's 1,024 dimensions, parameters are
//! drawn independently. Trials that a sampler chose are counted, whether they run, ended or failed, and the next one
//! takes the point of that number: enqueued trials and defaults use up no point, and parallel workers never get the
//! same one. A point that breaks a constraint or repeats a trial of a discrete space is
//! replaced by the point of the same number in another scrambling.

use serde::{Deserialize, Serialize};

use super::{Proposal, Request, Sampler};
use crate::event::Origin;
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::{Purpose, Rng};
use crate::sobol::scrambled;
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

impl Sampler for Sobol {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, _: &mut Rng) -> Proposal {
        let (space, seed) = (study.space(), study.spec().seed);
        let index = memo.get::<Chosen>().count(study);
        let key = |k: usize| Rng::stream(seed, k as u64, Purpose::Study, request.draw).bits();
        let cube: Vec<f64> = (0..space.len()).map(|k| scrambled(k, index, key(k))).collect();
        Proposal::Point(space.draw(&cube))
    }
}

/// How many of the first `seen` trials a sampler chose.
#[derive(Default)]
struct Chosen {
    seen: usize,
    count: u32,
}

impl Chosen {
    fn count(&mut self, study: &Study) -> u32 {
        for trial in &study.trials()[self.seen..] {
            match trial.origin {
                Origin::Sampler | Origin::Fallback => self.count += 1,
                Origin::Default | Origin::Enqueued => {}
            }
        }
        self.seen = study.trials().len();
        self.count
    }
}

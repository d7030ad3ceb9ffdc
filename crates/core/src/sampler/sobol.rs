//! Scrambled Sobol points: even coverage of the space from the first trial on, without looking at any loss.
//!
//! Parameter `k` takes dimension `k` of the sequence; past the sequence's 1,024 dimensions, parameters are
//! drawn independently. Which trial takes which point is told in `sequence`.

use serde::{Deserialize, Serialize};

use super::sequence::{self, SOBOL};
use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::Rng;
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
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        sequence::propose(SOBOL, study, request, memo, rng)
    }
}

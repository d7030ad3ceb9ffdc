//! Scrambled Halton points: even coverage of the space in any number of trials, without looking at any loss.
//!
//! Parameter `k` takes dimension `k` of the sequence, whose base is the `k`-th prime; past 1,024 dimensions, parameters
//! are drawn independently. Unlike Sobol points they have no favourite counts such as powers of two; Sobol points are more
//! even where there are more than about ten parameters. Which trial takes which point is told in `sequence`.

use serde::{Deserialize, Serialize};

use super::sequence::{self, HALTON};
use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "halton",
    summary: "scrambled Halton points, which cover the space evenly in any number",
    options: &[],
    build: |options| configure::<Halton>(options).map(|(halton, complete)| (Box::new(halton) as _, complete)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Halton {}

impl Sampler for Halton {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        sequence::propose(HALTON, study, request, memo, rng)
    }
}

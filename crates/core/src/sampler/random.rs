//! Random search: every parameter drawn independently and evenly on its own scale, or from its prior
//! (Bergstra and Bengio 2012). Finite spaces are drawn without replacement, which the engine sees to.

use serde::{Deserialize, Serialize};

use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "random",
    summary: "independent draws on each parameter's scale, or from its prior",
    options: &[],
    build: |options| configure::<Random>(options).map(|(random, complete)| (Box::new(random) as _, complete)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Random {}

impl Sampler for Random {
    fn propose(&self, study: &Study, _: &Request, _: &mut Memo, rng: &mut Rng) -> Proposal {
        let space = study.space();
        Proposal::Point(space.draw(&rng.uniforms(space.len())))
    }
}

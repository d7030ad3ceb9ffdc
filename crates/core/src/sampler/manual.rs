//! Trials come from the queue only: params that a user enqueued, with values or ranges given by hand.
//!
//! It proposes nothing. What an enqueued trial leaves open takes its default, else the middle of its range.

use serde::{Deserialize, Serialize};

use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "manual",
    summary: "only trials that were enqueued",
    options: &[],
    build: |options| configure::<Manual>(options).map(|(manual, complete)| (Box::new(manual) as _, complete)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manual {}

impl Sampler for Manual {
    fn propose(&self, _: &Study, _: &Request, _: &mut Memo, _: &mut Rng) -> Proposal {
        Proposal::Exhausted
    }

    fn caution(&self, _: &Spec) -> Option<String> {
        Some("manual chooses no trials: those that are enqueued are run, and then it waits for more (`luthier enqueue`, or an enqueue in a program)".into())
    }

    fn starts_with_defaults(&self) -> bool {
        false
    }

    fn avoids_repeats(&self) -> bool {
        false
    }

    fn waits_for_queue(&self) -> bool {
        true
    }
}

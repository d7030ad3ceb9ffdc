//! Every trial runs to its end, those that another scheduler paused too.

use serde::{Deserialize, Serialize};

use super::{Allowance, Assignment, Scheduler, Verdict, run_to_end};
use crate::event::Work;
use crate::memo::Memo;
use crate::registry::{Entry, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "run_all",
    summary: "every trial runs to its end",
    options: &[],
    build: |options| configure::<RunAll>(options).map(|(all, complete)| (Box::new(all) as _, complete)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunAll {}

impl Scheduler for RunAll {
    fn assign(&self, study: &Study, allowance: Allowance, _: &mut Memo, _: &mut Rng) -> Assignment {
        match study.paused().first() {
            Some(&work) => Assignment::Resume { work, budget: None },
            None => run_to_end(study, allowance),
        }
    }

    fn only_judges(&self) -> bool {
        true
    }

    fn judge(&self, _: &Study, _: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        Verdict::go_on()
    }
}

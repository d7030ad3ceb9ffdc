//! A study in which everything happens: five workers on two engines, stopped and failing trials, vanishing workers, silent
//! ones, and, if wanted, a space that changes on the way.

use luthier_core::engine::{resolve, verify};
use luthier_core::event::{Event, SpaceEdit, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::space::{Parameter, Scale};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;

use crate::functions::{BRANCHES, float, int};
use crate::simulate::{Mishap, Moment, World, simulate};

/// The index of the parameter `dropout` of [`BRANCHES`], which is retired on the way where the space changes.
const DROPOUT: usize = 6;

/// What is done to the space on the way.
#[allow(dead_code, reason = "each test binary wants one")]
pub(crate) enum Changes {
    /// Nothing.
    None,
    /// One parameter is added, one gets a wider range, one is retired.
    Three,
}

/// Runs 120 trials by `sampler` and `scheduler`. Panics if an answer depends on a memo, or the log does not verify.
pub(crate) fn survived(sampler: Component, scheduler: &str, changes: &Changes) -> Study {
    let mut spec = Spec::new("s", (BRANCHES.space)(), Metrics::single("loss", Direction::Minimize));
    (spec.policy.sampler, spec.policy.scheduler) = (sampler, Component::named(scheduler));
    if scheduler == "asha" {
        spec.policy.scheduler = spec.policy.scheduler.with("mode", "promote");
    }
    (spec.seed, spec.max_budget, spec.limits.trials) = (5, Some(9), Some(120));
    spec.policy = resolve(&spec).unwrap();
    let value = |point: &[f64], moment: Moment| {
        let mut point = point.to_vec();
        if point[DROPOUT].is_nan() {
            point[DROPOUT] = 0.2;
        }
        (BRANCHES.regret)(&point) + 3.0 / moment.step as f64
    };
    let ticks = |work: Work| 1 + u64::from(work.trial * 7 % 5);
    let mishap = |moment: Moment| match (moment.work.trial * 13 + moment.attempt) % 23 {
        0 if moment.step == 2 => Some(Mishap::Fails),
        1 if moment.step == 3 && moment.attempt == 1 => Some(Mishap::Vanishes),
        2 => Some(Mishap::Silence),
        3 if moment.step == 4 => Some(Mishap::Completes),
        _ => None,
    };
    let wishes = match changes {
        Changes::None => vec![],
        Changes::Three => vec![
            (400, Event::SpaceChanged(SpaceEdit::Add(float("extra", 0.0, 1.0, Scale::Linear)))),
            (
                600,
                Event::SpaceChanged(SpaceEdit::Change(Parameter::new("layers", int(1, 12, Scale::Linear)))),
            ),
            (700, Event::SpaceChanged(SpaceEdit::Retire { name: "dropout".into() })),
        ],
    };
    let world =
        World { workers: 5, ticks: &ticks, mishap: &mishap, wishes, engines: 2, ..World::new(9, &value) };
    // It compares each answer with that of an engine without memos.
    let run = simulate(spec, world);
    assert!(run.study.trials().len() >= 100, "{scheduler}: {}", run.study.trials().len());
    assert_eq!(verify(&run.events).unwrap().disagreements, vec![], "{scheduler}");
    run.study
}

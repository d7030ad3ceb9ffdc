//! How much of a study is done, as far as that can be known: trials of those that are wanted; where trials train side by side and take each
//! other's places, steps.

use luthier::core::event::Work;
use luthier::core::study::Study;
use luthier::core::trial::{Trial, TrialState};

use crate::report::{Open, many, number, safe};

/// What is done of what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Headway {
    pub(crate) done: u64,
    pub(crate) of: u64,
    /// Whether steps are counted, and not trials.
    pub(crate) in_steps: bool,
}

impl Headway {
    /// None where nothing says how many trials are wanted.
    pub(crate) fn of(study: &Study, open: Open) -> Option<Self> {
        let limit = study.spec().limits.trials.filter(|limit| *limit > 0)?;
        Some(match study.spec().max_budget.filter(|_| is_population(study)) {
            Some(max) => Self::of_members(study, limit, max),
            None => Self { done: study.tally().finished() + open.paused, of: limit, in_steps: false },
        })
    }

    /// Those whose place another has taken, and those that failed, are no members; who has not begun will be one.
    fn of_members(study: &Study, limit: u64, max: u64) -> Self {
        let steps = |trial: &Trial| match trial.state() {
            TrialState::Completed => Some(max),
            TrialState::Waiting | TrialState::Running | TrialState::Paused => Some(trial.step().min(max)),
            TrialState::Pruned | TrialState::Replaced | TrialState::Cancelled | TrialState::Failed => None,
        };
        let members: Vec<u64> = study.trials().iter().filter_map(steps).collect();
        let all = members.len() as u64 + limit.saturating_sub(study.roots());
        Self { done: members.iter().sum(), of: all * max, in_steps: true }
    }

    /// `5/12`, or `40/240 epochs`.
    pub(crate) fn told(self, study: &Study) -> String {
        let of = if self.in_steps { many(self.of, &study.metrics().step) } else { self.of.to_string() };
        format!("{}/{of}", self.done)
    }
}

/// Whether the trials of a study are members of populations, which pause all the time until each has come to its end.
fn is_population(study: &Study) -> bool {
    study.spec().policy.scheduler.options.contains_key("population")
}

/// The best of those on their way, where none has completed: its value is that of a training which may go on.
pub(crate) fn best_so_far(study: &Study) -> Option<String> {
    if !study.spec().runs_once() {
        return None;
    }
    let open = study.paused().iter().chain(study.running());
    let open = open.filter_map(|work: &Work| study.trial(work.trial));
    let standing = open.filter_map(|trial| Some((trial, trial.curve_loss(study.metrics())?)));
    let (trial, _) = standing.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let values = study.curve_values(trial.piece(0)?, u64::MAX).ok()?;
    let metrics = study.metrics().objectives.iter();
    let told: Vec<String> = metrics
        .zip(values)
        .map(|(metric, value)| format!("{} {}", safe(&metric.name), number(value)))
        .collect();
    let (state, unit) = (trial.state().name(), safe(&study.metrics().step));
    Some(format!("{}  trial {}, {state} at {unit} {}", told.join(", "), trial.number, trial.step()))
}

#[cfg(test)]
mod tests {
    use luthier::core::metric::{Direction, Metrics};
    use luthier::core::space::Space;
    use luthier::core::spec::{Component, Spec};
    use luthier::executor::{Options, run};
    use luthier::log::MemoryLog;
    use luthier::objective::{Flow, closure};
    use luthier::session::Session;

    use super::*;

    /// What is seen of a study of six trials to step 12 whenever something has happened.
    fn seen<T>(scheduler: Component, look: impl Fn(&Study) -> T) -> Vec<T> {
        let space = Space::builder().float("x", 0.0..=1.0).build().expect("a space");
        let mut spec = Spec::new("test", space, Metrics::single("sum", Direction::Maximize));
        (spec.max_budget, spec.limits.trials) = (Some(12), Some(6));
        spec.policy.scheduler = scheduler;
        let objective = closure("sum", |running| {
            let (mut step, mut flow) = (running.step(), Flow::Continue);
            while step < running.budget().unwrap_or(12) && flow == Flow::Continue {
                step += 1;
                flow = running.report(step, &[("sum", step as f64 * running.float("x")?)]);
            }
            Ok(0.0)
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut session = Session::create(Box::new(MemoryLog::new()), spec).expect("a study");
        let mut all = Vec::new();
        run(&mut session, &objective, &Options::new(folder.path()), &mut |study, _| all.push(look(study)))
            .expect("a run");
        all
    }

    fn headway(study: &Study) -> Headway {
        Headway::of(study, Open::of(study)).expect("there is a limit")
    }

    #[test]
    fn members_that_pause_are_not_done() {
        let pbt = Component::named("pbt").with("population", 6).with("interval", 3).with("quantile", 0.5);
        for scheduler in [pbt.clone(), pbt.with("synchronous", true)] {
            let all = seen(scheduler, headway);
            assert!(all.iter().all(|now| now.in_steps && now.of == 72 && now.done <= 72), "{all:?}");
            assert!(all.windows(2).all(|pair| pair[0].done <= pair[1].done), "{all:?}");
            assert_eq!((all[0].done, all[all.len() - 1].done), (0, 72));
        }
    }

    #[test]
    fn trials_count_once_they_have_stopped() {
        let all = seen(Component::named("run_all"), headway);
        assert!(all.iter().all(|now| !now.in_steps && now.of == 6), "{all:?}");
        assert_eq!((all[0].done, all[all.len() - 1].done), (0, 6));
    }

    #[test]
    fn the_best_on_its_way_is_told_as_such_until_one_has_completed() {
        let pbt = Component::named("pbt").with("population", 6).with("interval", 3).with("synchronous", true);
        let all = seen(pbt, best_so_far);
        let told: Vec<&String> = all.iter().flatten().collect();
        assert!(
            told.iter().any(|text| text.starts_with("sum ") && text.ends_with(", paused at step 3")),
            "{told:?}"
        );
        assert_eq!(all.first(), Some(&None));
    }
}

//! The limits and the policy that a study file and the command line ask for together.

use luthier::core::registry::Entry;
use luthier::core::scheduler::SCHEDULERS;
use luthier::core::space::Space;
use luthier::core::spec::{Component, Convergence, Limits, PolicySpec};
use luthier::study_file::ObjectiveSpec;
use luthier_nn::Settings;

use super::arguments::Arguments;

pub(super) fn limits(base: &Limits, arguments: &Arguments) -> Limits {
    let converged = base.converged.or_else(|| arguments.until_converged.then(Convergence::default));
    Limits { trials: arguments.trials.or(base.trials), converged, ..*base }
}

pub(super) fn policy(base: &PolicySpec, arguments: &Arguments) -> PolicySpec {
    let pick = |name: &Option<String>, kept: &Component| match name {
        Some(name) if **name != *kept.name => Component::named(name),
        Some(_) | None => kept.clone(),
    };
    PolicySpec {
        version: base.version,
        sampler: pick(&arguments.sampler, &base.sampler),
        scheduler: pick(&arguments.scheduler, &base.scheduler),
    }
}

/// Where a scheduler changes params of trials that train and nobody says which, all that can change in a network.
pub(super) fn with_changes(mut policy: PolicySpec, objective: &ObjectiveSpec, space: &Space) -> PolicySpec {
    let scheduler = &mut policy.scheduler;
    let changes = |entry: &&Entry<_>| *entry.name == *scheduler.name;
    let entry = SCHEDULERS.iter().find(changes);
    let is_open = entry.is_some_and(|entry| entry.options.iter().any(|option| option.name == CHANGE))
        && scheduler.options.get(CHANGE).is_none_or(serde_json::Value::is_null);
    if let (true, ObjectiveSpec::Network(_)) = (is_open, objective) {
        let names = space.parameters().iter().map(|parameter| &parameter.name);
        let changeable = names.filter(|name| Settings::may_change(name).unwrap_or(true)).map(|name| &**name);
        let changeable: Vec<&str> = changeable.collect();
        if changeable.len() < space.len() {
            scheduler.options.insert(CHANGE.into(), changeable.into());
        }
    }
    policy
}

/// The option of a scheduler that names parameters which may change while a trial trains.
const CHANGE: &str = "change";

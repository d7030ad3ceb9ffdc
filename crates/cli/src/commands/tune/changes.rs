//! What the command line and the study file change in a study that is continued, and what they may not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use luthier::core::engine::resolve;
use luthier::core::event::SpaceEdit;
use luthier::core::space::{Parameter, Space, SpaceError};
use luthier::core::spec::{Limits, PolicySpec, Spec};
use luthier::core::study::{Study, edited};
use luthier::core::trial::Piece;
use luthier::session::{Session, SessionError, Turn};
use luthier::study_file::{ObjectiveSpec, StudyFile};
use serde_json::Value;

use super::arguments::Arguments;
use super::target::read;
use super::wanted::{limits, policy, with_changes};
use crate::described::{
    DESCRIPTION, Kind, check_unchanged, described, description, with_data, written_policy,
};
use crate::opening::{is_log, quoted, trials_of};
use crate::report;

/// Brings a study that is continued up to what the command line and the study file say now. Whatever forbids going on
/// is found before anything is written.
pub(super) fn prepare(
    session: &mut Session,
    objective: &ObjectiveSpec,
    base: &Path,
    arguments: &Arguments,
) -> anyhow::Result<Kind> {
    let file = if is_log(&arguments.file) { None } else { Some(read(&arguments.file, arguments)?) };
    let file = file.as_ref();
    let study = session.study();
    if let Some(file) = file {
        check_comparable(study, file, Path::new(&session.place()), arguments)?;
    }
    let changes = Changes::of(study, file, arguments)?;
    let policy = changes.policy.clone().unwrap_or_else(|| study.spec().policy.clone());
    let spec = Spec { space: changes.space.clone(), policy, ..study.spec().clone() };
    let kind = Kind::new(objective, file, &spec, base, arguments.workers)?;
    if !arguments.accept_changes && has_measured(study) {
        check_unchanged(described(study), objective, &kind)?;
    }
    let description = match file {
        Some(read) => description(read, &arguments.file, &kind)?,
        None => with_data(described(study), &kind),
    };
    if changes.is_none() && description == *described(study) {
        return Ok(kind);
    }
    let made = session.turn(|turn| {
        // Another process that continues the study at this moment may have made the same changes.
        let changes = Changes::of(turn.study(), file, arguments)?;
        changes.make(turn)?;
        if description != *described(turn.study()) {
            turn.note(None, DESCRIPTION, description)?;
        }
        Ok(changes)
    })?;
    made.tell();
    Ok(kind)
}

/// What the command line and the study file change in a study that is continued.
struct Changes {
    edits: Vec<SpaceEdit>,
    /// The space before them.
    before: Space,
    /// The space after the edits.
    space: Space,
    limits: Option<Limits>,
    policy: Option<PolicySpec>,
}

impl Changes {
    fn of(study: &Study, file: Option<&StudyFile>, arguments: &Arguments) -> Result<Self, SessionError> {
        let known = study.spec();
        let edits = file.map(|file| space_edits(study, &file.spec)).unwrap_or_default();
        let (edits, space) = in_order(study.space().clone(), edits)?;
        let limits = limits(file.map_or(&known.limits, |file| &file.spec.limits), arguments);
        let policy = policy(file.map_or(&known.policy, |file| current_policy(study, file)), arguments);
        let policy = match file {
            Some(file) => with_changes(policy, &file.objective, &space),
            None => policy,
        };
        let policy = resolve(&Spec { space: space.clone(), policy, ..known.clone() })?;
        let is_other = policy.sampler != known.policy.sampler || policy.scheduler != known.policy.scheduler;
        // Whoever continues a study that gave up after failures wants it to go on.
        let gave_up = study.tally().failures_in_a_row > 0;
        Ok(Self {
            edits,
            before: study.space().clone(),
            space,
            limits: (limits != known.limits || gave_up).then_some(limits),
            policy: is_other.then_some(policy),
        })
    }

    fn is_none(&self) -> bool {
        self.edits.is_empty() && self.limits.is_none() && self.policy.is_none()
    }

    fn make(&self, turn: &mut Turn<'_>) -> Result<(), SessionError> {
        for edit in &self.edits {
            turn.change_space(edit.clone())?;
        }
        if let Some(limits) = self.limits {
            turn.change_limits(limits)?;
        }
        if let Some(policy) = &self.policy {
            turn.change_policy(policy.clone())?;
        }
        Ok(())
    }

    fn tell(&self) {
        for edit in &self.edits {
            eprintln!("the space changes from here on: {}", report::safe(&told(edit, &self.before)));
        }
        if let Some(policy) = &self.policy {
            eprintln!("the policy changes from here on: {} + {}", policy.sampler.name, policy.scheduler.name);
        }
    }
}

/// The log's policy, unless the file's has been edited since: an option of an earlier command line outlives that
/// command.
fn current_policy<'a>(study: &'a Study, file: &'a StudyFile) -> &'a PolicySpec {
    match described(study).get("policy") {
        Some(written) if *written == written_policy(file) => &study.spec().policy,
        Some(_) | None => &file.spec.policy,
    }
}

/// Trials are compared by these parts of a specification, so they stay as they were.
fn check_comparable(
    study: &Study,
    file: &StudyFile,
    log: &Path,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let known = study.spec();
    let folder = arguments.folder.clone().unwrap_or_else(|| trials_of(log));
    let how = begin_anew(study, log, &folder).unwrap_or_else(|| {
        ", so old and new trials cannot be compared; undo the change, or begin another study with --study FILE"
            .into()
    });
    let changed = |path: &[&str], what: &str| -> anyhow::Result<()> {
        Err(file.error_at(path, &format!("{what} since the study began{how}")).into())
    };
    if file.spec.metrics != known.metrics {
        return changed(&["metric"], "the metrics have changed");
    }
    if file.spec.max_budget != known.max_budget {
        return changed(&["budget", "max"], "the largest step has changed");
    }
    if (file.spec.replicates, file.spec.design) != (known.replicates, known.design) {
        return changed(&["replicates"], "the number of replicates has changed");
    }
    if file.spec.space.constraints() != study.space().constraints() {
        return changed(&["constraints"], "the constraints have changed");
    }
    Ok(())
}

/// Whether trials have told anything that others could be compared with.
fn has_measured(study: &Study) -> bool {
    study.tally().finished() > 0 || study.trials().iter().any(|trial| trial.step() > 0)
}

/// What to do about a study that differs from its file, where none of its trials has told a value that would be lost.
fn begin_anew(study: &Study, log: &Path, folder: &Path) -> Option<String> {
    let has_told = |(_, piece): (_, &Piece)| piece.last_loss().is_some();
    let is_lost = study.trials().iter().any(|trial| trial.values().is_some() || trial.pieces().any(has_told));
    (!is_lost).then(|| {
        format!(
            ". None of its trials has told a value, so nothing is lost: to begin anew, remove {} and {}",
            quoted(log),
            quoted(folder)
        )
    })
}

/// The edits that turn the study's space into the file's.
fn space_edits(study: &Study, file: &Spec) -> Vec<SpaceEdit> {
    let (old, new) = (study.space(), &file.space);
    let mut edits = Vec::new();
    for parameter in new.parameters() {
        match old.find(&parameter.name).map(|k| &old.parameters()[k]) {
            None => edits.push(SpaceEdit::Add(parameter.clone())),
            Some(known) if known != parameter => edits.push(SpaceEdit::Change(parameter.clone())),
            Some(_) => {}
        }
    }
    for known in old.parameters() {
        if !known.retired && new.find(&known.name).is_none() {
            edits.push(SpaceEdit::Retire { name: known.name.clone() });
        }
    }
    edits
}

/// The edits in an order in which each leads to a valid space, as near to the given one as possible; and the last space.
fn in_order(mut space: Space, mut edits: Vec<SpaceEdit>) -> Result<(Vec<SpaceEdit>, Space), SpaceError> {
    let mut ordered = Vec::with_capacity(edits.len());
    while !edits.is_empty() {
        let (before, mut refusal) = (ordered.len(), None);
        edits.retain(|edit| match edited(&space, edit) {
            Ok(next) => {
                space = next;
                ordered.push(edit.clone());
                false
            }
            Err(error) => {
                refusal.get_or_insert(error);
                true
            }
        });
        if let Some(error) = refusal.filter(|_| ordered.len() == before) {
            return Err(error);
        }
    }
    Ok((ordered, space))
}

/// `low 0 → 0.6, high 1 → 0.9`: what differs between two declarations of a parameter.
fn differences(before: &Parameter, after: &Parameter) -> String {
    let leaves = |parameter: &Parameter| {
        let mut found = BTreeMap::new();
        gather("", &serde_json::to_value(parameter).unwrap_or_default(), &mut found);
        found
    };
    let (before, after) = (leaves(before), leaves(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let changed: Vec<String> =
        changed.map(|key| format!("{key} {} → {}", told(before.get(key)), told(after.get(key)))).collect();
    changed.join(", ")
}

/// The values in tables within tables, by the key that each has there; lists are values.
fn gather(key: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(table) => table.iter().for_each(|(key, value)| gather(key, value, found)),
        Value::Null => {}
        Value::Number(number) => {
            let shown = number.as_f64().map_or_else(|| number.to_string(), report::number);
            found.insert(key.to_owned(), shown);
        }
        other => {
            found.insert(key.to_owned(), other.to_string());
        }
    }
}

fn told(edit: &SpaceEdit, before: &Space) -> String {
    match edit {
        SpaceEdit::Add(parameter) => format!("{} is new", parameter.name),
        SpaceEdit::Change(parameter) => {
            let known = before.find(&parameter.name).map(|k| &before.parameters()[k]);
            let changed = known.map(|known| differences(known, parameter)).unwrap_or_default();
            let changed = if changed.is_empty() { String::new() } else { format!(": {changed}") };
            format!("{} is declared differently{changed}", parameter.name)
        }
        SpaceEdit::Retire { name } => format!("{name} is gone"),
    }
}

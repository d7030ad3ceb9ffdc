//! What runs the trials of a study, as its log describes it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use luthier::core::spec::Spec;
use luthier::core::study::Study;
use luthier::objective::Objective;
use luthier::objective::command::Command;
use luthier::study_file::{ObjectiveSpec, StudyFile};
use luthier_nn::objective::{NetworkError, NetworkObjective};
use luthier_nn::{BudgetUnit, NetworkSpec};

use crate::opening::folder_of;

/// What runs the trials.
pub(crate) enum Kind {
    Command(Box<Command>),
    Network(Box<NetworkObjective>),
}

impl Kind {
    /// Errors point to a line of `file`, if there is one.
    pub(crate) fn new(
        objective: &ObjectiveSpec,
        file: Option<&StudyFile>,
        spec: &Spec,
        base: &Path,
        workers: usize,
    ) -> anyhow::Result<Self> {
        match objective {
            ObjectiveSpec::Command(command) => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let command = Command::new(command.clone(), &spec.space, &spec.metrics, base);
                let command = command.map_err(|error| match file {
                    Some(file) => anyhow::Error::from(file.locate(&error)),
                    None => error.into(),
                })?;
                Ok(Self::Command(Box::new(if workers > 1 {
                    command.sharing(cores, workers)
                } else {
                    command
                })))
            }
            ObjectiveSpec::Network(table) => {
                let table = serde_json::Value::Object(table.clone());
                let network = NetworkObjective::from_table(table, spec, base);
                Ok(Self::Network(Box::new(network.map_err(|error| located(error, file))?)))
            }
        }
    }

    pub(crate) fn objective(&self) -> &dyn Objective {
        match self {
            Self::Command(command) => &**command,
            Self::Network(network) => &**network,
        }
    }

    /// What was noticed about the data, and how trials will be trained.
    pub(crate) fn notes(&self) -> &[String] {
        match self {
            Self::Command(_) => &[],
            Self::Network(network) => network.notes(),
        }
    }

    /// What has been noticed while trials ran, each once.
    pub(crate) fn remarks(&self) -> Vec<String> {
        match self {
            Self::Command(command) => command.take_remarks(),
            Self::Network(_) => Vec::new(),
        }
    }

    /// What a network's training is counted in.
    pub(crate) fn unit(&self) -> Option<BudgetUnit> {
        match self {
            Self::Command(_) => None,
            Self::Network(network) => Some(network.unit()),
        }
    }

    fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Command(_) => None,
            Self::Network(network) => Some(network.fingerprint().to_owned()),
        }
    }
}

/// What is wrong with a network; where it is how its table is written, with the line and the key.
pub(crate) fn located(error: NetworkError, file: Option<&StudyFile>) -> anyhow::Error {
    let written = file.filter(|_| matches!(error, NetworkError::Table(_)));
    let told = written.and_then(|file| file.network_as::<NetworkSpec>().err());
    told.map_or_else(|| error.into(), anyhow::Error::from)
}

/// The key of the study's note that describes its objective anew.
pub(crate) const DESCRIPTION: &str = "objective";

/// What the log keeps about the objective: its table, where its files are, and the fingerprint of its data; and the
/// policy as written.
pub(crate) fn description(read: &StudyFile, file: &Path, kind: &Kind) -> anyhow::Result<serde_json::Value> {
    let folder = fs::canonicalize(folder_of(file)).unwrap_or_else(|_| folder_of(file));
    let mut text = serde_json::to_value(&read.objective)?;
    text["folder"] = folder.display().to_string().into();
    text["policy"] = written_policy(read);
    Ok(with_data(&text, kind))
}

pub(crate) fn with_data(description: &serde_json::Value, kind: &Kind) -> serde_json::Value {
    let mut text = description.clone();
    text["data"] = kind.fingerprint().into();
    text
}

/// The policy as a study file writes it.
pub(crate) fn written_policy(file: &StudyFile) -> serde_json::Value {
    let policy = &file.spec.policy;
    serde_json::json!({ "sampler": policy.sampler, "scheduler": policy.scheduler })
}

/// The latest description in the log.
pub(crate) fn described(study: &Study) -> &serde_json::Value {
    let mut notes = study.notes().iter().rev();
    let latest = notes.find(|(trial, key, _)| trial.is_none() && **key == *DESCRIPTION);
    latest.map_or(&study.spec().objective, |(.., description)| description)
}

/// The objective as the log describes it, for a study that is continued without its study file.
pub(crate) fn stored(study: &Study, log: &Path) -> anyhow::Result<(ObjectiveSpec, PathBuf)> {
    let mut table = described(study).clone();
    let folder = table.get("folder").and_then(|folder| folder.as_str()).map(PathBuf::from);
    if let Some(table) = table.as_object_mut() {
        table.retain(|key, _| key == "command" || key == "network");
    }
    let objective = serde_json::from_value(table).with_context(|| {
        format!("{} was not made from a study file; run it with the program that made it", log.display())
    })?;
    Ok((objective, folder.unwrap_or_else(|| folder_of(log))))
}

/// The keys of a command that say what is measured; the others say how it is run.
const DEFINING: [&str; 4] = ["run", "pattern", "result", "outer"];

/// How many outer folds there are, of which the study of an objective leaves out one.
fn outer_folds(objective: &serde_json::Value) -> Option<u64> {
    let places = ["/command/outer/folds", "/network/data/outer/folds"];
    places.iter().find_map(|place| objective.pointer(place)?.as_u64())
}

/// A study compares trials of one objective on the same data.
pub(crate) fn check_unchanged(
    described: &serde_json::Value,
    objective: &ObjectiveSpec,
    kind: &Kind,
) -> anyhow::Result<()> {
    let how = "old and new trials cannot be compared. Begin another study with --study FILE, or say --accept-changes";
    let now = serde_json::to_value(objective)?;
    if let (Some(before), Some(folds)) = (outer_folds(described), outer_folds(&now))
        && before != folds
    {
        bail!(
            "there were {before} outer folds when the study began, and {folds} would leave out other rows; say --nested {before}, or \
             begin other studies with --study FILE"
        );
    }
    let is_changed = match objective {
        ObjectiveSpec::Command(_) => {
            DEFINING.iter().any(|key| described["command"].get(key) != now["command"].get(key))
        }
        ObjectiveSpec::Network(_) => described.get("network") != now.get("network"),
    };
    if is_changed {
        bail!("the objective's table has changed since the study began; {how}");
    }
    let before = described.get("data").and_then(|data| data.as_str());
    if before != kind.fingerprint().as_deref() {
        bail!("the data has changed since the study began; {how}");
    }
    Ok(())
}

//! How samplers and schedulers are listed: one entry each, from which help, docs, checks and contract tests derive.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::space::file::in_plain_words;
use crate::spec::Component;

/// One option of a sampler or scheduler.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// Its key.
    pub name: &'static str,
    /// What it does, with unit and range.
    pub doc: &'static str,
}

/// What an entry builds and its options in full, or what is wrong with the options given.
pub type Built<T> = Result<(Box<T>, Map<String, Value>), String>;

/// A sampler or scheduler that can be named in a policy. `T` is the trait object it builds.
pub struct Entry<T: ?Sized + 'static> {
    /// Its name.
    pub name: &'static str,
    /// One line for help.
    pub summary: &'static str,
    /// Its options; defaults are those of its configuration type.
    pub options: &'static [OptionDoc],
    /// Builds it from its options, together with the options completed by their defaults.
    pub build: fn(&Map<String, Value>) -> Built<T>,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// No such sampler or scheduler.
    #[error("there is no {kind} {name:?}{hint}; there are {known}")]
    Unknown {
        /// `sampler` or `scheduler`.
        kind: &'static str,
        /// The name given.
        name: String,
        /// What may have been meant, in brackets; empty if nothing is near.
        hint: String,
        /// The names there are.
        known: String,
    },
    /// An option is wrong.
    #[error("{kind} {name:?}: {problem}")]
    Options {
        /// `sampler` or `scheduler`.
        kind: &'static str,
        /// Which.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl PolicyError {
    /// What it is about: `sampler` or `scheduler`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown { kind, .. } | Self::Options { kind, .. } => kind,
        }
    }
}

/// Builds the component that `spec` names, and the component with all its options spelled out.
pub fn build<T: ?Sized>(
    kind: &'static str,
    entries: &[Entry<T>],
    spec: &Component,
) -> Result<(Box<T>, Component), PolicyError> {
    let entry =
        entries.iter().find(|entry| *entry.name == *spec.name).ok_or_else(|| PolicyError::Unknown {
            kind,
            name: spec.name.to_string(),
            hint: nearest(&spec.name, entries.iter().map(|entry| entry.name))
                .map_or_else(String::new, |name| format!(" (did you mean {name}?)")),
            known: entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
        })?;
    let (built, options) = (entry.build)(&spec.options).map_err(|problem| PolicyError::Options {
        kind,
        name: spec.name.to_string(),
        problem,
    })?;
    Ok((built, Component { name: spec.name.clone(), options }))
}

/// The name that differs least from `given`, by no more than a third of its letters; cases and hyphens do not count.
fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase().replace(['-', ' '], "_");
    let distance = |name: &str| strsim::damerau_levenshtein(&given, name);
    let (distance, name) = names.map(|name| (distance(name), name)).min()?;
    (3 * distance <= given.len()).then_some(name)
}

/// Reads a configuration from options, refusing unknown ones, and writes it back complete.
pub fn configure<C: Serialize + DeserializeOwned>(
    options: &Map<String, Value>,
) -> Result<(C, Map<String, Value>), String> {
    let config: C = read(options.clone()).map_err(|problem| name_option::<C>(options, problem))?;
    let complete = written(&config)?;
    Ok((config, complete))
}

fn read<C: DeserializeOwned>(options: Map<String, Value>) -> Result<C, String> {
    serde_json::from_value(Value::Object(options)).map_err(|error| in_plain_words(&error.to_string()))
}

/// What is wrong with options, with the one in front that leads to the same by itself.
fn name_option<C: DeserializeOwned>(options: &Map<String, Value>, problem: String) -> String {
    let is_to_blame = |(name, value): &(&String, &Value)| {
        let alone = Map::from_iter([((*name).clone(), (*value).clone())]);
        read::<C>(alone).is_err_and(|other| other == problem)
    };
    match options.iter().find(is_to_blame) {
        // Neither JSON nor what is kept of a study knows infinity or what is no number.
        Some((name, Value::Null)) => format!("{name} has no value, or none that is finite: {problem}"),
        Some((name, _)) if problem.ends_with("expected string or map") => {
            // The names that may be given are told for one that may not.
            let other = Map::from_iter([((*name).clone(), Value::from(""))]);
            let names =
                read::<C>(other).err().and_then(|told| Some(told.split_once("expected ")?.1.to_owned()));
            let start = problem.trim_end_matches("string or map");
            format!("{name}: {start}{}", names.as_deref().unwrap_or("a name"))
        }
        Some((name, value)) if !problem.contains(&**name) => format!("{name} = {value}: {problem}"),
        _ => problem,
    }
}

/// A configuration as options: all of them, by name.
pub fn written(config: &impl Serialize) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(config) {
        Ok(Value::Object(complete)) => Ok(complete),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(other) => Err(format!("the configuration is {other}, not a table")),
        Err(e) => Err(e.to_string()),
    }
}

/// Refuses a count out of its range, by the option's name. Counts that are worked through or held in memory have an upper bound, so that a
/// slip of the keyboard is an error and not a study that never ends.
/// One that is left to the sampler is none.
pub(crate) fn check_count(
    name: &str,
    count: impl Into<Option<usize>>,
    range: RangeInclusive<usize>,
) -> Result<(), String> {
    match count.into().filter(|count| !range.contains(count)) {
        Some(count) => Err(format!("{name} = {count} must be from {} to {}", range.start(), range.end())),
        None => Ok(()),
    }
}

//! How samplers and schedulers are listed: one entry each, from which help, docs, checks and contract tests derive.

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
    #[error("there is no {kind} {name:?}; there are {known}")]
    Unknown {
        /// `sampler` or `scheduler`.
        kind: &'static str,
        /// The name given.
        name: String,
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
            known: entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
        })?;
    let (built, options) = (entry.build)(&spec.options).map_err(|problem| PolicyError::Options {
        kind,
        name: spec.name.to_string(),
        problem,
    })?;
    Ok((built, Component { name: spec.name.clone(), options }))
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

//! A scheduler inside another: how users name it, and where it keeps its memo.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{SCHEDULERS, Scheduler};
use crate::memo::Memo;
use crate::registry;
use crate::spec::Component;

/// A scheduler as users write it: `"median"` or `{ name = "median", startup_trials = 3 }`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Wrapped {
    Name(String),
    Table(Map<String, Value>),
}

impl Wrapped {
    /// What it names, and the same with every option spelled out.
    pub(super) fn build(&self) -> Result<(Box<dyn Scheduler>, Self), String> {
        let component = self.component()?;
        let (inner, Component { name, options: mut table }) =
            registry::build("scheduler", SCHEDULERS, &component).map_err(|error| error.to_string())?;
        table.insert("name".into(), name.to_string().into());
        Ok((inner, Self::Table(table)))
    }

    fn component(&self) -> Result<Component, String> {
        match self {
            Self::Name(name) => Ok(Component::named(name)),
            Self::Table(table) => {
                let mut options = table.clone();
                let name = options.remove("name").and_then(|name| name.as_str().map(str::to_owned));
                let name = name.ok_or("scheduler is a table without a name; write { name = \"median\" }")?;
                Ok(Component { name: name.as_str().into(), options })
            }
        }
    }
}

/// The wrapped scheduler's memo, a part of the other's.
#[derive(Default)]
pub(super) struct Inner(pub(super) Memo);

/// Options as they are written down.
pub(super) fn complete(options: &impl Serialize) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(options) {
        Ok(Value::Object(complete)) => Ok(complete),
        other => Err(format!("the configuration is not a table: {other:?}")),
    }
}

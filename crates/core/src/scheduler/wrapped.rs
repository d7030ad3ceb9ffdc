//! A scheduler inside another: how users name it, and where it keeps its memo.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{SCHEDULERS, Scheduler};
use crate::memo::Memo;
use crate::registry;
use crate::spec::Component;

/// A scheduler as users write it: `"median"` or `{ name = "median", startup_trials = 3 }`.
#[derive(Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub(super) enum Wrapped {
    Name(String),
    /// One of the keys is `name`, which is text.
    Table(Map<String, Value>),
}

impl TryFrom<Value> for Wrapped {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        const ADVICE: &str = "write { name = \"median\" }, with its options beside the name";
        match value {
            Value::String(name) => Ok(Self::Name(name)),
            Value::Object(table) if table.get("name").is_some_and(Value::is_string) => Ok(Self::Table(table)),
            Value::Object(_) => Err(format!("the scheduler inside it is a table without a name; {ADVICE}")),
            other => Err(format!("the scheduler inside it is {other}; {ADVICE}")),
        }
    }
}

impl Wrapped {
    /// What it names, and the same with every option spelled out.
    pub(super) fn build(&self) -> Result<(Box<dyn Scheduler>, Self), String> {
        let (inner, Component { name, options: mut table }) =
            registry::build("scheduler", SCHEDULERS, &self.component()).map_err(|error| error.to_string())?;
        table.insert("name".into(), name.to_string().into());
        Ok((inner, Self::Table(table)))
    }

    fn component(&self) -> Component {
        match self {
            Self::Name(name) => Component::named(name),
            Self::Table(table) => {
                let mut options = table.clone();
                let name = options.remove("name");
                let name = name.as_ref().and_then(Value::as_str).unwrap_or_default().into();
                Component { name, options }
            }
        }
    }
}

/// The wrapped scheduler's memo, a part of the other's.
#[derive(Default)]
pub(super) struct Inner(pub(super) Memo);

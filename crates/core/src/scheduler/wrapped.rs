//! A scheduler inside another: how users name it, and where it keeps its memo.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SCHEDULERS, Scheduler};
use crate::memo::Memo;
use crate::registry;
use crate::spec::Component;

/// A scheduler as users write it: `"median"` or `{ name = "median", startup_trials = 3 }`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(super) struct Wrapped(Component);

impl TryFrom<Value> for Wrapped {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        const ADVICE: &str = "write { name = \"median\" }, with its options beside the name";
        let component = Component::from_written(value);
        component.map(Self).map_err(|problem| format!("the scheduler inside it: {problem}; {ADVICE}"))
    }
}

impl From<Wrapped> for Value {
    fn from(wrapped: Wrapped) -> Self {
        wrapped.0.into_table()
    }
}

impl Wrapped {
    /// With default options.
    pub(super) fn named(name: &str) -> Self {
        Self(Component::named(name))
    }

    /// What it names, and the same with every option spelled out.
    pub(super) fn build(&self) -> Result<(Box<dyn Scheduler>, Self), String> {
        let (inner, complete) =
            registry::build("scheduler", SCHEDULERS, &self.0).map_err(|error| error.to_string())?;
        Ok((inner, Self(complete)))
    }
}

/// The wrapped scheduler's memo, a part of the other's.
#[derive(Default)]
pub(super) struct Inner(pub(super) Memo);

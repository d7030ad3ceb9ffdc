//! Typed params: a Rust struct that declares its own space and is filled in for each trial.
//!
//! `#[derive(Tunable)]` (crate `luthier-derive`) writes the implementation; [`TuneScope`] and [`TuneValue`] are what
//! the written code calls.

use std::sync::Arc;

use super::file::{ParameterForm, ParameterType, Repeat};
use super::{Condition, Params, Space, SpaceBuilder, SpaceError, Value};

/// A type that declares a search space and is made from the params of a trial.
///
/// Derive it for a struct (its fields become parameters; a field whose type is itself [`Tunable`] brings its own),
/// or for an enum (it becomes a categorical whose variants' fields are active only in their variant).
pub trait Tunable: Sized {
    /// Adds the parameters of this type to a declaration.
    fn declare(builder: SpaceBuilder, scope: &TuneScope) -> SpaceBuilder;

    /// Reads a value of this type from the params of a trial.
    fn read(params: &Params, scope: &TuneScope) -> Result<Self, SpaceError>;

    /// Whether the params hold a value of this type.
    fn is_present(params: &Params, scope: &TuneScope) -> bool;

    /// The space that this type declares.
    fn space() -> Result<Space, SpaceError> {
        Self::declare(Space::builder(), &TuneScope::default()).build()
    }

    /// The params of a trial as a value of this type.
    fn from_params(params: &Params) -> Result<Self, SpaceError> {
        Self::read(params, &TuneScope::default())
    }
}

/// A type of one parameter's value.
pub trait TuneValue: Sized {
    /// The type of a parameter with `low` and `high`; none for types that are no numbers.
    const NUMBER: Option<ParameterType>;

    /// The value, if it is one of this type.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($type:ty)*) => {$(
        impl TuneValue for $type {
            const NUMBER: Option<ParameterType> = Some(ParameterType::Int);
            fn from_value(value: &Value) -> Option<Self> {
                value.as_i64().and_then(|i| i.try_into().ok())
            }
        }
    )*};
}
whole_numbers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl TuneValue for f64 {
    const NUMBER: Option<ParameterType> = Some(ParameterType::Float);
    fn from_value(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}
impl TuneValue for f32 {
    const NUMBER: Option<ParameterType> = Some(ParameterType::Float);
    fn from_value(value: &Value) -> Option<Self> {
        value.as_f64().map(|x| x as f32)
    }
}
impl TuneValue for bool {
    const NUMBER: Option<ParameterType> = None;
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}
impl TuneValue for String {
    const NUMBER: Option<ParameterType> = None;
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(Into::into)
    }
}
impl TuneValue for Arc<str> {
    const NUMBER: Option<ParameterType> = None;
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(Into::into)
    }
}
impl TuneValue for Value {
    const NUMBER: Option<ParameterType> = None;
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

/// Where in a larger declaration a [`Tunable`] stands: its name, what it depends on, how it is repeated.
#[derive(Clone, Debug, Default)]
pub struct TuneScope {
    name: Option<String>,
    when: Option<Condition>,
    repeat: Option<Repeat>,
    default: Option<Value>,
    /// Which repetition is being read.
    index: Option<u32>,
}

impl TuneScope {
    /// The scope of a field that brings its own parameters.
    pub fn field(&self, name: &str, default: Option<Value>) -> Self {
        Self { name: Some(name.into()), default, ..self.clone() }
    }

    /// The same scope where, in addition, a condition must hold.
    pub fn only_when(&self, condition: Option<Condition>) -> Self {
        Self { when: both(self.when.clone(), condition), ..self.clone() }
    }

    /// The same scope, repeated; a list inside a list is a mistake that the builder reports.
    pub fn repeated(&self, builder: SpaceBuilder, name: &str, repeat: Repeat) -> (SpaceBuilder, Self) {
        let builder = match &self.repeat {
            None => builder,
            Some(_) => builder.mistaken(SpaceError::Parameter {
                name: name.into(),
                field: "repeat",
                problem: "it is inside a repeated group already; lists in lists are not supported".into(),
            }),
        };
        (builder, Self { repeat: Some(repeat), ..self.clone() })
    }

    /// The name of this scope's own parameter, for an enum.
    pub fn own_name<'a>(&'a self, otherwise: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(otherwise)
    }

    /// The default that the surrounding declaration gives an enum.
    pub fn own_default(&self) -> Option<Value> {
        self.default.clone()
    }

    /// How a condition names a parameter of the same declaration: with `[k]` inside a repeated group.
    pub fn sibling(&self, name: &str) -> String {
        if self.repeat.is_some() { format!("{name}[k]") } else { name.to_owned() }
    }

    /// Declares one parameter in this scope.
    pub fn declare(&self, builder: SpaceBuilder, name: &str, form: ParameterForm) -> SpaceBuilder {
        let when = both(self.when.clone(), form.when.clone());
        builder.parameter(name, ParameterForm { when, repeat: self.repeat.clone(), ..form })
    }

    /// Whether the params have a value for a parameter of this scope.
    pub fn has(&self, params: &Params, name: &str) -> bool {
        params.get(&self.full(name)).is_some()
    }

    /// Reads one value.
    pub fn value<T: TuneValue>(&self, params: &Params, name: &str) -> Result<T, SpaceError> {
        let name = self.full(name);
        let value = params.get(&name);
        let value =
            value.ok_or_else(|| wrong(&name, "the params of this trial have no value for it".into()))?;
        T::from_value(value).ok_or_else(|| {
            wrong(&name, format!("{} does not fit into {}", value.quoted(), std::any::type_name::<T>()))
        })
    }

    /// Reads one value that only some trials have.
    pub fn optional<T: TuneValue>(&self, params: &Params, name: &str) -> Result<Option<T>, SpaceError> {
        if self.has(params, name) { self.value(params, name).map(Some) } else { Ok(None) }
    }

    /// Reads the repetitions of a field, one after another, each in a scope of its own. Where the counter is
    /// inactive there are none.
    pub fn list<T>(
        &self,
        params: &Params,
        repeat: &Repeat,
        mut read: impl FnMut(&Self) -> Result<T, SpaceError>,
    ) -> Result<Vec<T>, SpaceError> {
        let count = match repeat {
            Repeat::Times(times) => *times,
            Repeat::Param(counter) => Self::default().optional(params, counter)?.unwrap_or(0),
        };
        (1..=count).map(|k| read(&Self { index: Some(k), ..self.clone() })).collect()
    }

    /// The error for a choice that an enum does not have.
    pub fn unknown_choice(&self, name: &str, choice: &str, known: &[&str]) -> SpaceError {
        wrong(&self.full(name), format!("{choice:?} is not among {}", known.join(", ")))
    }

    fn full(&self, name: &str) -> String {
        self.index.map_or_else(|| name.to_owned(), |k| format!("{name}[{k}]"))
    }
}

fn both(first: Option<Condition>, second: Option<Condition>) -> Option<Condition> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.and(second)),
        (first, second) => first.or(second),
    }
}

fn wrong(name: &str, problem: String) -> SpaceError {
    SpaceError::Value { name: name.into(), problem }
}

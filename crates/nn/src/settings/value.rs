//! Tuned values as they arrive, and what can be wrong with them.

/// A tuned value, as a search space gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; whole ones are taken where a whole number is expected.
    Float(f64),
    /// A name.
    Text(String),
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for ParamValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => write!(f, "\"{value}\""),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No setting has this name.
    #[error(
        "`{name}` is not a network setting; the settings are {known} (those of hidden layers also as `units[1]`, `units[2]`, …)"
    )]
    Unknown {
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },
    /// The setting exists, but not per layer.
    #[error("`{name}` cannot be set per layer: write `{field}`")]
    NotPerLayer {
        /// The name given.
        name: String,
        /// The name without its index.
        field: &'static str,
    },
    /// The value is of another type, or not one of the choices.
    #[error("setting `{name}`: {problem}")]
    Value {
        /// The name given.
        name: String,
        /// What was expected and what came.
        problem: String,
    },
    /// The value is out of range.
    #[error("setting `{name}` is {value}, but must be {expected}")]
    Range {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// The range in words.
        expected: String,
    },
}

impl SettingsError {
    /// Shows the name that the user wrote (`lr`) in place of the field's (`learning_rate`).
    pub(super) fn under_name(mut self, field: &str, written: &str) -> Self {
        if let Self::Range { name, .. } = &mut self
            && name == field
        {
            written.clone_into(name);
        }
        self
    }
}

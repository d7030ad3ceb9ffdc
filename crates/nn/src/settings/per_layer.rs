//! A setting with one value for all layers of a kind, and exceptions for some of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::SettingsError;

/// A setting that hidden layers share, with exceptions. In a file: one value, or a list (layer by layer; the last
/// value also serves deeper layers), or a table such as `{ all = 64, 1 = 128 }`.
#[derive(Debug, Clone, PartialEq)]
pub struct PerLayer<T> {
    shared: T,
    own: BTreeMap<usize, T>,
    listed: usize,
}

impl<T: Copy> PerLayer<T> {
    /// The same value for every layer.
    pub fn all(value: T) -> Self {
        Self { shared: value, own: BTreeMap::new(), listed: 0 }
    }

    /// One value for each layer; the last also serves deeper layers. `None` if there is none.
    pub fn list(values: &[T]) -> Option<Self> {
        let own = values.iter().enumerate().map(|(index, &value)| (index + 1, value)).collect();
        values.last().map(|&shared| Self { shared, own, listed: values.len() })
    }

    /// The value of hidden layer `layer`, counted from 1.
    pub fn at(&self, layer: usize) -> T {
        self.own.get(&layer).copied().unwrap_or(self.shared)
    }

    /// The value that all layers have unless they have their own.
    pub fn shared(&self) -> T {
        self.shared
    }

    /// Replaces the value of one layer (counted from 1), or of all.
    pub fn set(&mut self, layer: Option<usize>, value: T) {
        if let Some(layer) = layer {
            self.own.insert(layer, value);
        } else {
            self.own = (1..=self.listed).map(|layer| (layer, value)).collect();
            self.shared = value;
        }
    }

    /// The value of each of `layers` layers written out, none for deeper ones; the shared value stays, because
    /// other layers (convolutions, the output) may use it.
    pub(super) fn resolved(&self, layers: usize) -> Self {
        let own = (1..=layers).map(|layer| (layer, self.at(layer))).collect();
        Self { shared: self.shared, own, listed: 0 }
    }

    /// How many layers a list in a file named; 0 if it was not a list.
    pub(super) fn listed(&self) -> usize {
        self.listed
    }

    pub(super) fn check(
        &self,
        name: &str,
        valid: impl Fn(&T) -> bool,
        expected: &str,
    ) -> Result<(), SettingsError>
    where
        T: std::fmt::Display,
    {
        let own = self.own.iter().map(|(layer, value)| (format!("{name}[{layer}]"), value));
        for (name, value) in std::iter::once((name.to_owned(), &self.shared)).chain(own) {
            if !valid(value) {
                return Err(SettingsError::Range {
                    name,
                    value: value.to_string(),
                    expected: expected.to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PerLayerForm<T> {
    One(T),
    List(Vec<T>),
    Table(BTreeMap<String, T>),
}

impl<T: Copy + PartialEq + Serialize> Serialize for PerLayer<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = if self.own.is_empty() && self.listed == 0 {
            PerLayerForm::One(self.shared)
        } else if self.listed > 0
            && self.own.keys().copied().eq(1..=self.listed)
            && self.at(self.listed) == self.shared
        {
            PerLayerForm::List(self.own.values().copied().collect())
        } else {
            let own = self.own.iter().map(|(layer, &value)| (layer.to_string(), value));
            PerLayerForm::Table(std::iter::once(("all".to_owned(), self.shared)).chain(own).collect())
        };
        form.serialize(serializer)
    }
}

impl<'de, T: Copy + Deserialize<'de>> Deserialize<'de> for PerLayer<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let table = match PerLayerForm::deserialize(deserializer).map_err(|_| {
            D::Error::custom("expected one value, a list, or a table with `all` and layer numbers")
        })? {
            PerLayerForm::One(value) => return Ok(Self::all(value)),
            PerLayerForm::List(values) => {
                return Self::list(&values)
                    .ok_or_else(|| D::Error::custom("expected at least one value in the list"));
            }
            PerLayerForm::Table(table) => table,
        };
        let shared = *table.get("all").ok_or_else(|| D::Error::custom("expected `all` in the table"))?;
        let mut result = Self::all(shared);
        for (key, value) in table.into_iter().filter(|(key, _)| key != "all") {
            let layer = layer_number(&key)
                .ok_or_else(|| D::Error::custom(format!("expected `all` or a layer from 1, not `{key}`")))?;
            result.set(Some(layer), value);
        }
        Ok(result)
    }
}

pub(super) fn layer_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&layer| layer >= 1)
}

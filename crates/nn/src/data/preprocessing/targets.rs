//! What is predicted: classes, labels or numbers, read for all examples before they are divided, and encoded with
//! statistics of the training ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::super::{DataError, DataSpec, PartTargets, Table, Task};
use super::moments;

/// Whole numbers with more distinct values than this are a quantity, not classes.
const MOST_INTEGER_CLASSES: usize = 20;

/// What a network's outputs mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetEncoding {
    /// One score for each class.
    Classes {
        /// Names of the classes, numbers in order of size, text in alphabetical order.
        names: Vec<String>,
    },
    /// (target − mean) / deviation, by the training rows.
    Value {
        /// Mean of the target.
        mean: f64,
        /// Its standard deviation (of the population), above 0.
        deviation: f64,
    },
    /// Several numbers, each encoded as one would be.
    Values {
        /// Names of the targets.
        names: Vec<String>,
        /// Mean of each.
        means: Vec<f64>,
        /// Standard deviation of each.
        deviations: Vec<f64>,
    },
    /// 0 or 1 for each label; any number of them may hold.
    Labels {
        /// Names of the labels.
        names: Vec<String>,
    },
}

impl TargetEncoding {
    /// Classes, labels or numbers: scores of a network that has one for each.
    pub fn width(&self) -> usize {
        match self {
            Self::Classes { names } | Self::Labels { names } | Self::Values { names, .. } => names.len(),
            Self::Value { .. } => 1,
        }
    }

    /// Mean and deviation of each number; empty for classes and labels.
    pub(crate) fn scales(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Classes { .. } | Self::Labels { .. } => Vec::new(),
            Self::Value { mean, deviation } => vec![(*mean, *deviation)],
            Self::Values { means, deviations, .. } => {
                means.iter().copied().zip(deviations.iter().copied()).collect()
            }
        }
    }

    /// What is predicted.
    pub fn task(&self) -> Task {
        match self {
            Self::Classes { .. } => Task::Classification,
            Self::Value { .. } | Self::Values { .. } => Task::Regression,
            Self::Labels { .. } => Task::MultiLabel,
        }
    }
}

/// The targets of all examples.
#[derive(Debug)]
pub(in super::super) enum Labels {
    Classes {
        names: Vec<String>,
        of_row: Vec<u32>,
    },
    /// Numbers, row by row, as many a row as there are names.
    Values {
        names: Vec<String>,
        values: Vec<f64>,
    },
    /// 0 or 1, row by row.
    Flags {
        names: Vec<String>,
        flags: Vec<f32>,
    },
}

/// Where targets are read.
pub(in super::super) struct Column<'a> {
    pub(in super::super) table: &'a Table,
    pub(in super::super) targets: &'a [usize],
    /// Row of the table with the target of each example.
    pub(in super::super) rows: &'a [u32],
    /// Examples at the end that come from the test file.
    pub(in super::super) test: usize,
}

impl Labels {
    /// Reads the target columns; without a task in `spec`, decides what they hold.
    pub(in super::super) fn read(
        column: &Column<'_>,
        spec: &DataSpec,
        notes: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let several = column.targets.len() > 1;
        match spec.task {
            Some(Task::Classification) if several => {
                Err(DataError::SeveralClassTargets { targets: column.targets.len() })
            }
            Some(Task::Classification) => column.classes(notes),
            Some(Task::Regression) => column.values(),
            Some(Task::MultiLabel) => column.flags(),
            None if several => column.flags().or_else(|_| column.values()),
            None => column.either(notes),
        }
    }

    /// Class of each example; `None` if they have none.
    pub(in super::super) fn classes(&self) -> Option<&[u32]> {
        match self {
            Self::Classes { of_row, .. } => Some(of_row),
            Self::Values { .. } | Self::Flags { .. } => None,
        }
    }

    /// Learns the encoding from the training rows; refuses numbers that are all the same there.
    pub(in super::super) fn encoding(&self, train: &[u32]) -> Result<TargetEncoding, DataError> {
        match self {
            Self::Classes { names, .. } => Ok(TargetEncoding::Classes { names: names.clone() }),
            Self::Flags { names, .. } => Ok(TargetEncoding::Labels { names: names.clone() }),
            Self::Values { names, values } => {
                let learned = (0..names.len())
                    .map(|index| statistics(&names[index], train, |row| values[row * names.len() + index]))
                    .collect::<Result<Vec<_>, _>>()?;
                if let [(mean, deviation)] = *learned {
                    return Ok(TargetEncoding::Value { mean, deviation });
                }
                let (means, deviations) = learned.into_iter().unzip();
                Ok(TargetEncoding::Values { names: names.clone(), means, deviations })
            }
        }
    }

    /// The targets of some rows as a network sees them.
    pub(in super::super) fn targets(&self, rows: &[u32], encoding: &TargetEncoding) -> PartTargets {
        let rows = rows.iter().map(|&row| row as usize);
        match (self, encoding) {
            (Self::Classes { of_row, .. }, _) => PartTargets::Classes(rows.map(|row| of_row[row]).collect()),
            (Self::Flags { names, flags }, _) => PartTargets::Values(
                rows.flat_map(|row| &flags[row * names.len()..(row + 1) * names.len()]).copied().collect(),
            ),
            (Self::Values { values, .. }, TargetEncoding::Value { mean, deviation }) => {
                PartTargets::Values(rows.map(|row| ((values[row] - mean) / deviation) as f32).collect())
            }
            (Self::Values { values, .. }, TargetEncoding::Values { means, deviations, .. }) => {
                let cell = |row: usize, i: usize| (values[row * means.len() + i] - means[i]) / deviations[i];
                let cells = rows.flat_map(|row| (0..means.len()).map(move |i| cell(row, i) as f32));
                PartTargets::Values(cells.collect())
            }
            (Self::Values { .. }, TargetEncoding::Classes { .. } | TargetEncoding::Labels { .. }) => {
                unreachable!("values are never encoded as classes")
            }
        }
    }
}

/// Mean and deviation of a target in the training rows.
fn statistics(name: &str, train: &[u32], value: impl Fn(usize) -> f64) -> Result<(f64, f64), DataError> {
    let training: Vec<f64> = train.iter().map(|&row| value(row as usize)).collect();
    let (mean, deviation) = moments(&training);
    if deviation == 0.0 || training.iter().all(|value| *value == training[0]) {
        return Err(DataError::ConstantTarget { column: name.to_owned() });
    }
    if !deviation.is_finite() {
        return Err(DataError::TooLarge { column: name.to_owned() });
    }
    Ok((mean, deviation))
}

impl Column<'_> {
    fn name(&self, target: usize) -> String {
        self.table.names()[target].clone()
    }

    fn names(&self) -> Vec<String> {
        self.targets.iter().map(|&target| self.name(target)).collect()
    }

    fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().map(|&row| row as usize)
    }

    fn either(&self, notes: &mut Vec<String>) -> Result<Labels, DataError> {
        let target = self.targets[0];
        if !self.table.is_numeric(target) || self.table.says_whole() {
            return self.classes(notes);
        }
        let numbers: Vec<f64> =
            self.rows().filter_map(|row| self.table.number(row, target).ok().flatten()).collect();
        let infinite = numbers.len() < self.rows.len();
        if infinite || !are_classes(&numbers) { self.values() } else { self.classes(notes) }
    }

    fn missing(&self, row: usize, target: usize) -> DataError {
        let column = self.name(target);
        if self.rows().all(|row| self.table.cell(row, target).is_none()) {
            return DataError::NoTarget { column };
        }
        DataError::MissingTarget { at: self.table.place(row), column }
    }

    fn values(&self) -> Result<Labels, DataError> {
        let cells = self.rows().flat_map(|row| self.targets.iter().map(move |&target| (row, target)));
        let number = |(row, target)| self.table.number(row, target)?.ok_or_else(|| self.missing(row, target));
        Ok(Labels::Values { names: self.names(), values: cells.map(number).collect::<Result<_, _>>()? })
    }

    fn flags(&self) -> Result<Labels, DataError> {
        let cells = self.rows().flat_map(|row| self.targets.iter().map(move |&target| (row, target)));
        let flag = |(row, target): (usize, usize)| {
            let cell = self.table.cell(row, target).ok_or_else(|| self.missing(row, target))?;
            match &*cell {
                "1" | "1.0" | "true" | "True" => Ok(1.0),
                "0" | "0.0" | "false" | "False" => Ok(0.0),
                _ => Err(DataError::NotALabel {
                    at: self.table.place(row),
                    column: self.name(target),
                    value: cell.to_string(),
                }),
            }
        };
        Ok(Labels::Flags { names: self.names(), flags: cells.map(flag).collect::<Result<_, _>>()? })
    }

    fn classes(&self, notes: &mut Vec<String>) -> Result<Labels, DataError> {
        let target = self.targets[0];
        let mut labels = self
            .rows()
            .map(|row| self.table.cell(row, target).ok_or_else(|| self.missing(row, target)))
            .collect::<Result<Vec<_>, _>>()?;
        if self.table.is_numeric(target) {
            // Numbers that are equal are one class however they are written (`1` and `1.0`).
            for (label, row) in labels.iter_mut().zip(self.rows()) {
                *label = Cow::Owned(self.table.number(row, target)?.unwrap_or_default().to_string());
            }
        }
        let own = labels.len() - self.test;
        self.test_names(&mut labels, notes)?;
        let distinct: BTreeSet<&str> = labels.iter().map(|label| &**label).collect();
        let mut names: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
        if self.table.is_numeric(target) {
            names.sort_by(|a, b| number_of(a).total_cmp(&number_of(b)));
        }
        let column = self.name(target);
        if names.len() < 2 {
            return Err(DataError::OneClass { column, value: labels[0].to_string() });
        }
        if names.len() * 2 > own {
            return Err(DataError::TooManyClasses { column, classes: names.len(), rows: own });
        }
        let numbered: BTreeMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let of_row = labels.iter().map(|label| numbered[&**label]).collect();
        Ok(Labels::Classes { of_row, names })
    }

    /// The test file's classes must be known. UCI's Adult writes them with a full stop there only: that is forgiven.
    fn test_names(&self, labels: &mut [Cow<'_, str>], notes: &mut Vec<String>) -> Result<(), DataError> {
        let (own, test) = labels.split_at_mut(labels.len() - self.test);
        let known: BTreeSet<&str> = own.iter().map(|label| &**label).collect();
        let mut stops = 0;
        for label in test.iter_mut().filter(|label| !known.contains(&***label)) {
            match label.strip_suffix('.').and_then(|name| known.get(name)) {
                Some(name) => *label = Cow::Owned((*name).to_owned()),
                None => return Err(DataError::NewClass { class: label.to_string() }),
            }
            stops += 1;
        }
        if stops > 0 {
            notes.push(format!("{stops} classes of the test file end in a full stop, which was left out"));
        }
        Ok(())
    }
}

/// See [`DataSpec::task`].
fn are_classes(numbers: &[f64]) -> bool {
    let mut distinct = numbers.to_vec();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup();
    numbers.iter().all(|x| x.fract() == 0.0)
        && distinct.len() <= MOST_INTEGER_CLASSES
        && distinct.len() * 2 <= numbers.len()
}

fn number_of(label: &str) -> f64 {
    label.parse().unwrap_or(f64::NAN)
}

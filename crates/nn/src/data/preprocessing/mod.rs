//! From what a file holds to a network's numbers, with statistics of the training part only. What was learned is kept
//! with the model, so that new files become numbers in the same way.

mod columns;
mod labelled;
mod scaling;
mod targets;
mod tokens;

use std::path::Path;

use serde::{Deserialize, Serialize};

use self::columns::{Columns, Places};
pub use self::labelled::LabelError;
use self::scaling::Scaling;
pub use self::targets::TargetEncoding;
pub(super) use self::targets::{Column, Labels};
use self::tokens::Vocabulary;
pub(super) use self::tokens::most_frequent;
use super::formats::{Decoded, Purpose, Source};
use super::inputs::{Inputs, Series};
use super::order::{in_order, windows};
use super::text::RunningText;
use super::{DataError, DataSpec, Table, Task};

/// How an example becomes a network's inputs, and what its outputs mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// How other files for the same model are read.
    reading: DataSpec,
    features: Features,
    target: TargetEncoding,
    target_name: String,
}

/// An input that holds a category's number, for an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedColumn {
    /// Which of the [`Problem::inputs`](crate::Problem::inputs), from 0.
    pub input: usize,
    /// Numbers that can occur: 0 for a cell that is missing or unknown, and one for each category.
    pub cardinality: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Features {
    /// A row of a table.
    Columns(Columns),
    /// Successive rows of a table.
    Series { columns: Columns, window: usize },
    /// An example of an array.
    Array(Scaling),
    /// A cell of text.
    Lines { vocabulary: Vocabulary, column: String, index: usize, places: Places },
    /// A piece of a running text.
    Running { vocabulary: Vocabulary, stride: usize },
}

impl Preprocessing {
    /// Learns from the training rows.
    pub(super) fn fit(
        inputs: &Inputs,
        train: &[u32],
        spec: &DataSpec,
        target: TargetEncoding,
        target_name: &str,
        notes: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let mut reading = spec.without_files();
        if let Inputs::Columns { table, .. }
        | Inputs::Series(Series { table, .. })
        | Inputs::Lines { table, .. } = inputs
        {
            reading.header = Some(table.has_header());
        }
        let features = Features::fit(inputs, train, spec, notes)?;
        Ok(Self { reading, features, target, target_name: target_name.to_owned() })
    }

    /// What a network's outputs mean.
    pub fn target(&self) -> &TargetEncoding {
        &self.target
    }

    /// Name of the target column; several are joined by commas.
    pub fn target_name(&self) -> &str {
        &self.target_name
    }

    /// What is predicted.
    pub fn task(&self) -> Task {
        self.target.task()
    }

    /// Numbers per example that a network gets.
    pub fn inputs(&self) -> usize {
        self.shape().iter().product()
    }

    /// Shape of an example, see [`Problem::shape`](crate::Problem::shape).
    pub fn shape(&self) -> Vec<usize> {
        match &self.features {
            Features::Columns(columns) => vec![columns.inputs()],
            Features::Series { columns, window } => vec![*window, columns.inputs()],
            Features::Array(scaling) => scaling.shape.clone(),
            Features::Lines { vocabulary, .. } | Features::Running { vocabulary, .. } => {
                vec![vocabulary.steps]
            }
        }
    }

    /// Inputs of a row that hold category numbers; empty for data other than tables of which each row is an example.
    pub fn embedded(&self) -> Vec<EmbeddedColumn> {
        match &self.features {
            Features::Columns(columns) => columns.embedded(),
            Features::Series { .. }
            | Features::Array(_)
            | Features::Lines { .. }
            | Features::Running { .. } => Vec::new(),
        }
    }

    /// Category numbers that occur in examples of tokens, 0 (padding) and 1 (unknown) included; `None` for other data.
    pub fn vocabulary(&self) -> Option<usize> {
        match &self.features {
            Features::Columns(_) | Features::Series { .. } => None,
            Features::Array(scaling) => (scaling.vocabulary > 0).then_some(scaling.vocabulary),
            Features::Lines { vocabulary, .. } | Features::Running { vocabulary, .. } => {
                Some(vocabulary.len())
            }
        }
    }

    /// Reads a file of new examples, and returns a network's inputs and how many examples there are. Columns are found
    /// by name if the first table had names, else by position; the targets may be there or not, further columns are
    /// ignored. A time series gives an example for each window, a running text too.
    pub fn read_inputs(&self, path: &Path) -> Result<(Vec<f32>, usize), DataError> {
        let source = Source {
            path: path.to_owned(),
            labels: None,
            spec: &self.reading,
            purpose: Purpose::Predict,
            hashes: &mut Vec::new(),
        };
        let inputs = self.features.encode_other(source.decode()?, &self.reading, path)?;
        let rows = inputs.len() / self.inputs();
        Ok((inputs, rows))
    }

    /// A network's inputs for some examples of the data it was made from.
    pub(super) fn encode(&self, inputs: &Inputs, rows: &[u32]) -> Result<Vec<f32>, DataError> {
        match (&self.features, inputs) {
            (Features::Columns(columns), Inputs::Columns { table, .. }) => columns.encode(table, rows),
            (Features::Series { columns, window }, Inputs::Series(series)) => {
                let cells =
                    columns.encode(&series.table, &(0..series.table.len() as u32).collect::<Vec<_>>())?;
                let starts = rows.iter().map(|&row| series.starts[row as usize]);
                Ok(joined(&cells, columns.inputs(), *window, starts))
            }
            (Features::Array(scaling), Inputs::Array(array)) => scaling.encode(array, rows),
            (Features::Lines { vocabulary, .. }, Inputs::Lines { table, column }) => {
                Ok(encode_lines(vocabulary, table, *column, rows.iter().copied()))
            }
            (Features::Running { vocabulary, .. }, Inputs::Running(running)) => {
                let starts = rows.iter().map(|&row| running.starts[row as usize] as usize);
                Ok(vocabulary.encode_windows(&running.text, starts))
            }
            _ => unreachable!("a problem encodes the examples that it learned from"),
        }
    }
}

impl Features {
    fn fit(
        inputs: &Inputs,
        train: &[u32],
        spec: &DataSpec,
        notes: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        match inputs {
            Inputs::Columns { table, features, targets } => {
                Columns::fit(table, features, targets, train, spec, notes).map(Self::Columns)
            }
            Inputs::Series(series) => {
                let rows = series.rows(train);
                let columns =
                    Columns::fit(&series.table, &series.features, &series.targets, &rows, spec, notes)?;
                Ok(Self::Series { columns, window: series.window })
            }
            Inputs::Array(array) => Scaling::fit(array, train, spec).map(Self::Array),
            Inputs::Lines { table, column } => {
                let lines = train.iter().filter_map(|&row| table.text(row as usize, *column));
                Ok(Self::Lines {
                    vocabulary: Vocabulary::fit(&spec.text, lines),
                    column: table.names()[*column].clone(),
                    index: *column,
                    places: Places::new(table, &[]),
                })
            }
            Inputs::Running(running) => {
                let vocabulary =
                    Vocabulary::fit_windows(&spec.text, running.steps, &running.text, running.rows(train));
                Ok(Self::Running { vocabulary, stride: running.stride })
            }
        }
    }

    fn encode_other(&self, decoded: Decoded, reading: &DataSpec, path: &Path) -> Result<Vec<f32>, DataError> {
        match (self, decoded) {
            (Self::Columns(columns), Decoded::Table(table)) => columns.encode_other(&table),
            (Self::Columns(columns), Decoded::Array { array, .. }) => {
                columns.encode_other(&Table::unnamed(array.columns()))
            }
            (Self::Series { columns, window }, Decoded::Table(mut table)) => {
                if let Some(time) = &reading.time {
                    let order = in_order(&table, table.column(time)?, 0..table.len())?;
                    table.reorder(&order);
                }
                if table.len() < *window {
                    return Err(DataError::TooShort { rows: table.len(), window: *window, horizon: 0 });
                }
                let cells = columns.encode_other(&table)?;
                let starts = 0..=(table.len() - window) as u32;
                Ok(joined(&cells, columns.inputs(), *window, starts))
            }
            (Self::Array(scaling), Decoded::Array { array, .. }) => {
                scaling.encode(&array, &(0..array.len() as u32).collect::<Vec<_>>())
            }
            (Self::Lines { vocabulary, column, index, places }, Decoded::Table(table)) => {
                let place = places.find(&table, column, *index)?;
                Ok(encode_lines(vocabulary, &table, place, 0..table.len() as u32))
            }
            (Self::Running { vocabulary, stride }, Decoded::Text(texts)) => {
                let text = RunningText::new(reading.text.tokens, &texts);
                let starts = windows(&text.ends, vocabulary.steps, 0, *stride);
                // A text shorter than a window is padded.
                let starts = if starts.is_empty() { vec![0] } else { starts };
                Ok(vocabulary.encode_windows(&text, starts.into_iter().map(|start| start as usize)))
            }
            _ => Err(DataError::Malformed {
                path: path.to_owned(),
                expected: "like the data that the model was made from",
                problem: "it has another format".to_owned(),
            }),
        }
    }
}

/// Rows of each window, one after another.
fn joined(cells: &[f32], width: usize, window: usize, starts: impl Iterator<Item = u32>) -> Vec<f32> {
    starts
        .flat_map(|start| &cells[start as usize * width..(start as usize + window) * width])
        .copied()
        .collect()
}

fn encode_lines(
    vocabulary: &Vocabulary,
    table: &Table,
    column: usize,
    rows: impl Iterator<Item = u32>,
) -> Vec<f32> {
    let lines = rows.map(|row| table.text(row as usize, column).unwrap_or_default());
    vocabulary.encode(lines)
}

/// Mean and standard deviation of the population.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

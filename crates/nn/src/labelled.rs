//! Rows with their answers, for a model that is there already: encoded as the model learned, not anew.

use std::path::Path;

use crate::data::{DataError, Part, Preprocessing, Table, TargetEncoding};

/// Rows that a model cannot be measured on.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The rows cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The right answers are not there.
    #[error(
        "these rows have no column `{0}`, which the model predicts: measuring it needs the right answers (`luthier predict` does not)"
    )]
    NoTarget(String),
    /// A row has no answer.
    #[error("row {row}: the target `{column}` is empty or marked as missing; remove the row or fill it in")]
    Missing {
        /// Which row, from 1.
        row: usize,
        /// The target.
        column: String,
    },
    /// A class that the model has not learned.
    #[error("row {row}: the model does not know the class `{class}` of `{column}`; it knows {known}")]
    UnknownClass {
        /// Which row, from 1.
        row: usize,
        /// The target.
        column: String,
        /// What is there.
        class: String,
        /// What there may be.
        known: String,
    },
}

/// Reads rows with the target among their columns.
pub(crate) fn read(preprocessing: &Preprocessing, path: &Path) -> Result<Part, LabelError> {
    let table = Table::read(path, &preprocessing.reading())?;
    let column = preprocessing.target_name().to_owned();
    let place = preprocessing.target_place(&table).ok_or(LabelError::NoTarget(column))?;
    let inputs = preprocessing.encode_other(&table)?;
    match preprocessing.target() {
        TargetEncoding::Classes { names } => {
            let classes = (0..table.len()).map(|row| class(&table, row, place, names));
            Ok(Part::of_classes(inputs, classes.collect::<Result<_, _>>()?))
        }
        TargetEncoding::Value { mean, deviation } => {
            let value = |row| -> Result<f32, LabelError> {
                let number = table.number(row, place)?.ok_or_else(|| missing(&table, row, place))?;
                Ok(((number - mean) / deviation) as f32)
            };
            Ok(Part::of_values(inputs, (0..table.len()).map(value).collect::<Result<_, _>>()?))
        }
    }
}

fn class(table: &Table, row: usize, place: usize, names: &[String]) -> Result<u32, LabelError> {
    let cell = table.cell(row, place).ok_or_else(|| missing(table, row, place))?;
    let as_number = |text: &str| text.parse::<f64>().ok();
    // Numbers that are equal are one class however they are written (`1` and `1.0`).
    let is_meant =
        |name: &String| *name == cell || as_number(name).is_some_and(|x| as_number(cell) == Some(x));
    names.iter().position(is_meant).map(|class| class as u32).ok_or_else(|| LabelError::UnknownClass {
        row: row + 1,
        column: table.names()[place].clone(),
        class: cell.to_owned(),
        known: crate::data::shown(names),
    })
}

fn missing(table: &Table, row: usize, place: usize) -> LabelError {
    LabelError::Missing { row: row + 1, column: table.names()[place].clone() }
}

//! From cells to numbers: columns are standardised or one-hot encoded with statistics of the training rows only,
//! targets become class numbers or standardised values. What was learned is kept with the model.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ColumnRef, DataError, DataSpec, PartTargets, Table, Task};

/// A text column with more categories than this is refused as being something else (an identifier, free text).
const MOST_CATEGORIES: usize = 200;
/// Whole numbers with more distinct values than this are a quantity, not classes.
const MOST_INTEGER_CLASSES: usize = 20;

/// How the columns of a table become a network's inputs, and what its outputs mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    columns: Vec<FeatureColumn>,
    target: TargetEncoding,
    target_name: String,
    target_index: usize,
    /// Number of columns of the table, target included.
    width: usize,
    /// Whether columns of other tables are found by name; by position otherwise.
    by_name: bool,
    missing: Vec<String>,
    /// What separates cells in other tables too; by the file's name if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delimiter: Option<char>,
}

/// One column that is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureColumn {
    name: String,
    index: usize,
    kind: ColumnKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ColumnKind {
    /// (x − mean) / deviation; a missing cell counts as `fill`, the median of the training rows.
    Numeric { fill: f64, mean: f64, deviation: f64 },
    /// One input for each name, 1 where the cell has it; a name not listed gives zeros. A missing cell counts as
    /// name number `fill`, the most frequent in the training rows.
    OneHot { names: Vec<String>, fill: usize },
}

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
}

impl Preprocessing {
    pub(super) fn new(
        table: &Table,
        spec: &DataSpec,
        target: usize,
        columns: Vec<FeatureColumn>,
        encoding: TargetEncoding,
    ) -> Self {
        Self {
            columns,
            target: encoding,
            target_name: table.names()[target].clone(),
            target_index: target,
            width: table.width(),
            by_name: table.has_header(),
            missing: spec.missing.clone(),
            delimiter: spec.delimiter,
        }
    }

    /// What a network's outputs mean.
    pub fn target(&self) -> &TargetEncoding {
        &self.target
    }

    /// Name of the target column.
    pub fn target_name(&self) -> &str {
        &self.target_name
    }

    /// Classes or numbers.
    pub fn task(&self) -> Task {
        match self.target {
            TargetEncoding::Classes { .. } => Task::Classification,
            TargetEncoding::Value { .. } => Task::Regression,
        }
    }

    /// Numbers per row that a network gets.
    pub fn inputs(&self) -> usize {
        self.columns.iter().map(|column| column.kind.width()).sum()
    }

    /// Number of columns of the table it was made for, target included.
    pub fn table_width(&self) -> usize {
        self.width
    }

    /// What turns the mean loss that an engine sees into that of the data: the variance of the target.
    pub(crate) fn loss_scale(&self) -> f64 {
        match self.target {
            TargetEncoding::Classes { .. } => 1.0,
            TargetEncoding::Value { deviation, .. } => deviation * deviation,
        }
    }

    /// Where another table has the target; `None` if it has none.
    pub(crate) fn target_place(&self, table: &Table) -> Option<usize> {
        if self.by_name {
            return table.names().iter().position(|name| *name == self.target_name);
        }
        (table.width() == self.width).then_some(self.target_index)
    }

    /// How another table for the same model is read.
    pub(crate) fn reading(&self) -> DataSpec {
        DataSpec {
            header: Some(self.by_name),
            delimiter: self.delimiter,
            missing: self.missing.clone(),
            ..DataSpec::new("")
        }
    }

    /// The network's inputs for some rows of the table it was made from.
    pub(super) fn encode(&self, table: &Table, rows: &[usize]) -> Result<Vec<f32>, DataError> {
        let places: Vec<usize> = self.columns.iter().map(|column| column.index).collect();
        self.encode_columns(table, rows, &places)
    }

    /// The network's inputs for all rows of another table, which may lack the target. Columns are found by name if
    /// the first table had names, else by position.
    pub(crate) fn encode_other(&self, table: &Table) -> Result<Vec<f32>, DataError> {
        let place = |column: &FeatureColumn| {
            if self.by_name {
                return table.column(&ColumnRef::Name(column.name.clone()));
            }
            let without_target = table.width() + 1 == self.width;
            if table.width() != self.width && !without_target {
                return Err(DataError::OtherWidth { found: table.width(), expected: self.width });
            }
            Ok(column.index - usize::from(without_target && column.index > self.target_index))
        };
        let places = self.columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        self.encode_columns(table, &(0..table.len()).collect::<Vec<_>>(), &places)
    }

    fn encode_columns(&self, table: &Table, rows: &[usize], places: &[usize]) -> Result<Vec<f32>, DataError> {
        let mut inputs = Vec::with_capacity(rows.len() * self.inputs());
        for &row in rows {
            for (column, &place) in self.columns.iter().zip(places) {
                column.kind.encode(table, row, place, &mut inputs)?;
            }
        }
        Ok(inputs)
    }
}

impl ColumnKind {
    fn width(&self) -> usize {
        match self {
            Self::Numeric { .. } => 1,
            Self::OneHot { names, .. } => names.len(),
        }
    }

    fn encode(
        &self,
        table: &Table,
        row: usize,
        column: usize,
        inputs: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        match self {
            Self::Numeric { fill, mean, deviation } => {
                let number = table.number(row, column)?.unwrap_or(*fill);
                // Far outside the training range a single-precision input must still be finite.
                let scaled = ((number - mean) / deviation).clamp(f64::from(f32::MIN), f64::from(f32::MAX));
                inputs.push(scaled as f32);
            }
            Self::OneHot { names, fill } => {
                let place = match table.cell(row, column) {
                    Some(cell) => names.iter().position(|name| name == cell),
                    None => Some(*fill),
                };
                inputs.extend((0..names.len()).map(|i| f32::from(u8::from(place == Some(i)))));
            }
        }
        Ok(())
    }
}

/// Learns each column from the training rows. Columns that are constant there are left out, with a note.
pub(super) fn fit(
    table: &Table,
    columns: &[usize],
    train: &[usize],
    standardize: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<FeatureColumn>, DataError> {
    let mut fitted = Vec::new();
    for &index in columns {
        let name = &table.names()[index];
        let kind = if is_numeric(table, index) {
            fit_numeric(table, index, train, standardize, notes)?
        } else {
            fit_one_hot(table, index, train, notes)?
        };
        match kind {
            Some(kind) => fitted.push(FeatureColumn { name: name.clone(), index, kind }),
            None => notes.push(format!("column `{name}` is constant in the training part and was left out")),
        }
    }
    if fitted.is_empty() {
        return Err(DataError::NoFeatures);
    }
    Ok(fitted)
}

/// A column is numeric if all its cells that are not missing are numbers, in any part of the table.
fn is_numeric(table: &Table, column: usize) -> bool {
    (0..table.len()).all(|row| table.cell(row, column).is_none_or(|cell| cell.parse::<f64>().is_ok()))
}

fn fit_numeric(
    table: &Table,
    column: usize,
    train: &[usize],
    standardize: bool,
    notes: &mut Vec<String>,
) -> Result<Option<ColumnKind>, DataError> {
    let cells = train.iter().map(|&row| table.number(row, column)).collect::<Result<Vec<_>, _>>()?;
    let mut known: Vec<f64> = cells.iter().copied().flatten().collect();
    known.sort_unstable_by(f64::total_cmp);
    let (Some(least), Some(most)) = (known.first(), known.last()) else { return Ok(None) };
    if least == most && known.len() == cells.len() {
        return Ok(None);
    }
    let fill = f64::midpoint(known[(known.len() - 1) / 2], known[known.len() / 2]);
    if known.len() < cells.len() {
        let (name, count) = (&table.names()[column], cells.len() - known.len());
        notes.push(format!("column `{name}`: {count} missing training cells count as the median, {fill}"));
    }
    if !standardize {
        return Ok(Some(ColumnKind::Numeric { fill, mean: 0.0, deviation: 1.0 }));
    }
    let filled: Vec<f64> = cells.iter().map(|cell| cell.unwrap_or(fill)).collect();
    let (mean, deviation) = moments(&filled);
    if !deviation.is_finite() {
        return Err(DataError::TooLarge { column: table.names()[column].clone() });
    }
    Ok((deviation > 0.0).then_some(ColumnKind::Numeric { fill, mean, deviation }))
}

fn fit_one_hot(
    table: &Table,
    column: usize,
    train: &[usize],
    notes: &mut Vec<String>,
) -> Result<Option<ColumnKind>, DataError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in train.iter().filter_map(|&row| table.cell(row, column)) {
        *counts.entry(cell).or_default() += 1;
    }
    if counts.len() > MOST_CATEGORIES {
        return Err(too_many_categories(table, column, counts.len()));
    }
    let missing = train.len() - counts.values().sum::<usize>();
    if counts.is_empty() || (counts.len() == 1 && missing == 0) {
        return Ok(None);
    }
    // Of equally frequent names the alphabetically first, so that the result does not depend on the order of rows.
    let most = counts.values().copied().max().unwrap_or_default();
    let fill = counts.values().position(|&count| count == most).unwrap_or_default();
    let names: Vec<String> = counts.keys().map(|&name| name.to_owned()).collect();
    if missing > 0 {
        let name = &table.names()[column];
        notes.push(format!("column `{name}`: {missing} missing training cells count as `{}`", names[fill]));
    }
    // With one name and missing cells, filling makes the column constant.
    Ok((names.len() > 1).then_some(ColumnKind::OneHot { names, fill }))
}

fn too_many_categories(table: &Table, column: usize, distinct: usize) -> DataError {
    let stray = (0..table.len()).find_map(|row| {
        table.cell(row, column).filter(|cell| cell.parse::<f64>().is_err()).map(|cell| (row, cell))
    });
    let (row, example) = stray.unwrap_or((0, ""));
    DataError::TooManyCategories {
        column: table.names()[column].clone(),
        distinct,
        example: example.to_owned(),
        row: row + 1,
        limit: MOST_CATEGORIES,
    }
}

/// The targets of a whole table, before it is split.
pub(super) enum Labels {
    Classes { names: Vec<String>, of_row: Vec<u32> },
    Values(Vec<f64>),
}

impl Labels {
    /// Reads the target column; without `task`, decides whether it holds classes.
    pub(super) fn read(table: &Table, target: usize, task: Option<Task>) -> Result<Self, DataError> {
        let cells = (0..table.len())
            .map(|row| table.cell(row, target).ok_or_else(|| missing_target(table, row, target)))
            .collect::<Result<Vec<_>, _>>()?;
        let numbers: Option<Vec<f64>> = cells.iter().map(|cell| cell.parse().ok()).collect();
        match task {
            Some(Task::Regression) => Self::values(table, target),
            Some(Task::Classification) => Self::of_classes(table, target, &cells, numbers.as_deref()),
            None => match numbers {
                Some(numbers) if !are_classes(&numbers) => Self::values(table, target),
                numbers => Self::of_classes(table, target, &cells, numbers.as_deref()),
            },
        }
    }

    /// Class of each row; `None` for regression.
    pub(super) fn classes(&self) -> Option<&[u32]> {
        match self {
            Self::Classes { of_row, .. } => Some(of_row),
            Self::Values(_) => None,
        }
    }

    /// Refuses a regression whose training rows are all the same.
    pub(super) fn check_training(
        &self,
        table: &Table,
        target: usize,
        train: &[usize],
    ) -> Result<(), DataError> {
        let Self::Values(values) = self else { return Ok(()) };
        let column = || table.names()[target].clone();
        let training: Vec<f64> = train.iter().map(|&row| values[row]).collect();
        let (_, deviation) = moments(&training);
        if training.iter().all(|value| *value == training[0]) || deviation == 0.0 {
            return Err(DataError::ConstantTarget { column: column() });
        }
        if !deviation.is_finite() {
            return Err(DataError::TooLarge { column: column() });
        }
        Ok(())
    }

    /// Learns the encoding from the training rows.
    pub(super) fn encoding(&self, train: &[usize]) -> TargetEncoding {
        match self {
            Self::Classes { names, .. } => TargetEncoding::Classes { names: names.clone() },
            Self::Values(values) => {
                let (mean, deviation) = moments(&train.iter().map(|&row| values[row]).collect::<Vec<_>>());
                TargetEncoding::Value { mean, deviation }
            }
        }
    }

    /// The targets of some rows as a network sees them.
    pub(super) fn targets(&self, rows: &[usize], encoding: &TargetEncoding) -> PartTargets {
        match (self, encoding) {
            (Self::Classes { of_row, .. }, _) => {
                PartTargets::Classes(rows.iter().map(|&row| of_row[row]).collect())
            }
            (Self::Values(values), TargetEncoding::Value { mean, deviation }) => PartTargets::Values(
                rows.iter().map(|&row| ((values[row] - mean) / deviation) as f32).collect(),
            ),
            (Self::Values(_), TargetEncoding::Classes { .. }) => {
                unreachable!("values are never encoded as classes")
            }
        }
    }

    fn values(table: &Table, target: usize) -> Result<Self, DataError> {
        let number = |row| table.number(row, target)?.ok_or_else(|| missing_target(table, row, target));
        (0..table.len()).map(number).collect::<Result<_, _>>().map(Self::Values)
    }

    fn of_classes(
        table: &Table,
        target: usize,
        cells: &[&str],
        numbers: Option<&[f64]>,
    ) -> Result<Self, DataError> {
        let column = || table.names()[target].clone();
        if let Some(row) = numbers.and_then(|numbers| numbers.iter().position(|x| !x.is_finite())) {
            table.number(row, target)?;
        }
        // Numbers that are equal are one class however they are written (`1` and `1.0`).
        let label =
            |row: usize| numbers.map_or_else(|| cells[row].to_owned(), |numbers| numbers[row].to_string());
        let labels: Vec<String> = (0..cells.len()).map(label).collect();
        let distinct: BTreeSet<&String> = labels.iter().collect();
        let mut names: Vec<String> = distinct.into_iter().cloned().collect();
        if numbers.is_some() {
            names.sort_by(|a, b| number_of(a).total_cmp(&number_of(b)));
        }
        if names.len() < 2 {
            return Err(DataError::OneClass { column: column(), value: cells[0].to_owned() });
        }
        if names.len() * 2 > cells.len() {
            return Err(DataError::TooManyClasses {
                column: column(),
                classes: names.len(),
                rows: cells.len(),
            });
        }
        let numbered: BTreeMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let of_row = labels.iter().map(|label| numbered[label.as_str()]).collect();
        Ok(Self::Classes { of_row, names })
    }
}

/// See [`super::DataSpec::task`].
fn are_classes(numbers: &[f64]) -> bool {
    let mut distinct = numbers.to_vec();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup();
    numbers.iter().all(|x| x.fract() == 0.0)
        && distinct.len() <= MOST_INTEGER_CLASSES
        && distinct.len() * 2 <= numbers.len()
}

fn missing_target(table: &Table, row: usize, target: usize) -> DataError {
    DataError::MissingTarget { row: row + 1, line: table.line(row), column: table.names()[target].clone() }
}

fn number_of(label: &str) -> f64 {
    label.parse().unwrap_or(f64::NAN)
}

/// Mean and standard deviation of the population.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

//! A table in memory, column by column: names, and cells that are numbers or text. Where it came from is forgotten but
//! for the files and lines of its rows, and what the cells mean is not decided here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::error::{hint, shown};
use super::{ColumnRef, DataError, Place};

/// A rectangular table; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    names: Vec<String>,
    has_header: bool,
    columns: Vec<Column>,
    /// Line of the file where each row starts; empty if the file has no lines.
    lines: Vec<u32>,
    /// The files that its rows were read from, each with how many it has; empty if they are of none.
    files: Vec<(Arc<Path>, usize)>,
    /// Where each row stood when it was read; empty if they stand as they were.
    read_as: Vec<u32>,
    rows: usize,
    /// Whether the file says that its numbers are whole, as those of classes are.
    whole: bool,
}

/// The cells of a column.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    /// Numbers that single precision holds exactly; NaN where a cell is missing.
    Single(Vec<f32>),
    /// Other numbers; NaN where a cell is missing.
    Double(Vec<f64>),
    Text(TextColumn),
}

/// Cells of text, one after another in one string.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextColumn {
    text: String,
    ends: Vec<usize>,
    missing: Vec<bool>,
}

impl TextColumn {
    pub(crate) fn push(&mut self, cell: Option<&str>) {
        self.text.push_str(cell.unwrap_or_default());
        self.ends.push(self.text.len());
        self.missing.push(cell.is_none());
    }

    /// The cell, `None` if it is missing.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        (!self.missing[row]).then(|| &self.text[start..self.ends[row]])
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl<'a> FromIterator<Option<&'a str>> for TextColumn {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(cells: I) -> Self {
        let mut column = Self::default();
        cells.into_iter().for_each(|cell| column.push(cell));
        column
    }
}

impl Column {
    /// Numbers in the least precision that holds them exactly.
    pub(crate) fn of_numbers(numbers: Vec<f64>) -> Self {
        let is_single = |x: &f64| x.is_nan() || f64::from(*x as f32) == *x;
        if numbers.iter().all(is_single) {
            Self::Single(numbers.into_iter().map(|x| x as f32).collect())
        } else {
            Self::Double(numbers)
        }
    }

    /// Numbers if all cells that are not missing are; else the text.
    fn typed(text: TextColumn) -> Self {
        let parsed: Option<Vec<f64>> = text
            .iter()
            .map(|cell| match cell {
                None => Some(f64::NAN),
                // A NaN that is not marked as missing stays text, so that it is found out when it is used.
                Some(cell) => cell.parse::<f64>().ok().filter(|number| !number.is_nan()),
            })
            .collect();
        parsed.map_or(Self::Text(text), Self::of_numbers)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Single(numbers) => numbers.len(),
            Self::Double(numbers) => numbers.len(),
            Self::Text(text) => text.len(),
        }
    }

    fn cell(&self, row: usize) -> Option<Cow<'_, str>> {
        match self {
            Self::Single(numbers) => known(numbers[row].into()).map(|x| Cow::Owned(x.to_string())),
            Self::Double(numbers) => known(numbers[row]).map(|x| Cow::Owned(x.to_string())),
            Self::Text(text) => text.get(row).map(Cow::Borrowed),
        }
    }

    /// This column and another below it.
    fn then(&self, below: &Self) -> Self {
        match (self, below) {
            (Self::Text(_), _) | (_, Self::Text(_)) => {
                let cells = [self, below].map(|column| (0..column.len()).map(|row| column.cell(row)));
                Self::Text(cells.into_iter().flatten().fold(TextColumn::default(), |mut text, cell| {
                    text.push(cell.as_deref());
                    text
                }))
            }
            _ => Self::of_numbers([self.numbers(), below.numbers()].concat()),
        }
    }

    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Single(numbers) => numbers.iter().map(|&x| x.into()).collect(),
            Self::Double(numbers) => numbers.clone(),
            Self::Text(_) => Vec::new(),
        }
    }

    fn ordered(&self, order: &[u32]) -> Self {
        let rows = order.iter().map(|&row| row as usize);
        match self {
            Self::Single(numbers) => Self::Single(rows.map(|row| numbers[row]).collect()),
            Self::Double(numbers) => Self::Double(rows.map(|row| numbers[row]).collect()),
            Self::Text(text) => Self::Text(rows.map(|row| text.get(row)).collect()),
        }
    }
}

impl Table {
    /// A table of columns of one length, at least 1. `lines` may be empty.
    pub(crate) fn new(
        names: Vec<String>,
        has_header: bool,
        columns: Vec<Column>,
        lines: Vec<u32>,
    ) -> Result<Self, DataError> {
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(DataError::DuplicateColumn(twice.clone()));
        }
        let rows = columns.first().map_or(0, Column::len);
        let (files, read_as) = (Vec::new(), Vec::new());
        Ok(Self { names, has_header, columns, lines, files, read_as, rows, whole: false })
    }

    /// Columns without names.
    pub(crate) fn unnamed(columns: Vec<Column>) -> Self {
        let rows = columns.first().map_or(0, Column::len);
        Self {
            names: numbered(columns.len()),
            has_header: false,
            columns,
            lines: Vec::new(),
            files: Vec::new(),
            read_as: Vec::new(),
            rows,
            whole: false,
        }
    }

    /// Columns of numbers get to be numbers, but for those that are to stay text.
    pub(crate) fn with_types(mut self, stays_text: impl Fn(usize) -> bool) -> Self {
        let typed = |(index, column)| match column {
            Column::Text(text) if !stays_text(index) => Column::typed(text),
            column => column,
        };
        self.columns = self.columns.into_iter().enumerate().map(typed).collect();
        self
    }

    /// The same, as read from a file.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        let files = vec![(path.into(), self.rows)];
        Self { files, ..self }
    }

    /// The same, of a file that says that its numbers are whole.
    pub(crate) fn with_whole_numbers(self) -> Self {
        Self { whole: true, ..self }
    }

    pub(crate) fn says_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn width(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn has_header(&self) -> bool {
        self.has_header
    }

    /// The text of a cell; `None` if it is missing.
    pub(crate) fn cell(&self, row: usize, column: usize) -> Option<Cow<'_, str>> {
        self.columns[column].cell(row)
    }

    /// The text of a cell in a column of text; `None` if it is missing or the column is not text.
    pub(crate) fn text(&self, row: usize, column: usize) -> Option<&str> {
        match &self.columns[column] {
            Column::Text(text) => text.get(row),
            Column::Single(_) | Column::Double(_) => None,
        }
    }

    /// The number in a cell, `None` if it is missing, an error if it is something else or not finite.
    pub(crate) fn number(&self, row: usize, column: usize) -> Result<Option<f64>, DataError> {
        let parsed = match &self.columns[column] {
            Column::Single(numbers) => Ok(known(numbers[row].into())),
            Column::Double(numbers) => Ok(known(numbers[row])),
            Column::Text(text) => text.get(row).map(|cell| cell.parse().map_err(|_| cell)).transpose(),
        };
        let (at, name) = (self.place(row), || self.names[column].clone());
        match parsed {
            Ok(number) if number.is_none_or(f64::is_finite) => Ok(number),
            Ok(_) => {
                let value = self.cell(row, column).unwrap_or_default().into_owned();
                Err(DataError::NotFinite { at, column: name(), value })
            }
            Err(cell) => Err(DataError::NotANumber { at, column: name(), value: cell.to_owned() }),
        }
    }

    /// Whether all cells that are not missing are numbers.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        match &self.columns[column] {
            Column::Single(_) | Column::Double(_) => true,
            Column::Text(text) => text.iter().flatten().all(|cell| cell.parse::<f64>().is_ok()),
        }
    }

    /// Where a row is, for messages.
    pub(crate) fn place(&self, row: usize) -> Place {
        let line = self.lines.get(row).map(|&line| line.into());
        let mut row = self.read_as.get(row).map_or(row, |&row| row as usize);
        for (file, rows) in &self.files {
            if row < *rows {
                return Place { file: Some(file.clone()), row: row + 1, line };
            }
            row -= rows;
        }
        Place { file: None, row: row + 1, line }
    }

    /// Finds a column.
    pub(crate) fn column(&self, wanted: &ColumnRef) -> Result<usize, DataError> {
        position(&self.names, wanted)
    }

    /// Puts the rows of another table with the same columns below; found by name if both have names.
    pub(crate) fn append(&mut self, below: &Self) -> Result<(), DataError> {
        let by_name = self.has_header && below.has_header;
        if !by_name && below.width() != self.width() {
            return Err(DataError::OtherTestWidth { found: below.width(), expected: self.width() });
        }
        for (index, name) in self.names.iter().enumerate() {
            let other = if by_name { position(&below.names, &ColumnRef::Name(name.clone()))? } else { index };
            self.columns[index] = self.columns[index].then(&below.columns[other]);
        }
        self.lines.extend(&below.lines);
        self.files.extend(below.files.iter().cloned());
        self.rows += below.rows;
        Ok(())
    }

    /// Brings the first rows into another order; the rows beyond `order` stay.
    pub(crate) fn reorder(&mut self, order: &[u32]) {
        let rest = (order.len() as u32)..self.rows as u32;
        let order: Vec<u32> = order.iter().copied().chain(rest).collect();
        for column in &mut self.columns {
            *column = column.ordered(&order);
        }
        let read_as = |row: &u32| self.read_as.get(*row as usize).copied().unwrap_or(*row);
        self.read_as = order.iter().map(read_as).collect();
        if !self.lines.is_empty() {
            self.lines = order.iter().map(|&row| self.lines[row as usize]).collect();
        }
    }
}

/// Position of a column among `names`.
pub(super) fn position(names: &[String], wanted: &ColumnRef) -> Result<usize, DataError> {
    let index = match wanted {
        ColumnRef::Index(index) => Some(*index),
        ColumnRef::Name(name) => names.iter().position(|known| known == name).or_else(|| name.parse().ok()),
    };
    index.filter(|&index| index < names.len()).ok_or_else(|| DataError::UnknownColumn {
        wanted: wanted.to_string(),
        hint: hint(&wanted.to_string(), names),
        columns: shown(names),
    })
}

/// Names for columns that have none.
pub(super) fn numbered(width: usize) -> Vec<String> {
    (0..width).map(|index| format!("column {index}")).collect()
}

fn known(number: f64) -> Option<f64> {
    (!number.is_nan()).then_some(number)
}

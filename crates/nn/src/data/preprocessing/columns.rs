//! Columns of a table as inputs: standardised numbers, one-hot categories, ranks, and category numbers for embeddings,
//! with statistics of the training rows only.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::super::error::shown;
use super::super::{Categories, ColumnRef, ColumnType, DataError, DataSpec, Fill, MissingCategory, Table};
use super::{EmbeddedColumn, moments};

/// A text column with more categories than this is refused as being something else (an identifier, free text).
const MOST_CATEGORIES: usize = 200;
/// The same for embedded columns.
const MOST_EMBEDDED: usize = 100_000;

/// The columns that are used, and how they are found in another table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Columns {
    columns: Vec<FeatureColumn>,
    pub(super) places: Places,
}

/// How columns are found in another table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Places {
    /// By name if the first table had names; by position otherwise.
    by_name: bool,
    /// Number of columns of the first table, targets included.
    width: usize,
    /// The targets' positions.
    targets: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureColumn {
    name: String,
    index: usize,
    kind: ColumnKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ColumnKind {
    /// (x − mean) / deviation; a missing cell counts as `fill`. With `indicator` a second input is 1 where the cell is
    /// missing, else 0.
    Numeric { fill: f64, mean: f64, deviation: f64, indicator: bool },
    /// The rank among `levels` from 0, as a number; a missing cell counts as the rank `fill`.
    Ordinal { levels: Vec<String>, fill: f64, mean: f64, deviation: f64 },
    /// One input for each name, 1 where the cell has it; a name not listed gives zeros. A missing cell sets the input
    /// `missing`, which may be one more than there are names; without that it gives zeros too.
    OneHot { names: Vec<String>, missing: Option<usize> },
    /// One input: the name's number from 1; 0 if the cell is missing or its name not listed.
    Embed { names: Vec<String> },
}

impl Places {
    pub(super) fn new(table: &Table, targets: &[usize]) -> Self {
        Self { by_name: table.has_header(), width: table.width(), targets: targets.to_vec() }
    }

    /// Whether another table can have its targets where the first had them.
    pub(super) fn has_targets(&self, table: &Table) -> bool {
        self.by_name || table.width() == self.width
    }

    /// Where a column of the first table is in another, which may lack the targets.
    pub(super) fn find(&self, table: &Table, name: &str, index: usize) -> Result<usize, DataError> {
        if self.by_name {
            return table.column(&ColumnRef::Name(name.to_owned()));
        }
        if table.width() == self.width {
            return Ok(index);
        }
        if table.width() + self.targets.len() != self.width || self.targets.contains(&index) {
            return Err(DataError::OtherWidth { found: table.width(), expected: self.width });
        }
        Ok(index - self.targets.iter().filter(|&&target| target < index).count())
    }
}

impl Columns {
    /// Learns each column from the training rows. Columns that are constant there are left out, with a note.
    pub(super) fn fit(
        table: &Table,
        features: &[usize],
        targets: &[usize],
        train: &[u32],
        spec: &DataSpec,
        notes: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let mut fit = Fit { table, train, spec, notes, kinds: column_kinds(table, spec)? };
        let mut columns = Vec::new();
        for &index in features {
            let name = table.names()[index].clone();
            match fit.column(index)? {
                Some(kind) => columns.push(FeatureColumn { name, index, kind }),
                None => fit.notes.push(fit.left_out(index)),
            }
        }
        if columns.is_empty() {
            return Err(DataError::NoFeatures);
        }
        Ok(Self { columns, places: Places::new(table, targets) })
    }

    /// Numbers per row.
    pub(super) fn inputs(&self) -> usize {
        self.columns.iter().map(|column| column.kind.width()).sum()
    }

    pub(super) fn embedded(&self) -> Vec<EmbeddedColumn> {
        let mut input = 0;
        let mut embedded = Vec::new();
        for column in &self.columns {
            if let ColumnKind::Embed { names } = &column.kind {
                embedded.push(EmbeddedColumn { input, cardinality: names.len() + 1 });
            }
            input += column.kind.width();
        }
        embedded
    }

    /// Inputs for some rows of the table it was made from.
    pub(super) fn encode(&self, table: &Table, rows: &[u32]) -> Result<Vec<f32>, DataError> {
        self.encode_at(table, rows, &self.columns.iter().map(|column| column.index).collect::<Vec<_>>())
    }

    /// Inputs for all rows of another table.
    pub(super) fn encode_other(&self, table: &Table) -> Result<Vec<f32>, DataError> {
        let find = |column: &FeatureColumn| self.places.find(table, &column.name, column.index);
        let places = self.columns.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        self.encode_at(table, &(0..table.len() as u32).collect::<Vec<_>>(), &places)
    }

    fn encode_at(&self, table: &Table, rows: &[u32], places: &[usize]) -> Result<Vec<f32>, DataError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let width = self.inputs();
        let mut inputs = vec![0.0; rows.len() * width];
        let mut first = 0;
        for (column, &place) in self.columns.iter().zip(places) {
            let cells = inputs[first..].chunks_mut(width).zip(rows.iter().map(|&row| row as usize));
            column.kind.encode(table, place, cells)?;
            first += column.kind.width();
        }
        Ok(inputs)
    }
}

impl ColumnKind {
    fn width(&self) -> usize {
        match self {
            Self::Numeric { indicator, .. } => 1 + usize::from(*indicator),
            Self::OneHot { names, missing } => names.len() + usize::from(*missing == Some(names.len())),
            Self::Ordinal { .. } | Self::Embed { .. } => 1,
        }
    }

    /// Writes each row's inputs to the beginning of its slice, which holds zeros.
    fn encode<'a>(
        &self,
        table: &Table,
        column: usize,
        cells: impl Iterator<Item = (&'a mut [f32], usize)>,
    ) -> Result<(), DataError> {
        match self {
            Self::Numeric { fill, mean, deviation, indicator } => {
                for (inputs, row) in cells {
                    let number = table.number(row, column)?;
                    inputs[0] = scaled(number.unwrap_or(*fill), *mean, *deviation);
                    if *indicator {
                        inputs[1] = f32::from(u8::from(number.is_none()));
                    }
                }
            }
            Self::Ordinal { levels, fill, mean, deviation } => {
                for (inputs, row) in cells {
                    inputs[0] = scaled(rank(table, row, column, levels)?.unwrap_or(*fill), *mean, *deviation);
                }
            }
            Self::OneHot { names, missing } => {
                let places: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
                for (inputs, row) in cells {
                    let place = match table.cell(row, column) {
                        Some(cell) => places.get(&*cell).copied(),
                        None => *missing,
                    };
                    if let Some(place) = place {
                        inputs[place] = 1.0;
                    }
                }
            }
            Self::Embed { names } => {
                let places: HashMap<&str, usize> = names.iter().map(String::as_str).zip(1..).collect();
                for (inputs, row) in cells {
                    let number = table.cell(row, column).and_then(|cell| places.get(&*cell).copied());
                    inputs[0] = number.unwrap_or(0) as f32;
                }
            }
        }
        Ok(())
    }
}

/// Far outside the training range a single-precision input must still be finite.
fn scaled(number: f64, mean: f64, deviation: f64) -> f32 {
    ((number - mean) / deviation).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

fn rank(table: &Table, row: usize, column: usize, levels: &[String]) -> Result<Option<f64>, DataError> {
    let Some(cell) = table.cell(row, column) else { return Ok(None) };
    match levels.iter().position(|level| *level == cell) {
        Some(rank) => Ok(Some(rank as f64)),
        None => Err(DataError::UnknownLevel {
            at: table.place(row),
            column: table.names()[column].clone(),
            value: cell.into_owned(),
            levels: shown(levels),
        }),
    }
}

/// What the user says about columns, by position.
fn column_kinds(table: &Table, spec: &DataSpec) -> Result<HashMap<usize, ColumnType>, DataError> {
    let place = |(name, kind): (&String, &ColumnType)| {
        Ok((table.column(&ColumnRef::Name(name.clone()))?, kind.clone()))
    };
    spec.columns.iter().map(place).collect()
}

/// What columns are learned from.
struct Fit<'a> {
    table: &'a Table,
    train: &'a [u32],
    spec: &'a DataSpec,
    notes: &'a mut Vec<String>,
    kinds: HashMap<usize, ColumnType>,
}

impl Fit<'_> {
    /// `None` if the column is constant in the training rows.
    fn column(&mut self, index: usize) -> Result<Option<ColumnKind>, DataError> {
        let kind = self.kinds.get(&index).cloned();
        let by_default = match self.spec.categories {
            Categories::OneHot => ColumnType::OneHot,
            Categories::Embed => ColumnType::Embed,
        };
        let kind = match kind {
            Some(ColumnType::Categorical) => by_default,
            Some(kind) => kind,
            None if self.table.is_numeric(index) => ColumnType::Numeric,
            None => by_default,
        };
        match kind {
            ColumnType::Numeric => self.numeric(index),
            ColumnType::OneHot => self.one_hot(index),
            ColumnType::Embed => self.embed(index),
            ColumnType::Ordinal(levels) => self.ordinal(index, levels),
            ColumnType::Categorical | ColumnType::Ignore => Ok(None),
        }
    }

    fn left_out(&self, index: usize) -> String {
        let name = &self.table.names()[index];
        if self.rows().all(|row| self.table.cell(row, index).is_none()) {
            return format!("column `{name}` has no values in the training part and was left out");
        }
        format!("column `{name}` is constant in the training part and was left out")
    }

    fn numeric(&mut self, index: usize) -> Result<Option<ColumnKind>, DataError> {
        let cells = self.rows().map(|row| self.table.number(row, index)).collect::<Result<Vec<_>, _>>()?;
        let Some((fill, indicator, mean, deviation)) = self.number_statistics(index, &cells)? else {
            return Ok(None);
        };
        Ok(Some(ColumnKind::Numeric { fill, mean, deviation, indicator }))
    }

    fn ordinal(&mut self, index: usize, levels: Vec<String>) -> Result<Option<ColumnKind>, DataError> {
        let cells =
            self.rows().map(|row| rank(self.table, row, index, &levels)).collect::<Result<Vec<_>, _>>()?;
        let Some((fill, _, mean, deviation)) = self.number_statistics(index, &cells)? else {
            return Ok(None);
        };
        Ok(Some(ColumnKind::Ordinal { levels, fill, mean, deviation }))
    }

    /// Filling, whether missing cells are indicated, mean and deviation; `None` for a constant column.
    fn number_statistics(
        &mut self,
        index: usize,
        cells: &[Option<f64>],
    ) -> Result<Option<(f64, bool, f64, f64)>, DataError> {
        let mut known: Vec<f64> = cells.iter().copied().flatten().collect();
        known.sort_unstable_by(f64::total_cmp);
        let missing = cells.len() - known.len();
        let indicator = self.spec.missing_indicator && missing > 0;
        let (Some(least), Some(most)) = (known.first(), known.last()) else { return Ok(None) };
        if least == most && !indicator {
            return Ok(None);
        }
        let (fill, word) = match self.spec.fill {
            Fill::Median => (f64::midpoint(known[(known.len() - 1) / 2], known[known.len() / 2]), "median"),
            Fill::Mean => (moments(&known).0, "mean"),
        };
        if missing > 0 {
            let name = &self.table.names()[index];
            self.notes.push(format!(
                "column `{name}`: {missing} missing training cells count as the {word}, {fill}"
            ));
        }
        let filled: Vec<f64> = cells.iter().map(|cell| cell.unwrap_or(fill)).collect();
        let (mean, deviation) = if self.spec.standardize { moments(&filled) } else { (0.0, 1.0) };
        if !deviation.is_finite() || !fill.is_finite() {
            return Err(DataError::TooLarge { column: self.table.names()[index].clone() });
        }
        // With an indicator a constant column still says where cells are missing.
        let deviation = if deviation == 0.0 && indicator { 1.0 } else { deviation };
        Ok((deviation > 0.0).then_some((fill, indicator, mean, deviation)))
    }

    fn one_hot(&mut self, index: usize) -> Result<Option<ColumnKind>, DataError> {
        let counts = self.counts(index, MOST_CATEGORIES)?;
        let missing = self.train.len() - counts.values().sum::<usize>();
        if counts.is_empty() || (counts.len() == 1 && missing == 0) {
            return Ok(None);
        }
        self.doubt_categories(index, &counts);
        let names: Vec<String> = counts.keys().cloned().collect();
        let place = match self.spec.missing_category {
            // Cells that are missing only later give zeros.
            MissingCategory::Own => (missing > 0).then_some(names.len()),
            MissingCategory::MostFrequent => {
                // Of equally frequent names the alphabetically first, so that the order of rows does not matter.
                let most = counts.values().copied().max().unwrap_or_default();
                counts.values().position(|&count| count == most)
            }
        };
        if missing > 0 {
            let column = &self.table.names()[index];
            let as_what = place
                .and_then(|place| names.get(place))
                .map_or_else(|| "a category of their own".to_owned(), |name| format!("`{name}`"));
            self.notes
                .push(format!("column `{column}`: {missing} missing training cells count as {as_what}"));
        }
        // With one name and missing cells, filling makes the column constant.
        let kind = ColumnKind::OneHot { names, missing: place };
        Ok((kind.width() > 1).then_some(kind))
    }

    /// Notes texts that are hardly meant as categories, unless the study says that they are.
    fn doubt_categories(&mut self, index: usize, counts: &BTreeMap<String, usize>) {
        let (names, known) = (counts.len(), counts.values().sum::<usize>());
        if self.kinds.contains_key(&index) || names < FEW_CATEGORIES {
            return;
        }
        let column = &self.table.names()[index];
        if counts.keys().all(|name| has_decimal_comma(name)) {
            self.notes.push(format!(
                "column `{column}`: its cells look like numbers with a decimal comma and count as {names} categories; write `.` for `,`"
            ));
        } else if names * 10 > known * 9 {
            self.notes.push(format!(
                "column `{column}`: {names} different texts in {known} training rows tell little about other rows; `ignore` leaves it out"
            ));
        }
    }

    fn embed(&mut self, index: usize) -> Result<Option<ColumnKind>, DataError> {
        let counts = self.counts(index, MOST_EMBEDDED)?;
        let missing = self.train.len() - counts.values().sum::<usize>();
        if counts.is_empty() || (counts.len() == 1 && missing == 0) {
            return Ok(None);
        }
        Ok(Some(ColumnKind::Embed { names: counts.into_keys().collect() }))
    }

    /// How often each category occurs in the training rows.
    fn counts(&self, index: usize, limit: usize) -> Result<BTreeMap<String, usize>, DataError> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for cell in self.rows().filter_map(|row| self.table.cell(row, index)) {
            match counts.get_mut(&*cell) {
                Some(count) => *count += 1,
                None => drop(counts.insert(cell.into_owned(), 1)),
            }
        }
        if counts.len() > limit {
            return Err(too_many_categories(self.table, index, counts.len(), limit));
        }
        Ok(counts)
    }

    fn rows(&self) -> impl Iterator<Item = usize> + use<'_> {
        self.train.iter().map(|&row| row as usize)
    }
}

/// Fewer categories are believed to be meant, however few the rows.
const FEW_CATEGORIES: usize = 20;

/// Whether a text is a number but for its one comma.
fn has_decimal_comma(text: &str) -> bool {
    text.matches(',').count() == 1 && text.replace(',', ".").parse::<f64>().is_ok()
}

fn too_many_categories(table: &Table, column: usize, distinct: usize, limit: usize) -> DataError {
    let stray = (0..table.len()).find_map(|row| {
        table
            .cell(row, column)
            .filter(|cell| cell.parse::<f64>().is_err())
            .map(|cell| (row, cell.into_owned()))
    });
    let (row, example) = stray.unwrap_or_default();
    let column = table.names()[column].clone();
    DataError::TooManyCategories { column, distinct, example, at: table.place(row), limit }
}

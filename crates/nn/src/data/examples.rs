//! All examples of the data before they are divided: what each consists of, its target, its group and its place in
//! time. Nothing is scaled here.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::array::Array;
use super::formats::{Decoded, Purpose, Source};
use super::inputs::{Inputs, RunningWindows, Series};
use super::order::{by_time, groups, in_order, put_in_order, windows};
use super::preprocessing::{Column, Labels, most_frequent};
use super::split::{Division, Fold, Fractions, Split};
use super::text::RunningText;
use super::{ColumnRef, ColumnType, DataError, DataSpec, Format, OuterFold, SplitKind, Table};
use crate::rng::seed_from_u64;

/// Tokens of an example of a running text if nothing is said.
const USUAL_STEPS: usize = 64;
/// Examples of a running text if nothing is said, at most.
const USUAL_WINDOWS: usize = 200_000;

/// Everything that problems on the same data share.
#[derive(Debug)]
pub(super) struct Examples {
    pub(super) inputs: Inputs,
    pub(super) labels: Labels,
    pub(super) target_name: String,
    /// Group of each example.
    pub(super) groups: Option<Vec<u32>>,
    /// Examples from the earliest to the last.
    pub(super) order: Option<Vec<u32>>,
    pub(super) split: SplitKind,
    /// Examples at the end that are the test part.
    pub(super) test: usize,
    pub(super) rows: usize,
    pub(super) spec: DataSpec,
    pub(super) fingerprint: String,
    pub(super) notes: Vec<String>,
}

impl Examples {
    /// Reads all files of `spec`; relative names are looked up in `base`.
    pub(super) fn read(spec: &DataSpec, base: &Path) -> Result<Self, DataError> {
        check(spec)?;
        let mut hashes = Vec::new();
        let mut source = |path: &Path, labels: Option<&Path>| {
            let (path, labels) = (base.join(path), labels.map(|path| base.join(path)));
            Source { path, labels, spec, purpose: Purpose::Learn, hashes: &mut hashes }.decode()
        };
        let mut decoded = source(&spec.file, spec.labels.as_deref())?;
        let mut test = 0;
        if let Some(path) = &spec.test_file {
            let file = source(path, spec.test_labels.as_deref())?;
            test = decoded.append(file, &base.join(path))?;
        }
        let mut examples = Self::of(decoded, test, spec, &base.join(&spec.file))?;
        examples.fingerprint = match hashes.as_slice() {
            [one] => one.clone(),
            several => blake3::hash(several.join("\n").as_bytes()).to_hex().to_string(),
        };
        Ok(examples)
    }

    fn of(decoded: Decoded, test: usize, spec: &DataSpec, path: &Path) -> Result<Self, DataError> {
        match decoded {
            Decoded::Table(table) if spec.window.is_some() => Self::of_series(table, test, spec),
            Decoded::Table(table) => Self::of_table(table, test, spec),
            Decoded::Array { array, labels, test: own } => {
                refuse_columns(spec, "arrays and images")?;
                let labels = labels
                    .ok_or(DataError::NoLabels { path: path.to_owned(), hint: "give them as `labels`" })?;
                Self::of_array(array, &labels, test.max(own), spec)
            }
            Decoded::Text(texts) => {
                refuse_columns(spec, "a running text")?;
                Self::of_text(&texts, spec, path)
            }
        }
    }

    fn of_table(table: Table, test: usize, spec: &DataSpec) -> Result<Self, DataError> {
        super::split::check(spec, table.len() - test)?;
        let targets = targets(&table, spec)?;
        let rows: Vec<u32> = (0..table.len() as u32).collect();
        let mut notes = Vec::new();
        let labels =
            Labels::read(&Column { table: &table, targets: &targets, rows: &rows, test }, spec, &mut notes)?;
        let own = table.len() - test;
        let groups = spec.group.as_ref().map(|group| groups(&table, table.column(group)?)).transpose()?;
        let order =
            spec.time.as_ref().map(|time| in_order(&table, table.column(time)?, 0..own)).transpose()?;
        let (target_name, rows) = (target_name(&table, &targets), table.len());
        let inputs = if spec.format == Some(Format::Text) {
            Inputs::Lines { column: text_column(&table, &targets, spec)?, table }
        } else {
            let unused = unused(&table, spec)?;
            let features = (0..table.width())
                .filter(|column| !targets.contains(column) && !unused.contains(column))
                .collect();
            Inputs::Columns { table, features, targets }
        };
        Self { inputs, labels, target_name, groups, order, test, rows, notes, ..Self::nothing(spec) }
            .with_split()
    }

    fn of_series(mut table: Table, test: usize, spec: &DataSpec) -> Result<Self, DataError> {
        let (window, horizon) = (spec.window.unwrap_or(1), spec.horizon.unwrap_or(1));
        let own = table.len() - test;
        let group = put_in_order(&mut table, own, spec)?;
        let targets = targets(&table, spec)?;
        let mut notes = Vec::new();
        let windows = Windows { window, horizon, own };
        let starts = windows.with_targets(&table, group.as_deref(), &targets, &mut notes)?;
        let rows: Vec<u32> = starts.iter().map(|&start| windows.target(start)).collect();
        let test = rows.iter().filter(|&&row| row as usize >= own).count();
        super::split::check(spec, rows.len() - test)?;
        let column = Column { table: &table, targets: &targets, rows: &rows, test };
        let labels = Labels::read(&column, spec, &mut notes)?;
        let groups = group.map(|group| rows.iter().map(|&row| group[row as usize]).collect());
        // Without groups the rows are in order of time already.
        let time = spec.time.as_ref().filter(|_| spec.group.is_some());
        let order =
            time.map(|time| by_time(&table, table.column(time)?, &rows[..rows.len() - test])).transpose()?;
        let features = series_features(&table, spec, &mut notes)?;
        let (target_name, rows) = (target_name(&table, &targets), rows.len());
        let inputs = Inputs::Series(Series { table, features, targets, window, starts });
        Self { inputs, labels, target_name, groups, order, test, rows, notes, ..Self::nothing(spec) }
            .with_split()
    }

    fn of_array(array: Array, labels: &Table, test: usize, spec: &DataSpec) -> Result<Self, DataError> {
        super::split::check(spec, array.len() - test)?;
        let targets: Vec<usize> = (0..labels.width()).collect();
        let rows: Vec<u32> = (0..labels.len() as u32).collect();
        let mut notes = Vec::new();
        let labelled =
            Labels::read(&Column { table: labels, targets: &targets, rows: &rows, test }, spec, &mut notes)?;
        let (target_name, rows) = (target_name(labels, &targets), array.len());
        Self::of_known(array, labelled, target_name, spec).map(|examples| Self {
            test,
            rows,
            notes,
            ..examples
        })
    }

    /// Examples whose targets are known already.
    pub(super) fn of_known(
        array: Array,
        labels: Labels,
        target_name: String,
        spec: &DataSpec,
    ) -> Result<Self, DataError> {
        let rows = array.len();
        Self { inputs: Inputs::Array(array), labels, target_name, rows, ..Self::nothing(spec) }.with_split()
    }

    fn of_text(texts: &[String], spec: &DataSpec, path: &Path) -> Result<Self, DataError> {
        let text = RunningText::new(spec.text.tokens, texts);
        let steps = spec.text.steps.unwrap_or(USUAL_STEPS);
        let stride = spec.text.stride.unwrap_or(text.tokens.len().div_ceil(USUAL_WINDOWS).max(1));
        let starts = windows(&text.ends, steps, 1, stride);
        if starts.is_empty() {
            return Err(DataError::TooShort { rows: text.tokens.len(), window: steps, horizon: 1 });
        }
        let own = text.ends[0] as u32;
        let test = starts.iter().filter(|&&start| start >= own).count();
        super::split::check(spec, starts.len() - test)?;
        let labels = next_tokens(&text, &starts, steps, spec, path)?;
        let mut notes = Vec::new();
        if spec.text.stride.is_none() && stride > 1 {
            notes.push(format!(
                "the text is long: one token in {stride} begins an example (set `stride` for more or fewer)"
            ));
        }
        let rows = starts.len();
        let inputs = Inputs::Running(RunningWindows { text, steps, stride, starts });
        Self {
            inputs,
            labels,
            target_name: "next token".to_owned(),
            test,
            rows,
            notes,
            ..Self::nothing(spec)
        }
        .with_split()
    }

    /// Room for what the constructors fill in.
    fn nothing(spec: &DataSpec) -> Self {
        Self {
            inputs: Inputs::Lines { table: Table::unnamed(Vec::new()), column: 0 },
            labels: Labels::Classes { names: Vec::new(), of_row: Vec::new() },
            target_name: String::new(),
            groups: None,
            order: None,
            split: SplitKind::Random,
            test: 0,
            rows: 0,
            spec: spec.clone(),
            fingerprint: String::new(),
            notes: Vec::new(),
        }
    }

    /// See [`DataSpec::split`].
    fn with_split(mut self) -> Result<Self, DataError> {
        let in_time =
            self.spec.time.is_some() || matches!(self.inputs, Inputs::Series(_) | Inputs::Running(_));
        self.split = match self.spec.split {
            Some(split) => split,
            None if self.groups.is_some() => SplitKind::Group,
            None if in_time => SplitKind::Time,
            None => SplitKind::Random,
        };
        if self.split == SplitKind::Group && self.groups.is_none() {
            return Err(DataError::NoGroup);
        }
        Ok(self)
    }
}

impl Examples {
    pub(super) fn division(&self) -> Division<'_> {
        Division {
            kind: self.split,
            classes: self.labels.classes(),
            groups: self.groups.as_deref(),
            order: self.order.as_deref(),
        }
    }

    /// The three parts; the last examples are the test part if they came from a test file.
    pub(super) fn parts(&self) -> Result<Split, DataError> {
        if let Some(outer) = self.spec.outer {
            return self.outer_parts(outer);
        }
        let own = (self.rows - self.test) as u32;
        let test = if self.test > 0 { 0.0 } else { self.spec.test };
        let fractions = Fractions { validation: self.spec.validation, test };
        let rows: Vec<u32> = (0..own).collect();
        let mut parts = self.division().split(&rows, fractions, &seed_from_u64(self.spec.seed))?;
        if self.test > 0 {
            parts.test = (own..self.rows as u32).collect();
        }
        Ok(parts)
    }

    /// An outer fold is the test part; the rows that it does not score are divided into the others.
    fn outer_parts(&self, OuterFold { fold, folds }: OuterFold) -> Result<Split, DataError> {
        if self.test > 0 {
            return Err(DataError::OuterTest);
        }
        let rows: Vec<u32> = (0..self.rows as u32).collect();
        let all = self.division().folds(&rows, folds, 1, self.spec.seed)?;
        let expected = "below the number of outer folds, for they count from 0";
        let setting = || DataError::Setting { name: "outer.fold", value: fold.to_string(), expected };
        let Fold { train, validation } = all.get(fold).ok_or_else(setting)?;
        let fractions = Fractions { validation: self.spec.validation, test: 0.0 };
        let parts = self.division().split(train, fractions, &seed_from_u64(self.spec.seed))?;
        Ok(Split { test: validation.clone(), ..parts })
    }
}

/// Refuses numbers that make no examples.
fn check(spec: &DataSpec) -> Result<(), DataError> {
    let sizes = [
        ("window", spec.window),
        ("horizon", spec.horizon),
        ("steps", spec.text.steps),
        ("stride", spec.text.stride),
        ("vocabulary", Some(spec.text.vocabulary)),
        ("resize", spec.resize.map(|[height, width]| height.min(width))),
    ];
    for (name, size) in sizes {
        if let Some(size) = size.filter(|size| !(1..=10_000_000).contains(size)) {
            return Err(DataError::Setting {
                name,
                value: size.to_string(),
                expected: "from 1 to 10,000,000",
            });
        }
    }
    Ok(())
}

/// Refuses what only a table can have.
fn refuse_columns(spec: &DataSpec, format: &'static str) -> Result<(), DataError> {
    let keys =
        [("group", spec.group.is_some()), ("time", spec.time.is_some()), ("window", spec.window.is_some())];
    match keys.into_iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(DataError::Pointless { key, format }),
        None => Ok(()),
    }
}

fn targets(table: &Table, spec: &DataSpec) -> Result<Vec<usize>, DataError> {
    match spec.targets() {
        None => Ok(vec![table.width() - 1]),
        Some([]) => Err(DataError::NoTargetColumn),
        Some(columns) => columns.iter().map(|column| table.column(column)).collect(),
    }
}

fn target_name(table: &Table, targets: &[usize]) -> String {
    targets.iter().map(|&target| table.names()[target].as_str()).collect::<Vec<_>>().join(", ")
}

/// Columns that are not inputs, besides targets.
fn unused(table: &Table, spec: &DataSpec) -> Result<Vec<usize>, DataError> {
    let ignored = spec.columns.iter().filter(|(_, kind)| **kind == ColumnType::Ignore);
    let ignored = ignored.map(|(name, _)| ColumnRef::Name(name.clone()));
    let columns =
        spec.ignore.iter().cloned().chain(ignored).chain(spec.group.clone()).chain(spec.time.clone());
    columns.map(|column| table.column(&column)).collect()
}

/// The column of text: as told, or the one with the most text.
fn text_column(table: &Table, targets: &[usize], spec: &DataSpec) -> Result<usize, DataError> {
    if let Some(column) = &spec.text.column {
        return table.column(column);
    }
    let unused = unused(table, spec)?;
    let length = |column: usize| {
        (0..table.len()).filter_map(|row| table.text(row, column)).map(str::len).sum::<usize>()
    };
    let columns = (0..table.width()).filter(|column| !targets.contains(column) && !unused.contains(column));
    columns.max_by_key(|&column| length(column)).filter(|&column| length(column) > 0).ok_or(DataError::NoText)
}

/// The examples of a time series.
#[derive(Clone, Copy)]
struct Windows {
    window: usize,
    horizon: usize,
    /// Rows that do not come from the test file.
    own: usize,
}

impl Windows {
    /// Row of the target of the window that begins at `start`.
    fn target(self, start: u32) -> u32 {
        start + (self.window - 1 + self.horizon) as u32
    }

    /// Where windows begin that stay in one group and whose target is known.
    fn with_targets(
        self,
        table: &Table,
        group: Option<&[u32]>,
        targets: &[usize],
        notes: &mut Vec<String>,
    ) -> Result<Vec<u32>, DataError> {
        let Self { window, horizon, own } = self;
        let mut starts = windows(&[own, table.len()], window, horizon, 1);
        if let Some(group) = group {
            starts.retain(|&start| group[start as usize] == group[self.target(start) as usize]);
        }
        let all = starts.len();
        if all == 0 {
            return Err(DataError::TooShort { rows: table.len(), window, horizon });
        }
        let is_known = |row: usize| targets.iter().all(|&target| table.cell(row, target).is_some());
        starts.retain(|&start| is_known(self.target(start) as usize));
        if starts.is_empty() {
            return Err(DataError::NoTarget { column: target_name(table, targets) });
        }
        if starts.len() < all {
            notes.push(format!(
                "{} windows were left out because their target is missing",
                all - starts.len()
            ));
        }
        Ok(starts)
    }
}

/// The target's own past is an input too; a column of dates is not.
fn series_features(table: &Table, spec: &DataSpec, notes: &mut Vec<String>) -> Result<Vec<usize>, DataError> {
    let unused = unused(table, spec)?;
    let (stamps, features) = (0..table.width())
        .filter(|column| !unused.contains(column))
        .partition::<Vec<usize>, _>(|&column| is_stamp(table, column));
    for column in stamps {
        let name = &table.names()[column];
        notes.push(format!("column `{name}` is text that differs in every row and was left out"));
    }
    Ok(features)
}

/// Whether a column is text without repetition, as a date in a time series is.
fn is_stamp(table: &Table, column: usize) -> bool {
    let mut seen = HashSet::new();
    (0..table.len()).all(|row| table.text(row, column).is_some_and(|cell| seen.insert(cell)))
}

/// The token after each window, as a class. Tokens beyond the vocabulary share one class.
fn next_tokens(
    text: &RunningText,
    starts: &[u32],
    steps: usize,
    spec: &DataSpec,
    path: &Path,
) -> Result<Labels, DataError> {
    let mut counts = vec![0; text.symbols.len()];
    text.tokens.iter().for_each(|&token| counts[token as usize] += 1);
    let mut names = most_frequent(text.symbols.iter().cloned().zip(counts).collect(), spec.text.vocabulary);
    if names.len() < text.symbols.len() {
        names.push("<other>".to_owned());
    }
    if names.len() < 2 {
        let value = names.first().cloned().unwrap_or_default();
        return Err(DataError::OneClass { column: format!("next token of {}", path.display()), value });
    }
    let classes: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
    let other = names.len() as u32 - 1;
    let of_symbol: Vec<u32> =
        text.symbols.iter().map(|symbol| classes.get(symbol.as_str()).copied().unwrap_or(other)).collect();
    let of_row =
        starts.iter().map(|&start| of_symbol[text.tokens[start as usize + steps] as usize]).collect();
    Ok(Labels::Classes { names, of_row })
}

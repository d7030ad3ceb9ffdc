//! Tables from files, made ready once and then shared by all trials: read, split, and turned into numbers with
//! statistics of the training part only. Nothing here trains or evaluates.

mod preprocessing;
mod split;
mod table;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use preprocessing::{Preprocessing, TargetEncoding};
pub(crate) use table::{Table, shown};

use crate::engine::Targets;
use crate::limits::Limits;
use crate::naming::named_choices;
use crate::settings::Settings;

/// What a study says about a network: its data, and the settings that are not tuned.
///
/// ```
/// let spec: luthier_nn::NetworkSpec = toml::from_str(r#"
///     data = { file = "digits.csv", target = "digit" }
///     settings = { units = [128, 64], epochs = 30 }
/// "#)?;
/// assert_eq!(spec.settings.hidden_layers(), 2);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Where the rows are and how they are used.
    pub data: DataSpec,
    /// Hyperparameters; tuned values are laid over them.
    #[serde(default)]
    pub settings: Settings,
    /// What a network may cost; one that costs more is refused before it is trained.
    #[serde(default)]
    pub limits: Limits,
}

/// A table and how it is read, prepared and split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// A text table, also compressed with gzip; relative to the study's file.
    pub file: PathBuf,
    /// Whether the first line names the columns. Default: it does if none of its cells is empty or a number, unless the table is all text and the first line's cells occur again below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// What separates cells. Default: tab for `.tsv` files (also `.tsv.gz`), comma for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The column to predict, by name or by number from 0. Default: the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ColumnRef>,
    /// Classes or numbers. Default: classes if the target has text, or only whole numbers of which at most 20
    /// differ and each occurs twice on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Columns that are not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<ColumnRef>,
    /// Cells that mean "not known". Default: empty, `?`, `NA`, `N/A`, `nan`, `NaN`, `null`, `NULL`.
    #[serde(default = "missing_marks")]
    pub missing: Vec<String>,
    /// Whether numeric columns are shifted and scaled to mean 0 and standard deviation 1; default true.
    #[serde(default = "yes")]
    pub standardize: bool,
    /// Fraction of the rows for validation, above 0; default 0.2. With `test` it leaves rows to train on.
    #[serde(default = "one_fifth")]
    pub validation: f64,
    /// Fraction of the rows held out for the final test; default 0.2. 0 means none.
    #[serde(default = "one_fifth")]
    pub test: f64,
    /// Which split; default 0. The same for all trials of a study.
    #[serde(default)]
    pub seed: u64,
}

impl DataSpec {
    /// A table with everything at its default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            header: None,
            delimiter: None,
            target: None,
            task: None,
            ignore: Vec::new(),
            missing: missing_marks(),
            standardize: true,
            validation: one_fifth(),
            test: one_fifth(),
            seed: 0,
        }
    }
}

/// A column by name, or by number from 0. A text that names no column but is a number counts as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnRef {
    /// Position from the left, from 0.
    Index(usize),
    /// Name in the header.
    Name(String),
}

impl std::fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl From<&str> for ColumnRef {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

named_choices! {
    /// What is predicted.
    Task {
        /// One of several classes.
        Classification = "classification",
        /// A number.
        Regression = "regression",
    }
}

/// Data made ready: the rows as numbers, in three parts. Immutable; share it between threads in an
/// [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Problem {
    preprocessing: Preprocessing,
    train: Part,
    validation: Part,
    held_out: Part,
    data_fingerprint: String,
    fingerprint: String,
    notes: Vec<String>,
}

impl Problem {
    /// Reads and prepares the data of `spec`; a relative file name is looked up in `base`.
    pub fn load(spec: &NetworkSpec, base: &Path) -> Result<Self, DataError> {
        Self::prepare(&spec.data, base)
    }

    /// Reads and prepares a table; a relative file name is looked up in `base`.
    pub fn prepare(spec: &DataSpec, base: &Path) -> Result<Self, DataError> {
        let table = Table::read(&base.join(&spec.file), spec)?;
        split::check(spec, table.len())?;
        let target = table.column(spec.target.as_ref().unwrap_or(&ColumnRef::Index(table.width() - 1)))?;
        let labels = preprocessing::Labels::read(&table, target, spec.task)?;
        let rows = split::split(spec, table.len(), labels.classes())?;
        labels.check_training(&table, target, &rows.train)?;

        let features = feature_columns(&table, target, &spec.ignore)?;
        let encoding = labels.encoding(&rows.train);
        let mut notes = Vec::new();
        let columns = preprocessing::fit(&table, &features, &rows.train, spec.standardize, &mut notes)?;
        let preprocessing = Preprocessing::new(&table, spec, target, columns, encoding);
        let part = |rows: &[usize]| -> Result<Part, DataError> {
            let inputs = preprocessing.encode(&table, rows)?;
            Ok(Part { inputs, targets: labels.targets(rows, preprocessing.target()) })
        };
        Ok(Self {
            train: part(&rows.train)?,
            validation: part(&rows.validation)?,
            held_out: part(&rows.test)?,
            data_fingerprint: table.fingerprint().to_owned(),
            fingerprint: preparation_fingerprint(table.fingerprint(), spec),
            preprocessing,
            notes,
        })
    }

    /// Classes or numbers.
    pub fn task(&self) -> Task {
        self.preprocessing.task()
    }

    /// Numbers per row that a network gets.
    pub fn inputs(&self) -> usize {
        self.preprocessing.inputs()
    }

    /// Names of the classes; empty for regression.
    pub fn classes(&self) -> &[String] {
        match self.preprocessing.target() {
            TargetEncoding::Classes { names } => names,
            TargetEncoding::Value { .. } => &[],
        }
    }

    /// How columns become numbers.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Rows to train on.
    pub fn train(&self) -> &Part {
        &self.train
    }

    /// Rows that score a trial.
    pub fn validation(&self) -> &Part {
        &self.validation
    }

    /// Number of rows held out. The rows themselves are only reached by
    /// [`Model::held_out`](crate::Model::held_out), on a finished model.
    pub fn held_out_rows(&self) -> usize {
        self.held_out.len()
    }

    pub(crate) fn held_out(&self) -> &Part {
        &self.held_out
    }

    /// BLAKE3 of the file's bytes, as 64 hexadecimal digits.
    pub fn data_fingerprint(&self) -> &str {
        &self.data_fingerprint
    }

    /// BLAKE3 of the file's bytes and of how they are read and split: equal fingerprints mean equal parts.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What was done to the data that a user may want to know: columns dropped, cells filled.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Some rows as a network sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    inputs: Vec<f32>,
    targets: PartTargets,
}

/// Owned [`Targets`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PartTargets {
    Classes(Vec<u32>),
    Values(Vec<f32>),
}

impl Part {
    pub(crate) fn of_classes(inputs: Vec<f32>, classes: Vec<u32>) -> Self {
        Self { inputs, targets: PartTargets::Classes(classes) }
    }

    pub(crate) fn of_values(inputs: Vec<f32>, values: Vec<f32>) -> Self {
        Self { inputs, targets: PartTargets::Values(values) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.targets {
            PartTargets::Classes(classes) => classes.len(),
            PartTargets::Values(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All inputs, row by row.
    pub fn inputs(&self) -> &[f32] {
        &self.inputs
    }

    /// The target of each row.
    pub fn targets(&self) -> Targets<'_> {
        match &self.targets {
            PartTargets::Classes(classes) => Targets::Classes(classes),
            PartTargets::Values(values) => Targets::Values(values),
        }
    }
}

/// Data that cannot be used. Rows are counted from 1, without the header; lines from 1, with it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum DataError {
    #[error("cannot read the table {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: not UTF-8 text", path.display())]
    NotText { path: PathBuf, line: u64 },
    #[error("{} has no rows of data", path.display())]
    Empty { path: PathBuf },
    #[error(
        "row {row} (line {line}) has {found} cells, but the first line has {expected}: every row needs the same number, separated by `{delimiter}`"
    )]
    Ragged { row: usize, line: u64, found: usize, expected: usize, delimiter: char },
    #[error("the delimiter `{0}` cannot be used: give one ASCII character other than a quote")]
    Delimiter(char),
    #[error("there is no column `{wanted}`; the columns are {columns}")]
    UnknownColumn { wanted: String, columns: String },
    #[error("two columns are called `{0}`: rename one, or set `header = false` if the first line is data")]
    DuplicateColumn(String),
    #[error(
        "row {row} (line {line}): the target `{column}` is empty or marked as missing; remove the row or fill it in"
    )]
    MissingTarget { row: usize, line: u64, column: String },
    #[error("row {row} (line {line}), column `{column}`: expected a number, not `{value}`")]
    NotANumber { row: usize, line: u64, column: String, value: String },
    #[error("row {row} (line {line}), column `{column}`: `{value}` is not a finite number")]
    NotFinite { row: usize, line: u64, column: String, value: String },
    #[error("the target `{column}` is always `{value}`: a classifier needs at least two classes")]
    OneClass { column: String, value: String },
    #[error(
        "the target `{column}` has the same value in every row of the training part: there is nothing to predict"
    )]
    ConstantTarget { column: String },
    #[error(
        "the target `{column}` has {classes} different values in {rows} rows, too many to be classes; set `task = \"regression\"` if it is a number"
    )]
    TooManyClasses { column: String, classes: usize, rows: usize },
    #[error(
        "column `{column}` is text with {distinct} different values (the first that is no number is `{example}`, row {row}); at most {limit} can be used as categories: put it in `ignore`, or mark the cell as `missing`"
    )]
    TooManyCategories { column: String, distinct: usize, example: String, row: usize, limit: usize },
    #[error("column `{column}` has numbers too large to be standardised (above about 1e154)")]
    TooLarge { column: String },
    #[error(
        "{rows} rows are too few: with validation = {validation} and test = {test} the {part} part would be empty"
    )]
    TooFewRows { rows: usize, validation: f64, test: f64, part: &'static str },
    #[error("`{name}` is {value}, but must be {expected}")]
    Fraction { name: &'static str, value: f64, expected: &'static str },
    #[error(
        "no column is left to learn from: besides the target, all are constant in the training part or ignored"
    )]
    NoFeatures,
    #[error(
        "this table has {found} columns, but the model was made for {expected}; give it the same columns, with or without the target"
    )]
    OtherWidth { found: usize, expected: usize },
}

/// All columns but the target and the ignored ones.
fn feature_columns(table: &Table, target: usize, ignore: &[ColumnRef]) -> Result<Vec<usize>, DataError> {
    let ignored = ignore.iter().map(|column| table.column(column)).collect::<Result<Vec<_>, _>>()?;
    Ok((0..table.width()).filter(|column| *column != target && !ignored.contains(column)).collect())
}

/// The file's name is left out: the same bytes elsewhere are the same data.
fn preparation_fingerprint(data: &str, spec: &DataSpec) -> String {
    let spec = DataSpec { file: PathBuf::new(), ..spec.clone() };
    let spec = serde_json::to_string(&spec)
        .unwrap_or_else(|error| unreachable!("a data spec is plain JSON: {error}"));
    blake3::hash(format!("{data}\n{spec}").as_bytes()).to_hex().to_string()
}

fn missing_marks() -> Vec<String> {
    ["", "?", "NA", "N/A", "nan", "NaN", "null", "NULL"].map(str::to_owned).to_vec()
}

fn yes() -> bool {
    true
}

fn one_fifth() -> f64 {
    0.2
}

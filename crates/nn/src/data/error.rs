//! What is wrong with data, one sentence for each way. Rows are counted from 1, without the header; lines from 1, with
//! it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Data that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum DataError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: not UTF-8 text", path.display())]
    NotText { path: PathBuf, line: u64 },
    #[error("{} has no rows of data", path.display())]
    Empty { path: PathBuf },
    #[error("{} is not {expected}: {problem}", path.display())]
    Malformed { path: PathBuf, expected: &'static str, problem: String },
    #[error("{} is cut short: it should go on for {expected} bytes after its header, but only {found} are there", path.display())]
    CutShort { path: PathBuf, expected: u64, found: u64 },
    #[error("{} is a Parquet file, which this build cannot read: build luthier-nn with the feature `parquet`, or save the table as CSV", path.display())]
    NoParquet { path: PathBuf },
    #[error(
        "{at} has {found} cells, but the first line has {expected}: every row needs the same number, separated by `{delimiter}`"
    )]
    Ragged { at: Place, found: usize, expected: usize, delimiter: char },
    #[error("the delimiter `{0}` cannot be used: give one ASCII character other than a quote")]
    Delimiter(char),
    #[error("there is no column `{wanted}`{hint}; the columns are {columns}")]
    UnknownColumn { wanted: String, hint: String, columns: String },
    #[error("there is no array `{wanted}` in {}{hint}; its arrays are {arrays}", path.display())]
    UnknownArray { path: PathBuf, wanted: String, hint: String, arrays: String },
    #[error("two columns are called `{0}`: rename one, or set `header = false` if the first line is data")]
    DuplicateColumn(String),
    #[error("{at}: the target `{column}` is empty or marked as missing; remove the row or fill it in")]
    MissingTarget { at: Place, column: String },
    #[error("the target `{column}` has no values: every row is empty or marked as missing")]
    NoTarget { column: String },
    #[error("{at}: `{key}` column `{column}` is empty or marked as missing; fill it in or remove the row")]
    MissingKey { at: Place, key: &'static str, column: String },
    #[error("`split = \"group\"` needs `group`, the column whose equal cells stay in one part")]
    NoGroup,
    #[error("there is no column of text besides the targets")]
    NoText,
    #[error("{at}, column `{column}`: expected a number, not `{value}`")]
    NotANumber { at: Place, column: String, value: String },
    #[error("{at}, column `{column}`: `{value}` is not a finite number")]
    NotFinite { at: Place, column: String, value: String },
    #[error("{at}, column `{column}`: `{value}` is none of its levels, {levels}")]
    UnknownLevel { at: Place, column: String, value: String, levels: String },
    #[error("{at}: the label `{column}` is `{value}`, but must be 0 or 1")]
    NotALabel { at: Place, column: String, value: String },
    #[error("{}, example {example}: {value} is not a finite number", path.display())]
    NotFiniteInArray { path: PathBuf, example: usize, value: f64 },
    #[error("{}, example {example}: {value} is no category number; tokens are whole numbers from 0 to 16,777,215", path.display())]
    NotAToken { path: PathBuf, example: usize, value: f64 },
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
    #[error("the test file has the class `{class}`, which the first file does not have")]
    NewClass { class: String },
    #[error(
        "{targets} columns are to be predicted, but `task = \"classification\"` takes one; use `multi_label` for labels that do not exclude each other"
    )]
    SeveralClassTargets { targets: usize },
    #[error("`target` names no column")]
    NoTargetColumn,
    #[error(
        "column `{column}` is text with {distinct} different values (the first that is no number is `{example}` in {at}); at most {limit} can be used as categories: put it in `ignore`, or mark the cell as `missing`"
    )]
    TooManyCategories { column: String, distinct: usize, example: String, at: Place, limit: usize },
    #[error("column `{column}` has numbers too large to be standardised (above about 1e154)")]
    TooLarge { column: String },
    #[error(
        "{rows} rows are too few: with validation = {validation} and test = {test} the {part} part would be empty"
    )]
    TooFewRows { rows: usize, validation: f64, test: f64, part: &'static str },
    #[error(
        "{groups} groups are too few: with validation = {validation} and test = {test} the {part} part would be empty"
    )]
    TooFewGroups { groups: usize, validation: f64, test: f64, part: &'static str },
    #[error("{folds} folds cannot be made of {of}: choose from 2 to as many as there are")]
    Folds { folds: usize, of: String },
    #[error(
        "outer folds are of the rows of `file`, but these data have test rows of their own: leave out `test_file`, or the outer folds"
    )]
    OuterTest,
    #[error("folds in order of time are always the same: they cannot be repeated with other shuffles")]
    RepeatedTime,
    #[error("`{name}` is {value}, but must be {expected}")]
    Fraction { name: &'static str, value: f64, expected: &'static str },
    #[error("`{name}` is {value}, but must be {expected}")]
    Setting { name: &'static str, value: String, expected: &'static str },
    #[error("`{key}` has no meaning for {format}: leave it out")]
    Pointless { key: &'static str, format: &'static str },
    #[error("{} has no targets: {hint}", path.display())]
    NoLabels { path: PathBuf, hint: &'static str },
    #[error("{} has {labels} targets, but {} has {examples} examples", labels_path.display(), path.display())]
    Count { path: PathBuf, examples: usize, labels_path: PathBuf, labels: usize },
    #[error("{} holds {expected} images, but its picture {} is {found}; set `resize = [height, width]`", folder.display(), path.display())]
    ImageSize { folder: PathBuf, path: PathBuf, found: String, expected: String },
    #[error("{} has no PNG or JPEG files in folders, one folder for each class", path.display())]
    NoImages { path: PathBuf },
    #[error("examples of {} have the shape {found:?}, but those of the first file {expected:?}", path.display())]
    OtherShape { path: PathBuf, found: Vec<usize>, expected: Vec<usize> },
    #[error("an array of shape {shape:?} cannot be read as {kind}s: each example needs {expected}")]
    Kind { shape: Vec<usize>, kind: &'static str, expected: &'static str },
    #[error("{rows} rows are too few for windows of {window} rows and a target {horizon} later")]
    TooShort { rows: usize, window: usize, horizon: usize },
    #[error("{} numbers do not make whole examples of shape {shape:?}", numbers)]
    Shape { numbers: usize, shape: Vec<usize> },
    #[error("there are {targets} targets for {examples} examples")]
    TargetCount { targets: usize, examples: usize },
    #[error("class number {class} of example {example} has no name: only {names} names are given")]
    UnnamedClass { class: u32, example: usize, names: usize },
    #[error(
        "no column is left to learn from: besides the target, all are constant in the training part or ignored"
    )]
    NoFeatures,
    #[error("the test file has {found} columns, but the first file {expected}; both need the same columns")]
    OtherTestWidth { found: usize, expected: usize },
    #[error(
        "this table has {found} columns, but the model was made for {expected}; give it the same columns, with or without the target"
    )]
    OtherWidth { found: usize, expected: usize },
}

/// Where a row is: the file, if it is of one; its number; and the line of the file if that has lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file that it was read from.
    pub file: Option<Arc<Path>>,
    /// From 1, without the header.
    pub row: usize,
    /// From 1, with the header.
    pub line: Option<u64>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}, ", file.display())?;
        }
        match self.line {
            Some(line) => write!(f, "row {} (line {line})", self.row),
            None => write!(f, "row {}", self.row),
        }
    }
}

/// ` (did you mean …?)` if a known name is near the wanted one.
pub(super) fn hint(wanted: &str, known: &[String]) -> String {
    let folded = wanted.to_lowercase();
    let near = known
        .iter()
        .map(|name| (distance(&folded, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 1.max(wanted.chars().count() / 3));
    near.map(|(_, name)| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// Names for a message, cut short when there are very many.
pub(super) fn shown(names: &[String]) -> String {
    const MOST: usize = 30;
    let list = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{list} … and {} more", names.len() - MOST) } else { list }
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

//! What a user says about data: where they are, how they are read, prepared and split. Nothing is read here.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::metrics::Metric;
use crate::naming::named_choices;
use crate::replicates::QualitySpec;
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
    /// Where the examples are and how they are used.
    pub data: DataSpec,
    /// Hyperparameters; tuned values are laid over them.
    #[serde(default)]
    pub settings: Settings,
    /// What a network may cost; one that costs more is refused before it is trained.
    #[serde(default)]
    pub limits: Limits,
    /// Metrics to report in every epoch beside the cheap ones and those that the study names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Several trainings for each trial, to know how dependable it is. Default: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualitySpec>,
    /// Whether the winner is trained anew at the end on all rows that are not held out, before it is measured on those
    /// that are. Default: with `quality`, else the winner's own model is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain: Option<bool>,
    /// Whether the learning rate falls to zero in the winner's last training, by half a cosine, instead of staying where the trials had
    /// it. Default: unless `schedule` is set or tuned. It has no effect where the winner's `schedule` is not constant or it has `patience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<bool>,
    /// Whether trials train together as one tensor program; default auto.
    #[serde(default)]
    pub population: TogetherSpec,
    /// What a step of a trial is; a study file says it as `[budget] unit`. Default: an epoch.
    #[serde(default)]
    pub unit: BudgetUnit,
}

named_choices! {
    /// What the training of a network is counted in, where a scheduler gives it a little first and more if it does well.
    #[derive(Default)]
    BudgetUnit {
        /// Passes over the training rows.
        #[default]
        Epoch = "epoch" | "epochs",
        /// Updates of the weights: one for each batch.
        Step = "step" | "steps",
        /// Whole seconds of training. What a trial comes to then depends on the machine.
        Second = "second" | "seconds",
        /// Per cent of the training rows: each budget is a training of its own, from the beginning to the end.
        Percent = "percent",
    }
}

/// Whether networks of one shape train together: `"auto"`, `"off"` or `{ members = 32 }`.
///
/// Each network is trained as it would be alone, but for rounding. A build without the feature `burn` trains one by
/// one whatever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TogetherSpec {
    /// By its name.
    Named(TogetherChoice),
    /// So many at once on each worker, whether it pays or not.
    Members {
        /// At least 1.
        members: NonZeroUsize,
    },
}

named_choices! {
    /// A way to train that needs no number.
    TogetherChoice {
        /// Up to 32 at once if that is faster on this machine, which is measured when the run begins.
        Auto = "auto",
        /// One by one.
        Off = "off",
    }
}

impl Default for TogetherSpec {
    fn default() -> Self {
        Self::Named(TogetherChoice::Auto)
    }
}

/// Data and how they are read, prepared and split. Paths are relative to the study's file.
///
/// ```
/// let spec: luthier_nn::DataSpec = toml::from_str(r#"
///     file = "people.csv"
///     target = "income"
///     columns = { zip = "categorical", size = { ordinal = ["S", "M", "L"] }, id = "ignore" }
///     categories = "embed"
/// "#)?;
/// assert_eq!(spec.columns.len(), 3);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// A file, also compressed with gzip; or a folder of images with one folder inside for each class.
    pub file: PathBuf,
    /// What the file holds. Default: by its first bytes, else a text table; a folder holds images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// A second file (NumPy or IDX) with the target of each example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// A file of the same format whose examples are the test part; then `test` takes nothing from `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_file: Option<PathBuf>,
    /// The targets of `test_file`, as `labels` are those of `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// Whether the first line names the columns. Default: it does if none of its cells is empty or a number, unless the table is all text and the first line's cells occur again below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// What separates cells; a blank stands for any run of blanks and tabs. Default: tab for `.tsv` files (also
    /// `.tsv.gz`); for others what the first line shows: comma, semicolon, tab or blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The array of a `.npz` file that holds the inputs. Default: `x`, `x_train`, `inputs`, `data`, `images` or
    /// `arr_0`, whichever is there. With `x_train`, arrays called `x_test` and `y_test` are the test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// What one example of an array is. Default: features if it has one axis; an image if it has three, or two of
    /// whole numbers of one byte; else a sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExampleKind>,
    /// Where an array's images have their colours. Default: last if that axis has 1, 3 or 4 places and the first
    /// has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Height and width that the images of a folder are brought to. Default: all must have the same size already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<[usize; 2]>,
    /// Whether the images of a folder are used in colour. Default: if one of them is coloured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<bool>,
    /// How text becomes tokens.
    #[serde(default, skip_serializing_if = "TextSpec::is_default")]
    pub text: TextSpec,
    /// Makes a time series of a table: each example is this many successive rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// How many rows after the last of its window the target of an example is; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<usize>,
    /// The column to predict, by name or by number from 0, or a list of such. Default: the last. In a `.npz` file
    /// the name of an array (default `y`, `y_train`, `labels`, `targets`, `target` or `arr_1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetColumns>,
    /// What is predicted. Default: classes if the target has text, or only whole numbers of which at most 20
    /// differ and each occurs twice on average, or if it is an array of whole numbers; several targets are labels
    /// if all of them are 0 or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Columns that are not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<ColumnRef>,
    /// What columns hold, by name or number. Default: numeric if all cells that are not missing are numbers, else
    /// categorical.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnType>,
    /// How categorical columns become inputs; default one-hot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub categories: Categories,
    /// Cells that mean "not known". Default: empty, `?`, `NA`, `N/A`, `nan`, `NaN`, `null`, `NULL`.
    #[serde(default = "missing_marks")]
    pub missing: Vec<String>,
    /// What a missing number counts as; default the median of the training part.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fill: Fill,
    /// Whether a numeric column with missing cells gets a second input that is 1 where the cell is missing; default
    /// false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing_indicator: bool,
    /// What a missing cell of a one-hot column counts as; default a category of its own, if the training part has
    /// one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing_category: MissingCategory,
    /// Whether numbers are shifted and scaled to mean 0 and standard deviation 1: columns each by itself, images by
    /// channel, sequences by feature. Default true. Pixels are brought to [0, 1] in any case.
    #[serde(default = "yes")]
    pub standardize: bool,
    /// How rows are divided. Default: by group if `group` is set; in order of time if `time` or `window` is set or
    /// the data are a running text; else at random, class by class for classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitKind>,
    /// The column whose equal cells stay in one part (a patient, a site). It is not an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ColumnRef>,
    /// The column that says which row is earlier. It is not an input. Default: the order of the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<ColumnRef>,
    /// Fraction of the rows for validation, above 0; default 0.2. With `test` it leaves rows to train on.
    #[serde(default = "one_fifth")]
    pub validation: f64,
    /// Fraction of the rows held out for the final test; default 0.2. 0 means none.
    #[serde(default = "one_fifth")]
    pub test: f64,
    /// One fold of an outer cross-validation is held out for the final test instead of the fraction `test`, and `validation` is a
    /// fraction of the rows of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer: Option<OuterFold>,
    /// Which split; default 0. The same for all trials of a study.
    #[serde(default)]
    pub seed: u64,
}

/// Which fold of an outer cross-validation is held out. The folds divide all rows as the data are split, the same whichever of them
/// it is; in order of time, the rows after the fold are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterFold {
    /// Which one, from 0.
    pub fold: usize,
    /// How many there are, from 2.
    pub folds: usize,
}

impl DataSpec {
    /// A file with everything at its default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            format: None,
            labels: None,
            test_file: None,
            test_labels: None,
            header: None,
            delimiter: None,
            array: None,
            kind: None,
            channels: None,
            resize: None,
            colour: None,
            text: TextSpec::default(),
            window: None,
            horizon: None,
            target: None,
            task: None,
            ignore: Vec::new(),
            columns: BTreeMap::new(),
            categories: Categories::default(),
            missing: missing_marks(),
            fill: Fill::default(),
            missing_indicator: false,
            missing_category: MissingCategory::default(),
            standardize: true,
            split: None,
            group: None,
            time: None,
            validation: one_fifth(),
            test: one_fifth(),
            outer: None,
            seed: 0,
        }
    }

    /// The same without the names of files: the same bytes elsewhere are the same data.
    pub(super) fn without_files(&self) -> Self {
        Self { file: PathBuf::new(), labels: None, test_file: None, test_labels: None, ..self.clone() }
    }

    /// The columns to predict, if they are said.
    pub(super) fn targets(&self) -> Option<&[ColumnRef]> {
        self.target.as_ref().map(|target| match target {
            TargetColumns::One(column) => std::slice::from_ref(column),
            TargetColumns::Several(columns) => columns,
        })
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

/// One column to predict, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetColumns {
    /// One column.
    One(ColumnRef),
    /// Several: labels that do not exclude each other, or several numbers.
    Several(Vec<ColumnRef>),
}

impl From<ColumnRef> for TargetColumns {
    fn from(column: ColumnRef) -> Self {
        Self::One(column)
    }
}

impl From<&str> for TargetColumns {
    fn from(name: &str) -> Self {
        Self::One(name.into())
    }
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Numbers: one input, standardised.
    Numeric,
    /// Categories, made into inputs as [`DataSpec::categories`] says.
    Categorical,
    /// Categories: one input for each, at most 200.
    OneHot,
    /// Categories: one input that holds the category's number, for an embedding; at most 100,000.
    Embed,
    /// Nothing of use.
    Ignore,
    /// Categories in this order: one input that holds the rank, standardised.
    Ordinal(Vec<String>),
}

/// How text becomes rows of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextSpec {
    /// The column of text in a table of labelled lines. Default: the one with the longest cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnRef>,
    /// What a token is; default a character.
    pub tokens: Tokens,
    /// Tokens of an example. Default: 64 for a running text; for labelled lines, enough for 95 % of the training
    /// part, at most 512. Longer lines lose their beginning, shorter ones are padded in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The most frequent tokens that are told apart, at least 1; default 10,000.
    pub vocabulary: usize,
    /// Tokens between the beginnings of two examples of a running text, at least 1. Default: the least that gives
    /// at most 200,000 examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
}

impl Default for TextSpec {
    fn default() -> Self {
        Self { column: None, tokens: Tokens::Character, steps: None, vocabulary: 10_000, stride: None }
    }
}

impl TextSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

named_choices! {
    /// What a file holds.
    Format {
        /// Cells separated by commas (or `delimiter`), one row a line.
        Csv = "csv",
        /// Cells separated by tabs.
        Tsv = "tsv",
        /// A Parquet table.
        Parquet = "parquet",
        /// One NumPy array.
        Npy = "npy",
        /// Several NumPy arrays with names.
        Npz = "npz",
        /// The format of MNIST.
        Idx = "idx",
        /// A folder of PNG and JPEG files.
        Images = "images",
        /// Text: a `.csv` or `.tsv` table with a column of text and a target, else a running text whose next token is
        /// predicted.
        Text = "text",
    }
}

named_choices! {
    /// What one example of an array is.
    ExampleKind {
        /// A row of numbers.
        Features = "features",
        /// Height, width and possibly channels.
        Image = "image",
        /// Steps and features.
        Sequence = "sequence",
        /// Category numbers from 0, which counts as padding.
        Tokens = "tokens",
    }
}

named_choices! {
    /// Where an image has its colours.
    Channels {
        /// Channels, height, width.
        First = "first",
        /// Height, width, channels.
        Last = "last",
    }
}

named_choices! {
    /// What a token is.
    Tokens {
        /// A character.
        Character = "character",
        /// A word in lower case (letters, digits and apostrophes), or a mark of punctuation.
        Word = "word",
    }
}

named_choices! {
    /// How categories become inputs.
    #[derive(Default)]
    Categories {
        /// One input for each category.
        #[default]
        OneHot = "one_hot",
        /// One input with the category's number, for an embedding.
        Embed = "embed",
    }
}

named_choices! {
    /// What a missing number counts as.
    #[derive(Default)]
    Fill {
        /// The median of the training part.
        #[default]
        Median = "median",
        /// Its mean.
        Mean = "mean",
    }
}

named_choices! {
    /// What a missing category counts as.
    #[derive(Default)]
    MissingCategory {
        /// A category of its own.
        #[default]
        Own = "own",
        /// The most frequent in the training part.
        MostFrequent = "most_frequent",
    }
}

named_choices! {
    /// How rows are divided into parts.
    SplitKind {
        /// By chance; each class in proportion.
        Random = "random",
        /// By chance, but equal cells of the `group` column stay together.
        Group = "group",
        /// The earliest rows are trained on, the last are the test part.
        Time = "time",
    }
}

named_choices! {
    /// What is predicted.
    Task {
        /// One of several classes.
        Classification = "classification",
        /// A number, or several.
        Regression = "regression",
        /// Labels that do not exclude each other: columns of 0 and 1.
        MultiLabel = "multi_label",
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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

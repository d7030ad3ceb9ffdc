//! Data made ready for training: three parts as numbers, and the folds and inner splits that are made of them without
//! reading a file again. Nothing here trains or evaluates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::array::{Array, Values};
use super::examples::Examples;
use super::preprocessing::Labels;
use super::split::{Fractions, Split, derived_seed};
use super::{
    Channels, DataError, DataSpec, EmbeddedColumn, Fold, NetworkSpec, Preprocessing, TargetEncoding, Task,
};
use crate::engine::Targets;
use crate::limits::Limits;
use crate::quality::Answers;

/// Data made ready: the examples as numbers, in three parts. Immutable; share it between threads in an
/// [`Arc`].
#[derive(Debug)]
pub struct Problem {
    examples: Arc<Examples>,
    preprocessing: Preprocessing,
    shape: Vec<usize>,
    embedded: Vec<EmbeddedColumn>,
    train: Part,
    validation: Part,
    stopping: Option<Part>,
    held_out: Part,
    fingerprint: String,
    /// The fingerprint of the problem whose rows are divided as here, where this one has but a share of them.
    whole_fingerprint: Option<String>,
    notes: Vec<String>,
    limits: Limits,
}

impl Problem {
    /// Reads and prepares the data of `spec`; a relative file name is looked up in `base`.
    pub fn load(spec: &NetworkSpec, base: &Path) -> Result<Self, DataError> {
        Ok(Self::prepare(&spec.data, base)?.with_limits(spec.limits))
    }

    /// Reads and prepares data; a relative file name is looked up in `base`.
    pub fn prepare(spec: &DataSpec, base: &Path) -> Result<Self, DataError> {
        Self::of_examples(Examples::read(spec, base)?)
    }

    /// Prepares examples that are in memory: `inputs` holds one example of `shape` after another, images channels first
    /// (unless `spec.channels` says otherwise), sequences [steps, features]. `spec` says how they are prepared and split;
    /// without [`DataSpec::kind`], one axis is features, two are a sequence, three an image. Values are taken as they
    /// are: pixels should be scaled to [0, 1] already.
    ///
    /// ```
    /// use luthier_nn::{DataSpec, KnownTargets, Problem};
    ///
    /// let inputs: Vec<f32> = (0..40).map(|i| (i % 7) as f32).collect();
    /// let targets = KnownTargets::Values((0..20).map(f64::from).collect());
    /// let problem = Problem::from_arrays(&[2], inputs, targets, &DataSpec::new(""))?;
    /// assert_eq!((problem.shape(), problem.train().len()), (&[2][..], 12));
    /// # Ok::<(), luthier_nn::DataError>(())
    /// ```
    pub fn from_arrays(
        shape: &[usize],
        inputs: Vec<f32>,
        targets: KnownTargets,
        spec: &DataSpec,
    ) -> Result<Self, DataError> {
        let width: usize = shape.iter().product();
        if width == 0 || inputs.is_empty() || !inputs.len().is_multiple_of(width) {
            return Err(DataError::Shape { numbers: inputs.len(), shape: shape.to_vec() });
        }
        let rows = inputs.len() / width;
        let data_fingerprint = targets.fingerprint(&inputs, shape);
        let reading = DataSpec { channels: spec.channels.or(Some(Channels::First)), ..spec.clone() };
        let whole = [&[rows], shape].concat();
        let array =
            Array::of_examples(&PathBuf::from("inputs"), &whole, Values::Single(inputs), false, &reading)?;
        if let Some(place) = (0..array.values.len()).find(|&place| array.values.get(place).is_nan()) {
            return Err(DataError::NotFiniteInArray {
                path: array.path,
                example: place / width + 1,
                value: f64::NAN,
            });
        }
        super::split::check(spec, rows)?;
        let labels = targets.into_labels(rows)?;
        let examples = Examples::of_known(array, labels, "target".to_owned(), spec)?;
        Self::of_examples(Examples { fingerprint: data_fingerprint, ..examples })
    }

    fn of_examples(examples: Examples) -> Result<Self, DataError> {
        let rows = examples.parts()?;
        let spec = serde_json::to_string(&examples.spec.without_files())
            .unwrap_or_else(|error| unreachable!("a data spec is plain JSON: {error}"));
        let fingerprint =
            blake3::hash(format!("{}\n{spec}", examples.fingerprint).as_bytes()).to_hex().to_string();
        Self::of_parts(Arc::new(examples), &rows, fingerprint)
    }

    /// Learns from the training rows and encodes all parts.
    fn of_parts(examples: Arc<Examples>, rows: &Split, fingerprint: String) -> Result<Self, DataError> {
        let Examples { inputs, labels, spec, target_name, .. } = &*examples;
        let target = labels.encoding(&rows.train)?;
        let mut notes = examples.notes.clone();
        let preprocessing = Preprocessing::fit(inputs, &rows.train, spec, target, target_name, &mut notes)?;
        let part = |rows: &[u32]| -> Result<Part, DataError> {
            Ok(Part {
                inputs: preprocessing.encode(inputs, rows)?,
                targets: labels.targets(rows, preprocessing.target()),
                rows: rows.to_vec(),
            })
        };
        Ok(Self {
            train: part(&rows.train)?,
            validation: part(&rows.validation)?,
            stopping: None,
            held_out: part(&rows.test)?,
            shape: preprocessing.shape(),
            embedded: preprocessing.embedded(),
            examples: Arc::clone(&examples),
            preprocessing,
            fingerprint,
            whole_fingerprint: None,
            notes,
            limits: Limits::default(),
        })
    }

    /// The same data with other limits on the networks that are trained on them; default [`Limits::default`].
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What a network that is trained on these data may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Ways to cross-validate: each divides training and validation rows anew, and none touches the held-out ones. `k`
    /// folds (at least 2), `repeats` times with other shuffles; stratified by class, by group or in order of time, as the
    /// data are split. Give each to [`Problem::fold`].
    pub fn folds(&self, k: usize, repeats: usize, seed: u64) -> Result<Vec<Fold>, DataError> {
        let mut rows = [self.train.rows(), self.validation.rows()].concat();
        rows.extend(self.stopping.iter().flat_map(Part::rows));
        rows.sort_unstable();
        self.examples.division().folds(&rows, k, repeats, seed)
    }

    /// The same data with the training and validation parts of a fold, prepared by its training rows only. No file is
    /// read again. Nothing is held out: the held-out rows belong to the problem that the folds come from.
    ///
    /// # Panics
    /// If the fold names examples that are not there.
    pub fn fold(&self, fold: &Fold) -> Result<Self, DataError> {
        let rows = Split { train: fold.train.clone(), validation: fold.validation.clone(), test: Vec::new() };
        let fingerprint = derived_fingerprint(&self.fingerprint, &[&rows.train, &rows.validation]);
        Ok(Self::of_parts(Arc::clone(&self.examples), &rows, fingerprint)?.with_limits(self.limits))
    }

    /// Which split [`DataSpec::seed`] asks for.
    pub(crate) fn split_seed(&self) -> u64 {
        self.examples.spec.seed
    }

    /// The same data with every row that is not held out to train on, prepared by all of them: for the last training of a
    /// network that has been chosen. The validation part is as it was and is trained on now, so it flatters; the
    /// held-out rows are still those of this problem.
    pub fn whole(&self) -> Result<Self, DataError> {
        let mut train = [self.train.rows(), self.validation.rows()].concat();
        train.extend(self.stopping.iter().flat_map(Part::rows));
        train.sort_unstable();
        let (validation, test) = (self.validation.rows().to_vec(), self.held_out.rows().to_vec());
        let fingerprint = derived_fingerprint(&self.fingerprint, &[&train, &validation]);
        let rows = Split { train, validation, test };
        Ok(Self::of_parts(Arc::clone(&self.examples), &rows, fingerprint)?.with_limits(self.limits))
    }

    /// What is to be predicted, for every example up to the last that is not held out: class numbers, or numbers in the
    /// target's unit, found by the example's number (times the number of targets, plus the target's place). Held-out
    /// examples are 0.
    pub(crate) fn truth(&self) -> Answers {
        let parts = [Some(&self.train), Some(&self.validation), self.stopping.as_ref()];
        let parts = || parts.iter().flatten();
        let last = parts().flat_map(|part| part.rows()).max().map_or(0, |row| *row as usize + 1);
        match self.preprocessing.target() {
            TargetEncoding::Classes { .. } => {
                Answers::Classes(placed(parts(), last, 1, |value, _| value as u32))
            }
            TargetEncoding::Labels { names } => {
                Answers::Classes(placed(parts(), last, names.len(), |value, _| value as u32))
            }
            TargetEncoding::Value { mean, deviation } => {
                Answers::Values(placed(parts(), last, 1, |value, _| value * deviation + mean))
            }
            TargetEncoding::Values { names, means, deviations } => {
                let of = |value: f64, place: usize| value * deviations[place] + means[place];
                Answers::Values(placed(parts(), last, names.len(), of))
            }
        }
    }

    /// The same problem with a fraction (above 0, below 1) of the training part set aside for early stopping, see
    /// [`Problem::stopping`]; divided as the data are split. The validation part, which scores, is not touched. Scales are
    /// those of the whole training part.
    pub fn inner(&self, fraction: f64, seed: u64) -> Result<Self, DataError> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::Fraction {
                name: "fraction",
                value: fraction,
                expected: "above 0 and below 1",
            });
        }
        let fractions = Fractions { validation: fraction, test: 0.0 };
        let seed = derived_seed("inner split", seed, 0);
        let rows = self.examples.division().split(self.train.rows(), fractions, &seed)?;
        Ok(Self {
            examples: Arc::clone(&self.examples),
            preprocessing: self.preprocessing.clone(),
            shape: self.shape.clone(),
            embedded: self.embedded.clone(),
            train: self.train.only(&rows.train, self.inputs()),
            validation: self.validation.clone(),
            stopping: Some(self.train.only(&rows.validation, self.inputs())),
            held_out: self.held_out.clone(),
            fingerprint: derived_fingerprint(&self.fingerprint, &[&rows.train, &rows.validation]),
            whole_fingerprint: None,
            notes: self.notes.clone(),
            limits: self.limits,
        })
    }

    /// The same problem with a part of its training rows, above 0 and up to 100 per cent: every class in proportion, whole
    /// groups, or the latest rows, as the data are split. Larger shares have the rows of smaller ones. Scales are those of
    /// the whole training part; what scores is not touched. Folds and the whole of a share have nothing but the share.
    pub fn share(&self, percent: f64) -> Result<Self, DataError> {
        if !(percent > 0.0 && percent <= 100.0) {
            let expected = "above 0 and at most 100";
            return Err(DataError::Fraction { name: "percent", value: percent, expected });
        }
        let rows = if percent < 100.0 {
            let seed = derived_seed("share", self.split_seed(), 0);
            self.examples.division().share(self.train.rows(), percent / 100.0, &seed)
        } else {
            self.train.rows().to_vec()
        };
        Ok(Self {
            examples: Arc::clone(&self.examples),
            preprocessing: self.preprocessing.clone(),
            shape: self.shape.clone(),
            embedded: self.embedded.clone(),
            train: self.train.only(&rows, self.inputs()),
            validation: self.validation.clone(),
            stopping: self.stopping.clone(),
            held_out: self.held_out.clone(),
            fingerprint: derived_fingerprint(&self.fingerprint, &[&rows]),
            whole_fingerprint: Some(self.split_fingerprint().to_owned()),
            notes: self.notes.clone(),
            limits: self.limits,
        })
    }

    /// Places in the training part to train on, and to watch for early stopping: divided as the data are split.
    pub(crate) fn inner_places(
        &self,
        fraction: f64,
        seed: &[u8; 32],
    ) -> Result<(Vec<u32>, Vec<u32>), DataError> {
        let fractions = Fractions { validation: fraction, test: 0.0 };
        let rows = self.examples.division().split(self.train.rows(), fractions, seed)?;
        Ok((self.train.places(&rows.train), self.train.places(&rows.validation)))
    }

    /// What is predicted.
    pub fn task(&self) -> Task {
        self.preprocessing.task()
    }

    /// Shape of one example: `[features]`; `[channels, height, width]` for images; `[steps, features]` for sequences;
    /// `[steps]` for tokens, which are category numbers held in f32.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Numbers per example that a network gets: the product of [`Problem::shape`].
    pub fn inputs(&self) -> usize {
        self.shape.iter().product()
    }

    /// Inputs that hold category numbers, each for an embedding; empty if there are none.
    pub fn embedded(&self) -> &[EmbeddedColumn] {
        &self.embedded
    }

    /// Category numbers that occur in examples of tokens, 0 (padding) and 1 (unknown) included; `None` for other data.
    pub fn vocabulary(&self) -> Option<usize> {
        self.preprocessing.vocabulary()
    }

    /// Names of the classes or labels; empty for regression.
    pub fn classes(&self) -> &[String] {
        match self.preprocessing.target() {
            TargetEncoding::Classes { names } | TargetEncoding::Labels { names } => names,
            TargetEncoding::Value { .. } | TargetEncoding::Values { .. } => &[],
        }
    }

    /// How examples become numbers.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Examples to train on.
    pub fn train(&self) -> &Part {
        &self.train
    }

    /// Examples that score a trial.
    pub fn validation(&self) -> &Part {
        &self.validation
    }

    /// Examples that may stop the training early, and do not score it; `None` unless made by [`Problem::inner`].
    pub fn stopping(&self) -> Option<&Part> {
        self.stopping.as_ref()
    }

    /// Number of examples held out. The examples themselves are only reached by
    /// [`Model::held_out`](crate::Model::held_out), on a finished model.
    pub fn held_out_rows(&self) -> usize {
        self.held_out.len()
    }

    pub(crate) fn held_out(&self) -> &Part {
        &self.held_out
    }

    /// BLAKE3 of the file's bytes, as 64 hexadecimal digits; of several files, BLAKE3 of theirs.
    pub fn data_fingerprint(&self) -> &str {
        &self.examples.fingerprint
    }

    /// BLAKE3 of the files' bytes and of how they are read and split: equal fingerprints mean equal parts.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The same of the problem that this one has a share of: equal ones mean the same held-out rows.
    pub(crate) fn split_fingerprint(&self) -> &str {
        self.whole_fingerprint.as_deref().unwrap_or(&self.fingerprint)
    }

    /// What was done to the data that a user may want to know: columns dropped, cells filled.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Some examples as a network sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    rows: Vec<u32>,
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
    /// Examples of other data than a problem's.
    pub(super) fn new(inputs: Vec<f32>, targets: PartTargets, rows: usize) -> Self {
        Self { rows: (0..rows as u32).collect(), inputs, targets }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of each example among all examples of the data, from 0: the same in every fold.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// All inputs, example by example.
    pub fn inputs(&self) -> &[f32] {
        &self.inputs
    }

    /// The targets of each example: class numbers, or as many values an example as [`TargetEncoding::width`].
    pub fn targets(&self) -> Targets<'_> {
        match &self.targets {
            PartTargets::Classes(classes) => Targets::Classes(classes),
            PartTargets::Values(values) => Targets::Values(values),
        }
    }

    /// Where some of its examples are in it; both lists ascend.
    fn places(&self, rows: &[u32]) -> Vec<u32> {
        let mut wanted = rows.iter().peekable();
        (0..)
            .zip(&self.rows)
            .filter(|(_, row)| wanted.next_if_eq(row).is_some())
            .map(|(place, _)| place)
            .collect()
    }

    /// Some of its examples; both lists ascend.
    fn only(&self, rows: &[u32], width: usize) -> Self {
        let places: Vec<usize> = self.places(rows).into_iter().map(|place| place as usize).collect();
        let cells = |values: &[f32], width: usize| {
            places.iter().flat_map(|&place| &values[place * width..(place + 1) * width]).copied().collect()
        };
        let targets = match &self.targets {
            PartTargets::Classes(classes) => {
                PartTargets::Classes(places.iter().map(|&place| classes[place]).collect())
            }
            PartTargets::Values(values) => {
                PartTargets::Values(cells(values, values.len() / self.len().max(1)))
            }
        };
        Self { rows: rows.to_vec(), inputs: cells(&self.inputs, width), targets }
    }
}

/// Targets that are in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum KnownTargets {
    /// One class for each example.
    Classes {
        /// Names of the classes, at least 2.
        names: Vec<String>,
        /// Number of the class of each example, from 0.
        of_example: Vec<u32>,
    },
    /// One number for each example.
    Values(Vec<f64>),
    /// Several numbers for each example.
    SeveralValues {
        /// Names of the numbers.
        names: Vec<String>,
        /// Example by example.
        values: Vec<f64>,
    },
    /// Labels that do not exclude each other.
    Labels {
        /// Names of the labels.
        names: Vec<String>,
        /// Whether each label holds, example by example.
        flags: Vec<bool>,
    },
}

impl KnownTargets {
    fn into_labels(self, examples: usize) -> Result<Labels, DataError> {
        let check = |targets: usize, width: usize| {
            if width > 0 && targets == examples * width {
                Ok(())
            } else {
                Err(DataError::TargetCount { targets, examples })
            }
        };
        match self {
            Self::Classes { names, of_example } => {
                check(of_example.len(), 1)?;
                if names.len() < 2 {
                    let value = names.first().cloned().unwrap_or_default();
                    return Err(DataError::OneClass { column: "target".to_owned(), value });
                }
                if let Some(place) = of_example.iter().position(|&class| class as usize >= names.len()) {
                    let (class, example) = (of_example[place], place + 1);
                    return Err(DataError::UnnamedClass { class, example, names: names.len() });
                }
                Ok(Labels::Classes { names, of_row: of_example })
            }
            Self::Values(values) => {
                check(values.len(), 1)?;
                finite(Labels::Values { names: vec!["target".to_owned()], values })
            }
            Self::SeveralValues { names, values } => {
                check(values.len(), names.len())?;
                finite(Labels::Values { names, values })
            }
            Self::Labels { names, flags } => {
                check(flags.len(), names.len())?;
                Ok(Labels::Flags {
                    names,
                    flags: flags.into_iter().map(|flag| f32::from(u8::from(flag))).collect(),
                })
            }
        }
    }

    fn fingerprint(&self, inputs: &[f32], shape: &[usize]) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{shape:?}").as_bytes());
        for value in inputs {
            hasher.update(&value.to_le_bytes());
        }
        match self {
            Self::Classes { names, of_example } => {
                hasher.update(format!("{names:?}{of_example:?}").as_bytes())
            }
            Self::Values(values) => hasher.update(format!("{values:?}").as_bytes()),
            Self::SeveralValues { names, values } => hasher.update(format!("{names:?}{values:?}").as_bytes()),
            Self::Labels { names, flags } => hasher.update(format!("{names:?}{flags:?}").as_bytes()),
        };
        hasher.finalize().to_hex().to_string()
    }
}

fn finite(labels: Labels) -> Result<Labels, DataError> {
    if let Labels::Values { names, values } = &labels
        && let Some(place) = values.iter().position(|value| !value.is_finite())
    {
        let (value, example) = (values[place], place / names.len() + 1);
        return Err(DataError::NotFiniteInArray { path: PathBuf::from("targets"), example, value });
    }
    Ok(labels)
}

/// The targets of some parts, each at the place of its example; `of(target, place within the example)`.
fn placed<'a, T: Clone + Default>(
    parts: impl Iterator<Item = &'a &'a Part>,
    rows: usize,
    width: usize,
    of: impl Fn(f64, usize) -> T,
) -> Vec<T> {
    let mut all = vec![T::default(); rows * width];
    for part in parts {
        for (place, &row) in part.rows().iter().enumerate() {
            for target in 0..width {
                let value = match part.targets() {
                    Targets::Classes(classes) => f64::from(classes[place]),
                    Targets::Values(values) => f64::from(values[place * width + target]),
                };
                all[row as usize * width + target] = of(value, target);
            }
        }
    }
    all
}

fn derived_fingerprint(of: &str, rows: &[&[u32]]) -> String {
    blake3::hash(format!("{of}\n{rows:?}").as_bytes()).to_hex().to_string()
}

//! Replicates: the same settings trained several times, on other folds or from other seeds, epoch by epoch side by side,
//! so that a trial's curve is that of their mean. Each has its own seed, its own weights and, with folds, its own
//! preprocessing. Training is the [`Trainer`]'s, statistics are [`Quality`]'s; here they meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::{DataError, Problem};
use crate::metrics::Metric;
use crate::naming::named_choices;
use crate::quality::{Answers, Design, MetricQuality, Quality, Replicate, higher_is_better};
use crate::settings::Settings;
use crate::store::{self, StoreError};
use crate::trainer::{ResumeError, TrainError, Trainer};

const FORMAT: &str = "luthier-replicates";
const FILE: &str = "replicates.json";
/// Goes before the epoch in the name of the folder with the checkpoints of the replicates.
const FOLDER: &str = "replicates-";

/// How often each trial is trained, and what is made of it: the table `[network.quality]`.
///
/// ```
/// let spec: luthier_nn::QualitySpec = toml::from_str("folds = 5\nrepeats = 2")?;
/// assert_eq!((spec.replicates(), spec.confidence), (10, 0.95));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualitySpec {
    /// Folds of cross-validation, at least 2: rows that are not held out are divided anew, class by class, by group or in
    /// order of time, as the data are split. Either this or `seeds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// How often cross-validation is done, each time with other folds; at least 1, default 1. Rows in order of time can
    /// be divided in one way only.
    #[serde(default = "once")]
    pub repeats: usize,
    /// Trainings from different seeds on one and the same split, at least 2. Either this or `folds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<usize>,
    /// What the study makes good. It chooses the metrics where the study file names none, and must agree with them where
    /// it does. Default: whatever the study file names, else the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<QualityObjective>,
    /// How sure intervals and bounds are, above 0.5 and below 1; default 0.95.
    #[serde(default = "usual_confidence")]
    pub confidence: f64,
}

named_choices! {
    /// What a study with replicates makes good.
    QualityObjective {
        /// The mean over the replicates, such as `val_accuracy`.
        Mean = "mean",
        /// What the mean is confidently at least, such as `val_accuracy_lower`; of a loss, at most: `val_loss_upper`.
        LowerBound = "lower_bound",
        /// Two objectives: the mean, and the standard deviation over the replicates, such as `val_accuracy_sd`.
        MeanAndSpread = "mean_and_spread",
    }
}

/// Replicates that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// Neither or both of `folds` and `seeds`.
    #[error(
        "[network.quality] needs either `folds` (cross-validation) or `seeds` (one split, several trainings), not {0}"
    )]
    Kind(&'static str),
    /// A number that makes no sense.
    #[error("[network.quality]: `{name}` is {value}, but must be {expected}")]
    Value {
        /// The key.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Data that cannot be divided so.
    #[error("[network.quality]: {0}")]
    Data(#[from] DataError),
    /// The study's metrics are not what the objective is about.
    #[error(
        "[network.quality]: `objective = \"{objective}\"` is about {expected}, but the study's metric is `{found}`; name that one, or leave `objective` out"
    )]
    Objective {
        /// The objective asked for.
        objective: QualityObjective,
        /// The metrics that would fit.
        expected: String,
        /// The metrics there are.
        found: String,
    },
}

impl QualitySpec {
    /// Trainings per trial.
    pub fn replicates(&self) -> usize {
        self.seeds.unwrap_or_else(|| self.folds.unwrap_or(1) * self.repeats)
    }

    /// Whether the names of a study's metrics are what [`QualitySpec::objective`] is about.
    ///
    /// # Errors
    /// [`QualityError::Objective`] if they are not.
    pub fn check_objective(&self, names: &[&str]) -> Result<(), QualityError> {
        let Some(objective) = self.objective else { return Ok(()) };
        let first = names.first().copied().unwrap_or("val_loss");
        let base = base_name(first);
        let expected = match objective {
            QualityObjective::Mean => vec![base.to_owned()],
            QualityObjective::LowerBound => vec![bound_name(base)],
            QualityObjective::MeanAndSpread => vec![base.to_owned(), spread_name(base)],
        };
        let fits = if objective == QualityObjective::MeanAndSpread {
            expected.iter().all(|name| names.contains(&name.as_str()))
        } else {
            expected[0] == first
        };
        if fits {
            return Ok(());
        }
        let listed = |names: &[String]| names.join("`, `");
        let found: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let expected = format!("`{}`", listed(&expected));
        Err(QualityError::Objective { objective, expected, found: listed(&found) })
    }

    fn check(&self) -> Result<(), QualityError> {
        let wrong = |name, value, expected| Err(QualityError::Value { name, value, expected });
        match (self.folds, self.seeds) {
            (None, None) => return Err(QualityError::Kind("neither")),
            (Some(_), Some(_)) => return Err(QualityError::Kind("both")),
            (Some(folds), None) if folds < 2 => return wrong("folds", folds as f64, "at least 2"),
            (None, Some(seeds)) if seeds < 2 => return wrong("seeds", seeds as f64, "at least 2"),
            (None, Some(_)) if self.repeats != 1 => {
                return wrong("repeats", self.repeats as f64, "left out: it goes with `folds`");
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if self.repeats == 0 {
            return wrong("repeats", 0.0, "at least 1");
        }
        if !(self.confidence > 0.5 && self.confidence < 1.0) {
            return wrong("confidence", self.confidence, "above 0.5 and below 1");
        }
        Ok(())
    }
}

/// The data of each replicate, made ready once and shared by all trials of a study. Each fold holds its rows as numbers of
/// its own, so memory grows with folds times repeats.
#[derive(Debug)]
pub struct Replication {
    problems: Vec<Arc<Problem>>,
    names: Vec<String>,
    design: Design,
    confidence: f64,
    truth: Answers,
}

impl Replication {
    /// Divides and prepares `problem` as `spec` says. [`DataSpec::seed`](crate::DataSpec::seed) says which folds, the same
    /// for all trials; the rows held out stay out.
    ///
    /// # Errors
    /// A table that makes no sense, or data that cannot be divided so.
    pub fn new(problem: &Arc<Problem>, spec: &QualitySpec) -> Result<Self, QualityError> {
        spec.check()?;
        let (problems, names, design) = match spec.seeds {
            Some(seeds) => {
                let names = (1..=seeds).map(|seed| format!("seed {seed} of {seeds}")).collect();
                (vec![Arc::clone(problem); seeds], names, Design::Seeds)
            }
            None => folded(problem, spec.folds.unwrap_or(2), spec.repeats)?,
        };
        Ok(Self { problems, names, design, confidence: spec.confidence, truth: problem.truth() })
    }

    /// As many replicates of the same folds again, told apart by their seeds only: for rows in order of time, which can be
    /// divided in one way.
    pub(crate) fn again(mut self, rounds: usize) -> Self {
        let (problems, names) = (self.problems.clone(), self.names.clone());
        for round in 1..rounds {
            self.problems.extend(problems.iter().map(Arc::clone));
            self.names.extend(names.iter().map(|name| format!("{name}, seed {}", round + 1)));
        }
        self
    }

    /// The plan of one replicate alone.
    ///
    /// # Panics
    /// If there is no such replicate.
    pub fn only(&self, replicate: usize) -> Self {
        Self {
            problems: vec![Arc::clone(&self.problems[replicate])],
            names: vec![self.names[replicate].clone()],
            design: self.design,
            confidence: self.confidence,
            truth: self.truth.clone(),
        }
    }

    /// The same with other data for each replicate, such as a part of its training rows; those that had the same have the same.
    pub(crate) fn with_problems<E>(
        &self,
        other: impl Fn(&Arc<Problem>) -> Result<Arc<Problem>, E>,
    ) -> Result<Self, E> {
        let mut problems: Vec<Arc<Problem>> = Vec::with_capacity(self.problems.len());
        for (place, problem) in self.problems.iter().enumerate() {
            let same = self.problems[..place].iter().position(|earlier| Arc::ptr_eq(earlier, problem));
            problems.push(match same {
                Some(earlier) => Arc::clone(&problems[earlier]),
                None => other(problem)?,
            });
        }
        Ok(Self {
            problems,
            names: self.names.clone(),
            design: self.design,
            confidence: self.confidence,
            truth: self.truth.clone(),
        })
    }

    /// The data of each replicate.
    pub fn problems(&self) -> &[Arc<Problem>] {
        &self.problems
    }

    /// What a replicate is called in messages: `fold 2 of 5, repeat 1 of 2`.
    pub fn name(&self, replicate: usize) -> &str {
        &self.names[replicate]
    }

    /// How replicates come to differ.
    pub fn design(&self) -> Design {
        self.design
    }

    /// What measured replicates of these data tell together.
    ///
    /// # Panics
    /// If they are not of these data.
    pub fn quality(&self, measured: &MeasuredReplicates) -> Quality {
        Quality::with_confidence(&measured.replicates, &self.truth, self.design, self.confidence)
    }

    /// Whether a report of replicates has a value of this name, if each replicate has one of [`base_name`].
    fn metric(&self, name: &str, values: &[f64]) -> MetricQuality {
        MetricQuality::with_confidence(name, values, self.design, self.confidence)
    }
}

type Prepared = (Vec<Arc<Problem>>, Vec<String>, Design);

fn folded(problem: &Arc<Problem>, folds: usize, repeats: usize) -> Result<Prepared, QualityError> {
    let (mut problems, mut names) = (Vec::new(), Vec::new());
    let mut test_per_train = 0.0;
    let all = problem.folds(folds, repeats, problem.split_seed())?;
    for (place, fold) in all.iter().enumerate() {
        let (number, repeat) = (place % folds + 1, place / folds + 1);
        names.push(match repeats {
            1 => format!("fold {number} of {folds}"),
            _ => format!("fold {number} of {folds}, repeat {repeat} of {repeats}"),
        });
        test_per_train += fold.validation.len() as f64 / fold.train.len() as f64 / all.len() as f64;
        problems.push(Arc::new(problem.fold(fold)?));
    }
    Ok((problems, names, Design::Folds { test_per_train }))
}

/// The seed of a replicate, counted from 0, of a run with this seed.
///
/// ```
/// use luthier_nn::replicate_seed;
///
/// assert_ne!(replicate_seed(&[7; 32], 0), replicate_seed(&[7; 32], 1));
/// ```
pub fn replicate_seed(seed: &[u8; 32], replicate: usize) -> [u8; 32] {
    *blake3::keyed_hash(seed, format!("replicate {replicate}").as_bytes()).as_bytes()
}

/// All replicates of one trial, in lockstep. The same plan, settings and seed give the same reports bit for bit, whether
/// interrupted or not.
///
/// ```
/// use std::{path::Path, sync::Arc};
/// use luthier_nn::{DataSpec, Problem, QualitySpec, Replicates, Replication, Settings};
///
/// let problem = Arc::new(Problem::prepare(&DataSpec::new("../../examples/digits/digits.csv"), Path::new("."))?);
/// let spec: QualitySpec = serde_json::from_value(serde_json::json!({ "folds": 3 }))?;
/// let plan = Arc::new(Replication::new(&problem, &spec)?);
/// let settings = Settings::default().with_param("units", 16i64)?.with_param("epochs", 2i64)?;
/// let mut replicates = Replicates::new(&plan, &settings, [7; 32])?;
/// while !replicates.is_done() {
///     let report = replicates.epoch()?;
///     println!("{}: {:?} ± {:?}", report.epoch, report.value("val_accuracy"), report.value("val_accuracy_sd"));
/// }
/// println!("{}", plan.quality(&replicates.measure()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Replicates {
    plan: Arc<Replication>,
    trainers: Vec<Trainer>,
    /// What each reported last; of one that has ended, for ever.
    last: Vec<Vec<(String, f64)>>,
    epoch: usize,
    failed: Option<ReplicateError>,
}

/// A replicate that cannot be trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name}: {error}")]
pub struct ReplicateError {
    /// Which: `fold 2 of 5`.
    pub name: String,
    /// Why.
    pub error: TrainError,
}

/// Replicates that cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum ReplicatesResumeError {
    /// The checkpoint as a whole.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of them.
    #[error("{name}: {error}")]
    Replicate {
        /// Which.
        name: String,
        /// Why not.
        error: ResumeError,
    },
}

/// An epoch of all replicates.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicatesReport {
    /// Epochs done, from 1.
    pub epoch: usize,
    /// Each value that replicates report, over those that have it.
    pub metrics: Vec<MetricQuality>,
}

/// What every replicate scored and said, each on its own validation part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredReplicates {
    /// Epochs done when it was measured.
    pub epoch: usize,
    /// The epoch that each replicate's weights are of: an earlier one, if early stopping returned to it.
    pub epochs: Vec<usize>,
    /// The replicates.
    pub replicates: Vec<Replicate>,
}

/// What a checkpoint says beside those of the replicates.
#[derive(Serialize, Deserialize)]
struct State {
    epoch: usize,
    last: Vec<Vec<(String, f64)>>,
}

impl Replicates {
    /// All at their beginning.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn new(plan: &Arc<Replication>, settings: &Settings, seed: [u8; 32]) -> Result<Self, ReplicateError> {
        let trainers = plan.problems.iter().enumerate().map(|(replicate, problem)| {
            Trainer::new(problem, settings.clone(), replicate_seed(&seed, replicate))
                .map_err(|error| ReplicateError { name: plan.names[replicate].clone(), error })
        });
        let trainers = trainers.collect::<Result<Vec<_>, _>>()?;
        let last = vec![Vec::new(); trainers.len()];
        Ok(Self { plan: Arc::clone(plan), trainers, last, epoch: 0, failed: None })
    }

    /// Continues what [`Replicates::save`] saved in `directory`; same plan, settings and seed, as for [`Trainer::resume`].
    ///
    /// # Errors
    /// A checkpoint that is damaged, or of other replicates.
    pub fn resume(
        plan: &Arc<Replication>,
        settings: &Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ReplicatesResumeError> {
        Self::continued(plan, directory, |replicate, problem, folder| {
            Trainer::resume(problem, settings.clone(), replicate_seed(&seed, replicate), folder)
        })
    }

    /// Starts from another trial's checkpoint with settings and a seed of its own, as [`Trainer::branch`] does.
    ///
    /// # Errors
    /// A checkpoint that is damaged, or of networks of another shape.
    pub fn branch(
        plan: &Arc<Replication>,
        settings: &Settings,
        seed: [u8; 32],
        directory: &Path,
    ) -> Result<Self, ReplicatesResumeError> {
        Self::continued(plan, directory, |replicate, problem, folder| {
            Trainer::branch(problem, settings.clone(), replicate_seed(&seed, replicate), folder)
        })
    }

    fn continued(
        plan: &Arc<Replication>,
        directory: &Path,
        trainer: impl Fn(usize, &Arc<Problem>, &Path) -> Result<Trainer, ResumeError>,
    ) -> Result<Self, ReplicatesResumeError> {
        let path = directory.join(FILE);
        let State { epoch, last } = store::read_json(&path, FORMAT)?;
        if last.len() != plan.problems.len() {
            let problem = format!("it holds {} replicates, not {}", last.len(), plan.problems.len());
            return Err(StoreError::Mismatch { path, problem }.into());
        }
        let trainers = plan.problems.iter().enumerate().map(|(replicate, problem)| {
            trainer(replicate, problem, &folder(directory, epoch, replicate)).map_err(|error| {
                ReplicatesResumeError::Replicate { name: plan.names[replicate].clone(), error }
            })
        });
        let trainers = trainers.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { plan: Arc::clone(plan), trainers, last, epoch, failed: None })
    }

    /// Whether `directory` holds a checkpoint of replicates, good or damaged.
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The same with more metrics in the reports, as [`Trainer::measuring`].
    #[must_use]
    pub fn measuring(mut self, metrics: &[Metric]) -> Self {
        self.trainers = self.trainers.into_iter().map(|trainer| trainer.measuring(metrics)).collect();
        self
    }

    /// The same, each for as many epochs as its steps take; see [`Trainer::lasting_its_steps`].
    #[must_use]
    pub(crate) fn lasting_its_steps(mut self) -> Self {
        self.trainers = self.trainers.into_iter().map(Trainer::lasting_its_steps).collect();
        self
    }

    /// Trains every replicate that has not ended for one epoch.
    ///
    /// # Errors
    /// The first replicate that diverged; the error stays.
    pub fn epoch(&mut self) -> Result<ReplicatesReport, ReplicateError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        for (replicate, trainer) in self.trainers.iter_mut().enumerate() {
            if trainer.is_done() {
                continue;
            }
            match trainer.epoch() {
                Ok(report) => {
                    let values = report.values().into_iter();
                    self.last[replicate] = values.map(|(name, value)| (name.to_owned(), value)).collect();
                }
                Err(error) => {
                    let error = ReplicateError { name: self.plan.names[replicate].clone(), error };
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        self.epoch += 1;
        Ok(ReplicatesReport { epoch: self.epoch, metrics: self.over_replicates() })
    }

    /// Epochs done by the replicates that went furthest.
    pub fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// Whether all have ended.
    pub fn is_done(&self) -> bool {
        self.trainers.iter().all(Trainer::is_done)
    }

    /// The trainer of each replicate.
    pub fn trainers(&self) -> &[Trainer] {
        &self.trainers
    }

    /// What every replicate scored in the last epoch, and what it says about each row of its validation part.
    pub fn measure(&mut self) -> MeasuredReplicates {
        let replicates = self.trainers.iter_mut().zip(&self.plan.problems).zip(&self.last);
        let replicates = replicates.map(|((trainer, problem), values)| {
            let answers = trainer.answers_validation();
            let examples = examples(problem.validation().rows(), &answers);
            Replicate { values: values.clone(), examples, answers }
        });
        let replicates = replicates.collect();
        let best = |trainer: &Trainer| trainer.best_epoch().filter(|_| trainer.is_done());
        let epochs = self.trainers.iter().map(|t| best(t).unwrap_or_else(|| t.epochs_done())).collect();
        MeasuredReplicates { epoch: self.epoch, epochs, replicates }
    }

    /// Saves the state of all in `directory`, in place of what was saved there before. A kill at any moment leaves the
    /// old checkpoint or the new one.
    ///
    /// # Errors
    /// The file system's, or a replicate that has diverged.
    pub fn save(&self, directory: &Path) -> Result<(), StoreError> {
        if self.failed.is_some() {
            return Err(StoreError::Diverged);
        }
        for (replicate, trainer) in self.trainers.iter().enumerate() {
            trainer.save(&folder(directory, self.epoch, replicate))?;
        }
        let state = State { epoch: self.epoch, last: self.last.clone() };
        store::write_json(&directory.join(FILE), FORMAT, &state)?;
        remove_others(directory, self.epoch);
        Ok(())
    }

    fn over_replicates(&self) -> Vec<MetricQuality> {
        let mut by_name: Vec<(&str, Vec<f64>)> = Vec::new();
        for (name, value) in self.last.iter().flatten() {
            match by_name.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(*value),
                None => by_name.push((name, vec![*value])),
            }
        }
        by_name.iter().map(|(name, values)| self.plan.metric(name, values)).collect()
    }
}

impl ReplicatesReport {
    /// All there is to report: of each value its mean under its own name and, measured on validation parts, its
    /// standard deviation (`val_accuracy_sd`) and what it confidently is at the worst (`val_accuracy_lower`, or
    /// `val_loss_upper` where less is better).
    pub fn values(&self) -> Vec<(String, f64)> {
        let mut all: Vec<_> = self.metrics.iter().map(|metric| (metric.name.clone(), metric.mean)).collect();
        for metric in self.metrics.iter().filter(|metric| metric.name.starts_with(VALIDATION)) {
            if let Some(spread) = metric.spread {
                all.push((spread_name(&metric.name), spread.standard_deviation));
                all.push((bound_name(&metric.name), spread.bound));
            }
        }
        all
    }

    /// One of [`ReplicatesReport::values`].
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

const VALIDATION: &str = "val_";
const SPREAD: &str = "_sd";
const BOUNDS: [&str; 2] = ["_lower", "_upper"];

/// The name without what replicates add to it: `val_accuracy` of `val_accuracy_sd`.
pub(crate) fn base_name(name: &str) -> &str {
    if !name.starts_with(VALIDATION) {
        return name;
    }
    let suffixes = [SPREAD].into_iter().chain(BOUNDS);
    suffixes.into_iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Whether replicates report this name if each of them reports its base.
pub(crate) fn is_reported(name: &str) -> bool {
    let base = base_name(name);
    name == base || name == spread_name(base) || name == bound_name(base)
}

pub(crate) fn spread_name(base: &str) -> String {
    format!("{base}{SPREAD}")
}

pub(crate) fn bound_name(base: &str) -> String {
    let [lower, upper] = BOUNDS;
    format!("{base}{}", if higher_is_better(base) { lower } else { upper })
}

/// Numbers of the examples that were answered; with several targets each of them is an example of its own.
fn examples(rows: &[u32], answers: &Answers) -> Vec<u32> {
    let count = match answers {
        Answers::Classes(classes) => classes.len(),
        Answers::Values(values) => values.len(),
    };
    let width = (count / rows.len().max(1)) as u32;
    rows.iter().flat_map(|row| (0..width).map(move |target| row * width + target)).collect()
}

fn folder(directory: &Path, epoch: usize, replicate: usize) -> PathBuf {
    directory.join(format!("{FOLDER}{epoch}")).join(replicate.to_string())
}

/// Removes checkpoints of other epochs. Failing to is harmless.
fn remove_others(directory: &Path, epoch: usize) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let keep = format!("{FOLDER}{epoch}");
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(FOLDER) && *name != *keep {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn once() -> usize {
    1
}

fn usual_confidence() -> f64 {
    0.95
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_end_is_the_worse_one() {
        assert_eq!(bound_name("val_accuracy"), "val_accuracy_lower");
        assert_eq!(bound_name("val_loss"), "val_loss_upper");
        assert_eq!(base_name("val_rmse_sd"), "val_rmse");
        assert_eq!(base_name("train_loss"), "train_loss");
        for (name, reported) in [
            ("val_accuracy", true),
            ("val_accuracy_sd", true),
            ("val_accuracy_lower", true),
            ("val_accuracy_upper", false),
            ("val_loss_upper", true),
            ("val_loss_lower", false),
            ("train_loss_sd", false),
        ] {
            // `train_loss_sd` is its own base, which no replicate reports.
            assert_eq!(is_reported(name) && base_name(name) != "train_loss_sd", reported, "{name}");
        }
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        let refused =
            |text: &str| toml::from_str::<QualitySpec>(text).unwrap().check().unwrap_err().to_string();
        assert!(refused("confidence = 0.9").contains("either `folds`"));
        assert!(refused("folds = 3\nseeds = 3").contains("not both"));
        assert!(refused("folds = 1").contains("`folds` is 1"));
        assert!(refused("seeds = 3\nrepeats = 2").contains("`repeats` is 2"));
        assert!(refused("seeds = 3\nconfidence = 0.5").contains("above 0.5"));
    }

    #[test]
    fn an_objective_agrees_with_the_metrics_or_says_which_it_wants() {
        let spec = |objective: &str| -> QualitySpec {
            toml::from_str(&format!("folds = 3\nobjective = \"{objective}\"")).unwrap()
        };
        spec("lower_bound").check_objective(&["val_accuracy_lower"]).unwrap();
        spec("mean").check_objective(&["val_loss"]).unwrap();
        spec("mean_and_spread").check_objective(&["val_accuracy", "val_accuracy_sd"]).unwrap();
        let refused = spec("lower_bound").check_objective(&["val_accuracy"]).unwrap_err().to_string();
        assert!(
            refused.contains("about `val_accuracy_lower`, but the study's metric is `val_accuracy`"),
            "{refused}"
        );
        assert!(spec("mean_and_spread").check_objective(&["val_loss"]).is_err());
        assert!(spec("mean").check_objective(&["val_loss_sd"]).is_err());
    }
}

//! The end of a search: the chosen settings are trained once more on every row that is not held out, and measured once on
//! those that are; and what is written down about the winner. It chooses nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::{DataError, Problem};
use crate::diagnosis::Diagnosis;
use crate::model::{Model, ModelError};
use crate::quality::Quality;
use crate::settings::Settings;
use crate::store::{self, StoreError};
use crate::trainer::{ResumeError, TrainError, Trainer};

const FORMAT: &str = "luthier-quality";
const FILE: &str = "quality.json";

/// What is known about the winner of a study, saved beside its model as `quality.json`. Its `Display` is the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinnerReport {
    /// Number of the trial that won.
    pub trial: u32,
    /// What its replicates tell together, with the hits (or the spread) of each example; `None` without replicates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// What its learning curve says; `None` where that is none of epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// Its last training; `None` if the trial's own model was taken, or before the study has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew: Option<TrainedAnew>,
}

/// The last training of a chosen network. Its `Display` says in a sentence what was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedAnew {
    /// Rows it was trained on: all that are not held out, less those that early stopping watched.
    pub trained_rows: usize,
    /// Rows that early stopping watched.
    pub watched_rows: usize,
    /// Epoch of its weights.
    pub epochs: usize,
    /// Rows it was measured on, which no trial has seen; 0 if none are held out.
    pub measured_rows: usize,
    /// What it scored on them; empty if there are none.
    pub held_out: Vec<(String, f64)>,
    /// Earlier winners of the study that were measured on these rows too, by trial. The more there are, the less is a good
    /// result worth.
    pub earlier: Vec<u32>,
    /// Whether its learning rate fell to zero, and that of the trials did not; see [`Settings::cooled`]. [`train_anew`] leaves it false: it trains what it is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cooled: bool,
    /// Fingerprint of the problem with all rows, which the model is of.
    problem: String,
    /// [`Problem::fingerprint`] of the study's.
    data: String,
}

/// A last training that failed.
#[derive(Debug, thiserror::Error)]
pub enum AnewError {
    /// The data cannot be prepared with all rows.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Training failed on all rows, although it had not on fewer.
    #[error("the winner cannot be trained anew on all rows: {0}")]
    Train(#[from] TrainError),
    /// The held-out rows cannot be measured.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A schedule without settings.
    #[error("the winner cannot be trained anew: its schedule is empty")]
    NoSettings,
    /// What one part of a schedule left cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What one part of a schedule left cannot be gone on from by the next.
    #[error("the winner cannot be trained anew along its schedule: {0}")]
    Resume(#[from] ResumeError),
}

/// Trains `settings` on every row of `problem` that is not held out, and measures the model on those that are.
///
/// It takes `epochs` epochs, of which [`Settings::epochs`] still sets the length of the learning-rate schedule; with
/// [`Settings::patience`] it goes until early stopping ends it, watching rows that are split off anew. Budgets of steps and
/// seconds hold. The same problem, settings, epochs and seed give the same model.
///
/// # Errors
/// Data or settings that cannot be used, or a divergence.
pub fn train_anew(
    problem: &Problem,
    settings: &Settings,
    epochs: usize,
    seed: [u8; 32],
) -> Result<(Model, TrainedAnew), AnewError> {
    train_along(problem, &[(0, settings.clone())], epochs, seed, Path::new(""))
}

/// [`train_anew`] along a schedule: settings with the epoch from which each holds, the first from 0. What one leaves the next goes on from, through
/// `scratch`, a folder that is not there yet and is gone in the end.
///
/// # Errors
/// The same, and those of the file system.
pub fn train_along(
    problem: &Problem,
    legs: &[(usize, Settings)],
    epochs: usize,
    seed: [u8; 32],
    scratch: &Path,
) -> Result<(Model, TrainedAnew), AnewError> {
    let whole = Arc::new(problem.whole()?);
    let trainer = along(&whole, legs, epochs, seed, scratch);
    if legs.len() > 1 {
        let _ = fs::remove_dir_all(scratch);
    }
    let trainer = trainer?;
    let mut model = trainer.model();
    let held_out = match whole.held_out_rows() {
        0 => Vec::new(),
        _ => named(&model.held_out(&whole)?.values()),
    };
    let watched_rows = trainer.watched_rows();
    let anew = TrainedAnew {
        trained_rows: whole.train().len() - watched_rows,
        watched_rows,
        epochs: model.epochs(),
        measured_rows: whole.held_out_rows(),
        held_out,
        earlier: Vec::new(),
        cooled: false,
        problem: whole.fingerprint().to_owned(),
        data: problem.fingerprint().to_owned(),
    };
    Ok((model, anew))
}

fn along(
    whole: &Arc<Problem>,
    legs: &[(usize, Settings)],
    epochs: usize,
    seed: [u8; 32],
    scratch: &Path,
) -> Result<Trainer, AnewError> {
    let Some(((_, first), later)) = legs.split_first() else { return Err(AnewError::NoSettings) };
    let mut trainer = Trainer::new(whole, first.clone(), seed)?;
    let until = |trainer: &mut Trainer, end: usize| -> Result<(), TrainError> {
        while !trainer.is_done() && trainer.epochs_done() < end {
            trainer.epoch()?;
        }
        Ok(())
    };
    for (from, settings) in later {
        until(&mut trainer, *from)?;
        if trainer.epochs_done() < *from {
            return Ok(trainer);
        }
        trainer.save(scratch)?;
        trainer = Trainer::branch(whole, settings.clone(), seed, scratch)?;
    }
    let is_stopped = legs.last().is_some_and(|(_, settings)| settings.patience.is_some());
    until(&mut trainer, if is_stopped { usize::MAX } else { epochs })?;
    Ok(trainer)
}

pub(crate) fn named(values: &[(&str, f64)]) -> Vec<(String, f64)> {
    values.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
}

impl WinnerReport {
    /// Writes `quality.json` into `directory`.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, directory: &Path) -> Result<(), StoreError> {
        store::make_directory(directory)?;
        store::write_json(&Self::file(directory), FORMAT, self)
    }

    /// Reads what was saved.
    ///
    /// # Errors
    /// A file that is not there, damaged, or of a newer version.
    pub fn load(directory: &Path) -> Result<Self, StoreError> {
        store::read_json(&Self::file(directory), FORMAT)
    }

    /// Where it is saved in `directory`.
    pub fn file(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }
}

impl TrainedAnew {
    /// Whether `model` is what this training left, and training `settings` on these data would come to it again.
    pub(crate) fn is_of(&self, model: &Model, data_fingerprint: &str, settings: &Settings) -> bool {
        *model.settings() == settings.resolved()
            && model.is_of(&self.problem)
            && self.data == data_fingerprint
            && model.epochs() == self.epochs
    }
}

impl fmt::Display for WinnerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(quality) = &self.quality {
            writeln!(f, "{quality}")?;
        }
        if let Some(diagnosis) = &self.diagnosis {
            writeln!(f, "{diagnosis}")?;
        }
        match &self.anew {
            Some(anew) => write!(f, "{anew}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TrainedAnew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trained anew on {} rows", self.trained_rows)?;
        if self.watched_rows > 0 {
            write!(f, " ({} more were watched for early stopping)", self.watched_rows)?;
        }
        write!(f, ", {} epochs", self.epochs)?;
        if self.cooled {
            write!(f, " with a learning rate that fell to zero")?;
        }
        if self.measured_rows == 0 {
            return write!(f, "; not measured, for no rows were held out (`test = 0`)");
        }
        write!(f, ", measured once on {} rows no trial has seen", self.measured_rows)?;
        match self.earlier.len() {
            0 => Ok(()),
            1 => write!(f, "; an earlier winner was measured on them too (trial {})", self.earlier[0]),
            n => write!(f, "; {n} earlier winners were measured on them too"),
        }
    }
}

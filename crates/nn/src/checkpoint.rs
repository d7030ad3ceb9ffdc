//! Checkpoints: a directory with the state of a run after some epoch. Restoring and training on gives the same bits
//! as never having stopped, because shuffles and dropout are keyed by epoch and not by a generator's position.
//!
//! `checkpoint.json` names the tensor file that belongs to it and that file's hash. Saving writes a new tensor file,
//! then replaces the JSON, then removes older tensor files: a kill at any moment leaves one complete checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, OptimizerMemory, Tensor};
use crate::network::Network;
use crate::schedule::Plateau;
use crate::settings::Settings;
use crate::store::{self, StoreError};

const FORMAT: &str = "luthier-checkpoint";
const FILE: &str = "checkpoint.json";
/// Goes before the names of the weights that early stopping would return to.
const BEST: &str = "best.";

/// What a checkpoint says beside its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Epochs done. With the seed this is also the position of every random stream.
    pub epoch: usize,
    /// Optimiser steps done.
    pub steps: u64,
    /// Seed of the run, as 64 hexadecimal digits.
    pub seed: String,
    /// Settings of the run, resolved.
    pub settings: Settings,
    /// Its network; not in checkpoints of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// [`Problem::fingerprint`](crate::Problem::fingerprint) of its data.
    pub problem: String,
    /// Seconds of training so far.
    #[serde(default)]
    pub seconds: f64,
    /// Where a schedule stands that watches the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plateau: Option<Plateau>,
    /// Where early stopping stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopping: Option<StoppingState>,
    tensors: String,
    tensors_blake3: String,
}

/// Where early stopping stands, but for the best epoch's weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoppingState {
    /// The best value so far, turned so that smaller is better.
    pub(crate) best: Option<f64>,
    /// The epoch it is of; 0 before the first.
    pub(crate) best_epoch: usize,
    /// Epochs since then.
    pub(crate) waited: usize,
}

/// How far a run is, to be saved.
pub(crate) struct Progress<'a> {
    pub(crate) epoch: usize,
    pub(crate) seconds: f64,
    pub(crate) seed: &'a [u8; 32],
    pub(crate) settings: &'a Settings,
    pub(crate) network: &'a Network,
    pub(crate) problem: &'a str,
    pub(crate) plateau: Option<Plateau>,
    pub(crate) stopping: Option<StoppingState>,
    pub(crate) best_weights: &'a [Tensor],
}

impl Checkpoint {
    /// Reads what the checkpoint in `directory` says, without its tensors.
    pub fn read(directory: &Path) -> Result<Self, StoreError> {
        store::read_json(&Self::file(directory), FORMAT)
    }

    /// Whether `directory` holds a checkpoint, good or damaged.
    pub fn exists(directory: &Path) -> bool {
        Self::file(directory).exists()
    }

    /// Where a checkpoint's description is.
    pub(crate) fn file(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Saves the state of `engine` and how far it is.
    pub(crate) fn save(
        directory: &Path,
        engine: &dyn Engine,
        progress: &Progress<'_>,
    ) -> Result<(), StoreError> {
        store::make_directory(directory)?;
        let memory = engine.memory();
        let tensors = format!("state-{}.safetensors", progress.epoch);
        let best = progress.best_weights.iter().map(|tensor| {
            let name = format!("{BEST}{}", tensor.name);
            Tensor { name, ..tensor.clone() }
        });
        let state = [engine.weights(), memory.slots, best.collect()].concat();
        let checkpoint = Self {
            epoch: progress.epoch,
            steps: memory.steps,
            seed: hexadecimal(progress.seed),
            settings: progress.settings.resolved(),
            network: Some(progress.network.clone()),
            problem: progress.problem.to_owned(),
            seconds: progress.seconds,
            plateau: progress.plateau,
            stopping: progress.stopping,
            tensors_blake3: store::write_tensors(&directory.join(&tensors), &state)?,
            tensors,
        };
        store::write_json(&Self::file(directory), FORMAT, &checkpoint)?;
        remove_others(directory, &checkpoint.tensors);
        Ok(())
    }

    /// The weights of the epoch that early stopping holds for the best.
    pub(crate) fn best_weights(&self, directory: &Path) -> Result<Vec<Tensor>, StoreError> {
        let tensors = store::read_tensors(&directory.join(&self.tensors), &self.tensors_blake3)?;
        let best = |tensor: Tensor| {
            tensor.name.strip_prefix(BEST).map(str::to_owned).map(|name| Tensor { name, ..tensor })
        };
        Ok(tensors.into_iter().filter_map(best).collect())
    }

    /// Puts the saved state into an engine for the same network and optimiser.
    pub(crate) fn restore(&self, directory: &Path, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let path = directory.join(&self.tensors);
        let tensors = store::read_tensors(&path, &self.tensors_blake3)?;
        engine.load_weights(&tensors).map_err(store::unfit(&path))?;
        let memory = OptimizerMemory { steps: self.steps, slots: tensors };
        engine.load_memory(&memory).map_err(store::unfit(&path))
    }
}

pub(crate) fn hexadecimal(seed: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*seed).to_hex().to_string()
}

/// Removes tensor files and temporary files that no checkpoint needs any more. Failing to is harmless.
fn remove_others(directory: &Path, keep: &str) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with("state-") || name.starts_with(FILE);
        if ours && name != keep && name != FILE {
            let _ = fs::remove_file(entry.path());
        }
    }
}

//! Checkpoints: a directory with the state of a run after some epoch. Restoring and training on gives the same bits
//! as never having stopped, because shuffles and dropout are keyed by epoch and not by a generator's position.
//!
//! `checkpoint.json` names the tensor file that belongs to it and that file's hash. Saving writes a new tensor file,
//! then replaces the JSON, then removes older tensor files: a kill at any moment leaves one complete checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, OptimizerMemory};
use crate::settings::Settings;
use crate::store::{self, StoreError};

const FORMAT: &str = "luthier-checkpoint";
const FILE: &str = "checkpoint.json";

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
    /// [`Problem::fingerprint`](crate::Problem::fingerprint) of its data.
    pub problem: String,
    tensors: String,
    tensors_blake3: String,
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

    /// Saves the state of `engine` after `epoch` epochs.
    pub(crate) fn save(
        directory: &Path,
        engine: &dyn Engine,
        epoch: usize,
        seed: &[u8; 32],
        settings: &Settings,
        problem: &str,
    ) -> Result<(), StoreError> {
        store::make_directory(directory)?;
        let memory = engine.memory();
        let tensors = format!("state-{epoch}.safetensors");
        let state = [engine.weights(), memory.slots].concat();
        let checkpoint = Self {
            epoch,
            steps: memory.steps,
            seed: hexadecimal(seed),
            settings: settings.resolved(),
            problem: problem.to_owned(),
            tensors_blake3: store::write_tensors(&directory.join(&tensors), &state)?,
            tensors,
        };
        store::write_json(&Self::file(directory), FORMAT, &checkpoint)?;
        remove_others(directory, &checkpoint.tensors);
        Ok(())
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

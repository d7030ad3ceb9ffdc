//! Files that survive a kill: whole or not there, and checked when they are read. Knows tensors and JSON; what they
//! mean is up to checkpoints and models.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{StateError, Tensor};

/// A checkpoint or model that cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The content is not what was written.
    #[error("{} is damaged: {problem}; delete it, or restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It is not a file of this kind.
    #[error("{} is not a {expected} (its `format` is {found})", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// `luthier-checkpoint` or `luthier-model`.
        expected: &'static str,
        /// What it says it is.
        found: String,
    },
    /// It was written by a newer version.
    #[error("{} has format version {found}, and this program reads up to {known}: use a newer luthier", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that is understood.
        known: u64,
    },
    /// It belongs to something else.
    #[error("{} does not belong here: {problem}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs, and how.
        problem: String,
    },
    /// Training has diverged, so there is nothing worth keeping.
    #[error("not saved: training has diverged, and its state is of no use")]
    Diverged,
}

/// Version of the formats of checkpoints and models.
pub(crate) const VERSION: u64 = 1;

/// What every JSON file here starts with.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Envelope<T> {
    format: String,
    version: u64,
    #[serde(flatten)]
    body: T,
}

/// Writes `body` as JSON of the given format.
pub(crate) fn write_json<T: Serialize>(path: &Path, format: &str, body: &T) -> Result<(), StoreError> {
    let envelope = Envelope { format: format.to_owned(), version: VERSION, body };
    let mut text = serde_json::to_vec_pretty(&envelope)
        .unwrap_or_else(|error| unreachable!("settings and names are plain JSON: {error}"));
    text.push(b'\n');
    write_whole(path, &text)
}

/// Reads JSON of the given format, and refuses other formats and newer versions.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, format: &'static str) -> Result<T, StoreError> {
    let bytes = read(path)?;
    let damaged =
        |error: serde_json::Error| StoreError::Damaged { path: path.to_owned(), problem: error.to_string() };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    let found = &value["format"];
    if found != format {
        return Err(StoreError::NotOurs {
            path: path.to_owned(),
            expected: format,
            found: found.to_string(),
        });
    }
    match value["version"].as_u64() {
        Some(version) if version > VERSION => {
            return Err(StoreError::Newer { path: path.to_owned(), found: version, known: VERSION });
        }
        _ => {}
    }
    let envelope: Envelope<T> = serde_json::from_value(value).map_err(damaged)?;
    Ok(envelope.body)
}

/// Writes tensors as safetensors and returns the BLAKE3 of the file.
pub(crate) fn write_tensors(path: &Path, tensors: &[Tensor]) -> Result<String, StoreError> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|tensor| little_endian(&tensor.data)).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)
            .unwrap_or_else(|error| unreachable!("a tensor's shape fits its data: {error}"));
        (tensor.name.as_str(), view)
    });
    let file = safetensors::serialize(views, None)
        .unwrap_or_else(|error| unreachable!("single-precision tensors can be written: {error}"));
    write_whole(path, &file)?;
    Ok(blake3::hash(&file).to_hex().to_string())
}

/// Reads tensors whose file must have the given BLAKE3.
pub(crate) fn read_tensors(path: &Path, hash: &str) -> Result<Vec<Tensor>, StoreError> {
    let bytes = read(path)?;
    let damaged = |problem: String| StoreError::Damaged { path: path.to_owned(), problem };
    if blake3::hash(&bytes).to_hex().as_str() != hash {
        return Err(damaged("its bytes are not those that were written".to_owned()));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("tensor `{name}` is not of single-precision numbers")));
        }
        Ok(Tensor { name, shape: view.shape().to_vec(), data: numbers(view.data()) })
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// The error of a state that does not fit.
pub(crate) fn unfit(path: &Path) -> impl Fn(StateError) -> StoreError + '_ {
    move |error| StoreError::Mismatch { path: path.to_owned(), problem: error.to_string() }
}

/// Makes a directory with its parents.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| io("make the directory", path, source))
}

/// Writes a file so that at every moment either the old or the new content is there: a temporary file beside it is
/// filled, forced to disk and renamed over it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = renamed {
        let _ = fs::remove_file(&temporary);
        return Err(io("write", path, source));
    }
    sync_directory(path)
}

/// Makes the rename itself durable. Windows has no such call for directories, and does not need it.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(directory) if cfg!(unix) => {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            let synced = File::open(directory).and_then(|handle| handle.sync_all());
            synced.map_err(|source| io("sync", directory, source))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|source| io("read", path, source))
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}

fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

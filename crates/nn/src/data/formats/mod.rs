//! Files of data, each format in a file of its own: bytes in, a table, an array or a text out. To add a format, write
//! its file and add it to [`Format`](super::Format), `guess` and `decode`. What the numbers are for is not decided here.

mod idx;
mod images;
mod npy;
mod npz;
#[cfg(feature = "parquet")]
mod parquet;
mod text;

use std::io::Read;
use std::path::{Path, PathBuf};

use super::array::Array;
use super::{DataError, DataSpec, Format, Table};

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Rows and columns; the targets are among the columns.
    Table(Table),
    /// Examples of one shape, the target of each beside them, and how many of the last are for the test.
    Array { array: Array, labels: Option<Table>, test: usize },
    /// A running text, in one piece for each file.
    Text(Vec<String>),
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Training: targets are needed.
    Learn,
    /// Prediction: targets may be absent.
    Predict,
}

/// A file to read, and the hashes of all bytes read so far.
pub(crate) struct Source<'a> {
    pub(crate) path: PathBuf,
    pub(crate) labels: Option<PathBuf>,
    pub(crate) spec: &'a DataSpec,
    pub(crate) purpose: Purpose,
    pub(crate) hashes: &'a mut Vec<String>,
}

impl Source<'_> {
    /// Reads and decodes the file.
    pub(crate) fn decode(mut self) -> Result<Decoded, DataError> {
        if self.path.is_dir() {
            return match self.spec.format {
                None | Some(Format::Images) => images::decode(&mut self),
                Some(_) => Err(self.malformed("a file", "it is a folder")),
            };
        }
        let path = self.path.clone();
        let bytes = self.bytes(&path)?;
        match self.spec.format.unwrap_or_else(|| guess(&bytes)) {
            Format::Csv | Format::Tsv => text::table(&self, bytes).map(Decoded::Table),
            #[cfg(feature = "parquet")]
            Format::Parquet => parquet::decode(&self).map(Decoded::Table),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => Err(DataError::NoParquet { path }),
            Format::Npy => npy::decode(&mut self, &bytes),
            Format::Npz => npz::decode(&self, &bytes),
            Format::Idx => idx::decode(&mut self, bytes),
            Format::Images => Err(self.malformed("a folder of images", "it is a file")),
            Format::Text => text::decode(&self, bytes),
        }
    }

    /// The bytes of a file, unpacked if they are gzip whatever its name; their hash is noted.
    fn bytes(&mut self, path: &Path) -> Result<Vec<u8>, DataError> {
        let failed = |source| DataError::Read { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(failed)?;
        self.hashes.push(blake3::hash(&bytes).to_hex().to_string());
        if bytes.starts_with(&[0x1f, 0x8b]) { unpack(&bytes).map_err(failed) } else { Ok(bytes) }
    }

    fn malformed(&self, expected: &'static str, problem: impl Into<String>) -> DataError {
        DataError::Malformed { path: self.path.clone(), expected, problem: problem.into() }
    }

    /// Refuses examples without targets, or with fewer or more of them, when they are needed.
    fn check_labels(
        &self,
        array: &Array,
        labels: Option<&Table>,
        hint: &'static str,
    ) -> Result<(), DataError> {
        match labels {
            None if self.purpose == Purpose::Learn => {
                Err(DataError::NoLabels { path: self.path.clone(), hint })
            }
            Some(labels) if labels.len() != array.len() => Err(DataError::Count {
                path: self.path.clone(),
                examples: array.len(),
                labels_path: self.labels.clone().unwrap_or_else(|| self.path.clone()),
                labels: labels.len(),
            }),
            _ => Ok(()),
        }
    }
}

impl Decoded {
    /// Adds the test file's examples at the end and returns how many they are.
    pub(crate) fn append(&mut self, test: Self, path: &Path) -> Result<usize, DataError> {
        match (self, test) {
            (Self::Table(table), Self::Table(test)) => table.append(&test).map(|()| test.len()),
            (Self::Array { array, labels, .. }, Self::Array { array: test, labels: test_labels, .. }) => {
                array.append(&test, path)?;
                if let (Some(labels), Some(test_labels)) = (labels, &test_labels) {
                    labels.append(test_labels)?;
                }
                Ok(test.len())
            }
            (Self::Text(texts), Self::Text(test)) => {
                texts.extend(test);
                Ok(0)
            }
            _ => Err(DataError::Malformed {
                path: path.to_owned(),
                expected: "like the first file",
                problem: "it has another format".to_owned(),
            }),
        }
    }
}

/// By the first bytes; a text table if they are nothing else.
fn guess(bytes: &[u8]) -> Format {
    match bytes {
        [b'P', b'A', b'R', b'1', ..] => Format::Parquet,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Format::Npy,
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Format::Npz,
        [0, 0, 8 | 9 | 11 | 12 | 13 | 14, 1..=6, ..] => Format::Idx,
        _ => Format::Csv,
    }
}

fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

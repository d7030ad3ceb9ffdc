//! NumPy's `.npz`: arrays with names in a ZIP archive. One is the inputs, one the targets; a second pair may be the test
//! part.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::super::error::{hint, shown};
use super::super::{ColumnRef, DataError};
use super::npy::{self, Stored};
use super::{Decoded, Source};

const INPUTS: &[&str] = &["x", "X", "x_train", "X_train", "inputs", "data", "images", "arr_0"];
const TARGETS: &[&str] = &["y", "Y", "y_train", "Y_train", "labels", "targets", "target", "arr_1"];
const TEST_PAIRS: &[[&str; 2]] = &[["x_test", "y_test"], ["X_test", "y_test"], ["X_test", "Y_test"]];
const HINT: &str = "name the array of the targets as `target`";

pub(super) fn decode(source: &Source<'_>, bytes: &[u8]) -> Result<Decoded, DataError> {
    let mut archive = Archive::open(source, bytes)?;
    let inputs = archive.named(source.spec.array.as_deref(), INPUTS)?;
    let wanted = match source.spec.targets() {
        None => None,
        Some([ColumnRef::Name(name)]) => Some(name.as_str()),
        Some(_) => return Err(source.malformed("usable", "`target` must be the name of one array")),
    };
    // Prediction needs no targets, whatever they were called.
    let targets = archive.named(wanted, TARGETS).ok();
    if let (Some(wanted), None, super::Purpose::Learn) = (wanted, &targets, source.purpose) {
        return Err(archive.unknown(wanted));
    }
    let mut array = archive.array(&inputs)?.into_examples(&source.path, source.spec)?;
    let mut labels = targets.map(|name| archive.array(&name)?.into_labels(&source.path)).transpose()?;
    source.check_labels(&array, labels.as_ref(), HINT)?;
    let mut test = 0;
    let pair = TEST_PAIRS.iter().find(|pair| pair.iter().all(|name| archive.has(name)));
    if let (Some([x, y]), Some(labels), true) = (pair, &mut labels, inputs.ends_with("_train")) {
        let inputs = archive.array(x)?.into_examples(&source.path, source.spec)?;
        let targets = archive.array(y)?.into_labels(&source.path)?;
        source.check_labels(&inputs, Some(&targets), HINT)?;
        array.append(&inputs, &source.path)?;
        labels.append(&targets)?;
        test = targets.len();
    }
    Ok(Decoded::Array { array, labels, test })
}

struct Archive<'a> {
    source: &'a Source<'a>,
    zip: ZipArchive<Cursor<&'a [u8]>>,
    names: Vec<String>,
}

impl<'a> Archive<'a> {
    fn open(source: &'a Source<'a>, bytes: &'a [u8]) -> Result<Self, DataError> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| source.malformed("a NumPy archive", error.to_string()))?;
        let names = zip.file_names().filter_map(Result::ok);
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(Self { source, zip, names })
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The array that is asked for, or the first usual one.
    fn named(&self, wanted: Option<&str>, usual: &[&str]) -> Result<String, DataError> {
        let found = match wanted {
            Some(name) => self.has(name).then_some(name),
            None => usual.iter().find(|name| self.has(name)).copied(),
        };
        found.map(str::to_owned).ok_or_else(|| self.unknown(wanted.unwrap_or(usual[0])))
    }

    fn unknown(&self, wanted: &str) -> DataError {
        DataError::UnknownArray {
            path: self.source.path.clone(),
            wanted: wanted.to_owned(),
            hint: hint(wanted, &self.names),
            arrays: shown(&self.names),
        }
    }

    fn array(&mut self, name: &str) -> Result<Stored, DataError> {
        let path = self.source.path.join(format!("{name}.npy"));
        let damaged = |problem: String| self.source.malformed("a NumPy archive", problem);
        let mut file =
            self.zip.by_name(&format!("{name}.npy")).map_err(|error| damaged(error.to_string()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        npy::parse(&path, &bytes)
    }
}

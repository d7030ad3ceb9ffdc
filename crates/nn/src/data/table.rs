//! Reading a text table: bytes, fingerprint, header, cells. What the cells mean is not decided here.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use csv::StringRecord;

use super::{ColumnRef, DataError, DataSpec};

/// A rectangular table of text cells; never empty.
#[derive(Debug)]
pub(crate) struct Table {
    names: Vec<String>,
    has_header: bool,
    rows: Vec<StringRecord>,
    missing: Vec<String>,
    fingerprint: String,
}

impl Table {
    /// Reads a file, unpacking it first if it is gzip (whatever its name).
    pub(crate) fn read(path: &Path, spec: &DataSpec) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(failed)?;
        let fingerprint = blake3::hash(&bytes).to_hex().to_string();
        let bytes = if bytes.starts_with(&[0x1f, 0x8b]) { unpack(&bytes).map_err(failed)? } else { bytes };
        let delimiter = spec.delimiter.unwrap_or_else(|| usual_delimiter(path));
        let mut rows = parse(&bytes, delimiter, path)?;
        let first = rows.first().ok_or_else(|| DataError::Empty { path: path.to_owned() })?.clone();
        let has_header = spec.header.unwrap_or_else(|| looks_like_header(&rows, &spec.missing));
        let names = if has_header {
            rows.remove(0);
            first.iter().map(str::to_owned).collect()
        } else {
            (0..first.len()).map(|index| format!("column {index}")).collect::<Vec<_>>()
        };
        if rows.is_empty() {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        check_shape(&names, &rows, delimiter)?;
        Ok(Self { names, has_header, rows, missing: spec.missing.clone(), fingerprint })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn width(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn has_header(&self) -> bool {
        self.has_header
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The text of a cell; `None` if it is marked as missing.
    pub(crate) fn cell(&self, row: usize, column: usize) -> Option<&str> {
        self.rows[row].get(column).filter(|cell| !self.missing.iter().any(|mark| mark == cell))
    }

    /// The number in a cell, `None` if it is missing, an error if it is something else or not finite.
    pub(crate) fn number(&self, row: usize, column: usize) -> Result<Option<f64>, DataError> {
        let Some(text) = self.cell(row, column) else { return Ok(None) };
        let (line, name) = (self.line(row), &self.names[column]);
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            Ok(_) => {
                Err(DataError::NotFinite { row: row + 1, line, column: name.clone(), value: text.to_owned() })
            }
            Err(_) => Err(DataError::NotANumber {
                row: row + 1,
                line,
                column: name.clone(),
                value: text.to_owned(),
            }),
        }
    }

    /// The line of the file where a row starts.
    pub(crate) fn line(&self, row: usize) -> u64 {
        self.rows[row].position().map_or(0, csv::Position::line)
    }

    /// Finds a column.
    pub(crate) fn column(&self, wanted: &ColumnRef) -> Result<usize, DataError> {
        let index = match wanted {
            ColumnRef::Index(index) => Some(*index),
            ColumnRef::Name(name) => {
                self.names.iter().position(|known| known == name).or_else(|| name.parse().ok())
            }
        };
        index.filter(|&index| index < self.width()).ok_or_else(|| DataError::UnknownColumn {
            wanted: wanted.to_string(),
            columns: shown(&self.names),
        })
    }
}

/// Names for a message, cut short when there are very many.
pub(crate) fn shown(names: &[String]) -> String {
    const MOST: usize = 30;
    let list = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{list} … and {} more", names.len() - MOST) } else { list }
}

fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

fn usual_delimiter(path: &Path) -> char {
    let has = |path: &Path, wanted| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    let unpacked = if has(path, "gz") { path.with_extension("") } else { path.to_owned() };
    if has(&unpacked, "tsv") { '\t' } else { ',' }
}

fn parse(bytes: &[u8], delimiter: char, path: &Path) -> Result<Vec<StringRecord>, DataError> {
    let separator = u8::try_from(delimiter)
        .ok()
        .filter(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r'))
        .ok_or(DataError::Delimiter(delimiter))?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .delimiter(separator)
        .from_reader(bytes);
    reader.records().map(|record| record.map_err(|error| not_readable(&error, path))).collect()
}

fn not_readable(error: &csv::Error, path: &Path) -> DataError {
    match error.position() {
        Some(position) => DataError::NotText { path: path.to_owned(), line: position.line() },
        None => DataError::Read { path: path.to_owned(), source: std::io::Error::other(error.to_string()) },
    }
}

fn check_shape(names: &[String], rows: &[StringRecord], delimiter: char) -> Result<(), DataError> {
    let mut seen = HashSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(DataError::DuplicateColumn(twice.clone()));
    }
    let expected = names.len();
    match rows.iter().position(|row| row.len() != expected) {
        None => Ok(()),
        Some(row) => Err(DataError::Ragged {
            row: row + 1,
            line: rows[row].position().map_or(0, csv::Position::line),
            found: rows[row].len(),
            expected,
            delimiter,
        }),
    }
}

/// See [`DataSpec::header`].
fn looks_like_header(rows: &[StringRecord], missing: &[String]) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    let is_name = |cell: &str| !cell.is_empty() && cell.parse::<f64>().is_err();
    let could_be_names = first.iter().all(is_name);
    if !could_be_names {
        return false;
    }
    let is_text = |cell: &str| cell.parse::<f64>().is_err() && !missing.iter().any(|mark| mark == cell);
    let all_text = rest.iter().all(|row| row.iter().all(is_text));
    let recurs = |(column, name)| rest.iter().any(|row| row.get(column) == Some(name));
    !(all_text && first.iter().enumerate().any(recurs))
}

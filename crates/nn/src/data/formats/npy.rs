//! NumPy's `.npy`: one array. Written from the format's description (NEP 1, versions 1 to 3); numbers, booleans and text
//! are read, objects are not, because reading those would run code.

use std::path::Path;

use super::super::array::{Array, Values, label_table};
use super::super::table::{Column, TextColumn};
use super::super::{DataError, DataSpec, ExampleKind, Table};
use super::{Decoded, Source};

const EXPECTED: &str = "a NumPy array";
const HINT: &str = "give the file of the targets as `labels`";

/// An array as it is stored, the last axis fastest.
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    cells: Cells,
    /// Whether the element type is a whole number or a boolean.
    is_whole: bool,
}

enum Cells {
    Numbers(Values),
    Text(TextColumn),
}

/// A table of features and target if there are two axes and no second file; else examples and targets.
pub(super) fn decode(source: &mut Source<'_>, bytes: &[u8]) -> Result<Decoded, DataError> {
    let stored = parse(&source.path, bytes)?;
    let labels = match source.labels.clone() {
        Some(path) => {
            let bytes = source.bytes(&path)?;
            Some(parse(&path, &bytes)?.into_labels(&path)?)
        }
        None => None,
    };
    let has_target = labels.is_none() && stored.shape.len() == 2 && is_features(source.spec);
    let array = stored.into_examples(&source.path, source.spec)?;
    if has_target {
        return Ok(Decoded::Table(Table::unnamed(array.columns())));
    }
    source.check_labels(&array, labels.as_ref(), HINT)?;
    Ok(Decoded::Array { array, labels, test: 0 })
}

fn is_features(spec: &DataSpec) -> bool {
    spec.kind.is_none_or(|kind| kind == ExampleKind::Features)
}

impl Stored {
    pub(super) fn into_examples(self, path: &Path, spec: &DataSpec) -> Result<Array, DataError> {
        let Cells::Numbers(values) = self.cells else {
            return Err(malformed(path, "its elements are text, but inputs are numbers"));
        };
        if self.shape.len() < 2 {
            return Err(malformed(path, "it needs at least two axes: examples and their numbers"));
        }
        Array::of_examples(path, &self.shape, values, self.is_whole, spec)
    }

    /// One target for each place of the first axis, or several.
    pub(super) fn into_labels(self, path: &Path) -> Result<Table, DataError> {
        let (rows, width) = match *self.shape.as_slice() {
            [rows] => (rows, 1),
            [rows, width] => (rows, width),
            _ => return Err(malformed(path, "targets need one axis, or two for several targets")),
        };
        if rows == 0 || width == 0 {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        match self.cells {
            Cells::Text(text) if width == 1 => label_table(vec![Column::Text(text)]),
            Cells::Text(_) => Err(malformed(path, "targets that are text need one axis")),
            Cells::Numbers(values) => {
                let column =
                    |index| (index..rows * width).step_by(width).map(|place| values.get(place)).collect();
                let table = label_table((0..width).map(|index| Column::of_numbers(column(index))).collect())?;
                Ok(if self.is_whole { table.with_whole_numbers() } else { table })
            }
        }
    }
}

/// Reads a file's bytes.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Stored, DataError> {
    let damaged = |problem: &str| malformed(path, problem);
    let (header, data) = split(bytes).ok_or_else(|| damaged("its header is incomplete"))?;
    let value = |key: &str| field(header, key).ok_or_else(|| damaged(&format!("its header has no `{key}`")));
    let kind = value("descr")?.trim_matches(['\'', '"']).to_owned();
    let shape: Option<Vec<usize>> = value("shape")?
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.trim_end_matches('L').parse().ok())
        .collect();
    let shape = shape.ok_or_else(|| damaged("its header has a shape that cannot be read"))?;
    let count = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let (code, size) = element(&kind).ok_or_else(|| {
        damaged(&format!(
            "its elements are of type `{kind}`; numbers, booleans and fixed-length text can be read"
        ))
    })?;
    let bytes =
        count.and_then(|count| count.checked_mul(size)).ok_or_else(|| damaged("its shape is too large"))?;
    let data = data.get(..bytes).ok_or_else(|| DataError::CutShort {
        path: path.to_owned(),
        expected: bytes as u64,
        found: data.len() as u64,
    })?;
    let cells = read(code, size, kind.starts_with('>'), data);
    let cells = if value("fortran_order")? == "True" { first_axis_slowest(cells, &shape) } else { cells };
    Ok(Stored { shape, cells, is_whole: matches!(code, 'i' | 'u' | 'b') })
}

/// Header and data.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (length, start) = match rest.first()? {
        1 => (usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)), 4),
        _ => (u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?) as usize, 6),
    };
    let rest = &rest[start..];
    Some((std::str::from_utf8(rest.get(..length)?).ok()?, &rest[length..]))
}

/// The value of a key in the header, which is a Python dictionary in plain text.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let start = header.find(&format!("'{key}'"))? + key.len() + 2;
    let rest = header[start..].trim_start().strip_prefix(':')?.trim_start();
    let end = if rest.starts_with('(') { rest.find(')')? + 1 } else { rest.find([',', '}'])? };
    Some(rest[..end].trim())
}

/// Code and size in bytes of an element type that can be read.
fn element(kind: &str) -> Option<(char, usize)> {
    let kind = kind.trim_start_matches(['<', '>', '|', '=']);
    let code = kind.chars().next()?;
    let number: usize = kind[code.len_utf8()..].parse().ok()?;
    match (code, number) {
        ('U', 1..=65_536) => Some((code, number * 4)),
        ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4 | 8) | ('b', 1) | ('S', 1..=65_536) => Some((code, number)),
        _ => None,
    }
}

fn read(code: char, size: usize, big_endian: bool, data: &[u8]) -> Cells {
    let ordered = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight[..size].copy_from_slice(bytes);
        if big_endian {
            eight[..size].reverse();
        }
        eight
    };
    let singles = |value: &dyn Fn(u64) -> f32| {
        Cells::Numbers(Values::Single(
            data.chunks_exact(size).map(|b| value(u64::from_le_bytes(ordered(b)))).collect(),
        ))
    };
    let doubles = |value: &dyn Fn(u64) -> f64| {
        Cells::Numbers(Values::Double(
            data.chunks_exact(size).map(|b| value(u64::from_le_bytes(ordered(b)))).collect(),
        ))
    };
    match (code, size) {
        ('u' | 'b', 1) => Cells::Numbers(Values::Bytes(data.to_vec())),
        ('f', 2) => singles(&|bits| half(bits as u16)),
        ('f', 4) => singles(&|bits| f32::from_bits(bits as u32)),
        ('f', _) => doubles(&f64::from_bits),
        ('i', 1) => singles(&|bits| (bits as u8 as i8).into()),
        ('i', 2) => singles(&|bits| (bits as u16 as i16).into()),
        ('u', 2) => singles(&|bits| (bits as u16).into()),
        ('i', 4) => doubles(&|bits| (bits as u32 as i32).into()),
        ('i', _) => doubles(&|bits| bits as i64 as f64),
        ('u', _) => doubles(&|bits| bits as f64),
        ('U', _) => Cells::Text(data.chunks_exact(size).fold(TextColumn::default(), |mut column, bytes| {
            let codes = bytes.chunks_exact(4).map(|b| {
                let b = [b[0], b[1], b[2], b[3]];
                if big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
            });
            let text: String = codes.take_while(|&code| code != 0).filter_map(char::from_u32).collect();
            column.push(Some(&text));
            column
        })),
        _ => Cells::Text(data.chunks_exact(size).fold(TextColumn::default(), |mut column, bytes| {
            column.push(Some(String::from_utf8_lossy(bytes).trim_end_matches('\0')));
            column
        })),
    }
}

/// The number that half precision (IEEE 754 binary16) writes like this.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// From Fortran's order of elements to C's.
fn first_axis_slowest(cells: Cells, shape: &[usize]) -> Cells {
    let Cells::Numbers(values) = cells else { return cells };
    let place = |index: usize| {
        let (mut rest, mut digits) = (index, vec![0; shape.len()]);
        for (digit, size) in digits.iter_mut().zip(shape).rev() {
            *digit = rest % size;
            rest /= size;
        }
        digits.iter().zip(shape).rev().fold(0, |place, (digit, size)| place * size + digit)
    };
    Cells::Numbers(values.gathered((0..values.len()).map(place)))
}

fn malformed(path: &Path, problem: &str) -> DataError {
    DataError::Malformed { path: path.to_owned(), expected: EXPECTED, problem: problem.to_owned() }
}

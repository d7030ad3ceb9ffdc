//! IDX, the format of MNIST: a type, the sizes of the axes, then the numbers in big-endian order. Images and labels are
//! two files.

use std::path::Path;

use super::super::array::{Array, Values, label_table};
use super::super::table::Column;
use super::super::{DataError, Table};
use super::{Decoded, Source};

const EXPECTED: &str = "an IDX file";
const HINT: &str = "give the file of the labels as `labels`";

pub(super) fn decode(source: &mut Source<'_>, bytes: Vec<u8>) -> Result<Decoded, DataError> {
    let (shape, values) = parse(&source.path, bytes)?;
    if shape.len() < 2 {
        return Err(malformed(&source.path, "it has one axis: these are labels, not examples"));
    }
    let array = Array::of_examples(&source.path, &shape, values, true, source.spec)?;
    let labels = match source.labels.clone() {
        Some(path) => Some(labels(&path, source.bytes(&path)?)?),
        None => None,
    };
    source.check_labels(&array, labels.as_ref(), HINT)?;
    Ok(Decoded::Array { array, labels, test: 0 })
}

fn labels(path: &Path, bytes: Vec<u8>) -> Result<Table, DataError> {
    let (shape, values) = parse(path, bytes)?;
    if shape.len() != 1 {
        return Err(malformed(path, "labels need one axis"));
    }
    if shape[0] == 0 {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    let is_whole =
        !matches!(values, Values::Double(_)) || (0..shape[0]).all(|row| values.get(row).fract() == 0.0);
    let table = label_table(vec![Column::of_numbers((0..shape[0]).map(|row| values.get(row)).collect())])?;
    Ok(if is_whole { table.with_whole_numbers() } else { table })
}

fn parse(path: &Path, mut bytes: Vec<u8>) -> Result<(Vec<usize>, Values), DataError> {
    let &[0, 0, kind, rank, ..] = bytes.as_slice() else {
        return Err(malformed(path, "it does not begin with two zero bytes, a type and the number of axes"));
    };
    let start = 4 + 4 * usize::from(rank);
    let sizes = bytes.get(4..start).ok_or_else(|| malformed(path, "its header is incomplete"))?;
    let shape: Vec<usize> =
        sizes.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let size = match kind {
        8 | 9 => 1,
        11 => 2,
        12 | 13 => 4,
        14 => 8,
        _ => return Err(malformed(path, &format!("0x{kind:02x} is no type of IDX"))),
    };
    let expected = shape.iter().try_fold(size, |product: usize, &size| product.checked_mul(size));
    let expected = expected.ok_or_else(|| malformed(path, "its shape is too large"))?;
    if rank == 0 || bytes.len() - start < expected {
        let found = (bytes.len() - start) as u64;
        return Err(DataError::CutShort { path: path.to_owned(), expected: expected as u64, found });
    }
    if kind == 8 {
        bytes.truncate(start + expected);
        bytes.drain(..start);
        return Ok((shape, Values::Bytes(bytes)));
    }
    let data = bytes[start..start + expected].chunks_exact(size);
    let eight = |b: &[u8]| {
        let mut eight = [0; 8];
        eight[8 - size..].copy_from_slice(b);
        u64::from_be_bytes(eight)
    };
    let values = match kind {
        9 => Values::Single(data.map(|b| (eight(b) as u8 as i8).into()).collect()),
        11 => Values::Single(data.map(|b| (eight(b) as u16 as i16).into()).collect()),
        12 => Values::Double(data.map(|b| (eight(b) as u32 as i32).into()).collect()),
        13 => Values::Single(data.map(|b| f32::from_bits(eight(b) as u32)).collect()),
        _ => Values::Double(data.map(|b| f64::from_bits(eight(b))).collect()),
    };
    Ok((shape, values))
}

fn malformed(path: &Path, problem: &str) -> DataError {
    DataError::Malformed { path: path.to_owned(), expected: EXPECTED, problem: problem.to_owned() }
}

//! The order of rows in time and by group, and the windows that slide along it.

use std::collections::HashMap;
use std::ops::Range;

use super::{DataError, DataSpec, Table};

/// Group of each row, numbered as they come.
pub(super) fn groups(table: &Table, column: usize) -> Result<Vec<u32>, DataError> {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let number = |row| {
        let cell = table.cell(row, column).ok_or_else(|| missing_key(table, row, "group", column))?;
        let next = numbers.len() as u32;
        Ok(*numbers.entry(cell.into_owned()).or_insert(next))
    };
    (0..table.len()).map(number).collect()
}

/// Brings a series into order, groups one after another; returns the group of each row.
pub(super) fn put_in_order(
    table: &mut Table,
    own: usize,
    spec: &DataSpec,
) -> Result<Option<Vec<u32>>, DataError> {
    if let Some(time) = &spec.time {
        let time = table.column(time)?;
        let order = [in_order(table, time, 0..own)?, in_order(table, time, own..table.len())?].concat();
        table.reorder(&order);
    }
    let Some(group) = &spec.group else { return Ok(None) };
    let column = table.column(group)?;
    let numbers = groups(table, column)?;
    let mut order: Vec<u32> = (0..table.len() as u32).collect();
    order.sort_by_key(|&row| (row as usize >= own, numbers[row as usize]));
    table.reorder(&order);
    groups(table, column).map(Some)
}

/// Some rows from the earliest to the last.
pub(super) fn in_order(table: &Table, column: usize, rows: Range<usize>) -> Result<Vec<u32>, DataError> {
    let first = rows.start as u32;
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    Ok(by_time(table, column, &rows)?.into_iter().map(|place| first + place).collect())
}

/// Places in `rows` from the earliest to the last: by number, or as text (as dates are when the year comes first).
pub(super) fn by_time(table: &Table, column: usize, rows: &[u32]) -> Result<Vec<u32>, DataError> {
    let row = |place: u32| rows[place as usize] as usize;
    let mut places: Vec<u32> = (0..rows.len() as u32).collect();
    if let Some(&place) = places.iter().find(|&&place| table.cell(row(place), column).is_none()) {
        return Err(missing_key(table, row(place), "time", column));
    }
    if table.is_numeric(column) {
        let time = |&row: &u32| table.number(row as usize, column).map(Option::unwrap_or_default);
        let times: Vec<f64> = rows.iter().map(time).collect::<Result<_, _>>()?;
        places.sort_by(|&a, &b| times[a as usize].total_cmp(&times[b as usize]));
    } else {
        places.sort_by(|&a, &b| table.cell(row(a), column).cmp(&table.cell(row(b), column)));
    }
    Ok(places)
}

pub(super) fn missing_key(table: &Table, row: usize, key: &'static str, column: usize) -> DataError {
    DataError::MissingKey { at: table.place(row), key, column: table.names()[column].clone() }
}

/// Where windows of `length` places begin whose target, `horizon` places after the last, lies in the same piece. Pieces
/// end at `ends`.
pub(super) fn windows(ends: &[usize], length: usize, horizon: usize, stride: usize) -> Vec<u32> {
    let mut first = 0;
    let mut starts = Vec::new();
    for &end in ends {
        let last = (end + 1).saturating_sub(length + horizon);
        starts.extend((first..last).step_by(stride).map(|start| start as u32));
        first = end;
    }
    starts
}

//! Parquet tables: flat columns of numbers, booleans, text and dates. Nested columns are refused.

use std::fs::File;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use super::super::table::{Column, TextColumn};
use super::super::{DataError, Table};
use super::Source;

const EXPECTED: &str = "a Parquet table";

pub(super) fn decode(source: &Source<'_>) -> Result<Table, DataError> {
    let damaged = |problem: String| source.malformed(EXPECTED, problem);
    let file = File::open(&source.path)
        .map_err(|error| DataError::Read { path: source.path.clone(), source: error })?;
    let reader = SerializedFileReader::new(file).map_err(|error| damaged(error.to_string()))?;
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    if let Some(nested) = schema.get_fields().iter().find(|field| field.is_group()) {
        return Err(damaged(format!(
            "its column `{}` is nested; tables have numbers and text",
            nested.name()
        )));
    }
    let mut cells: Vec<Cells> = names.iter().map(|_| Cells::Missing(0)).collect();
    for row in reader.get_row_iter(None).map_err(|error| damaged(error.to_string()))? {
        push(&mut cells, &row.map_err(|error| damaged(error.to_string()))?, &source.spec.missing);
    }
    let columns: Vec<Column> = cells.into_iter().map(Cells::into_column).collect();
    if columns.first().is_none_or(|column| column.len() == 0) {
        return Err(DataError::Empty { path: source.path.clone() });
    }
    Table::new(names, true, columns, Vec::new()).map(|table| table.of_file(&source.path))
}

/// A column as it grows; what it holds is known from its first cell that is not missing.
enum Cells {
    Missing(usize),
    Numbers(Vec<f64>),
    Text(TextColumn),
}

fn push(cells: &mut [Cells], row: &Row, missing: &[String]) {
    for (cells, (_, field)) in cells.iter_mut().zip(row.get_column_iter()) {
        match value(field) {
            None => cells.push_missing(),
            Some(Value::Number(number)) => cells.push_number(number),
            Some(Value::Text(text)) => {
                cells.push_text((!missing.contains(&text)).then_some(text.as_str()));
            }
        }
    }
}

impl Cells {
    fn push_missing(&mut self) {
        match self {
            Self::Missing(count) => *count += 1,
            Self::Numbers(numbers) => numbers.push(f64::NAN),
            Self::Text(text) => text.push(None),
        }
    }

    fn push_number(&mut self, number: f64) {
        if let Self::Missing(count) = self {
            *self = Self::Numbers(vec![f64::NAN; *count]);
        }
        if let Self::Numbers(numbers) = self {
            numbers.push(number);
        }
    }

    fn push_text(&mut self, cell: Option<&str>) {
        if let Self::Missing(count) = self {
            *self = Self::Text((0..*count).map(|_| None).collect());
        }
        if let Self::Text(text) = self {
            text.push(cell);
        }
    }

    fn into_column(self) -> Column {
        match self {
            Self::Missing(count) => Column::of_numbers(vec![f64::NAN; count]),
            Self::Numbers(numbers) => Column::of_numbers(numbers),
            Self::Text(text) => Column::Text(text),
        }
    }
}

enum Value {
    Number(f64),
    Text(String),
}

/// `None` for a missing cell. Days and times count from their epoch, in their own unit.
fn value(field: &Field) -> Option<Value> {
    let number = match field {
        Field::Null => return None,
        Field::Bool(flag) => return Some(Value::Text(flag.to_string())),
        Field::Str(text) => return Some(Value::Text(text.clone())),
        Field::Bytes(bytes) => return Some(Value::Text(String::from_utf8_lossy(bytes.data()).into_owned())),
        Field::Byte(x) => f64::from(*x),
        Field::Short(x) => f64::from(*x),
        Field::Int(x) | Field::Date(x) | Field::TimeMillis(x) => f64::from(*x),
        Field::Long(x) | Field::TimeMicros(x) | Field::TimestampMillis(x) | Field::TimestampMicros(x) => {
            *x as f64
        }
        Field::UByte(x) => f64::from(*x),
        Field::UShort(x) => f64::from(*x),
        Field::UInt(x) => f64::from(*x),
        Field::ULong(x) => *x as f64,
        Field::Float16(x) => f64::from(f32::from(*x)),
        Field::Float(x) => f64::from(*x),
        Field::Double(x) => *x,
        // Decimals are written out; nested fields do not occur in tables.
        Field::Decimal(_) | Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            let text = field.to_string();
            return Some(text.parse().map_or(Value::Text(text), Value::Number));
        }
    };
    Some(Value::Number(number))
}

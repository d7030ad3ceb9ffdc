//! Text files: tables with separated cells, and running text. Whether a first line is a header is decided here, what a
//! column holds is not.

use std::path::Path;

use csv::StringRecord;

use super::super::table::{Column, TextColumn, numbered, position};
use super::super::{ColumnRef, ColumnType, DataError, DataSpec, Format, Place, Table};
use super::{Decoded, Source};

/// Labelled lines if the file is called `.csv` or `.tsv`, or if a target is named; else a running text.
pub(super) fn decode(source: &Source<'_>, bytes: Vec<u8>) -> Result<Decoded, DataError> {
    let is_table = ["csv", "tsv"].iter().any(|extension| has_extension(&source.path, extension));
    if is_table || source.spec.target.is_some() || source.spec.text.column.is_some() {
        return table(source, bytes).map(Decoded::Table);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.split(|&byte| byte == b'\n').skip(1).count() as u64;
        DataError::NotText { path: source.path.clone(), line }
    })?;
    if text.trim().is_empty() {
        return Err(DataError::Empty { path: source.path.clone() });
    }
    Ok(Decoded::Text(vec![text]))
}

/// Reads a table.
pub(super) fn table(source: &Source<'_>, bytes: Vec<u8>) -> Result<Table, DataError> {
    let (path, spec) = (&*source.path, source.spec);
    let delimiter = spec.delimiter.unwrap_or_else(|| usual_delimiter(path, spec, &bytes));
    let mut rows = Rows::new(spec, delimiter, path);
    if delimiter == ' ' {
        read_blanks(&bytes, path, &mut rows)?;
    } else {
        read(&bytes, delimiter, path, &mut rows)?;
    }
    drop(bytes);
    let table = rows.into_table()?;
    let text = text_columns(table.names(), spec)?;
    Ok(table.with_types(|column| text.contains(&column)))
}

/// Columns whose cells keep their spelling although they may look like numbers.
fn text_columns(names: &[String], spec: &DataSpec) -> Result<Vec<usize>, DataError> {
    let is_text = |kind: &ColumnType| match kind {
        ColumnType::Categorical | ColumnType::OneHot | ColumnType::Embed | ColumnType::Ordinal(_) => true,
        ColumnType::Numeric | ColumnType::Ignore => false,
    };
    let named =
        spec.columns.iter().filter(|(_, kind)| is_text(kind)).map(|(name, _)| ColumnRef::Name(name.clone()));
    named.chain(spec.text.column.clone()).map(|column| position(names, &column)).collect()
}

/// Rows as they are read: the first by itself, because it may be a header.
struct Rows<'a> {
    /// [`DataSpec::header`].
    header: Option<bool>,
    missing: &'a [String],
    delimiter: char,
    path: &'a Path,
    first: Option<(Vec<String>, u32)>,
    columns: Vec<TextColumn>,
    lines: Vec<u32>,
}

impl<'a> Rows<'a> {
    fn new(spec: &'a DataSpec, delimiter: char, path: &'a Path) -> Self {
        Self {
            header: spec.header,
            missing: &spec.missing,
            delimiter,
            path,
            first: None,
            columns: Vec::new(),
            lines: Vec::new(),
        }
    }

    fn push<'c>(&mut self, line: u64, cells: impl Iterator<Item = &'c str> + Clone) -> Result<(), DataError> {
        let Some((first, _)) = &self.first else {
            let cells: Vec<String> = cells.map(str::to_owned).collect();
            self.columns = vec![TextColumn::default(); cells.len()];
            self.first = Some((cells, line as u32));
            return Ok(());
        };
        let (found, expected) = (cells.clone().count(), first.len());
        if found != expected {
            let header = self.header.unwrap_or_else(|| self.looks_like_header());
            let row = self.lines.len() + 1 + usize::from(!header);
            let at = Place { file: Some(self.path.into()), row, line: Some(line) };
            return Err(DataError::Ragged { at, found, expected, delimiter: self.delimiter });
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push((!self.missing.iter().any(|mark| mark == cell)).then_some(cell));
        }
        self.lines.push(line as u32);
        Ok(())
    }

    /// See [`DataSpec::header`].
    fn looks_like_header(&self) -> bool {
        let Some((first, _)) = &self.first else { return false };
        let is_text = |cell: &str| cell.parse::<f64>().is_err();
        if !first.iter().all(|cell| !cell.is_empty() && is_text(cell)) {
            return false;
        }
        let cells = |column: &'_ TextColumn, test: &dyn Fn(Option<&str>) -> bool| {
            (0..column.len()).any(|row| test(column.get(row)))
        };
        let all_text =
            !self.columns.iter().any(|column| cells(column, &|cell| cell.is_none_or(|cell| !is_text(cell))));
        let recurs = |(name, column)| cells(column, &|cell| cell == Some(name));
        !(all_text && first.iter().map(String::as_str).zip(&self.columns).any(recurs))
    }

    fn into_table(self) -> Result<Table, DataError> {
        let path = self.path;
        let has_header = self.header.unwrap_or_else(|| self.looks_like_header());
        let empty = || DataError::Empty { path: path.to_owned() };
        let Self { missing, first, mut columns, mut lines, .. } = self;
        let (first, line) = first.ok_or_else(empty)?;
        let names = if has_header {
            first
        } else {
            let shown = |cell: &str| !missing.iter().any(|mark| mark == cell);
            for (column, cell) in columns.iter_mut().zip(&first) {
                let below = (0..column.len()).map(|row| column.get(row));
                *column = std::iter::once(shown(cell).then_some(cell.as_str())).chain(below).collect();
            }
            lines.insert(0, line);
            numbered(first.len())
        };
        if lines.is_empty() {
            return Err(empty());
        }
        Table::new(names, has_header, columns.into_iter().map(Column::Text).collect(), lines)
            .map(|table| table.of_file(path))
    }
}

fn read(bytes: &[u8], delimiter: char, path: &Path, rows: &mut Rows<'_>) -> Result<(), DataError> {
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
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| not_readable(&error, path))? {
        rows.push(record.position().map_or(0, csv::Position::line), record.iter())?;
    }
    Ok(())
}

/// Cells separated by any run of blanks and tabs.
fn read_blanks(bytes: &[u8], path: &Path, rows: &mut Rows<'_>) -> Result<(), DataError> {
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let text =
            std::str::from_utf8(text).map_err(|_| DataError::NotText { path: path.to_owned(), line })?;
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if !text.trim().is_empty() {
            rows.push(line, text.split_whitespace())?;
        }
    }
    Ok(())
}

fn not_readable(error: &csv::Error, path: &Path) -> DataError {
    match error.position() {
        Some(position) => DataError::NotText { path: path.to_owned(), line: position.line() },
        None => DataError::Read { path: path.to_owned(), source: std::io::Error::other(error.to_string()) },
    }
}

/// See [`DataSpec::delimiter`].
fn usual_delimiter(path: &Path, spec: &DataSpec, bytes: &[u8]) -> char {
    if spec.format == Some(Format::Tsv) || has_extension(path, "tsv") {
        return '\t';
    }
    let first =
        bytes.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let line = String::from_utf8_lossy(first);
    let count = |wanted| line.matches(wanted).count();
    let are_numbers = line.split_whitespace().all(|cell| cell.parse::<f64>().is_ok());
    let blanks = line.trim().contains([' ', '\t']);
    match (count(','), count(';'), count('\t')) {
        (0, 0, 0) if blanks => ' ',
        (0, 0, 1..) if are_numbers => ' ',
        (0, 0, 1..) => '\t',
        (commas, semicolons, _) if semicolons > commas => ';',
        _ => ',',
    }
}

/// Whether the name without `.gz` ends like this.
fn has_extension(path: &Path, wanted: &str) -> bool {
    let has =
        |path: &Path, wanted: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    has(&if has(path, "gz") { path.with_extension("") } else { path.to_owned() }, wanted)
}

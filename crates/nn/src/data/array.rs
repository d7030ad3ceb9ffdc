//! Numbers with axes: examples of one shape, each image channels first. What an axis means is settled here, how numbers
//! are scaled is not.

use std::path::{Path, PathBuf};

use super::table::Column;
use super::{Channels, DataError, DataSpec, ExampleKind, Table};

/// Examples of one shape, one after another.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    /// Shape of one example; images channels first.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: ExampleKind,
    pub(crate) values: Values,
    /// For messages.
    pub(crate) path: PathBuf,
}

/// Numbers as they are stored.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    Bytes(Vec<u8>),
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> f64 {
        match self {
            Self::Bytes(values) => values[index].into(),
            Self::Single(values) => values[index].into(),
            Self::Double(values) => values[index],
        }
    }

    /// The values at these places.
    pub(crate) fn gathered(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Bytes(values) => Self::Bytes(places.map(|place| values[place]).collect()),
            Self::Single(values) => Self::Single(places.map(|place| values[place]).collect()),
            Self::Double(values) => Self::Double(places.map(|place| values[place]).collect()),
        }
    }

    fn appended(&mut self, other: &Self) {
        match (self, other) {
            (Self::Bytes(values), Self::Bytes(others)) => values.extend(others),
            (Self::Single(values), Self::Single(others)) => values.extend(others),
            (values, others) => {
                let doubles =
                    |values: &Self| (0..values.len()).map(|index| values.get(index)).collect::<Vec<_>>();
                *values = Self::Double([doubles(values), doubles(others)].concat());
            }
        }
    }

    /// A column of every `width`-th value.
    fn column(&self, width: usize, index: usize) -> Column {
        let places = (index..self.len()).step_by(width);
        match self {
            Self::Single(values) => Column::Single(places.map(|place| values[place]).collect()),
            values => Column::of_numbers(places.map(|place| values.get(place)).collect()),
        }
    }
}

impl Array {
    /// Examples along the first axis of an array of two axes or more. `shape` includes that axis.
    pub(crate) fn of_examples(
        path: &Path,
        shape: &[usize],
        values: Values,
        is_whole: bool,
        spec: &DataSpec,
    ) -> Result<Self, DataError> {
        let example = &shape[1..];
        if shape[0] == 0 || example.contains(&0) {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        let is_bytes = matches!(values, Values::Bytes(_)) && is_whole;
        let kind = spec.kind.unwrap_or(match example.len() {
            1 => ExampleKind::Features,
            2 if !is_bytes => ExampleKind::Sequence,
            _ => ExampleKind::Image,
        });
        let (rank, expected) = match kind {
            ExampleKind::Features => (1..=16, "at least one number"),
            ExampleKind::Image => (2..=3, "height and width, with or without channels"),
            ExampleKind::Sequence => (1..=2, "steps, with or without features"),
            ExampleKind::Tokens => (1..=1, "one axis of steps"),
        };
        if !rank.contains(&example.len()) {
            return Err(DataError::Kind { shape: shape.to_vec(), kind: kind.name(), expected });
        }
        let mut array = Self { shape: example.to_vec(), kind, values, path: path.to_owned() };
        match (kind, array.shape.as_slice()) {
            (ExampleKind::Features, shape) => array.shape = vec![shape.iter().product()],
            (ExampleKind::Sequence, &[steps]) => array.shape = vec![steps, 1],
            (ExampleKind::Image, &[height, width]) => array.shape = vec![1, height, width],
            (ExampleKind::Image, &[first, _, last]) => {
                let are_last = matches!(last, 1 | 3 | 4) && first > last;
                let last = if are_last { Channels::Last } else { Channels::First };
                if spec.channels.unwrap_or(last) == Channels::Last {
                    array.put_channels_first();
                }
            }
            (ExampleKind::Sequence | ExampleKind::Tokens | ExampleKind::Image, _) => {}
        }
        array.check()?;
        Ok(array)
    }

    /// Number of examples.
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.width()
    }

    /// Numbers of an example.
    pub(crate) fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// Columns, one for each number of an example.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let width = self.width();
        (0..width).map(|index| self.values.column(width, index)).collect()
    }

    pub(crate) fn append(&mut self, other: &Self, path: &Path) -> Result<(), DataError> {
        if self.shape != other.shape {
            let (found, expected) = (other.shape.clone(), self.shape.clone());
            return Err(DataError::OtherShape { path: path.to_owned(), found, expected });
        }
        self.values.appended(&other.values);
        Ok(())
    }

    fn put_channels_first(&mut self) {
        let &[height, width, channels] = self.shape.as_slice() else { return };
        let (pixels, size) = (height * width, self.width());
        let places = (0..self.values.len()).map(|place| {
            let (example, rest) = (place / size, place % size);
            example * size + rest % pixels * channels + rest / pixels
        });
        self.values = self.values.gathered(places);
        self.shape = vec![channels, height, width];
    }

    /// Features may be missing (NaN); other numbers must be finite, and tokens category numbers.
    fn check(&self) -> Result<(), DataError> {
        // Category numbers travel as f32, which holds whole numbers exactly up to here.
        const MOST_TOKENS: f64 = 16_777_216.0;
        let (path, kind) = (|| self.path.clone(), self.kind);
        if matches!(self.values, Values::Bytes(_)) {
            return Ok(());
        }
        for place in 0..self.values.len() {
            let (value, example) = (self.values.get(place), place / self.width() + 1);
            if kind == ExampleKind::Tokens && !(value.fract() == 0.0 && (0.0..MOST_TOKENS).contains(&value)) {
                return Err(DataError::NotAToken { path: path(), example, value });
            }
            let may_be_missing = kind == ExampleKind::Features && value.is_nan();
            if !value.is_finite() && !may_be_missing {
                return Err(DataError::NotFiniteInArray { path: path(), example, value });
            }
        }
        Ok(())
    }
}

/// Targets that came as an array: one column, or one for each number of a row.
pub(crate) fn label_table(columns: Vec<Column>) -> Result<Table, DataError> {
    let names = match columns.len() {
        1 => vec!["label".to_owned()],
        several => (0..several).map(|index| format!("label {index}")).collect(),
    };
    Table::new(names, true, columns, Vec::new())
}

//! Arrays as inputs: pixels to [0, 1], then each channel of an image, each feature of a sequence or a row, to mean 0 and
//! deviation 1 by the training examples.

use serde::{Deserialize, Serialize};

use super::super::array::{Array, Values};
use super::super::{DataError, DataSpec, ExampleKind};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scaling {
    pub(super) shape: Vec<usize>,
    kind: ExampleKind,
    /// What stored numbers are divided by before all else: 255 for bytes, else 1.
    unit: f64,
    /// One mean and deviation for each channel or feature; empty if numbers stay as they are.
    means: Vec<f64>,
    deviations: Vec<f64>,
    /// For tokens, one more than the greatest category number; else 0.
    pub(super) vocabulary: usize,
}

impl Scaling {
    pub(super) fn fit(array: &Array, train: &[u32], spec: &DataSpec) -> Result<Self, DataError> {
        let is_bytes = matches!(array.values, Values::Bytes(_));
        let mut scaling = Self {
            shape: array.shape.clone(),
            kind: array.kind,
            unit: if is_bytes && array.kind == ExampleKind::Image { 255.0 } else { 1.0 },
            means: Vec::new(),
            deviations: Vec::new(),
            vocabulary: 0,
        };
        if array.kind == ExampleKind::Tokens {
            let greatest = (0..array.values.len()).map(|place| array.values.get(place)).fold(0.0, f64::max);
            scaling.vocabulary = greatest as usize + 1;
        } else if spec.standardize {
            scaling.standardise(array, train)?;
        }
        Ok(scaling)
    }

    /// Two passes over the training examples: means, then deviations from them.
    fn standardise(&mut self, array: &Array, train: &[u32]) -> Result<(), DataError> {
        let groups = self.groups();
        let count = (train.len() * array.width() / groups) as f64;
        let mut sums = vec![0.0; groups];
        self.each(array, train, |group, value| sums[group] += value);
        let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let mut squares = vec![0.0; groups];
        self.each(array, train, |group, value| squares[group] += (value - means[group]).powi(2));
        self.deviations = squares.iter().map(|sum| (sum / count).sqrt()).collect();
        if self.deviations.iter().any(|deviation| !deviation.is_finite()) {
            return Err(DataError::TooLarge { column: "inputs".to_owned() });
        }
        if self.deviations.iter().all(|deviation| *deviation == 0.0) {
            return Err(DataError::NoFeatures);
        }
        // What never changes becomes 0.
        self.deviations
            .iter_mut()
            .filter(|deviation| **deviation == 0.0)
            .for_each(|deviation| *deviation = 1.0);
        self.means = means;
        Ok(())
    }

    fn each(&self, array: &Array, rows: &[u32], mut see: impl FnMut(usize, f64)) {
        let width = array.width();
        for &row in rows {
            for place in 0..width {
                see(self.group(place), array.values.get(row as usize * width + place) / self.unit);
            }
        }
    }

    /// Numbers that have a mean and a deviation of their own.
    fn groups(&self) -> usize {
        match self.kind {
            ExampleKind::Image => self.shape[0],
            ExampleKind::Features | ExampleKind::Sequence | ExampleKind::Tokens => {
                self.shape.last().copied().unwrap_or(1)
            }
        }
    }

    fn group(&self, place: usize) -> usize {
        match self.kind {
            ExampleKind::Image => place / (self.shape[1] * self.shape[2]),
            ExampleKind::Features | ExampleKind::Sequence | ExampleKind::Tokens => place % self.groups(),
        }
    }

    pub(super) fn encode(&self, array: &Array, rows: &[u32]) -> Result<Vec<f32>, DataError> {
        if array.shape != self.shape {
            let (found, expected) = (array.shape.clone(), self.shape.clone());
            return Err(DataError::OtherShape { path: array.path.clone(), found, expected });
        }
        let width = array.width();
        let groups: Vec<(f64, f64)> = (0..width)
            .map(|place| match self.means.get(self.group(place)) {
                Some(mean) => (*mean, self.deviations[self.group(place)]),
                None => (0.0, 1.0),
            })
            .collect();
        let mut inputs = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            let first = row as usize * width;
            inputs.extend(groups.iter().enumerate().map(|(place, (mean, deviation))| {
                let value = (array.values.get(first + place) / self.unit - mean) / deviation;
                value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
            }));
        }
        // A token that training never had is unknown, and there is no number for that but padding's.
        if self.vocabulary > 0 {
            inputs
                .iter_mut()
                .filter(|token| **token >= self.vocabulary as f32)
                .for_each(|token| *token = 0.0);
        }
        if let Some(place) = inputs.iter().position(|value| value.is_nan()) {
            let example = rows[place / width] as usize + 1;
            return Err(DataError::NotFiniteInArray { path: array.path.clone(), example, value: f64::NAN });
        }
        Ok(inputs)
    }
}

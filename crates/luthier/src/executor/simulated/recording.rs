//! What is known about trials before they run: curves with durations, from a function or from a table of real runs.
//! It knows no study and no worker.

use std::sync::Arc;

use luthier_core::event::Work;
use luthier_core::space::{Params, Space};

/// Values after one step, and how long the step takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Raw values of the study's objectives, in their order.
    pub values: Vec<f64>,
    /// Seconds from the step before.
    pub seconds: f64,
}

/// One trial's curve: what step *k*, from 1, says; none past its end.
pub type Life<'a> = Box<dyn Fn(u64) -> Option<Told> + 'a>;

/// Learning curves for all the trials that a study may start.
pub trait Recording {
    /// The curve of a piece of work with these params. The same params may give another curve for another replicate.
    fn begin<'a>(&'a self, params: &Params, work: Work) -> Life<'a>;
}

/// Curves by a formula.
pub struct Recorded<F> {
    last: u64,
    told: F,
}

impl<F: Fn(&Params, Work, u64) -> Told> Recorded<F> {
    /// Curves of `last` steps, whose step is what `told` says of params, work and step.
    pub fn new(last: u64, told: F) -> Self {
        Self { last, told }
    }
}

impl<F: Fn(&Params, Work, u64) -> Told> Recording for Recorded<F> {
    fn begin<'a>(&'a self, params: &Params, work: Work) -> Life<'a> {
        let params = params.clone();
        Box::new(move |step| (step <= self.last).then(|| (self.told)(&params, work, step)))
    }
}

/// Curves of real runs: a trial gets the curve of the run whose params are nearest to its own in the space.
///
/// Nearest is by the root mean square of distances: on its own scale and in the unit interval for numbers and levels, 0 or 1
/// for choices, 1 where a parameter is active in one only. Ties go to the earlier row.
pub struct Curves {
    space: Arc<Space>,
    rows: Vec<Row>,
}

struct Row {
    unit: Vec<f64>,
    curve: Vec<Told>,
}

/// A row of a table that is no curve.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CurvesError {
    /// The params do not fit the space.
    #[error("row {row}: {problem}")]
    Params {
        /// The row, from 1.
        row: usize,
        /// What is wrong.
        problem: String,
    },
    /// Durations have to be numbers from 0, values have to be numbers.
    #[error("row {row}: step {step} has a value or a duration that is no number; drop the rest of the curve")]
    Number {
        /// The row, from 1.
        row: usize,
        /// The step, from 1.
        step: usize,
    },
    /// There is nothing to choose from.
    #[error("the table has no rows")]
    Empty,
}

impl Curves {
    /// A table with the params and the curve of each run.
    pub fn new(
        space: &Space,
        rows: impl IntoIterator<Item = (Params, Vec<Told>)>,
    ) -> Result<Self, CurvesError> {
        let row = |(at, (params, curve)): (usize, (Params, Vec<Told>))| {
            let row = at + 1;
            let point = space
                .encode(&params)
                .map_err(|error| CurvesError::Params { row, problem: error.to_string() })?;
            let is_wrong = |told: &Told| {
                let finite = told.values.iter().all(|value| value.is_finite());
                !(finite && told.seconds >= 0.0 && told.seconds.is_finite())
            };
            match curve.iter().position(is_wrong) {
                Some(step) => Err(CurvesError::Number { row, step: step + 1 }),
                None => Ok(Row { unit: space.to_unit(&point), curve }),
            }
        };
        let rows: Vec<Row> = rows.into_iter().enumerate().map(row).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            Err(CurvesError::Empty)
        } else {
            Ok(Self { space: Arc::new(space.clone()), rows })
        }
    }

    /// The row, from 0, whose curve a trial with these params gets.
    pub fn nearest(&self, params: &Params) -> usize {
        let unit = self.space.encode(params).map(|point| self.space.to_unit(&point)).unwrap_or_default();
        let distance = |row: &Row| -> f64 {
            let parts = row.unit.iter().zip(&unit).zip(self.space.parameters());
            parts
                .map(|((a, b), parameter)| match (a.is_nan(), b.is_nan()) {
                    (true, true) => 0.0,
                    (false, false) if parameter.distribution.is_categorical() => f64::from(u8::from(a != b)),
                    (false, false) => (a - b).powi(2),
                    _ => 1.0,
                })
                .sum()
        };
        let distances = self.rows.iter().map(distance).enumerate();
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(row, _)| row)
    }
}

impl Recording for Curves {
    fn begin<'a>(&'a self, params: &Params, _: Work) -> Life<'a> {
        let curve = &self.rows[self.nearest(params)].curve;
        Box::new(move |step| curve.get(usize::try_from(step).ok()?.checked_sub(1)?).cloned())
    }
}

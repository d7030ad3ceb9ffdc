//! What values a parameter may take, and on which scale they are searched.
//!
//! This is the only place that maps values to the unit interval and back: no sampler ever asks whether a
//! parameter is logarithmic. Inside the core a value is *coded* as one `f64`: a number as itself, a choice or
//! level as its index.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SpaceError;
use super::value::Value;

/// The scale on which a number is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal differences count equally.
    #[default]
    Linear,
    /// Equal ratios count equally; the range must be positive.
    Log,
    /// Equal ratios of 1 − x count equally, as for momentum: 0.9, 0.99, 0.999 are evenly spaced. The range must lie below 1.
    Log1m,
}

impl Scale {
    /// The increasing transform under which the scale is even.
    fn forward(self, x: f64) -> f64 {
        match self {
            Self::Linear => x,
            Self::Log => x.ln(),
            Self::Log1m => -(-x).ln_1p(),
        }
    }

    fn backward(self, t: f64) -> f64 {
        match self {
            Self::Linear => t,
            Self::Log => t.exp(),
            Self::Log1m => -(-t).exp_m1(),
        }
    }
}

/// The set of values of one parameter.
///
/// ```
/// use luthier_core::space::{Distribution, Scale};
/// let momentum = Distribution::Float { low: 0.9, high: 0.999, scale: Scale::Log1m, step: None };
/// assert!((momentum.from_unit(0.5) - 0.99).abs() < 1e-12);
/// let width = Distribution::Int { low: 0, high: 10, scale: Scale::Linear, step: 5 };
/// assert_eq!((width.cells(), width.from_unit(0.5)), (Some(3), 5.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Numbers in `[low, high]`, all of them or the multiples of `step` counted from `low`.
    Float {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
        /// Scale of the search.
        #[serde(default)]
        scale: Scale,
        /// Distance between allowed values; none means every number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<f64>,
    },
    /// Whole numbers `low, low + step, …` up to `high`.
    Int {
        /// Smallest value.
        low: i64,
        /// Largest value.
        high: i64,
        /// Scale of the search.
        #[serde(default)]
        scale: Scale,
        /// Distance between allowed values, at least 1.
        #[serde(default = "one")]
        step: i64,
    },
    /// One of several choices without an order. A boolean is the choices `false`, `true`; a fixed value is one choice.
    Categorical {
        /// The choices, all different.
        choices: Arc<[Value]>,
    },
    /// One of several levels in ascending order, evenly spaced in the search.
    Ordinal {
        /// The levels, all different, from low to high.
        levels: Arc<[Value]>,
    },
}

fn one() -> i64 {
    1
}

impl Distribution {
    /// Checks the distribution of parameter `name`; every error names the parameter and the field.
    pub fn check(&self, name: &str) -> Result<(), SpaceError> {
        let fail = |field: &'static str, problem: String| {
            Err(SpaceError::Parameter { name: name.into(), field, problem })
        };
        match self {
            Self::Float { low, high, scale, step } => {
                for (field, end) in [("low", *low), ("high", *high)] {
                    if !end.is_finite() {
                        return fail(field, format!("{end} is not a finite number"));
                    }
                }
                check_range(name, *low, *high, *scale)?;
                if let Some(step) = step {
                    if !step.is_finite() || *step <= 0.0 {
                        return fail(
                            "step",
                            format!("a step must be a positive number, not {}", number(*step)),
                        );
                    }
                    if high > low && *step > (high - low) * (1.0 + 1e-9) {
                        return fail("step", wide_step(*step, *low, *high));
                    }
                    if *step < FINEST_STEP * low.abs().max(high.abs()) {
                        let (step, low, high) = (number(*step), number(*low), number(*high));
                        return fail(
                            "step",
                            format!("the step {step} is too small to tell values of {low} … {high} apart"),
                        );
                    }
                }
                Ok(())
            }
            Self::Int { low, high, scale, step } => {
                for (field, end) in [("low", *low), ("high", *high)] {
                    if end.unsigned_abs() > Value::MAX_INT as u64 {
                        return fail(
                            field,
                            format!("{end} is beyond ±2^53, where integers stop being exact; use a float"),
                        );
                    }
                }
                check_range(name, *low as f64, *high as f64, *scale)?;
                if *step < 1 {
                    return fail("step", format!("the step of an int must be at least 1, not {step}"));
                }
                if high > low && *step > high - low {
                    return fail("step", wide_step(*step as f64, *low as f64, *high as f64));
                }
                Ok(())
            }
            Self::Categorical { choices } => check_values(name, "choices", choices),
            Self::Ordinal { levels } => check_values(name, "levels", levels),
        }
    }

    /// How many distinct values there are; `None` for a continuous parameter.
    pub fn cells(&self) -> Option<u64> {
        match self {
            Self::Float { low, high, step: None, .. } => (low == high).then_some(1),
            Self::Float { low, high, step: Some(step), .. } => {
                Some(((high - low) / step * (1.0 + 4.0 * f64::EPSILON) + 1e-9).floor() as u64 + 1)
            }
            Self::Int { low, high, step, .. } => Some(((high - low) / step) as u64 + 1),
            Self::Categorical { choices: values } | Self::Ordinal { levels: values } => {
                Some(values.len() as u64)
            }
        }
    }

    /// The coded value of cell `index`, counted from the smallest. Only for distributions with cells.
    pub fn cell(&self, index: u64) -> f64 {
        match self {
            Self::Float { low, step: None, .. } => *low,
            Self::Float { low, high, step: Some(step), .. } => {
                tidy(low + index as f64 * step, low.abs().max(high.abs())).min(*high)
            }
            Self::Int { low, step, .. } => (low + index as i64 * step) as f64,
            Self::Categorical { .. } | Self::Ordinal { .. } => index as f64,
        }
    }

    /// The cell of a coded value; 0 for a continuous parameter.
    pub fn cell_of(&self, coded: f64) -> u64 {
        match self {
            Self::Float { step: None, .. } => 0,
            Self::Float { low, step: Some(step), .. } => ((coded - low) / step).round().max(0.0) as u64,
            Self::Int { low, step, .. } => ((coded as i64 - low) / step).max(0) as u64,
            Self::Categorical { .. } | Self::Ordinal { .. } => coded.max(0.0) as u64,
        }
    }

    /// Where a coded value lies in the unit interval, on the parameter's scale; a cell is represented by its middle.
    pub fn to_unit(&self, coded: f64) -> f64 {
        match self.grid() {
            Grid::Even(cells) => (self.cell_of(coded) as f64 + 0.5) / cells as f64,
            Grid::Warped { from, to, scale } | Grid::Continuous { from, to, scale } => {
                if to > from {
                    ((scale.forward(coded) - from) / (to - from)).clamp(0.0, 1.0)
                } else {
                    0.5
                }
            }
        }
    }

    /// The coded value at `unit` ∈ [0, 1]. Every cell has the share of the interval that its scale gives it,
    /// and every result is a value of the parameter.
    pub fn from_unit(&self, unit: f64) -> f64 {
        let unit = unit.clamp(0.0, 1.0);
        match self.grid() {
            Grid::Even(cells) => self.cell(((unit * cells as f64) as u64).min(cells - 1)),
            Grid::Warped { from, to, scale } => self.nearest(scale.backward(from + unit * (to - from))),
            Grid::Continuous { from, to, scale } => {
                let x = scale.backward(from + unit * (to - from));
                match self {
                    Self::Float { low, high, .. } => x.clamp(*low, *high),
                    Self::Int { .. } | Self::Categorical { .. } | Self::Ordinal { .. } => x,
                }
            }
        }
    }

    /// The share of the unit interval that rounds to the same value as `coded`, as `(from, to)`.
    /// Empty (`from == to`) for a continuous parameter; everything for one with a single value.
    pub fn cell_bounds(&self, coded: f64) -> (f64, f64) {
        match self.grid() {
            Grid::Even(cells) => {
                let k = self.cell_of(coded) as f64;
                (k / cells as f64, (k + 1.0) / cells as f64)
            }
            Grid::Warped { from, to, scale } => {
                let half = self.step().unwrap_or(0.0) / 2.0;
                let at = |x: f64| ((scale.forward(x) - from) / (to - from)).clamp(0.0, 1.0);
                let (low, high) = self.range().unwrap_or((coded, coded));
                let lower = if coded - half <= low - half { 0.0 } else { at(coded - half) };
                let upper = if coded + half >= high { 1.0 } else { at(coded + half) };
                (lower, upper)
            }
            Grid::Continuous { from, to, .. } if from >= to => (0.0, 1.0),
            Grid::Continuous { .. } => {
                let unit = self.to_unit(coded);
                (unit, unit)
            }
        }
    }

    /// A value moved by a factor, up for more than 1 and down for less, and never out of range.
    ///
    /// What is multiplied is what the scale is even in the ratios of: x on a log scale, 1 − x (divided) on `log1m`; on a
    /// linear scale the value moves by (factor − 1) times itself, or times a tenth of the range where that is more, so
    /// that 0 is no trap. A stepped value moves by at least one step, a level of an ordinal by one; a choice does not move.
    ///
    /// ```
    /// use luthier_core::space::{Distribution, Scale};
    /// let rate = Distribution::Float { low: 1e-4, high: 1.0, scale: Scale::Log, step: None };
    /// assert!((rate.moved(0.1, 1.2) - 0.12).abs() < 1e-12);
    /// assert_eq!(rate.moved(0.9, 1.2), 1.0);
    /// let units = Distribution::Int { low: 0, high: 8, scale: Scale::Linear, step: 1 };
    /// assert_eq!((units.moved(0.0, 1.2), units.moved(0.0, 0.8)), (1.0, 0.0));
    /// ```
    pub fn moved(&self, coded: f64, factor: f64) -> f64 {
        let (low, high, scale) = match self {
            Self::Float { low, high, scale, .. } => (*low, *high, *scale),
            Self::Int { low, high, scale, .. } => (*low as f64, *high as f64, *scale),
            Self::Categorical { .. } => return coded,
            Self::Ordinal { .. } => return self.next_cell(coded, factor),
        };
        let wanted = match scale {
            Scale::Linear => coded + (factor - 1.0) * coded.abs().max((high - low) / 10.0),
            Scale::Log => coded * factor,
            Scale::Log1m => 1.0 - (1.0 - coded) / factor,
        };
        let found = self.nearest(wanted.clamp(low, high));
        if found == coded && self.cells().is_some() { self.next_cell(coded, factor) } else { found }
    }

    /// The cell above for a factor above 1, below for one below, where there is one.
    fn next_cell(&self, coded: f64, factor: f64) -> f64 {
        let (cell, last) = (self.cell_of(coded), self.cells().unwrap_or(1) - 1);
        self.cell(match factor.total_cmp(&1.0) {
            Ordering::Greater => (cell + 1).min(last),
            Ordering::Less => cell.saturating_sub(1),
            Ordering::Equal => cell,
        })
    }

    /// The value as a user writes it.
    pub fn decode(&self, coded: f64) -> Value {
        match self {
            Self::Float { .. } => Value::Float(coded),
            Self::Int { .. } => Value::Int(coded as i64),
            Self::Categorical { choices: values } | Self::Ordinal { levels: values } => {
                values[(coded as usize).min(values.len() - 1)].clone()
            }
        }
    }

    /// Codes a user's value, or says why it is none of this parameter's values.
    ///
    /// Numbers off a grid are refused unless they are within rounding of it.
    pub fn encode(&self, value: &Value) -> Result<f64, String> {
        match self {
            Self::Float { low, high, step, .. } => {
                let x = value.as_f64().ok_or_else(|| format!("{} is not a number", value.quoted()))?;
                if !(*low <= x && x <= *high) {
                    return Err(format!("{} is outside {} … {}", number(x), number(*low), number(*high)));
                }
                match step {
                    None => Ok(x + 0.0),
                    Some(step) => {
                        let near = self.nearest(x);
                        if (near - x).abs() <= 1e-9 * step.max(x.abs()) {
                            Ok(near)
                        } else {
                            let (x, low, step) = (number(x), number(*low), number(*step));
                            Err(format!("{x} is not {low} plus a multiple of {step}"))
                        }
                    }
                }
            }
            Self::Int { low, high, step, .. } => {
                let i = value.as_i64().ok_or_else(|| format!("{} is not a whole number", value.quoted()))?;
                if i < *low || i > *high {
                    return Err(format!("{i} is outside {low} … {high}"));
                }
                if (i - low) % step != 0 {
                    return Err(format!("{i} is not {low} plus a multiple of {step}"));
                }
                Ok(i as f64)
            }
            Self::Categorical { choices: values } | Self::Ordinal { levels: values } => {
                match values.iter().position(|v| v.means(value)) {
                    Some(index) => Ok(index as f64),
                    None => Err(format!("{} is not among {}", value.quoted(), few(values))),
                }
            }
        }
    }

    /// Smallest and largest number that the parameter takes; `None` for choices and levels.
    ///
    /// The largest is below `high` where the step does not divide the range.
    pub fn range(&self) -> Option<(f64, f64)> {
        match self {
            Self::Float { low, high, step: None, .. } => Some((*low, *high)),
            Self::Float { low, .. } => Some((*low, self.cell(self.cells()? - 1))),
            Self::Int { low, high, step, .. } => {
                Some((*low as f64, (low + (high - low) / step * step) as f64))
            }
            Self::Categorical { .. } | Self::Ordinal { .. } => None,
        }
    }

    /// The distance between values of a stepped number.
    pub fn step(&self) -> Option<f64> {
        match self {
            Self::Float { step, .. } => *step,
            Self::Int { step, .. } => Some(*step as f64),
            Self::Categorical { .. } | Self::Ordinal { .. } => None,
        }
    }

    /// The choices or levels; `None` for numbers.
    pub fn values(&self) -> Option<&Arc<[Value]>> {
        match self {
            Self::Float { .. } | Self::Int { .. } => None,
            Self::Categorical { choices: values } | Self::Ordinal { levels: values } => Some(values),
        }
    }

    /// Whether the values have no order, so that distance between them means nothing.
    pub fn is_categorical(&self) -> bool {
        matches!(self, Self::Categorical { .. })
    }

    /// Whether there is exactly one value.
    pub fn is_fixed(&self) -> bool {
        self.cells() == Some(1)
    }

    /// The value of the range that is nearest to `x` times a coded value: plain multiplication, on any scale. Choices and levels
    /// stay as they are.
    pub fn scaled(&self, coded: f64, factor: f64) -> f64 {
        match self {
            Self::Float { low, high, .. } => self.nearest((coded * factor).clamp(*low, *high)),
            Self::Int { low, high, .. } => self.nearest((coded * factor).clamp(*low as f64, *high as f64)),
            Self::Categorical { .. } | Self::Ordinal { .. } => coded,
        }
    }

    fn nearest(&self, x: f64) -> f64 {
        match self {
            Self::Float { low, step: Some(step), .. } => {
                let last = self.cells().unwrap_or(1) - 1;
                self.cell((((x - low) / step).round().max(0.0) as u64).min(last))
            }
            Self::Int { low, high, step, .. } => {
                let last = (high - low) / step;
                let k = ((x - *low as f64) / *step as f64).round() as i64;
                (low + k.clamp(0, last) * step) as f64
            }
            Self::Float { step: None, .. } | Self::Categorical { .. } | Self::Ordinal { .. } => x,
        }
    }

    fn grid(&self) -> Grid {
        match self {
            Self::Float { low, high, scale, step: None } => {
                Grid::Continuous { from: scale.forward(*low), to: scale.forward(*high), scale: *scale }
            }
            Self::Float { scale: Scale::Linear, .. } | Self::Int { scale: Scale::Linear, .. } => {
                Grid::Even(self.cells().unwrap_or(1))
            }
            Self::Float { scale, .. } | Self::Int { scale, .. } => self.warped(*scale),
            Self::Categorical { choices: values } | Self::Ordinal { levels: values } => {
                Grid::Even(values.len() as u64)
            }
        }
    }

    /// Cells on a log scale reach half a step beyond both ends, or half-way to the scale's pole where that is nearer.
    fn warped(&self, scale: Scale) -> Grid {
        let (low, high) = self.range().unwrap_or((0.0, 1.0));
        let half = self.step().unwrap_or(0.0) / 2.0;
        let (mut first, mut last) = (low - half, high + half);
        match scale {
            Scale::Log if first <= 0.0 => first = low / 2.0,
            Scale::Log1m if last >= 1.0 => last = f64::midpoint(high, 1.0),
            Scale::Linear | Scale::Log | Scale::Log1m => {}
        }
        Grid::Warped { from: scale.forward(first), to: scale.forward(last), scale }
    }
}

/// How values share the unit interval; the ends are in transformed units.
enum Grid {
    Even(u64),
    Warped { from: f64, to: f64, scale: Scale },
    Continuous { from: f64, to: f64, scale: Scale },
}

fn check_range(name: &str, low: f64, high: f64, scale: Scale) -> Result<(), SpaceError> {
    let fail = |field: &'static str, problem: String| {
        Err(SpaceError::Parameter { name: name.into(), field, problem })
    };
    if low > high {
        return fail("low", format!("low = {} is above high = {}; swap them", number(low), number(high)));
    }
    if !(high - low).is_finite() {
        return fail("high", "the range is wider than the largest number; narrow it".into());
    }
    match scale {
        Scale::Log if low <= 0.0 => {
            let low = number(low);
            fail("low", format!("a log scale needs low > 0, not {low}; raise low or use scale = \"linear\""))
        }
        Scale::Log1m if high >= 1.0 => {
            let high = number(high);
            fail("high", format!("the log scale of 1 - x needs high < 1, not {high}; lower high"))
        }
        Scale::Linear | Scale::Log | Scale::Log1m => Ok(()),
    }
}

fn check_values(name: &str, field: &'static str, values: &[Value]) -> Result<(), SpaceError> {
    let fail = |problem: String| Err(SpaceError::Parameter { name: name.into(), field, problem });
    if values.is_empty() {
        return fail("the list is empty; give at least one value".into());
    }
    let mut seen = std::collections::HashSet::new();
    for value in values {
        let key = match value.as_f64() {
            Some(x) if !x.is_finite() => return fail(format!("{x} is not a finite number")),
            Some(x) if matches!(value, Value::Int(i) if i.unsigned_abs() > Value::MAX_INT as u64) => {
                return fail(format!("{} is beyond ±2^53, where integers stop being exact", number(x)));
            }
            // Adding zero makes -0 the same as 0.
            Some(x) => (true, (x + 0.0).to_bits().to_string()),
            None => (false, format!("{value:?}")),
        };
        if !seen.insert(key) {
            return fail(format!("{} is listed twice", value.quoted()));
        }
    }
    Ok(())
}

/// The finest step of a float, relative to the larger end of its range: [`tidy`] keeps two digits more.
const FINEST_STEP: f64 = 1e-12;

/// Removes the rounding noise of `low + k·step`: 0.30000000000000004 becomes 0.3, and 5.6e-17 becomes 0.
/// `largest` is the largest magnitude of the range.
fn tidy(x: f64, largest: f64) -> f64 {
    if largest == 0.0 || largest >= 1e15 {
        return x;
    }
    let digits = 14 - largest.log10().floor() as i32;
    // Adding zero turns -0 into 0.
    format!("{x:.*}", digits.clamp(0, 340) as usize).parse().unwrap_or(x) + 0.0
}

/// A number in a message, as a person would write it.
fn number(x: f64) -> Value {
    Value::Float(x)
}

fn wide_step(step: f64, low: f64, high: f64) -> String {
    let (step, low, high) = (number(step), number(low), number(high));
    format!("the step {step} is wider than the range {low} … {high}; lower it")
}

/// The first few values for a message.
fn few(values: &[Value]) -> String {
    let shown: Vec<String> = values.iter().take(8).map(Value::quoted).collect();
    let more = values.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

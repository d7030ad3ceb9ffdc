//! From losses to what the model models, and back: diverged losses drawn in, then a power transform where losses are far
//! from normal, then mean 0 and deviation 1.
//!
//! The power transform is that of HEBO (Cowen-Rivers et al. 2022, arXiv 2012.03826): Box and Cox (1964) for positive
//! losses, Yeo and Johnson (2000) for any, each with its most likely power. Losses stay as they are unless that makes them
//! likelier by [`WORTH`]. All maps here increase, and are linear beyond the losses they were made for where the power
//! would run off to infinity.

use std::f64::consts::LN_2;

/// A transform must raise ln likelihood by as much: 95 % of samples from a normal distribution stay below 1.92.
const WORTH: f64 = 2.0;

/// Powers are sought between −`POWERS` and +`POWERS`.
const POWERS: f64 = 5.0;

/// A loss is taken as diverged when the way to it from the best is so many times that to the next better one.
const CHASM: f64 = 1e4;

/// No loss is further than this from 0 in model units. Among n losses none is further than √n from their mean.
const BEYOND: f64 = 100.0;

/// ln of the ratio of the largest magnitude to the scale of a [`Power::Bilog`], at most.
const SHARPEST: f64 = 12.0;

/// Transformed losses are at most so many interquartile ranges above the upper quartile (Tukey's "far out").
const FAR_OUT: f64 = 3.0;

/// Which power transform, with its power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Power {
    /// None.
    Linear,
    /// (xᵖ − 1) / p of x = loss / geometric mean; ln x for p = 0.
    BoxCox(f64),
    /// Yeo and Johnson's, of x = (loss − median) / deviation.
    YeoJohnson(f64),
    /// sign(x) ln(1 + |x|) of x = loss / scale, which keeps 0 where it is (Eriksson and Poloczek 2021, arXiv 2002.08526).
    Bilog,
}

/// An increasing map from losses to model units: mean 0 and deviation 1 over the losses it was made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Losses are divided by it first: 1 unless squares of the largest would not be numbers.
    unit: f64,
    /// Losses above are taken for this one.
    most: f64,
    power: Power,
    /// x = (loss − shift) / scale.
    shift: f64,
    scale: f64,
    /// From here down the transform of x goes on as a straight line.
    straight: f64,
    /// Transforms above are taken for this one.
    cap: f64,
    mean: f64,
    deviation: f64,
}

impl Outputs {
    /// The map for these losses, all finite.
    pub fn of(losses: &[f64]) -> Self {
        Self::made(losses, Some(-POWERS))
    }

    /// The same without a power transform; and, where there is one, with a power that is at least 0: what a search finds
    /// crowds at the best, and a power that made a crowd look normal would make all the rest look alike.
    pub fn candidates(losses: &[f64]) -> (Self, Option<Self>) {
        let bent = Self::made(losses, Some(0.0));
        (Self::made(losses, None), Some(bent).filter(|bent| bent.power != Power::Linear))
    }

    fn made(losses: &[f64], least: Option<f64>) -> Self {
        let mut sorted = losses.to_vec();
        sorted.sort_by(f64::total_cmp);
        let regular = before_chasm(&sorted);
        let unit = unit_of(&sorted[..regular]);
        for loss in &mut sorted {
            *loss /= unit;
        }
        let most = if regular < sorted.len() { 2.0 * sorted[regular - 1] - sorted[0] } else { f64::INFINITY };
        let mut outputs = Self { unit, most, ..Self::identity() };
        if let Some(least) = least {
            outputs.choose_power(&sorted[..regular], least);
        }
        let transformed: Vec<f64> = sorted.iter().map(|loss| outputs.bend(*loss)).collect();
        let (lower, upper) = (quantile(&transformed, 0.25), quantile(&transformed, 0.75));
        if transformed.len() >= 8 && upper > lower {
            outputs.cap = upper + FAR_OUT * (upper - lower);
        }
        outputs.standardise(&sorted);
        outputs
    }

    /// The map that only shifts and scales, for quantities that need no transform.
    pub fn linear(losses: &[f64]) -> Self {
        let unit = unit_of(losses);
        let mut outputs = Self { unit, ..Self::identity() };
        outputs.standardise(&losses.iter().map(|loss| loss / unit).collect::<Vec<_>>());
        outputs
    }

    /// The map that only shifts and scales, and, where the values are likelier so, one that draws in what is far from 0
    /// on either side and looks closely at what is near: for quantities whose sign is what counts.
    pub fn around_zero(values: &[f64]) -> (Self, Option<Self>) {
        let linear = Self::linear(values);
        let scaled: Vec<f64> = values.iter().map(|value| value / linear.unit).collect();
        let (mean, variance) = moments(&scaled);
        let largest = scaled.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        if scaled.len() < 3 || variance <= f64::EPSILON * f64::EPSILON * mean * mean || !variance.is_finite()
        {
            return (linear, None);
        }
        let n = scaled.len() as f64;
        let likelihood = |log: f64| {
            let scale = log.exp();
            let bent: Vec<f64> = scaled.iter().map(|x| transform(Power::Bilog, x / scale)).collect();
            let slopes: f64 = scaled.iter().map(|x| -(x.abs() + scale).ln()).sum();
            slopes - 0.5 * n * moments(&bent).1.ln()
        };
        let most = largest.ln();
        let scale = highest(likelihood, most - SHARPEST, most + 1.0, 1e-4);
        if likelihood(scale) < WORTH - 0.5 * n * variance.ln() {
            return (linear, None);
        }
        let mut bilog =
            Self { unit: linear.unit, power: Power::Bilog, scale: scale.exp(), ..Self::identity() };
        bilog.standardise(&scaled);
        (linear, Some(bilog))
    }

    /// The map that changes nothing.
    pub fn identity() -> Self {
        Self {
            unit: 1.0,
            most: f64::INFINITY,
            power: Power::Linear,
            shift: 0.0,
            scale: 1.0,
            straight: f64::NEG_INFINITY,
            cap: f64::INFINITY,
            mean: 0.0,
            deviation: 1.0,
        }
    }

    /// The power transform in it.
    pub fn power(&self) -> Power {
        self.power
    }

    /// A loss in model units. Losses unlike all that it was made for count as 100 or −100.
    pub fn forward(&self, loss: f64) -> f64 {
        let value = (self.bend(loss / self.unit).min(self.cap) - self.mean) / self.deviation;
        value.clamp(-BEYOND, BEYOND)
    }

    /// Model units per unit of loss at a loss; 0 where losses are drawn in.
    pub fn slope(&self, loss: f64) -> f64 {
        if self.is_drawn_in(loss) {
            return 0.0;
        }
        let x = ((loss / self.unit - self.shift) / self.scale).max(self.straight);
        slope(self.power, x) / (self.scale * self.deviation) / self.unit
    }

    /// The loss at a value in model units. Values that no loss reaches give the nearest that is reached.
    pub fn backward(&self, value: f64) -> f64 {
        let bent = (self.mean + self.deviation * value).min(self.cap);
        let x = if self.straight == f64::NEG_INFINITY || bent >= transform(self.power, self.straight) {
            unbend(self.power, bent)
        } else {
            self.straight + (bent - transform(self.power, self.straight)) / slope(self.power, self.straight)
        };
        (self.shift + self.scale * x).min(self.most) * self.unit
    }

    fn bend(&self, loss: f64) -> f64 {
        let x = (loss.min(self.most) - self.shift) / self.scale;
        if x >= self.straight {
            transform(self.power, x)
        } else {
            transform(self.power, self.straight) + slope(self.power, self.straight) * (x - self.straight)
        }
    }

    /// Whether a loss is drawn in.
    pub(super) fn is_drawn_in(&self, loss: f64) -> bool {
        let loss = loss / self.unit;
        loss > self.most || self.bend(loss) > self.cap
    }

    /// `sorted` without a deviation has no transform.
    fn choose_power(&mut self, sorted: &[f64], least: f64) {
        let (mean, variance) = moments(sorted);
        if sorted.len() < 3 || variance <= f64::EPSILON * f64::EPSILON * mean * mean || !variance.is_finite()
        {
            return;
        }
        let (shift, scale) = (quantile(sorted, 0.5), variance.sqrt());
        let centred: Vec<f64> = sorted.iter().map(|loss| (loss - shift) / scale).collect();
        let (power, gain) = most_likely(Power::YeoJohnson, &centred, least);
        let mut best = WORTH;
        if gain > best {
            (best, self.power, self.shift, self.scale) = (gain, power, shift, scale);
        }
        if sorted[0] <= 0.0 {
            return;
        }
        let scale = (sorted.iter().map(|loss| loss.ln()).sum::<f64>() / sorted.len() as f64).exp();
        let scaled: Vec<f64> = sorted.iter().map(|loss| loss / scale).collect();
        let (power, gain) = most_likely(Power::BoxCox, &scaled, least);
        if gain > best {
            (self.power, self.shift, self.scale) = (power, 0.0, scale);
            self.straight = scaled[0] / 2.0;
        }
    }

    fn standardise(&mut self, losses: &[f64]) {
        let bent: Vec<f64> = losses.iter().map(|loss| self.bend(*loss).min(self.cap)).collect();
        let (mean, variance) = moments(&bent);
        let deviation = variance.sqrt();
        // Equal losses differ by rounding alone.
        let spread = deviation > 1e-14 * mean.abs() && deviation.is_finite();
        (self.mean, self.deviation) = (mean, if spread { deviation } else { 1.0 });
    }
}

fn unit_of(losses: &[f64]) -> f64 {
    let largest = losses.iter().fold(0.0, |largest: f64, loss| largest.max(loss.abs()));
    if largest == 0.0 || (1e-100..=1e100).contains(&largest) { 1.0 } else { largest }
}

/// How many losses are not cut off from the better ones by a [`CHASM`]: three and a fifth of all in any case. Losses
/// beyond count as if they were as far again from the best as the worst that is not cut off.
fn before_chasm(sorted: &[f64]) -> usize {
    let first = sorted.len().div_ceil(5).max(3);
    // Halved, so that it is a number whatever the losses.
    let way = |k: usize| 0.5 * sorted[k] - 0.5 * sorted[0];
    (first..sorted.len()).find(|k| way(k - 1) > 0.0 && way(*k) > CHASM * way(k - 1)).unwrap_or(sorted.len())
}

/// The power that makes transformed values likeliest as a sample from a normal distribution, and by how much likelier
/// than the values as they are.
fn most_likely(power: fn(f64) -> Power, values: &[f64], least: f64) -> (Power, f64) {
    let n = values.len() as f64;
    let logs: f64 = values
        .iter()
        .map(|x| match power(0.0) {
            Power::Linear => 0.0,
            Power::BoxCox(_) => x.ln(),
            Power::YeoJohnson(_) => x.signum() * x.abs().ln_1p(),
            Power::Bilog => -x.abs().ln_1p(),
        })
        .sum();
    let likelihood = |p: f64| {
        let bent: Vec<f64> = values.iter().map(|x| transform(power(p), *x)).collect();
        let log = (p - 1.0) * logs - 0.5 * n * moments(&bent).1.ln();
        if log.is_nan() { f64::NEG_INFINITY } else { log }
    };
    let best = highest(likelihood, least, POWERS, 1e-7);
    (power(best), likelihood(best) - likelihood(1.0))
}

fn transform(power: Power, x: f64) -> f64 {
    match power {
        Power::Linear => x,
        Power::BoxCox(p) => bent_log(p, x.ln()),
        Power::YeoJohnson(p) if x >= 0.0 => bent_log(p, x.ln_1p()),
        Power::YeoJohnson(p) => -bent_log(2.0 - p, (-x).ln_1p()),
        Power::Bilog => x.signum() * x.abs().ln_1p(),
    }
}

/// (e^(pt) − 1) / p.
fn bent_log(p: f64, t: f64) -> f64 {
    if p == 0.0 { t } else { (p * t).exp_m1() / p }
}

fn slope(power: Power, x: f64) -> f64 {
    match power {
        Power::Linear => 1.0,
        Power::BoxCox(p) => x.powf(p - 1.0),
        Power::YeoJohnson(p) if x >= 0.0 => ((p - 1.0) * x.ln_1p()).exp(),
        Power::YeoJohnson(p) => ((1.0 - p) * (-x).ln_1p()).exp(),
        Power::Bilog => 1.0 / (1.0 + x.abs()),
    }
}

/// The inverse of [`transform`]; beyond its range, a value far outside.
fn unbend(power: Power, y: f64) -> f64 {
    match power {
        Power::Linear => y,
        Power::BoxCox(p) => unbent_log(p, y).exp(),
        Power::YeoJohnson(p) if y >= 0.0 => unbent_log(p, y).exp_m1(),
        Power::YeoJohnson(p) => -unbent_log(2.0 - p, -y).exp_m1(),
        Power::Bilog => y.signum() * unbent_log(0.0, y.abs()).exp_m1(),
    }
}

/// The inverse of [`bent_log`], at most 512 ln 2 in size.
fn unbent_log(p: f64, y: f64) -> f64 {
    let t = if p == 0.0 { y } else { (p * y).max(-1.0).ln_1p() / p };
    t.clamp(-512.0 * LN_2, 512.0 * LN_2)
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n)
}

/// With linear interpolation between order statistics.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let (below, above) = (sorted[place as usize], sorted[(place as usize + 1).min(last)]);
    below + place.fract() * (above - below)
}

/// The place of the maximum of a function with a single one, by golden section.
pub(super) fn highest(value: impl Fn(f64) -> f64, mut low: f64, mut high: f64, tolerance: f64) -> f64 {
    let share = 0.5 * (5_f64.sqrt() - 1.0);
    let (mut left, mut right) = (high - share * (high - low), low + share * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    while high - low > tolerance {
        if at_left >= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - share * (high - low);
            at_left = value(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + share * (high - low);
            at_right = value(right);
        }
    }
    f64::midpoint(low, high)
}

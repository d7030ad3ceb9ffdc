//! Where a user expects good values. Samplers start from it and can outgrow it.

use libm::erf;
use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::value::Value;

/// The share of draws that ignore a prior, so that a wrong one is outgrown.
const DOUBT: f64 = 0.2;

/// A user's expectation about one parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Prior {
    /// A bell around a value, for numbers and levels.
    Center {
        /// The value expected to be good.
        center: Value,
        /// Standard deviation as a share of the range on the parameter's own scale, in (0, 1]; default 0.2.
        #[serde(default = "default_spread")]
        spread: f64,
    },
    /// Relative weights of the choices, in their order, for categorical parameters; any non-negative numbers.
    Weights {
        /// One weight per choice.
        weights: Vec<f64>,
    },
}

fn default_spread() -> f64 {
    0.2
}

impl Prior {
    /// A bell around a value with the default spread, 0.2.
    pub fn around(center: impl Into<Value>) -> Self {
        Self::Center { center: center.into(), spread: default_spread() }
    }

    pub(super) fn check(&self, distribution: &Distribution) -> Result<(), String> {
        match self {
            Self::Center { center, spread } => {
                if distribution.is_categorical() {
                    return Err("choices have no centre; give weights = [one number per choice]".into());
                }
                if !(*spread > 0.0 && *spread <= 1.0) {
                    return Err(format!("spread is a share of the range in (0, 1], not {spread}"));
                }
                distribution.encode(center).map(|_| ())
            }
            Self::Weights { weights } => {
                let Some(values) = distribution.values() else {
                    return Err("a number takes center and spread, not weights".into());
                };
                if weights.len() != values.len() {
                    return Err(format!("{} weights for {} choices", weights.len(), values.len()));
                }
                let sum: f64 = weights.iter().sum();
                if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || sum <= 0.0 {
                    return Err("weights must be finite, not negative, and not all zero".into());
                }
                Ok(())
            }
        }
    }

    /// The density at `unit` ∈ [0, 1] relative to the uniform one, doubt included; integrates to 1.
    pub fn density(&self, distribution: &Distribution, unit: f64) -> f64 {
        DOUBT + (1.0 - DOUBT) * self.expected_density(distribution, unit)
    }

    /// The same without doubt: of what the user expects alone.
    pub(super) fn expected_density(&self, distribution: &Distribution, unit: f64) -> f64 {
        match self {
            Self::Center { spread, .. } => {
                let z = (unit - self.mode(distribution)) / spread;
                let bell = (-0.5 * z * z).exp() / (spread * (2.0 * std::f64::consts::PI).sqrt());
                bell / self.bell_mass(distribution)
            }
            Self::Weights { weights } => {
                let k = distribution.cell_of(distribution.from_unit(unit)) as usize;
                weights[k] / weights.iter().sum::<f64>() * weights.len() as f64
            }
        }
    }

    /// The unit coordinate below which the share `u` of the prior lies, doubt included.
    pub fn quantile(&self, distribution: &Distribution, u: f64) -> f64 {
        self.quantile_under(DOUBT, distribution, u)
    }

    /// The same without doubt: of what the user expects alone.
    pub(super) fn expected_quantile(&self, distribution: &Distribution, u: f64) -> f64 {
        self.quantile_under(0.0, distribution, u)
    }

    fn quantile_under(&self, doubt: f64, distribution: &Distribution, u: f64) -> f64 {
        match self {
            Self::Center { .. } => {
                let (mut low, mut high) = (0.0, 1.0);
                for _ in 0..52 {
                    let middle = f64::midpoint(low, high);
                    let below = self.cumulative_under(doubt, distribution, middle);
                    if below < u { low = middle } else { high = middle }
                }
                f64::midpoint(low, high)
            }
            Self::Weights { weights } => {
                let sum: f64 = weights.iter().sum();
                let n = weights.len() as f64;
                let mut below = 0.0;
                for (k, weight) in weights.iter().enumerate() {
                    let share = doubt / n + (1.0 - doubt) * weight / sum;
                    if u < below + share || k + 1 == weights.len() {
                        return (k as f64 + ((u - below) / share.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)) / n;
                    }
                    below += share;
                }
                1.0
            }
        }
    }

    /// The unit coordinate of the most expected value.
    pub fn mode(&self, distribution: &Distribution) -> f64 {
        match self {
            Self::Center { center, .. } => {
                distribution.encode(center).map_or(0.5, |x| distribution.to_unit(x))
            }
            Self::Weights { weights } => {
                let best =
                    (0..weights.len()).fold(0, |best, k| if weights[k] > weights[best] { k } else { best });
                (best as f64 + 0.5) / weights.len() as f64
            }
        }
    }

    /// The share of the prior below `unit` ∈ [0, 1], doubt included: what [`Prior::quantile`] turns back.
    pub fn cumulative(&self, distribution: &Distribution, unit: f64) -> f64 {
        self.cumulative_under(DOUBT, distribution, unit)
    }

    fn cumulative_under(&self, doubt: f64, distribution: &Distribution, unit: f64) -> f64 {
        match self {
            Self::Center { spread, .. } => {
                let mode = self.mode(distribution);
                let mass = normal_cdf((unit - mode) / spread) - normal_cdf(-mode / spread);
                doubt * unit + (1.0 - doubt) * mass / self.bell_mass(distribution)
            }
            Self::Weights { weights } => {
                let (n, sum) = (weights.len() as f64, weights.iter().sum::<f64>());
                let covered = |k: usize| (unit * n - k as f64).clamp(0.0, 1.0);
                let share = |k: usize| doubt / n + (1.0 - doubt) * weights[k] / sum;
                (0..weights.len()).map(|k| share(k) * covered(k)).sum()
            }
        }
    }

    fn bell_mass(&self, distribution: &Distribution) -> f64 {
        let Self::Center { spread, .. } = self else { return 1.0 };
        let mode = self.mode(distribution);
        normal_cdf((1.0 - mode) / spread) - normal_cdf(-mode / spread)
    }
}

/// A uniform number as a coin and another uniform number: whether the draw ignores priors. One half stays where it is.
pub(super) fn toss(u: f64) -> (bool, f64) {
    if u < DOUBT / 2.0 {
        (true, u / DOUBT)
    } else if u >= 1.0 - DOUBT / 2.0 {
        (true, (u - (1.0 - DOUBT)) / DOUBT)
    } else {
        (false, (u - DOUBT / 2.0) / (1.0 - DOUBT))
    }
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * (1.0 + erf(z / std::f64::consts::SQRT_2))
}

//! From losses to what the model models, and back: so far, losses less their mean over their deviation.

/// An increasing map from losses to model units: mean 0 and deviation 1 over the losses it was made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    mean: f64,
    deviation: f64,
}

impl Outputs {
    /// The map for these losses, all finite.
    pub fn of(losses: &[f64]) -> Self {
        let n = losses.len().max(1) as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let deviation = (losses.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n).sqrt();
        Self { mean, deviation: if deviation > 0.0 { deviation } else { 1.0 } }
    }

    /// The map that only shifts and scales, for quantities that need no transform.
    pub fn linear(losses: &[f64]) -> Self {
        Self::of(losses)
    }

    /// The map that changes nothing.
    pub fn identity() -> Self {
        Self { mean: 0.0, deviation: 1.0 }
    }

    /// A loss in model units.
    pub fn forward(&self, loss: f64) -> f64 {
        (loss - self.mean) / self.deviation
    }

    /// Model units per unit of loss at a loss.
    pub fn slope(&self, _loss: f64) -> f64 {
        1.0 / self.deviation
    }

    /// The loss at a value in model units.
    pub fn backward(&self, value: f64) -> f64 {
        self.mean + self.deviation * value
    }
}

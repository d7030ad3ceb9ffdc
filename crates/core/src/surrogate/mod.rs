//! Models of what a study has seen. They know coordinates and weights, and have never heard of trials or studies.
//!
//! A [`Surrogate`] answers with a [`Belief`] about the loss anywhere in the unit cube; acquisitions are written against
//! it alone, so that each works with every model.

pub mod forest;
pub mod gaussian_process;
pub mod normal;
pub mod parzen;

/// What a model believes about the loss at one point: a normal distribution of the noise-free value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// Expected loss, in the model's own units (transformed and standardised losses).
    pub mean: f64,
    /// Its standard deviation in the same units, above 0.
    pub deviation: f64,
}

/// A [`Belief`] with its slopes by each unit coordinate; 0 by coordinates that do not move continuously.
#[derive(Clone, Debug, PartialEq)]
pub struct Slope {
    /// The belief itself.
    pub belief: Belief,
    /// Change of the mean per unit of each coordinate.
    pub mean: Vec<f64>,
    /// Change of the standard deviation per unit of each coordinate.
    pub deviation: Vec<f64>,
}

/// A model of the loss over the unit cube.
///
/// Points are unit coordinates of one space, one per parameter, NaN where a parameter is inactive.
pub trait Surrogate {
    /// What it believes at `unit`.
    fn belief(&self, unit: &[f64]) -> Belief;

    /// What it believes at many points; the same as one by one, only faster.
    fn beliefs(&self, units: &[Vec<f64>]) -> Vec<Belief> {
        units.iter().map(|unit| self.belief(unit)).collect()
    }

    /// The belief with its slopes, or `None` if the model has none (trees).
    fn slope(&self, _unit: &[f64]) -> Option<Slope> {
        None
    }
}

//! What a sampler maximises over a surrogate, and how the maximum is found.

/// A function over the unit cube whose maximum is the next point to try; larger is better, logarithms where the value
/// itself would vanish.
///
/// Points are unit coordinates of one space, one per parameter, NaN where a parameter is inactive.
pub trait Acquisition {
    /// Its value at `unit`.
    fn value(&self, unit: &[f64]) -> f64;

    /// Its value and slope by each unit coordinate, or `None` if it has no slope there.
    fn slope(&self, _unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        None
    }
}

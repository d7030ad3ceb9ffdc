//! The way up a smooth function between bounds: L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995) of the crate `basin`. What is
//! climbed is decided elsewhere.

use std::convert::Infallible;

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, Constraints};
use basin::{CostFunction, Executor, FirstOrderState, Gradient, Lbfgsb};

/// A function to be climbed.
pub(super) trait Hill {
    /// The height at a place and its slopes, one per coordinate.
    fn at(&self, place: &[f64]) -> (f64, Vec<f64>);

    /// The smallest and the largest value of each coordinate.
    fn bounds(&self) -> (&Vec<f64>, &Vec<f64>);
}

/// How soon a climb ends.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// No slope within the bounds is steeper at the end.
    pub(super) slope: f64,
    /// No step gains less of the height.
    pub(super) rise: f64,
    /// Steps at most.
    pub(super) steps: u64,
}

/// The place to which the climb from `start` leads, and its height; none where there is no height to be found.
pub(super) fn climb(hill: &impl Hill, start: Vec<f64>, patience: Patience) -> Option<(Vec<f64>, f64)> {
    let solver = Lbfgsb::new()
        .with_absolute_projected_gradient_tolerance(patience.slope)
        .with_relative_cost_reduction_tolerance(patience.rise);
    let result = Executor::new(Valley(hill), solver, FirstOrderState::new(start))
        .max_iter(patience.steps)
        .run()
        .ok()?;
    // Each accepted step goes up, so the last place is the best.
    result.cost().is_finite().then(|| (result.param().clone(), -result.cost()))
}

/// The hill upside down: `basin` goes downwards.
struct Valley<'a, H>(&'a H);

impl<H: Hill> Constraints for Valley<'_, H> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        let (lower, upper) = self.0.bounds();
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(lower), Some(upper)))
    }
}

impl<H: Hill> CostFunction for Valley<'_, H> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, place: &Vec<f64>) -> Result<f64, Infallible> {
        Ok(-self.0.at(place).0)
    }
}

impl<H: Hill> Gradient for Valley<'_, H> {
    type Gradient = Vec<f64>;

    fn gradient(&self, place: &Vec<f64>) -> Result<Vec<f64>, Infallible> {
        Ok(self.cost_and_gradient(place)?.1)
    }

    fn cost_and_gradient(&self, place: &Vec<f64>) -> Result<(f64, Vec<f64>), Infallible> {
        let (height, slopes) = self.0.at(place);
        Ok((-height, slopes.into_iter().map(|slope| -slope).collect()))
    }
}

/// Fails unless the slopes at a place agree with differences of the heights `apart` to both sides, as closely as that.
#[cfg(test)]
pub(super) fn assert_slopes(hill: &impl Hill, place: &[f64], apart: f64) {
    let slopes = hill.at(place).1;
    for k in 0..place.len() {
        let moved = |by: f64| {
            let mut place = place.to_vec();
            place[k] += by;
            hill.at(&place).0
        };
        let slope = (moved(apart) - moved(-apart)) / (2.0 * apart);
        assert!((slopes[k] - slope).abs() < apart * (1.0 + slope.abs()), "{k}: {} is not {slope}", slopes[k]);
    }
}

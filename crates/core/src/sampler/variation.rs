//! How children come from parents: crossover and mutation over mixed and conditional spaces.
//!
//! A child is made parameter by parameter, parents of a condition before its children. A parameter that is active in both
//! parents is crossed; one that is active in one parent is taken from there; one that neither has is drawn from its prior. So
//! a choice and what depends on it come from the same parent wherever the parents differ. Each parameter may then mutate.
//! Numbers and levels vary on their own scale, in the unit cube; choices swap and are drawn anew.

use crate::rng::Rng;
use crate::space::{Distribution, Point, Space};

/// Two values of simulated binary crossover between `a` and `b` in [0, 1], the first nearer the smaller parent: bounded so
/// that neither leaves the interval (Deb and Agrawal 1995; Deb and Jain 2014, as in the authors' code).
///
/// `eta` ≥ 0 is the distribution index: the larger, the closer to the parents. `u` ∈ [0, 1) decides.
pub fn simulated_binary(a: f64, b: f64, eta: f64, u: f64) -> (f64, f64) {
    let (low, high) = (a.min(b), a.max(b));
    let gap = high - low;
    if gap < 1e-14 {
        return (low, high);
    }
    let spread = |room: f64| {
        let alpha = 2.0 - (1.0 + 2.0 * room / gap).powf(-(eta + 1.0));
        let x = if u <= 1.0 / alpha { u * alpha } else { 1.0 / (2.0 - u * alpha) };
        x.powf(1.0 / (eta + 1.0))
    };
    let middle = f64::midpoint(low, high);
    let first = middle - 0.5 * spread(low) * gap;
    let second = middle + 0.5 * spread(1.0 - high) * gap;
    (first.clamp(0.0, 1.0), second.clamp(0.0, 1.0))
}

/// Polynomial mutation of `x` ∈ [0, 1], bounded (Deb's NSGA-II code, revision 1.1.6). `eta` ≥ 0 is the distribution index: the
/// larger, the smaller the step. `u` ∈ [0, 1) decides; below one half the value shrinks.
pub fn polynomial(x: f64, eta: f64, u: f64) -> f64 {
    let power = 1.0 / (eta + 1.0);
    let moved = if u <= 0.5 {
        x + (2.0 * u + (1.0 - 2.0 * u) * (1.0 - x).powf(eta + 1.0)).powf(power) - 1.0
    } else {
        x + 1.0 - (2.0 * (1.0 - u) + 2.0 * (u - 0.5) * x.powf(eta + 1.0)).powf(power)
    };
    moved.clamp(0.0, 1.0)
}

/// Rates and indices of crossover and mutation.
#[derive(Clone, Debug)]
pub(super) struct Variation {
    /// Share of children that have two parents.
    pub(super) crossover_rate: f64,
    /// Distribution index of [`simulated_binary`].
    pub(super) crossover_eta: f64,
    /// Probability that a parameter takes the second parent's side.
    pub(super) swap_rate: f64,
    /// Probability that a parameter mutates; none means one per child on average.
    pub(super) mutation_rate: Option<f64>,
    /// Distribution index of [`polynomial`].
    pub(super) mutation_eta: f64,
}

impl Variation {
    pub(super) fn check(&self) -> Result<(), String> {
        let shares = [
            ("crossover_rate", Some(self.crossover_rate)),
            ("swap_rate", Some(self.swap_rate)),
            ("mutation_rate", self.mutation_rate),
        ];
        for (name, share) in shares {
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(format!("{name} is a share from 0 to 1, not {share}"));
            }
        }
        for (name, eta) in [("crossover_eta", self.crossover_eta), ("mutation_eta", self.mutation_eta)] {
            if !(eta >= 0.0 && eta.is_finite()) {
                return Err(format!("{name} must be 0 or more, not {eta}"));
            }
        }
        Ok(())
    }

    /// A child of `mother` and `father`. `vigour` multiplies the rate of mutation.
    pub(super) fn child(
        &self,
        space: &Space,
        mother: &Point,
        father: &Point,
        vigour: f64,
        rng: &mut Rng,
    ) -> Point {
        let crossing = rng.uniform() < self.crossover_rate;
        let rate = vigour * self.mutation_rate.unwrap_or_else(|| 1.0 / free_count(space, mother) as f64);
        space.complete(|k| {
            let inherited = match (mother.get(k), father.get(k)) {
                (Some(a), Some(b)) if crossing => self.crossed(space, k, (a, b), rng),
                (Some(a), _) => a,
                (None, Some(b)) => b,
                (None, None) => return space.draw_one(k, rng.uniform()),
            };
            if rng.uniform() < rate {
                mutated(space, k, inherited, self.mutation_eta, rng)
            } else {
                inherited
            }
        })
    }

    fn crossed(&self, space: &Space, k: usize, (a, b): (f64, f64), rng: &mut Rng) -> f64 {
        let distribution = &space.parameters()[k].distribution;
        let other_side = rng.uniform() < self.swap_rate;
        // Half of the parameters stay as a parent has them, as in the authors' code.
        if distribution.is_categorical() || rng.uniform() < 0.5 {
            return if other_side { b } else { a };
        }
        let (x, y) = (distribution.to_unit(a), distribution.to_unit(b));
        let (low, high) = simulated_binary(x, y, self.crossover_eta, rng.uniform());
        distribution.from_unit(if other_side == (x <= y) { high } else { low })
    }
}

/// How many parameters of a point can be another value, at least 1.
pub(super) fn free_count(space: &Space, point: &Point) -> usize {
    let free = |k: &usize| point.get(*k).is_some() && !space.parameters()[*k].distribution.is_fixed();
    (0..space.len()).filter(free).count().max(1)
}

/// Another value of parameter `k` near `coded`; another choice of any kind, half of the time one that the prior draws.
pub(super) fn mutated(space: &Space, k: usize, coded: f64, eta: f64, rng: &mut Rng) -> f64 {
    let parameter = &space.parameters()[k];
    let distribution = &parameter.distribution;
    if distribution.is_fixed() {
        return coded;
    }
    if distribution.is_categorical() {
        return another_choice(space, k, coded, rng);
    }
    let unit = distribution.to_unit(coded);
    let moved = polynomial(unit, eta, rng.uniform());
    let value = distribution.from_unit(moved);
    if value == coded && distribution.cells().is_some() {
        return neighbour(distribution, coded, moved > unit);
    }
    value
}

/// A choice other than `coded`: half of the time one that the prior draws, where there is a prior.
pub(super) fn another_choice(space: &Space, k: usize, coded: f64, rng: &mut Rng) -> f64 {
    let parameter = &space.parameters()[k];
    let cells = parameter.distribution.cells().unwrap_or(1);
    if parameter.prior.is_some() && rng.below(2) == 0 {
        let drawn = space.draw_one(k, rng.uniform());
        if drawn != coded {
            return drawn;
        }
    }
    if cells < 2 {
        return coded;
    }
    let own = parameter.distribution.cell_of(coded);
    let other = rng.below(cells - 1);
    parameter.distribution.cell(other + u64::from(other >= own))
}

/// The next value of a grid upwards or downwards; at an end, the other way.
pub(super) fn neighbour(distribution: &Distribution, coded: f64, upwards: bool) -> f64 {
    let (own, last) = (distribution.cell_of(coded), distribution.cells().unwrap_or(1) - 1);
    let up = if upwards { own < last } else { own == 0 };
    distribution.cell(if up { (own + 1).min(last) } else { own.saturating_sub(1) })
}

/// How much of the range of parameter `k` some points take up; of choices, whether they differ. Nothing of no points.
pub(super) fn spread(space: &Space, k: usize, points: &[&Point]) -> f64 {
    let distribution = &space.parameters()[k].distribution;
    let place = |x: f64| if distribution.is_categorical() { x } else { distribution.to_unit(x) };
    let places = || points.iter().filter_map(|point| point.get(k).map(place));
    let (low, high) = (places().fold(f64::INFINITY, f64::min), places().fold(f64::NEG_INFINITY, f64::max));
    (high - low).clamp(0.0, 1.0)
}

/// An index, drawn in proportion to its weight; there is at least one.
pub(super) fn by_weight(weights: &[f64], rng: &mut Rng) -> usize {
    let mut left = rng.uniform() * weights.iter().sum::<f64>();
    let hit = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    hit.unwrap_or(weights.len() - 1)
}

/// Tries until `make` gives an allowed point that none of `known` unit coordinates is; the last one tried where all fail.
/// `make` gets the number of the attempt, from 0.
pub(super) fn novel<'a>(
    space: &Space,
    known: impl Iterator<Item = &'a [f64]> + Clone,
    mut make: impl FnMut(u32) -> Point,
) -> Point {
    let mut point = make(0);
    for attempt in 1..ATTEMPTS {
        if space.allows(&point.0) {
            let unit = space.to_unit(&point);
            let same =
                |other: &[f64]| unit.iter().zip(other).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            if !known.clone().any(same) {
                break;
            }
        }
        point = make(attempt);
    }
    point
}

/// Children made for one proposal at most.
const ATTEMPTS: u32 = 16;

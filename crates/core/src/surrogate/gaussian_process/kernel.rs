//! How alike two points of a space are, before anything is learned: what each parameter contributes to their distance.
//!
//! Every parameter is embedded in a Euclidean space, so that the squared distance
//!
//! > r²(x, y) = Σ_f D_f(x, y) / ℓ_f²
//!
//! is Hilbertian whatever the space, and the Matérn-5/2 kernel of r (Rasmussen and Williams 2006, eq. 4.17), a mixture
//! of Gaussians over scales, is positive definite. There is one feature f, with one length, for
//!
//! * every number, grid and ordinal: D = (u − v)², the unit coordinates;
//! * every categorical: D = ½ if the choices differ, else 0: corners of a simplex with sides √½. Half of a unit lies
//!   between the mean squared distance of two uniform numbers, 1/6, and that of opposite ends;
//! * every condition: D = ½ if it holds at one of the points only. This sets points with and without the parameters
//!   that hang on it apart along a dimension of its own, by a distance that is learned, as the arc kernel does with the
//!   origin of its plane (Hutter and Osborne 2013, arXiv 1310.5738; Swersky et al. 2014, arXiv 1409.4011).
//!
//! An inactive number is imputed as ½, an inactive categorical as a choice apart (Lévesque et al. 2017; Horn et al.
//! 2019 find imputation level with arcs and wedges). So two points that both lack a parameter are at distance 0 in it,
//! and two that both have it at the usual distance.

use crate::space::{Condition, Distribution, Space};

/// √5.
const SQRT_5: f64 = 2.236_067_977_499_79;

/// What a coordinate becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    /// The unit coordinate of a parameter.
    Line(usize),
    /// The choice of a parameter with so many.
    Choice(usize, f64),
    /// Whether a parameter is active, for all that share its condition.
    Gate(usize),
}

/// Features of a space's points: what the kernel measures distances by.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    parameters: usize,
    features: Vec<Source>,
    /// The place of each feature among those that are numbers.
    lines: Vec<Option<usize>>,
}

/// A bend of the unit interval: w(u) = 1 − (1 − uᵃ)ᵇ, the distribution function of Kumaraswamy (1980), as in Snoek et al.
/// (2014, arXiv 1402.0929). Losses that change faster at one end become alike everywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    /// Below 1, it stretches the lower end.
    pub a: f64,
    /// Below 1, it stretches the upper end.
    pub b: f64,
}

/// Coordinates are kept so far from 0 and 1, where slopes may be infinite.
const RIM: f64 = 1e-5;

impl Warp {
    /// Where a coordinate goes.
    pub fn of(self, u: f64) -> f64 {
        1.0 - (1.0 - inside(u).powf(self.a)).powf(self.b)
    }

    /// How fast it goes there.
    pub fn slope(self, u: f64) -> f64 {
        let u = inside(u);
        let left = 1.0 - u.powf(self.a);
        (1.0 - 2.0 * RIM) * self.a * self.b * u.powf(self.a - 1.0) * left.powf(self.b - 1.0)
    }

    /// By ln a and by ln b.
    pub(super) fn by_exponents(self, u: f64) -> (f64, f64) {
        let u = inside(u);
        let power = u.powf(self.a);
        let left = 1.0 - power;
        let by_a = self.a * self.b * left.powf(self.b - 1.0) * power * u.ln();
        (by_a, -self.b * left.powf(self.b) * left.ln())
    }
}

fn inside(u: f64) -> f64 {
    RIM + (1.0 - 2.0 * RIM) * u
}

impl Kernel {
    /// The features of a space's points, parameters in declared order, then its conditions. Parameters with a single
    /// value have none.
    pub fn of(space: &Space) -> Self {
        let mut features = Vec::new();
        let mut gates: Vec<(Option<&Condition>, bool, usize)> = Vec::new();
        for (k, parameter) in space.parameters().iter().enumerate() {
            match (&parameter.distribution, parameter.distribution.cells()) {
                (_, Some(1)) => {}
                (Distribution::Categorical { choices }, _) => {
                    features.push(Source::Choice(k, choices.len() as f64));
                }
                (Distribution::Float { .. } | Distribution::Int { .. } | Distribution::Ordinal { .. }, _) => {
                    features.push(Source::Line(k));
                }
            }
            let (when, retired) = (parameter.when.as_ref(), parameter.retired);
            let known = gates.iter().any(|gate| (gate.0, gate.1) == (when, retired));
            if (when.is_some() || retired) && !known {
                gates.push((when, retired, k));
            }
        }
        features.extend(gates.iter().map(|gate| Source::Gate(gate.2)));
        let mut numbers = 0..;
        let rank = |source: &Source| if let Source::Line(_) = source { numbers.next() } else { None };
        let lines = features.iter().map(rank).collect();
        Self { parameters: space.len(), features, lines }
    }

    /// How many features there are, each with a length.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether all points are the same to it.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// How many unit coordinates a point has.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The feature of parameter `index`, if it has one.
    pub fn feature_of(&self, index: usize) -> Option<usize> {
        self.features.iter().position(|source| match source {
            Source::Line(k) | Source::Choice(k, _) => *k == index,
            Source::Gate(_) => false,
        })
    }

    /// The correlation of the noise-free losses at two points, given the length of each feature.
    pub fn correlation(&self, lengths: &[f64], a: &[f64], b: &[f64]) -> f64 {
        let mut square = [0.0];
        for (f, length) in lengths.iter().enumerate() {
            self.add_squares(f, length.powi(-2), self.embed(f, a), &[self.embed(f, b)], &mut square);
        }
        matern(square[0])
    }

    /// The parameter whose unit coordinate feature `f` is, if it is one that moves evenly.
    pub(super) fn line(&self, f: usize) -> Option<usize> {
        match self.features[f] {
            Source::Line(k) => Some(k),
            Source::Choice(..) | Source::Gate(_) => None,
        }
    }

    /// The place of feature `f` among those that move evenly, if it is one: that of its warp.
    pub(super) fn rank_of_line(&self, f: usize) -> Option<usize> {
        self.lines[f]
    }

    /// The number that feature `f` has at a point.
    pub(super) fn embed(&self, f: usize, unit: &[f64]) -> f64 {
        match self.features[f] {
            Source::Line(k) if unit[k].is_nan() => 0.5,
            Source::Line(k) => unit[k],
            Source::Choice(k, _) if unit[k].is_nan() => -1.0,
            Source::Choice(k, choices) => (unit[k] * choices).floor().clamp(0.0, choices - 1.0),
            Source::Gate(k) => f64::from(u8::from(unit[k].is_nan())),
        }
    }

    /// How many of a point's features can differ from another's: its active parameters with more than one value.
    pub(super) fn active(&self, unit: &[f64]) -> usize {
        let active = |source: &&Source| match source {
            Source::Line(k) | Source::Choice(k, _) => !unit[*k].is_nan(),
            Source::Gate(_) => false,
        };
        self.features.iter().filter(active).count()
    }

    /// Adds feature `f`'s part of the squared distances between a point, which has `x` there, and others, which have
    /// `column`. `weight` is 1 / ℓ².
    pub(super) fn add_squares(&self, f: usize, weight: f64, x: f64, column: &[f64], squares: &mut [f64]) {
        match self.features[f] {
            Source::Line(_) => {
                for (square, y) in squares.iter_mut().zip(column) {
                    *square += weight * (y - x) * (y - x);
                }
            }
            Source::Choice(..) | Source::Gate(_) => {
                for (square, y) in squares.iter_mut().zip(column) {
                    *square += if *y == x { 0.0 } else { 0.5 * weight };
                }
            }
        }
    }

    /// Σ weightsᵢ D(x, columnᵢ) with feature `f`'s D, in an order fixed for vectors of eight.
    pub(super) fn weigh_squares(&self, f: usize, x: f64, column: &[f64], weights: &[f64]) -> f64 {
        match self.features[f] {
            Source::Line(_) => lanes(column, weights, |y, g| g * (y - x) * (y - x)),
            Source::Choice(..) | Source::Gate(_) => {
                lanes(column, weights, |y, g| if y == x { 0.0 } else { 0.5 * g })
            }
        }
    }
}

/// Σ term(aᵢ, bᵢ) in eight partial sums, so that it is computed in vectors and yet always in the same order.
pub(super) fn lanes(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let (heads, tails) = (a.chunks_exact(8).zip(b.chunks_exact(8)), a.len() / 8 * 8);
    let mut sums = [0.0; 8];
    for (a, b) in heads {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(*a, *b);
        }
    }
    let rest: f64 = a[tails..].iter().zip(&b[tails..]).map(|(a, b)| term(*a, *b)).sum();
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}

/// The Matérn-5/2 correlation at squared distance r²: (1 + √5 r + 5/3 r²) e^(−√5 r).
pub(super) fn matern(square: f64) -> f64 {
    let t = SQRT_5 * square.sqrt();
    (1.0 + t + t * t / 3.0) * (-t).exp()
}

/// The same, and its derivative by r², −5/6 (1 + √5 r) e^(−√5 r).
pub(super) fn matern_with_slope(square: f64) -> (f64, f64) {
    let t = SQRT_5 * square.sqrt();
    let decay = (-t).exp();
    ((1.0 + t + t * t / 3.0) * decay, -5.0 / 6.0 * (1.0 + t) * decay)
}

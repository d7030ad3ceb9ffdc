//! How much smaller the largest of several quantities is expected to become: of how much each constraint is broken, or of
//! how far each objective is from its ideal.
//!
//! With independent beliefs about quantities Yₖ, each counted in units sₖ from aₖ on, the largest is
//! M = maxₖ max(0, (Yₖ − aₖ) / sₖ), and
//!
//! > E (m − M)⁺ = ∫₀ᵐ P(M ≤ t) dt = ∫₀ᵐ Πₖ Φ((aₖ + sₖ t − μₖ) / σₖ) dt
//!
//! exactly. The integral is a sum over nodes of Gauss and Legendre in the cube root of m − t, so close together near m that
//! it keeps its accuracy where hardly anything is to be gained; it is kept as a logarithm. For one quantity it is the
//! expected improvement on m that counts nothing below 0.

use super::probability::LogImprovementProbability;
use super::{Acquisition, LogSum, Partials, Worth, beliefs, chained, log_sum};
use crate::surrogate::{Belief, Surrogate};

/// One of the quantities.
#[derive(Clone, Copy)]
pub struct Quantity<'a> {
    /// What is believed of it.
    pub surrogate: &'a dyn Surrogate,
    /// From where on it counts, in the surrogate's units.
    pub zero: f64,
    /// How much of the surrogate's units counts as 1; above 0.
    pub unit: f64,
}

/// ln of the expected reduction of the largest quantity.
pub struct LogLargestReduction<'a> {
    quantities: Vec<Quantity<'a>>,
    /// Places in the integral and the logarithms of their weights.
    nodes: Vec<(f64, f64)>,
}

/// Positive nodes of Gauss and Legendre with 16 points on [−1, 1], and their weights.
const GAUSS: [(f64, f64); 8] = [
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_6),
    (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
    (0.617_876_244_402_643_7, 0.149_595_988_816_576_73),
    (0.755_404_408_355_003, 0.124_628_971_255_533_87),
    (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_89),
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_095),
];

impl<'a> LogLargestReduction<'a> {
    /// From the quantities, and what the largest of them is at best so far, above 0.
    pub fn new(quantities: Vec<Quantity<'a>>, most: f64) -> Self {
        // t = m (1 − u³), dt = −3 m u² du.
        let node = |x: f64, weight: f64| {
            let u = 0.5 * (1.0 + x);
            (most * (1.0 - u * u * u), (1.5 * weight * most * u * u).ln())
        };
        let nodes = GAUSS.iter().flat_map(|(x, weight)| [node(-x, *weight), node(*x, *weight)]).collect();
        Self { quantities, nodes }
    }

    fn surrogates(&self) -> Vec<&'a dyn Surrogate> {
        self.quantities.iter().map(|quantity| quantity.surrogate).collect()
    }

    /// The value for one belief per quantity.
    pub fn worth(&self, beliefs: &[Belief]) -> f64 {
        let pairs = || self.quantities.iter().zip(beliefs);
        let logs = self.nodes.iter().map(|(t, weight)| {
            let within = |(quantity, belief): (&Quantity, &Belief)| {
                LogImprovementProbability { target: quantity.zero + quantity.unit * t }.worth(*belief)
            };
            weight + pairs().map(within).sum::<f64>()
        });
        log_sum(&logs.collect::<Vec<f64>>())
    }

    /// The value for one belief per quantity, and its change by their means and deviations.
    pub fn partials(&self, beliefs: &[Belief]) -> (f64, Vec<Partials>) {
        let mut total = LogSum::new(beliefs.len());
        for (t, weight) in &self.nodes {
            let within = |(quantity, belief): (&Quantity, &Belief)| {
                LogImprovementProbability { target: quantity.zero + quantity.unit * t }.partials(*belief)
            };
            let parts: Vec<Partials> = self.quantities.iter().zip(beliefs).map(within).collect();
            total.add(weight + parts.iter().map(|part| part.value).sum::<f64>(), &parts);
        }
        total.total()
    }
}

impl Acquisition for LogLargestReduction<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        let beliefs: Vec<Belief> = self.surrogates().iter().map(|model| model.belief(unit)).collect();
        self.worth(&beliefs)
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        beliefs(&self.surrogates(), units).iter().map(|row| self.worth(row)).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        chained(&self.surrogates(), unit, |beliefs| self.partials(beliefs))
    }
}

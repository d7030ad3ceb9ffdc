//! The strategy's constants, which follow from the number of coordinates and of ranked points alone.

/// Weights and learning rates for one ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Constants {
    /// Weights by rank, best first. The positive ones sum to 1; the others are negative or 0.
    pub weights: Vec<f64>,
    /// How many have a positive weight: μ.
    pub parents: usize,
    /// Variance-effective selection mass: `μ_eff`.
    pub mu_eff: f64,
    /// Learning rate of the rank-one update: `c₁`.
    pub rank_one: f64,
    /// Learning rate of the rank-μ update: `c_μ`.
    pub rank_mu: f64,
    /// Learning rate of the step-size path: `c_σ`.
    pub step_path: f64,
    /// Damping of the step size: `d_σ`.
    pub damping: f64,
    /// Learning rate of the covariance path: `c_c`.
    pub path: f64,
    /// E‖N(0, I)‖: `χ_n`.
    pub expected_norm: f64,
}

/// The number of points ranked together: 4 + ⌊3 ln n⌋ (Hansen 2016, eq. 48), for `coordinates` ≥ 1.
pub fn population(coordinates: usize) -> usize {
    4 + (3.0 * (coordinates.max(1) as f64).ln()).floor() as usize
}

impl Constants {
    /// For a full covariance matrix: Hansen 2016 (arXiv:1604.00772), eqs. 49–58, with negative weights.
    ///
    /// `coordinates` may be 0, where only choices are learnt; `ranked` is at least 2.
    pub fn full(coordinates: usize, ranked: usize) -> Self {
        let n = coordinates as f64;
        let parents = ranked / 2;
        let raw: Vec<f64> =
            (0..ranked).map(|k| f64::midpoint(ranked as f64, 1.0).ln() - (k as f64 + 1.0).ln()).collect();
        let mu_eff = effective(&raw[..parents]);
        let mu_eff_minus = effective(&raw[parents..]);
        let rank_one = 2.0 / ((n + 1.3).powi(2) + mu_eff);
        let rank_mu =
            (1.0 - rank_one - 1e-8).min(2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((n + 2.0).powi(2) + mu_eff));
        let limit = if coordinates == 0 {
            0.0
        } else {
            (1.0 + rank_one / rank_mu)
                .min(1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0))
                .min((1.0 - rank_one - rank_mu) / (n * rank_mu))
        };
        let positive: f64 = raw.iter().filter(|w| **w > 0.0).sum();
        let negative: f64 = raw.iter().filter(|w| **w < 0.0).map(|w| -w).sum();
        let weight = |w: f64| if w >= 0.0 { w / positive } else { limit * w / negative };
        Self {
            weights: raw.into_iter().map(weight).collect(),
            parents,
            mu_eff,
            rank_one,
            rank_mu,
            path: (4.0 + mu_eff / n.max(1.0)) / (n + 4.0 + 2.0 * mu_eff / n.max(1.0)),
            ..Self::shared(n, mu_eff, (mu_eff + 2.0) / (n + mu_eff + 5.0))
        }
    }

    /// For a diagonal matrix: Ros and Hansen 2008, "A Simple Modification in CMA-ES Achieving Linear Time and Space
    /// Complexity". There are no negative weights.
    pub fn separable(coordinates: usize, ranked: usize) -> Self {
        let n = coordinates as f64;
        let parents = ranked / 2;
        let raw: Vec<f64> =
            (0..parents).map(|k| (parents as f64 + 1.0).ln() - (k as f64 + 1.0).ln()).collect();
        let mu_eff = effective(&raw);
        let sum: f64 = raw.iter().sum();
        let mut weights: Vec<f64> = raw.iter().map(|w| w / sum).collect();
        weights.resize(ranked, 0.0);
        let root = std::f64::consts::SQRT_2;
        let full = 2.0 / mu_eff / (n + root).powi(2)
            + (1.0 - 1.0 / mu_eff) * ((2.0 * mu_eff - 1.0) / ((n + 2.0).powi(2) + mu_eff)).min(1.0);
        let rank_one = 2.0 / ((n + 1.3).powi(2) + mu_eff);
        Self {
            weights,
            parents,
            mu_eff,
            rank_one,
            rank_mu: ((n + 2.0) / 3.0 * full).min(1.0 - rank_one),
            path: 4.0 / (n + 4.0),
            ..Self::shared(n, mu_eff, (mu_eff + 2.0) / (n + mu_eff + 3.0))
        }
    }

    /// What both forms have in common.
    fn shared(n: f64, mu_eff: f64, step_path: f64) -> Self {
        let damping = 1.0 + 2.0 * (((mu_eff - 1.0) / (n + 1.0)).max(0.0).sqrt() - 1.0).max(0.0) + step_path;
        let expected_norm =
            if n > 0.0 { n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)) } else { 1.0 };
        Self {
            weights: Vec::new(),
            parents: 0,
            mu_eff,
            rank_one: 0.0,
            rank_mu: 0.0,
            step_path,
            damping,
            path: 0.0,
            expected_norm,
        }
    }
}

fn effective(weights: &[f64]) -> f64 {
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    weights.iter().sum::<f64>().powi(2) / squares
}

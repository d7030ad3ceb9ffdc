//! What the replicates of completed trials have in common: which folds are hard, and how much noise is left when that is known.
//!
//! The model is additive: a replicate's loss is that of its trial plus that of its fold (or seed) plus noise. Everything here
//! is updated once per completed trial, so what a trial is told when it finishes depends on nothing later.

use crate::trial::Estimate;

/// Degrees of freedom that all trials together lend to one trial's own variance, at most: a bad trial may well be noisier.
const LENT: f64 = 8.0;

/// The fold of all completed trials, by objective.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects(Vec<Objective>);

#[derive(Clone, Debug, Default)]
struct Objective {
    /// Completed trials.
    trials: f64,
    /// The mean loss of each replicate.
    means: Vec<f64>,
    /// Sum of squared deviations from trial plus replicate (two-way analysis of variance), and its degrees of freedom.
    squares: f64,
    freedom: f64,
}

impl Effects {
    /// Takes in a completed trial's losses in objective `k`, one per replicate, and says what they mean.
    pub(super) fn take(&mut self, k: usize, losses: &[f64]) -> Estimate {
        if self.0.len() <= k {
            self.0.resize_with(k + 1, Objective::default);
        }
        self.0[k].take(losses)
    }

    /// What the losses of some replicates mean; none without a loss.
    pub(super) fn partial(&self, k: usize, losses: &[(u16, f64)]) -> Option<Estimate> {
        let unknown = Objective::default();
        let objective = self.0.get(k).unwrap_or(&unknown);
        (!losses.is_empty()).then(|| objective.partial(losses))
    }

    /// The variance of the noise of one replicate, with its degrees of freedom.
    pub(super) fn residual_variance(&self, k: usize) -> Option<(f64, f64)> {
        let objective = self.0.get(k).filter(|objective| objective.freedom > 0.0)?;
        Some((objective.squares / objective.freedom, objective.freedom))
    }
}

impl Objective {
    fn take(&mut self, losses: &[f64]) -> Estimate {
        let plain = Estimate::plain(losses);
        let n = losses.len() as f64;
        if self.trials < 1.0 {
            self.means = losses.to_vec();
            self.trials = 1.0;
            return plain;
        }
        let off: Vec<f64> = losses.iter().zip(&self.means).map(|(loss, mean)| loss - mean).collect();
        let common = off.iter().sum::<f64>() / n;
        // The means of `trials` trials are noisy themselves.
        let share = self.trials / (self.trials + 1.0);
        let own = share * off.iter().map(|off| (off - common).powi(2)).sum::<f64>();
        let variance = self.moderated(own, n - 1.0);
        self.squares += own;
        self.freedom += n - 1.0;
        self.trials += 1.0;
        for (mean, off) in self.means.iter_mut().zip(&off) {
            *mean += off / self.trials;
        }
        Estimate { error: (variance / n).sqrt(), ..plain }
    }

    fn partial(&self, losses: &[(u16, f64)]) -> Estimate {
        let known = |(replicate, _): &(u16, f64)| usize::from(*replicate) < self.means.len();
        if self.trials < 1.0 || !losses.iter().all(known) {
            return Estimate::plain(&losses.iter().map(|(_, loss)| *loss).collect::<Vec<_>>());
        }
        let n = losses.len() as f64;
        let off: Vec<f64> = losses.iter().map(|(r, loss)| loss - self.means[usize::from(*r)]).collect();
        let common = off.iter().sum::<f64>() / n;
        let share = self.trials / (self.trials + 1.0);
        let own = share * off.iter().map(|off| (off - common).powi(2)).sum::<f64>();
        let mean = common + self.means.iter().sum::<f64>() / self.means.len() as f64;
        let error = (self.moderated(own, n - 1.0) / n).sqrt();
        Estimate { mean, error, replicates: losses.len() as u16 }
    }

    /// A trial's own variance, drawn towards that of all (Smyth 2004, equation 6, with a fixed prior strength).
    fn moderated(&self, own: f64, freedom: f64) -> f64 {
        let lent = self.freedom.min(LENT);
        let prior = if self.freedom > 0.0 { lent * self.squares / self.freedom } else { 0.0 };
        (prior + own) / (lent + freedom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise in -1 … 1, always the same.
    fn noise(seed: u64) -> f64 {
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        for _ in 0..3 {
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        }
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    #[test]
    fn hard_folds_are_no_doubt_about_a_trial() {
        let folds = [0.0, 5.0, 1.0, 9.0, 2.0];
        let mut effects = Effects::default();
        let mut last = Estimate::plain(&[0.0]);
        for trial in 0..400 {
            let level = 10.0 * noise(trial);
            let losses: Vec<f64> =
                (0..5).map(|r| level + folds[r] + 0.1 * noise(1000 + 5 * trial + r as u64)).collect();
            last = effects.take(0, &losses);
        }
        // The variance of an even number in -0.1 … 0.1.
        let expected = 0.1_f64.powi(2) / 3.0;
        let (variance, freedom) = effects.residual_variance(0).unwrap();
        assert_eq!(freedom, 399.0 * 4.0);
        assert!((variance / expected - 1.0).abs() < 0.1, "{variance} {expected}");
        assert!(last.error < 2.0 * (expected / 5.0).sqrt(), "{}", last.error);
        let partial = effects.partial(0, &[(3, 9.5), (1, 5.5)]).unwrap();
        assert!((partial.mean - (0.5 + 17.0 / 5.0)).abs() < 0.05, "{}", partial.mean);
        assert!(partial.error < 0.2);
        assert_eq!(partial.replicates, 2);
    }

    #[test]
    fn the_squares_are_those_of_a_two_way_analysis() {
        let rows = [[1.0, 2.5, 3.0], [2.0, 2.0, 5.0], [0.5, 4.0, 3.5], [9.0, 9.5, 12.0]];
        let mut effects = Effects::default();
        for row in rows {
            effects.take(0, &row);
        }
        let grand = rows.iter().flatten().sum::<f64>() / 12.0;
        let column = |r: usize| rows.iter().map(|row| row[r]).sum::<f64>() / 4.0;
        let squares: f64 = rows
            .iter()
            .flat_map(|row| {
                let own = row.iter().sum::<f64>() / 3.0;
                (0..3).map(move |r| (row[r] - own - column(r) + grand).powi(2))
            })
            .sum();
        let (variance, freedom) = effects.residual_variance(0).unwrap();
        assert_eq!(freedom, 6.0);
        assert!((variance - squares / 6.0).abs() < 1e-12);
    }
}

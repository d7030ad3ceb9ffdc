//! Learning-rate schedules: pure functions of how many epochs have passed.

use crate::naming::named_choices;

named_choices! {
    /// How the learning rate falls during training. It changes at every step, with the fraction of the epoch done.
    Schedule {
        /// It does not.
        Constant = "constant",
        /// Multiplied by `decay_rate` in every epoch.
        Exponential = "exponential",
        /// Half a cosine from the full rate at the start to zero after `epochs` epochs (Loshchilov and Hutter 2017,
        /// without restarts); zero from there on.
        Cosine = "cosine",
    }
}

impl Schedule {
    /// The factor on the learning rate after `passed` epochs (fractions count) of a run planned for `planned`.
    pub fn factor(self, passed: f64, planned: f64, decay_rate: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => libm::pow(decay_rate, passed),
            Self::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * (passed / planned).min(1.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_their_formulas() {
        assert_eq!(Schedule::Constant.factor(7.0, 10.0, 0.5), 1.0);
        assert_eq!(Schedule::Exponential.factor(2.0, 10.0, 0.5), 0.25);
        assert_eq!(Schedule::Cosine.factor(0.0, 10.0, 0.5), 1.0);
        assert!((Schedule::Cosine.factor(5.0, 10.0, 0.5) - 0.5).abs() < 1e-15);
        assert!(Schedule::Cosine.factor(10.0, 10.0, 0.5).abs() < 1e-15);
        assert!(Schedule::Cosine.factor(12.0, 10.0, 0.5).abs() < 1e-15);
    }
}

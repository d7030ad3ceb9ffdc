//! Learning-rate schedules: pure functions of how many epochs have passed, and one that watches the loss. They give
//! factors on the initial learning rate; nothing here knows that rate. The momentum is never scheduled: one-cycle
//! cycles the learning rate alone.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::naming::named_choices;

named_choices! {
    /// How the learning rate changes during training. It changes at every step, with the fraction of the epoch done.
    /// In the formulas t is the number of epochs passed (fractions count), T the number planned, both less
    /// `warmup_epochs`; the other names are fields of [`LearningRate`].
    Schedule {
        /// 1.
        Constant = "constant",
        /// Stairs: `decay_rate`^⌊t / `decay_epochs`⌋.
        Step = "step",
        /// `decay_rate`^(t / `decay_epochs`).
        Exponential = "exponential",
        /// 1 / (1 + `decay_rate` · t / `decay_epochs`).
        InverseTime = "inverse_time",
        /// From 1 to e = `end_factor` over the run: (1 − e) (1 − t/T)^`power` + e.
        Polynomial = "polynomial",
        /// Half a cosine from 1 to e = `end_factor` over the run (Loshchilov and Hutter 2017, without restarts):
        /// e + (1 − e) ½ (1 + cos(π t/T)).
        Cosine = "cosine",
        /// Such half cosines one after the other (SGDR): the first takes `restart_epochs`, each other
        /// `restart_factor` times as long as the one before. A restart is at full rate.
        CosineRestarts = "cosine_restarts",
        /// Half a cosine up from `start_factor` to 1 over the fraction `peak` of the run, then one down to
        /// `end_factor` (Smith and Topin 2018, with `PyTorch`'s cosines).
        OneCycle = "one_cycle",
        /// Multiplied by a factor when the loss no longer falls; see [`Plateau`].
        ReduceOnPlateau = "reduce_on_plateau",
    }
}

impl Schedule {
    /// The factor on the learning rate after `passed` epochs (fractions count) of a run planned for `planned`, with
    /// the other numbers of the plan at their defaults.
    pub fn factor(self, passed: f64, planned: f64, decay_rate: f64) -> f64 {
        LearningRate { schedule: self, decay_rate, ..LearningRate::default() }.factor(passed, planned)
    }
}

/// A plan for the learning rate: a schedule, its numbers, and a warm-up before it.
///
/// ```
/// use luthier_nn::{LearningRate, Schedule};
///
/// let plan = LearningRate { schedule: Schedule::Cosine, warmup_epochs: 2.0, ..LearningRate::default() };
/// let factors = [0.0, 1.0, 2.0, 6.0, 10.0].map(|passed| plan.factor(passed, 10.0));
/// assert_eq!(factors, [0.0, 0.5, 1.0, 0.5, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearningRate {
    /// Its course after the warm-up; default constant.
    pub schedule: Schedule,
    /// The factor of step and exponential, (0, 1], or the k of inverse time, at least 0; default 0.95.
    pub decay_rate: f64,
    /// Epochs in which `decay_rate` acts once, above 0; default 1.
    pub decay_epochs: f64,
    /// Exponent of polynomial, above 0; default 1, a straight line.
    pub power: f64,
    /// Where polynomial, the cosines and one-cycle end, as a fraction of the full rate, [0, 1]; default 0.
    /// `PyTorch`'s one-cycle ends at 4e-6.
    pub end_factor: f64,
    /// Epochs of the first period of `cosine_restarts`, above 0; default 10.
    pub restart_epochs: f64,
    /// Each period's length relative to the one before, at least 1; default 2 (as Keras; `PyTorch` has 1).
    pub restart_factor: f64,
    /// Epochs in which the rate first rises in a straight line from 0 to where the schedule begins; default 0. In
    /// these epochs the schedule stands still, and it has as many fewer to run in.
    pub warmup_epochs: f64,
    /// Where one-cycle begins, as a fraction of the full rate, [0, 1]; default 0.04.
    pub start_factor: f64,
    /// The fraction of the run at which one-cycle is at the full rate, [0, 1]; default 0.3.
    pub peak: f64,
    /// What `reduce_on_plateau` waits for.
    pub plateau: PlateauSettings,
}

impl Default for LearningRate {
    fn default() -> Self {
        Self {
            schedule: Schedule::Constant,
            decay_rate: 0.95,
            decay_epochs: 1.0,
            power: 1.0,
            end_factor: 0.0,
            restart_epochs: 10.0,
            restart_factor: 2.0,
            warmup_epochs: 0.0,
            start_factor: 0.04,
            peak: 0.3,
            plateau: PlateauSettings::default(),
        }
    }
}

impl LearningRate {
    /// The factor on the learning rate after `passed` epochs (fractions count) of a run planned for `planned`;
    /// beyond its end, schedules that end stay where they end. For `reduce_on_plateau` this is the warm-up alone, to
    /// be multiplied by [`Plateau::factor`].
    pub fn factor(&self, passed: f64, planned: f64) -> f64 {
        let (t, end) = (passed - self.warmup_epochs, planned - self.warmup_epochs);
        if t < 0.0 {
            return passed / self.warmup_epochs * self.scheduled(0.0, end);
        }
        self.scheduled(t, end)
    }

    /// What watches the loss, if the schedule is `reduce_on_plateau`: at the beginning of its run.
    pub fn watch(&self) -> Option<Plateau> {
        (self.schedule == Schedule::ReduceOnPlateau).then(|| Plateau::new(self.plateau))
    }

    fn scheduled(&self, t: f64, end: f64) -> f64 {
        let done = if t < end { t / end } else { 1.0 };
        match self.schedule {
            Schedule::Constant | Schedule::ReduceOnPlateau => 1.0,
            Schedule::Step => libm::pow(self.decay_rate, (t / self.decay_epochs).floor()),
            Schedule::Exponential => libm::pow(self.decay_rate, t / self.decay_epochs),
            Schedule::InverseTime => 1.0 / (1.0 + self.decay_rate * t / self.decay_epochs),
            Schedule::Polynomial => between(1.0, self.end_factor, libm::pow(1.0 - done, self.power)),
            Schedule::Cosine => between(1.0, self.end_factor, falling(done)),
            Schedule::CosineRestarts => between(1.0, self.end_factor, falling(self.done_of_period(t))),
            Schedule::OneCycle => self.one_cycle(done),
        }
    }

    fn one_cycle(&self, done: f64) -> f64 {
        if done < self.peak {
            between(1.0, self.start_factor, 1.0 - falling(done / self.peak))
        } else if self.peak < 1.0 {
            between(1.0, self.end_factor, falling((done - self.peak) / (1.0 - self.peak)))
        } else {
            1.0
        }
    }

    /// How much of the present period of `cosine_restarts` is done, [0, 1).
    fn done_of_period(&self, t: f64) -> f64 {
        let (first, growth) = (self.restart_epochs, self.restart_factor - 1.0);
        if growth <= 0.0 {
            return (t / first).fract();
        }
        // Period n begins when first · (growthⁿ − 1) / (growth − 1) epochs have passed.
        let start = |n: f64| first * (libm::pow(1.0 + growth, n) - 1.0) / growth;
        let mut n = (libm::log1p(t / first * growth) / libm::log1p(growth)).floor();
        // Rounding may have put it one too low or too high.
        if start(n + 1.0) <= t {
            n += 1.0;
        } else if start(n) > t {
            n -= 1.0;
        }
        ((t - start(n)) / (start(n + 1.0) - start(n))).clamp(0.0, 1.0)
    }
}

/// `share` of the way from `low` to `high`.
fn between(high: f64, low: f64, share: f64) -> f64 {
    (high - low) * share + low
}

/// Half a cosine from 1 at 0 to 0 at 1.
fn falling(done: f64) -> f64 {
    0.5 * (1.0 + libm::cos(PI * done))
}

/// When to lower the learning rate because the loss no longer falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauSettings {
    /// So many epochs in a row without a better loss lower the rate, at least 1; default 5. Counted as Keras and as
    /// early stopping do; `PyTorch` waits for one more.
    pub patience: usize,
    /// What the rate is multiplied by, (0, 1); default 0.5 (Keras and `PyTorch` have 0.1).
    pub factor: f64,
    /// A loss is better if it is below the best by more than this fraction of the best's magnitude, at least 0;
    /// default 1e-4 (as `PyTorch`; in Keras the difference is absolute).
    pub threshold: f64,
    /// Epochs after a cut in which nothing is counted; default 0.
    pub cooldown: usize,
    /// The factor never goes below this, [0, 1]; default 0.
    pub min_factor: f64,
}

impl Default for PlateauSettings {
    fn default() -> Self {
        Self { patience: 5, factor: 0.5, threshold: 1e-4, cooldown: 0, min_factor: 0.0 }
    }
}

/// Lowers the learning rate when the loss no longer falls. Its state can be saved and read back; a run that
/// continues from there takes the same course.
///
/// ```
/// use luthier_nn::{Plateau, PlateauSettings};
///
/// let mut plateau = Plateau::new(PlateauSettings { patience: 2, factor: 0.5, ..PlateauSettings::default() });
/// let factors = [1.0, 0.9, 0.95, 0.9, 0.8].map(|loss| plateau.observe(loss));
/// assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    settings: PlateauSettings,
    factor: f64,
    /// None before the first finite loss.
    best: Option<f64>,
    waited: usize,
    resting: usize,
}

impl Plateau {
    /// At the full rate, before the first loss.
    pub fn new(settings: PlateauSettings) -> Self {
        Self { settings, factor: 1.0, best: None, waited: 0, resting: 0 }
    }

    /// Takes the loss of an epoch (smaller is better) and returns the factor from now on. A loss that is not finite
    /// is no better than any other.
    pub fn observe(&mut self, loss: f64) -> f64 {
        if self.is_better(loss) {
            self.best = Some(loss);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        if self.resting > 0 {
            self.resting -= 1;
            self.waited = 0;
        }
        if self.waited >= self.settings.patience.max(1) {
            self.factor = (self.factor * self.settings.factor).max(self.settings.min_factor);
            self.resting = self.settings.cooldown;
            self.waited = 0;
        }
        self.factor
    }

    /// The factor on the learning rate now.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    fn is_better(&self, loss: f64) -> bool {
        loss.is_finite() && self.best.is_none_or(|best| loss < best - self.settings.threshold * best.abs())
    }
}

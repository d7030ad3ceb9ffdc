//! When to stop: the chance that more trials gain more, how much there is left to gain, and whether a study has converged by its rule.
//!
//! All of it follows from the course of the best loss alone, whoever proposes the trials: no surrogate is fitted and nothing is drawn, so that
//! advice costs the same after ten trials and after a hundred thousand. The chance is that of a renewal process in the logarithm of time. For
//! independent draws the n-th trial is a new best with chance 1/n, so that new bests come evenly in ln n and one of the next k trials is one with
//! chance 1 − exp(−ln(1 + k/n)) (Rényi 1962). Gains of more than ε under any sampler are such a process with another rate,
//!
//! > chance = 1 − exp(−Λ),
//! > ln Λ = a + b ln ln(1 + k/n) + c ln(G + ½) + d ln(1 + g/ε) + e ln(ε/S) + f ln n
//!
//! where G counts the gains of more than ε in the latter half of the trials, g is how much that half gained, and S is the progress: by how much the
//! best is better than the median of the first values.
//!
//! A trial counts, once, when it first stops: at its first pause, or at its end if it never paused. Waiting for it to be promoted would leave most
//! trials of a scheduler that pauses them out, and its chance to gain is what a start has. Only a completed trial has a loss that may be
//! the best; it gains at the moment when it completes, however long ago it was counted. Where fewer than five have completed, the
//! first values are what the first trials have reached so far, and as long as those are better than the best nothing is told. The coefficients were fitted on recorded runs of many samplers and measured on tasks held
//! back: `benchmarks/convergence`, whose tables are in `docs/benchmarks.md`.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::event::Origin;
use crate::figures::{about, about_percent};
use crate::metric::median;
use crate::observation::reached;
use crate::pareto::{dominates, hypervolume};
use crate::sobol::digits;
use crate::spec::Convergence;
use crate::study::{Stop, Study};

/// How much longer a study goes on of which [`Advice::regret`] is told: ten times its trials in all.
pub const HORIZON: u64 = 9;
/// The chance that a study gains more, and what is left to gain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Trials that have stopped so far, for now or for good: paused, failed and pruned ones included. One that a scheduler started in the place
    /// of another is none of its own.
    pub stopped: u64,
    /// How many more trials `chance` is about.
    pub trials: u64,
    /// What counts as a gain: more than this, in units of the metric; of several objectives, of their hypervolume in units of the box
    /// between the best and the worst of the first values.
    pub epsilon: f64,
    /// The standard error of the best trial, where that is what `epsilon` is: gains below the noise are none.
    pub noise: Option<f64>,
    /// By how much the best is better than the median of the first values.
    pub progress: f64,
    /// The chance that the best gains more than `epsilon` in `trials` more, in [0, 1].
    pub chance: f64,
    /// What is to be expected to be gained if the study went on to ten times its trials.
    pub regret: f64,
    /// Trials since the best was worse than now by more than `epsilon`.
    pub stalled: u64,
}

/// Why a study has converged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More trials have too small a chance.
    Unlikely(Advice),
    /// For too many trials there has been no gain.
    Plateau(Advice),
}

impl Verdict {
    /// The figures that it rests on.
    pub fn advice(&self) -> &Advice {
        match self {
            Self::Unlikely(advice) | Self::Plateau(advice) => advice,
        }
    }
}

/// `another 50 trials: 12 % chance to gain over 0.0021`.
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "another {} trials: {} chance to gain over {}",
            self.trials,
            about_percent(self.chance),
            gain(self)
        )
    }
}

/// `another 50 trials had a 4 % chance to gain over 0.0021`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlikely(advice) => write!(
                f,
                "another {} trials had a chance of {} to gain over {}",
                advice.trials,
                about_percent(advice.chance),
                gain(advice)
            ),
            Self::Plateau(advice) => {
                write!(f, "the last {} trials have gained no more than {}", advice.stalled, gain(advice))
            }
        }
    }
}

/// The chance of a gain and what is left to gain; none before there is enough to go by: a completed trial, and values of five, with several
/// objectives of twenty.
///
/// It looks at all trials; whoever asks again and again keeps a [`Course`].
pub fn advice(study: &Study, rule: &Convergence) -> Option<Advice> {
    Course::of(study).advice(study, rule)
}

/// Why the study has converged by `rule`, if it has; [`Course::verdict`] for whoever asks again and again.
pub fn verdict(study: &Study, rule: &Convergence) -> Option<Verdict> {
    Course::of(study).verdict(study, rule)
}

/// The course of a study's best loss: a fold of the stops of its trials, kept up to date at the price of those that are new.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// How many of the study's stops it has seen, and what they hold for.
    seen: usize,
    rewritten: u64,
    /// Trials that count.
    stopped: u64,
    /// The first values, of completed trials; of several objectives, the volumes of all that had completed by then.
    first: Vec<f64>,
    /// What the first trials with a loss have reached, while few have completed.
    early: Vec<(u32, f64)>,
    /// When the best changed, and to what.
    gains: Vec<(u64, f64)>,
    volume: Volume,
}

impl Course {
    /// The course of a study as it is.
    pub fn of(study: &Study) -> Self {
        let mut course = Self::default();
        course.advance(study);
        course
    }

    /// Takes in what has stopped since the last call.
    pub fn advance(&mut self, study: &Study) {
        if self.seen > study.stops().len() || self.rewritten != study.rewritten() {
            *self = Self { rewritten: study.rewritten(), ..Self::default() };
        }
        for stop in &study.stops()[self.seen..] {
            self.take(study, stop);
        }
        self.seen = study.stops().len();
    }

    fn take(&mut self, study: &Study, stop: &Stop) {
        let trial = &study.trials()[stop.trial as usize];
        let counts = stop.is_first && !matches!(trial.origin, Origin::Scheduler | Origin::Steered);
        self.stopped += u64::from(counts);
        let is_over = stop.paused_at.is_none();
        let losses = study.losses(trial).filter(|_| is_over && study.violation(trial) <= 0.0);
        if study.metrics().objectives.len() == 1 {
            if self.first.len() < LEAST {
                self.note(stop.trial, reached(study, stop));
            }
            if let Some(losses) = losses {
                self.add(self.stopped, losses[0]);
            }
            return;
        }
        let reached = if self.volume.is_open() { reached(study, stop) } else { None };
        let moment = Moment { trial: stop.trial, stopped: self.stopped, counts, losses, reached };
        for Grown { stopped, volume, counts } in self.volume.after(moment) {
            if counts && self.first.len() < FIRST {
                self.first.push(-volume);
            }
            self.gain(stopped, -volume);
        }
    }

    /// What a trial has reached when it stops; whatever it does later takes its place.
    fn note(&mut self, trial: u32, reached: Option<Vec<f64>>) {
        let Some(loss) = reached.map(|losses| losses[0]) else { return };
        match self.early.iter().position(|(number, _)| *number == trial) {
            Some(place) => self.early[place].1 = loss,
            None if self.early.len() < FIRST => self.early.push((trial, loss)),
            None => {}
        }
    }

    /// The loss of a completed trial, at the `stopped`-th that counts.
    fn add(&mut self, stopped: u64, loss: f64) {
        if self.first.len() < FIRST {
            self.first.push(loss);
        }
        self.gain(stopped, loss);
    }

    fn gain(&mut self, stopped: u64, loss: f64) {
        if self.gains.last().is_none_or(|(_, best)| loss < *best) {
            self.gains.push((stopped, loss));
        }
    }

    /// As [`advice`], for the study that this is the course of.
    pub fn advice(&self, study: &Study, rule: &Convergence) -> Option<Advice> {
        let advice = self.without_regret(study, rule)?;
        Some(Advice { regret: self.regret(model(study))?, ..advice })
    }

    /// The regret takes longer than the rest, and decides nothing.
    fn without_regret(&self, study: &Study, rule: &Convergence) -> Option<Advice> {
        let progress = self.progress()?;
        let asked = rule.epsilon.unwrap_or(rule.share * progress);
        let noise = noise(study).filter(|noise| *noise > asked);
        let epsilon = noise.unwrap_or(asked);
        Some(Advice {
            stopped: self.stopped,
            trials: rule.trials,
            epsilon,
            noise,
            progress,
            chance: self.chance(model(study), rule.trials, epsilon)?,
            regret: f64::NAN,
            stalled: self.stalled(epsilon)?,
        })
    }

    /// As [`verdict`], for the study that this is the course of.
    pub fn verdict(&self, study: &Study, rule: &Convergence) -> Option<Verdict> {
        if self.stopped < rule.min_trials || since_change(study) < rule.min_trials {
            return None;
        }
        let advice = self.without_regret(study, rule)?;
        if rule.patience.is_some_and(|patience| advice.stalled >= patience) {
            return self.advice(study, rule).map(Verdict::Plateau);
        }
        if advice.chance < rule.chance { self.advice(study, rule).map(Verdict::Unlikely) } else { None }
    }

    fn best(&self) -> Option<f64> {
        self.gains.last().map(|(_, loss)| *loss)
    }

    /// The median of the first values: of completed trials, or of what trials have reached where too few have completed.
    fn typical(&self) -> Option<f64> {
        let reached = || self.early.iter().map(|(_, loss)| *loss).collect();
        let values = if self.first.len() < LEAST { reached() } else { self.first.clone() };
        (values.len() >= LEAST).then(|| median(values))
    }

    /// By how much the best is better than the median of the first values; not known where what trials have reached on the way is better
    /// than where the best one ended, as when later steps are harder.
    fn progress(&self) -> Option<f64> {
        Some(self.typical()? - self.best()?).filter(|progress| *progress >= 0.0)
    }

    /// The best loss after so many trials; the typical early one before the first.
    fn best_after(&self, trials: u64) -> Option<f64> {
        match self.gains.partition_point(|(at, _)| *at <= trials) {
            0 => self.typical(),
            k => Some(self.gains[k - 1].1),
        }
    }

    /// Trials since the best was worse than now by more than `epsilon`.
    fn stalled(&self, epsilon: f64) -> Option<u64> {
        let best = self.best()?;
        let reached = self.gains.iter().find(|(_, loss)| loss - best <= epsilon)?;
        Some(self.stopped - reached.0)
    }

    /// How often the best has gained more than `epsilon` since it was last counted: in the latter half of the trials, and in the quarter
    /// before it by a weight that rises from 0 to 1, so that nothing drops out at once.
    fn gains_over(&self, epsilon: f64) -> Option<f64> {
        let since = self.stopped / 4;
        let from = self.gains.partition_point(|(at, _)| *at <= since);
        let (mut reference, mut count) = (self.best_after(since)?, 0.0);
        for (at, loss) in &self.gains[from..] {
            if reference - loss > epsilon {
                reference = *loss;
                count += (2.0 + (*at as f64 / self.stopped as f64).log2()).clamp(0.0, 1.0);
            }
        }
        Some(count)
    }

    /// The chance to gain over `epsilon` in `trials` more. Where nothing has been gained yet, any gain is as large as all progress so far.
    fn chance(&self, model: &Coefficients, trials: u64, epsilon: f64) -> Option<f64> {
        let progress = self.progress()?;
        let epsilon = epsilon.max(LEAST_SHARE * progress);
        let (n, half) = (self.stopped as f64, self.stopped / 2);
        let gained = (self.best_after(half)? - self.best()?).clamp(0.0, progress);
        let size = if gained > 0.0 { (gained / epsilon).ln_1p() } else { 0.0 };
        let share = if progress > 0.0 { (epsilon / progress).ln() } else { 0.0 };
        let rate = model.one
            + model.time * (trials as f64 / n).ln_1p().ln()
            + model.gains * (self.gains_over(epsilon)? + 0.5).ln()
            + model.size * size
            + model.share * share
            + model.finished * n.ln();
        Some(-(-rate.min(50.0).exp()).exp_m1())
    }

    /// What is to be expected to be gained in [`HORIZON`] times as many trials more: the integral of the chance of each gain.
    fn regret(&self, model: &Coefficients) -> Option<f64> {
        let progress = self.progress()?;
        let at = |k: u32| {
            let gain = progress * LEAST_SHARE.powf(1.0 - f64::from(k) / f64::from(GRID - 1));
            Some((gain, self.chance(model, HORIZON * self.stopped, gain)?))
        };
        let (mut x, mut p) = at(0)?;
        let mut total = x * p;
        for k in 1..GRID {
            let (next, chance) = at(k)?;
            total += (next - x) * (p + chance) / 2.0;
            (x, p) = (next, chance);
        }
        Some(total)
    }
}

/// Values by which a typical early trial is known, and how few will do.
const FIRST: usize = 20;
const LEAST: usize = 5;
/// The smallest share of the progress that the model tells from any gain at all.
const LEAST_SHARE: f64 = 0.001;
/// Points of the integral of the regret left, between the least share and all of the progress.
const GRID: u32 = 25;
/// By how much the box of hypervolumes is larger than the first values reach, as a share of its sides.
const MARGIN: f64 = 0.1;
/// Objectives up to which volumes are exact. With more, a share of this many places is counted, in a box that begins so far below the best of
/// the first values; what lies still lower gains nothing more.
const EXACT: usize = 3;
const PLACES: u32 = 4096;
const BEYOND: f64 = 0.25;

struct Coefficients {
    one: f64,
    time: f64,
    gains: f64,
    size: f64,
    share: f64,
    finished: f64,
}

/// Printed by `benchmarks/convergence/run.py fit`.
const ONE: Coefficients =
    Coefficients { one: -0.517, time: 0.780, gains: 0.728, size: -0.119, share: -0.322, finished: -0.348 };
/// The same for hypervolumes, which gain in more places.
const SEVERAL: Coefficients =
    Coefficients { one: 1.865, time: 0.843, gains: 0.710, size: -0.165, share: -0.278, finished: -0.637 };

/// The hypervolume of all completed trials so far, in units of the box that the first values span.
#[derive(Clone, Debug, Default)]
struct Volume {
    /// What has stopped, until there are enough values to know the box.
    early: Vec<Moment>,
    /// Trials that have reached something by then, and whether one of them has completed.
    valued: BTreeSet<u32>,
    has_completed: bool,
    /// The best and the worst of the first values, by objective.
    span: Option<(Vec<f64>, Vec<f64>)>,
    /// Points that no other dominates, in units of the box; kept up to [`EXACT`] objectives.
    front: Vec<Vec<f64>>,
    /// Places that no point covers, with more objectives.
    open: Option<Vec<Vec<f64>>>,
    covered: f64,
}

/// A stop of a trial in a study of several objectives.
#[derive(Clone, Debug)]
struct Moment {
    trial: u32,
    /// How many trials count by then, and whether this is the first stop of one that does.
    stopped: u64,
    counts: bool,
    /// Losses of a trial that has completed.
    losses: Option<Vec<f64>>,
    /// What the trial has reached, completed or not.
    reached: Option<Vec<f64>>,
}

/// The volume after a stop.
struct Grown {
    stopped: u64,
    volume: f64,
    /// Whether it is one of the first values.
    counts: bool,
}

impl Volume {
    /// Whether the box is still to be found.
    fn is_open(&self) -> bool {
        self.span.is_none()
    }

    /// The volume after this stop; after the one that makes the box known, the volumes after all so far.
    fn after(&mut self, moment: Moment) -> Vec<Grown> {
        if !self.is_open() {
            let Moment { stopped, losses, .. } = moment;
            return vec![Grown { stopped, volume: self.grow(losses), counts: false }];
        }
        self.valued.extend(moment.reached.as_ref().map(|_| moment.trial));
        self.has_completed |= moment.losses.is_some();
        self.early.push(moment);
        if self.valued.len() < FIRST || !self.has_completed {
            return Vec::new();
        }
        let known: Vec<&Vec<f64>> = self.early.iter().filter_map(|moment| moment.reached.as_ref()).collect();
        let extreme = |pick: fn(f64, f64) -> f64| {
            let fold = |a: Vec<f64>, b: &&Vec<f64>| a.iter().zip(*b).map(|(a, b)| pick(*a, *b)).collect();
            known.iter().fold(known[0].clone(), fold)
        };
        self.span = Some((extreme(f64::min), extreme(f64::max)));
        let early = std::mem::take(&mut self.early);
        let grown =
            |Moment { stopped, counts, losses, .. }| Grown { stopped, volume: self.grow(losses), counts };
        early.into_iter().map(grown).collect()
    }

    fn grow(&mut self, losses: Option<Vec<f64>>) -> f64 {
        let (Some(losses), Some((low, high))) = (losses, &self.span) else { return self.covered };
        let sides = low.iter().zip(high).map(|(low, high)| if high > low { high - low } else { 1.0 });
        let point: Vec<f64> =
            losses.iter().zip(low).zip(sides).map(|((x, low), side)| (x - low) / side).collect();
        if point.len() <= EXACT {
            self.grow_exactly(point);
        } else {
            self.grow_about(&point);
        }
        self.covered
    }

    fn grow_exactly(&mut self, point: Vec<f64>) {
        if self.front.iter().any(|other| *other == point || dominates(other, &point)) {
            return;
        }
        self.front.retain(|other| !dominates(&point, other));
        let reference = vec![1.0 + MARGIN; point.len()];
        self.front.push(point);
        self.covered = hypervolume(&self.front, &reference);
    }

    /// By how many of evenly spread places are covered: exact volumes take too long with many objectives.
    fn grow_about(&mut self, point: &[f64]) {
        let (low, high) = (-BEYOND, 1.0 + MARGIN);
        let open = self.open.get_or_insert_with(|| {
            let place = |k| {
                (0..point.len())
                    .map(|j| low + (high - low) * f64::from(digits(j, k)) / 2.0_f64.powi(32))
                    .collect()
            };
            (1..=PLACES).map(place).collect()
        });
        open.retain(|place| point.iter().zip(place).any(|(x, at)| x > at));
        let share = 1.0 - open.len() as f64 / f64::from(PLACES);
        self.covered = share * (high - low).powi(point.len() as i32);
    }
}

fn model(study: &Study) -> &'static Coefficients {
    if study.metrics().objectives.len() == 1 { &ONE } else { &SEVERAL }
}

/// The standard error of the best trial, where there is one objective and replicates tell it: other trials must tell its hard folds
/// from noise.
fn noise(study: &Study) -> Option<f64> {
    let best = study.incumbent().filter(|_| study.metrics().objectives.len() == 1)?;
    study.residual_variance(best, 0)?;
    best.standard_error(0)
}

/// Trials that have stopped, and perhaps a few more, under the current space and policy: what was before says little.
fn since_change(study: &Study) -> u64 {
    let trials = study.trials();
    let space = trials.partition_point(|trial| trial.space < study.space_version());
    let from = space.max(study.policy_from() as usize);
    let never_stopped = trials.len() - study.stopped();
    (trials.len() - from.min(trials.len())).saturating_sub(never_stopped) as u64
}

/// `0.0021 (1.0 % of what has been gained so far)`, or the noise that it is.
fn gain(advice: &Advice) -> String {
    let amount = about(advice.epsilon);
    match advice.noise {
        Some(_) => format!("{amount}, the noise of the best trial"),
        None if advice.progress > 0.0 => {
            format!("{amount} ({} of the gain so far)", about_percent(advice.epsilon / advice.progress))
        }
        None => amount,
    }
}

//! Population based bandits (Parker-Holder et al. 2020, arXiv 2002.02518): selection as in `pbt`, but a child's params are
//! those that a Gaussian process over params and time believes, optimistically, to improve the loss most.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::population::{BURN_IN, CHANGE, Child, INTERVAL, Ledger, QUANTILE, Rules, SYNCHRONOUS};
use super::{Allowance, Assignment, Scheduler, Verdict};
use crate::acquisition::Worth;
use crate::acquisition::confidence_bound::ConfidenceBound;
use crate::event::{Outcome, Work};
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Distribution, Parameter, Point, Scale, Space};
use crate::spec::Spec;
use crate::study::Study;
use crate::surrogate::Surrogate;
use crate::surrogate::gaussian_process::{GaussianProcess, Kernel, Row, Settings};
use crate::trial::{Trial, WorkState};

pub(super) const ENTRY: Entry<dyn Scheduler> = Entry {
    name: "pb2",
    summary: "as pbt, but new params are those that a model of the improvements believes in; small populations",
    options: &[
        OptionDoc { name: "population", doc: "how many members train side by side; from 2, default 4" },
        INTERVAL,
        BURN_IN,
        QUANTILE,
        SYNCHRONOUS,
        CHANGE,
    ],
    build: |options| {
        let (pb2, complete) = configure::<Pb2>(options)?;
        pb2.rules().check_options()?;
        Ok((Box::new(pb2), complete))
    },
};

/// Improvements that are needed before there is a model; until then a child's params are drawn.
const LEAST_ROWS: usize = 4;
/// Improvements that the model is made of, the latest: older ones say little about now.
const MOST_ROWS: usize = 150;
/// Improvements that its lengths are learned from.
const MOST_FITTED: usize = 40;
/// Improvements are drawn in to so many deviations around their mean, as in the authors' program: the first steps of a
/// training are of another size than the rest.
const FAR: f64 = 2.0;
/// How many times as far away failures lie, on the bad side.
const FAILED: f64 = 2.0;
/// Points looked at all over the space, and near the best of them in each round.
const SPREAD: usize = 384;
const NEAR: usize = 48;
/// Rounds of looking nearer, each a third as wide.
const ROUNDS: i32 = 4;

/// One row of the model is one member between two pauses: its params, the time at its end, the loss at its beginning, and by
/// how much the loss changed. Time is one more coordinate with a length learned from the rows, in place of the paper's
/// forgetting by (1 − ε) to the power of |t − t′|/2. Members whose change is not known yet count as if it were as expected,
/// so that not all children get the same params (section 3.2). Where a member failed it counts as much worse
/// than any change: else nothing would speak against the params of trainings that diverge. The bound is √(0.2 + ln(0.4 n)) deviations of n rows, the
/// constants of the authors' program. Choices and levels are coordinates like the others.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pb2 {
    population: u32,
    interval: Option<u64>,
    burn_in: u64,
    quantile: f64,
    synchronous: bool,
    change: Option<Vec<Arc<str>>>,
}

impl Default for Pb2 {
    fn default() -> Self {
        let (population, burn_in, quantile) = (4, 0, 0.25);
        Self { population, interval: None, burn_in, quantile, synchronous: false, change: None }
    }
}

/// What a member did between two pauses.
struct Stretch {
    trial: u32,
    end: u64,
    /// The loss before.
    before: f64,
    /// By how much it has changed; infinite if the trial failed on the way, NaN as long as it is not known.
    change: f64,
}

impl Pb2 {
    fn rules(&self) -> Rules<'_> {
        Rules {
            size: self.population,
            interval: self.interval,
            burn_in: self.burn_in,
            quantile: self.quantile,
            synchronous: self.synchronous,
            frequencies: &[1],
            change: self.change.as_deref(),
        }
    }

    fn chosen(&self, study: &Study, child: &Child, rng: &mut Rng) -> Point {
        let (rules, space) = (self.rules(), study.space());
        let donor = &study.trials()[child.donor as usize].point;
        let drawn = |rng: &mut Rng| {
            rules.changed(space, donor, donor, rng, |k, _, rng| space.draw_one(k, rng.uniform()))
        };
        let coordinates: Vec<usize> = (0..space.len()).filter(|&k| rules.may_change(space, k)).collect();
        let stretches = stretches(study, &rules, child);
        let Some(model) = Model::of(study, &stretches, &coordinates) else { return drawn(rng) };
        let before = study.piece(Work::of(child.donor)).and_then(|piece| piece.loss_by(child.step));
        let now = model.frame.context(child.end, before.unwrap_or(f64::NAN));
        let worth = |point: &Point| model.worth(&space.to_unit(point), now);
        let better = |best: (f64, Point), point: Point| {
            let value = worth(&point);
            if value > best.0 { (value, point) } else { best }
        };
        let mut best = (f64::NEG_INFINITY, donor.clone());
        for _ in 0..SPREAD {
            best = better(best, drawn(rng));
        }
        for round in 1..=ROUNDS {
            let width = 0.5 * 3.0_f64.powi(-round);
            for _ in 0..NEAR {
                let around = best.1.clone();
                best = better(
                    best,
                    rules.changed(space, donor, &around, rng, |k, value, rng| {
                        near(space, k, value, width, rng)
                    }),
                );
            }
        }
        best.1
    }
}

/// A value near another: up to a `width` of the unit interval away; a choice changes as rarely.
fn near(space: &Space, index: usize, value: f64, width: f64, rng: &mut Rng) -> f64 {
    let distribution = &space.parameters()[index].distribution;
    if distribution.is_categorical() {
        let choices = distribution.cells().unwrap_or(1);
        return if rng.uniform() < width { rng.below(choices) as f64 } else { value };
    }
    distribution.from_unit(distribution.to_unit(value) + width * (2.0 * rng.uniform() - 1.0))
}

/// What all members of the present policy did between their pauses, in the order of trials. If members wait for each other, what
/// those of the child's population did since they last did is not known yet.
fn stretches(study: &Study, rules: &Rules, child: &Child) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    for trial in &study.trials()[study.scheduler_from() as usize..] {
        let Some(piece) = trial.piece(0).filter(|_| !trial.outside) else { continue };
        let until = if trial.number < child.first { u64::MAX } else { child.until };
        let (mut at, mut before) = (piece.from, inherited(study, trial));
        while at < piece.step() {
            let end = rules.end_after(study, at);
            let is_known = end <= piece.step().min(until);
            let after = piece.loss_by(end).filter(|_| is_known).unwrap_or(f64::NAN);
            if after.is_nan() {
                break;
            }
            if !before.is_nan() {
                stretches.push(Stretch { trial: trial.number, end, before, change: after - before });
            }
            (at, before) = (end, after);
        }
        let has_failed = matches!(trial.outcome(), Some(Outcome::Failed { .. })) && at < until;
        if has_failed {
            let end = rules.end_after(study, at);
            stretches.push(Stretch { trial: trial.number, end, before, change: f64::INFINITY });
        }
        let makes_way = study.exploiting().is_some_and(|(number, _)| number == trial.number);
        let has_begun_anew = piece.from >= until && !has_failed;
        let goes_on = piece.state != WorkState::Ended || has_begun_anew;
        if goes_on && !makes_way && !before.is_nan() {
            let end = rules.end_after(study, at);
            stretches.push(Stretch { trial: trial.number, end, before, change: f64::NAN });
        }
    }
    stretches
}

/// The loss a trial began with: that of its parent at the checkpoint.
fn inherited(study: &Study, trial: &Trial) -> f64 {
    let known = trial.parent.and_then(|(parent, step)| study.piece(Work::of(parent))?.loss_by(step));
    known.unwrap_or(f64::NAN)
}

/// Where a stretch lies for the model: params that may change, time, and the loss before.
struct Frame<'a> {
    coordinates: &'a [usize],
    /// Smallest loss before a stretch, and how far the largest is from it.
    losses: (f64, f64),
    max: f64,
}

/// What is given where params are chosen: the time, and the loss before, as coordinates.
type Context = [f64; 2];

impl Frame<'_> {
    fn context(&self, end: u64, before: f64) -> Context {
        let level = ((before - self.losses.0) / self.losses.1).clamp(0.0, 1.0);
        [(end as f64 / self.max).clamp(0.0, 1.0), if level.is_nan() { 0.5 } else { level }]
    }

    /// A parameter that is not active lies in the middle.
    fn place(&self, unit: &[f64], context: Context) -> Vec<f64> {
        let params =
            self.coordinates.iter().map(|&k| unit.get(k).copied().filter(|u| !u.is_nan()).unwrap_or(0.5));
        params.chain(context).collect()
    }
}

/// A Gaussian process over params, time and the loss before: by how much the loss changes until the next pause.
struct Model<'a> {
    process: GaussianProcess,
    frame: Frame<'a>,
    bound: ConfidenceBound,
}

impl<'a> Model<'a> {
    /// `None` with too little to learn from.
    fn of(study: &Study, stretches: &[Stretch], coordinates: &'a [usize]) -> Option<Self> {
        let known: Vec<&Stretch> = stretches.iter().filter(|stretch| !stretch.change.is_nan()).collect();
        let known = &known[known.len().saturating_sub(MOST_ROWS)..];
        if known.iter().filter(|stretch| stretch.change.is_finite()).count() < LEAST_ROWS {
            return None;
        }
        let bounds = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), stretch| {
            (low.min(stretch.before), high.max(stretch.before))
        });
        let losses = (bounds.0, (bounds.1 - bounds.0).max(f64::MIN_POSITIVE));
        let frame = Frame { coordinates, losses, max: study.spec().max_budget.unwrap_or(u64::MAX) as f64 };
        let place = |stretch: &Stretch| {
            let unit = study.space().to_unit(&study.trials()[stretch.trial as usize].point);
            frame.place(&unit, frame.context(stretch.end, stretch.before))
        };
        let units: Vec<Vec<f64>> = known.iter().map(|stretch| place(stretch)).collect();
        let changes = drawn_in(known.iter().map(|stretch| stretch.change).collect());
        let rows = units.iter().zip(changes).map(|(unit, loss)| Row { unit, loss, error: f64::NAN });
        let rows: Vec<Row> = rows.collect();
        let kernel = Kernel::of(&Space::new(axes(study.space(), coordinates), Vec::new()).ok()?);
        let settings = Settings { transform: false, most_fitted: MOST_FITTED, ..Settings::default() };
        let mut process = GaussianProcess::fit(&Arc::new(kernel), &rows, &settings);
        for stretch in stretches.iter().filter(|stretch| stretch.change.is_nan()) {
            let unit = place(stretch);
            let expected = process.belief(&unit).mean;
            process.push_believed(&unit, expected, 0.0);
        }
        Some(Self { process, frame, bound: ConfidenceBound { kappa: kappa(known.len()) } })
    }

    fn worth(&self, unit: &[f64], context: Context) -> f64 {
        self.bound.worth(self.process.belief(&self.frame.place(unit, context)))
    }
}

/// Failures come out worse than anything else can.
fn drawn_in(mut changes: Vec<f64>) -> Vec<f64> {
    let finite = || changes.iter().filter(|change| change.is_finite());
    let n = finite().count() as f64;
    let mean = finite().sum::<f64>() / n;
    let deviation = (finite().map(|change| (change - mean).powi(2)).sum::<f64>() / n).sqrt();
    let far = FAR * deviation;
    for change in &mut changes {
        let is_failure = change.is_infinite();
        *change = if is_failure { mean + FAILED * far } else { change.clamp(mean - far, mean + far) };
    }
    changes
}

/// The model's axes: the parameters that may change, without conditions, then time and the loss before.
fn axes(space: &Space, coordinates: &[usize]) -> Vec<Parameter> {
    let even = || Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    let params = coordinates.iter().map(|&k| space.parameters()[k].distribution.clone());
    let distributions = params.chain([even(), even()]).enumerate();
    distributions.map(|(k, distribution)| Parameter::new(format!("axis {k}"), distribution)).collect()
}

/// Deviations of the bound, of so many rows.
fn kappa(rows: usize) -> f64 {
    (0.2 + (0.4 * rows as f64).ln().max(0.0)).sqrt()
}

impl Scheduler for Pb2 {
    fn assign(&self, study: &Study, allowance: Allowance, memo: &mut Memo, rng: &mut Rng) -> Assignment {
        let params = |child: &Child, rng: &mut Rng| self.chosen(study, child, rng);
        self.rules().assign(study, allowance, memo.get::<Ledger>(), rng, params)
    }

    fn judge(&self, _: &Study, _: Work, _: &mut Memo, _: &mut Rng) -> Verdict {
        Verdict::go_on()
    }

    fn branches(&self) -> bool {
        true
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        self.rules().check(spec)
    }
}

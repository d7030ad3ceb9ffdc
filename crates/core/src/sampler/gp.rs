//! Bayesian optimisation with Gaussian processes: a model of the loss over the whole space, and the point that promises
//! most under it.
//!
//! Trials begin evenly spread (scrambled Sobol points; but for `log_pi`, every other pair keeps to the inner part of the ranges). Then every proposal maximises an acquisition, as a rule the
//! logarithm of the expected improvement (Ament et al. 2023, arXiv:2310.20708), over a Gaussian process whose kernel knows floats,
//! grids, choices and conditions ([`crate::surrogate::gaussian_process`]), by the search of [`crate::acquisition::search`].
//!
//! # What a trial says
//!
//! * A completed one: its loss, with its standard error over replicates as noise of its own.
//! * A stopped one (pruned, paused, cancelled): the final loss that belongs to its rank at the step where it stopped
//!   (see `comparable.rs`); each objective by its own rank; nothing without a report.
//! * A failed one: a doubtful, poor loss, which counts in no fit. A classifier learns where trials fail, and the
//!   probability of success is multiplied in; the more of the latest ten trials failed, the likelier the next must succeed.
//! * One that runs or waits: it is believed to end as the model expects, and proposals keep away from it, so that parallel
//!   workers spread.
//! * Constraints of the metrics have models of their own, and the probability of keeping them is multiplied in. Their
//!   values are taken for exact, and drawn in around 0 where they spread over magnitudes (Eriksson and Poloczek 2021,
//!   arXiv:2002.08526). While no trial keeps them, proposals ask in turn for the largest such probability, and for the largest
//!   expected reduction of the one that is broken most ([`crate::acquisition::largest`]).
//!
//! The loss to improve on is the best *believed* loss of a trial, noise taken out. With several objectives it is the hypervolume
//! that improves, with one model per objective, of its losses as they are: below the upper quartiles of all trials, and in
//! a third of the proposals below the worst of them.
//!
//! # Also
//!
//! * A search that only polishes looks elsewhere, too: after three trials in a row that did not better the best by a
//!   twentieth of a standard deviation, every other proposal asks for an improvement by at least that much; so does every
//!   other one made while trials run.
//! * A user's prior multiplies the acquisition with an exponent that fades as 10 / n (Hvarfner et al. 2022, arXiv:2204.11051).
//! * Where the study ends after so many seconds and trials cost unequally much, improvement counts per expected second,
//!   the less so the fewer seconds are left (Lee et al. 2020, arXiv:2003.10870).
//! * With many numeric parameters the search keeps to a trust region around the best (Eriksson et al. 2019,
//!   arXiv:1910.01465).
//! * Scales are fitted anew with every finished trial up to 20 and then whenever there are a tenth more; in between the
//!   factorised covariance grows by a row. No model sees more than `max_trials`: a fit sees four fifths of that number, a third of them
//!   the best, a third the latest, and a third spread evenly over the others, and the next fit comes when the last fifth is full.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::comparable::{Comparable, comparable_losses};
use super::expectation;
use super::modelled::{
    Known, Seen, best_found, check_effort, free_parameters, latest_losses, on_fronts, speaks,
};
use super::sequence::{BEGINNING, SOBOL, Sequence};
use super::{Proposal, Request, Sampler};
use crate::acquisition::apart::Apart;
use crate::acquisition::confidence_bound::{ConfidenceBound, kappa};
use crate::acquisition::cost::{LogCost, differs};
use crate::acquisition::expected_improvement::LogExpectedImprovement;
use crate::acquisition::feasibility::{Feasibility, LogSuccess, feasibility};
use crate::acquisition::hypervolume::{LogHypervolumeImprovement, reference_point, upper_quartiles};
use crate::acquisition::largest::{LogLargestReduction, Quantity};
use crate::acquisition::noisy::NoisyLogExpectedImprovement;
use crate::acquisition::pareto::ParetoEnsemble;
use crate::acquisition::prior::{BETA, LogPrior};
use crate::acquisition::probability::LogImprovementProbability;
use crate::acquisition::search::{Effort, Region, Search};
use crate::acquisition::trust_region::TrustRegion;
use crate::acquisition::{Acquisition, Over, Sum};
use crate::coverage::Coverage;
use crate::memo::Memo;
use crate::observation::{Observation, Observations, Standing};
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::{Stop, Study};
use crate::surrogate::gaussian_process::{
    GaussianProcess, Kernel, Row, Settings, Success, most_at_fit, rows_at_fit,
};
use crate::surrogate::{Belief, Surrogate};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "gp",
    summary: "a Gaussian process and the most promising point under it; few or costly trials, any space",
    options: &[
        OptionDoc {
            name: "n_startup",
            doc: "trials with a loss before the model is used, spread evenly; none: by the number of parameters",
        },
        OptionDoc {
            name: "acquisition",
            doc: "log_ei, noisy_log_ei, log_pi, bound (lower confidence bound) or ensemble (a Pareto front of three); one objective only",
        },
        OptionDoc {
            name: "effort",
            doc: "how hard to search for the next point, 1 for as usual, above 0 and up to 100",
        },
        OptionDoc {
            name: "trust_region",
            doc: "whether to keep near the best: auto (above 50 numeric parameters), on or off",
        },
        OptionDoc {
            name: "transform",
            doc: "whether losses are made more normal before they are modelled, where that helps; never several objectives",
        },
        OptionDoc {
            name: "warp",
            doc: "whether coordinates are bent where that makes the losses much more plausible; doubles the cost of a fit",
        },
        OptionDoc {
            name: "cost",
            doc: "how much seconds count, 0 (not) to 1 (improvement per second); none: by the seconds left, if limited",
        },
        OptionDoc { name: "max_trials", doc: "trials that the models see at most, from 50" },
    ],
    build: |options| {
        let (gp, complete) = configure::<Gp>(options)?;
        gp.check_options()?;
        Ok((Box::new(gp) as _, complete))
    },
};

/// Trials around which the search looks, and among which the best believed loss is sought.
const CENTERS: usize = 24;

/// Trials, front by front, whose believed losses are what a hypervolume is to be added to.
const FRONT: usize = 200;

/// Above so many numeric parameters, `auto` uses a trust region. Up to there the lengths' prior and candidates near the
/// best do better without one.
const MANY: usize = 50;

/// Of so many proposals for several objectives one counts the hypervolume from beyond the worst trial, the others from the
/// upper quartiles: the former finds the ends of a front, but where ends are as good with all else bad, nothing but them.
const FAR_ASKS: u64 = 3;

/// Deviations below the mean for the confidence bound by itself; in the ensemble it grows ([`kappa`]).
const CONFIDENCE: f64 = 1.96;

/// Draws of the noise-free losses for the noisy acquisition.
const DRAWS: usize = 16;

/// A betterment of the best believed loss by less is polish, in deviations of the losses.
const POLISH: f64 = 0.05;

/// What a proposal must promise beside others that still run: less would be a second look at the same spot.
const CROWD: f64 = 0.01;

/// Polishing trials in a row after which every other proposal looks for more.
const STALE: usize = 3;

/// The loss in model units that a failed trial is taken to have had at least, and the variance of that: so its
/// neighbourhood is not believed to be better than any other, and yet an optimum next to it is found.
const FEARED: (f64, f64) = (0.5, 0.25);

/// Latest trials whose failures make the search cautious ([`Proposer::floor`]).
const LATEST: usize = 10;

/// Latest failed trials that are taken so.
const FAILED: usize = 50;

/// Of more trials that run or wait, the models believe something of the latest ones only; a proposal keeps away from all.
pub(super) const PENDING: usize = 200;

/// What the next point maximises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Expected improvement on the best believed loss.
    #[default]
    LogEi,
    /// The same, averaged over what the noise-free losses may be.
    NoisyLogEi,
    /// Probability of improvement.
    LogPi,
    /// The lower confidence bound.
    Bound,
    /// A random member of the Pareto front of the confidence bound, log EI and log PI.
    Ensemble,
}

/// Whether something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Where it helps, by the space.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gp {
    /// Trials with a loss before the model is used; none: one more than parameters, between 5 and 10, or two thirds of
    /// the parameters if that is more.
    pub n_startup: Option<usize>,
    /// What the next point maximises.
    pub acquisition: Goal,
    /// A factor on the search's effort.
    pub effort: f64,
    /// Whether to keep near the best.
    pub trust_region: Use,
    /// Whether losses are transformed; those of several objectives never are, since a hypervolume depends on it.
    pub transform: bool,
    /// Whether coordinates are bent.
    pub warp: bool,
    /// How much seconds count; none: by what is left of the limit.
    pub cost: Option<f64>,
    /// Trials that the models see at most.
    pub max_trials: usize,
}

impl Default for Gp {
    fn default() -> Self {
        Self {
            n_startup: None,
            acquisition: Goal::LogEi,
            effort: 1.0,
            trust_region: Use::Auto,
            transform: true,
            warp: true,
            cost: None,
            max_trials: 500,
        }
    }
}

impl Sampler for Gp {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let memory: &mut Memory = memo.get();
        memory.advance(study);
        if memory.kernel(study.space()).is_empty() || !memory.seen.suffices(self.startup(study.space())) {
            return Proposal::Point(memory.seen.place.propose(self.beginning(), study, request, rng));
        }
        let drawn = |rng: &mut Rng| study.space().draw(&rng.uniforms(study.space().len()));
        if request.draw > 0 {
            return Proposal::Point(drawn(rng));
        }
        memory.refresh(study, self);
        let found =
            Proposer::new(self, study, request.trial, memory).and_then(|proposer| proposer.point(rng));
        Proposal::Point(found.unwrap_or_else(|| drawn(rng)))
    }
}

impl Gp {
    fn check_options(&self) -> Result<(), String> {
        check_effort(self.effort)?;
        if let Some(cost) = self.cost.filter(|cost| !(0.0..=1.0).contains(cost)) {
            return Err(format!("cost is an exponent in [0, 1], not {cost}"));
        }
        if self.max_trials < 50 {
            return Err(format!("max_trials must be at least 50, not {}", self.max_trials));
        }
        Ok(())
    }

    /// The points before the model. The probability of improvement looks at little else later, so it needs them everywhere.
    fn beginning(&self) -> Sequence {
        if self.acquisition == Goal::LogPi { SOBOL } else { BEGINNING }
    }

    /// Trials with a loss that the model waits for.
    fn startup(&self, space: &Space) -> usize {
        let free = free_parameters(space);
        self.n_startup.unwrap_or_else(|| (free + 1).clamp(5, 10).max(2 * free / 3))
    }
}

/// The fold of a study that proposals need.
#[derive(Default)]
struct Memory {
    seen: Seen,
    kernel: Option<Arc<Kernel>>,
    models: Option<Models>,
}

impl Memory {
    fn advance(&mut self, study: &Study) {
        if !self.seen.advance(study) {
            (self.kernel, self.models) = (None, None);
        }
    }

    fn kernel(&mut self, space: &Space) -> Arc<Kernel> {
        self.kernel.get_or_insert_with(|| Arc::new(Kernel::of(space))).clone()
    }

    /// Brings the models up to the latest stop of a trial: fitted at a count that the schedule names, then trial by trial. What
    /// trials that went on have said since waits for the next fit.
    fn refresh(&mut self, study: &Study, gp: &Gp) {
        let stops = study.stops();
        let at = rows_at_fit(stops.len(), gp.max_trials);
        let kernel = self.kernel.get_or_insert_with(|| Arc::new(Kernel::of(study.space()))).clone();
        let fresh = |models: &Models| models.fitted == at && models.seen <= stops.len();
        if !self.models.as_ref().is_some_and(fresh) {
            self.models = Some(Models::fit(gp, study, kernel, at));
        }
        let Some(models) = &mut self.models else { return };
        for stop in &stops[models.seen..] {
            models.take(study, stop);
        }
    }
}

/// What is believed of losses, constraints, failures and costs.
struct Models {
    kernel: Arc<Kernel>,
    /// Stops of trials when the scales were fitted, and stops looked at since.
    fitted: usize,
    seen: usize,
    /// What those trials said.
    rows: Vec<Observation>,
    /// One model per objective, of the rows in `used`.
    objectives: Vec<GaussianProcess>,
    /// Feasible rows with their comparable losses; the models may have seen fewer.
    feasible: Vec<Known>,
    /// Unit coordinates of failed trials.
    failed: Vec<Vec<f64>>,
    /// Which constraints were ever reported, and their models.
    constraints: Vec<(usize, GaussianProcess)>,
    success: Option<Success>,
    /// A model of ln seconds.
    seconds: Option<GaussianProcess>,
    region: TrustRegion,
    /// Rows that a fit sees at most.
    most: usize,
}

impl Models {
    fn fit(gp: &Gp, study: &Study, kernel: Arc<Kernel>, stops: usize) -> Self {
        let rows = Observations::after(study, stops);
        let most = most_at_fit(gp.max_trials);
        let losses = comparable_losses(study, &rows);
        let known: Vec<usize> = (0..rows.len()).filter(|k| speaks(&rows[*k])).collect();
        let settings = Settings {
            transform: gp.transform && study.metrics().objectives.len() == 1,
            warp: gp.warp,
            most_rows: most,
            ..Settings::default()
        };
        let objective = |m: usize| {
            let rows: Vec<Row> = known.iter().map(|k| row_of(&rows[*k], m, losses[*k][m])).collect();
            GaussianProcess::fit(&kernel, &rows, &settings)
        };
        let objectives = (0..study.metrics().objectives.len()).map(objective).collect();
        let linear = Settings { transform: false, warp: false, ..settings };
        let exact = Settings { exact: true, ..linear };
        let constraints = (0..study.metrics().constraints.len())
            .filter_map(|m| Some((m, constraint_model(&kernel, &rows, m, &exact)?)))
            .collect();
        let seconds: Vec<f64> = known.iter().map(|k| rows[*k].seconds).collect();
        let seconds = (gp.counts_seconds(study) && differs(&seconds)).then(|| {
            let rows: Vec<Row> = known.iter().filter_map(|k| cost_row(&rows[*k])).collect();
            GaussianProcess::fit(&kernel, &rows, &linear)
        });
        let mut models = Self {
            fitted: stops,
            seen: stops,
            rows: Vec::new(),
            objectives,
            feasible: Vec::new(),
            failed: Vec::new(),
            constraints,
            success: success_model(&kernel, &rows, most),
            seconds,
            most,
            region: TrustRegion::new(numbers(study.space())),
            kernel,
        };
        for (row, losses) in rows.iter().zip(&losses) {
            models.note(row, losses);
        }
        models.rows = rows;
        models
    }

    /// Takes in a trial at its first stop.
    fn take(&mut self, study: &Study, stop: &Stop) {
        self.seen += 1;
        if let Some(row) = Observation::at_first(study, stop) {
            self.rows.push(row.clone());
            self.push(&row, &latest_losses(study, &self.rows));
        }
    }

    fn push(&mut self, row: &Observation, losses: &[Comparable]) {
        self.note(row, losses);
        if speaks(row) {
            for (m, model) in self.objectives.iter_mut().enumerate() {
                model.push(row_of(row, m, losses[m]));
            }
            if let (Some(model), Some(row)) = (&mut self.seconds, cost_row(row)) {
                model.push(row);
            }
        }
        for (m, model) in &mut self.constraints {
            if let Some(row) = constraint_row(row, *m) {
                model.push(row);
            }
        }
        let failed = row.standing == Standing::Failed;
        let is_known = match &mut self.success {
            Some(success) => success.push(&row.unit, !failed),
            None => !failed,
        };
        if !is_known {
            self.success = success_model(&self.kernel, &self.rows, self.most);
        }
    }

    /// Remembers a feasible trial, and tells the trust region.
    fn note(&mut self, row: &Observation, losses: &[Comparable]) {
        let known = Known::of(row, losses);
        self.region.learn(known.as_ref().map_or(f64::NAN, |known| known.losses[0]));
        if row.standing == Standing::Failed {
            self.failed.push(row.unit.to_vec());
        }
        self.feasible.extend(known);
    }
}

impl Gp {
    /// Whether seconds may ever count in this study.
    fn counts_seconds(&self, study: &Study) -> bool {
        self.cost.map_or(study.spec().limits.seconds.is_some(), |cost| cost > 0.0)
    }

    /// How much seconds count now: the share of the limited seconds that is left, unless the user says.
    fn cost_exponent(&self, study: &Study) -> f64 {
        self.cost.unwrap_or_else(|| {
            let left = |limit: f64| (1.0 - study.tally().seconds / limit).clamp(0.0, 1.0);
            study.spec().limits.seconds.map_or(0.0, left)
        })
    }
}

/// An objective of a trial as its model takes it.
fn row_of(row: &Observation, m: usize, found: Comparable) -> Row<'_> {
    let own = row.errors[m];
    let error = if own.is_nan() { found.error } else { own.hypot(found.error) };
    Row { unit: &row.unit, loss: found.loss, error }
}

fn cost_row(row: &Observation) -> Option<Row<'_>> {
    let is_whole = row.standing == Standing::Completed && row.seconds > 0.0;
    is_whole.then(|| Row { unit: &row.unit, loss: row.seconds.ln(), error: f64::NAN })
}

fn constraint_row(row: &Observation, m: usize) -> Option<Row<'_>> {
    let value = row.constraints[m];
    value.is_finite().then_some(Row { unit: &row.unit, loss: value, error: f64::NAN })
}

fn constraint_model(
    kernel: &Arc<Kernel>,
    rows: &[Observation],
    m: usize,
    settings: &Settings,
) -> Option<GaussianProcess> {
    let reported: Vec<Row> = rows.iter().filter_map(|row| constraint_row(row, m)).collect();
    (!reported.is_empty()).then(|| GaussianProcess::fit_around_zero(kernel, &reported, settings))
}

/// A model of where trials fail, once one has.
fn success_model(kernel: &Arc<Kernel>, rows: &[Observation], most: usize) -> Option<Success> {
    let failed = |k: &usize| rows[*k].standing == Standing::Failed;
    if !(0..rows.len()).any(|k| failed(&k)) {
        return None;
    }
    let outcome = |k: usize| (&*rows[k].unit, !failed(&k));
    let outcomes: Vec<(&[f64], bool)> =
        latest_of_both(rows.len(), failed, most).into_iter().map(outcome).collect();
    Some(Success::fit(kernel, &outcomes))
}

/// At most `most` of `rows` indices, ascending: the latest of either kind, in the shares that the kinds have of all, but of the rarer
/// kind a tenth of `most` where there are so many.
fn latest_of_both(rows: usize, is_one: impl Fn(&usize) -> bool, most: usize) -> Vec<usize> {
    if rows <= most {
        return (0..rows).collect();
    }
    let (ones, others): (Vec<usize>, Vec<usize>) = (0..rows).partition(is_one);
    let rarer = ones.len().min(others.len());
    let wanted = (rarer * most / rows).max(rarer.min(most / 10));
    let latest = |kind: &[usize]| {
        let wanted = if kind.len() == rarer { wanted } else { most - wanted };
        kind[kind.len() - wanted..].to_vec()
    };
    let mut chosen = [latest(&ones), latest(&others)].concat();
    chosen.sort_unstable();
    chosen
}

/// How many numeric parameters with more than one value a space has.
fn numbers(space: &Space) -> usize {
    let is_number = |p: &&crate::space::Parameter| {
        !p.retired && !p.distribution.is_fixed() && !p.distribution.is_categorical()
    };
    space.parameters().iter().filter(is_number).count()
}

/// One proposal in the making.
struct Proposer<'a> {
    gp: &'a Gp,
    study: &'a Study,
    trial: u32,
    coverage: &'a Coverage,
    /// Models of the objectives, believing what they expect of pending trials.
    objectives: Vec<GaussianProcess>,
    models: &'a Models,
    /// Unit coordinates of feasible trials, the best believed first.
    centers: Vec<Vec<f64>>,
    /// Beliefs about the first objective there.
    beliefs: Vec<Belief>,
    /// How many of the latest trials failed, and how many failed or broke a constraint.
    stumbles: (usize, usize),
    /// Unit coordinates of pending trials, and what is expected of them.
    open: Vec<Vec<f64>>,
    pending: Vec<Vec<f64>>,
}

impl<'a> Proposer<'a> {
    fn new(gp: &'a Gp, study: &'a Study, trial: u32, memory: &'a Memory) -> Option<Self> {
        let models = memory.models.as_ref()?;
        let mut objectives = models.objectives.clone();
        for unit in models.failed.iter().rev().take(FAILED) {
            for model in &mut objectives {
                let feared = model.belief(unit).mean.max(FEARED.0);
                model.push_believed(unit, feared, FEARED.1);
            }
        }
        let mut pending = Vec::new();
        let open = memory.seen.observations.open();
        for row in &open[open.len().saturating_sub(PENDING)..] {
            let expected: Vec<f64> = objectives.iter().map(|model| model.belief(&row.unit).mean).collect();
            for (model, value) in objectives.iter_mut().zip(&expected) {
                model.push_believed(&row.unit, *value, 0.0);
            }
            pending.push(expected);
        }
        let mut best: Vec<&Known> = models.feasible.iter().collect();
        best.sort_by(|a, b| a.losses[0].total_cmp(&b.losses[0]));
        if study.metrics().objectives.len() > 1 {
            best = on_fronts(&models.feasible);
        }
        best.truncate(CENTERS);
        let units: Vec<Vec<f64>> = best.iter().map(|known| known.unit.clone()).collect();
        let beliefs = objectives[0].beliefs(&units);
        let mut order: Vec<usize> = (0..units.len()).collect();
        if objectives.len() == 1 {
            order.sort_by(|a, b| beliefs[*a].mean.total_cmp(&beliefs[*b].mean));
        }
        let centers = order.iter().map(|k| units[*k].clone()).collect();
        let beliefs = order.iter().map(|k| beliefs[*k]).collect();
        let coverage = &memory.seen.coverage;
        let open = open.iter().map(|row| row.unit.to_vec()).collect();
        let stumbles = stumbles(memory.seen.observations.stopped());
        Some(Self {
            gp,
            study,
            trial,
            coverage,
            objectives,
            models,
            centers,
            beliefs,
            stumbles,
            open,
            pending,
        })
    }

    fn point(&self, rng: &mut Rng) -> Option<Point> {
        let is_tried = |point: &Point| self.coverage.contains(&point.0);
        let region = self.region();
        let search = Search {
            space: self.study.space(),
            effort: Effort::share(self.gp.effort),
            centers: &self.centers,
            region: region.as_ref(),
            is_tried: &is_tried,
        };
        let factors = Factors::new(self);
        if self.centers.is_empty() {
            return self.approach(&search, factors, rng);
        }
        if self.objectives.len() > 1 {
            return self.widen_front(&search, &factors, rng);
        }
        let (model, best) = (&self.objectives[0], self.best() - self.ambition());
        match self.gp.acquisition {
            Goal::LogEi => factors.maximise(&search, &Over::new(model, LogExpectedImprovement { best }), rng),
            Goal::NoisyLogEi => {
                let joint = model.joint(&self.centers);
                let draws: Vec<Vec<f64>> = (0..DRAWS).map(|_| joint.draw(rng)).collect();
                let noisy = NoisyLogExpectedImprovement::new(model, &self.centers, &draws, self.ambition());
                factors.maximise(&search, &noisy, rng)
            }
            Goal::LogPi => factors.maximise(&search, &Over::new(model, improvement(best)), rng),
            Goal::Bound => {
                let bound = ConfidenceBound { kappa: CONFIDENCE };
                factors.maximise(&search, &Over::new(model, bound), rng)
            }
            Goal::Ensemble => self.compromise(&search, &factors, best, rng),
        }
    }

    /// The best believed loss of a feasible trial, pending ones included.
    fn best(&self) -> f64 {
        let pending = self.pending.iter().map(|expected| expected[0]);
        self.beliefs.iter().map(|belief| belief.mean).chain(pending).fold(f64::INFINITY, f64::min)
    }

    /// ln of the probability of success that is asked for: a share of the largest at a feasible trial, which rises with
    /// failures among the latest trials.
    fn floor(&self, success: &Success) -> f64 {
        let shares = [0.0, 0.5, 0.7, 0.8];
        let share: f64 = shares[self.stumbles.0.min(shares.len() - 1)];
        let logs = success.log_probabilities(&self.centers);
        let best = logs.into_iter().fold(f64::NEG_INFINITY, f64::max);
        share.ln() + if best.is_finite() { best } else { 0.0 }
    }

    /// By how much the next trial should at least better the best.
    fn ambition(&self) -> f64 {
        if self.stumbles.1 > 1 {
            // Where little is gained because more is forbidden, asking for more leads to what is forbidden.
            return 0.0;
        }
        let outputs = self.objectives[0].outputs();
        let (mut best, mut polishing) = (f64::INFINITY, 0);
        for known in &self.models.feasible {
            let loss = outputs.forward(known.losses[0]);
            polishing = if loss < best - POLISH { 0 } else { polishing + 1 };
            best = best.min(loss);
        }
        match (self.trial % 2 == 1, polishing >= STALE, self.pending.is_empty()) {
            (true, true, _) | (true, _, false) => POLISH,
            (_, _, false) => CROWD,
            (_, _, true) => 0.0,
        }
    }

    fn bound(&self) -> ConfidenceBound {
        ConfidenceBound { kappa: kappa(self.models.seen, self.models.kernel.len()) }
    }

    fn compromise(&self, search: &Search, factors: &Factors, best: f64, rng: &mut Rng) -> Option<Point> {
        let common = Sum { parts: factors.parts() };
        let ensemble = ParetoEnsemble {
            surrogate: &self.objectives[0],
            members: vec![
                Box::new(self.bound()),
                Box::new(LogExpectedImprovement { best }),
                Box::new(improvement(best)),
            ],
            common: Some(&common),
            population: 64,
            generations: 12,
        };
        let mut front = ensemble.front(search, rng);
        if front.is_empty() {
            return None;
        }
        let chosen = rng.below(front.len() as u64) as usize;
        Some(front.swap_remove(chosen).candidate.point)
    }

    /// Looks for a first trial that keeps the constraints: by the expected reduction of the one that is broken most, in
    /// deviations of its values, and every other time by the probability of breaking none.
    ///
    /// Far from what is allowed, the probability alone prefers what is unknown; the reduction alone may settle in a hollow.
    fn approach(&self, search: &Search, mut factors: Factors, rng: &mut Rng) -> Option<Point> {
        let quantity = |(_, model): &'a (usize, GaussianProcess)| Quantity {
            surrogate: model,
            zero: model.outputs().forward(0.0),
            unit: 1.0,
        };
        let quantities: Vec<Quantity> = self.models.constraints.iter().map(quantity).collect();
        let whole = |row: &&Observation| row.constraints.iter().all(|value| value.is_finite());
        let excess = |row: &Observation| {
            let over = |one: &Quantity| one.surrogate.belief(&row.unit).mean - one.zero;
            quantities.iter().map(over).fold(0.0, f64::max)
        };
        let mut rows: Vec<(f64, &Observation)> =
            self.models.rows.iter().filter(whole).map(|row| (excess(row), row)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        rows.truncate(CENTERS);
        let least = rows.first().map_or(0.0, |row| row.0);
        if least <= 0.0 || self.trial % 2 == 1 {
            return best_found(search, &Sum { parts: factors.parts() }, rng);
        }
        let centers: Vec<Vec<f64>> = rows.iter().map(|(_, row)| row.unit.to_vec()).collect();
        factors.feasibility = None;
        let search = Search { centers: &centers, ..*search };
        factors.maximise(&search, &LogLargestReduction::new(quantities, least), rng)
    }

    fn widen_front(&self, search: &Search, factors: &Factors, rng: &mut Rng) -> Option<Point> {
        let models: Vec<&dyn Surrogate> = self.objectives.iter().map(|model| model as _).collect();
        let units: Vec<Vec<f64>> =
            on_fronts(&self.models.feasible).iter().take(FRONT).map(|known| known.unit.clone()).collect();
        let columns: Vec<Vec<Belief>> = models.iter().map(|model| model.beliefs(&units)).collect();
        let row = |k: usize| -> Vec<f64> { columns.iter().map(|column| column[k].mean).collect() };
        let mut rows: Vec<Vec<f64>> = (0..units.len()).map(row).collect();
        rows.extend(self.pending.iter().cloned());
        let seen = |known: &Known| -> Vec<f64> {
            let pairs = self.objectives.iter().zip(&known.losses);
            pairs.map(|(model, loss)| model.outputs().forward(*loss)).collect()
        };
        let all: Vec<Vec<f64>> = self.models.feasible.iter().map(seen).collect();
        let reference = if rng.below(FAR_ASKS) == 0 { reference_point(&all) } else { upper_quartiles(&all) };
        factors.maximise(search, &LogHypervolumeImprovement::new(models, &rows, &reference), rng)
    }

    /// The trust region around the best point, where one is used.
    fn region(&self) -> Option<Region> {
        let space = self.study.space();
        let is_used = match self.gp.trust_region {
            Use::On => true,
            Use::Off => false,
            Use::Auto => numbers(space) > MANY,
        };
        if !is_used || self.centers.is_empty() || self.objectives.len() > 1 {
            return None;
        }
        let lengths = &self.objectives[0].scales().lengths;
        let length = |k: usize| self.models.kernel.feature_of(k).map_or(f64::NAN, |feature| lengths[feature]);
        let lengths: Vec<f64> = (0..space.len()).map(length).collect();
        Some(self.models.region.around(&self.centers[0], &lengths))
    }
}

/// How many of the [`LATEST`] trials failed, and how many failed or broke a constraint.
fn stumbles(finished: &[Observation]) -> (usize, usize) {
    let latest = &finished[finished.len().saturating_sub(LATEST)..];
    let failed = latest.iter().filter(|row| row.standing == Standing::Failed).count();
    (failed, failed + latest.iter().filter(|row| row.violation > 0.0).count())
}

/// What is multiplied into the acquisition.
struct Factors<'a> {
    feasibility: Option<Feasibility<'a>>,
    success: Option<LogSuccess<'a>>,
    apart: Option<Apart<'a>>,
    prior: Option<LogPrior<'a>>,
    cost: Option<LogCost<'a>>,
}

impl<'a> Factors<'a> {
    fn new(proposer: &'a Proposer<'a>) -> Self {
        let models = proposer.models;
        let limit = |(_, model): &'a (usize, GaussianProcess)| {
            (model as &dyn Surrogate, model.outputs().forward(0.0))
        };
        let constraints = models.constraints.iter().map(limit);
        let exponent = proposer.gp.cost_exponent(proposer.study);
        let cost = models.seconds.as_ref().map(|surrogate| LogCost {
            surrogate,
            scale: 1.0 / surrogate.outputs().slope(0.0),
            exponent,
        });
        Self {
            feasibility: (!models.constraints.is_empty()).then(|| feasibility(constraints)),
            success: (models.success.as_ref().filter(|success| !success.is_flat()))
                .map(|success| LogSuccess { success, floor: proposer.floor(success) }),
            apart: (!proposer.open.is_empty()).then(|| Apart::new(proposer.study.space(), &proposer.open)),
            prior: LogPrior::new(proposer.study.space(), BETA, models.seen)
                .filter(|_| expectation::stands(proposer.study)),
            cost,
        }
    }

    fn parts(&self) -> Vec<&dyn Acquisition> {
        let mut parts: Vec<&dyn Acquisition> = Vec::new();
        parts.extend(self.feasibility.as_ref().map(|part| part as &dyn Acquisition));
        parts.extend(self.success.as_ref().map(|part| part as &dyn Acquisition));
        parts.extend(self.apart.as_ref().map(|part| part as &dyn Acquisition));
        parts.extend(self.prior.as_ref().map(|part| part as &dyn Acquisition));
        parts.extend(self.cost.as_ref().map(|part| part as &dyn Acquisition));
        parts
    }

    fn maximise(&self, search: &Search, acquisition: &dyn Acquisition, rng: &mut Rng) -> Option<Point> {
        let mut parts = self.parts();
        if parts.is_empty() {
            return best_found(search, acquisition, rng);
        }
        parts.push(acquisition);
        best_found(search, &Sum { parts }, rng)
    }
}

/// The probability of an improvement by HEBO's margin: ten thousandths of a standard deviation.
fn improvement(best: f64) -> LogImprovementProbability {
    LogImprovementProbability { target: best - 1e-4 }
}

#[cfg(test)]
mod tests {
    use super::latest_of_both;

    #[test]
    fn what_is_rare_is_not_forgotten_in_a_long_history() {
        let chosen = |failed: &[usize], rows| latest_of_both(rows, |k| failed.contains(k), 400);
        assert_eq!(chosen(&[0], 400), (0..400).collect::<Vec<_>>());
        let one = chosen(&[0], 2_000);
        assert_eq!((one.len(), one[0], one[1]), (400, 0, 1_601));
        let many: Vec<usize> = (0..1_000).collect();
        let half = chosen(&many, 2_000);
        assert_eq!(half, (800..1_000).chain(1_800..2_000).collect::<Vec<_>>());
        let all = chosen(&(0..2_000).collect::<Vec<_>>(), 2_000);
        assert_eq!(all, (1_600..2_000).collect::<Vec<_>>());
        let some: Vec<usize> = (0..60).collect();
        assert_eq!(chosen(&some, 2_000).iter().filter(|k| **k < 60).count(), 40);
    }
}

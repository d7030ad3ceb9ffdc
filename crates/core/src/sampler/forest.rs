//! Bayesian optimisation with random forests, as SMAC does it (Hutter, Hoos and Leyton-Brown 2011; Lindauer et al. 2022,
//! arXiv:2109.09831): trees take choices, conditions and jumps of the loss as they come, and cost little.
//!
//! Trials begin evenly spread (scrambled Sobol points). Then every proposal maximises the logarithm of the expected
//! improvement over a forest ([`crate::surrogate::forest`]) by the search of [`crate::acquisition::search`]: points all
//! over the space and near the best trials, the most promising of which are moved one parameter at a time. A share of the trials
//! is drawn at random all the time, so that what the forest never looks at is seen too.
//!
//! # What a trial says
//!
//! * A completed one: its loss. A stopped one: the final loss that belongs to its rank where it stopped
//!   (see `comparable.rs`); each objective by its own rank; nothing without a report.
//! * A failed one: nothing about the loss. A forest of its own learns where trials fail, and the probability of success
//!   is multiplied in; so is that of keeping the constraints of the metrics.
//! * One that runs or waits is believed to end as the forest expects, so that parallel workers spread.
//!
//! The loss to improve on is the best *believed* loss of a trial. With several objectives there is one forest for each, and
//! the hypervolume is what improves. A user's prior multiplies the acquisition with an exponent that fades as 10 / n, as long as it stands
//! (`expectation`).
//!
//! Forests are grown anew with every finished trial up to 20 and then whenever there are a tenth more; in between they
//! take in each trial where it falls, and never see more than `max_trials`.

use serde::{Deserialize, Serialize};

use super::comparable::{Comparable, comparable_losses};
use super::expectation;
use super::modelled::{
    Known, Seen, best_found, check_effort, free_parameters, latest_losses, on_fronts, speaks,
};
use super::sequence::SOBOL;
use super::{Proposal, Request, Sampler};
use crate::acquisition::expected_improvement::LogExpectedImprovement;
use crate::acquisition::feasibility::feasibility;
use crate::acquisition::hypervolume::{LogHypervolumeImprovement, reference_point};
use crate::acquisition::prior::{BETA, LogPrior};
use crate::acquisition::search::{Effort, Search};
use crate::acquisition::{Acquisition, Over, Sum};
use crate::coverage::Coverage;
use crate::memo::Memo;
use crate::observation::{Observation, Observations, Standing};
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::{Purpose, Rng};
use crate::space::{Point, Space};
use crate::study::{Stop, Study};
use crate::surrogate::Surrogate;
use crate::surrogate::forest::{Forest, Row, Settings, Splits};
use crate::surrogate::gaussian_process::{Outputs, most_at_fit, rows_at_fit};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "forest",
    summary: "a random forest and the most promising point under it, as in SMAC; choices and conditions",
    options: &[
        OptionDoc {
            name: "n_startup",
            doc: "trials with a loss before the forest is used, spread evenly; none: by the number of parameters",
        },
        OptionDoc { name: "trees", doc: "trees in the forest, 2 to 10,000" },
        OptionDoc {
            name: "extra_trees",
            doc: "whether trees split at random places (extremely randomised) rather than at the best",
        },
        OptionDoc { name: "bootstrap", doc: "whether each tree sees trials drawn with replacement" },
        OptionDoc {
            name: "transform",
            doc: "what is modelled: power (losses made more normal), log (where all are positive) or none",
        },
        OptionDoc { name: "random_share", doc: "share of the trials that are drawn at random, from 0 to 1" },
        OptionDoc {
            name: "effort",
            doc: "how hard to search for the next point, 1 for as usual, above 0 and up to 100",
        },
        OptionDoc { name: "max_trials", doc: "trials that a forest sees at most, from 50" },
    ],
    build: |options| {
        let (forest, complete) = configure::<RandomForest>(options)?;
        forest.check_options()?;
        Ok((Box::new(forest) as _, complete))
    },
};

/// Trees at most.
const MOST_TREES: usize = 10_000;

/// Trials around which the search looks, and among which the best believed loss is sought.
const CENTERS: usize = 24;

/// Feasible trials with several losses that are remembered at most before those far from the front are dropped.
const FRONTS: usize = 192;

/// What becomes of losses before they are modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// A power transform, where it makes them more normal; losses far out are drawn in.
    #[default]
    Power,
    /// Their logarithm where all are positive, as in SMAC.
    Log,
    /// Nothing.
    None,
}

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomForest {
    /// Trials with a loss before the forest is used; none: one more than parameters, between 5 and 10.
    pub n_startup: Option<usize>,
    /// Trees in each forest.
    pub trees: usize,
    /// Whether trees split at random places rather than at the best.
    pub extra_trees: bool,
    /// Whether each tree sees trials drawn with replacement.
    pub bootstrap: bool,
    /// What is modelled.
    pub transform: Transform,
    /// Share of the trials that are drawn at random.
    pub random_share: f64,
    /// A factor on the search's effort.
    pub effort: f64,
    /// Trials that a forest is grown from at most.
    pub max_trials: usize,
}

/// Chosen on the development half of `benchmarks/suite`: twenty randomised trees that see every trial did better there than
/// SMAC's ten bootstrapped ones; the share of random trials is SMAC's.
impl Default for RandomForest {
    fn default() -> Self {
        Self {
            n_startup: None,
            trees: 20,
            extra_trees: true,
            bootstrap: false,
            transform: Transform::Power,
            random_share: 0.2,
            effort: 1.0,
            max_trials: 1000,
        }
    }
}

impl Sampler for RandomForest {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let memory: &mut Memory = memo.get();
        memory.advance(study);
        if !memory.seen.suffices(self.startup(study.space())) {
            return Proposal::Point(memory.seen.place.propose(SOBOL, study, request, rng));
        }
        if request.draw > 0 || rng.uniform() < self.random_share {
            return Proposal::Point(expectation::drawn(study, rng));
        }
        memory.refresh(study, self);
        let found = Proposer::new(self, study, memory).and_then(|proposer| proposer.point(rng));
        Proposal::Point(found.unwrap_or_else(|| expectation::drawn(study, rng)))
    }
}

impl RandomForest {
    fn check_options(&self) -> Result<(), String> {
        check_effort(self.effort)?;
        if !(0.0..=1.0).contains(&self.random_share) {
            return Err(format!("random_share is a share in [0, 1], not {}", self.random_share));
        }
        check_count("trees", self.trees, 2..=MOST_TREES)?;
        if self.max_trials < 50 {
            return Err(format!("max_trials must be at least 50, not {}", self.max_trials));
        }
        Ok(())
    }

    fn settings(&self) -> Settings {
        Settings {
            trees: self.trees,
            bootstrap: self.bootstrap,
            splits: if self.extra_trees { Splits::Random } else { Splits::Between },
            ..Settings::default()
        }
    }

    /// Trials with a loss that the model waits for.
    fn startup(&self, space: &Space) -> usize {
        self.n_startup.unwrap_or_else(|| (free_parameters(space) + 1).clamp(5, 10))
    }
}

/// The fold of a study that proposals need.
#[derive(Default)]
struct Memory {
    seen: Seen,
    models: Option<Models>,
}

impl Memory {
    fn advance(&mut self, study: &Study) {
        if !self.seen.advance(study) {
            self.models = None;
        }
    }

    /// Brings the models up to the latest stop of a trial: grown at a count that the schedule names, then trial by trial. What
    /// trials that went on have said since waits for the next forest.
    fn refresh(&mut self, study: &Study, options: &RandomForest) {
        let stops = study.stops();
        let at = rows_at_fit(stops.len(), options.max_trials);
        let is_fresh = |models: &Models| models.fitted == at && models.seen <= stops.len();
        if !self.models.as_ref().is_some_and(is_fresh) {
            self.models = Some(Models::fit(options, study, at));
        }
        let Some(models) = &mut self.models else { return };
        for stop in &stops[models.seen..] {
            models.take(study, stop);
        }
    }
}

/// A map from losses to what is modelled.
#[derive(Clone, Debug)]
struct Target {
    /// Whether logarithms are taken first, and of what at least.
    least: Option<f64>,
    outputs: Outputs,
}

impl Target {
    fn of(losses: &[f64], transform: Transform) -> Self {
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        match transform {
            Transform::Power => Self { least: None, outputs: Outputs::of(losses) },
            Transform::Log if least > 0.0 => {
                let logs: Vec<f64> = losses.iter().map(|loss| loss.ln()).collect();
                Self { least: Some(least), outputs: Outputs::linear(&logs) }
            }
            Transform::Log | Transform::None => Self::linear(losses),
        }
    }

    fn linear(losses: &[f64]) -> Self {
        Self { least: None, outputs: Outputs::linear(losses) }
    }

    fn forward(&self, loss: f64) -> f64 {
        // A loss that came later may be no positive number; it is as good as a hundredth of the least one.
        let loss = self.least.map_or(loss, |least| loss.max(least / 100.0).ln());
        self.outputs.forward(loss)
    }
}

/// A forest of one quantity.
struct Model {
    target: Target,
    forest: Forest,
    /// Which random stream is its own.
    stream: u64,
}

impl Model {
    fn fit(study: &Study, target: Target, rows: &[(&[f64], f64)], settings: &Settings, key: Key) -> Self {
        let row = |(unit, loss): &(&'_ [f64], f64)| (unit.to_vec(), target.forward(*loss));
        let rows: Vec<(Vec<f64>, f64)> = rows.iter().map(row).collect();
        let rows: Vec<Row> = rows.iter().map(|(unit, loss)| Row { unit, loss: *loss }).collect();
        let forest = Forest::fit(study.space(), &rows, settings, &mut key.rng(study, 0));
        Self { target, forest, stream: key.stream }
    }

    /// Takes in one more row, the `seen`-th of the study.
    fn push(&mut self, study: &Study, unit: &[f64], loss: f64, seen: usize) {
        let row = Row { unit, loss: self.target.forward(loss) };
        let key = Key { seen, stream: self.stream };
        self.forest.push(row, &mut key.rng(study, 1));
    }
}

/// By which a model's chance is told from that of all others.
#[derive(Clone, Copy)]
struct Key {
    seen: usize,
    stream: u64,
}

impl Key {
    fn rng(self, study: &Study, kind: u64) -> Rng {
        Rng::stream(study.spec().seed, self.seen as u64, Purpose::Surrogate, 2 * self.stream + kind)
    }
}

/// Streams of models: objectives count from 0.
const CONSTRAINTS: u64 = 1 << 16;
const SUCCESS: u64 = 1 << 17;

/// What is believed of losses, constraints and failures.
struct Models {
    /// Stops of trials when the forests were grown, and stops looked at since.
    fitted: usize,
    seen: usize,
    /// What those trials said.
    rows: Vec<Observation>,
    settings: Settings,
    /// Rows that a forest is grown from at most.
    most: usize,
    objectives: Vec<Model>,
    /// The best feasible rows with their comparable losses; the best first.
    feasible: Vec<Known>,
    /// Models of the constraints that were ever reported, by their index.
    constraints: Vec<(usize, Model)>,
    success: Option<Model>,
}

impl Models {
    fn fit(options: &RandomForest, study: &Study, stops: usize) -> Self {
        let rows = Observations::after(study, stops);
        let settings = options.settings();
        let comparable = comparable_losses(study, &rows);
        let known: Vec<usize> = (0..rows.len()).filter(|k| speaks(&rows[*k])).collect();
        let most = most_at_fit(options.max_trials);
        let kept = selected(&known, |k| comparable[k][0].loss, most);
        let objective = |m: usize| {
            let pairs: Vec<(&[f64], f64)> =
                kept.iter().map(|k| (&*rows[*k].unit, comparable[*k][m].loss)).collect();
            let losses: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
            let target = Target::of(&losses, options.transform);
            Model::fit(study, target, &pairs, &settings, Key { seen: stops, stream: m as u64 })
        };
        let latest = latest(&rows, most);
        let constraint = |m: usize| Some((m, constraint_model(study, latest, stops, m, &settings)?));
        let mut models = Self {
            fitted: stops,
            seen: stops,
            rows: Vec::new(),
            settings,
            most,
            objectives: (0..study.metrics().objectives.len()).map(objective).collect(),
            feasible: Vec::new(),
            constraints: (0..study.metrics().constraints.len()).filter_map(constraint).collect(),
            success: success_model(study, latest, stops, &settings),
        };
        for (row, losses) in rows.iter().zip(&comparable) {
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
            self.push(study, &row, &latest_losses(study, &self.rows));
        }
    }

    fn push(&mut self, study: &Study, row: &Observation, losses: &[Comparable]) {
        self.note(row, losses);
        if speaks(row) {
            for (m, model) in self.objectives.iter_mut().enumerate() {
                model.push(study, &row.unit, losses[m].loss, self.seen);
            }
        }
        for (m, model) in &mut self.constraints {
            if row.constraints[*m].is_finite() {
                model.push(study, &row.unit, row.constraints[*m], self.seen);
            }
        }
        let has_failed = row.standing == Standing::Failed;
        match &mut self.success {
            Some(success) => success.push(study, &row.unit, outcome(row), self.seen),
            None if has_failed => {
                let latest = latest(&self.rows, self.most);
                self.success = success_model(study, latest, self.seen, &self.settings);
            }
            None => {}
        }
    }

    /// Remembers a feasible trial if it is one of the best.
    fn note(&mut self, row: &Observation, losses: &[Comparable]) {
        let Some(known) = Known::of(row, losses) else { return };
        if let [loss] = *known.losses {
            let place = self.feasible.partition_point(|other| other.losses[0] <= loss);
            self.feasible.insert(place, known);
            self.feasible.truncate(CENTERS);
        } else {
            self.feasible.push(known);
            if self.feasible.len() > FRONTS {
                self.feasible = on_fronts(&self.feasible).into_iter().take(FRONTS / 2).cloned().collect();
            }
        }
    }
}

fn latest(rows: &[Observation], most: usize) -> &[Observation] {
    &rows[rows.len().saturating_sub(most)..]
}

fn constraint_model(
    study: &Study,
    rows: &[Observation],
    seen: usize,
    m: usize,
    settings: &Settings,
) -> Option<Model> {
    let reported = rows.iter().filter(|row| row.constraints[m].is_finite());
    let pairs: Vec<(&[f64], f64)> = reported.map(|row| (&*row.unit, row.constraints[m])).collect();
    let values: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let key = Key { seen, stream: CONSTRAINTS + m as u64 };
    (!pairs.is_empty()).then(|| Model::fit(study, Target::linear(&values), &pairs, settings, key))
}

/// A model of where trials fail, once one has.
fn success_model(study: &Study, rows: &[Observation], seen: usize, settings: &Settings) -> Option<Model> {
    if !rows.iter().any(|row| row.standing == Standing::Failed) {
        return None;
    }
    let pairs: Vec<(&[f64], f64)> = rows.iter().map(|row| (&*row.unit, outcome(row))).collect();
    let target = Target { least: None, outputs: Outputs::identity() };
    Some(Model::fit(study, target, &pairs, settings, Key { seen, stream: SUCCESS }))
}

/// 0 for a failure, 1 for anything else.
fn outcome(row: &Observation) -> f64 {
    if row.standing == Standing::Failed { 0.0 } else { 1.0 }
}

/// ln of the share of trees that believe in success, with one vote more on either side.
struct Success<'a> {
    forest: &'a Forest,
    trees: f64,
}

impl Acquisition for Success<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        ((self.trees * self.forest.belief(unit).mean + 1.0) / (self.trees + 2.0)).ln()
    }
}

/// One proposal in the making.
struct Proposer<'a> {
    options: &'a RandomForest,
    study: &'a Study,
    coverage: &'a Coverage,
    models: &'a Models,
    /// Forests of the objectives where trials are pending: they believe what they expect of those.
    forests: Vec<Forest>,
    /// Unit coordinates of feasible trials, the best first.
    centers: Vec<Vec<f64>>,
}

impl<'a> Proposer<'a> {
    fn new(options: &'a RandomForest, study: &'a Study, memory: &'a Memory) -> Option<Self> {
        let models = memory.models.as_ref()?;
        let open = memory.seen.observations.open();
        let believing = |model: &Model| {
            let mut forest = model.forest.clone();
            let mut rng = Key { seen: models.seen, stream: model.stream }.rng(study, 1);
            for row in open {
                let expected = forest.belief(&row.unit).mean;
                forest.push_believed(&row.unit, expected, &mut rng);
            }
            forest
        };
        let is_idle = open.is_empty();
        let forests = if is_idle { Vec::new() } else { models.objectives.iter().map(believing).collect() };
        let best = match models.objectives.len() {
            1 => models.feasible.iter().collect(),
            _ => on_fronts(&models.feasible),
        };
        let centers = best.into_iter().take(CENTERS).map(|known| known.unit.clone()).collect();
        Some(Self { options, study, coverage: &memory.seen.coverage, models, forests, centers })
    }

    fn forest(&self, m: usize) -> &Forest {
        self.forests.get(m).unwrap_or(&self.models.objectives[m].forest)
    }

    fn point(&self, rng: &mut Rng) -> Option<Point> {
        let is_tried = |point: &Point| self.coverage.contains(&point.0);
        let search = Search {
            space: self.study.space(),
            effort: Effort::share(self.options.effort),
            centers: &self.centers,
            region: None,
            is_tried: &is_tried,
        };
        if self.centers.is_empty() {
            return self.maximised(&search, None, rng);
        }
        if self.models.objectives.len() > 1 {
            return self.widen_front(&search, rng);
        }
        let forest = self.forest(0);
        let believed = self.centers.iter().map(|unit| forest.belief(unit).mean);
        let best = believed.fold(f64::INFINITY, f64::min);
        self.maximised(&search, Some(&Over::new(forest, LogExpectedImprovement { best })), rng)
    }

    fn widen_front(&self, search: &Search, rng: &mut Rng) -> Option<Point> {
        let objectives = &self.models.objectives;
        let in_units = |known: &Known| -> Vec<f64> {
            objectives.iter().zip(&known.losses).map(|(model, loss)| model.target.forward(*loss)).collect()
        };
        let rows: Vec<Vec<f64>> = self.models.feasible.iter().map(in_units).collect();
        let forests = (0..objectives.len()).map(|m| self.forest(m) as &dyn Surrogate).collect();
        let reference = reference_point(&rows);
        self.maximised(search, Some(&LogHypervolumeImprovement::new(forests, &rows, &reference)), rng)
    }

    /// The maximum of what is hoped for times the probability of feasibility and success, and the prior.
    fn maximised(&self, search: &Search, hope: Option<&dyn Acquisition>, rng: &mut Rng) -> Option<Point> {
        let models = self.models;
        let limit =
            |(_, model): &'a (usize, Model)| (&model.forest as &dyn Surrogate, model.target.forward(0.0));
        let feasibility = feasibility(models.constraints.iter().map(limit));
        let trees = self.options.trees as f64;
        let success = models.success.as_ref().map(|model| Success { forest: &model.forest, trees });
        let prior =
            LogPrior::new(self.study.space(), BETA, models.seen).filter(|_| expectation::stands(self.study));
        let mut parts: Vec<&dyn Acquisition> = Vec::new();
        if !models.constraints.is_empty() {
            parts.push(&feasibility);
        }
        parts.extend(success.as_ref().map(|part| part as &dyn Acquisition));
        parts.extend(prior.as_ref().map(|part| part as &dyn Acquisition));
        parts.extend(hope);
        best_found(search, &Sum { parts }, rng)
    }
}

/// At most `most` of the rows `known`, in their order: a third the best, a third the latest, the rest spread evenly.
fn selected(known: &[usize], loss: impl Fn(usize) -> f64, most: usize) -> Vec<usize> {
    if known.len() <= most {
        return known.to_vec();
    }
    let third = most / 3;
    let mut by_loss = known.to_vec();
    by_loss.sort_by(|a, b| loss(*a).total_cmp(&loss(*b)).then(a.cmp(b)));
    let mut kept: Vec<usize> = by_loss[..third].to_vec();
    kept.extend(&known[known.len() - third..]);
    kept.sort_unstable();
    kept.dedup();
    let others: Vec<usize> = known.iter().copied().filter(|k| kept.binary_search(k).is_err()).collect();
    let wanted = most - kept.len();
    kept.extend((0..wanted).map(|k| others[k * others.len() / wanted]));
    kept.sort_unstable();
    kept
}

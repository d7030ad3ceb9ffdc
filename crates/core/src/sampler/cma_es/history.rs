//! Which trials of a study make up each generation: the fold of a study that a strategy follows from.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::covariance::Covariance;
use super::progress::Progress;
use super::strategy::{Axis, Member, Sample, Start, Strategy};
use super::{CmaEs, NAME, Restart, population};
use crate::event::Origin;
use crate::observation::{FirstStops, Observation, Standing};
use crate::rng::{Purpose, Rng};
use crate::space::{Parameter, Point, Prior, Space};
use crate::study::Study;

/// Draws until one lies in the unit cube and keeps the constraints.
const ATTEMPTS: usize = 100;
/// Earlier distributions that late trials are looked for in.
const EARLIER: usize = 32;
/// Numbers that earlier distributions may take up together.
const ROOM: usize = 4_000_000;
/// Proposals of one trial that are looked at, where it may have repeated others and where it cannot have.
const DRAWS: u64 = 33;
const DRAWS_OF_NUMBERS: u64 = 2;
/// How far a number may be from the one drawn, in unit coordinates, and still be it.
const SAME: f64 = 1e-7;
/// Trials of others from which on they say where to begin, and the share of them that does.
const SOURCES: usize = 10;
const BEST: f64 = 0.1;
/// What is added to the deviations of a warm start: α.
const SPREAD: f64 = 0.1;
/// The largest population of a restart.
const LARGEST: usize = 1_000;

/// The memo: a fold of the study.
#[derive(Default)]
pub(super) struct History {
    stops: FirstStops,
    rows: Vec<Observation>,
    begun: bool,
    search: Option<Search>,
}

impl History {
    /// Takes in what has happened since the last call.
    pub(super) fn advance(&mut self, study: &Study, options: &CmaEs) {
        let (holds, fresh) = self.stops.advance(study);
        if !holds || !self.begun {
            self.begun = true;
            self.rows.clear();
            self.search = Search::new(study.space(), options);
        }
        let Some(search) = &mut self.search else { return };
        for row in fresh {
            self.rows.push(row);
            search.take(study, options, &self.rows);
        }
    }

    /// Trials that have stopped and said something.
    pub(super) fn seen(&self) -> usize {
        self.rows.len()
    }

    /// The present distribution, where there is something to search.
    pub(super) fn strategy(&self) -> Option<&Strategy> {
        self.search.as_ref().map(|search| &search.strategy)
    }

    /// A point drawn from the present distribution.
    pub(super) fn sample(&self, space: &Space, rng: &mut Rng) -> Option<Point> {
        let search = self.search.as_ref()?;
        let sample = search.layout.sample(&search.strategy, space, rng);
        Some(search.layout.point(space, &sample))
    }

    /// Where the search stands.
    pub(super) fn explain(&self) -> Option<String> {
        let search = self.search.as_ref()?;
        let strategy = &search.strategy;
        let search_number = match search.restarts.count {
            0 => String::new(),
            count => format!(", restart {count}"),
        };
        Some(format!(
            "generation {} of {} trials each, step size {:.2e}{search_number}",
            strategy.generation(),
            strategy.population(),
            strategy.sigma()
        ))
    }
}

/// Which parameter each coordinate is.
struct Layout {
    axes: Vec<(usize, Axis)>,
    choices: Vec<(usize, u64)>,
    parameters: usize,
}

impl Layout {
    fn of(space: &Space) -> Self {
        let (mut axes, mut choices) = (Vec::new(), Vec::new());
        for (k, parameter) in space.parameters().iter().enumerate() {
            let distribution = &parameter.distribution;
            match distribution.cells() {
                _ if parameter.retired => {}
                Some(1) => {}
                Some(count) if count == 2 || distribution.is_categorical() => choices.push((k, count)),
                Some(_) => axes.push((k, Axis::Cells(distribution.clone()))),
                None => axes.push((k, Axis::Continuous)),
            }
        }
        Self { axes, choices, parameters: space.len() }
    }

    fn coordinates(&self) -> usize {
        self.axes.len() + self.choices.len()
    }

    fn axes(&self) -> Vec<Axis> {
        self.axes.iter().map(|(_, axis)| axis.clone()).collect()
    }

    /// Draws until numbers lie in the unit interval and the constraints are kept, or patience ends.
    fn sample(&self, strategy: &Strategy, space: &Space, rng: &mut Rng) -> Sample {
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let latent = strategy.draw(rng);
            let inside = latent.iter().zip(&self.axes).all(|(x, (_, axis))| match axis {
                Axis::Continuous => (0.0..=1.0).contains(x),
                Axis::Cells(_) => true,
            });
            if !inside {
                continue;
            }
            let sample = Sample { latent, choices: strategy.choose(rng) };
            if space.constraints().is_empty() || space.allows(&self.point(space, &sample).0) {
                return sample;
            }
            refused = Some(sample);
        }
        refused.unwrap_or_else(|| {
            let clipped = |(x, (_, axis)): (f64, &(usize, Axis))| match axis {
                Axis::Continuous => x.clamp(0.0, 1.0),
                Axis::Cells(_) => x,
            };
            let latent = strategy.draw(rng).into_iter().zip(&self.axes).map(clipped).collect();
            Sample { latent, choices: strategy.choose(rng) }
        })
    }

    fn point(&self, space: &Space, sample: &Sample) -> Point {
        let mut cube = vec![0.5; self.parameters];
        for ((k, _), x) in self.axes.iter().zip(&sample.latent) {
            cube[*k] = *x;
        }
        for ((k, count), choice) in self.choices.iter().zip(&sample.choices) {
            cube[*k] = (f64::from(*choice) + 0.5) / *count as f64;
        }
        space.from_unit(&cube)
    }

    /// Whether a trial holds what was drawn, wherever it was active.
    fn is_of(&self, space: &Space, sample: &Sample, row: &Observation, point: &Point) -> bool {
        let same = |((k, axis), x): (&(usize, Axis), &f64)| match (axis, point.get(*k)) {
            (_, None) => true,
            (Axis::Continuous, Some(_)) => (row.unit[*k] - x).abs() <= SAME,
            (Axis::Cells(cells), Some(coded)) => cells.from_unit(*x) == coded,
        };
        let chosen = |((k, _), choice): (&(usize, u64), &u32)| {
            point.get(*k).is_none_or(|coded| cell(space, *k, coded) == *choice)
        };
        self.axes.iter().zip(&sample.latent).all(same) && self.choices.iter().zip(&sample.choices).all(chosen)
    }

    /// What a trial says to the strategy; `sample` is what was drawn for it, where that is known.
    fn member(
        &self,
        space: &Space,
        row: &Observation,
        point: &Point,
        sample: Option<Sample>,
        injected: bool,
    ) -> Member {
        let middle: Vec<f64> = self.axes.iter().map(|(k, _)| row.unit[*k]).collect();
        let latent = sample.map_or_else(|| middle.clone(), |sample| sample.latent);
        let choice = |(k, _): &(usize, u64)| point.get(*k).map(|coded| cell(space, *k, coded));
        Member { latent, middle, choices: self.choices.iter().map(choice).collect(), injected }
    }
}

fn cell(space: &Space, k: usize, coded: f64) -> u32 {
    space.parameters()[k].distribution.cell_of(coded) as u32
}

/// A trial's place among others: smaller is better.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank {
    group: u8,
    first: f64,
    second: f64,
    trial: u32,
}

impl Rank {
    fn of(row: &Observation) -> Self {
        let loss = row.losses.first().copied().filter(|loss| !loss.is_nan()).unwrap_or(f64::INFINITY);
        let (group, first, second) = match row.standing {
            Standing::Failed => (3, 0.0, 0.0),
            _ if row.violation > 0.0 => (2, row.violation, loss),
            Standing::Completed | Standing::Raced => (0, loss, 0.0),
            Standing::Partial | Standing::Pending => (1, -(row.step as f64), loss),
        };
        // Adding zero makes -0 the same as 0, so that the trial number breaks the tie.
        Self { group, first: first + 0.0, second: second + 0.0, trial: row.trial }
    }

    fn order(&self, other: &Self) -> Ordering {
        self.group
            .cmp(&other.group)
            .then(self.first.total_cmp(&other.first))
            .then(self.second.total_cmp(&other.second))
            .then(self.trial.cmp(&other.trial))
    }

    /// The loss, infinite unless it completed within the constraints.
    fn loss(&self) -> f64 {
        if self.group == 0 { self.first } else { f64::INFINITY }
    }
}

/// A trial that has a place in the next generation.
struct Told {
    rank: Rank,
    member: Member,
}

/// One search after the other, each with its distribution.
struct Search {
    layout: Layout,
    strategy: Strategy,
    /// Earlier distributions of this search, latest first.
    earlier: VecDeque<Strategy>,
    /// Trials of this search and of others since it has last learnt.
    own: Vec<Told>,
    others: Vec<Told>,
    /// Rows of others' trials before anything was learnt, and how many there were at the last warm start.
    sources: Vec<usize>,
    warmed: usize,
    /// Trials of this generation that the engine had to draw, because all proposals had been tried.
    exhausted: usize,
    progress: Progress,
    restarts: Restarts,
}

/// What restarts there were, and what they cost.
#[derive(Default)]
struct Restarts {
    count: u32,
    doublings: u32,
    small: bool,
    /// Trials spent by searches with large and with small populations.
    spent: [u64; 2],
}

impl Search {
    fn new(space: &Space, options: &CmaEs) -> Option<Self> {
        let layout = Layout::of(space);
        if layout.axes.is_empty() && layout.choices.is_empty() {
            return None;
        }
        let strategy = Strategy::new(layout.axes(), first_start(space, &layout, options));
        Some(Self {
            progress: Progress::new(strategy.sigma()),
            layout,
            strategy,
            earlier: VecDeque::new(),
            own: Vec::new(),
            others: Vec::new(),
            sources: Vec::new(),
            warmed: 0,
            exhausted: 0,
            restarts: Restarts::default(),
        })
    }

    /// Takes in the last of the rows.
    fn take(&mut self, study: &Study, options: &CmaEs, rows: &[Observation]) {
        let Some(row) = rows.last() else { return };
        let trial = &study.trials()[row.trial as usize];
        if let Some((age, sample)) = self.recognise(study, row) {
            let member = self.layout.member(study.space(), row, &trial.point, Some(sample), age > 0);
            self.own.push(Told { rank: Rank::of(row), member });
        } else {
            self.exhausted += usize::from(trial.origin == Origin::Fallback);
            self.hear(study, options, rows);
        }
        if self.own.len() >= self.strategy.population() {
            self.learn(study, options, rows.len());
        } else if self.exhausted >= self.strategy.population() {
            self.restart(study, options, rows.len());
        }
    }

    /// From which distribution of this search a trial was drawn, 0 for the present one, and what was drawn.
    fn recognise(&self, study: &Study, row: &Observation) -> Option<(usize, Sample)> {
        let trial = &study.trials()[row.trial as usize];
        let by_others = trial.by.as_ref().is_some_and(|by| &*by.arm != NAME);
        if trial.origin != Origin::Sampler || trial.space != study.space_version() || by_others {
            return None;
        }
        let space = study.space();
        let number = |(k, axis): &(usize, Axis)| matches!(axis, Axis::Continuous) && !row.unit[*k].is_nan();
        let draws = if self.layout.axes.iter().any(number) { DRAWS_OF_NUMBERS } else { DRAWS };
        let distributions = std::iter::once(&self.strategy).chain(&self.earlier);
        distributions.enumerate().find_map(|(age, strategy)| {
            let drawn = (0..draws).map(|draw| {
                let mut rng = Rng::stream(study.spec().seed, u64::from(row.trial), Purpose::Sampler, draw);
                self.layout.sample(strategy, space, &mut rng)
            });
            let mut drawn = drawn.filter(|sample| self.layout.is_of(space, sample, row, &trial.point));
            drawn.next().map(|sample| (age, sample))
        })
    }

    /// Takes in a trial of others: as a source of a warm start as long as nothing was learnt, or to be injected. After a
    /// restart it is not wanted.
    fn hear(&mut self, study: &Study, options: &CmaEs, rows: &[Observation]) {
        let Some(row) = rows.last() else { return };
        if self.restarts.count > 0 {
            return;
        }
        let point = &study.trials()[row.trial as usize].point;
        let member = self.layout.member(study.space(), row, point, None, true);
        self.others.push(Told { rank: Rank::of(row), member });
        if options.warm_start && self.strategy.generation() == 0 && self.own.is_empty() {
            self.sources.push(rows.len() - 1);
            self.begin_where_others_are_good(study.space(), options, rows);
        }
    }

    fn begin_where_others_are_good(&mut self, space: &Space, options: &CmaEs, rows: &[Observation]) {
        let due = self.warmed + self.warmed.div_ceil(10);
        if self.sources.len() < SOURCES.max(due) {
            return;
        }
        self.warmed = self.sources.len();
        let Some(start) = self.warm_start(space, options, rows) else { return };
        self.others.clear();
        let strategy = Strategy::new(self.layout.axes(), start);
        self.progress = Progress::new(strategy.sigma());
        self.replace(strategy);
    }

    /// Mean, shape and probabilities of the best of the sources.
    fn warm_start(&self, space: &Space, options: &CmaEs, rows: &[Observation]) -> Option<Start> {
        let rank = |row: &usize| (Rank::of(&rows[*row]), *row);
        let mut ranked: Vec<(Rank, usize)> = self.sources.iter().map(rank).collect();
        ranked.sort_by(|a, b| a.0.order(&b.0));
        ranked.truncate((ranked.len() as f64 * BEST) as usize);
        ranked.retain(|(rank, _)| rank.group < 3);
        if ranked.is_empty() {
            return None;
        }
        let best: Vec<&Observation> = ranked.iter().map(|(_, row)| &rows[*row]).collect();
        let plain = first_start(space, &self.layout, options);
        let points: Vec<Vec<f64>> =
            best.iter().map(|row| self.layout.axes.iter().map(|(k, _)| row.unit[*k]).collect()).collect();
        let separable = plain.covariance.is_separable();
        let (mean, sigma, covariance) = warm_start(&points, &plain.mean, separable);
        let mut probabilities = plain.probabilities;
        for ((k, count), shares) in self.layout.choices.iter().zip(&mut probabilities) {
            learn_shares(&best, *k, *count, shares);
        }
        Some(Start { mean, sigma, covariance, probabilities, ..plain })
    }

    /// Goes on with another distribution of the same search.
    fn replace(&mut self, strategy: Strategy) {
        let earlier = std::mem::replace(&mut self.strategy, strategy);
        let most = (ROOM / earlier.size().max(1)).clamp(1, EARLIER);
        self.earlier.push_front(earlier);
        self.earlier.truncate(most);
    }

    /// Closes the generation.
    fn learn(&mut self, study: &Study, options: &CmaEs, finished: usize) {
        let mut ranked = std::mem::take(&mut self.own);
        let order = |a: &Told, b: &Told| a.rank.order(&b.rank);
        ranked.sort_by(order);
        self.restarts.spent[usize::from(self.restarts.small)] += ranked.len() as u64;
        let losses: Vec<f64> = ranked.iter().map(|told| told.rank.loss()).collect();
        let half = ranked.len() / 2;
        let mut others = std::mem::take(&mut self.others);
        others.retain(|told| told.rank.order(&ranked[half].rank).is_lt());
        others.sort_by(order);
        others.truncate(half);
        ranked.extend(others);
        ranked.sort_by(order);
        let mut next = self.strategy.clone();
        next.learn(ranked.into_iter().map(|told| told.member).collect());
        self.replace(next);
        self.exhausted = 0;
        self.progress.add(&losses, &self.strategy);
        if self.progress.is_over(&self.strategy) {
            self.restart(study, options, finished);
        }
    }

    /// Begins another search at a random place.
    fn restart(&mut self, study: &Study, options: &CmaEs, finished: usize) {
        self.exhausted = 0;
        if options.restart == Restart::None {
            return;
        }
        let mut rng = Rng::stream(study.spec().seed, finished as u64, Purpose::Surrogate, 0);
        let space = study.space();
        let mut start = first_start(space, &self.layout, options);
        let cube: Vec<f64> = rng.uniforms(space.len());
        let drawn = space.to_unit(&space.draw(&cube));
        for (mean, (k, _)) in start.mean.iter_mut().zip(&self.layout.axes) {
            *mean = if drawn[*k].is_nan() { cube[*k] } else { drawn[*k] };
        }
        let ones = vec![1.0; start.mean.len()];
        start.covariance = Covariance::diagonal(&ones, start.covariance.is_separable());
        let usual = options.population.unwrap_or_else(|| population(self.layout.coordinates()));
        let (population, shrink) = self.restarts.next(usual, options.restart, &mut rng);
        start.population = Some(population);
        start.sigma *= shrink;
        self.strategy = Strategy::new(self.layout.axes(), start);
        self.progress = Progress::new(self.strategy.sigma());
        self.earlier.clear();
        self.own.clear();
        self.others.clear();
        self.sources.clear();
    }
}

impl Restarts {
    /// Population and share of the first step size of the next search.
    fn next(&mut self, usual: usize, restart: Restart, rng: &mut Rng) -> (usize, f64) {
        self.count += 1;
        let [large, small] = self.spent;
        self.small = restart == Restart::Bipop && self.count > 1 && small < large;
        if self.small {
            let half = (usual << self.doublings) as f64 / 2.0 / usual as f64;
            let size = usual as f64 * half.max(1.0).powf(rng.uniform().powi(2));
            return (size as usize, 10f64.powf(-2.0 * rng.uniform()));
        }
        if usual << (self.doublings + 1) <= LARGEST {
            self.doublings += 1;
        }
        (usual << self.doublings, 1.0)
    }
}

/// Where a search begins that knows nothing: at the defaults and priors, else in the middle.
fn first_start(space: &Space, layout: &Layout, options: &CmaEs) -> Start {
    let parameters = space.parameters();
    let mean = layout.axes.iter().map(|(k, _)| {
        // Half a deviation from the ends, or half of all draws would lie outside.
        first_unit(&parameters[*k]).clamp(options.sigma / 2.0, 1.0 - options.sigma / 2.0)
    });
    let variance = |(k, _): &(usize, Axis)| {
        (first_deviation(parameters[*k].prior.as_ref(), options) / options.sigma).powi(2)
    };
    let variances: Vec<f64> = layout.axes.iter().map(variance).collect();
    let probabilities = layout.choices.iter().map(|(k, count)| {
        let parameter = &parameters[*k];
        let density = |c: u64| {
            let unit = (c as f64 + 0.5) / *count as f64;
            parameter.prior.as_ref().map_or(1.0, |prior| prior.density(&parameter.distribution, unit))
        };
        let densities: Vec<f64> = (0..*count).map(density).collect();
        let sum: f64 = densities.iter().sum();
        densities.into_iter().map(|density| density / sum).collect()
    });
    Start {
        mean: mean.collect(),
        sigma: options.sigma,
        covariance: Covariance::diagonal(&variances, options.is_separable(layout.axes.len())),
        probabilities: probabilities.collect(),
        population: options.population,
        lr_adapt: options.lr_adapt,
    }
}

fn first_unit(parameter: &Parameter) -> f64 {
    let distribution = &parameter.distribution;
    let default = parameter.default.as_ref().and_then(|value| distribution.encode(value).ok());
    match (default, &parameter.prior) {
        (Some(coded), _) => distribution.to_unit(coded),
        (None, Some(prior)) => prior.mode(distribution),
        (None, None) => 0.5,
    }
}

fn first_deviation(prior: Option<&Prior>, options: &CmaEs) -> f64 {
    match prior {
        Some(Prior::Center { spread, .. }) => *spread,
        Some(Prior::Weights { .. }) | None => options.sigma,
    }
}

/// Shares of the choices among the best trials; the first probabilities count as two more of them.
fn learn_shares(best: &[&Observation], parameter: usize, count: u64, shares: &mut [f64]) {
    for share in shares.iter_mut() {
        *share *= 2.0;
    }
    for row in best {
        let unit = row.unit[parameter];
        if !unit.is_nan() {
            shares[((unit * count as f64) as usize).min(count as usize - 1)] += 1.0;
        }
    }
    let sum: f64 = shares.iter().sum();
    for share in shares.iter_mut() {
        *share /= sum;
    }
}

/// Mean, step size and shape of a search that begins where good points are (WS-CMA-ES: Nomura et al. 2021,
/// arXiv:2012.06932, eqs. 12 and 13, with α = 0.1). `points` holds at least one; NaN where a coordinate was inactive, and
/// where it was so in all of them, the mean is that of `otherwise`.
pub fn warm_start(points: &[Vec<f64>], otherwise: &[f64], separable: bool) -> (Vec<f64>, f64, Covariance) {
    let n = otherwise.len();
    let mean = |k: usize| {
        let known: Vec<f64> = points.iter().map(|point| point[k]).filter(|x| !x.is_nan()).collect();
        if known.is_empty() { otherwise[k] } else { known.iter().sum::<f64>() / known.len() as f64 }
    };
    let mean: Vec<f64> = (0..n).map(mean).collect();
    let plain = vec![SPREAD * SPREAD; n];
    let mut shape = Covariance::diagonal(&plain, separable);
    let offset = |k: usize, x: f64| if x.is_nan() { 0.0 } else { x - mean[k] };
    let offsets: Vec<Vec<f64>> =
        points.iter().map(|point| point.iter().enumerate().map(|(k, x)| offset(k, *x)).collect()).collect();
    let terms: Vec<(f64, &[f64])> =
        offsets.iter().map(|offset| (1.0 / points.len() as f64, &**offset)).collect();
    shape.update(1.0, &terms, 0);
    let volume = if n == 0 { 0.0 } else { shape.log_determinant() / n as f64 };
    shape.replace(shape.entries().iter().map(|c| c / volume.exp()).collect());
    (mean, (volume / 2.0).exp(), shape)
}

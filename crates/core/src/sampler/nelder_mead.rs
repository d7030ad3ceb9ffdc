//! Nelder–Mead refinement: a simplex walks down from the best trial so far (Nelder and Mead 1965; bounded, with the
//! adaptive coefficients of Gao and Han 2012).
//!
//! The method is that of the crate `basin`. It is replayed over what the study knows: a point that a trial has had
//! costs what that trial says, and the first point that none has had is the next trial. So a run of the method is a function
//! of the study, whoever proposed the trials.
//!
//! * **Start**: after some scrambled Sobol points, at the best trial; a right-angled simplex of side `size` in the
//!   unit cube, pointing inwards.
//! * **Parameters**: numbers, integers and levels move, the latter two snapped to their values. Choices, and parameters inactive
//!   at the start, stay as they are there.
//! * **Collapse**: once the simplex is smaller than `tolerance`, or stands for one point only, another starts at the next best
//!   trial that no simplex has used and that is at least `size` from where one has ended. Where there is none, a Sobol point is
//!   the next start.
//! * **Parallel workers**: while the next point is being evaluated, the others that may be needed after it are proposed:
//!   the rest of a new simplex; expansions, contractions and later reflections, as if the running trial turned out bad,
//!   excellent, poor or fair. What is left over goes to Sobol points.
//! * **Order**: completed trials by loss; those that stopped on the way, by how far they came and then by their loss; those that break a
//!   constraint of the metrics, by how much; failed ones. Points that the constraints of the space forbid are worst and are
//!   never run.
//! * **Several metrics**: each simplex has a direction of its own, spread evenly over the metrics, and walks down Tchebycheff's
//!   augmented norm in that direction (Knowles 2006, "`ParEGO`", equation 2), in units of the range that the first front has when the
//!   simplex starts. So it starts at the trial that is best in its direction; after five times as many trials as it has vertices, the next
//!   direction has its turn.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction};
use basin::{NelderMead as Method, Problem, SimplexProgress, Solver};
use serde::{Deserialize, Serialize};

use super::{Proposal, Request, SAMPLERS, Sampler};
use crate::halton::radical_inverse;
use crate::memo::Memo;
use crate::observation::{Observation, Standing};
use crate::pareto::front;
use crate::registry::{self, Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::spec::Component;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "nelder_mead",
    summary: "refines the best trials by a simplex; for few parameters with a smooth loss",
    options: &[
        OptionDoc { name: "n_startup", doc: "finished trials before the first simplex, from 1" },
        OptionDoc { name: "size", doc: "side of a new simplex, as a share of each range, in (0, 0.5]" },
        OptionDoc {
            name: "tolerance",
            doc: "side below which a simplex has collapsed, as a share of each range, in (0, size)",
        },
    ],
    build: |options| {
        let (config, complete) = configure::<Options>(options)?;
        Ok((Box::new(NelderMead::new(config)?) as _, complete))
    },
};

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Finished trials before the first simplex.
    pub n_startup: usize,
    /// Side of a new simplex, as a share of each range.
    pub size: f64,
    /// Side below which a simplex has collapsed.
    pub tolerance: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { n_startup: 10, size: 0.2, tolerance: 1e-5 }
    }
}

/// Replays of the method that look for something to do beside running trials.
const REPLAYS: usize = 64;

struct NelderMead {
    options: Options,
    cover: Box<dyn Sampler>,
}

impl NelderMead {
    fn new(options: Options) -> Result<Self, String> {
        if options.n_startup == 0 {
            return Err("n_startup must be at least 1: the first simplex needs a trial to start from".into());
        }
        if !(options.size > 0.0 && options.size <= 0.5) {
            return Err(format!("size is a share of each range in (0, 0.5], not {}", options.size));
        }
        if !(options.tolerance > 0.0 && options.tolerance < options.size) {
            return Err(format!("tolerance must be above 0 and below size, not {}", options.tolerance));
        }
        let (cover, _) =
            registry::build("sampler", SAMPLERS, &Component::named("sobol")).map_err(|e| e.to_string())?;
        Ok(Self { options, cover })
    }
}

impl Sampler for NelderMead {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let history: &mut History = memo.get();
        history.advance(study, &self.options);
        // A point asked for again was tried or refused: then anything new is welcome.
        let wanted = if request.draw == 0 { history.wanted(study) } else { None };
        match wanted {
            Some(point) => Proposal::Point(point),
            None => self.cover.propose(study, request, &mut history.cover, rng),
        }
    }

    fn explain(&self, study: &Study, memo: &mut Memo) -> Option<String> {
        let history: &mut History = memo.get();
        history.advance(study, &self.options);
        Some(match &history.simplex {
            None => "covering the space evenly until there is a trial to refine".into(),
            Some(simplex) => {
                format!("simplex {} of side {:.1e}", history.ends.len() + 1, side(&simplex.vertices))
            }
        })
    }
}

/// Costs beyond all losses: of trials that stopped, that break constraints, that failed, and of forbidden points.
const PARTIAL: f64 = 1e301;
const INFEASIBLE: f64 = 1e303;
const FAILED: f64 = 1e305;
const FORBIDDEN: f64 = 1e306;
/// What a running vertex of a new simplex counts as.
const UNKNOWN: f64 = 2e300;

fn cost_of(row: &Observation, aim: &Aim) -> f64 {
    let loss = aim.loss(&row.losses);
    let squashed = |x: f64| x / (1.0 + x.abs());
    match row.standing {
        Standing::Failed => FAILED,
        _ if row.violation > 0.0 => INFEASIBLE * (1.0 + squashed(row.violation.min(1e300))),
        Standing::Completed | Standing::Raced => loss.clamp(-1e300, 1e300),
        Standing::Partial | Standing::Pending => {
            let by_loss = if loss.is_nan() { 1.0 } else { squashed(loss) };
            PARTIAL * (1.0 + 1.0 / (1.0 + row.step as f64) + 1e-12 * by_loss)
        }
    }
}

/// What a simplex walks down: the loss, or one number made of several.
#[derive(Default)]
struct Aim {
    /// For each of several losses, its least value on the front, its range there, and its weight; nothing for one loss.
    parts: Vec<Part>,
}

struct Part {
    least: f64,
    range: f64,
    weight: f64,
}

/// With several metrics a simplex ends after so many trials for each of its vertices.
const TURNS: usize = 5;

/// Weight of the sum of all losses, so that what is better in one and equal in the worst is better.
const AUGMENTED: f64 = 0.05;

impl Aim {
    /// The direction of simplex number `simplex`, given all rows so far.
    fn of(rows: &[Row], objectives: usize, simplex: usize) -> Self {
        if objectives < 2 {
            return Self::default();
        }
        let completed = rows.iter().filter_map(|row| row.observation.as_ref());
        let completed: Vec<&[f64]> =
            completed.filter(|row| is_complete(row)).map(|row| &*row.losses).collect();
        let front: Vec<&[f64]> = front(&completed).into_iter().map(|k| completed[k]).collect();
        // Sorted even coordinates cut the unit into weights that are even over the simplex of all weights.
        let mut cuts: Vec<f64> =
            (1..objectives).map(|k| radical_inverse(k - 1, simplex as u32 + 1)).collect();
        cuts.extend([0.0, 1.0]);
        cuts.sort_by(f64::total_cmp);
        let part = |k: usize| {
            let losses = || front.iter().map(|losses| losses[k]);
            let least = losses().fold(f64::INFINITY, f64::min);
            let range = losses().fold(f64::NEG_INFINITY, f64::max) - least;
            let weight = cuts[k + 1] - cuts[k];
            let is_known = range > 0.0 && range.is_finite();
            Part {
                least: if least.is_finite() { least } else { 0.0 },
                range: if is_known { range } else { 1.0 },
                weight,
            }
        };
        Self { parts: (0..objectives).map(part).collect() }
    }

    /// NaN where a loss is unknown.
    fn loss(&self, losses: &[f64]) -> f64 {
        if self.parts.is_empty() {
            return losses.first().copied().unwrap_or(f64::NAN);
        }
        let scaled = |(part, loss): (&Part, &f64)| part.weight * (loss - part.least) / part.range;
        let scaled: Vec<f64> = self.parts.iter().zip(losses).map(scaled).collect();
        let sum: f64 = scaled.iter().sum();
        if sum.is_nan() {
            sum
        } else {
            scaled.into_iter().fold(f64::NEG_INFINITY, f64::max) + AUGMENTED * sum
        }
    }
}

fn is_complete(row: &Observation) -> bool {
    let completed = matches!(row.standing, Standing::Completed | Standing::Raced);
    completed && row.violation <= 0.0 && row.losses.iter().all(|loss| loss.is_finite())
}

/// The memo: a fold of the study, one finished trial after the other.
#[derive(Default)]
struct History {
    space: Option<u32>,
    taken: usize,
    costs: HashMap<Point, f64>,
    rows: Vec<Row>,
    aim: Aim,
    simplex: Option<Simplex>,
    /// Points whose costs some simplex has used.
    visited: HashSet<Point>,
    /// Where simplexes have ended.
    ends: Vec<Vec<f64>>,
    /// How many trials must have finished before the next simplex.
    due: usize,
    cover: Memo,
}

/// A finished trial as a place to start from.
struct Row {
    point: Point,
    /// None if the trial says nothing but that it failed.
    observation: Option<Observation>,
    cost: f64,
}

impl Row {
    fn unit(&self) -> &[f64] {
        self.observation.as_ref().map_or(&[], |row| &row.unit)
    }
}

impl History {
    fn advance(&mut self, study: &Study, options: &Options) {
        if self.space != Some(study.space_version()) || self.taken > study.finished().len() {
            let cover = std::mem::take(&mut self.cover);
            *self =
                Self { space: Some(study.space_version()), due: options.n_startup, cover, ..Self::default() };
        }
        while self.taken < study.finished().len() {
            self.take(study);
            self.walk(study.space(), options, study.metrics().objectives.len());
        }
    }

    /// Notes what the next finished trial says. A point that is tried again keeps its first cost.
    fn take(&mut self, study: &Study) {
        let trial = &study.trials()[study.finished()[self.taken] as usize];
        self.taken += 1;
        if trial.outside {
            return;
        }
        let row = Observation::of(study, trial);
        let cost = row.as_ref().map_or(FAILED, |row| cost_of(row, &self.aim));
        self.costs.entry(trial.point.clone()).or_insert(cost);
        self.rows.push(Row { point: trial.point.clone(), observation: row, cost });
    }

    /// Takes the direction of the next simplex, by which all trials have other costs.
    fn aim(&mut self, objectives: usize) {
        if objectives < 2 {
            return;
        }
        self.aim = Aim::of(&self.rows, objectives, self.ends.len());
        self.costs.clear();
        for row in &mut self.rows {
            row.cost = row.observation.as_ref().map_or(FAILED, |seen| cost_of(seen, &self.aim));
            self.costs.entry(row.point.clone()).or_insert(row.cost);
        }
    }

    /// Lets the simplex walk as far as costs are known, and starts others where it has collapsed.
    fn walk(&mut self, space: &Space, options: &Options, objectives: usize) {
        while self.simplex.is_some() || self.start(space, options, objectives) {
            let Some(simplex) = &self.simplex else { return };
            let nothing = HashSet::new();
            let walk = Walk::new(space, simplex, &self.costs, &nothing, &[]);
            let Some(vertices) = walk.steps(simplex.vertices.clone(), 1) else { return };
            self.visited.extend(walk.looked_up.take());
            if let Some(simplex) = &mut self.simplex {
                simplex.vertices = vertices;
                let turns = TURNS * simplex.vertices.len();
                let is_late = !self.aim.parts.is_empty() && self.taken >= simplex.begun + turns;
                if is_late || simplex.has_collapsed(space, options.tolerance) {
                    self.end();
                }
            }
        }
    }

    /// Starts a simplex at the best trial left; whether there is one.
    fn start(&mut self, space: &Space, options: &Options, objectives: usize) -> bool {
        if self.taken < self.due {
            return false;
        }
        self.aim(objectives);
        let far = |row: &Row| {
            let distance = |end: &Vec<f64>| {
                let apart = end.iter().zip(row.unit()).map(|(a, b)| (a - b).abs());
                apart.filter(|d| !d.is_nan()).fold(0.0, f64::max)
            };
            self.ends.iter().all(|end| distance(end) >= options.size)
        };
        let is_new = |row: &Row| objectives > 1 || (!self.visited.contains(&row.point) && far(row));
        let left = self.rows.iter().filter(|row| row.cost < PARTIAL && is_new(row));
        let best = left.fold(None, |best: Option<&Row>, row| match best {
            Some(best) if best.cost <= row.cost => Some(best),
            _ => Some(row),
        });
        let begun = best.and_then(|row| Some((Simplex::at(space, row, options.size, self.taken)?, row.cost)));
        self.due = self.taken + 1;
        let Some((simplex, cost)) = begun else { return false };
        // Its coordinates may lead back to a neighbouring float.
        self.costs.entry(simplex.point(space, &simplex.vertices[0])).or_insert(cost);
        self.simplex = Some(simplex);
        true
    }

    /// Notes where the simplex has ended. The next may start at once if this one has had trials of its own; else starts
    /// could follow one another for ever.
    fn end(&mut self) {
        let Some(simplex) = self.simplex.take() else { return };
        self.due = if simplex.begun < self.taken { self.taken } else { self.taken + 1 };
        self.ends.push(simplex.cube(&simplex.vertices[0]));
    }

    /// The point that the simplex needs next, or may need once running trials have ended.
    fn wanted(&self, study: &Study) -> Option<Point> {
        let simplex = self.simplex.as_ref()?;
        let works = study.waiting().iter().chain(study.running()).chain(study.paused());
        let pending: HashSet<Point> =
            works.map(|work| study.trials()[work.trial as usize].point.clone()).collect();
        let mut guesses = VecDeque::from([Vec::new()]);
        for _ in 0..REPLAYS {
            let guess: Vec<Guess> = guesses.pop_front()?;
            let walk = Walk::new(study.space(), simplex, &self.costs, &pending, &guess);
            // Each guess allows for at most one more iteration, and the first iteration needs none.
            walk.steps(simplex.vertices.clone(), guess.len() + 1);
            match walk.stop.take() {
                Some(Stop::Unknown(point)) => return Some(point),
                Some(Stop::Pending) => {
                    let longer = |next: &Guess| guess.iter().copied().chain([*next]).collect();
                    guesses.extend(GUESSES.iter().map(longer));
                }
                None => {}
            }
        }
        None
    }
}

/// The vertices of a simplex over the parameters that move, in unit coordinates, best first once costs are known.
struct Simplex {
    /// Unit coordinates of all parameters at the start.
    base: Vec<f64>,
    /// The parameters that move.
    axes: Vec<usize>,
    vertices: Vec<Vec<f64>>,
    /// How many trials had finished at the start.
    begun: usize,
}

impl Simplex {
    /// A right-angled one at a trial; none where nothing can move.
    fn at(space: &Space, row: &Row, size: f64, begun: usize) -> Option<Self> {
        let moves = |k: &usize| {
            let distribution = &space.parameters()[*k].distribution;
            !row.unit()[*k].is_nan() && !distribution.is_fixed() && !distribution.is_categorical()
        };
        let axes: Vec<usize> = (0..space.len()).filter(moves).collect();
        if axes.is_empty() {
            return None;
        }
        let first: Vec<f64> = axes.iter().map(|k| row.unit()[*k]).collect();
        let mut vertices = vec![first.clone(); axes.len() + 1];
        for (a, k) in axes.iter().enumerate() {
            let (low, high) = space.parameters()[*k].distribution.cell_bounds(row.point.0[*k]);
            // A cell must be left for the next one to be seen.
            let side = size.max(1.01 * (high - low));
            let at = first[a];
            vertices[a + 1][a] = if at <= 0.5 { (at + side).min(1.0) } else { (at - side).max(0.0) };
        }
        let base = row.unit().iter().map(|x| if x.is_nan() { 0.5 } else { *x }).collect();
        Some(Self { base, axes, vertices, begun })
    }

    /// Unit coordinates of all parameters at a vertex.
    fn cube(&self, vertex: &[f64]) -> Vec<f64> {
        let mut cube = self.base.clone();
        self.axes.iter().zip(vertex).for_each(|(k, x)| cube[*k] = *x);
        cube
    }

    /// The point that a vertex stands for.
    fn point(&self, space: &Space, vertex: &[f64]) -> Point {
        space.from_unit(&self.cube(vertex))
    }

    fn has_collapsed(&self, space: &Space, tolerance: f64) -> bool {
        let first = self.point(space, &self.vertices[0]);
        side(&self.vertices) < tolerance
            || self.vertices.iter().all(|vertex| self.point(space, vertex) == first)
    }
}

/// The largest distance along one axis from the first vertex.
fn side(vertices: &[Vec<f64>]) -> f64 {
    let apart =
        |vertex: &Vec<f64>| vertex.iter().zip(&vertices[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    vertices.iter().map(apart).fold(0.0, f64::max)
}

/// How a running trial may turn out, seen from the simplex.
#[derive(Clone, Copy, Debug)]
enum Guess {
    /// No better than the worst vertex: contraction towards it follows.
    Bad,
    /// Better than the best: expansion follows.
    Excellent,
    /// Between the two worst: contraction outwards follows.
    Poor,
    /// Between the best and the second worst: it becomes a vertex.
    Fair,
}

const GUESSES: [Guess; 4] = [Guess::Bad, Guess::Excellent, Guess::Poor, Guess::Fair];

/// Why a walk ended before its last step.
enum Stop {
    /// No trial has had this point.
    Unknown(Point),
    /// It is being evaluated, and no guess is left.
    Pending,
}

/// The method at work on what is known: the problem that `basin` is given.
struct Walk<'a> {
    space: &'a Space,
    simplex: &'a Simplex,
    costs: &'a HashMap<Point, f64>,
    pending: &'a HashSet<Point>,
    guesses: &'a [Guess],
    /// Points that were guessed and what they are taken to cost.
    guessed: RefCell<Vec<(Point, f64)>>,
    looked_up: RefCell<Vec<Point>>,
    stop: RefCell<Option<Stop>>,
    /// Costs of the best, the second worst and the worst vertex; none while those of the first simplex are looked up.
    marks: Cell<Option<[f64; 3]>>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

/// A walk has reached a point whose cost nobody knows.
#[derive(Debug)]
struct Unfinished;

impl Constraints for &Walk<'_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.lower), Some(&self.upper)))
    }
}

impl CostFunction for &Walk<'_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Unfinished;

    fn cost(&self, vertex: &Vec<f64>) -> Result<f64, Unfinished> {
        let point = self.simplex.point(self.space, vertex);
        if let Some(cost) = self.costs.get(&point) {
            self.looked_up.borrow_mut().push(point);
            return Ok(*cost);
        }
        if !self.space.allows(&point.0) {
            return Ok(FORBIDDEN);
        }
        if !self.pending.contains(&point) {
            *self.stop.borrow_mut() = Some(Stop::Unknown(point));
            return Err(Unfinished);
        }
        self.guess(point)
    }
}

impl<'a> Walk<'a> {
    fn new(
        space: &'a Space,
        simplex: &'a Simplex,
        costs: &'a HashMap<Point, f64>,
        pending: &'a HashSet<Point>,
        guesses: &'a [Guess],
    ) -> Self {
        let n = simplex.axes.len();
        Self {
            space,
            simplex,
            costs,
            pending,
            guesses,
            guessed: RefCell::default(),
            looked_up: RefCell::default(),
            stop: RefCell::default(),
            marks: Cell::default(),
            lower: vec![0.0; n],
            upper: vec![1.0; n],
        }
    }

    /// Some iterations of the method from these vertices; none if a cost is missing.
    ///
    /// Each begins afresh from the vertices alone, so that where a walk is taken up again makes no difference.
    fn steps(&self, mut vertices: Vec<Vec<f64>>, count: usize) -> Option<Vec<Vec<f64>>> {
        for _ in 0..count {
            vertices = self.step(vertices)?;
        }
        Some(vertices)
    }

    fn step(&self, vertices: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
        // The adaptive coefficients shrink to nothing in one dimension; from two on they are the usual ones or milder.
        let method = if self.lower.len() < 2 { Method::new() } else { Method::adaptive() };
        let mut method: Method<Vec<f64>, f64, _> = method.projected();
        let mut problem = Problem::new(self);
        let start = SimplexProgress::from_simplex(vertices);
        let ready = method.init(&mut problem, start).ok()?;
        let costs = ready.costs();
        let last = costs.len() - 1;
        self.marks.set(Some([costs[0], costs[last - 1], costs[last]]));
        let step = method.next_iter(&mut problem, ready).ok()?;
        Some(step.state.vertices().to_vec())
    }

    /// What is guessed of a running trial. Vertices of a new simplex count as the worst: whatever they turn out to be, the
    /// others are needed as well.
    fn guess(&self, point: Point) -> Result<f64, Unfinished> {
        let mut guessed = self.guessed.borrow_mut();
        if let Some((_, cost)) = guessed.iter().find(|(earlier, _)| *earlier == point) {
            return Ok(*cost);
        }
        let used = guessed.iter().filter(|(_, cost)| *cost != UNKNOWN).count();
        let cost = match (self.marks.get(), self.guesses.get(used)) {
            (None, _) => UNKNOWN,
            (Some([_, _, worst]), Some(Guess::Bad)) => worst,
            (Some([best, ..]), Some(Guess::Excellent)) => best - best.abs() - 1.0,
            (Some([_, second, worst]), Some(Guess::Poor)) => f64::midpoint(second, worst),
            (Some([best, second, _]), Some(Guess::Fair)) => f64::midpoint(best, second),
            (Some(_), None) => {
                *self.stop.borrow_mut() = Some(Stop::Pending);
                return Err(Unfinished);
            }
        };
        guessed.push((point, cost));
        Ok(cost)
    }
}

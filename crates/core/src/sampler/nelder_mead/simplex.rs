//! The simplex, and the method at work on what is known.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction};
use basin::{NelderMead as Method, Problem, SimplexProgress, Solver};

use super::merit::{Ahead, FORBIDDEN, Merits, Row, Scale, UNKNOWN};
use crate::sampler::variation::spread;
use crate::space::{Point, Space};

/// A side is off the space that others span if the sine of its angle to it is at least this, as a share of the largest among all sides.
const OFF: f64 = 0.02;

/// The vertices of a simplex over the parameters that move, in unit coordinates, best first once costs are known.
pub(super) struct Simplex {
    /// Unit coordinates of all parameters at the start.
    base: Vec<f64>,
    /// The parameters that move.
    axes: Vec<usize>,
    pub(super) vertices: Vec<Vec<f64>>,
    /// How many trials had stopped at the start.
    pub(super) begun: usize,
    /// How many will have stopped when another direction has its turn.
    pub(super) until: usize,
}

impl Simplex {
    /// A right-angled one at a trial; none where nothing can move.
    pub(super) fn at(space: &Space, row: &Row, size: f64, begun: usize) -> Option<Self> {
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
        let until = begun + vertices.len().div_ceil(2);
        Some(Self { base, axes, vertices, begun, until })
    }

    /// Puts vertices at other trials, in their order: each at least `width` off the space that the vertices before it span. Where there
    /// are not enough, right-angled sides stay that are off it, first those along which `front` reaches far. Returns which vertex is which of `rows`.
    pub(super) fn across(
        &mut self,
        space: &Space,
        rows: &[&Row],
        front: &[&Row],
        width: f64,
    ) -> Vec<(usize, usize)> {
        let origin = self.vertices[0].clone();
        let start = self.point(space, &origin);
        let from_origin =
            |vertex: &[f64]| -> Vec<f64> { vertex.iter().zip(&origin).map(|(a, b)| a - b).collect() };
        let mut span = Span::default();
        let (mut found, mut taken) = (Vec::new(), Vec::new());
        for (r, row) in rows.iter().enumerate() {
            let is_same = |k: usize| {
                let (a, b) = (row.point.0[k], start.0[k]);
                self.axes.contains(&k) || a == b || (a.is_nan() && b.is_nan())
            };
            if taken.len() == self.axes.len() {
                break;
            }
            if row.unit().is_empty() || !(0..space.len()).all(is_same) {
                continue;
            }
            let vertex: Vec<f64> = self.axes.iter().map(|k| row.unit()[*k]).collect();
            let offset: Vec<f64> = from_origin(&vertex);
            if span.distance(&offset) >= width {
                span.widen(&offset);
                taken.push(vertex);
                found.push((taken.len(), r));
            }
        }
        let front: Vec<&Point> = front.iter().map(|row| &row.point).collect();
        let mut sides: Vec<(f64, Vec<f64>)> = self
            .axes
            .iter()
            .zip(&self.vertices[1..])
            .map(|(k, side)| (spread(space, *k, &front), side.clone()))
            .collect();
        sides.sort_by(|a, b| b.0.total_cmp(&a.0));
        while taken.len() < self.axes.len() {
            let off = |(_, side): &(f64, Vec<f64>)| {
                let offset = from_origin(side);
                span.distance(&offset) / length(&offset).max(f64::MIN_POSITIVE)
            };
            let most = sides.iter().map(off).fold(0.0, f64::max);
            let chosen = sides.iter().position(|side| off(side) >= OFF * most).unwrap_or(0);
            let (_, side) = sides.remove(chosen);
            span.widen(&from_origin(&side));
            taken.push(side);
        }
        self.until += self.axes.len() - found.len();
        self.vertices.splice(1.., taken);
        found
    }

    /// Unit coordinates of all parameters at a vertex.
    pub(super) fn cube(&self, vertex: &[f64]) -> Vec<f64> {
        let mut cube = self.base.clone();
        self.axes.iter().zip(vertex).for_each(|(k, x)| cube[*k] = *x);
        cube
    }

    /// The point that a vertex stands for.
    pub(super) fn point(&self, space: &Space, vertex: &[f64]) -> Point {
        space.from_unit(&self.cube(vertex))
    }

    pub(super) fn has_collapsed(&self, space: &Space, tolerance: f64) -> bool {
        let first = self.point(space, &self.vertices[0]);
        side(&self.vertices) < tolerance
            || self.vertices.iter().all(|vertex| self.point(space, vertex) == first)
    }
}

/// A space spanned by some offsets: an orthonormal basis.
#[derive(Default)]
struct Span(Vec<Vec<f64>>);

impl Span {
    /// What of an offset is not in the space.
    fn rest(&self, offset: &[f64]) -> Vec<f64> {
        let mut rest = offset.to_vec();
        for basis in &self.0 {
            let along: f64 = basis.iter().zip(&rest).map(|(a, b)| a * b).sum();
            rest.iter_mut().zip(basis).for_each(|(x, b)| *x -= along * b);
        }
        rest
    }

    fn distance(&self, offset: &[f64]) -> f64 {
        length(&self.rest(offset))
    }

    fn widen(&mut self, offset: &[f64]) {
        let mut rest = self.rest(offset);
        let length = length(&rest);
        if length > 0.0 {
            for x in &mut rest {
                *x /= length;
            }
            self.0.push(rest);
        }
    }
}

fn length(offset: &[f64]) -> f64 {
    offset.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest distance along one axis from the first vertex.
pub(super) fn side(vertices: &[Vec<f64>]) -> f64 {
    let apart =
        |vertex: &Vec<f64>| vertex.iter().zip(&vertices[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    vertices.iter().map(apart).fold(0.0, f64::max)
}

/// How a running trial may turn out, seen from the simplex.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guess {
    /// No better than the worst vertex: contraction towards it follows.
    Bad,
    /// Better than the best: expansion follows.
    Excellent,
    /// Between the two worst: contraction outwards follows.
    Poor,
    /// Between the best and the second worst: it becomes a vertex.
    Fair,
}

pub(super) const GUESSES: [Guess; 4] = [Guess::Bad, Guess::Excellent, Guess::Poor, Guess::Fair];

/// Why a walk ended before its last step.
pub(super) enum Stop {
    /// No trial has had this point.
    Unknown(Point),
    /// It is being evaluated, and no guess is left.
    Pending,
}

/// What a simplex knows of points.
#[derive(Clone, Copy)]
pub(super) struct Knowledge<'a> {
    pub(super) space: &'a Space,
    pub(super) merits: Merits<'a>,
    /// The row of each point that a trial has had.
    pub(super) known: &'a HashMap<Point, usize>,
    /// Points of trials that have not stopped yet.
    pub(super) pending: &'a HashSet<Point>,
}

/// The method at work on what is known: the problem that `basin` is given.
pub(super) struct Walk<'a> {
    knowledge: Knowledge<'a>,
    simplex: &'a Simplex,
    guesses: &'a [Guess],
    /// What the vertices are worth, beside which other points are seen.
    scale: RefCell<Scale>,
    /// Points that were guessed and what they are taken to cost.
    guessed: RefCell<Vec<(Point, f64)>>,
    pub(super) looked_up: RefCell<Vec<Point>>,
    pub(super) stop: RefCell<Option<Stop>>,
    /// Costs of the best, the second worst and the worst vertex; none while those of the first simplex are looked up.
    marks: Cell<Option<[f64; 3]>>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

/// A walk has reached a point whose cost nobody knows.
#[derive(Debug)]
pub(super) struct Unfinished;

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
        let Knowledge { space, merits, known, pending } = self.knowledge;
        let point = self.simplex.point(space, vertex);
        if let Some(row) = known.get(&point) {
            self.looked_up.borrow_mut().push(point);
            return Ok(merits.cost(&self.scale.borrow(), *row));
        }
        if !space.allows(&point.0) {
            return Ok(FORBIDDEN);
        }
        if !pending.contains(&point) {
            *self.stop.borrow_mut() = Some(Stop::Unknown(point));
            return Err(Unfinished);
        }
        self.guess(point)
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(knowledge: Knowledge<'a>, simplex: &'a Simplex, guesses: &'a [Guess]) -> Self {
        let n = simplex.axes.len();
        Self {
            knowledge,
            simplex,
            guesses,
            scale: RefCell::default(),
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
    pub(super) fn steps(&self, mut vertices: Vec<Vec<f64>>, count: usize) -> Option<Vec<Vec<f64>>> {
        for _ in 0..count {
            vertices = self.step(vertices)?;
        }
        Some(vertices)
    }

    fn step(&self, vertices: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
        let Knowledge { space, merits, known, .. } = self.knowledge;
        let row = |vertex: &Vec<f64>| known.get(&self.simplex.point(space, vertex)).copied();
        *self.scale.borrow_mut() = merits.scale(vertices.iter().filter_map(row), Ahead::Stays);
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

//! NSGA-III (Deb and Jain 2014, IEEE TEC 18(4)): a genetic algorithm for many objectives. Survivors are chosen by fronts, and
//! within the last front that fits in part so that directions spread evenly over the losses have equally many members each.
//!
//! Losses are normalised by the ideal point and the hyperplane through the extreme points seen so far. Thresholds are
//! relative to the range of the losses, so that units do not matter. Choices, levels and conditions are handled as told
//! in `variation`, failed and pruned trials and broken constraints as told in `population`, many workers as told in
//! `genetic`. With one objective it is a plain genetic algorithm.

use serde::{Deserialize, Serialize};

pub use super::genetic::Breeding;
use super::genetic::{BREEDING, Generations, Parent, Survival};
use super::population::{Member, fronts};
use super::{Proposal, Request, Sampler};
use crate::memo::Memo;
use crate::pareto::{das_dennis, das_dennis_count, das_dennis_inside};
use crate::registry::{Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "nsga3",
    summary: "genetic algorithm for many metrics, by fronts and evenly spread directions (NSGA-III)",
    options: &[
        BREEDING[0],
        BREEDING[1],
        OptionDoc {
            name: "divisions",
            doc: "into how many parts directions divide each metric, from 1; none means as many as give at most one direction per parent",
        },
        BREEDING[2],
        BREEDING[3],
        BREEDING[4],
        BREEDING[5],
        BREEDING[6],
    ],
    build: |options| {
        let mut shared = options.clone();
        let own = shared.remove("divisions").map(|divisions| ("divisions".to_owned(), divisions));
        let (Own { divisions }, directions) = configure(&own.into_iter().collect())?;
        if divisions == Some(0) {
            return Err("divisions must be at least 1".into());
        }
        // In an error about an unknown option, the list of all is to have this one, too.
        let whole = |problem: String| problem.replacen("`offspring`, ", "`offspring`, `divisions`, ", 1);
        let (breeding, mut complete) = Breeding::configure(&shared).map_err(whole)?;
        complete.extend(directions);
        Ok((Box::new(Nsga3 { divisions, breeding }) as _, complete))
    },
};

/// The options beside those of [`Breeding`].
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Own {
    divisions: Option<usize>,
}

/// More directions than this are refused.
const MOST_DIRECTIONS: usize = 100_000;

/// Below this share of the range a loss counts as ideal (the authors' code, there in units of the loss).
const NEARLY_IDEAL: f64 = 1e-3;

/// A range that is a smaller share of the population's than this is no range.
const NO_RANGE: f64 = 1e-6;

/// Weight of the losses that an extreme point should not have (section IV-C, there 1 / 10⁻⁶).
const OFF_AXIS: f64 = 1e6;

/// The sampler with its options.
#[derive(Clone, Debug, Default)]
pub struct Nsga3 {
    /// Into how many parts directions divide each objective; none means as many as give at most one direction per parent.
    pub divisions: Option<usize>,
    /// How parents are chosen and children made.
    pub breeding: Breeding,
}

impl Sampler for Nsga3 {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let generations: &mut Generations<Niches> = memo.get();
        self.advance(generations, study);
        generations.propose(study, request, &self.breeding.variation(), rng)
    }

    fn check(&self, spec: &crate::spec::Spec) -> Result<(), String> {
        let objectives = spec.metrics.objectives.len();
        let Some(divisions) = self.divisions else { return Ok(()) };
        match das_dennis_count(objectives, divisions) {
            Some(count) if count <= MOST_DIRECTIONS => Ok(()),
            _ => Err(format!(
                "{divisions} divisions of {objectives} metrics are more than {MOST_DIRECTIONS} directions; take fewer"
            )),
        }
    }
}

impl Nsga3 {
    /// The numbers of the parents of the study's next children; none before the first population is full.
    pub fn parents(&self, study: &Study) -> Vec<u32> {
        let mut generations: Generations<Niches> = Generations::default();
        self.advance(&mut generations, study);
        generations.trials()
    }

    fn advance(&self, generations: &mut Generations<Niches>, study: &Study) {
        let sizes = self.breeding.sizes(study);
        let objectives = study.metrics().objectives.len();
        generations.advance(study, sizes, || Niches::new(self.directions(objectives, sizes.population)));
    }

    /// The directions for so many objectives and parents.
    ///
    /// With `divisions` left open, the finest that are no more than the population, in two layers where that is
    /// coarser than the number of objectives (section V); the axes at least.
    pub fn directions(&self, objectives: usize, population: usize) -> Vec<Vec<f64>> {
        if let Some(divisions) = self.divisions {
            return das_dennis(objectives, divisions);
        }
        let fits = |divisions: usize, room: usize| {
            das_dennis_count(objectives, divisions).is_some_and(|count| count <= room)
        };
        let finest = |room: usize| (1..=room).take_while(|h| fits(*h, room)).last().unwrap_or(0);
        let divisions = if objectives == 1 { 1 } else { finest(population).max(1) };
        let mut directions = das_dennis(objectives, divisions);
        if divisions < objectives && objectives > 1 {
            let inside = finest(population.saturating_sub(directions.len()));
            directions.extend(das_dennis_inside(objectives, inside, 0.5));
        }
        directions
    }
}

/// Fronts in order, the last one by the niches of directions.
struct Niches {
    directions: Vec<Vec<f64>>,
    frame: Frame,
}

impl Niches {
    fn new(directions: Vec<Vec<f64>>) -> Self {
        Self { directions, frame: Frame::default() }
    }
}

impl Survival for Niches {
    fn survivors(&mut self, pool: Vec<Member>, size: usize, rng: &mut Rng) -> Vec<Parent> {
        let fronts = fronts(&pool);
        let mut order: Vec<usize> = (0..pool.len()).collect();
        order.sort_by_key(|k| (fronts[*k], *k));
        let completed: Vec<usize> = order.iter().copied().filter(|k| pool[*k].is_completed()).collect();
        let losses = |k: &usize| &*pool[*k].losses;
        let all: Vec<&[f64]> = completed.iter().map(losses).collect();
        let first = completed.partition_point(|k| fronts[*k] == 0);
        self.frame.update(&all, &all[..first]);
        if let Some(split) = order.get(size).map(|k| fronts[*k]) {
            let from = order.partition_point(|k| fronts[*k] < split);
            let until = order.partition_point(|k| fronts[*k] <= split);
            if from < size && pool[order[from]].is_completed() {
                let near = |k: &usize| nearest(&self.frame.normalised(&pool[*k].losses), &self.directions);
                let sure: Vec<usize> = order[..from].iter().map(|k| near(k).0).collect();
                let rivals: Vec<(usize, f64)> = order[from..until].iter().map(near).collect();
                let chosen = fill_niches(self.directions.len(), &sure, &rivals, size - from, rng);
                let chosen: Vec<usize> = chosen.into_iter().map(|k| order[from + k]).collect();
                order.truncate(from);
                order.extend(chosen);
            }
        }
        order.truncate(size);
        order.sort_unstable();
        let kept = pool.into_iter().enumerate().filter(|(k, _)| order.binary_search(k).is_ok());
        kept.map(|(k, member)| Parent { member, front: fronts[k], room: 0.0 }).collect()
    }
}

/// Where losses are measured from and by what (section IV-C): the ideal point, and the intercepts of the hyperplane through
/// the extreme points.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The smallest of each loss so far.
    pub ideal: Vec<f64>,
    /// The largest of each loss so far.
    pub worst: Vec<f64>,
    /// For each objective, the point nearest to its axis so far.
    pub extremes: Vec<Vec<f64>>,
    /// What counts as 1 on each axis.
    pub nadir: Vec<f64>,
}

impl Frame {
    /// Takes in the losses of a population and of its first front.
    pub fn update(&mut self, all: &[&[f64]], front: &[&[f64]]) {
        let Some(one) = front.first() else { return };
        if self.ideal.is_empty() {
            (self.ideal, self.worst) = (vec![f64::INFINITY; one.len()], vec![f64::NEG_INFINITY; one.len()]);
        }
        for (m, x) in all.iter().flat_map(|losses| losses.iter().copied().enumerate()) {
            self.ideal[m] = self.ideal[m].min(x);
            self.worst[m] = self.worst[m].max(x);
        }
        self.move_extremes(front);
        let largest =
            |points: &[&[f64]], m: usize| points.iter().map(|p| p[m]).fold(f64::NEG_INFINITY, f64::max);
        let of_front = |m: usize| largest(front, m);
        self.nadir = self.intercepts().unwrap_or_else(|| (0..one.len()).map(of_front).collect());
        for m in 0..one.len() {
            let of_all = largest(all, m);
            if self.nadir[m] - self.ideal[m] <= NO_RANGE * (of_all - self.ideal[m]) {
                self.nadir[m] = of_all;
            }
        }
    }

    /// The point nearest to each axis by the achievement function, among the old extremes and the front; the earlier of
    /// equal ones.
    fn move_extremes(&mut self, front: &[&[f64]]) {
        let old = std::mem::take(&mut self.extremes);
        let candidates: Vec<&[f64]> = old.iter().map(Vec::as_slice).chain(front.iter().copied()).collect();
        let off_axis = |point: &[f64], axis: usize| {
            let weighted = |m: usize| {
                let range = self.worst[m] - self.ideal[m];
                let above = point[m] - self.ideal[m];
                let above = if above < NEARLY_IDEAL * range { 0.0 } else { above };
                if m == axis { above } else { above * OFF_AXIS }
            };
            (0..point.len()).map(weighted).fold(0.0, f64::max)
        };
        let nearest = |axis: usize| {
            let by = |a: &&&[f64], b: &&&[f64]| off_axis(a, axis).total_cmp(&off_axis(b, axis));
            candidates.iter().min_by(by).map_or_else(Vec::new, |point| point.to_vec())
        };
        self.extremes = (0..self.ideal.len()).map(nearest).collect();
    }

    /// Where the hyperplane through the extreme points cuts the axes, no further than the worst seen; `None` where there is
    /// no such plane.
    fn intercepts(&self) -> Option<Vec<f64>> {
        let above =
            |point: &Vec<f64>| -> Vec<f64> { point.iter().zip(&self.ideal).map(|(x, z)| x - z).collect() };
        let plane = solved(self.extremes.iter().map(above).collect())?;
        let cut = |m: usize| {
            let intercept = 1.0 / plane[m];
            let makes_sense = intercept > NO_RANGE * (self.worst[m] - self.ideal[m]) && intercept.is_finite();
            makes_sense.then(|| (self.ideal[m] + intercept).min(self.worst[m]))
        };
        (0..plane.len()).map(cut).collect()
    }

    /// Losses moved to the ideal point and divided by their ranges.
    pub fn normalised(&self, losses: &[f64]) -> Vec<f64> {
        let share = |m: usize| {
            let range = self.nadir[m] - self.ideal[m];
            if range > 0.0 && range.is_finite() { (losses[m] - self.ideal[m]) / range } else { 0.0 }
        };
        (0..losses.len()).map(share).collect()
    }
}

/// The solution of `rows · x = 1` by Gaussian elimination with row pivots; `None` where the rows are dependent.
fn solved(mut rows: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let n = rows.len();
    let size = rows.iter().flatten().fold(0.0f64, |size, x| size.max(x.abs()));
    for row in &mut rows {
        row.push(1.0);
    }
    for k in 0..n {
        let pivot = (k..n).max_by(|a, b| rows[*a][k].abs().total_cmp(&rows[*b][k].abs()).then(b.cmp(a)))?;
        rows.swap(k, pivot);
        // Also false for NaN.
        if !(rows[k][k].abs() > 1e-12 * size && rows[k][k].is_finite()) {
            return None;
        }
        let top = rows[k].clone();
        for row in rows.iter_mut().enumerate().filter(|(j, _)| *j != k).map(|(_, row)| row) {
            let factor = row[k] / top[k];
            for (x, t) in row.iter_mut().zip(&top) {
                *x -= factor * t;
            }
        }
    }
    Some((0..n).map(|k| rows[k][n] / rows[k][k]).collect())
}

/// The direction with the smallest perpendicular distance to a normalised point, and that distance (section IV-D); the first
/// of equal ones.
pub fn nearest(point: &[f64], directions: &[Vec<f64>]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (k, direction) in directions.iter().enumerate() {
        let (mut along, mut length) = (0.0, 0.0);
        for (x, w) in point.iter().zip(direction) {
            along += x * w;
            length += w * w;
        }
        let off = |(x, w): (&f64, &f64)| (x - along / length * w).powi(2);
        let distance: f64 = point.iter().zip(direction).map(off).sum();
        if distance < best.1 {
            best = (k, distance);
        }
    }
    (best.0, best.1.sqrt())
}

/// Chooses `count` of `rivals` (each with its direction and distance) so that the directions, of which `sure` members
/// already have some, get equally many (section IV-E): a least used direction takes its nearest rival if it has nobody,
/// else any of its rivals. Returns indices of rivals.
pub fn fill_niches(
    directions: usize,
    sure: &[usize],
    rivals: &[(usize, f64)],
    count: usize,
    rng: &mut Rng,
) -> Vec<usize> {
    let mut used = vec![0usize; directions];
    for direction in sure {
        used[*direction] += 1;
    }
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); directions];
    for (k, (direction, _)) in rivals.iter().enumerate() {
        waiting[*direction].push(k);
    }
    let mut open: Vec<usize> = (0..directions).filter(|direction| !waiting[*direction].is_empty()).collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count && !open.is_empty() {
        let least = open.iter().map(|direction| used[*direction]).min().unwrap_or(0);
        let rarest: Vec<usize> = (0..open.len()).filter(|at| used[open[*at]] == least).collect();
        let at = rarest[rng.below(rarest.len() as u64) as usize];
        let direction = open[at];
        let own = &mut waiting[direction];
        let by = |a: &usize, b: &usize| rivals[own[*a]].1.total_cmp(&rivals[own[*b]].1);
        let place = match least {
            0 => (0..own.len()).min_by(by).unwrap_or(0),
            _ => rng.below(own.len() as u64) as usize,
        };
        chosen.push(own.remove(place));
        used[direction] += 1;
        if own.is_empty() {
            open.remove(at);
        }
    }
    chosen
}

//! Finds the maximum of an acquisition over a mixed, constrained, conditional space.
//!
//! First many candidates: points spread over the cube, and points near the best trials at several scales, which is what
//! matters in many dimensions (Papenmeier et al. 2025, arXiv:2502.09198). Then the best few are refined: a projected quasi-Newton
//! ascent over the continuous coordinates where the acquisition has a slope, in turn with moves of one discrete
//! coordinate at a time, until neither gains. A candidate is scored only after it has been rounded to values of the
//! space, so what is compared is what would be tried.
//!
//! Every candidate carries a coordinate for inactive parameters too, so that a child that a change of its parent activates
//! begins where the best trial that had it was. Points that break a constraint or were tried are never returned. The
//! search knows nothing of trials: whoever calls it says what was tried and where to look.

use super::Acquisition;
use crate::rng::Rng;
use crate::sobol;
use crate::space::{Point, Space};

/// Discrete parameters with at most this many values are searched exhaustively, one at a time.
const EXHAUSTIVE: u64 = 16;

/// Alternatives looked at for one parameter with more choices than that.
const SAMPLED: usize = 12;

/// Draws for each candidate wanted, where constraints refuse most.
const PATIENCE: usize = 8;

/// Smallest and largest deviation of a candidate from the trial it is near, as shares of the unit interval.
const SCALES: (f64, f64) = (0.002, 0.3);

/// A gain of less than this in an acquisition (a logarithm, as a rule) is none.
const GAIN: f64 = 1e-7;

/// The longest step of the ascent in one coordinate.
const STRIDE: f64 = 0.25;

/// Pairs of steps and changes of slope that the quasi-Newton ascent remembers.
const MEMORY: usize = 8;

/// How hard to look. Time is roughly proportional to the evaluations: `spread + local` for the candidates,
/// `starts · rounds · (steps + moves)` for the refinement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Candidates spread over the whole space.
    pub spread: usize,
    /// Candidates near the best trials.
    pub local: usize,
    /// Candidates that are refined, from 1.
    pub starts: usize,
    /// Rounds of refinement of each; 0 leaves the best candidate as it is.
    pub rounds: usize,
    /// Steps of the ascent in each round.
    pub steps: usize,
    /// Moves of discrete coordinates in each round: about so many points are evaluated.
    pub moves: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { spread: 384, local: 384, starts: 4, rounds: 4, steps: 24, moves: 128 }
    }
}

impl Effort {
    /// A share of the default effort, for callers with less time (or, above 1, more).
    pub fn share(share: f64) -> Self {
        let part = |whole: usize, least: usize| ((whole as f64 * share).round() as usize).max(least);
        let full = Self::default();
        Self {
            spread: part(full.spread, 16),
            local: part(full.local, 16),
            starts: part(full.starts, 1),
            rounds: part(full.rounds, 1),
            steps: part(full.steps, 6),
            moves: part(full.moves, 16),
        }
    }
}

/// A box in the unit cube that numeric coordinates stay in; choices are not restricted.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Lower ends, one per parameter.
    pub low: Vec<f64>,
    /// Upper ends.
    pub high: Vec<f64>,
}

/// Where and how hard to look.
pub struct Search<'a> {
    /// The space.
    pub space: &'a Space,
    /// How hard.
    pub effort: Effort,
    /// Unit coordinates of points to look around, the best first, NaN where inactive.
    pub centers: &'a [Vec<f64>],
    /// A box to stay in, if any.
    pub region: Option<&'a Region>,
    /// Which points must not be returned.
    pub is_tried: &'a dyn Fn(&Point) -> bool,
}

/// A point of the space with what is needed to change it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The point, rounded to values of the space.
    pub point: Point,
    /// Its unit coordinates, NaN where inactive.
    pub unit: Vec<f64>,
    /// The same with a coordinate for inactive parameters too.
    genes: Vec<f64>,
}

/// A candidate with its value.
#[derive(Clone, Debug)]
pub struct Found {
    /// The point.
    pub candidate: Candidate,
    /// The acquisition there.
    pub value: f64,
}

/// How a parameter moves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fixed,
    Continuous,
    /// Ordered values: so many.
    Grid(u64),
    /// So many choices.
    Choices(u64),
}

impl Search<'_> {
    /// The best untried points found, the best first, at most one per start; empty if every candidate was tried or
    /// none keeps the constraints.
    pub fn maximise(&self, acquisition: &dyn Acquisition, rng: &mut Rng) -> Vec<Found> {
        let moving = Moving::new(self);
        let candidates = moving.candidates(rng);
        let scored = moving.scored(acquisition, candidates);
        let mut found: Vec<Found> = moving
            .starts(scored)
            .into_iter()
            .map(|start| moving.refined(acquisition, start, rng))
            .filter(|found| found.value.is_finite() && !(self.is_tried)(&found.candidate.point))
            .collect();
        found.sort_by(|a, b| b.value.total_cmp(&a.value));
        found
    }

    /// Candidates alone: spread over the space, near the centres, and the centres themselves, all allowed.
    pub fn candidates(&self, rng: &mut Rng) -> Vec<Candidate> {
        Moving::new(self).candidates(rng)
    }

    /// A candidate near another, partly with the coordinates of a second.
    pub fn offspring(&self, mother: &Candidate, father: &Candidate, rng: &mut Rng) -> Candidate {
        let moving = Moving::new(self);
        let mut genes = mother.genes.clone();
        moving.cross(&mut genes, &father.genes, rng);
        moving.perturb(&mut genes, rng);
        moving.made(genes)
    }
}

/// A search with what it needs to know of each parameter.
struct Moving<'a> {
    search: &'a Search<'a>,
    kinds: Vec<Kind>,
    /// Parameters that are not fixed.
    free: Vec<usize>,
    /// Genes of the centres.
    centers: Vec<Vec<f64>>,
}

impl<'a> Moving<'a> {
    fn new(search: &'a Search<'a>) -> Self {
        let kind = |p: &crate::space::Parameter| match p.distribution.cells() {
            _ if p.retired || p.distribution.is_fixed() => Kind::Fixed,
            None => Kind::Continuous,
            Some(count) if p.distribution.is_categorical() => Kind::Choices(count),
            Some(count) => Kind::Grid(count),
        };
        let kinds: Vec<Kind> = search.space.parameters().iter().map(kind).collect();
        let free = (0..kinds.len()).filter(|k| kinds[*k] != Kind::Fixed).collect();
        let centers = filled(search.centers, kinds.len());
        Self { search, kinds, free, centers }
    }

    /// The candidate that genes stand for; they are put inside the region and on the grid.
    fn made(&self, mut genes: Vec<f64>) -> Candidate {
        let space = self.search.space;
        for &k in &self.free {
            genes[k] = self.within(k, genes[k]);
        }
        let point = space.from_unit(&genes);
        let mut unit = vec![f64::NAN; genes.len()];
        for (k, coded) in point.0.iter().enumerate().filter(|(_, coded)| !coded.is_nan()) {
            unit[k] = match self.kinds[k] {
                Kind::Continuous => genes[k],
                Kind::Fixed | Kind::Grid(_) | Kind::Choices(_) => {
                    space.parameters()[k].distribution.to_unit(*coded)
                }
            };
            genes[k] = unit[k];
        }
        Candidate { point, unit, genes }
    }

    fn within(&self, k: usize, unit: f64) -> f64 {
        match (self.search.region, self.kinds[k]) {
            (Some(region), Kind::Continuous | Kind::Grid(_)) => unit.clamp(region.low[k], region.high[k]),
            _ => unit.clamp(0.0, 1.0),
        }
    }

    fn allows(&self, candidate: &Candidate) -> bool {
        self.search.space.allows(&candidate.point.0)
    }

    fn candidates(&self, rng: &mut Rng) -> Vec<Candidate> {
        let effort = &self.search.effort;
        let mut candidates = self.spread(effort.spread, rng);
        if self.centers.is_empty() {
            candidates.extend(self.spread(effort.local, rng));
            return candidates;
        }
        candidates.extend(self.centers.iter().map(|genes| self.made(genes.clone())));
        candidates.retain(|candidate| self.allows(candidate));
        let enough = candidates.len() + effort.local;
        for k in 0..effort.local * PATIENCE {
            if candidates.len() >= enough {
                break;
            }
            let candidate = self.made(self.near(k, rng));
            if self.allows(&candidate) {
                candidates.push(candidate);
            }
        }
        candidates
    }

    /// Points of a Sobol sequence with a random digital shift, within the region.
    fn spread(&self, count: usize, rng: &mut Rng) -> Vec<Candidate> {
        let shifts: Vec<u64> = self.kinds.iter().map(|_| rng.bits()).collect();
        let mut candidates = Vec::with_capacity(count);
        for index in 0..count * PATIENCE {
            let mut genes = vec![0.5; self.kinds.len()];
            for &k in &self.free {
                let x = if k < sobol::DIMENSIONS {
                    f64::from(sobol::digits(k, index as u32) ^ shifts[k] as u32) / 4_294_967_296.0
                } else {
                    rng.uniform()
                };
                genes[k] = match (self.search.region, self.kinds[k]) {
                    (Some(region), Kind::Continuous | Kind::Grid(_)) => {
                        region.low[k] + x * (region.high[k] - region.low[k])
                    }
                    _ => x,
                };
            }
            let candidate = self.made(genes);
            if self.allows(&candidate) {
                candidates.push(candidate);
            }
            if candidates.len() == count {
                break;
            }
        }
        candidates
    }

    /// Genes near a centre, the better ones more often.
    fn near(&self, k: usize, rng: &mut Rng) -> Vec<f64> {
        let pick = |rng: &mut Rng| (rng.uniform().powi(2) * self.centers.len() as f64) as usize;
        let mut genes = self.centers[pick(rng)].clone();
        if k % 4 == 3 {
            let other = pick(rng);
            self.cross(&mut genes, &self.centers[other], rng);
        }
        self.perturb(&mut genes, rng);
        genes
    }

    /// Takes each gene from `other` with probability one third.
    fn cross(&self, genes: &mut [f64], other: &[f64], rng: &mut Rng) {
        for &k in &self.free {
            if rng.below(3) == 0 {
                genes[k] = other[k];
            }
        }
    }

    /// Moves one, some or all coordinates by one scale.
    fn perturb(&self, genes: &mut [f64], rng: &mut Rng) {
        if self.free.is_empty() {
            return;
        }
        let n = self.free.len() as f64;
        let scale = SCALES.0 * (SCALES.1 / SCALES.0).powf(rng.uniform());
        // How many coordinates move: one, a few, or up to twenty; of choices never more than a few.
        let share = match rng.below(3) {
            0 => 0.0,
            1 => (3.0 / n).min(0.5),
            _ => (20.0 / n).min(1.0),
        };
        let sure = self.free[rng.below(self.free.len() as u64) as usize];
        for &k in &self.free {
            let share = match self.kinds[k] {
                Kind::Choices(_) => share.min(1.5 / n),
                Kind::Fixed | Kind::Continuous | Kind::Grid(_) => share,
            };
            if k == sure || rng.uniform() < share {
                genes[k] = self.moved(k, genes[k], scale, rng);
            }
        }
    }

    /// Another value of coordinate `k`, about `scale` away.
    fn moved(&self, k: usize, from: f64, scale: f64, rng: &mut Rng) -> f64 {
        let distribution = &self.search.space.parameters()[k].distribution;
        match self.kinds[k] {
            Kind::Fixed => from,
            Kind::Continuous => reflected(from + scale * rng.normal()),
            Kind::Choices(count) => {
                let current = distribution.cell_of(distribution.from_unit(from));
                let other = rng.below(count - 1);
                distribution.to_unit(distribution.cell(other + u64::from(other >= current)))
            }
            Kind::Grid(count) => {
                let current = distribution.cell_of(distribution.from_unit(from));
                let there = distribution.from_unit(reflected(from + scale * rng.normal()));
                let mut cell = distribution.cell_of(there);
                if cell == current {
                    let up = current + 1 < count && (current == 0 || rng.below(2) == 0);
                    cell = if up { current + 1 } else { current - 1 };
                }
                distribution.to_unit(distribution.cell(cell))
            }
        }
    }

    /// Candidates with their values; −∞ for tried ones.
    fn scored(&self, acquisition: &dyn Acquisition, candidates: Vec<Candidate>) -> Vec<Found> {
        let units: Vec<Vec<f64>> = candidates.iter().map(|candidate| candidate.unit.clone()).collect();
        let values = acquisition.values(&units);
        let found = candidates.into_iter().zip(values).map(|(candidate, value)| {
            let is_out = value.is_nan() || (self.search.is_tried)(&candidate.point);
            Found { candidate, value: if is_out { f64::NEG_INFINITY } else { value } }
        });
        found.collect()
    }

    /// The best candidates that are not close to a better one.
    fn starts(&self, mut scored: Vec<Found>) -> Vec<Found> {
        scored.sort_by(|a, b| b.value.total_cmp(&a.value));
        let wanted = self.search.effort.starts.max(1);
        let mut starts: Vec<Found> = Vec::with_capacity(wanted);
        let mut spare = Vec::new();
        for found in scored {
            if starts.len() == wanted {
                break;
            }
            if starts.iter().all(|start| self.is_apart(&start.candidate, &found.candidate)) {
                starts.push(found);
            } else if spare.len() < wanted {
                spare.push(found);
            }
        }
        let missing = wanted - starts.len();
        starts.extend(spare.into_iter().take(missing));
        starts
    }

    /// Whether two candidates differ in a choice or an active parameter, or by a tenth in some numeric coordinate.
    fn is_apart(&self, a: &Candidate, b: &Candidate) -> bool {
        self.free.iter().any(|&k| {
            let (x, y) = (a.unit[k], b.unit[k]);
            match self.kinds[k] {
                _ if x.is_nan() || y.is_nan() => x.is_nan() != y.is_nan(),
                Kind::Choices(_) => x != y,
                Kind::Fixed | Kind::Continuous | Kind::Grid(_) => (x - y).abs() > 0.1,
            }
        })
    }

    fn refined(&self, acquisition: &dyn Acquisition, start: Found, rng: &mut Rng) -> Found {
        let mut best = start;
        for _ in 0..self.search.effort.rounds {
            let before = best.value;
            let has_slope = self.ascend(acquisition, &mut best);
            self.sweep(acquisition, &mut best, has_slope, rng);
            if best.value <= before + GAIN {
                break;
            }
        }
        best
    }

    /// Climbs over the continuous coordinates; false if there is no slope to climb by.
    fn ascend(&self, acquisition: &dyn Acquisition, best: &mut Found) -> bool {
        let continuous = |candidate: &Candidate| -> Vec<usize> {
            let is_free = |k: &usize| self.kinds[*k] == Kind::Continuous && !candidate.unit[*k].is_nan();
            self.free.iter().copied().filter(is_free).collect()
        };
        let mut coordinates = continuous(&best.candidate);
        if coordinates.is_empty() {
            return true;
        }
        let Some((value, mut slope)) = acquisition.slope(&best.candidate.unit) else { return false };
        let mut value = value;
        let mut memory = Quasi::default();
        let mut current = best.candidate.clone();
        for _ in 0..self.search.effort.steps {
            let gradient: Vec<f64> = coordinates.iter().map(|k| slope[*k]).collect();
            let at: Vec<f64> = coordinates.iter().map(|k| current.unit[*k]).collect();
            let bounds: Vec<(f64, f64)> =
                coordinates.iter().map(|k| (self.within(*k, 0.0), self.within(*k, 1.0))).collect();
            let Some(direction) = memory.direction(&at, &gradient, &bounds) else { break };
            let Some(step) =
                self.line(acquisition, &current, value, &coordinates, &direction, &gradient, &bounds)
            else {
                if memory.is_empty() {
                    break;
                }
                memory = Quasi::default();
                continue;
            };
            let gain = step.value - value;
            let next = continuous(&step.candidate);
            if next == coordinates {
                let moved = coordinates.iter().map(|k| step.candidate.unit[*k] - current.unit[*k]).collect();
                let turned = coordinates.iter().map(|k| slope[*k] - step.slope[*k]).collect();
                memory.remember(moved, turned);
            } else {
                memory = Quasi::default();
                coordinates = next;
            }
            (current, value, slope) = (step.candidate, step.value, step.slope);
            if gain < GAIN {
                break;
            }
        }
        if value > best.value && !(self.search.is_tried)(&current.point) {
            *best = Found { candidate: current, value };
        }
        true
    }

    /// A step along `direction` that gains enough (Armijo), shortened as often as needed.
    #[allow(clippy::too_many_arguments)]
    fn line(
        &self,
        acquisition: &dyn Acquisition,
        from: &Candidate,
        value: f64,
        coordinates: &[usize],
        direction: &[f64],
        gradient: &[f64],
        bounds: &[(f64, f64)],
    ) -> Option<Step> {
        let longest = direction.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
        let mut length = (STRIDE / longest).min(1.0);
        for _ in 0..10 {
            let mut genes = from.genes.clone();
            let mut promised = 0.0;
            for (j, &k) in coordinates.iter().enumerate() {
                genes[k] = (from.unit[k] + length * direction[j]).clamp(bounds[j].0, bounds[j].1);
                promised += gradient[j] * (genes[k] - from.unit[k]);
            }
            let candidate = self.made(genes);
            if self.allows(&candidate)
                && let Some((reached, slope)) = acquisition.slope(&candidate.unit)
                && reached >= value + 1e-4 * promised
                && reached > value
            {
                return Some(Step { candidate, value: reached, slope });
            }
            length *= 0.35;
        }
        None
    }

    /// Tries other values of one coordinate after the other, keeping what gains. Without slopes, continuous ones too.
    fn sweep(&self, acquisition: &dyn Acquisition, best: &mut Found, has_slope: bool, rng: &mut Rng) {
        let mut left = self.search.effort.moves;
        for k in self.shuffled(rng) {
            if left == 0 || best.candidate.unit[k].is_nan() {
                continue;
            }
            let candidates: Vec<Candidate> = self
                .alternatives(k, &best.candidate, has_slope, rng)
                .into_iter()
                .map(|unit| {
                    let mut genes = best.candidate.genes.clone();
                    genes[k] = unit;
                    self.made(genes)
                })
                .filter(|candidate| candidate.unit[k] != best.candidate.unit[k] && self.allows(candidate))
                .collect();
            left = left.saturating_sub(candidates.len());
            for found in self.scored(acquisition, candidates) {
                if found.value > best.value {
                    *best = found;
                }
            }
        }
    }

    fn shuffled(&self, rng: &mut Rng) -> Vec<usize> {
        let mut order = self.free.clone();
        for k in (1..order.len()).rev() {
            order.swap(k, rng.below(k as u64 + 1) as usize);
        }
        order
    }

    /// Unit coordinates to try for parameter `k` in place of its own.
    fn alternatives(&self, k: usize, from: &Candidate, has_slope: bool, rng: &mut Rng) -> Vec<f64> {
        let distribution = &self.search.space.parameters()[k].distribution;
        let unit = |cell: u64| distribution.to_unit(distribution.cell(cell));
        match self.kinds[k] {
            Kind::Fixed => Vec::new(),
            Kind::Continuous if has_slope => Vec::new(),
            Kind::Continuous => {
                let scales = [0.2, 0.2, 0.07, 0.07, 0.02, 0.02, 0.005, 0.005];
                scales.iter().map(|scale| reflected(from.unit[k] + scale * rng.normal())).collect()
            }
            Kind::Choices(count) | Kind::Grid(count) if count <= EXHAUSTIVE => (0..count).map(unit).collect(),
            Kind::Choices(_) => {
                let known = self.centers.iter().map(|genes| genes[k]).take(SAMPLED / 2);
                let mut units: Vec<f64> = known.collect();
                units.extend((units.len()..SAMPLED).map(|_| rng.uniform()));
                units
            }
            Kind::Grid(count) => {
                let current = distribution.cell_of(from.point.0[k]);
                let mut cells = Vec::new();
                let mut distance = 1;
                while distance < count {
                    cells.extend(current.checked_sub(distance));
                    cells.extend(current.checked_add(distance).filter(|cell| *cell < count));
                    distance *= 2;
                }
                cells.into_iter().map(unit).collect()
            }
        }
    }
}

struct Step {
    candidate: Candidate,
    value: f64,
    slope: Vec<f64>,
}

/// Centres with their missing coordinates taken from the best centre that has them, or from the middle.
fn filled(centers: &[Vec<f64>], dimensions: usize) -> Vec<Vec<f64>> {
    let first = |k: usize| centers.iter().map(|unit| unit[k]).find(|x| !x.is_nan()).unwrap_or(0.5);
    let donors: Vec<f64> = (0..dimensions).map(first).collect();
    let fill = |unit: &Vec<f64>| {
        unit.iter().zip(&donors).map(|(x, donor)| if x.is_nan() { *donor } else { *x }).collect()
    };
    centers.iter().map(fill).collect()
}

/// The coordinate folded back into \[0, 1\] at both ends.
pub(crate) fn reflected(x: f64) -> f64 {
    let folded = x.rem_euclid(2.0);
    if folded > 1.0 { 2.0 - folded } else { folded }
}

/// The memory of a quasi-Newton ascent inside a box (two-loop recursion of Nocedal 1980).
///
/// Coordinates that stand at a bound and want out of the box are held; the others move by the recursion restricted to
/// them.
#[derive(Default)]
struct Quasi {
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Quasi {
    fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Keeps a step and how much the slope fell along it, if the curvature is that of a maximum.
    fn remember(&mut self, moved: Vec<f64>, fallen: Vec<f64>) {
        if dot(&moved, &fallen) > 1e-12 * dot(&fallen, &fallen).max(f64::MIN_POSITIVE) {
            if self.pairs.len() == MEMORY {
                self.pairs.remove(0);
            }
            self.pairs.push((moved, fallen));
        }
    }

    /// An uphill direction, or `None` where the slope inside the box vanishes.
    fn direction(&self, at: &[f64], gradient: &[f64], bounds: &[(f64, f64)]) -> Option<Vec<f64>> {
        let is_held = |j: usize| {
            (at[j] <= bounds[j].0 && gradient[j] < 0.0) || (at[j] >= bounds[j].1 && gradient[j] > 0.0)
        };
        let free: Vec<bool> = (0..at.len()).map(|j| !is_held(j) && gradient[j].is_finite()).collect();
        let masked = |v: &[f64]| -> Vec<f64> {
            v.iter().zip(&free).map(|(x, free)| if *free { *x } else { 0.0 }).collect()
        };
        let uphill = masked(gradient);
        let steepest = uphill.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
        if steepest < 1e-9 {
            return None;
        }
        let direction = self.recursion(&uphill, masked);
        if dot(&direction, &uphill) > 0.0 {
            return Some(direction);
        }
        Some(uphill.iter().map(|g| 0.1 * g / steepest).collect())
    }

    fn recursion(&self, uphill: &[f64], masked: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let mut q = uphill.to_vec();
        let mut scale = 0.1 / uphill.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
        let mut kept = Vec::with_capacity(self.pairs.len());
        for (moved, fallen) in self.pairs.iter().rev() {
            let (moved, fallen) = (masked(moved), masked(fallen));
            let curvature = dot(&moved, &fallen);
            if curvature <= 0.0 {
                continue;
            }
            let alpha = dot(&moved, &q) / curvature;
            q.iter_mut().zip(&fallen).for_each(|(q, y)| *q -= alpha * y);
            if kept.is_empty() {
                scale = curvature / dot(&fallen, &fallen);
            }
            kept.push((moved, fallen, curvature, alpha));
        }
        for q in &mut q {
            *q *= scale;
        }
        for (moved, fallen, curvature, alpha) in kept.iter().rev() {
            let beta = dot(fallen, &q) / curvature;
            q.iter_mut().zip(moved).for_each(|(q, s)| *q += (alpha - beta) * s);
        }
        masked(&q)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

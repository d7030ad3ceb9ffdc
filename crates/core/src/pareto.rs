//! Several losses at once: who dominates whom, how much of the loss space a set covers, and directions spread evenly
//! over it. Mathematics only: it has never heard of trials, and which trials are compared is its users' business.
//!
//! A set of points is a slice of anything that is a slice of losses, one per objective, the same number for each.
//! Smaller is better, and NaN counts as +∞. Equal points do not dominate one another.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Whether `a` is at least as good as `b` in every loss and better in one.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    let mut better = false;
    for (a, b) in a.iter().zip(b) {
        match compare(*a, *b) {
            Ordering::Less => better = true,
            Ordering::Equal => {}
            Ordering::Greater => return false,
        }
    }
    better
}

/// The front of each point, from 0: nothing dominates front 0, only front 0 dominates front 1, and so on.
///
/// Efficient non-dominated sort (Zhang et al. 2015, IEEE TEC 19(2)): `O(n log n)` up to two objectives, `O(n²)` at worst
/// beyond.
///
/// ```
/// use luthier_core::pareto::ranks;
/// assert_eq!(ranks(&[[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [1.0, 4.0]]), [0, 0, 1, 0]);
/// ```
pub fn ranks<P: AsRef<[f64]>>(points: &[P]) -> Vec<u32> {
    let mut ranks = vec![0; points.len()];
    let mut fronts: Vec<Vec<usize>> = Vec::new();
    for k in sorted(points) {
        let point = points[k].as_ref();
        // Whoever is dominated by a member of a front is dominated by a member of every front before it.
        let rank = fronts.partition_point(|front| dominated_by(point, front, points));
        if rank == fronts.len() {
            fronts.push(Vec::new());
        }
        fronts[rank].push(k);
        ranks[k] = rank as u32;
    }
    ranks
}

/// [`ranks`] where some points break constraints: those that break none (`violations` ≤ 0) come first, by fronts, the
/// others follow by how much they break, equal ones together (Deb et al. 2002, section VI, with one violation).
pub fn constrained_ranks<P: AsRef<[f64]>>(points: &[P], violations: &[f64]) -> Vec<u32> {
    let (kept, broken): (Vec<usize>, Vec<usize>) =
        (0..points.len()).partition(|k| compare(violations[*k], 0.0) != Ordering::Greater);
    let mut all = vec![0; points.len()];
    let feasible: Vec<&[f64]> = kept.iter().map(|k| points[*k].as_ref()).collect();
    let feasible = ranks(&feasible);
    let fronts = feasible.iter().max().map_or(0, |last| last + 1);
    for (k, rank) in kept.into_iter().zip(feasible) {
        all[k] = rank;
    }
    let excess: Vec<[f64; 1]> = broken.iter().map(|k| [violations[*k]]).collect();
    for (k, rank) in broken.into_iter().zip(ranks(&excess)) {
        all[k] = fronts + rank;
    }
    all
}

/// The points that no other dominates, ascending; equal ones are all there.
pub fn front<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let mut front: Vec<usize> = Vec::new();
    for k in sorted(points) {
        if !dominated_by(points[k].as_ref(), &front, points) {
            front.push(k);
        }
    }
    front.sort_unstable();
    front
}

/// How much room each point of one front has to its neighbours, summed over objectives, each scaled by its range
/// (Deb et al. 2002, section III-B). The best and the worst of an objective have ∞; one whose values are all the same, or
/// whose range is not finite, says nothing.
///
/// ```
/// use luthier_core::pareto::crowding_distances;
/// let front = [[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]];
/// assert_eq!(crowding_distances(&front), [f64::INFINITY, 2.0, f64::INFINITY]);
/// ```
pub fn crowding_distances<P: AsRef<[f64]>>(front: &[P]) -> Vec<f64> {
    let mut distances = vec![0.0; front.len()];
    let objectives = front.first().map_or(0, |point| point.as_ref().len());
    for m in 0..objectives {
        let value = |k: usize| front[k].as_ref()[m];
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|a, b| compare(value(*a), value(*b)).then(a.cmp(b)));
        let (first, last) = (order[0], order[order.len() - 1]);
        let range = value(last) - value(first);
        if !(range > 0.0 && range.is_finite()) {
            continue;
        }
        (distances[first], distances[last]) = (f64::INFINITY, f64::INFINITY);
        for three in order.windows(3) {
            distances[three[1]] += (value(three[2]) - value(three[0])) / range;
        }
    }
    distances
}

/// The volume that lies between a set of points and `reference`: exact for any number of objectives.
///
/// Points that are not better than the reference everywhere add nothing. Up to three objectives it is a sweep; beyond, the
/// algorithm of While et al. (2012, IEEE TEC 16(1), "WFG") with the last objective sliced off, whose time grows
/// exponentially with the number of objectives at worst.
///
/// ```
/// use luthier_core::pareto::hypervolume;
/// assert_eq!(hypervolume(&[[0.0, 1.0], [1.0, 0.0]], &[2.0, 2.0]), 3.0);
/// ```
pub fn hypervolume<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> f64 {
    let inside = points.iter().map(AsRef::as_ref).filter(|point| is_inside(point, reference));
    volume(inside.map(<[f64]>::to_vec).collect(), reference)
}

/// The volume that each point alone covers: what the [`hypervolume`] would lose without it. Equal points cover nothing
/// alone.
pub fn contributions<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> Vec<f64> {
    let alone = |k: usize| {
        let others = (0..points.len()).filter(|j| *j != k).map(|j| points[j].as_ref());
        gain(points[k].as_ref(), others, reference)
    };
    (0..points.len()).map(alone).collect()
}

/// `count` points chosen one after the other, each adding the most volume to those before it, in the order chosen; the
/// lower index of equal ones. The volume is at least 1 − 1/e of what the best subset of that size covers (Nemhauser et al.
/// 1978; Guerreiro et al. 2016).
pub fn greedy_subset<P: AsRef<[f64]>>(points: &[P], reference: &[f64], count: usize) -> Vec<usize> {
    let none: [&[f64]; 0] = [];
    let first = |k: usize| Gain { volume: gain(points[k].as_ref(), none, reference), index: k, of: 0 };
    let mut heap: BinaryHeap<Gain> = (0..points.len()).map(first).collect();
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    // What a point adds never grows, so an old figure is a bound and most need not be computed again.
    while chosen.len() < count.min(points.len()) {
        let Some(top) = heap.pop() else { break };
        if top.of == chosen.len() {
            chosen.push(top.index);
            continue;
        }
        let before = chosen.iter().map(|k| points[*k].as_ref());
        let volume = gain(points[top.index].as_ref(), before, reference).min(top.volume);
        heap.push(Gain { volume, index: top.index, of: chosen.len() });
    }
    chosen
}

/// What a point adds to the first `of` chosen ones.
struct Gain {
    volume: f64,
    index: usize,
    of: usize,
}

impl PartialEq for Gain {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Gain {}
impl PartialOrd for Gain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Gain {
    fn cmp(&self, other: &Self) -> Ordering {
        self.volume.total_cmp(&other.volume).then(other.index.cmp(&self.index))
    }
}

/// Directions spread evenly over the simplex: all vectors of `objectives` multiples of 1 / `divisions` that sum to 1
/// (Das and Dennis 1998), in lexicographic order.
///
/// ```
/// use luthier_core::pareto::das_dennis;
/// assert_eq!(das_dennis(2, 2), [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]);
/// assert_eq!(das_dennis(3, 12).len(), 91);
/// ```
pub fn das_dennis(objectives: usize, divisions: usize) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    if objectives > 0 && divisions > 0 {
        compose(objectives, divisions, divisions, &mut Vec::new(), &mut all);
    }
    all
}

/// [`das_dennis`] directions drawn towards the centre of the simplex by `share` (0 leaves them, 1 makes them all equal):
/// the inner layer of Deb and Jain (2014, section V), who use 0.5.
pub fn das_dennis_inside(objectives: usize, divisions: usize, share: f64) -> Vec<Vec<f64>> {
    let mut all = das_dennis(objectives, divisions);
    for x in all.iter_mut().flatten() {
        *x = (1.0 - share) * *x + share / objectives as f64;
    }
    all
}

/// How many directions [`das_dennis`] gives, or `None` past `usize`.
pub fn das_dennis_count(objectives: usize, divisions: usize) -> Option<usize> {
    if objectives == 0 || divisions == 0 {
        return Some(0);
    }
    // C(h + m − 1, m − 1), each partial product being a binomial coefficient itself.
    (1..objectives).try_fold(1usize, |count, k| Some(count.checked_mul(divisions + k)? / k))
}

fn compose(objectives: usize, divisions: usize, left: usize, head: &mut Vec<f64>, all: &mut Vec<Vec<f64>>) {
    let share = |parts: usize| parts as f64 / divisions as f64;
    if head.len() + 1 == objectives {
        all.push(head.iter().copied().chain([share(left)]).collect());
        return;
    }
    for part in 0..=left {
        head.push(share(part));
        compose(objectives, divisions, left - part, head, all);
        head.pop();
    }
}

fn compare(a: f64, b: f64) -> Ordering {
    let value = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
    value(a).partial_cmp(&value(b)).unwrap_or(Ordering::Equal)
}

fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| compare(*a, *b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Indices by losses, first objective first: nobody is dominated by one who comes later.
fn sorted<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| lexicographic(points[*a].as_ref(), points[*b].as_ref()).then(a.cmp(b)));
    order
}

/// Whether a member of a front filled in sorted order dominates `point`, which is not before any of them.
fn dominated_by<P: AsRef<[f64]>>(point: &[f64], front: &[usize], points: &[P]) -> bool {
    if point.len() <= 2 {
        // The last member has the smallest second loss.
        return front.last().is_some_and(|k| dominates(points[*k].as_ref(), point));
    }
    front.iter().rev().any(|k| dominates(points[*k].as_ref(), point))
}

fn is_inside(point: &[f64], reference: &[f64]) -> bool {
    point.iter().zip(reference).all(|(x, r)| compare(*x, *r) == Ordering::Less)
}

/// What `point` covers that `others` do not.
fn gain<'a>(point: &[f64], others: impl IntoIterator<Item = &'a [f64]>, reference: &[f64]) -> f64 {
    if !is_inside(point, reference) {
        return 0.0;
    }
    let clipped = others.into_iter().filter(|other| is_inside(other, reference)).map(|o| clip(point, o));
    (box_volume(point, reference) - volume(clipped.collect(), reference)).max(0.0)
}

fn box_volume(point: &[f64], reference: &[f64]) -> f64 {
    point.iter().zip(reference).map(|(x, r)| r - x).product()
}

/// `other` moved to where it covers no more than `point` does.
fn clip(point: &[f64], other: &[f64]) -> Vec<f64> {
    point.iter().zip(other).map(|(a, b)| a.max(*b)).collect()
}

fn volume(points: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    let mut points: Vec<Vec<f64>> = match points.len() {
        0 => return 0.0,
        1 => return box_volume(&points[0], reference),
        _ => front(&points).into_iter().map(|k| points[k].clone()).collect(),
    };
    match *reference {
        [] => 0.0,
        [r] => r - points[0][0],
        [x, y] => area(points.iter().map(|p| (p[0], p[1])), x, y),
        [x, y, z] => sweep(&points, x, y, z),
        _ => {
            // Worst in the last objective first: clipped to a point, all later ones have its value there.
            let last = reference.len() - 1;
            points.sort_by(|a, b| b[last].total_cmp(&a[last]).then_with(|| lexicographic(a, b)));
            let slice = |k: usize| {
                let head = &points[k][..last];
                let later = points[k + 1..].iter().map(|other| clip(head, &other[..last]));
                let own = box_volume(head, &reference[..last]) - volume(later.collect(), &reference[..last]);
                own * (reference[last] - points[k][last])
            };
            (0..points.len()).map(slice).sum()
        }
    }
}

/// The area that a front in lexicographic or any other order covers.
fn area(points: impl Iterator<Item = (f64, f64)>, x: f64, y: f64) -> f64 {
    let mut points: Vec<(f64, f64)> = points.collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut sum, mut floor) = (0.0, y);
    for (px, py) in points.into_iter().filter(|(px, _)| *px < x) {
        if py < floor {
            sum += (x - px) * (floor - py);
            floor = py;
        }
    }
    sum
}

/// A volume by moving a plane up the third objective and adding up the staircase of those below it.
fn sweep(points: &[Vec<f64>], x: f64, y: f64, z: f64) -> f64 {
    let mut order: Vec<&Vec<f64>> = points.iter().collect();
    order.sort_by(|a, b| a[2].total_cmp(&b[2]).then_with(|| lexicographic(a, b)));
    // Ascending in the first objective, strictly descending in the second.
    let mut stairs: Vec<(f64, f64)> = Vec::new();
    let (mut sum, mut covered, mut level) = (0.0, 0.0, order[0][2]);
    for point in order {
        sum += covered * (point[2] - level);
        level = point[2];
        covered += step_in(&mut stairs, (point[0], point[1]), x, y);
    }
    sum + covered * (z - level)
}

/// Adds a step to a staircase and returns by how much the area under it grows.
fn step_in(stairs: &mut Vec<(f64, f64)>, (px, py): (f64, f64), x: f64, y: f64) -> f64 {
    let at = stairs.partition_point(|step| step.0 <= px);
    let mut floor = if at == 0 { y } else { stairs[at - 1].1 };
    if floor <= py {
        return 0.0;
    }
    let from = if at > 0 && stairs[at - 1].0 == px { at - 1 } else { at };
    let (mut left, mut until, mut grown) = (px, at, 0.0);
    while until < stairs.len() && stairs[until].1 >= py {
        grown += (stairs[until].0 - left) * (floor - py);
        (left, floor) = stairs[until];
        until += 1;
    }
    let right = stairs.get(until).map_or(x, |step| step.0);
    grown += (right - left) * (floor - py);
    stairs.splice(from..until, [(px, py)]);
    grown
}

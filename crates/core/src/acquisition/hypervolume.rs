//! Expected hypervolume improvement for several objectives, exactly and as a logarithm.
//!
//! What no trial dominates is cut into disjoint boxes. With independent beliefs the expected gain inside a box [l, u] is
//! the product over objectives of ψ(u) − ψ(l), where ψ(a) = E(a − Y)⁺ is the expected improvement on a (Yang et al.
//! 2019, arXiv:1904.12672, equation 8, for any number of objectives). Every factor and the sum are kept as logarithms, so that
//! it has a slope where the gain itself would vanish (Ament et al. 2023, arXiv:2310.20708).

use super::expected_improvement::LogExpectedImprovement;
use super::{Acquisition, LogSum, Partials, Worth, beliefs, chained, log_sum};
use crate::surrogate::{Belief, Surrogate};

/// ln of the expected gain in the volume that is dominated and better than a reference point.
pub struct LogHypervolumeImprovement<'a> {
    surrogates: Vec<&'a dyn Surrogate>,
    /// Per objective: bounds of boxes, ascending.
    bounds: Vec<Vec<f64>>,
    /// Per box and objective: which bounds it lies between; the lower one is none where it has no end.
    boxes: Vec<Vec<(Option<u32>, u32)>>,
}

/// Of a front with more points than this, a spread selection is used: boxes grow with the power (objectives − 1).
fn most_points(objectives: usize) -> usize {
    match objectives {
        0..=2 => 100,
        3 => 24,
        4 => 12,
        _ => 8,
    }
}

impl<'a> LogHypervolumeImprovement<'a> {
    /// From one surrogate per objective, the losses of the trials so far in their units, and a reference point that is
    /// worse than every point worth having (see [`reference_point`]).
    pub fn new(surrogates: Vec<&'a dyn Surrogate>, losses: &[Vec<f64>], reference: &[f64]) -> Self {
        let inside = |row: &&Vec<f64>| row.iter().zip(reference).all(|(x, r)| x < r);
        let kept: Vec<Vec<f64>> = non_dominated(losses).into_iter().map(|k| losses[k].clone()).collect();
        let kept: Vec<Vec<f64>> = kept.iter().filter(inside).cloned().collect();
        let front = spread_out(kept, most_points(reference.len()));
        let mut bounds: Vec<Vec<f64>> = (0..reference.len())
            .map(|m| front.iter().map(|row| row[m]).chain([reference[m]]).collect())
            .collect();
        for axis in &mut bounds {
            axis.sort_by(f64::total_cmp);
            axis.dedup();
        }
        let place =
            |m: usize, x: f64| bounds[m].iter().position(|bound| *bound == x).unwrap_or_default() as u32;
        let boxes = free_boxes(&front, reference)
            .into_iter()
            .map(|sides| {
                let sides = sides.into_iter().enumerate();
                sides.map(|(m, (l, u))| (l.is_finite().then(|| place(m, l)), place(m, u))).collect()
            })
            .collect();
        Self { surrogates, bounds, boxes }
    }

    /// The value for one belief per objective, and its change by their means and deviations.
    pub fn partials(&self, beliefs: &[Belief]) -> (f64, Vec<Partials>) {
        let tables: Vec<Vec<Partials>> = self.tables(beliefs);
        let mut total = LogSum::new(beliefs.len());
        for sides in &self.boxes {
            let parts: Vec<Partials> =
                sides.iter().zip(&tables).map(|(side, table)| side_partials(*side, table)).collect();
            total.add(parts.iter().map(|part| part.value).sum(), &parts);
        }
        total.total()
    }

    /// The value for one belief per objective.
    pub fn worth(&self, beliefs: &[Belief]) -> f64 {
        let tables: Vec<Vec<f64>> = beliefs
            .iter()
            .zip(&self.bounds)
            .map(|(belief, bounds)| {
                bounds.iter().map(|best| LogExpectedImprovement { best: *best }.worth(*belief)).collect()
            })
            .collect();
        let side = |(l, u): (Option<u32>, u32), table: &Vec<f64>| {
            let upper = table[u as usize];
            l.map_or(upper, |l| upper + log_rest(table[l as usize] - upper))
        };
        let log = |sides: &Vec<(Option<u32>, u32)>| -> f64 {
            sides.iter().zip(&tables).map(|(s, table)| side(*s, table)).sum()
        };
        let logs: Vec<f64> = self.boxes.iter().map(log).filter(|log| !log.is_nan()).collect();
        log_sum(&logs)
    }

    /// ln ψ and its slopes at every bound of every objective.
    fn tables(&self, beliefs: &[Belief]) -> Vec<Vec<Partials>> {
        let table = |(belief, bounds): (&Belief, &Vec<f64>)| {
            bounds.iter().map(|best| LogExpectedImprovement { best: *best }.partials(*belief)).collect()
        };
        beliefs.iter().zip(&self.bounds).map(table).collect()
    }
}

impl Acquisition for LogHypervolumeImprovement<'_> {
    fn value(&self, unit: &[f64]) -> f64 {
        let beliefs: Vec<Belief> = self.surrogates.iter().map(|model| model.belief(unit)).collect();
        self.worth(&beliefs)
    }

    fn values(&self, units: &[Vec<f64>]) -> Vec<f64> {
        beliefs(&self.surrogates, units).iter().map(|row| self.worth(row)).collect()
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        chained(&self.surrogates, unit, |beliefs| self.partials(beliefs))
    }
}

/// ln(1 − e^δ) for δ ≤ 0.
fn log_rest(delta: f64) -> f64 {
    if delta > -0.5 { (-delta.exp_m1()).ln() } else { (-delta.exp()).ln_1p() }
}

/// ln(ψ(u) − ψ(l)) with its slopes.
fn side_partials((l, u): (Option<u32>, u32), table: &[Partials]) -> Partials {
    let upper = table[u as usize];
    let Some(l) = l else { return upper };
    let lower = table[l as usize];
    let delta = lower.value - upper.value;
    // (ψ'(u) − ψ'(l)) / (ψ(u) − ψ(l)) from the logarithmic slopes: a + (a − b) e^δ / (1 − e^δ).
    let share = delta.exp() / -delta.exp_m1();
    let mix = |a: f64, b: f64| if share > 0.0 { a + (a - b) * share } else { a };
    Partials {
        value: upper.value + log_rest(delta),
        mean: mix(upper.mean, lower.mean),
        deviation: mix(upper.deviation, lower.deviation),
    }
}

/// Indices of the rows that no other row is at least as good as in everything and better in something; of equal rows the
/// first.
pub fn non_dominated(rows: &[Vec<f64>]) -> Vec<usize> {
    let covers = |a: usize, b: usize| {
        let pairs = || rows[a].iter().zip(&rows[b]);
        pairs().all(|(x, y)| x <= y) && (a < b || pairs().any(|(x, y)| x < y))
    };
    (0..rows.len()).filter(|&b| !(0..rows.len()).any(|a| a != b && covers(a, b))).collect()
}

/// A tenth of all rows' extent beyond the worst of them, in each objective.
///
/// Not of the front's: while that is a few points close together, nothing at its sides would count, and so it would stay.
pub fn reference_point(rows: &[Vec<f64>]) -> Vec<f64> {
    let beyond = |m: usize| {
        let least = rows.iter().map(|row| row[m]).fold(f64::INFINITY, f64::min);
        let most = rows.iter().map(|row| row[m]).fold(f64::NEG_INFINITY, f64::max);
        most + 0.1 * if most > least { most - least } else { 1.0 }
    };
    (0..rows.first().map_or(0, Vec::len)).map(beyond).collect()
}

/// The upper quartile of all rows in each objective.
///
/// Nearer than [`reference_point`]: where an objective is as good as can be whatever the others are, a slight gain in it
/// would otherwise count for its whole extent, and rows that are bad in all else would move the point still further out.
pub fn upper_quartiles(rows: &[Vec<f64>]) -> Vec<f64> {
    let quartile = |m: usize| {
        let mut column: Vec<f64> = rows.iter().map(|row| row[m]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() * 3 / 4]
    };
    (0..rows.first().map_or(0, Vec::len)).map(quartile).collect()
}

/// The volume that `rows` dominate below `reference`.
pub fn hypervolume(rows: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside = |row: &&Vec<f64>| row.iter().zip(reference).all(|(x, r)| x < r);
    let rows: Vec<Vec<f64>> = rows.iter().filter(inside).cloned().collect();
    let Some((last, rest)) = reference.split_last() else { return 0.0 };
    if rest.is_empty() {
        return rows.iter().map(|row| last - row[0]).fold(0.0, f64::max);
    }
    let mut levels: Vec<f64> = rows.iter().map(|row| row[rest.len()]).chain([*last]).collect();
    levels.sort_by(f64::total_cmp);
    let slice = |level: f64| -> Vec<Vec<f64>> {
        let below = rows.iter().filter(|row| row[rest.len()] <= level);
        let cut: Vec<Vec<f64>> = below.map(|row| row[..rest.len()].to_vec()).collect();
        non_dominated(&cut).into_iter().map(|k| cut[k].clone()).collect()
    };
    levels.windows(2).map(|ends| (ends[1] - ends[0]) * hypervolume(&slice(ends[0]), rest)).sum()
}

/// Disjoint boxes, one (lower, upper) per objective, that together are everything below `reference` that no point of
/// `front` dominates. Slices along the last objective, each cut up along the others.
fn free_boxes(front: &[Vec<f64>], reference: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let Some((last, rest)) = reference.split_last() else { return vec![Vec::new()] };
    if rest.is_empty() {
        let best = front.iter().map(|row| row[0]).fold(*last, f64::min);
        return vec![vec![(f64::NEG_INFINITY, best)]];
    }
    let m = rest.len();
    let mut levels: Vec<f64> = front.iter().map(|row| row[m]).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let mut boxes = Vec::new();
    let mut from = f64::NEG_INFINITY;
    for to in levels.into_iter().chain([*last]) {
        let below: Vec<Vec<f64>> =
            front.iter().filter(|row| row[m] <= from).map(|row| row[..m].to_vec()).collect();
        let cut: Vec<Vec<f64>> = non_dominated(&below).into_iter().map(|k| below[k].clone()).collect();
        for mut sides in free_boxes(&cut, rest) {
            sides.push((from, to));
            boxes.push(sides);
        }
        from = to;
    }
    boxes
}

/// At most `most` of the rows: the best in each objective, then always the one farthest from those chosen.
fn spread_out(rows: Vec<Vec<f64>>, most: usize) -> Vec<Vec<f64>> {
    if rows.len() <= most {
        return rows;
    }
    let objectives = rows[0].len();
    let range = |m: usize| {
        let least = rows.iter().map(|row| row[m]).fold(f64::INFINITY, f64::min);
        (rows.iter().map(|row| row[m]).fold(f64::NEG_INFINITY, f64::max) - least).max(f64::MIN_POSITIVE)
    };
    let ranges: Vec<f64> = (0..objectives).map(range).collect();
    let distance = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).zip(&ranges).map(|((x, y), range)| ((x - y) / range).powi(2)).sum()
    };
    let mut chosen: Vec<usize> = Vec::with_capacity(most);
    for m in 0..objectives {
        let best = (0..rows.len()).min_by(|a, b| rows[*a][m].total_cmp(&rows[*b][m]));
        chosen.extend(best.filter(|k| !chosen.contains(k)));
    }
    while chosen.len() < most {
        let gap =
            |k: usize| chosen.iter().map(|c| distance(&rows[k], &rows[*c])).fold(f64::INFINITY, f64::min);
        let Some(next) = (0..rows.len()).max_by(|a, b| gap(*a).total_cmp(&gap(*b)).then(b.cmp(a))) else {
            break;
        };
        chosen.push(next);
    }
    chosen.into_iter().map(|k| rows[k].clone()).collect()
}

//! Which points the trials of a study have had: a fold of the study for whoever must not propose a point twice.
//!
//! In a traced study a trial's point changes until it has finished, and a parameter that it never asked for makes no
//! difference to it: there a finished trial covers every point that agrees with it on the parameters it had.

use std::collections::HashSet;

use crate::event::Outcome;
use crate::space::Space;
use crate::study::Study;
use crate::trial::Trial;

/// The points of the current space that trials have had, whoever chose them and however they ended.
///
/// Trials that no longer fit the space cover nothing, nor do trials that lack one of its parameters because it is
/// newer than they are.
#[derive(Default)]
pub(crate) struct Coverage {
    /// Space version and whether the study is traced; another pair starts afresh.
    of: Option<(u32, bool)>,
    /// Settled trials seen: all trials, or for a traced study the finished ones.
    seen: usize,
    exact: HashSet<u64>,
    patterns: Vec<Pattern>,
    /// What unfinished trials of a traced study hold at present.
    passing: HashSet<u64>,
}

/// Finished traced trials that held the same parameters.
struct Pattern {
    held: Vec<usize>,
    hashes: HashSet<u64>,
}

impl Coverage {
    /// Takes in what has happened; true if everything was forgotten first.
    pub(crate) fn advance(&mut self, study: &Study) -> bool {
        let of = Some((study.space_version(), study.is_traced()));
        let afresh = self.of != of;
        if afresh {
            *self = Self { of, ..Self::default() };
        }
        if study.is_traced() {
            self.trace(study);
        } else {
            let space = study.space();
            let fresh = study.trials()[self.seen..].iter().filter(|trial| is_member(space, trial));
            self.exact.extend(fresh.map(|trial| hash(&trial.point.0)));
            self.seen = study.trials().len();
        }
        afresh
    }

    fn trace(&mut self, study: &Study) {
        for &number in &study.finished()[self.seen..] {
            self.settle(&study.trials()[number as usize]);
        }
        self.seen = study.finished().len();
        let unfinished = [study.running(), study.waiting(), study.paused()].into_iter().flatten();
        let points = unfinished.map(|work| hash(&study.trials()[work.trial as usize].point.0));
        self.passing = points.collect();
    }

    fn settle(&mut self, trial: &Trial) {
        let point = &trial.point.0;
        let held: Vec<usize> = (0..point.len()).filter(|&k| !point[k].is_nan()).collect();
        // A trial that died before it asked for anything says nothing about any point.
        let spoke = !held.is_empty() || matches!(trial.outcome(), Some(Outcome::Completed { .. }));
        if trial.outside || !spoke {
            return;
        }
        let k = self.patterns.iter().position(|pattern| pattern.held == held).unwrap_or_else(|| {
            self.patterns.push(Pattern { held: held.clone(), hashes: HashSet::new() });
            self.patterns.len() - 1
        });
        self.patterns[k].hashes.insert(part_hash(point, &held));
    }

    /// Whether a trial has had the point, or is having it.
    pub(crate) fn contains(&self, point: &[f64]) -> bool {
        self.contains_for_good(point) || self.passing.contains(&hash(point))
    }

    /// Like [`Coverage::contains`], but only what no later event of the same space can undo.
    pub(crate) fn contains_for_good(&self, point: &[f64]) -> bool {
        let agrees = |pattern: &Pattern| {
            pattern.held.iter().all(|&k| !point[k].is_nan())
                && pattern.hashes.contains(&part_hash(point, &pattern.held))
        };
        self.exact.contains(&hash(point)) || self.patterns.iter().any(agrees)
    }

    /// How many points are covered; 0 for traced studies, where that takes a listing of the space.
    pub(crate) fn count(&self) -> u64 {
        self.exact.len() as u64
    }
}

fn is_member(space: &Space, trial: &Trial) -> bool {
    let point = &trial.point;
    let fits = |k: usize| space.is_active(k, &point.0) == point.get(k).is_some();
    !trial.outside && point.0.len() == space.len() && (0..space.len()).all(fits) && space.allows(&point.0)
}

/// Any hash that does not change between runs will do, since answers depend on equality only; the finaliser of
/// `SplitMix64`, chained. The odds that two of a million points collide are 3 in 10⁸.
fn hash(point: &[f64]) -> u64 {
    point.iter().fold(0, |state, x| mixed(state, *x))
}

fn part_hash(point: &[f64], held: &[usize]) -> u64 {
    held.iter().fold(0, |state, &k| mixed(state, point[k]))
}

fn mixed(state: u64, x: f64) -> u64 {
    // Adding zero turns −0 into 0.
    let bits = if x.is_nan() { u64::MAX } else { (x + 0.0).to_bits() };
    let mut z = (state.rotate_left(5) ^ bits).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

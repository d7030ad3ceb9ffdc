//! Losses in order, cut in two at a quota that follows their number: quantiles and the best 1/η in O(log n).
//!
//! What the quota means, and what is done with the best, is the schedulers' affair.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A trial's loss; ties go to the lower number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    /// Its loss; infinite for a failed trial, never NaN.
    pub(super) loss: f64,
    /// Its number.
    pub(super) trial: u32,
}

impl Ranked {
    /// A trial with its loss; −0 counts as 0, or the sign of zero would decide ties.
    pub(super) fn new(loss: f64, trial: u32) -> Self {
        Self { loss: loss + 0.0, trial }
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.loss.total_cmp(&other.loss).then(self.trial.cmp(&other.trial))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// Ranked trials in two parts, every one of `best` before every one of `rest`.
#[derive(Default)]
pub(super) struct Ranking {
    best: BTreeSet<Ranked>,
    rest: BTreeSet<Ranked>,
}

impl Ranking {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.best.len() + self.rest.len()
    }

    /// All of them, best first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Ranked> {
        self.best.iter().chain(&self.rest)
    }

    /// The worst within the quota.
    pub(super) fn cut(&self) -> Option<Ranked> {
        self.best.last().copied()
    }

    /// The best beyond the quota.
    pub(super) fn beyond(&self) -> Option<Ranked> {
        self.rest.first().copied()
    }

    /// Adds a trial and moves the cut to `quota` of the new number. `moved` hears who is now within (true) or out.
    pub(super) fn insert(
        &mut self,
        ranked: Ranked,
        quota: impl Fn(usize) -> usize,
        mut moved: impl FnMut(Ranked, bool),
    ) {
        if self.cut().is_some_and(|cut| ranked < cut) {
            self.best.insert(ranked);
            moved(ranked, true);
        } else {
            self.rest.insert(ranked);
        }
        self.settle(quota(self.len()), moved);
    }

    /// Takes a trial out again; the rest as with [`Self::insert`].
    pub(super) fn remove(
        &mut self,
        ranked: Ranked,
        quota: impl Fn(usize) -> usize,
        mut moved: impl FnMut(Ranked, bool),
    ) {
        if self.best.remove(&ranked) {
            moved(ranked, false);
        } else {
            self.rest.remove(&ranked);
        }
        self.settle(quota(self.len()), moved);
    }

    fn settle(&mut self, quota: usize, mut moved: impl FnMut(Ranked, bool)) {
        while self.best.len() < quota
            && let Some(next) = self.rest.pop_first()
        {
            self.best.insert(next);
            moved(next, true);
        }
        while self.best.len() > quota
            && let Some(last) = self.best.pop_last()
        {
            self.rest.insert(last);
            moved(last, false);
        }
    }
}

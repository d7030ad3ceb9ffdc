//! The densities of good and of bad trials, kept up to date with a study; one pair for each group of parameters.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::{Ledger, Move, Standing};
use super::{Grouping, Tpe, WINDOW, best_of};
use crate::rng::Rng;
use crate::space::{Point, Space};
use crate::study::Study;
use crate::surrogate::parzen::{Axis, Parzen};

/// Minimum bandwidths are powers of this, so that they seldom change.
const NOTCH: f64 = 1.25;

/// Parameters that are modelled together.
pub(crate) struct Group {
    /// Their indices, ascending.
    pub(crate) members: Vec<usize>,
    expecting: Arc<[Axis]>,
    /// Whether trials without some of the members stay out.
    is_whole: bool,
    good: Option<Parzen>,
    bad: Parzen,
}

impl Group {
    fn new(space: &Space, members: Vec<usize>, grouping: Grouping, tpe: &Tpe) -> Self {
        let axes = |expects: bool| -> Arc<[Axis]> {
            let parameters = space.parameters().iter().enumerate();
            let axis = |(k, parameter)| {
                if members.contains(&k) { Axis::new(parameter, expects) } else { Axis::left_out(parameter) }
            };
            parameters.map(axis).collect()
        };
        let (bad, expecting) = (Parzen::new(axes(false), tpe.prior_weight), axes(true));
        Self { members, expecting, is_whole: grouping != Grouping::Joint, good: None, bad }
    }

    /// The groups of a study's space with models of these trials, made afresh. No bandwidth is smaller than `least`.
    pub(crate) fn afresh(
        study: &Study,
        tpe: &Tpe,
        ledger: &Ledger,
        least: f64,
        good: &[u32],
        bad: &[u32],
    ) -> Vec<Self> {
        let grouping = tpe.grouping.in_study(study);
        let members = partition(study.space(), &BTreeSet::new(), grouping).into_iter();
        let mut groups: Vec<Self> =
            members.map(|members| Self::new(study.space(), members, grouping, tpe)).collect();
        for group in &mut groups {
            let point = |number: &u32| &study.trials()[*number as usize].point;
            let fitting = bad.iter().map(point).filter(|point| group.fits(point));
            let fitting: Vec<(u32, &Point)> = (0..).zip(fitting).collect();
            group.bad.update(&[], &fitting);
            group.learn_good(study, tpe, good);
            group.widen(study, tpe, ledger, least);
        }
        groups
    }

    fn learn_good(&mut self, study: &Study, tpe: &Tpe, numbers: &[u32]) {
        let points = numbers.iter().map(|number| &study.trials()[*number as usize].point);
        let fitting: Vec<(u32, &Point)> = (0..).zip(points.filter(|point| self.fits(point))).collect();
        let mut model = Parzen::new(self.expecting.clone(), tpe.prior_weight);
        model.update(&[], &fitting);
        self.good = Some(if study.metrics().objectives.len() > 1 { model.evenly() } else { model });
    }

    /// Where losses are noisy, near trials cannot be told apart: a quadratic's minimum is known to the root of the noise.
    fn widen(&mut self, study: &Study, tpe: &Tpe, ledger: &Ledger, least: f64) {
        let least = least.max(tpe.noise_width * ledger.noise().sqrt());
        let parameters = self.members.len();
        let (good, bad) = self.models();
        good.widen(notched(least));
        bad.widen(notched(least.max(tpe.bad_width_of(study, bad.len(), parameters))));
    }

    /// A candidate with some values given.
    pub(crate) fn draw(&mut self, space: &Space, given: &[Option<f64>], rng: &mut Rng) -> Point {
        self.models().0.draw_around(space, given, rng)
    }

    /// The index of the first point where the good trials are denser than the bad ones most.
    pub(crate) fn best_of(&mut self, points: &[Point]) -> usize {
        let (good, bad) = self.models();
        best_of(&good.locate(points), good, bad)
    }

    fn fits(&self, point: &Point) -> bool {
        !self.is_whole || self.members.iter().all(|k| point.get(*k).is_some())
    }

    /// Densities of good and of bad trials.
    pub(crate) fn models(&mut self) -> (&mut Parzen, &mut Parzen) {
        let Self { good, expecting, bad, .. } = self;
        (good.get_or_insert_with(|| Parzen::new(expecting.clone(), 1.0)), bad)
    }
}

/// The fold of a study that proposals need: the ledger, who is good, and the models.
///
/// What it holds follows from the study alone; a history that was kept and one made afresh are the same, but for
/// vacant slots.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) ledger: Ledger,
    /// Which parameters were active together in some finished trial.
    patterns: BTreeSet<Box<[bool]>>,
    finished: usize,
    groups: Vec<Group>,
    good: Vec<u32>,
    /// The first trial of the window.
    start: u32,
    /// The trial in slot 0 of the bad models.
    first: u32,
}

impl History {
    pub(crate) fn advance(&mut self, study: &Study, tpe: &Tpe) {
        let (moves, anew) = self.ledger.advance(study, tpe.constant_liar, tpe.most_good(study));
        if anew {
            *self = Self { ledger: std::mem::take(&mut self.ledger), ..Self::default() };
        }
        let before = self.good.clone();
        let start = study.trials().len().saturating_sub(WINDOW) as u32;
        self.good = self.ledger.best(study, tpe.good_count_of(study, self.ledger.ranked()));
        let grouping = tpe.grouping.in_study(study);
        if self.see_patterns(study, grouping) || anew {
            let all = (start..study.trials().len() as u32).map(|number| Move { number, elsewhere: false });
            self.groups = partition(study.space(), &self.patterns, grouping)
                .into_iter()
                .map(|members| Group::new(study.space(), members, grouping, tpe))
                .collect();
            (self.start, self.first) = (start, start);
            self.sort_out(study, tpe, &all.collect::<Vec<_>>(), &[], start);
        } else if !moves.is_empty() || start != self.start {
            self.sort_out(study, tpe, &moves, &before, start);
        }
        for group in &mut self.groups {
            group.widen(study, tpe, &self.ledger, 0.0);
        }
    }

    /// Whether a finished trial had parameters active together that no other had.
    fn see_patterns(&mut self, study: &Study, grouping: Grouping) -> bool {
        let before = self.patterns.len();
        if grouping == Grouping::Group {
            for number in &study.finished()[self.finished..] {
                let trial = &study.trials()[*number as usize];
                if !trial.outside && self.ledger.standing(*number) != Standing::Silent {
                    let pattern = (0..study.space().len()).map(|k| trial.point.get(k).is_some());
                    self.patterns.insert(pattern.collect());
                }
            }
        }
        self.finished = study.finished().len();
        self.patterns.len() != before
    }

    /// Brings the models up to date after trials have moved, or the good ones or the window are others.
    fn sort_out(&mut self, study: &Study, tpe: &Tpe, moves: &[Move], before: &[u32], start: u32) {
        let mut changed: BTreeSet<u32> =
            moves.iter().map(|one| one.number).filter(|number| *number >= start).collect();
        changed.extend(self.start..start);
        changed.extend(before);
        changed.extend(&self.good);
        self.start = start;
        let elsewhere: BTreeSet<u32> =
            moves.iter().filter(|one| one.elsewhere).map(|one| one.number).collect();
        let other_good = self.good != before || elsewhere.iter().any(|number| self.good.contains(number));
        let bad: BTreeSet<u32> = changed.iter().copied().filter(|number| self.is_bad(*number)).collect();
        let first = self.first;
        for group in &mut self.groups {
            let point = |number: u32| &study.trials()[number as usize].point;
            let holds = |number: u32| number >= first && group.bad.holds(number - first);
            let stays = |number: u32| bad.contains(&number) && !elsewhere.contains(&number);
            let leave = changed.iter().filter(|number| holds(**number) && !stays(**number));
            let leave: Vec<u32> = leave.map(|number| number - first).collect();
            let enter = bad.iter().filter(|number| group.fits(point(**number)));
            let enter = enter.filter(|number| !holds(**number) || elsewhere.contains(number));
            let enter: Vec<(u32, &Point)> = enter.map(|number| (number - first, point(*number))).collect();
            group.bad.update(&leave, &enter);
            if other_good || group.good.is_none() {
                group.learn_good(study, tpe, &self.good);
            }
        }
        // Seldom, so that moving the slots costs nothing in the mean.
        if (start - self.first) as usize >= WINDOW {
            for group in &mut self.groups {
                group.bad.drop_front(start - self.first);
            }
            self.first = start;
        }
    }

    pub(crate) fn groups(&mut self) -> &mut [Group] {
        &mut self.groups
    }

    pub(crate) fn good(&self) -> &[u32] {
        &self.good
    }

    pub(crate) fn is_bad(&self, number: u32) -> bool {
        number >= self.start
            && self.ledger.standing(number) != Standing::Silent
            && self.good.binary_search(&number).is_err()
    }
}

/// The nearest bandwidth that models are given.
fn notched(wanted: f64) -> f64 {
    if wanted > 1e-3 { NOTCH.powf((wanted.ln() / NOTCH.ln()).round()).min(0.5) } else { 0.0 }
}

/// Groups of parameters, those that others depend on first.
fn partition(space: &Space, patterns: &BTreeSet<Box<[bool]>>, grouping: Grouping) -> Vec<Vec<usize>> {
    let used = |k: &usize| !Axis::new(&space.parameters()[*k], false).is_left_out();
    let used: Vec<usize> = space.order().iter().copied().filter(used).collect();
    match grouping {
        Grouping::Single => used.into_iter().map(|k| vec![k]).collect(),
        Grouping::Group if !patterns.is_empty() => active_together(&used, patterns),
        Grouping::Group | Grouping::Joint | Grouping::Auto => vec![used],
    }
}

/// Parameters that were active in the same trials; those that never were are in no group.
fn active_together(used: &[usize], patterns: &BTreeSet<Box<[bool]>>) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Vec<bool>, Vec<usize>)> = Vec::new();
    for &k in used {
        let active: Vec<bool> = patterns.iter().map(|pattern| pattern[k]).collect();
        if !active.contains(&true) {
            continue;
        }
        match groups.iter_mut().find(|(other, _)| *other == active) {
            Some((_, members)) => members.push(k),
            None => groups.push((active, vec![k])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

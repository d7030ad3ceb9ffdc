//! What every trial of a study says to an estimator of good and bad trials, and which are the best.
//!
//! A fold that looks only at trials of which there is news: at those that wait or run, and at what was reported or ended
//! since. Any number of paused trials costs nothing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Failure, Outcome};
use crate::pareto::{dominates, greedy_subset, ranks};
use crate::space::Point;
use crate::study::Study;
use crate::trial::{Trial, TrialState};

/// What a trial says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Standing {
    /// Nothing.
    #[default]
    Silent,
    /// It is bad, how bad is unknown.
    Bad,
    /// It has a place among the others.
    Ranked(Rank),
}

/// A place: smaller is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rank {
    pub(crate) group: Group,
    pub(crate) first: f64,
    second: f64,
    pub(crate) number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Completed,
    Partial,
    Infeasible,
}

impl Eq for Rank {}
impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.group
            .cmp(&other.group)
            .then(self.first.total_cmp(&other.first))
            .then(self.second.total_cmp(&other.second))
            .then(self.number.cmp(&other.number))
    }
}

impl Standing {
    fn of(study: &Study, trial: &Trial, constant_liar: bool) -> Self {
        if trial.outside {
            return Self::Silent;
        }
        match trial.state() {
            TrialState::Waiting | TrialState::Running if constant_liar => Self::Bad,
            TrialState::Waiting | TrialState::Running => Self::Silent,
            TrialState::Failed => match trial.outcome() {
                Some(Outcome::Failed { reason: Failure::NotStarted { .. }, .. }) => Self::Silent,
                _ => Self::Bad,
            },
            TrialState::Completed
            | TrialState::Pruned
            | TrialState::Paused
            | TrialState::Cancelled
            | TrialState::Replaced => Self::Ranked(Rank::of(study, trial)),
        }
    }
}

impl Rank {
    fn of(study: &Study, trial: &Trial) -> Self {
        let violation = study.violation(trial);
        let (group, first, second) = if violation > 0.0 {
            (Group::Infeasible, violation, 0.0)
        } else if let Some(loss) = trial.loss(study.metrics(), 0).or_else(|| raced_loss(study, trial)) {
            (Group::Completed, loss, 0.0)
        } else if trial.pieces().all(|(_, piece)| piece.curve.is_empty()) {
            (Group::Partial, 1.0, 0.0)
        } else {
            let loss = trial.curve_loss(study.metrics()).unwrap_or(f64::INFINITY);
            (Group::Partial, -(trial.step() as f64), loss)
        };
        // Adding zero makes -0 the same as 0, so that the trial number breaks the tie.
        Self { group, first: first + 0.0, second: second + 0.0, number: trial.number }
    }
}

/// The loss of a trial of which some replicates have completed. While it may go on it is their plain mean: that of the others
/// does not change until this trial does.
fn raced_loss(study: &Study, trial: &Trial) -> Option<f64> {
    if trial.is_finished() {
        return trial.estimate(0).map(|estimate| estimate.mean);
    }
    let losses: Vec<f64> = trial.replicate_losses(study.metrics(), 0).map(|(_, loss)| loss).collect();
    (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
}

/// A trial whose standing or point is another than before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) number: u32,
    /// Its point is another: that of a traced trial, which is drawn bit by bit.
    pub(crate) elsewhere: bool,
}

/// The fold of a study: what it holds follows from the study alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    space: Option<u32>,
    /// How often estimates of finished trials had become others.
    revised: u64,
    standings: Vec<Standing>,
    /// How much of the study's lists has been seen.
    finished: usize,
    reports: usize,
    ended_ahead: usize,
    /// Trials that waited or ran at the last call.
    active: Vec<u32>,
    /// Points of unfinished trials as they were: those of traced trials change.
    points: BTreeMap<u32, Point>,
    ranking: BTreeSet<Rank>,
    contenders: Contenders,
    noise: Noise,
}

impl Ledger {
    /// Takes in what has happened since the last call: the trials that moved, ascending, and whether it began anew.
    pub(crate) fn advance(&mut self, study: &Study, constant_liar: bool, keep: usize) -> (Vec<Move>, bool) {
        let other = self.standings.len() > study.trials().len() || self.finished > study.finished().len();
        let anew = other || self.space != Some(study.space_version()) || self.revised != study.revised();
        if anew {
            *self = Self { space: Some(study.space_version()), revised: study.revised(), ..Self::default() };
        }
        let mut moves = Vec::new();
        for number in self.touched(study) {
            moves.extend(self.reconsider(study, number, constant_liar));
        }
        for number in &study.finished()[self.finished..] {
            let trial = &study.trials()[*number as usize];
            let is_completed = |rank: Rank| rank.group == Group::Completed;
            if matches!(self.standings[*number as usize], Standing::Ranked(rank) if is_completed(rank)) {
                self.noise.add(trial, study);
                if study.metrics().objectives.len() > 1 {
                    self.contenders.add(*number, losses(study, *number), keep);
                }
            }
        }
        self.finished = study.finished().len();
        (self.reports, self.ended_ahead) = (study.reports().len(), study.ended_ahead().len());
        (moves, anew)
    }

    /// Trials whose standing may have changed.
    fn touched(&mut self, study: &Study) -> BTreeSet<u32> {
        let fresh = self.standings.len() as u32..study.trials().len() as u32;
        self.standings.resize(study.trials().len(), Standing::Silent);
        let active: BTreeSet<u32> =
            study.running().iter().chain(study.waiting()).map(|work| work.trial).collect();
        let mut touched: BTreeSet<u32> = fresh.chain(self.active.iter().copied()).collect();
        touched.extend(&active);
        touched.extend(&study.finished()[self.finished..]);
        touched.extend(study.reports()[self.reports..].iter().map(|report| report.work.trial));
        touched.extend(study.ended_ahead()[self.ended_ahead..].iter().map(|work| work.trial));
        self.active = active.into_iter().collect();
        touched
    }

    /// Updates one trial's standing.
    fn reconsider(&mut self, study: &Study, number: u32, constant_liar: bool) -> Option<Move> {
        let trial = &study.trials()[number as usize];
        let standing = Standing::of(study, trial, constant_liar);
        let old = std::mem::replace(&mut self.standings[number as usize], standing);
        let known = self.points.get(&number);
        let elsewhere = known.is_some_and(|point| *point != trial.point);
        if trial.is_finished() {
            self.points.remove(&number);
        } else if elsewhere || known.is_none() {
            self.points.insert(number, trial.point.clone());
        }
        if old == standing && !elsewhere {
            return None;
        }
        if let Standing::Ranked(rank) = old {
            self.ranking.remove(&rank);
        }
        if let Standing::Ranked(rank) = standing {
            self.ranking.insert(rank);
        }
        Some(Move { number, elsewhere })
    }

    /// How many trials have a place.
    pub(crate) fn ranked(&self) -> usize {
        self.ranking.len()
    }

    /// What a trial says.
    pub(crate) fn standing(&self, number: u32) -> Standing {
        self.standings[number as usize]
    }

    /// How much of the spread of the losses is noise; see [`Noise`].
    pub(crate) fn noise(&self) -> f64 {
        self.noise.share()
    }

    /// Of the best `count` trials of a study with one objective those whose loss no earlier one of them has, ascending.
    pub(crate) fn originals(&self, count: usize) -> Vec<u32> {
        let best: Vec<&Rank> = self.ranking.iter().take(count).collect();
        let same = |a: &&Rank, b: &&Rank| (a.group, a.first, a.second) == (b.group, b.first, b.second);
        let mut originals: Vec<u32> = best.chunk_by(same).map(|level| level[0].number).collect();
        originals.sort_unstable();
        originals
    }

    /// The numbers of the best `count` trials, ascending.
    pub(crate) fn best(&self, study: &Study, count: usize) -> Vec<u32> {
        let mut best: Vec<u32> = if study.metrics().objectives.len() > 1 {
            let completed = self.contenders.best(count);
            let others = self.ranking.iter().filter(|rank| rank.group != Group::Completed);
            let others = others.map(|rank| rank.number).take(count - completed.len());
            completed.iter().copied().chain(others).collect()
        } else {
            self.ranking.iter().take(count).map(|rank| rank.number).collect()
        };
        best.sort_unstable();
        best
    }
}

fn losses(study: &Study, number: u32) -> Box<[f64]> {
    let trial = &study.trials()[number as usize];
    (0..study.metrics().objectives.len())
        .map(|k| {
            let raced = || trial.estimate(k).map(|estimate| estimate.mean);
            trial.loss(study.metrics(), k).or_else(raced).unwrap_or(f64::INFINITY)
        })
        .collect()
}

/// Completed trials with several losses that may be among the best: those that few others dominate.
///
/// Whoever is dominated by as many as are wanted comes after all of these, so it need not be kept.
#[derive(Clone, Debug, Default)]
struct Contenders(Vec<Contender>);

#[derive(Clone, Debug)]
struct Contender {
    number: u32,
    losses: Box<[f64]>,
    /// How many dominate it.
    dominators: usize,
}

impl Contenders {
    fn add(&mut self, number: u32, losses: Box<[f64]>, keep: usize) {
        let dominators = self.0.iter().filter(|other| dominates(&other.losses, &losses)).count();
        for other in &mut self.0 {
            other.dominators += usize::from(dominates(&losses, &other.losses));
        }
        self.0.retain(|other| other.dominators < keep);
        if dominators < keep {
            let at = self.0.partition_point(|other| other.number < number);
            self.0.insert(at, Contender { number, losses, dominators });
        }
    }

    /// Whole fronts as long as they fit; of the next one those that together cover the most volume, as in Optuna 5.0
    /// (`_split_complete_trials_multi_objective`).
    fn best(&self, count: usize) -> Vec<u32> {
        let losses: Vec<&[f64]> = self.0.iter().map(|one| &*one.losses).collect();
        let fronts = ranks(&losses);
        let mut best = Vec::with_capacity(count);
        for front in 0.. {
            let members: Vec<usize> = (0..losses.len()).filter(|k| fronts[*k] == front).collect();
            let room = count - best.len();
            if members.len() <= room && !members.is_empty() {
                best.extend(members.iter().map(|k| self.0[*k].number));
                continue;
            }
            if room > 0 && !members.is_empty() {
                let points: Vec<&[f64]> = members.iter().map(|k| losses[*k]).collect();
                let chosen = greedy_subset(&points, &beyond(&points), room);
                best.extend(chosen.iter().map(|k| self.0[members[*k]].number));
            }
            return best;
        }
        best
    }
}

/// A point a tenth beyond the worst of each loss.
fn beyond(points: &[&[f64]]) -> Vec<f64> {
    let worst = |k: usize| points.iter().map(|point| point[k]).fold(f64::NEG_INFINITY, f64::max);
    let beyond = |worst: f64| if worst == 0.0 { 1e-12 } else { (1.1 * worst).max(0.9 * worst) };
    (0..points[0].len()).map(|k| beyond(worst(k))).collect()
}

/// What replicates tell of the noise, over completed trials in the order in which they finished.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    /// Trials with a standard error, and the sum of its squares.
    doubted: f64,
    squares: f64,
    /// Completed trials, the mean of their losses, and the sum of squared deviations (Welford 1962).
    count: f64,
    mean: f64,
    deviations: f64,
}

impl Noise {
    fn add(&mut self, trial: &Trial, study: &Study) {
        let Some(loss) = trial.loss(study.metrics(), 0) else { return };
        if let Some(error) = trial.standard_error(0) {
            self.doubted += 1.0;
            self.squares += error * error;
        }
        self.count += 1.0;
        let off = loss - self.mean;
        self.mean += off / self.count;
        self.deviations += off * (loss - self.mean);
    }

    /// The standard error of a loss by the standard deviation of all losses, in \[0, 1\]; 0 where nothing is known.
    fn share(&self) -> f64 {
        if self.doubted < 1.0 || self.deviations <= 0.0 {
            return 0.0;
        }
        (self.squares / self.doubted / (self.deviations / self.count)).sqrt().min(1.0)
    }
}

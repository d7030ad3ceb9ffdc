//! What the replicates of completed trials have in common: which folds are hard, and how much noise is left when that is known.
//!
//! A replicate's loss is that of its trial plus that of its fold (or seed) plus noise. Bad trials are often far noisier than good
//! ones, and their folds differ by more, so a trial is seen in the light of those like it: near by their loss, and with a spread
//! over the replicates that may be the same. While no completed trial is like one, those that were stopped after several of the same
//! replicates tell its hard folds from noise. What is noted of a trial when it finishes is noted anew whenever the completed trials
//! have doubled, and while there is one, whenever the stopped ones have.

use std::collections::{BTreeMap, VecDeque};

use statrs::function::beta::beta_reg;

use crate::trial::Estimate;

/// Degrees of freedom that other trials together lend to one trial's own variance, at most: any two trials differ a little.
const LENT: f64 = 8.0;
/// How many trials one is compared with, and among how many of those nearest by their loss they are looked for.
const LIKE: usize = 16;
const NEAR: usize = 32;
/// So many of the latest stopped trials are remembered.
const STOPPED: usize = 64;
/// Spreads that differ by more than chance brings about this seldom are of trials that are not alike.
const SELDOM: f64 = 0.01;

/// The fold of all completed trials, by objective.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects(Vec<Objective>);

#[derive(Clone, Debug, Default)]
struct Objective {
    /// Completed trials by ascending mean loss, equal ones by number.
    rows: Vec<Row>,
    /// The mean loss of each.
    means: BTreeMap<u32, f64>,
    /// The latest trials stopped after several replicates, each with their losses, and how many there were in all.
    stopped: VecDeque<Box<[(u16, f64)]>>,
    told: u64,
}

/// One completed trial.
#[derive(Clone, Debug)]
struct Row {
    trial: u32,
    mean: f64,
    /// By how much the loss of each replicate is above the mean.
    off: Box<[f64]>,
    /// The sum of their squares.
    squares: f64,
}

/// What some trials have in common.
struct Common {
    /// By how much each replicate is harder than the mean of all.
    effects: Vec<f64>,
    /// How many trials of equal weight know that as well.
    trials: f64,
    /// The variance of the noise of one replicate, with its degrees of freedom; with none, at most that.
    variance: f64,
    freedom: f64,
}

impl Effects {
    /// Takes in a completed trial's losses in objective `k`, one per replicate. Whether so much more is known now that the earlier
    /// trials should be looked at again.
    pub(super) fn take(&mut self, k: usize, trial: u32, losses: &[f64]) -> bool {
        let objective = self.objective(k);
        objective.take(trial, losses);
        objective.rows.len() > 1 && objective.rows.len().is_power_of_two()
    }

    /// Takes in what a trial had in objective `k` that was stopped after some of its replicates, and says the same.
    pub(super) fn take_stopped(&mut self, k: usize, losses: Vec<(u16, f64)>) -> bool {
        if losses.len() < 2 {
            return false;
        }
        let objective = self.objective(k);
        objective.stopped.truncate(STOPPED - 1);
        objective.stopped.push_front(losses.into());
        objective.told += 1;
        objective.rows.len() == 1 && objective.told.is_power_of_two()
    }

    fn objective(&mut self, k: usize) -> &mut Objective {
        if self.0.len() <= k {
            self.0.resize_with(k + 1, Objective::default);
        }
        &mut self.0[k]
    }

    /// What the losses of a trial's replicates mean, all of them or some; none without a loss.
    pub(super) fn estimate(&self, k: usize, trial: u32, losses: &[(u16, f64)]) -> Option<Estimate> {
        let unknown = Objective::default();
        let objective = self.0.get(k).unwrap_or(&unknown);
        if losses.is_empty() {
            return None;
        }
        let own = objective.find(trial);
        Some(own.map_or_else(|| objective.partial(losses), |own| objective.whole(own)))
    }

    /// What the losses of a trial mean that was measured again, each with those replicates that its fold had when the trial was
    /// measured first. None unless that explains half of how they differ: other seeds may make other folds.
    pub(super) fn again(&self, k: usize, trial: u32, losses: &[(Vec<u16>, f64)]) -> Option<Estimate> {
        let objective = self.0.get(k)?;
        let own = objective.find(trial)?;
        let common = objective.common_around(own);
        let effects = losses.iter().map(|(replicates, _)| {
            let of = replicates.iter().map(|replicate| common.effects.get(usize::from(*replicate)));
            Some(of.collect::<Option<Vec<_>>>()?.into_iter().sum::<f64>() / replicates.len().max(1) as f64)
        });
        let effects: Vec<f64> = effects.collect::<Option<_>>()?;
        let losses: Vec<f64> = losses.iter().map(|(_, loss)| *loss).collect();
        let left: Vec<f64> = losses.iter().zip(&effects).map(|(loss, effect)| loss - effect).collect();
        (squares(&left) < 0.5 * squares(&losses)).then(|| common.turned(&losses, &effects))
    }

    /// The variance of the noise of one replicate of a trial and of those like it, with its degrees of freedom; none while
    /// nothing tells its hard folds from noise.
    pub(super) fn residual_variance(&self, k: usize, trial: u32) -> Option<(f64, f64)> {
        let objective = self.0.get(k)?;
        let common = objective.common_around(objective.find(trial)?);
        (common.freedom > 0.0).then_some((common.variance, common.freedom))
    }

    /// The same by completed trials alone, hard folds and all where none is like it; none before two have completed.
    pub(super) fn variance_of_completed(&self, k: usize, trial: u32) -> Option<(f64, f64)> {
        let objective = self.0.get(k).filter(|objective| objective.rows.len() > 1)?;
        let own = objective.find(trial)?;
        let common = objective.common(own, &objective.like(own, true));
        let alone = objective.rows[own].off.len() as f64 - 1.0;
        Some((common.variance, if common.freedom > 0.0 { common.freedom } else { alone }))
    }
}

/// The sum of squared deviations from the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

impl Row {
    /// Whether the spread of both over the replicates may be the same, by an F test of the variances. Next to a trial whose
    /// replicates happen to be equal, any may; and it is like no other, since it may stand for a failure.
    fn may_spread_like(&self, other: &Self) -> bool {
        if self.squares <= 0.0 || other.squares <= 0.0 {
            return self.squares <= 0.0;
        }
        let half = 0.5 * (self.off.len() as f64 - 1.0);
        let smaller = self.squares.min(other.squares);
        beta_reg(half, half, smaller / (self.squares + other.squares)) >= SELDOM
    }
}

impl Objective {
    fn take(&mut self, trial: u32, losses: &[f64]) {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let off: Box<[f64]> = losses.iter().map(|loss| loss - mean).collect();
        let place = self.place(trial, mean);
        self.rows.insert(place, Row { trial, mean, off, squares: squares(losses) });
        self.means.insert(trial, mean);
    }

    /// How many come before a trial of this mean loss.
    fn place(&self, trial: u32, mean: f64) -> usize {
        self.rows.partition_point(|row| row.mean.total_cmp(&mean).then(row.trial.cmp(&trial)).is_lt())
    }

    fn find(&self, trial: u32) -> Option<usize> {
        self.means.get(&trial).map(|mean| self.place(trial, *mean))
    }

    /// The trials like one of them, nearest by their mean loss first, perhaps with itself before all.
    fn like(&self, own: usize, with_itself: bool) -> Vec<usize> {
        let row = &self.rows[own];
        let (mut below, mut above) = (own, own + 1);
        let mut like: Vec<usize> = with_itself.then_some(own).into_iter().collect();
        for _ in 0..NEAR {
            let gap = |at: Option<&Row>| at.map_or(f64::INFINITY, |at| (at.mean - row.mean).abs());
            let lower = below.checked_sub(1);
            let next = match (lower, self.rows.get(above)) {
                (None, None) => break,
                (Some(lower), other) if gap(self.rows.get(lower)) <= gap(other) => {
                    below = lower;
                    lower
                }
                _ => {
                    above += 1;
                    above - 1
                }
            };
            if row.off.len() == self.rows[next].off.len() && row.may_spread_like(&self.rows[next]) {
                like.push(next);
            }
            if like.len() == LIKE {
                break;
            }
        }
        like
    }

    /// What these trials have in common, as it concerns trial `own`: a two-way analysis of variance in which those count less
    /// that spread more. Of one trial alone, its spread may all be noise.
    fn common(&self, own: usize, of: &[usize]) -> Common {
        let rows: Vec<&Row> = of.iter().map(|at| &self.rows[*at]).collect();
        let row = &self.rows[own];
        let degrees = row.off.len() as f64 - 1.0;
        if let [only] = rows[..] {
            let variance = only.squares / degrees;
            return Common { effects: only.off.to_vec(), trials: 1.0, variance, freedom: 0.0 };
        }
        let weight =
            |other: &&Row| if row.squares > 0.0 { row.squares / (row.squares + other.squares) } else { 1.0 };
        let weights: Vec<f64> = rows.iter().map(weight).collect();
        let total: f64 = weights.iter().sum();
        let trials = total.powi(2) / weights.iter().map(|w| w * w).sum::<f64>();
        let effect = |r: usize| rows.iter().zip(&weights).map(|(row, w)| w * row.off[r]).sum::<f64>() / total;
        let effects: Vec<f64> = (0..row.off.len()).map(effect).collect();
        let left = |row: &Row| row.off.iter().zip(&effects).map(|(off, f)| (off - f).powi(2)).sum::<f64>();
        let squares: f64 = rows.iter().zip(&weights).map(|(row, w)| w * left(row)).sum();
        let freedom: f64 = weights.iter().map(|w| w * (1.0 - w / total)).sum();
        let variance = squares / (degrees * freedom);
        Common { effects, trials, variance, freedom: degrees * (trials - 1.0) }
    }

    /// What a trial and those like it have in common.
    fn common_around(&self, own: usize) -> Common {
        let like = self.like(own, true);
        let common = self.common(own, &like);
        if like.len() > 1 { common } else { self.told_by_stopped(&self.rows[own]).unwrap_or(common) }
    }

    /// What the replicates of a trial that is like no other completed one have in common with those of stopped trials: the differences
    /// on the same ones vary by the noise of both. None where no stopped trial has had several.
    fn told_by_stopped(&self, row: &Row) -> Option<Common> {
        let behind = |losses: &[(u16, f64)]| {
            let at = |(replicate, loss): &(u16, f64)| {
                Some(loss - row.mean - row.off.get(usize::from(*replicate))?)
            };
            losses.iter().map(at).collect::<Option<Vec<f64>>>()
        };
        let gap = |behind: &[f64]| (behind.iter().sum::<f64>() / behind.len() as f64).abs();
        let mut stopped: Vec<Vec<f64>> = self.stopped.iter().filter_map(|losses| behind(losses)).collect();
        stopped.sort_by(|a, b| gap(a).total_cmp(&gap(b)));
        stopped.truncate(LIKE);
        let freedom = stopped.iter().map(|behind| behind.len() as f64 - 1.0).sum::<f64>();
        let variance = 0.5 * stopped.iter().map(|behind| squares(behind)).sum::<f64>() / freedom;
        (freedom > 0.0).then(|| Common { effects: row.off.to_vec(), trials: 1.0, variance, freedom })
    }

    /// What all replicates of a completed trial say.
    fn whole(&self, own: usize) -> Estimate {
        let row = &self.rows[own];
        let others = self.like(own, false);
        let freedom = row.off.len() as f64 - 1.0;
        let variance = if others.is_empty() {
            let Some(common) = self.told_by_stopped(row) else {
                return Estimate::independent(row.mean, row.squares, row.off.len());
            };
            common.variance
        } else {
            let common = self.common(own, &others);
            let left = row.off.iter().zip(&common.effects).map(|(off, effect)| (off - effect).powi(2));
            common.moderated(common.share() * left.sum::<f64>(), freedom)
        };
        let error = (variance / row.off.len() as f64).sqrt();
        Estimate { mean: row.mean, error, replicates: row.off.len() as u16 }
    }

    /// What some replicates of a trial say, in the light of the completed trial that came nearest on the same ones, and of those
    /// like that.
    fn partial(&self, losses: &[(u16, f64)]) -> Estimate {
        let values: Vec<f64> = losses.iter().map(|(_, loss)| *loss).collect();
        let plain = Estimate::plain(&values);
        let on_same = |row: &Row| {
            let at = |(replicate, _): &(u16, f64)| row.off.get(usize::from(*replicate));
            let off = losses.iter().map(at).collect::<Option<Vec<_>>>()?;
            Some(row.mean + off.into_iter().sum::<f64>() / losses.len() as f64)
        };
        let gaps =
            self.rows.iter().enumerate().filter_map(|(k, row)| Some(((on_same(row)? - plain.mean).abs(), k)));
        let Some((_, nearest)) = gaps.min_by(|a, b| a.0.total_cmp(&b.0)) else { return plain };
        let mut common = self.common_around(nearest);
        common.shrink();
        let effects: Vec<f64> = losses.iter().map(|(r, _)| common.effects[usize::from(*r)]).collect();
        let turned = common.turned(&values, &effects);
        // No fold is so hard that it alone makes a trial the best: that is for those to show that complete.
        let least = plain.mean.min(self.rows[0].mean);
        if turned.mean < least {
            return Estimate { mean: least, error: turned.error.hypot(least - turned.mean), ..turned };
        }
        turned
    }
}

impl Common {
    /// Draws the effects towards none by as much of them as noise would bring about (James and Stein 1961, positive part). Where
    /// noise is not known, they are taken as they are: whoever is worse on the same replicates is not to look better.
    fn shrink(&mut self) {
        if self.freedom <= 0.0 {
            return;
        }
        let squares: f64 = self.effects.iter().map(|effect| effect.powi(2)).sum();
        let noise = self.variance / self.trials * (self.effects.len() as f64 - 1.0);
        let kept = if squares > 0.0 { (1.0 - noise / squares).max(0.0) } else { 0.0 };
        self.effects.iter_mut().for_each(|effect| *effect *= kept);
    }

    /// The mean of losses once it is known by how much each is harder than the mean of all, with its standard error.
    fn turned(&self, losses: &[f64], effects: &[f64]) -> Estimate {
        let n = losses.len() as f64;
        let left: Vec<f64> = losses.iter().zip(effects).map(|(loss, effect)| loss - effect).collect();
        let mean = left.iter().sum::<f64>() / n;
        let own = self.share() * left.iter().map(|left| (left - mean).powi(2)).sum::<f64>();
        let variance = self.moderated(own, n - 1.0);
        // The effects of these replicates are doubtful too, less so the more of all they are.
        let doubt = (1.0 / n - 1.0 / self.effects.len() as f64).max(0.0) / self.trials;
        Estimate { mean, error: (variance * (1.0 / n + doubt)).sqrt(), replicates: losses.len() as u16 }
    }

    /// What noise of its own leaves of a trial's squared deviations: the effects taken away are noisy themselves.
    fn share(&self) -> f64 {
        self.trials / (self.trials + 1.0)
    }

    /// A trial's own variance, drawn towards that of those like it (Smyth 2004, equation 6, with a fixed prior strength).
    fn moderated(&self, own: f64, freedom: f64) -> f64 {
        let lent = self.freedom.min(LENT);
        if lent + freedom > 0.0 { (lent * self.variance + own) / (lent + freedom) } else { self.variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise in -1 … 1, always the same.
    fn noise(seed: u64) -> f64 {
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        for _ in 0..3 {
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        }
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// All replicates, numbered.
    fn numbered(losses: &[f64]) -> Vec<(u16, f64)> {
        (0..).zip(losses.iter().copied()).collect()
    }

    fn of(rows: &[&[f64]]) -> Effects {
        let mut effects = Effects::default();
        for (trial, row) in (0..).zip(rows) {
            effects.take(0, trial, row);
        }
        effects
    }

    #[test]
    fn hard_folds_are_no_doubt_about_a_trial() {
        let folds = [0.0, 5.0, 1.0, 9.0, 2.0];
        let mut effects = Effects::default();
        // The deviation of an even number in -0.1 … 0.1.
        let deviation = 0.1 / 3.0_f64.sqrt();
        let mut squares = 0.0;
        for trial in 0..400 {
            let level = 10.0 * noise(trial);
            let losses: Vec<f64> =
                (0..5).map(|r| level + folds[r] + 0.1 * noise(1000 + 5 * trial + r as u64)).collect();
            effects.take(0, trial as u32, &losses);
            let error = effects.estimate(0, trial as u32, &numbered(&losses)).unwrap().error;
            if trial > 0 {
                assert!(error < 2.5 * deviation / 5.0_f64.sqrt(), "{trial}: {error}");
                squares += error * error / 399.0;
            }
        }
        assert!((squares / (deviation * deviation / 5.0) - 1.0).abs() < 0.1, "{squares}");
        let (variance, freedom) = effects.residual_variance(0, 0).unwrap();
        assert!(freedom > 50.0 && (variance / deviation.powi(2) - 1.0).abs() < 0.4, "{variance} {freedom}");
        let partial = effects.estimate(0, 400, &[(1, 5.5), (3, 9.5)]).unwrap();
        assert!((partial.mean - (0.5 + 17.0 / 5.0)).abs() < 0.08, "{}", partial.mean);
        assert!(partial.error < 0.2);
        assert_eq!(partial.replicates, 2);
    }

    #[test]
    fn trials_of_equal_spread_are_those_of_a_two_way_analysis() {
        // Each row is a turn of the same numbers.
        let rows = [[1.0, 2.5, 3.0], [4.5, 5.0, 3.0], [8.0, 6.0, 7.5], [9.0, 10.5, 11.0]];
        let effects = of(&rows.each_ref().map(|row| &row[..]));
        let grand = rows.iter().flatten().sum::<f64>() / 12.0;
        let column = |r: usize| rows.iter().map(|row| row[r]).sum::<f64>() / 4.0;
        let squares: f64 = rows
            .iter()
            .flat_map(|row| {
                let own = row.iter().sum::<f64>() / 3.0;
                (0..3).map(move |r| (row[r] - own - column(r) + grand).powi(2))
            })
            .sum();
        for trial in 0..4 {
            let (variance, freedom) = effects.residual_variance(0, trial).unwrap();
            assert!((freedom - 6.0).abs() < 1e-12, "{freedom}");
            assert!((variance - squares / 6.0).abs() < 1e-12, "{variance}");
        }
    }

    #[test]
    fn a_bad_trial_does_not_lend_its_noise_to_good_ones() {
        let bad = [9.433, 1.7131, 3.3228, 26.388, 9.4074];
        let good = [0.1668, 0.097_188, 0.14302, 0.16516, 0.16861];
        let others = [[0.17, 0.12, 0.15, 0.18, 0.16], [0.2, 0.13, 0.14, 0.18, 0.19]];
        let effects = of(&[&bad, &others[0], &others[1], &good]);
        let of_good = effects.estimate(0, 3, &numbered(&good)).unwrap();
        assert!(of_good.error > 0.001 && of_good.error < 0.015, "{of_good:?}");
        let of_bad = effects.estimate(0, 0, &numbered(&bad)).unwrap();
        assert_eq!(of_bad, Estimate::plain(&bad), "none is like it");
        let (variance, _) = effects.residual_variance(0, 3).unwrap();
        assert!(variance.sqrt() < 0.03, "{variance}");
    }

    #[test]
    fn the_first_trial_learns_of_hard_folds_too() {
        let mut effects = of(&[&[3.0, 1.01, 2.0]]);
        let first = numbered(&[3.0, 1.01, 2.0]);
        assert!(effects.estimate(0, 0, &first).unwrap().error > 0.5);
        assert_eq!(effects.residual_variance(0, 0), None);
        assert!(effects.take(0, 1, &[2.51, 0.5, 1.5]), "twice as many");
        assert!(effects.estimate(0, 0, &first).unwrap().error < 0.01);
        assert!(!effects.take(0, 2, &[2.6, 0.6, 1.6]), "that says little new");
    }

    #[test]
    fn stopped_trials_tell_hard_folds_from_noise_while_one_has_completed() {
        let first = [3.0, 1.01, 2.0];
        let mut effects = of(&[&first]);
        assert!(!effects.take_stopped(0, vec![(0, 4.0)]), "one replicate says nothing");
        assert_eq!(effects.residual_variance(0, 0), None);
        assert!(effects.take_stopped(0, vec![(0, 3.52), (1, 1.5)]));
        assert!(effects.take_stopped(0, vec![(1, 1.61), (2, 2.6)]));
        assert!(!effects.take_stopped(0, vec![(0, 3.7), (1, 1.7)]));
        // Differences of two are 0.03, 0.0 and 0.01 apart.
        let (variance, freedom) = effects.residual_variance(0, 0).unwrap();
        assert!((variance - 0.5 * (0.00045 + 0.0 + 0.00005) / 3.0).abs() < 1e-9, "{variance}");
        assert_eq!(freedom, 3.0);
        let whole = effects.estimate(0, 0, &numbered(&first)).unwrap();
        assert!((whole.error - (variance / 3.0).sqrt()).abs() < 1e-12, "{whole:?}");
        // On the easy fold it is better than the best on all, and worse than the best there.
        let partial = effects.estimate(0, 9, &[(1, 1.2)]).unwrap();
        assert!((partial.mean - (2.0033 + 0.19)).abs() < 0.01 && partial.error < 0.03, "{partial:?}");
    }

    #[test]
    fn one_fold_makes_no_trial_better_than_it_and_the_best_were_measured() {
        // The fold was hard for all, so that this would be by far the best.
        let effects = of(&[&[0.9, 0.4, 0.5], &[0.8, 0.31, 0.4], &[0.85, 0.33, 0.44]]);
        let found = effects.estimate(0, 3, &[(0, 0.1)]).unwrap();
        assert_eq!(found.mean, 0.1);
        assert!(found.error > 0.1, "{found:?}");
        // Where it is not, it is turned.
        let found = effects.estimate(0, 3, &[(0, 0.95)]).unwrap();
        assert!((found.mean - 0.65).abs() < 0.05, "{found:?}");
        // The first trial alone does not tell hard folds from its noise.
        let effects = of(&[&[2.0, 0.5, 0.4]]);
        assert_eq!(effects.estimate(0, 1, &[(0, 0.3)]).unwrap().mean, 0.3);
    }

    #[test]
    fn replicates_that_happen_to_be_equal_are_not_without_doubt() {
        let effects = of(&[&[0.05, 0.05], &[0.04, 0.06], &[0.07, 0.05], &[0.06, 0.07]]);
        assert!(effects.estimate(0, 0, &numbered(&[0.05, 0.05])).unwrap().error > 0.002);
        let constant = of(&[&[1.0, 1.0], &[2.0, 2.0]]);
        assert_eq!(constant.estimate(0, 1, &numbered(&[2.0, 2.0])).unwrap().error, 0.0);
        assert_eq!(constant.residual_variance(0, 0).unwrap().0, 0.0);
    }
}

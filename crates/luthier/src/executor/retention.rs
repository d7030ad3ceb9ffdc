//! Which checkpoints are kept: those of finished trials only as asked for, those of paused ones as far as a quota allows, that
//! of the best one always. It removes folders and decides nothing about trials.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use luthier_core::event::{Outcome, Work};
use luthier_core::study::Study;
use luthier_core::trial::{Trial, WorkState};

use super::worker::trial_folder;
use super::{Keep, Options};
use crate::objective::kept;

/// What is known of the checkpoints under a folder.
pub(super) struct Retention {
    folder: PathBuf,
    keep: Keep,
    quota: Option<u64>,
    best: Option<u32>,
    /// How many finished trials have been looked at.
    tidied: usize,
    /// Finished trials whose checkpoints may still be there.
    untidied: BTreeSet<u32>,
    /// Bytes of checkpoints, as far as there is a quota.
    sizes: BTreeMap<Work, u64>,
}

impl Retention {
    /// Begins with what `study` is at the beginning of a run.
    pub(super) fn new(study: &Study, options: &Options) -> Self {
        let mut retention = Self {
            folder: options.folder.clone(),
            keep: options.keep,
            quota: options.checkpoint_quota,
            best: study.incumbent().map(|trial| trial.number),
            tidied: study.finished().len(),
            untidied: BTreeSet::new(),
            sizes: BTreeMap::new(),
        };
        let best = study.incumbent().into_iter().flat_map(|trial| trial.pieces().map(|(work, _)| work));
        for work in study.paused().iter().copied().chain(best) {
            retention.weigh(work);
        }
        retention
    }

    /// Work has paused or ended; its checkpoint may have another size.
    pub(super) fn weigh(&mut self, work: Work) {
        if self.quota.is_some() {
            self.sizes.insert(work, bytes_in(&self.checkpoint(work)));
        }
    }

    /// A finished trial was measured again, and may have left a checkpoint.
    pub(super) fn look_again(&mut self, trial: u32) {
        self.untidied.insert(trial);
    }

    /// Removes what need not be kept; of `busy` trials nothing.
    pub(super) fn tidy(&mut self, study: &Study, busy: &BTreeSet<u32>) {
        if self.keep == Keep::Best {
            self.drop_finished(study, busy);
        }
        if let Some(quota) = self.quota.filter(|quota| self.sizes.values().sum::<u64>() > *quota) {
            self.drop_paused(study, busy, quota);
        }
    }

    /// Lets go of what trials had at pauses with which no trial can begin any more; of what the scheduler `keeps`, nothing.
    pub(super) fn tidy_kept(&self, study: &Study, settled: &[Work], keeps: &dyn Fn(&Trial, u64) -> bool) {
        if self.keep == Keep::All {
            return;
        }
        let number = |work: &Work| study.trial(work.trial);
        let related = settled.iter().filter_map(number).flat_map(|trial| {
            [Some(trial.number), trial.parent.map(|(parent, _)| parent)].into_iter().flatten()
        });
        for trial in related.collect::<BTreeSet<u32>>().into_iter().filter_map(|number| study.trial(number)) {
            let folder = trial_folder(&self.folder, Work::of(trial.number));
            for step in kept::steps(&folder) {
                if !keeps(trial, step) && !may_be_taken(study, trial, step) && !is_being_made(trial, step) {
                    kept::forget(&folder, step);
                }
            }
        }
    }

    /// At the end of a study nobody begins with a finished trial's checkpoint any more.
    pub(super) fn tidy_all(&self, study: &Study, keeps: &dyn Fn(&Trial, u64) -> bool) {
        if self.keep == Keep::All {
            return;
        }
        for trial in study.trials().iter().filter(|trial| trial.is_finished()) {
            let folder = trial_folder(&self.folder, Work::of(trial.number));
            for step in kept::steps(&folder).into_iter().filter(|step| !keeps(trial, *step)) {
                kept::forget(&folder, step);
            }
        }
    }

    /// Finished trials need none, but for the best; those of work that still winds up have to wait.
    fn drop_finished(&mut self, study: &Study, busy: &BTreeSet<u32>) {
        let best = study.incumbent().map(|trial| trial.number);
        self.untidied.extend(&study.finished()[self.tidied..]);
        self.tidied = study.finished().len();
        if self.best != best {
            self.untidied.extend(self.best);
            self.best = best;
        }
        let ready: Vec<u32> =
            self.untidied.extract_if(.., |number| Some(*number) != best && !busy.contains(number)).collect();
        for number in ready {
            for (work, _) in study.trial(number).into_iter().flat_map(Trial::pieces) {
                self.drop(work);
            }
        }
        self.untidied.retain(|number| Some(*number) != best);
    }

    /// Paused trials lose theirs until the quota is kept: those that came least far first, for they are the cheapest to run again,
    /// and of these the worst, for they are the least likely to go on.
    fn drop_paused(&mut self, study: &Study, busy: &BTreeSet<u32>, quota: u64) {
        let place = |work: &Work| {
            let piece = study.piece(*work).filter(|piece| piece.state == WorkState::Paused)?;
            let loss = piece.last_loss().map_or(f64::INFINITY, |(_, loss)| loss);
            Some((piece.step(), loss, *work))
        };
        let idle = self.sizes.iter().filter(|(work, bytes)| **bytes > 0 && !busy.contains(&work.trial));
        let mut paused: Vec<(u64, f64, Work)> = idle.filter_map(|(work, _)| place(work)).collect();
        paused.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(b.2.cmp(&a.2)));
        for (_, _, work) in paused {
            if self.sizes.values().sum::<u64>() <= quota {
                return;
            }
            self.drop(work);
        }
    }

    fn drop(&mut self, work: Work) {
        // It may never have been made; a file that is still open goes with the study.
        kept::discard(&self.checkpoint(work));
        self.sizes.remove(&work);
    }

    fn checkpoint(&self, work: Work) -> PathBuf {
        trial_folder(&self.folder, work).join("checkpoint")
    }
}

/// Bytes of all files in a folder; what cannot be read counts as nothing.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_in(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Whether some trial may still begin with what `trial` had at `step`: it is its latest, and it has not made way or failed;
/// or a trial that begins with it has not got to a pause of its own.
fn may_be_taken(study: &Study, trial: &Trial, step: u64) -> bool {
    let is_latest = trial.pauses().last() == Some(&step);
    let is_sound = matches!(trial.outcome(), None | Some(Outcome::Completed { .. }));
    let begins = |child: &Trial| {
        child.parent == Some((trial.number, step)) && !child.is_finished() && child.pauses().is_empty()
    };
    let is_chosen = study.exploiting().is_some_and(|(_, from)| from == (trial.number, step));
    (is_latest && is_sound) || is_chosen || study.trials()[trial.number as usize..].iter().any(begins)
}

/// Whether this is what a trial keeps for a pause that is not written down yet: a worker keeps it first and says so then.
fn is_being_made(trial: &Trial, step: u64) -> bool {
    !trial.is_finished() && trial.pauses().last().is_none_or(|latest| step > *latest)
}

#[cfg(test)]
mod tests {
    use luthier_core::event::{Event, Origin, Outcome};
    use luthier_core::metric::{Direction, Metrics};
    use luthier_core::space::{Space, Value};
    use luthier_core::spec::Spec;

    use super::*;

    /// Four trials: three paused at these steps with these losses, the last completed as the best.
    fn study() -> Study {
        let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
        let mut study = Study::new(Spec::new("test", space, Metrics::single("loss", Direction::Minimize)));
        for (trial, (step, loss)) in (0..).zip([(1, 0.5), (1, 0.9), (3, 0.8), (9, 0.1)]) {
            let (work, params, why) = (Work::of(trial), vec![Some(Value::Float(0.5))], Origin::Sampler);
            let end = if trial == 3 {
                let outcome = Outcome::Completed { values: vec![loss] };
                Event::Ended { work, outcome, seconds: 0.0, used: None }
            } else {
                Event::Paused { work, step, seconds: 0.0 }
            };
            let begun = Event::Started {
                trial,
                space: 0,
                params,
                budget: None,
                parent: None,
                why,
                by: None,
                replicates: None,
            };
            let report = Event::Reported { work, step, values: vec![("loss".into(), loss)], seconds: 0.0 };
            for event in [begun, Event::Claimed { work, attempt: 1 }, report, end] {
                study.apply(&event).unwrap();
            }
        }
        study
    }

    /// Whose checkpoints are left with this quota, where each has a hundred bytes.
    fn kept(quota: Option<u64>, busy: &[u32]) -> Vec<u32> {
        let (folder, study) = (tempfile::tempdir().unwrap(), study());
        for trial in 0..4 {
            let checkpoint = trial_folder(folder.path(), Work::of(trial)).join("checkpoint").join("deep");
            fs::create_dir_all(&checkpoint).unwrap();
            fs::write(checkpoint.join("state"), [0; 100]).unwrap();
        }
        let options = Options { checkpoint_quota: quota, ..Options::new(folder.path()) };
        let mut retention = Retention::new(&study, &options);
        retention.tidy(&study, &busy.iter().copied().collect());
        let is_left = |trial: &u32| trial_folder(folder.path(), Work::of(*trial)).join("checkpoint").exists();
        (0..4).filter(is_left).collect()
    }

    #[test]
    fn those_that_came_least_far_lose_theirs_first_and_of_these_the_worst() {
        assert_eq!(kept(None, &[]), [0, 1, 2, 3]);
        assert_eq!(kept(Some(400), &[]), [0, 1, 2, 3]);
        assert_eq!(kept(Some(399), &[]), [0, 2, 3]);
        assert_eq!(kept(Some(250), &[]), [2, 3]);
        assert_eq!(kept(Some(0), &[]), [3], "never that of the best");
        assert_eq!(kept(Some(250), &[1]), [1, 3], "nor that of a trial that is about to run");
    }

    #[test]
    fn what_is_kept_for_a_pause_that_is_not_written_down_yet_stays() {
        let (folder, study) = (tempfile::tempdir().unwrap(), study());
        let steps = |trial| kept::steps(&trial_folder(folder.path(), Work::of(trial)));
        for (trial, step) in [(2, 1), (2, 3), (2, 5), (3, 9)] {
            fs::create_dir_all(kept::at(&trial_folder(folder.path(), Work::of(trial)), step)).unwrap();
        }
        let retention = Retention::new(&study, &Options::new(folder.path()));
        retention.tidy_kept(&study, &[Work::of(2), Work::of(3)], &|_, _| false);
        assert_eq!(steps(2), BTreeSet::from([3, 5]), "its latest pause, and the one to come");
        assert_eq!(steps(3), BTreeSet::new(), "a trial that is over has none to come");
    }
}

//! Which checkpoints are kept: those of finished trials only as asked for, those that unfinished ones go on from as far as a quota
//! allows, those of the best always. It removes folders and decides nothing about trials.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use luthier_core::event::{Outcome, Work};
use luthier_core::pareto::dominates;
use luthier_core::study::Study;
use luthier_core::trial::{Trial, WorkState};

use super::{Keep, Options};
use crate::folders;
use crate::objective::kept;
use crate::process::FileIdentity;

/// What is known of the checkpoints under a folder.
pub(super) struct Retention {
    folder: PathBuf,
    keep: Keep,
    quota: Option<u64>,
    best: Best,
    /// How many finished trials have been looked at.
    tidied: usize,
    /// Finished trials whose checkpoints may still be there.
    untidied: BTreeSet<u32>,
    /// Files of checkpoints, as far as there is a quota.
    checkpoints: BTreeMap<Work, Vec<FileIdentity>>,
    /// Files of what trials had at pauses, by trial and step, as far as there is a quota.
    kept: BTreeMap<(u32, u64), Vec<FileIdentity>>,
    room: Room,
}

/// What files take up; those that several checkpoints share, by hard links, count once.
#[derive(Default)]
struct Room {
    /// Their bytes, and how many checkpoints have them.
    files: HashMap<FileIdentity, (u64, u32)>,
    bytes: u64,
}

impl Room {
    fn take(&mut self, files: Vec<(FileIdentity, u64)>) -> Vec<FileIdentity> {
        let mut taken = Vec::with_capacity(files.len());
        for (file, bytes) in files {
            let (known, holders) = self.files.entry(file).or_default();
            *holders += 1;
            // A number may have been given to another file since.
            self.bytes = self.bytes - std::mem::replace(known, bytes) + bytes;
            taken.push(file);
        }
        taken
    }

    fn leave(&mut self, files: &[FileIdentity]) {
        for file in files {
            if let Entry::Occupied(mut entry) = self.files.entry(*file) {
                entry.get_mut().1 -= 1;
                if entry.get().1 == 0 {
                    self.bytes -= entry.remove().0;
                }
            }
        }
    }
}

/// The trials whose checkpoints stay: the best one, and with several metrics all that no other beats.
#[derive(Default)]
struct Best {
    /// How many finished trials have been looked at.
    seen: usize,
    /// Those that no other beats, with their losses; nobody where there is one metric.
    front: Vec<(u32, Vec<f64>)>,
    incumbent: Option<u32>,
}

impl Best {
    /// Takes in what has finished; returns who is no longer among the best.
    fn follow(&mut self, study: &Study) -> Vec<u32> {
        let mut beaten = Vec::new();
        let objectives = study.metrics().objectives.len();
        let finished = if objectives > 1 { &study.finished()[self.seen..] } else { &[] };
        for trial in finished.iter().filter_map(|number| study.trial(*number)) {
            let Some(losses) = study.losses(trial).filter(|_| study.violation(trial) <= 0.0) else {
                continue;
            };
            if !self.front.iter().any(|(_, other)| dominates(other, &losses)) {
                beaten.extend(
                    self.front.extract_if(.., |(_, other)| dominates(&losses, other)).map(|(n, _)| n),
                );
                self.front.push((trial.number, losses));
            }
        }
        self.seen = study.finished().len();
        let incumbent = study.incumbent().map(|trial| trial.number);
        beaten.extend(std::mem::replace(&mut self.incumbent, incumbent));
        beaten.retain(|number| !self.has(*number));
        beaten
    }

    fn has(&self, number: u32) -> bool {
        self.incumbent == Some(number) || self.front.iter().any(|(other, _)| *other == number)
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        self.incumbent.into_iter().chain(self.front.iter().map(|(number, _)| *number))
    }
}

/// Something that takes room.
#[derive(Clone, Copy)]
enum Held {
    /// The checkpoint of work.
    Checkpoint(Work),
    /// What a trial had at its pause at a step.
    Kept(u32, u64),
}

/// What something is good for, what is missed least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// None: it is kept as that of its pause, too.
    Double,
    /// A trial may go back to it.
    GoingBack,
    /// Others may begin with it, though the trial itself is complete.
    Donating,
    /// A paused trial goes on from it, and others may begin with it.
    GoingOn,
}

impl Retention {
    /// Begins with what `study` is at the beginning of a run.
    pub(super) fn new(study: &Study, options: &Options) -> Self {
        let mut retention = Self {
            folder: options.folder.clone(),
            keep: options.keep,
            quota: options.checkpoint_quota,
            best: Best::default(),
            tidied: study.finished().len(),
            untidied: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            kept: BTreeMap::new(),
            room: Room::default(),
        };
        let _nobody_was = retention.best.follow(study);
        if retention.quota.is_some() {
            let best = retention.best.numbers().filter_map(|number| study.trial(number));
            let best: Vec<Work> = best.flat_map(Trial::pieces).map(|(work, _)| work).collect();
            for work in study.paused().iter().copied().chain(best) {
                retention.weigh(work);
            }
            // What others begin with may be of any trial.
            for number in 0..study.trials().len() as u32 {
                retention.weigh_kept(number);
            }
        }
        retention
    }

    /// Work has paused or ended; its checkpoint may have another size.
    pub(super) fn weigh(&mut self, work: Work) {
        if self.quota.is_some() {
            let files = self.room.take(files_in(&self.checkpoint(work)));
            if let Some(before) = self.checkpoints.insert(work, files) {
                self.room.leave(&before);
            }
            self.weigh_kept(work.trial);
        }
    }

    /// What was kept before does not change.
    fn weigh_kept(&mut self, trial: u32) {
        let folder = self.of_trial(trial);
        let steps = kept::steps(&folder);
        let gone = |(_, step): &(u32, u64), _: &mut Vec<FileIdentity>| !steps.contains(step);
        for (_, files) in self.kept.extract_if((trial, 0)..=(trial, u64::MAX), gone) {
            self.room.leave(&files);
        }
        for step in steps {
            let place = kept::at(&folder, step);
            self.kept.entry((trial, step)).or_insert_with(|| self.room.take(files_in(&place)));
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
        if let Some(quota) = self.quota.filter(|quota| self.room.bytes > *quota) {
            self.drop_least_missed(study, busy, quota);
        }
    }

    /// Lets go of what trials had at pauses with which no trial can begin any more; of what the scheduler `keeps`, nothing.
    pub(super) fn tidy_kept(&mut self, study: &Study, settled: &[Work], keeps: &dyn Fn(&Trial, u64) -> bool) {
        if self.keep == Keep::All {
            return;
        }
        let number = |work: &Work| study.trial(work.trial);
        let related = settled.iter().filter_map(number).flat_map(|trial| {
            [Some(trial.number), trial.parent.map(|(parent, _)| parent)].into_iter().flatten()
        });
        for trial in related.collect::<BTreeSet<u32>>().into_iter().filter_map(|number| study.trial(number)) {
            for step in kept::steps(&self.of_trial(trial.number)) {
                if !keeps(trial, step) && !may_be_taken(study, trial, step) && !is_being_made(trial, step) {
                    self.drop(Held::Kept(trial.number, step));
                }
            }
        }
    }

    /// At the end of a study nobody begins with a finished trial's checkpoint any more.
    pub(super) fn tidy_all(&mut self, study: &Study, keeps: &dyn Fn(&Trial, u64) -> bool) {
        if self.keep == Keep::All {
            return;
        }
        for trial in study.trials().iter().filter(|trial| trial.is_finished()) {
            let steps = kept::steps(&self.of_trial(trial.number));
            for step in steps.into_iter().filter(|step| !keeps(trial, *step)) {
                self.drop(Held::Kept(trial.number, step));
            }
        }
    }

    /// Finished trials need none, but for the best; those of work that still winds up have to wait.
    fn drop_finished(&mut self, study: &Study, busy: &BTreeSet<u32>) {
        self.untidied.extend(&study.finished()[self.tidied..]);
        self.tidied = study.finished().len();
        self.untidied.extend(self.best.follow(study));
        let best = &self.best;
        self.untidied.retain(|number| !best.has(*number));
        let ready: Vec<u32> = self.untidied.extract_if(.., |number| !busy.contains(number)).collect();
        for number in ready {
            for (work, _) in study.trial(number).into_iter().flat_map(Trial::pieces) {
                self.drop(Held::Checkpoint(work));
            }
        }
    }

    /// Removes what is missed least until the quota is kept. Of what is missed alike, that of those who came least far goes first,
    /// for they are the cheapest to run again, and of these that of the worst, for they are the least likely to go on.
    fn drop_least_missed(&mut self, study: &Study, busy: &BTreeSet<u32>, quota: u64) {
        // A worker may be about to copy these.
        let beginning =
            study.running().iter().chain(study.waiting()).filter_map(|work| study.trial(work.trial));
        let mut taken: BTreeSet<(u32, u64)> = beginning.filter_map(|trial| trial.parent).collect();
        taken.extend(study.exploiting().map(|(_, from)| from));
        let checkpoints =
            self.checkpoints.iter().map(|(work, files)| (Held::Checkpoint(*work), work.trial, files));
        let kept = self.kept.iter().map(|((trial, step), files)| (Held::Kept(*trial, *step), *trial, files));
        let is_idle = |&(held, trial, files): &(Held, u32, &Vec<FileIdentity>)| {
            let is_taken = matches!(held, Held::Kept(trial, step) if taken.contains(&(trial, step)));
            !files.is_empty() && !busy.contains(&trial) && !is_taken
        };
        let mut found: Vec<_> = checkpoints
            .chain(kept)
            .filter(is_idle)
            .filter_map(|(held, trial, _)| {
                let (good_for, step, loss) = self.good_for(study, held)?;
                Some((good_for, step, loss, trial, held))
            })
            .collect();
        found.sort_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then(b.2.total_cmp(&a.2)).then(Reverse(a.3).cmp(&Reverse(b.3)))
        });
        for (.., held) in found {
            if self.room.bytes <= quota {
                return;
            }
            self.drop(held);
        }
    }

    /// What something is good for, of which step it is, and the loss there; none where it stays.
    fn good_for(&self, study: &Study, held: Held) -> Option<(Use, u64, f64)> {
        match held {
            Held::Checkpoint(work) => {
                let piece = study.piece(work).filter(|piece| piece.state == WorkState::Paused)?;
                let is_kept = |step| work.replicate == 0 && self.kept.contains_key(&(work.trial, step));
                let good_for =
                    if piece.paused_at().is_some_and(is_kept) { Use::Double } else { Use::GoingOn };
                let loss = piece.last_loss().map_or(f64::INFINITY, |(_, loss)| loss);
                Some((good_for, piece.step(), loss))
            }
            Held::Kept(number, step) => {
                let trial = study.trial(number)?;
                let piece = trial.piece(0)?;
                let is_over = trial.is_finished();
                if (is_over && self.keep == Keep::All) || is_being_made(trial, step) {
                    return None;
                }
                let good_for = match trial.outcome() {
                    _ if piece.paused_at() != Some(step) => Use::GoingBack,
                    None if piece.state == WorkState::Paused => Use::GoingOn,
                    // Another process runs it.
                    None => return None,
                    Some(Outcome::Completed { .. }) => Use::Donating,
                    Some(_) => Use::GoingBack,
                };
                Some((good_for, step, piece.loss_by(step).unwrap_or(f64::INFINITY)))
            }
        }
    }

    fn drop(&mut self, held: Held) {
        // It may never have been made; a file that is still open goes with the study.
        let files = match held {
            Held::Checkpoint(work) => {
                kept::discard(&self.checkpoint(work));
                self.checkpoints.remove(&work)
            }
            Held::Kept(trial, step) => {
                kept::forget(&self.of_trial(trial), step);
                self.kept.remove(&(trial, step))
            }
        };
        self.room.leave(&files.unwrap_or_default());
    }

    fn checkpoint(&self, work: Work) -> PathBuf {
        folders::checkpoint_of(&self.folder, work)
    }

    fn of_trial(&self, number: u32) -> PathBuf {
        folders::of_work(&self.folder, Work::of(number))
    }
}

/// All files in a folder with their bytes; what cannot be read is left out.
fn files_in(folder: &Path) -> Vec<(FileIdentity, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => files.push((FileIdentity::of(&entry.path(), &about), about.len())),
                Err(_) => {}
            }
        }
    }
    files
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
            let checkpoint = folders::checkpoint_of(folder.path(), Work::of(trial)).join("deep");
            fs::create_dir_all(&checkpoint).unwrap();
            fs::write(checkpoint.join("state"), [0; 100]).unwrap();
        }
        let options = Options { checkpoint_quota: quota, ..Options::new(folder.path()) };
        let mut retention = Retention::new(&study, &options);
        retention.tidy(&study, &busy.iter().copied().collect());
        let is_left = |trial: &u32| folders::checkpoint_of(folder.path(), Work::of(*trial)).exists();
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
    fn what_is_there_twice_goes_first_then_what_a_trial_could_go_back_to() {
        let left = |quota: u64| {
            let (folder, study) = (tempfile::tempdir().unwrap(), study());
            let of = |trial| folders::of_work(folder.path(), Work::of(trial));
            let checkpoints = (0..4).map(|trial| of(trial).join("checkpoint"));
            for place in checkpoints.chain([1, 3].map(|step| kept::at(&of(2), step))) {
                fs::create_dir_all(&place).unwrap();
                fs::write(place.join("state"), [0; 100]).unwrap();
            }
            let options = Options { checkpoint_quota: Some(quota), ..Options::new(folder.path()) };
            Retention::new(&study, &options).tidy(&study, &BTreeSet::new());
            let has = |trial: &u32| of(*trial).join("checkpoint").exists();
            ((0..4).filter(has).collect::<Vec<u32>>(), kept::steps(&of(2)).into_iter().collect::<Vec<u64>>())
        };
        assert_eq!(left(600), (vec![0, 1, 2, 3], vec![1, 3]));
        assert_eq!(left(599), (vec![0, 1, 3], vec![1, 3]), "trial 2 goes on from what is kept of step 3");
        assert_eq!(left(499), (vec![0, 1, 3], vec![3]));
        assert_eq!(left(399), (vec![0, 3], vec![3]));
        assert_eq!(left(299), (vec![3], vec![3]));
        assert_eq!(left(0), (vec![3], vec![]), "the best one's is never removed");
    }

    #[cfg(unix)]
    #[test]
    fn files_that_checkpoints_share_count_once() {
        let (folder, study) = (tempfile::tempdir().unwrap(), study());
        let of = |trial| folders::of_work(folder.path(), Work::of(trial));
        for trial in 0..4 {
            fs::create_dir_all(of(trial).join("checkpoint")).unwrap();
            fs::write(of(trial).join("checkpoint").join("state"), [0; 100]).unwrap();
        }
        kept::keep(&of(2), &of(2).join("checkpoint"), 3, kept::Sharing::Links).unwrap();
        let left = |quota: u64| {
            let options = Options { checkpoint_quota: Some(quota), ..Options::new(folder.path()) };
            let mut retention = Retention::new(&study, &options);
            retention.tidy(&study, &BTreeSet::new());
            let has = |trial: &u32| of(*trial).join("checkpoint").exists();
            let kept = kept::at(&of(2), 3).exists();
            (retention.room.bytes, (0..4).filter(has).collect::<Vec<u32>>(), kept)
        };
        assert_eq!(left(400), (400, vec![0, 1, 2, 3], true));
        assert_eq!(left(300), (300, vec![0, 3], true), "nothing was gained by the one of trial 2");
        assert_eq!(left(100), (100, vec![3], false));
    }

    #[test]
    fn what_is_kept_for_a_pause_that_is_not_written_down_yet_stays() {
        let (folder, study) = (tempfile::tempdir().unwrap(), study());
        let steps = |trial| kept::steps(&folders::of_work(folder.path(), Work::of(trial)));
        for (trial, step) in [(2, 1), (2, 3), (2, 5), (3, 9)] {
            fs::create_dir_all(kept::at(&folders::of_work(folder.path(), Work::of(trial)), step)).unwrap();
        }
        let mut retention = Retention::new(&study, &Options::new(folder.path()));
        retention.tidy_kept(&study, &[Work::of(2), Work::of(3)], &|_, _| false);
        assert_eq!(steps(2), BTreeSet::from([3, 5]), "its latest pause, and the one to come");
        assert_eq!(steps(3), BTreeSet::new(), "a trial that is over has none to come");
    }
}

//! Training along a schedule again: one leg after the other, each from the checkpoint of the one before. Nothing is decided
//! and nothing is written to a log.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luthier_core::event::{Failure, Work};
use luthier_core::lineage::Leg;
use luthier_core::space::{Parameter, Value};
use luthier_core::spec::Place;

use crate::folders;
use crate::objective::kept::{self, Sharing};
use crate::objective::{Clock, Failed, Link, Objective, Running};
use crate::session::{Assigned, Reply, Returned};

/// What was reported at a step.
pub type Report = (u64, Vec<(Arc<str>, f64)>);

/// How to train along a schedule.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The study's seed: with the numbers of its trials it gives every random choice again.
    pub seed: u64,
    /// The largest step a trial of the study can reach, where it declares one.
    pub max_budget: Option<u64>,
    /// Where the files go, one folder for each trial; what is there of an earlier replay is removed.
    pub folder: PathBuf,
}

impl Replay {
    /// Trains along `legs`; returns all reports in order. `watch` hears each.
    ///
    /// # Errors
    ///
    /// The failure of the leg that failed, or that its files cannot be written.
    pub fn train(
        &self,
        objective: &dyn Objective,
        legs: &[Leg],
        watch: &mut dyn FnMut(&Report),
    ) -> Result<Vec<Report>, Failed> {
        self.train_until(objective, legs, &Arc::default(), watch)
    }

    /// The same until `interrupt` turns true.
    pub(super) fn train_until(
        &self,
        objective: &dyn Objective,
        legs: &[Leg],
        interrupt: &Arc<AtomicBool>,
        watch: &mut dyn FnMut(&Report),
    ) -> Result<Vec<Report>, Failed> {
        let sharing = if objective.replaces_files() { Sharing::Links } else { Sharing::Copies };
        let mut reports = Vec::new();
        for (index, leg) in legs.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| legs[before].trial);
            let heard = self.leg(objective, leg, before, (sharing, interrupt))?;
            if interrupt.load(Ordering::Relaxed) {
                break;
            }
            heard.iter().for_each(&mut *watch);
            reports.extend(heard);
        }
        Ok(reports)
    }

    fn leg(
        &self,
        objective: &dyn Objective,
        leg: &Leg,
        before: Option<u32>,
        (sharing, interrupt): (Sharing, &Arc<AtomicBool>),
    ) -> Result<Vec<Report>, Failed> {
        let folder = folders::of_work(&self.folder, Work::of(leg.trial));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
        }
        if let Some(before) = before {
            let parent = folders::of_work(&self.folder, Work::of(before));
            let adopted = kept::adopt(&parent, leg.from, &folders::checkpoint_in(&folder), sharing);
            if !adopted.map_err(|error| unusable(&folder, &error))? {
                let left = kept::at(&parent, leg.from);
                let problem = format!(
                    "trial {} begins at step {} of trial {before}, whose training left no checkpoint {}",
                    leg.trial,
                    leg.from,
                    left.display()
                );
                return Err(Failure::error(problem).into());
            }
        }
        let assigned = Assigned {
            work: Work::of(leg.trial),
            attempt: 1,
            params: leg.params.clone(),
            budget: Some(leg.to),
            max_budget: self.max_budget,
            step: leg.from,
            parent: before.map(|before| (before, leg.from)),
            before: Vec::new(),
            keeps_pauses: true,
            seed: self.seed,
            draws: leg.draws.unwrap_or(leg.trial),
            place: Place { fold: 0, folds: 1, seed: None },
            seed_number: None,
        };
        let pauses = self.max_budget.is_none_or(|max| leg.to < max);
        let heard = Arc::new(Mutex::new(Heard { until: leg.to, pauses, ..Heard::default() }));
        let link = Box::new(Ear(heard.clone()));
        let mut running =
            Running::new(assigned, link, interrupt.clone(), folder, Clock::default()).sharing(sharing);
        let result = objective.evaluate(&mut running);
        running.finish(result);
        let mut heard = lock(&heard);
        match heard.failure.take() {
            Some((reason, detail)) => Err(Failed { reason, detail }),
            None => Ok(std::mem::take(&mut heard.reports)),
        }
    }
}

fn unusable(folder: &std::path::Path, error: &std::io::Error) -> Failed {
    Failure::error(format!("{}: {error}", folder.display())).into()
}

/// What a leg has said.
#[derive(Default)]
struct Heard {
    until: u64,
    /// Whether it is to pause where it ends, since another leg follows.
    pauses: bool,
    reports: Vec<Report>,
    failure: Option<(Failure, Arc<str>)>,
}

/// A line to nobody but the one who replays.
struct Ear(Arc<Mutex<Heard>>);

impl Link for Ear {
    fn post(&mut self, step: u64, values: Vec<(Arc<str>, f64)>, _: f64) {
        lock(&self.0).reports.push((step, values));
    }

    fn reply(&mut self) -> Reply {
        let heard = lock(&self.0);
        let is_there = heard.reports.last().is_some_and(|(step, _)| *step >= heard.until);
        if heard.pauses && is_there { Reply::Pause } else { Reply::Continue }
    }

    fn draw(&mut self, parameter: Parameter) -> Result<Value, Failure> {
        Err(Failure::error(format!("the schedule has no value of {}", parameter.name)))
    }

    fn finish(&mut self, returned: Returned) {
        let mut heard = lock(&self.0);
        heard.failure = returned.result.err();
        if let Some(values) = returned.conclusion {
            let step = heard.until;
            heard.reports.push((step, values));
        }
    }

    fn abandon(&mut self, _: f64, _: Option<Vec<Arc<str>>>) {
        let problem = Failure::error("the objective let go of it without finishing it");
        lock(&self.0).failure = Some((problem, "".into()));
    }
}

/// Nothing that is done under this lock can leave it half changed.
fn lock(mutex: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A study on its way: opened, brought up to date, run, watched.

use std::path::PathBuf;

use luthier::core::engine::caution;
use luthier::executor::{self, End, Keep, Options, Stop};
use luthier::session::Session;
use luthier::study_file::ObjectiveSpec;

use super::arguments::Arguments;
use super::changes::prepare;
use super::target::{Opened, Target};
use crate::described::Kind;
use crate::interrupts::listen;
use crate::opening::trials_of;
use crate::progress::{Mode, Progress};
use crate::report;

/// Ctrl-C, listened to from when there is something to stop.
#[derive(Default)]
pub(super) struct Interrupts {
    pub(super) stop: Stop,
    is_heard: bool,
}

impl Interrupts {
    pub(super) fn listen(&mut self) -> anyhow::Result<Stop> {
        if !self.is_heard {
            listen(&self.stop)?;
            self.is_heard = true;
        }
        Ok(self.stop.clone())
    }
}

/// A study that has been run.
pub(super) struct Ran {
    pub(super) session: Session,
    pub(super) kind: Kind,
    pub(super) objective: ObjectiveSpec,
    /// Where the objective's paths start.
    pub(super) base: PathBuf,
    pub(super) end: End,
    pub(super) target: Target,
    pub(super) folder: PathBuf,
}

impl Ran {
    /// Creates the study or continues it, and runs it to its end or until it is stopped.
    pub(super) fn new(arguments: &Arguments, interrupts: &mut Interrupts) -> anyhow::Result<Self> {
        let target = Target::find(arguments)?;
        let Opened { mut session, objective, base, created } = target.open(arguments)?;
        let folder = arguments.folder.clone().unwrap_or_else(|| trials_of(&target.log));
        let kind = prepare(&mut session, &objective, &base, arguments)?;
        greet(&session, created, kind.notes(), arguments);

        let stop = interrupts.listen()?;
        let options = Options {
            workers: arguments.workers,
            seconds: arguments.time.map(|time| time.as_secs_f64()),
            stop: stop.clone(),
            keep: if arguments.keep_all { Keep::All } else { Keep::Best },
            checkpoint_quota: arguments.checkpoint_quota.map(|megabytes| megabytes.saturating_mul(1_000_000)),
            ..Options::new(&folder)
        };
        let mode = match (arguments.json, arguments.quiet) {
            (true, _) => Mode::Machines,
            (_, true) => Mode::Quiet,
            (false, false) => Mode::People,
        };
        let mut progress = Progress::new(mode, session.study(), stop);
        let end = executor::run(&mut session, kind.objective(), &options, &mut |study, moment| {
            progress.update(study, moment);
            kind.remarks().iter().for_each(|remark| progress.say(remark));
        });
        progress.finish();
        let end = end?;
        // Other processes may have found something better meanwhile.
        session.refresh()?;
        Ok(Self { session, kind, objective, base, end, target, folder })
    }
}

fn greet(session: &Session, created: bool, notes: &[String], arguments: &Arguments) {
    if arguments.quiet || arguments.json {
        return;
    }
    let study = session.study();
    let spec = study.spec();
    let what = if created { "new study" } else { "continuing" };
    let policy = format!("{} + {}", spec.policy.sampler.name, spec.policy.scheduler.name);
    let goal = match (spec.limits.trials, spec.limits.converged) {
        (Some(trials), None) => format!("{trials} trials"),
        (Some(trials), Some(_)) => format!("until converged, at most {trials} trials"),
        (None, Some(_)) => "until converged".into(),
        (None, None) => "no limit of trials".into(),
    };
    eprintln!(
        "{what} {} ({}): {policy}, {goal}, seed {}",
        report::safe(&spec.name),
        session.place(),
        spec.seed
    );
    if let Some(seed) = arguments.seed.filter(|seed| *seed != spec.seed) {
        eprintln!("--seed {seed} is not used: the study began with {}", spec.seed);
    }
    if !created {
        eprintln!("so far: {}", report::line(study));
    }
    if created || arguments.sampler.is_some() {
        caution(spec).ok().flatten().iter().for_each(|caution| eprintln!("{}", report::safe(caution)));
    }
    for note in notes.iter().take(MOST_NOTES) {
        eprintln!("{note}");
    }
    if notes.len() > MOST_NOTES {
        eprintln!("… and {} more such notes on the data", notes.len() - MOST_NOTES);
    }
}

/// Notes on the data that are shown when a study begins.
const MOST_NOTES: usize = 8;

//! Where a study lies and what describes it: opens the study that is there, or creates it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use luthier::core::engine::resolve;
use luthier::core::spec::Spec;
use luthier::core::steering::is_watched;
use luthier::log::{Durability, LogError, Options as SqliteOptions, ReplayError, SqliteLog};
use luthier::session::{LEASE, Session, SessionError};
use luthier::study_file::{ObjectiveSpec, StudyFile};

use super::arguments::{Arguments, Survives};
use super::wanted::{limits, policy, with_changes};
use crate::described::{Kind, description, stored};
use crate::opening::{
    folder_of, holder, holder_is_alive, is_log, log_beside, quoted, read_study_file, with_hint,
};

/// Where a study lies, and what describes it.
pub(super) struct Target {
    pub(super) log: PathBuf,
    pub(super) file: Option<PathBuf>,
}

pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) objective: ObjectiveSpec,
    pub(super) base: PathBuf,
    pub(super) created: bool,
}

impl Target {
    pub(super) fn find(arguments: &Arguments) -> anyhow::Result<Self> {
        if is_log(&arguments.file) {
            if arguments.study.is_some() {
                bail!("--study goes with a study file; {} is a log already", arguments.file.display());
            }
            return Ok(Self { log: arguments.file.clone(), file: None });
        }
        let log = match &arguments.study {
            Some(log) => log.clone(),
            None => log_beside(&arguments.file, &read_study_file(&arguments.file)?.spec.name),
        };
        Ok(Self { log, file: Some(arguments.file.clone()) })
    }

    pub(super) fn open(&self, arguments: &Arguments) -> anyhow::Result<Opened> {
        let options = SqliteOptions {
            durability: match arguments.durability {
                Survives::Kill => Durability::Kill,
                Survives::PowerLoss => Durability::PowerLoss,
            },
            holder: holder(),
            ..SqliteOptions::default()
        };
        let (session, created) = self.session(&options, arguments)?;
        if is_watched(session.study()) {
            let log = quoted(&self.log);
            bail!(
                "{log} is the run of one model that is watched, not a study to tune; to go on with it: luthier babysit {log}"
            );
        }
        let lease = Duration::try_from_secs_f64(arguments.lease).unwrap_or(LEASE);
        let session = session.with_liveness(holder_is_alive).with_lease(lease);
        let (objective, base) = match &self.file {
            Some(file) => (read(file, arguments)?.objective, folder_of(file)),
            None => stored(session.study(), &self.log)?,
        };
        Ok(Opened { session, objective, base, created })
    }

    /// The study that is there, or a new one; and whether it is new.
    fn session(&self, options: &SqliteOptions, arguments: &Arguments) -> anyhow::Result<(Session, bool)> {
        loop {
            let opened = SqliteLog::open(&self.log, options.clone()).map(|log| Session::open(Box::new(log)));
            let file = match (opened, &self.file) {
                (Ok(Ok(session)), _) => return Ok((session, false)),
                // An empty log: whoever made it was killed before its first event, or is about to write that.
                (
                    Err(LogError::Missing { .. }) | Ok(Err(SessionError::Replay(ReplayError::Empty { .. }))),
                    Some(file),
                ) => file,
                (Ok(Err(error)), _) => return Err(error.into()),
                (Err(error), _) => return Err(with_hint(error, &self.log)),
            };
            if let Some(session) = self.create(file, options.clone(), arguments)? {
                return Ok((session, true));
            }
        }
    }

    /// Creates the study, unless another process does so at this moment.
    fn create(
        &self,
        file: &Path,
        options: SqliteOptions,
        arguments: &Arguments,
    ) -> anyhow::Result<Option<Session>> {
        let read = read(file, arguments)?;
        let mut spec = Spec { seed: arguments.seed.unwrap_or(read.spec.seed), ..read.spec.clone() };
        spec.limits = limits(&spec.limits, arguments);
        spec.policy = with_changes(policy(&spec.policy, arguments), &read.objective, &spec.space);
        // Everything that can be wrong is found before there is a log.
        resolve(&spec)?;
        let kind = Kind::new(&read.objective, Some(&read), &spec, &folder_of(file), arguments.workers)?;
        spec.objective = description(&read, file, &kind)?;
        let log = match SqliteLog::create(&self.log, options.clone()) {
            Err(LogError::Exists { .. }) => SqliteLog::open(&self.log, options)?,
            created => created?,
        };
        match Session::create(Box::new(log), spec) {
            Err(SessionError::Log(LogError::Conflict { .. })) => Ok(None),
            created => Ok(Some(created?)),
        }
    }
}

/// Reads the study file; of an outer fold, with what leaves it out.
pub(super) fn read(file: &Path, arguments: &Arguments) -> anyhow::Result<StudyFile> {
    let read = read_study_file(file)?;
    Ok(match arguments.outer {
        Some(outer) => read.in_outer_fold(outer)?,
        None => read,
    })
}

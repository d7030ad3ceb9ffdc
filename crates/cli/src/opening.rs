//! Finding and opening studies: from a study file, a log, or the only log in the folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use luthier::core::event::Event;
use luthier::core::study::Study;
use luthier::log::{Log, LogError, Options as SqliteOptions, Record, SqliteLog};
use luthier::process::{ProcessTag, is_alive};
use luthier::session::Session;
use luthier::study_file::StudyFile;
use luthier_nn::{Model, Settings};

/// How long a trial that somebody runs by hand stays theirs after their last word.
const BY_HAND: Duration = Duration::from_hours(24);

/// The extension of a study's log.
pub(crate) const EXTENSION: &str = "luthier";

/// Where a study leaves its best model, among the trials' files.
pub(crate) const BEST: &str = "best";

/// Which study a command is about.
#[derive(clap::Args, Clone)]
pub(crate) struct StudyPath {
    /// A study's log (`.luthier`) or its study file; the only log in this folder if not given
    #[arg(value_name = "STUDY", id = "study_path")]
    path: Option<PathBuf>,
}

impl StudyPath {
    /// The study at `path`, or the only one in the folder.
    pub(crate) fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }
}

/// Opens a study to look at it, without ever blocking those who work on it.
pub(crate) fn watch(study: &StudyPath) -> anyhow::Result<Session> {
    Ok(Session::open(watch_log(study)?)?)
}

/// The log of a study, to look at.
pub(crate) fn watch_log(study: &StudyPath) -> anyhow::Result<Box<dyn Log>> {
    let path = find(study)?;
    Ok(Box::new(SqliteLog::watch(&path).map_err(|e| with_hint(e, &path))?))
}

/// What can be read of a study from its beginning, and what is wrong with the rest, if anything is.
pub(crate) fn salvage(path: &StudyPath) -> anyhow::Result<(Study, Option<anyhow::Error>)> {
    let mut log = watch_log(path)?;
    let (mut study, mut seen, mut chunk) = (None, 0, 10_000);
    loop {
        let records = match log.read(seen, chunk) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            // Somewhere in this chunk; what comes before can be read one by one.
            Err(_) if chunk > 1 => {
                chunk = 1;
                continue;
            }
            Err(error) => return salvaged(study, error.into()),
        };
        for record in records {
            if let Err(error) = fold(&mut study, &record) {
                return salvaged(study, error);
            }
            seen = record.seq;
        }
    }
    study.map(|study| (study, None)).with_context(|| format!("the study at {} is empty", log.place()))
}

fn salvaged(study: Option<Study>, error: anyhow::Error) -> anyhow::Result<(Study, Option<anyhow::Error>)> {
    match study {
        Some(study) => Ok((study, Some(error))),
        None => Err(error),
    }
}

fn fold(study: &mut Option<Study>, record: &Record) -> anyhow::Result<()> {
    match (study.as_mut(), record.event()?) {
        (None, Event::Created(spec)) => *study = Some(Study::new(*spec)),
        (None, _) => bail!("the log does not begin with a study"),
        (Some(study), event) => {
            study.apply(&event).with_context(|| format!("event {} is wrong", record.seq))?;
        }
    }
    Ok(())
}

/// Opens a study to write to it by hand.
pub(crate) fn open(study: &StudyPath) -> anyhow::Result<Session> {
    let path = find(study)?;
    let log = SqliteLog::open(&path, SqliteOptions::default()).map_err(|e| with_hint(e, &path))?;
    // Whoever reports by hand may take a day until the next word.
    Ok(Session::open(Box::new(log))?.with_liveness(holder_is_alive).with_lease(BY_HAND))
}

/// Opens a study to hold trials for `lease` after this process has ended.
pub(crate) fn open_with_lease(study: &StudyPath, lease: Duration) -> anyhow::Result<Session> {
    Ok(open(study)?.with_lease(lease))
}

/// The same error, with what to do about it.
pub(crate) fn with_hint(error: LogError, path: &Path) -> anyhow::Error {
    match error {
        LogError::Missing { .. } => {
            let path = path.display().to_string();
            let verb = if path.ends_with(&format!(".babysit.{EXTENSION}")) { "babysit" } else { "tune" };
            anyhow::anyhow!("there is no study at {path}; `luthier {verb}` with its study file creates it")
        }
        other => other.into(),
    }
}

/// The path of the log that `study` means.
pub(crate) fn find(study: &StudyPath) -> anyhow::Result<PathBuf> {
    match &study.path {
        Some(path) if is_log(path) => Ok(path.clone()),
        Some(path) => log_of_file(path),
        None => only_log_here(),
    }
}

/// Whether a path names a log rather than a study file.
pub(crate) fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// Where the trials of a study keep their files, unless told otherwise.
pub(crate) fn trials_of(log: &Path) -> PathBuf {
    log.with_extension("trials")
}

/// The model in a folder, or the best of a study.
pub(crate) fn model_at(path: &Path) -> anyhow::Result<Model> {
    if path.is_dir() {
        return Ok(Model::load(path)?);
    }
    let log = find(&StudyPath::at(Some(path.to_owned())))?;
    let folder = trials_of(&log).join(BEST);
    if !folder.is_dir() {
        bail!(
            "there is no model at {}: a study of networks leaves its best there when `luthier tune` ends; name the folder if it is elsewhere",
            folder.display()
        );
    }
    Ok(Model::load(&folder)?)
}

/// Reads a study file.
pub(crate) fn read_study_file(path: &Path) -> anyhow::Result<StudyFile> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let read = StudyFile::read_with_epochs(&text, path, Settings::default().epochs as u64);
            Ok(if is_named_like_one(path) { read? } else { read.map_err(|error| no_study_file(&error))? })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no study file {}; `luthier init` writes one", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the study file {}", path.display())),
    }
}

/// Whether a path has the ending of a study file.
fn is_named_like_one(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml" || extension == "json")
}

/// The same error about a file of which it may be that it was never meant to be one.
fn no_study_file(error: &impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!(
        "{error}\na study file is TOML or JSON and names the program to tune; `luthier init -- python3 train.py --lr {{lr}}` writes one for `train.py`"
    )
}

/// Where the log of a study called `name` lies: beside its study file.
pub(crate) fn log_beside(file: &Path, name: &str) -> PathBuf {
    file.with_file_name(format!("{name}.{EXTENSION}"))
}

pub(crate) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn log_of_file(path: &Path) -> anyhow::Result<PathBuf> {
    let name = read_study_file(path)?.spec.name;
    let (tuned, watched) = (log_beside(path, &name), log_beside(path, &format!("{name}.babysit")));
    // Who has only watched one model means that.
    Ok(if !tuned.exists() && watched.exists() { watched } else { tuned })
}

fn only_log_here() -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(".").context("cannot list this folder")?;
    let mut logs: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|p| is_log(p)).collect();
    logs.sort();
    match logs.as_slice() {
        [only] => Ok(only.clone()),
        [] => bail!("there is no study in this folder; name its .{EXTENSION} file or its study file"),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            bail!("there are several studies here ({}); name one", names.join(", "))
        }
    }
}

/// This process, as leases name their holder.
pub(crate) fn holder() -> String {
    serde_json::to_string(&ProcessTag::of_this_process()).unwrap_or_default()
}

/// Whether the holder of a lease lives; unknown for those on other machines or given out by hand.
pub(crate) fn holder_is_alive(holder: &str) -> Option<bool> {
    is_alive(&serde_json::from_str(holder).ok()?)
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

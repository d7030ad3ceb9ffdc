//! `luthier tune`: creates a study from a study file, or continues one, and runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser};
use luthier::core::engine::{Done, resolve};
use luthier::core::event::SpaceEdit;
use luthier::core::registry::Entry;
use luthier::core::sampler::SAMPLERS;
use luthier::core::scheduler::SCHEDULERS;
use luthier::core::space::{Space, SpaceError};
use luthier::core::spec::{Component, Convergence, Limits, PolicySpec, Spec};
use luthier::core::study::{Study, edited};
use luthier::core::trial::Piece;
use luthier::executor::{self, End, Keep, Options, Stop};
use luthier::log::{Durability, LogError, Options as SqliteOptions, ReplayError, SqliteLog};
use luthier::objective::Objective;
use luthier::objective::command::{Command, OuterFold};
use luthier::session::{LEASE, Session, SessionError, Turn};
use luthier::study_file::{ObjectiveSpec, StudyFile};
use luthier_nn::Settings;
use luthier_nn::objective::NetworkObjective;

use super::data::{self, OnData};
use super::nested;
use crate::opening::{
    BEST, EXTENSION, folder_of, holder, holder_is_alive, is_log, log_beside, read_study_file, trials_of,
    with_hint,
};
use crate::progress::{Mode, Progress};
use crate::report;

/// What to run, and how.
#[derive(clap::Args, Clone)]
#[command(after_help = EXAMPLE)]
#[allow(clippy::struct_excessive_bools)] // flags of a command line
pub(crate) struct Arguments {
    /// A study file (`.toml`, `.json`), or the log (`.luthier`) of a study to continue
    #[arg(value_name = "STUDY", default_value = "study.toml", conflicts_with = "data")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    data: OnData,
    /// Trials to finish in all, over the study's life
    #[arg(long, short = 'n', value_name = "N")]
    trials: Option<u64>,
    /// End when more trials would hardly gain anything; [limits.converged] in the study file says what hardly means
    #[arg(long)]
    until_converged: bool,
    /// Tune once for each of so many outer folds, on the other rows, and measure each winner on its fold: an honest final number
    #[arg(long, value_name = "FOLDS", value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(super) nested: Option<u16>,
    /// The outer fold that is left out, of a run of `--nested`
    #[arg(skip)]
    pub(super) outer: Option<OuterFold>,
    /// Trials to run at once
    #[arg(long, short = 'j', default_value_t = 1, value_name = "N", value_parser = parse_workers)]
    workers: usize,
    /// Start nothing more after this time, such as 90s, 10m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub(super) time: Option<Duration>,
    /// Who proposes params, instead of the study file's
    #[arg(long, value_name = "NAME", value_parser = names(SAMPLERS))]
    sampler: Option<String>,
    /// Who stops and promotes trials, instead of the study file's
    #[arg(long, value_name = "NAME", value_parser = names(SCHEDULERS))]
    scheduler: Option<String>,
    /// The seed of every random choice; only for a new study
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Where the study's log is; beside the study file if not given
    #[arg(long, value_name = "FILE")]
    pub(super) study: Option<PathBuf>,
    /// Where trials keep their files; beside the log if not given
    #[arg(long, value_name = "FOLDER")]
    pub(super) folder: Option<PathBuf>,
    /// What a finished trial survives
    #[arg(long, value_enum, default_value_t = Survives::Kill)]
    durability: Survives,
    /// Keep the checkpoints of all trials, not only of the best
    #[arg(long)]
    keep_all: bool,
    /// Megabytes of checkpoints beyond which the paused trials least likely to go on lose theirs; the best trial never does
    #[arg(long, value_name = "MB")]
    checkpoint_quota: Option<u64>,
    /// Continue although the objective or its data has changed since the study began
    #[arg(long)]
    accept_changes: bool,
    /// Print JSON lines as things happen
    #[arg(long, conflicts_with = "quiet")]
    pub(super) json: bool,
    /// Print nothing but the result
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Seconds without a sign of life after which other processes take over what this one runs
    #[arg(long, value_name = "SECONDS", hide = true, default_value_t = LEASE.as_secs_f64())]
    lease: f64,
}

impl Arguments {
    /// Those by which the study of one outer fold is tuned in `folder`, when so much time has passed.
    pub(super) fn of_outer_fold(&self, outer: OuterFold, folder: &Path, passed: Duration) -> Self {
        let name = format!("outer-{}", outer.fold);
        Self {
            nested: None,
            outer: Some(outer),
            study: Some(folder.join(format!("{name}.{EXTENSION}"))),
            folder: self.folder.as_ref().map(|folder| folder.join(&name)),
            seed: self.seed.map(|seed| seed.wrapping_add(u64::from(outer.fold))),
            time: self.time.map(|time| time.saturating_sub(passed)),
            ..self.clone()
        }
    }
}

/// The names of a registry, each with its summary.
fn names<T: ?Sized>(entries: &'static [Entry<T>]) -> PossibleValuesParser {
    let values = entries.iter().map(|entry| PossibleValue::new(entry.name).help(entry.summary));
    values.collect::<Vec<_>>().into()
}

const EXAMPLE: &str = "\
Example: a script of yours, `train.py`, that reads --lr and --layers and prints a line such as
{\"step\": 3, \"val_loss\": 0.41} after each epoch. Save this as study.toml beside it:

    trials = 40
    [metric]
    name = \"val_loss\"
    direction = \"minimize\"
    [command]
    run = [\"python3\", \"train.py\", \"--lr\", \"{lr}\", \"--layers\", \"{layers}\"]
    [params.lr]
    type = \"float\"
    low = 1e-5
    high = 1e-1
    scale = \"log\"
    [params.layers]
    type = \"int\"
    low = 1
    high = 4

then run `luthier tune study.toml`. Ctrl-C once finishes what is running, twice stops now; the same
command continues. `luthier init` writes such a file with every key explained.";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Survives {
    /// A killed process (SQLite WAL, synchronous NORMAL)
    Kill,
    /// A power failure as well (synchronous FULL); slower
    PowerLoss,
}

/// Runs a study, or with `--nested` one for each outer fold.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let arguments = &on_data(arguments)?;
    let mut interrupts = Interrupts::default();
    if let Some(folds) = arguments.nested {
        return nested::run(arguments, folds, &mut interrupts);
    }
    let ran = Ran::new(arguments, &mut interrupts)?;
    finish(&ran, arguments)
}

/// Ctrl-C, listened to from when there is something to stop.
#[derive(Default)]
pub(super) struct Interrupts {
    pub(super) stop: Stop,
    is_heard: bool,
}

impl Interrupts {
    fn listen(&mut self) -> anyhow::Result<Stop> {
        if !self.is_heard {
            let stop = self.stop.clone();
            ctrlc::set_handler(move || stop.harder()).context("cannot listen for Ctrl-C")?;
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
    target: Target,
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

/// Reads the study file; of an outer fold, with what leaves it out.
fn read(file: &Path, arguments: &Arguments) -> anyhow::Result<StudyFile> {
    let read = read_study_file(file)?;
    Ok(match arguments.outer {
        Some(outer) => read.in_outer_fold(outer)?,
        None => read,
    })
}

/// With `--data`, the arguments of the study file that is written for it.
fn on_data(arguments: &Arguments) -> anyhow::Result<Arguments> {
    let mut arguments = arguments.clone();
    if arguments.data.path().is_some() {
        let usual = arguments.data.usual_output();
        let output = usual.context("--data names no file; give the path of a data file")?;
        // What there is to say about the data is said when the study begins.
        arguments.data.write_or_find(&output, arguments.trials.unwrap_or(data::TRIALS))?;
        arguments.file = output;
    }
    Ok(arguments)
}

/// Where a study lies, and what describes it.
struct Target {
    log: PathBuf,
    file: Option<PathBuf>,
}

struct Opened {
    session: Session,
    objective: ObjectiveSpec,
    base: PathBuf,
    created: bool,
}

impl Target {
    fn find(arguments: &Arguments) -> anyhow::Result<Self> {
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

    fn open(&self, arguments: &Arguments) -> anyhow::Result<Opened> {
        let options = SqliteOptions {
            durability: match arguments.durability {
                Survives::Kill => Durability::Kill,
                Survives::PowerLoss => Durability::PowerLoss,
            },
            holder: holder(),
            ..SqliteOptions::default()
        };
        let (session, created) = self.session(&options, arguments)?;
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

/// What runs the trials.
pub(super) enum Kind {
    Command(Box<Command>),
    Network(Box<NetworkObjective>),
}

impl Kind {
    /// Errors point to a line of `file`, if there is one.
    pub(super) fn new(
        objective: &ObjectiveSpec,
        file: Option<&StudyFile>,
        spec: &Spec,
        base: &Path,
        workers: usize,
    ) -> anyhow::Result<Self> {
        match objective {
            ObjectiveSpec::Command(command) => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let command = Command::new(command.clone(), &spec.space, &spec.metrics, base);
                let command = command.map_err(|error| match file {
                    Some(file) => anyhow::Error::from(file.locate(&error)),
                    None => error.into(),
                })?;
                Ok(Self::Command(Box::new(if workers > 1 {
                    command.sharing(cores, workers)
                } else {
                    command
                })))
            }
            ObjectiveSpec::Network(table) => {
                let table = serde_json::Value::Object(table.clone());
                Ok(Self::Network(Box::new(NetworkObjective::from_table(table, spec, base)?)))
            }
        }
    }

    pub(super) fn objective(&self) -> &dyn Objective {
        match self {
            Self::Command(command) => &**command,
            Self::Network(network) => &**network,
        }
    }

    /// What was noticed about the data, and how trials will be trained.
    pub(super) fn notes(&self) -> &[String] {
        match self {
            Self::Command(_) => &[],
            Self::Network(network) => network.notes(),
        }
    }

    /// What has been noticed while trials ran, each once.
    pub(super) fn remarks(&self) -> Vec<String> {
        match self {
            Self::Command(command) => command.take_remarks(),
            Self::Network(_) => Vec::new(),
        }
    }

    fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Command(_) => None,
            Self::Network(network) => Some(network.fingerprint().to_owned()),
        }
    }
}

/// The key of the study's note that describes its objective anew.
const DESCRIPTION: &str = "objective";

/// What the log keeps about the objective: its table, where its files are, and the fingerprint of its data; and the
/// policy as written.
pub(super) fn description(read: &StudyFile, file: &Path, kind: &Kind) -> anyhow::Result<serde_json::Value> {
    let folder = fs::canonicalize(folder_of(file)).unwrap_or_else(|_| folder_of(file));
    let mut text = serde_json::to_value(&read.objective)?;
    text["folder"] = folder.display().to_string().into();
    text["policy"] = written_policy(read);
    Ok(with_data(&text, kind))
}

fn with_data(description: &serde_json::Value, kind: &Kind) -> serde_json::Value {
    let mut text = description.clone();
    text["data"] = kind.fingerprint().into();
    text
}

/// The latest description in the log.
pub(super) fn described(study: &Study) -> &serde_json::Value {
    let mut notes = study.notes().iter().rev();
    let latest = notes.find(|(trial, key, _)| trial.is_none() && **key == *DESCRIPTION);
    latest.map_or(&study.spec().objective, |(.., description)| description)
}

/// The objective as the log describes it, for a study that is continued without its study file.
pub(super) fn stored(study: &Study, log: &Path) -> anyhow::Result<(ObjectiveSpec, PathBuf)> {
    let mut table = described(study).clone();
    let folder = table.get("folder").and_then(|folder| folder.as_str()).map(PathBuf::from);
    if let Some(table) = table.as_object_mut() {
        table.retain(|key, _| key == "command" || key == "network");
    }
    let objective = serde_json::from_value(table).with_context(|| {
        format!("{} was not made from a study file; run it with the program that made it", log.display())
    })?;
    Ok((objective, folder.unwrap_or_else(|| folder_of(log))))
}

/// Brings a study that is continued up to what the command line and the study file say now. Whatever forbids going on
/// is found before anything is written.
fn prepare(
    session: &mut Session,
    objective: &ObjectiveSpec,
    base: &Path,
    arguments: &Arguments,
) -> anyhow::Result<Kind> {
    let file = if is_log(&arguments.file) { None } else { Some(read(&arguments.file, arguments)?) };
    let file = file.as_ref();
    let study = session.study();
    if let Some(file) = file {
        check_comparable(study, file, Path::new(&session.place()), arguments)?;
    }
    let changes = Changes::of(study, file, arguments)?;
    let spec = Spec { space: changes.space.clone(), ..study.spec().clone() };
    let kind = Kind::new(objective, file, &spec, base, arguments.workers)?;
    if !arguments.accept_changes && has_measured(study) {
        check_unchanged(described(study), objective, &kind)?;
    }
    let description = match file {
        Some(read) => description(read, &arguments.file, &kind)?,
        None => with_data(described(study), &kind),
    };
    if changes.is_none() && description == *described(study) {
        return Ok(kind);
    }
    let made = session.turn(|turn| {
        // Another process that continues the study at this moment may have made the same changes.
        let changes = Changes::of(turn.study(), file, arguments)?;
        changes.make(turn)?;
        if description != *described(turn.study()) {
            turn.note(None, DESCRIPTION, description)?;
        }
        Ok(changes)
    })?;
    made.tell();
    Ok(kind)
}

/// What the command line and the study file change in a study that is continued.
struct Changes {
    edits: Vec<SpaceEdit>,
    /// The space after the edits.
    space: Space,
    limits: Option<Limits>,
    policy: Option<PolicySpec>,
}

impl Changes {
    fn of(study: &Study, file: Option<&StudyFile>, arguments: &Arguments) -> Result<Self, SessionError> {
        let known = study.spec();
        let edits = file.map(|file| space_edits(study, &file.spec)).unwrap_or_default();
        let (edits, space) = in_order(study.space().clone(), edits)?;
        let limits = limits(file.map_or(&known.limits, |file| &file.spec.limits), arguments);
        let policy = policy(file.map_or(&known.policy, |file| current_policy(study, file)), arguments);
        let policy = match file {
            Some(file) => with_changes(policy, &file.objective, &space),
            None => policy,
        };
        let policy = resolve(&Spec { space: space.clone(), policy, ..known.clone() })?;
        let is_other = policy.sampler != known.policy.sampler || policy.scheduler != known.policy.scheduler;
        // Whoever continues a study that gave up after failures wants it to go on.
        let gave_up = study.tally().failures_in_a_row > 0;
        Ok(Self {
            edits,
            space,
            limits: (limits != known.limits || gave_up).then_some(limits),
            policy: is_other.then_some(policy),
        })
    }

    fn is_none(&self) -> bool {
        self.edits.is_empty() && self.limits.is_none() && self.policy.is_none()
    }

    fn make(&self, turn: &mut Turn<'_>) -> Result<(), SessionError> {
        for edit in &self.edits {
            turn.change_space(edit.clone())?;
        }
        if let Some(limits) = self.limits {
            turn.change_limits(limits)?;
        }
        if let Some(policy) = &self.policy {
            turn.change_policy(policy.clone())?;
        }
        Ok(())
    }

    fn tell(&self) {
        for edit in &self.edits {
            eprintln!("the space changes from here on: {}", told(edit));
        }
        if let Some(policy) = &self.policy {
            eprintln!("the policy changes from here on: {} + {}", policy.sampler.name, policy.scheduler.name);
        }
    }
}

/// The log's policy, unless the file's has been edited since: an option of an earlier command line outlives that
/// command.
fn current_policy<'a>(study: &'a Study, file: &'a StudyFile) -> &'a PolicySpec {
    match described(study).get("policy") {
        Some(written) if *written == written_policy(file) => &study.spec().policy,
        Some(_) | None => &file.spec.policy,
    }
}

/// The policy as a study file writes it.
fn written_policy(file: &StudyFile) -> serde_json::Value {
    let policy = &file.spec.policy;
    serde_json::json!({ "sampler": policy.sampler, "scheduler": policy.scheduler })
}

/// Trials are compared by these parts of a specification, so they stay as they were.
fn check_comparable(
    study: &Study,
    file: &StudyFile,
    log: &Path,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let known = study.spec();
    let folder = arguments.folder.clone().unwrap_or_else(|| trials_of(log));
    let how = begin_anew(study, log, &folder).unwrap_or_else(|| {
        ", so old and new trials cannot be compared; undo the change, or begin another study with --study FILE"
            .into()
    });
    let changed = |path: &[&str], what: &str| -> anyhow::Result<()> {
        Err(file.error_at(path, &format!("{what} since the study began{how}")).into())
    };
    if file.spec.metrics != known.metrics {
        return changed(&["metric"], "the metrics have changed");
    }
    if file.spec.max_budget != known.max_budget {
        return changed(&["budget", "max"], "the largest step has changed");
    }
    if (file.spec.replicates, file.spec.design) != (known.replicates, known.design) {
        return changed(&["replicates"], "the number of replicates has changed");
    }
    if file.spec.space.constraints() != study.space().constraints() {
        return changed(&["constraints"], "the constraints have changed");
    }
    Ok(())
}

/// Whether trials have told anything that others could be compared with.
fn has_measured(study: &Study) -> bool {
    study.tally().finished() > 0 || study.trials().iter().any(|trial| trial.step() > 0)
}

/// What to do about a study that differs from its file, where none of its trials has told a value that would be lost.
fn begin_anew(study: &Study, log: &Path, folder: &Path) -> Option<String> {
    let has_told = |(_, piece): (_, &Piece)| piece.last_loss().is_some();
    let is_lost = study.trials().iter().any(|trial| trial.values().is_some() || trial.pieces().any(has_told));
    (!is_lost).then(|| {
        format!(
            ". None of its trials has told a value, so nothing is lost: to begin anew, remove {} and {}",
            quoted(log),
            quoted(folder)
        )
    })
}

/// The keys of a command that say what is measured; the others say how it is run.
const DEFINING: [&str; 4] = ["run", "pattern", "result", "outer"];

/// A study compares trials of one objective on the same data.
pub(super) fn check_unchanged(
    described: &serde_json::Value,
    objective: &ObjectiveSpec,
    kind: &Kind,
) -> anyhow::Result<()> {
    let how = "old and new trials cannot be compared. Begin another study with --study FILE, or say --accept-changes";
    let now = serde_json::to_value(objective)?;
    let is_changed = match objective {
        ObjectiveSpec::Command(_) => {
            DEFINING.iter().any(|key| described["command"].get(key) != now["command"].get(key))
        }
        ObjectiveSpec::Network(_) => described.get("network") != now.get("network"),
    };
    if is_changed {
        bail!("the objective's table has changed since the study began; {how}");
    }
    let before = described.get("data").and_then(|data| data.as_str());
    if before != kind.fingerprint().as_deref() {
        bail!("the data has changed since the study began; {how}");
    }
    Ok(())
}

/// The edits that turn the study's space into the file's.
fn space_edits(study: &Study, file: &Spec) -> Vec<SpaceEdit> {
    let (old, new) = (study.space(), &file.space);
    let mut edits = Vec::new();
    for parameter in new.parameters() {
        match old.find(&parameter.name).map(|k| &old.parameters()[k]) {
            None => edits.push(SpaceEdit::Add(parameter.clone())),
            Some(known) if known != parameter => edits.push(SpaceEdit::Change(parameter.clone())),
            Some(_) => {}
        }
    }
    for known in old.parameters() {
        if !known.retired && new.find(&known.name).is_none() {
            edits.push(SpaceEdit::Retire { name: known.name.clone() });
        }
    }
    edits
}

/// The edits in an order in which each leads to a valid space, as near to the given one as possible; and the last space.
fn in_order(mut space: Space, mut edits: Vec<SpaceEdit>) -> Result<(Vec<SpaceEdit>, Space), SpaceError> {
    let mut ordered = Vec::with_capacity(edits.len());
    while !edits.is_empty() {
        let (before, mut refusal) = (ordered.len(), None);
        edits.retain(|edit| match edited(&space, edit) {
            Ok(next) => {
                space = next;
                ordered.push(edit.clone());
                false
            }
            Err(error) => {
                refusal.get_or_insert(error);
                true
            }
        });
        if let Some(error) = refusal.filter(|_| ordered.len() == before) {
            return Err(error);
        }
    }
    Ok((ordered, space))
}

fn told(edit: &SpaceEdit) -> String {
    match edit {
        SpaceEdit::Add(parameter) => format!("{} is new", parameter.name),
        SpaceEdit::Change(parameter) => format!("{} is declared differently", parameter.name),
        SpaceEdit::Retire { name } => format!("{name} is gone"),
    }
}

fn limits(base: &Limits, arguments: &Arguments) -> Limits {
    let converged = base.converged.or_else(|| arguments.until_converged.then(Convergence::default));
    Limits { trials: arguments.trials.or(base.trials), converged, ..*base }
}

fn policy(base: &PolicySpec, arguments: &Arguments) -> PolicySpec {
    let pick = |name: &Option<String>, kept: &Component| match name {
        Some(name) if **name != *kept.name => Component::named(name),
        Some(_) | None => kept.clone(),
    };
    PolicySpec {
        version: base.version,
        sampler: pick(&arguments.sampler, &base.sampler),
        scheduler: pick(&arguments.scheduler, &base.scheduler),
    }
}

/// Where a scheduler changes params of trials that train and nobody says which, all that can change in a network.
fn with_changes(mut policy: PolicySpec, objective: &ObjectiveSpec, space: &Space) -> PolicySpec {
    let scheduler = &mut policy.scheduler;
    let changes = |entry: &&Entry<_>| *entry.name == *scheduler.name;
    let entry = SCHEDULERS.iter().find(changes);
    let is_open = entry.is_some_and(|entry| entry.options.iter().any(|option| option.name == CHANGE))
        && scheduler.options.get(CHANGE).is_none_or(serde_json::Value::is_null);
    if let (true, ObjectiveSpec::Network(_)) = (is_open, objective) {
        let names = space.parameters().iter().map(|parameter| &parameter.name);
        let changeable = names.filter(|name| Settings::may_change(name).unwrap_or(true)).map(|name| &**name);
        let changeable: Vec<&str> = changeable.collect();
        if changeable.len() < space.len() {
            scheduler.options.insert(CHANGE.into(), changeable.into());
        }
    }
    policy
}

/// The option of a scheduler that names parameters which may change while a trial trains.
const CHANGE: &str = "change";

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
    if let Some(problem) = mismatch(&spec.policy).filter(|_| created) {
        eprintln!("{problem}");
    }
    for note in notes.iter().take(MOST_NOTES) {
        eprintln!("{note}");
    }
    if notes.len() > MOST_NOTES {
        eprintln!("… and {} more such notes on the data", notes.len() - MOST_NOTES);
    }
}

/// What to say about a sampler and a scheduler that were not made for each other; all else goes together.
fn mismatch(policy: &PolicySpec) -> Option<String> {
    let scheduler = &policy.scheduler;
    let mode = scheduler.options.get("mode").and_then(serde_json::Value::as_str);
    let is_fresh = *scheduler.name == *"hyperband" && mode == Some("fresh");
    (*policy.sampler.name == *"dehb" && !is_fresh).then(|| {
        "dehb is made for scheduler = { name = \"hyperband\", mode = \"fresh\" }, which begins trials at several budgets; this study has another".into()
    })
}

/// Notes on the data that are shown when a study begins.
const MOST_NOTES: usize = 8;

/// Says what came of it, on standard output.
fn finish(ran: &Ran, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Ran { session, kind, end, target, folder, .. } = ran;
    let study = session.study();
    let again = continuation(end, target, arguments);
    let mut result = report::study_json(study, &session.place());
    let mut text = String::new();
    let mut has_model = true;
    if let Some(best) = study.incumbent() {
        text.push_str(&format!("\nbest of {}\n", report::counts(study)));
        text.push_str(&report::best_block(study, best));
        for (name, value) in report::other_values(study, best) {
            text.push_str(&format!("  {}  {}\n", report::safe(&name), report::number(value)));
        }
        if let Kind::Network(network) = kind {
            let ended = !matches!(end, End::Stopped);
            match network.save_best(study, folder, &folder.join(BEST), ended) {
                Ok(winner) => {
                    result["held_out"] = serde_json::to_value(&winner.held_out)?;
                    result["model"] = winner.model.as_ref().map(|model| model.display().to_string()).into();
                    result["winner"] = report::winner_json(&winner.report)?;
                    text.push_str(&report::winner_block(&winner));
                    if winner.model.is_none() {
                        let finished = study.tally().finished();
                        text.push_str(&format!("model  trained anew when the study ends; to end it here: luthier tune {} --trials {finished}\n", quoted(&arguments.file)));
                    }
                }
                Err(error) => {
                    let problem = format!("the model of trial {} cannot be saved: {error}", best.number);
                    text.push_str(&format!("model  {}\n", report::safe(&problem)));
                    result["model_problem"] = problem.into();
                    has_model = false;
                }
            }
        }
    } else {
        text.push_str(&format!("\nno trial has completed ({})\n", report::counts(study)));
        text.push_str(&last_failure(study));
    }
    if let Some(advice) = report::advice(study) {
        result["advice"] = serde_json::to_value(advice)?;
        text.push_str(&format!("advice {}\n", report::advice_line(study, &advice)));
    }
    if let End::Done(Done::Converged(verdict)) = end {
        result["converged"] = verdict.to_string().into();
    }
    text.push_str(&format!("cost   {}\n", report::cost(study)));
    text.push_str(&format!("study  {}\n", session.place()));
    text.push_str(&format!("{}\n", told_end(end)));
    text.push_str(&format!("to continue: {again}\n"));
    if let (End::Done(Done::Converged(_)), false) = (end, arguments.until_converged) {
        text.push_str(
            "  once limits.converged in the study file is gone, or asks for a smaller chance or epsilon\n",
        );
    }
    result["continue"] = again.into();
    if arguments.json {
        result["event"] = "result".into();
        println!("{result}");
    } else {
        print!("{text}");
    }
    let nothing_but_failures = study.incumbent().is_none() && study.tally().failed > 0;
    let broken = nothing_but_failures
        || !has_model
        || matches!(
            end,
            End::Done(Done::Failures(_) | Done::Impossible { .. } | Done::Queue(_)) | End::NotStarted { .. }
        );
    Ok(match end {
        End::Stopped => ExitCode::from(130),
        _ if broken => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

pub(super) fn told_end(end: &End) -> String {
    match end {
        End::Done(Done::Converged(verdict)) => format!("stopped: {verdict}"),
        End::Done(done) => format!("ended because {done}"),
        End::Stopped => "stopped by you".into(),
        End::Limit => "ended because the time is up".into(),
        End::NotStarted { trial, problem } => {
            let problem = report::safe(problem);
            format!("stopped: trial {trial} could not be started and waits to be: {problem}")
        }
    }
}

fn last_failure(study: &Study) -> String {
    use luthier::core::event::Outcome;
    let failed = study.finished().iter().rev().filter_map(|number| study.trial(*number));
    let last = failed.into_iter().find(|trial| matches!(trial.outcome(), Some(Outcome::Failed { .. })));
    last.map_or_else(String::new, |trial| {
        format!("trial {} {}", trial.number, report::failure_block(study, trial))
    })
}

/// The command that continues a run of `--nested`.
pub(super) fn nested_continuation(arguments: &Arguments) -> anyhow::Result<String> {
    Ok(continuation(&End::Stopped, &Target::find(arguments)?, arguments))
}

/// The command that continues the study; with more trials if those asked for are done.
fn continuation(end: &End, target: &Target, arguments: &Arguments) -> String {
    let has_converged = match end {
        End::Done(Done::Converged(verdict)) => Some(verdict.advice().finished),
        End::Done(_) | End::Stopped | End::Limit | End::NotStarted { .. } => None,
    };
    let mut command = format!("luthier tune {}", quoted(&arguments.file));
    if let (Some(_), Some(log)) = (&target.file, &arguments.study) {
        command.push_str(&format!(" --study {}", quoted(log)));
    }
    if let Some(n) = has_converged.or(if let End::Done(Done::Trials(n)) = end { Some(*n) } else { None }) {
        command.push_str(&format!(" --trials {}", (n * 2).max(1)));
    } else if let Some(trials) = arguments.trials {
        command.push_str(&format!(" --trials {trials}"));
    }
    if arguments.until_converged && has_converged.is_none() {
        command.push_str(" --until-converged");
    }
    command.extend(arguments.nested.map(|folds| format!(" --nested {folds}")));
    if arguments.workers > 1 {
        command.push_str(&format!(" -j {}", arguments.workers));
    }
    for (flag, name) in [("--sampler", &arguments.sampler), ("--scheduler", &arguments.scheduler)] {
        command.extend(name.iter().map(|name| format!(" {flag} {name}")));
    }
    command.extend(arguments.folder.iter().map(|folder| format!(" --folder {}", quoted(folder))));
    command.extend(arguments.checkpoint_quota.iter().map(|quota| format!(" --checkpoint-quota {quota}")));
    let flags = [
        (arguments.durability == Survives::PowerLoss, " --durability power-loss"),
        (arguments.keep_all, " --keep-all"),
        (arguments.accept_changes, " --accept-changes"),
    ];
    command.extend(flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag));
    command
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number from 1".into()),
        Ok(workers) => Ok(workers),
    }
}

/// `90s`, `10m`, `2h`, `1d`, or plain seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("write 90s, 10m, 2h or 1d".into()),
    };
    let number: f64 = number.parse().map_err(|_| "write 90s, 10m, 2h or 1d".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|e| e.to_string())
}

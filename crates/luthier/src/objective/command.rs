//! Any program as an objective: params go in as arguments, environment and a JSON file; results come out as JSON
//! lines, by patterns, or in a file. The program runs under supervision and nothing it started outlives it.

mod capture;
mod knobs;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use luthier_core::event::Failure;
use luthier_core::metric::Metrics;
use luthier_core::space::{Params, Space};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use self::capture::{Capture, Reading, Results, Tail};
pub use self::knobs::KnobsBy;
use self::knobs::{Wire, begin_file, home, move_in, put_by};
pub use self::template::PLACEHOLDERS;
use self::template::Template;
use super::kept::Sharing;
use super::{Failed, Flow, Next, Objective, Pool, Running};
use crate::folders;
use crate::process::{Ended, Exit, Launch, Process, thread_environment};

/// How often a running command is looked at when it says nothing.
const TICK: Duration = Duration::from_millis(50);

/// The `[command]` table of a study file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program and its arguments, with placeholders in braces: a parameter's name, or `budget`, `step`, `trial`,
    /// `replicate`, `fold`, `folds`, `outer_fold`, `outer_folds`, `outer_part`, `seed`, `attempt`, `params` (a JSON file), `checkpoint` and
    /// `folder` (directories). `{{` is a brace.
    ///
    /// An argument whose parameter is inactive is left out; if it is nothing but the placeholder, a flag before it
    /// (`--momentum {momentum}`) is left out too.
    #[serde(deserialize_with = "words")]
    pub run: Vec<String>,
    /// Regular expressions with one group, by metric; `step` may be one of them. They are matched against each line of
    /// both outputs, instead of JSON lines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pattern: BTreeMap<String, String>,
    /// A JSON file that holds the final values when the command has ended, relative to the trial's folder; may have
    /// placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// How the command hears of knobs that are turned while it runs. Without it, it is started again from its checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knobs: Option<KnobsBy>,
    /// Seconds after which the command is ended and the trial fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
    /// Megabytes (10⁶ bytes) that the command and its descendants may use together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<f64>,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default = "grace")]
    pub grace: f64,
    /// More environment variables; values may have placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where the command runs, relative to the study file's folder; default that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<PathBuf>,
    /// Which fold of an outer cross-validation no trial may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer: Option<OuterFold>,
}

/// Which fold of an outer cross-validation a command leaves out: `{outer_fold}` of `{outer_folds}`. Without one these are 1 and 1, so that a
/// row's number modulo `{outer_folds}` is never `{outer_fold}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterFold {
    /// Which one, from 0.
    pub fold: u16,
    /// How many there are, from 2.
    pub folds: u16,
}

/// What a command is to score on: `{outer_part}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OuterPart {
    /// As ever, on rows that are not of the outer fold: `validation`.
    #[default]
    Validation,
    /// On the rows of the outer fold, trained on all others: `test`.
    Test,
}

impl OuterPart {
    fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl CommandSpec {
    /// Whether an argument or a variable holds this text.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.run.iter().chain(self.env.values()).any(|word| word.contains(text))
    }
}

/// A list of words; a single text is told from it, since nothing here goes through a shell.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list with the program and each argument, such as [\"python3\", \"train.py\", \"--lr\", \"{lr}\"]")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = list.next_element()? {
                words.push(word);
            }
            Ok(words)
        }
    }
    deserializer.deserialize_seq(Words)
}

fn grace() -> f64 {
    10.0
}

/// What is wrong with a command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// Nothing to run.
    #[error(
        "command.run is empty; give the program and its arguments, e.g. run = [\"python3\", \"train.py\"]"
    )]
    Empty,
    /// A placeholder that means nothing.
    #[error(
        "{text:?} has the placeholder {{{name}}}, which is neither a parameter nor one of {known}; write {{{{ for a brace"
    )]
    Placeholder {
        /// The argument.
        text: String,
        /// The placeholder.
        name: String,
        /// What may stand there.
        known: String,
    },
    /// An unfinished placeholder.
    #[error("{text:?} has a brace without its partner; write {{{{ or }}}} for a brace")]
    Brace {
        /// The argument.
        text: String,
    },
    /// A pattern that is no regular expression, or has no group.
    #[error("command.pattern.{metric}: {problem}")]
    Pattern {
        /// The metric.
        metric: String,
        /// What is wrong.
        problem: String,
    },
    /// Patterns that never yield an objective.
    #[error("command.pattern has no pattern for the metric {metric:?}")]
    NoPattern {
        /// The metric.
        metric: String,
    },
    /// A limit that is not a positive number.
    #[error("command.{field} must be a positive number, not {value}")]
    Limit {
        /// Which.
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

impl CommandError {
    /// The keys below `[command]` that it is about, outermost first, where that table is `spec`.
    pub fn entry<'a>(&'a self, spec: &'a CommandSpec) -> Vec<&'a str> {
        match self {
            Self::Empty => vec!["run"],
            Self::Placeholder { text, .. } | Self::Brace { text } => {
                let variable = spec.env.iter().find(|(_, value)| *value == text).map(|(name, _)| name);
                match variable {
                    _ if spec.run.contains(text) => vec!["run"],
                    Some(name) => vec!["env", name],
                    None => vec!["result"],
                }
            }
            Self::Pattern { metric, .. } => vec!["pattern", metric],
            Self::NoPattern { .. } => vec!["pattern"],
            Self::Limit { field, .. } => vec![field],
        }
    }
}

/// A program as an objective.
pub struct Command {
    spec: CommandSpec,
    arguments: Vec<Template>,
    environment: Vec<(String, Template)>,
    result: Option<Template>,
    reading: Reading,
    working_dir: PathBuf,
    threads: Vec<(String, String)>,
    supervisor: Option<PathBuf>,
    part: OuterPart,
    remarks: Remarks,
}

/// What users should know about how their program speaks, each kind once.
#[derive(Default)]
struct Remarks {
    made: Mutex<BTreeSet<Remark>>,
    waiting: Mutex<Vec<String>>,
}

/// Kinds of remarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remark {
    NoStep,
    OnlyReport,
    StepsBack,
    BeyondTheLargest,
    NoCheckpoint,
}

impl Remarks {
    fn make(&self, kind: Remark, text: impl FnOnce() -> String) {
        if self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(kind) {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(text());
        }
    }
}

impl Command {
    /// Checks a command against the space and metrics of its study. Relative paths start at `base`.
    pub fn new(
        spec: CommandSpec,
        space: &Space,
        metrics: &Metrics,
        base: &Path,
    ) -> Result<Self, CommandError> {
        if spec.run.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(CommandError::Empty);
        }
        for (field, limit) in [("time_limit", spec.time_limit), ("memory_limit", spec.memory_limit)] {
            if let Some(value) = limit.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(CommandError::Limit { field, value });
            }
        }
        if !(spec.grace.is_finite() && spec.grace >= 0.0) {
            return Err(CommandError::Limit { field: "grace", value: spec.grace });
        }
        let arguments = spec.run.iter().map(|text| Template::parse(text, space)).collect::<Result<_, _>>()?;
        let environment = spec
            .env
            .iter()
            .map(|(name, text)| Ok((name.clone(), Template::parse(text, space)?)))
            .collect::<Result<_, _>>()?;
        let result = spec.result.as_deref().map(|text| Template::parse(text, space)).transpose()?;
        let reading = Reading::new(&spec.pattern, metrics, spec.result.is_some())?;
        let working_dir = spec.working_dir.as_ref().map_or_else(|| base.to_owned(), |dir| base.join(dir));
        let (threads, supervisor, part) = (Vec::new(), None, OuterPart::default());
        let remarks = Remarks::default();
        Ok(Self {
            spec,
            arguments,
            environment,
            result,
            reading,
            working_dir,
            threads,
            supervisor,
            part,
            remarks,
        })
    }

    /// The same for `parallel` commands at once on `cores` cores: numerical libraries in the commands get their share
    /// of the cores and wait passively, unless the user's environment already says otherwise.
    pub fn sharing(mut self, cores: usize, parallel: usize) -> Self {
        self.threads = thread_environment(cores, parallel);
        self
    }

    /// The same, scoring on another part of the data.
    pub fn scoring_on(mut self, part: OuterPart) -> Self {
        self.part = part;
        self
    }

    /// The same with another executable as supervisor; see [`Launch::supervisor`].
    pub fn supervised_by(mut self, executable: PathBuf) -> Self {
        self.supervisor = Some(executable);
        self
    }

    /// What was noticed about the program since this was asked last, in sentences for its user.
    pub fn take_remarks(&self) -> Vec<String> {
        std::mem::take(&mut *self.remarks.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn launch(&self, running: &Running<'_>) -> Result<Launch, Failed> {
        let folder = absolute(running.folder())?;
        let checkpoint = folders::checkpoint_in(&folder);
        let params_file = folder.join("params.json");
        let prepared = fs::create_dir_all(&checkpoint)
            .and_then(|()| write_params(&params_file, running.params()))
            .and_then(|()| if self.is_live() { move_in(&home(&folder), &checkpoint) } else { Ok(()) })
            .and_then(|()| match self.spec.knobs {
                Some(KnobsBy::File) => begin_file(&folder, running.step(), running.params()),
                Some(KnobsBy::Stdin) | None => Ok(()),
            });
        prepared.map_err(|e| not_started(format!("{}: {e}", folder.display())))?;
        let mut fill = self.filling(running, &folder);
        if let Some(by) = self.spec.knobs {
            fill.live_on(running, &folder, by);
        }
        let mut arguments = template::fill_all(&self.arguments, &fill).into_iter();
        let program = arguments.next().unwrap_or_default();
        let mut launch = Launch::new(self.program(&program));
        launch.args = arguments.map(OsString::from).collect();
        launch.env = self.variables(running, &fill);
        launch.working_dir = Some(self.working_dir.clone());
        launch.memory_limit = self.spec.memory_limit.map(|megabytes| (megabytes * 1e6) as u64);
        launch.pipe_stdin = self.spec.knobs == Some(KnobsBy::Stdin);
        launch.grace = Duration::from_secs_f64(self.spec.grace);
        launch.supervisor.clone_from(&self.supervisor);
        Ok(launch)
    }

    /// A program given as a relative path starts from the command's working directory.
    fn program(&self, program: &str) -> OsString {
        let path = Path::new(program);
        if path.components().count() > 1 && path.is_relative() {
            return self.working_dir.join(path.strip_prefix(".").unwrap_or(path)).into();
        }
        program.into()
    }

    fn variables(&self, running: &Running<'_>, fill: &Filling) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(String, String)> = self.threads.clone();
        for (name, value) in &fill.fixed {
            variables.push((format!("LUTHIER_{}", name.to_uppercase()), value.clone()));
        }
        for (name, value) in running.params().iter() {
            variables.push((format!("LUTHIER_PARAM_{}", variable_name(name)), value.to_string()));
        }
        for (name, template) in &self.environment {
            if let Some(value) = template.fill(fill) {
                variables.push((name.clone(), value));
            }
        }
        variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

impl Objective for Command {
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let (result, held) = self.attend(running, None);
        if let Some(held) = held {
            held.end();
        }
        result
    }

    /// What a live command changes in place is not what its trials keep.
    fn replaces_files(&self) -> bool {
        self.is_live()
    }

    /// One trial after the other. A live command that is paused waits for what comes next, and serves that if it goes on where
    /// the command stands.
    fn evaluate_batch(&self, pool: &mut Pool<'_>) -> Result<(), Failed> {
        let mut held = None;
        while let Next::Trial(mut running) = pool.refill() {
            let result;
            (result, held) = self.attend(&mut running, held.take());
            running.finish(result);
        }
        if let Some(held) = held {
            held.end();
        }
        Ok(())
    }
}

impl Command {
    /// Whether it can take other params while it runs.
    fn is_live(&self) -> bool {
        self.spec.knobs.is_some()
    }

    /// Sees a trial to its end or its pause, by the command that is `held` if that stands where the trial begins; what is left of
    /// the command comes back.
    fn attend(
        &self,
        running: &mut Running<'_>,
        held: Option<Program>,
    ) -> (Result<(), Failed>, Option<Program>) {
        let mut program = match held {
            Some(mut program) if program.stands_where(running) => {
                inherit_count(running);
                let shift = u64::from(counts_from_zero(running.folder()).exists());
                program.hear(running.step() - shift.min(running.step()), running.params());
                program
            }
            other => {
                if let Some(other) = other {
                    other.end();
                }
                match self.start(running) {
                    Ok(program) => program,
                    Err(failed) => return (Err(failed), None),
                }
            }
        };
        let mut watch = Watch::new(self, running, &mut program);
        let last = watch.follow();
        let (is_held, flow) = (watch.is_held, watch.ended_by);
        if !is_held {
            let result = self.conclude(running, program, last, flow);
            if running.ended() == Some(Flow::Pause) && result.is_ok() {
                self.remark_on_checkpoint(&running.checkpoint_folder());
            }
            return (result, None);
        }
        program.last.extend(last);
        program.stands = (running.trial(), running.step());
        program.home.iter().for_each(|home| self.remark_on_checkpoint(home));
        match Self::put_by(running, &program) {
            Ok(()) => (Ok(()), Some(program)),
            Err(failed) => {
                program.end();
                (Err(failed), None)
            }
        }
    }

    /// Whoever leaves nothing behind begins anew.
    fn remark_on_checkpoint(&self, folder: &Path) {
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
            self.remarks.make(Remark::NoCheckpoint, || {
                "the command leaves nothing in its checkpoint folder ({checkpoint}, LUTHIER_CHECKPOINT), so whenever it is started again or goes \
                 back it begins anew"
                    .into()
            });
        }
    }

    fn start(&self, running: &Running<'_>) -> Result<Program, Failed> {
        let launch = self.launch(running)?;
        let process = launch.start().map_err(|error| {
            let problem = error.to_string();
            let is_by_params = self.arguments.first().is_some_and(Template::depends_on_params);
            if is_by_params {
                Failure::error(format!("could not start: {problem}")).into()
            } else {
                not_started(problem)
            }
        })?;
        let folder = absolute(running.folder())?;
        let wire = self.spec.knobs.and_then(|by| Wire::new(by, process.take_stdin(), &folder));
        // A program that prints faster than reports are written down waits, as at any full pipe.
        let (sender, results) = sync_channel(1024);
        let outputs = [
            ("stdout.log", process.take_stdout().map(|pipe| Box::new(pipe) as Box<dyn io::Read + Send>)),
            ("stderr.log", process.take_stderr().map(|pipe| Box::new(pipe) as Box<dyn io::Read + Send>)),
        ];
        let (mut tails, mut readers) = (Vec::new(), Vec::new());
        for (name, pipe) in outputs {
            let Some(pipe) = pipe else { continue };
            let tail = Tail::default();
            tails.push(tail.clone());
            let capture = Capture::new(running.folder().join(name), tail, self.reading.for_output(name));
            let sender = sender.clone();
            readers.push(thread::spawn(move || capture.read(pipe, &sender)));
        }
        Ok(Program {
            process,
            results,
            tails,
            readers,
            wire,
            home: self.is_live().then(|| home(&folder)),
            begun: Instant::now(),
            has_spoken: false,
            finals: 0,
            newest: 0,
            stands: (running.trial(), running.step()),
            last: BTreeMap::new(),
        })
    }

    /// Keeps what a live command has at home as the checkpoint of its trial; of this pause first, which is then taken up again if
    /// somebody is killed in between.
    fn put_by(running: &mut Running<'_>, program: &Program) -> Result<(), Failed> {
        let Some(home) = &program.home else { return Ok(()) };
        // The command may change its files in place.
        running.keep_pause(home, Sharing::Copies)?;
        let kept = absolute(running.folder()).map(|folder| put_by(home, &folders::checkpoint_in(&folder)))?;
        kept.map_err(|error| Failure::error(format!("its checkpoint cannot be kept: {error}")).into())
    }

    fn conclude(
        &self,
        running: &mut Running<'_>,
        program: Program,
        last: BTreeMap<Arc<str>, f64>,
        ended_by: Option<EndedBy>,
    ) -> Result<(), Failed> {
        let ended = program.process.wait();
        let mut program = program;
        for reader in program.readers.drain(..) {
            // A reader that panicked has lost its output and nothing else.
            let _lost = reader.join();
        }
        let mut all = std::mem::take(&mut program.last);
        all.extend(last);
        let rest: Vec<Results> = program.results.try_iter().collect();
        let tails = program.tails.clone();
        let mut watch = Watch::new(self, running, &mut program);
        watch.ended_by = ended_by;
        all.extend(rest.into_iter().filter_map(|found| watch.pass_on(found)).flatten());
        let result = watch.conclude(&ended, all, &tails);
        if let Some(home) = program.home.take() {
            let kept = if result.is_ok() && ended_by.is_none() {
                put_by(&home, &running.checkpoint_folder())
            } else {
                Ok(())
            };
            // What is left of it only takes room.
            let _left = fs::remove_dir_all(&home);
            kept.map_err(|error| {
                Failed::from(Failure::error(format!("its checkpoint cannot be kept: {error}")))
            })?;
        }
        result
    }
}

/// A command that has been started.
struct Program {
    process: Process,
    results: Receiver<Results>,
    tails: Vec<Tail>,
    readers: Vec<thread::JoinHandle<()>>,
    /// How it hears of its knobs, if it does.
    wire: Option<Wire>,
    /// What a live command takes for its checkpoint folder.
    home: Option<PathBuf>,
    begun: Instant,
    /// Whether it has reported anything.
    has_spoken: bool,
    /// How often it has given a value for an objective without a step.
    finals: u64,
    /// The largest step it has reported.
    newest: u64,
    /// The trial that it has served last, and the step it came to.
    stands: (u32, u64),
    /// Values that it gave without a step.
    last: BTreeMap<Arc<str>, f64>,
}

impl Program {
    /// Whether a trial begins where the program stands.
    fn stands_where(&self, running: &Running<'_>) -> bool {
        let goes_on = self.stands == (running.trial(), running.step());
        goes_on || (running.parent() == Some(self.stands) && running.step() == self.stands.1)
    }

    fn hear(&mut self, step: u64, params: &Params) {
        if let Some(wire) = &mut self.wire {
            wire.say(step, params);
        }
    }

    /// Ends it, since nobody needs it any more.
    fn end(mut self) {
        self.wire = None;
        self.process.terminate();
        self.process.wait();
        for reader in self.readers.drain(..) {
            let _lost = reader.join();
        }
        if let Some(home) = &self.home {
            // What is left of it only takes room.
            let _left = fs::remove_dir_all(home);
        }
    }
}

/// Who ended the command, if it was not the command itself.
#[derive(Clone, Copy, PartialEq)]
enum EndedBy {
    /// A report that was answered with stop or pause.
    Report,
    Interrupt,
    TimeLimit,
}

/// A command while it serves a trial.
struct Watch<'a, 'b> {
    command: &'a Command,
    running: &'a mut Running<'b>,
    program: &'a mut Program,
    ended_by: Option<EndedBy>,
    /// Whether a live command waits for what comes next.
    is_held: bool,
    /// 1 for a command that counts its steps from 0, so that its n-th step is step n.
    shift: u64,
}

impl<'a, 'b> Watch<'a, 'b> {
    fn new(command: &'a Command, running: &'a mut Running<'b>, program: &'a mut Program) -> Self {
        inherit_count(running);
        let shift = u64::from(counts_from_zero(running.folder()).exists());
        Self { command, running, program, ended_by: None, is_held: false, shift }
    }

    /// Passes results on until the command has ended or is held; returns the values given without a step.
    fn follow(&mut self) -> BTreeMap<Arc<str>, f64> {
        let mut last = BTreeMap::new();
        loop {
            let found = self.program.results.recv_timeout(TICK);
            // Of a live command that ran ahead and has ended, the next trial may want the rest.
            let is_rest = found.is_ok() && self.command.is_live();
            match found {
                Ok(found) => last.extend(self.pass_on(found).into_iter().flatten()),
                Err(RecvTimeoutError::Timeout) => {}
                // A command may close its outputs and run on.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
            }
            if self.is_held {
                return last;
            }
            self.check_limits();
            if !is_rest && self.program.process.try_wait().is_some() {
                return last;
            }
        }
    }

    fn check_limits(&mut self) {
        let limit = self.command.spec.time_limit;
        if self.ended_by.is_some() {
            return;
        }
        if self.running.is_interrupted() {
            self.end(EndedBy::Interrupt);
        } else if limit.is_some_and(|limit| self.program.begun.elapsed().as_secs_f64() > limit) {
            self.end(EndedBy::TimeLimit);
        }
    }

    fn end(&mut self, by: EndedBy) {
        self.ended_by = Some(by);
        self.program.process.terminate();
    }

    /// Reports values that have a step; gives back those that have none.
    fn pass_on(&mut self, found: Results) -> Option<BTreeMap<Arc<str>, f64>> {
        let Some(step) = found.step else {
            self.program.finals += u64::from(self.command.reading.has_objective(&found));
            return Some(found.values.into_iter().collect());
        };
        if self.ended_by.is_some() {
            return None;
        }
        self.notice_zero(step);
        self.remark_on_step(step);
        match self.running.report_named(step + self.shift, found.values) {
            Flow::Continue => self.program.hear(step, self.running.params()),
            Flow::Pause if self.command.is_live() => self.is_held = true,
            // A command that was told its budget stops there by itself, and saves what it needs.
            Flow::Pause if self.command.knows_budget() && self.is_at_budget() => {}
            Flow::Pause | Flow::Stop => self.end(EndedBy::Report),
        }
        None
    }

    /// A command whose first step is 0 counts from 0 for good, also when it is resumed.
    fn notice_zero(&mut self, step: u64) {
        if !self.program.has_spoken && step == 0 && self.running.step() == 0 && self.shift == 0 {
            self.shift = 1;
            // Without the mark only a resumed command is one step off.
            let _full = fs::write(counts_from_zero(self.running.folder()), "");
        }
        self.program.has_spoken = true;
    }

    fn conclude(
        mut self,
        ended: &Ended,
        mut last: BTreeMap<Arc<str>, f64>,
        tails: &[Tail],
    ) -> Result<(), Failed> {
        let failed = |reason| Err(Failed { reason, detail: capture::detail(tails) });
        match (self.ended_by, ended.status) {
            (Some(EndedBy::Report | EndedBy::Interrupt), _) => return Ok(()),
            _ if self.running.ended() == Some(Flow::Stop) => return Ok(()),
            (Some(EndedBy::TimeLimit), _) => {
                return failed(Failure::Timeout {
                    seconds: self.command.spec.time_limit.unwrap_or_default(),
                });
            }
            _ if ended.memory_exceeded => {
                let bytes = self.command.spec.memory_limit.unwrap_or_default() * 1e6;
                return failed(Failure::Memory { bytes: bytes as u64 });
            }
            (None, Exit::Code(0)) => {}
            (None, Exit::Code(code)) => return failed(Failure::ExitCode { code }),
            (None, Exit::Signal(signal)) => return failed(Failure::Signal { signal }),
            (None, Exit::SupervisorLost) => return failed(Failure::error("its supervisor was killed")),
        }
        self.remark_on_steps();
        if let Err(problem) = self.read_result_file(&mut last) {
            return failed(Failure::error(problem));
        }
        if !last.is_empty() {
            self.running.conclude(last.into_iter().collect());
        } else if self.running.ended().is_none() && !self.program.has_spoken && !self.is_at_budget() {
            let metric = self.command.reading.first_metric();
            // What it printed instead tells more than its warnings do.
            let said = capture::detail(tails.get(..1).unwrap_or_default());
            let detail = if said.is_empty() { capture::detail(tails) } else { said };
            return Err(Failed { reason: Failure::NoResult { metric }, detail });
        }
        Ok(())
    }

    /// Steps ascend, up to the largest there is.
    fn remark_on_step(&mut self, step: u64) {
        let (remarks, trial, newest) = (&self.command.remarks, self.running.trial(), self.program.newest);
        let (max, is_first) = (self.running.max_budget(), self.running.step() == 0 && newest == 0);
        if let Some(max) = max.filter(|max| is_first && 1 < *max && step + self.shift == *max)
            && self.command.knows_budget()
            && self.running.budget().is_none()
        {
            remarks.make(Remark::OnlyReport, || {
                format!(
                    "trial {trial} reported nothing before step {max}, its largest, so stopping trials early saves nothing; \
                     with scheduler = {{ name = \"asha\", mode = \"promote\" }} they begin with a smaller {{budget}}"
                )
            });
        }
        if step < newest {
            remarks.make(Remark::StepsBack, || {
                format!("trial {trial} reported step {step} after step {newest}; steps ascend, and what counts as its last value is that of the largest step")
            });
        }
        if let Some(max) = max.filter(|max| step + self.shift > *max) {
            remarks.make(Remark::BeyondTheLargest, || {
                format!("trial {trial} reported step {step}, but the study file says that the largest is {max} (budget.max)")
            });
        }
        self.program.newest = newest.max(step);
    }

    /// A curve without steps is taken for values of which the last counts.
    fn remark_on_steps(&self) {
        let count = self.program.finals;
        if count < 2 {
            return;
        }
        let reading = &self.command.reading;
        let (trial, metric, how) = (self.running.trial(), reading.first_metric(), reading.how_to_step());
        self.command.remarks.make(Remark::NoStep, || {
            let only = if self.program.has_spoken { "" } else { " and no trial can be stopped early" };
            format!("trial {trial} printed {metric} {count} times without a whole-numbered step, so only the last of these counts{only}; {how}")
        });
    }

    /// A resumed command may find that it had already got where it was sent, or as far as it goes where nobody has said how far.
    fn is_at_budget(&self) -> bool {
        let has_end = self.running.max_budget().is_some();
        let end = if has_end { self.running.budget().or(self.running.max_budget()) } else { None };
        end.map_or(!has_end && self.running.step() > 0, |end| self.running.step() >= end)
    }

    fn read_result_file(&mut self, last: &mut BTreeMap<Arc<str>, f64>) -> Result<(), String> {
        let Some(template) = &self.command.result else { return Ok(()) };
        let folder = absolute(self.running.folder()).map_err(|failed| failed.reason.to_string())?;
        let fill = self.command.filling(self.running, &folder);
        let path = folder.join(template.fill(&fill).unwrap_or_default());
        let text = fs::read_to_string(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                format!("the command ended without writing its result file {}", path.display())
            }
            _ => format!("the result file {}: {e}", path.display()),
        })?;
        let found = capture::numbers(&text);
        let found =
            found.ok_or_else(|| format!("the result file {} is not a JSON object", path.display()))?;
        last.extend(found.into_iter().filter(|(name, _)| **name != *capture::STEP));
        Ok(())
    }
}

impl Command {
    /// `folder` is the trial's, absolute: the command may run elsewhere.
    fn filling(&self, running: &Running<'_>, folder: &Path) -> Filling {
        let end = running.budget().or(running.max_budget());
        // Without an outer cross-validation, a fold that no row is of: the remainder by 1 is never 1.
        let outer = self.spec.outer.unwrap_or(OuterFold { fold: 1, folds: 1 });
        let mut fixed = vec![
            ("step", running.step().to_string()),
            ("trial", running.trial().to_string()),
            ("replicate", running.replicate().to_string()),
            ("fold", running.fold().to_string()),
            ("folds", running.folds().to_string()),
            ("outer_fold", outer.fold.to_string()),
            ("outer_folds", outer.folds.to_string()),
            ("outer_part", self.part.name().to_owned()),
            ("seed", running.seed().to_string()),
            ("attempt", running.attempt().to_string()),
            ("params", folder.join("params.json").display().to_string()),
            ("checkpoint", folders::checkpoint_in(folder).display().to_string()),
            ("folder", folder.display().to_string()),
        ];
        fixed.extend(end.map(|budget| ("budget", budget.to_string())));
        Filling { params: running.params().clone(), fixed }
    }

    fn knows_budget(&self) -> bool {
        self.arguments.iter().any(|argument| argument.mentions("budget"))
            || self.environment.iter().any(|(_, value)| value.mentions("budget"))
    }
}

/// Where it is kept that a command counts from 0.
fn counts_from_zero(folder: &Path) -> PathBuf {
    folder.join("counts-from-zero")
}

/// A trial that goes on from another's checkpoint counts as that one did.
fn inherit_count(running: &Running<'_>) {
    if running.parent_folder().is_some_and(|parent| counts_from_zero(&parent).exists()) {
        // Without the mark its steps are one off.
        let _full = fs::write(counts_from_zero(running.folder()), "");
    }
}

/// What placeholders stand for in one trial.
struct Filling {
    params: Params,
    fixed: Vec<(&'static str, String)>,
}

impl Filling {
    /// A live command lives at its own place, and goes on to the end whatever pauses there are.
    fn live_on(&mut self, running: &Running<'_>, folder: &Path, by: KnobsBy) {
        self.fixed.retain(|(name, _)| !matches!(*name, "checkpoint" | "budget"));
        self.fixed.push(("checkpoint", home(folder).display().to_string()));
        self.fixed.push(("knobs", by.variable(folder)));
        self.fixed.extend(running.max_budget().map(|budget| ("budget", budget.to_string())));
    }

    /// The text of a placeholder; `None` where the parameter is inactive.
    fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.params.get(name) {
            return Some(value.to_string());
        }
        self.fixed.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone())
    }
}

fn absolute(folder: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(folder).map_err(|e| not_started(format!("{}: {e}", folder.display())))
}

fn not_started(problem: String) -> Failed {
    Failure::NotStarted { problem: problem.into() }.into()
}

fn write_params(path: &Path, params: &Params) -> io::Result<()> {
    let text = serde_json::to_string_pretty(params).map_err(io::Error::other)?;
    fs::write(path, text + "\n")
}

/// `units[1]` as an environment variable: `UNITS_1`.
fn variable_name(name: &str) -> String {
    let mapped: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    mapped.trim_end_matches('_').to_owned()
}

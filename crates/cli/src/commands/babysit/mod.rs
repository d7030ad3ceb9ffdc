//! `luthier babysit`: trains one model under the eyes of a person, a script or a rule, who turn its knobs on the way.

mod command;
mod keyboard;
mod screen;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use luthier::core::engine::{Done, resolve};
use luthier::core::event::Wish;
use luthier::core::scheduler::SCHEDULERS;
use luthier::core::space::{Params, Space, Value};
use luthier::core::spec::{Component, Limits, PolicySpec, Spec};
use luthier::core::steering::{RATES, standing};
use luthier::core::study::Study;
use luthier::core::trial::{Trial, TrialState};
use luthier::executor::{self, End, Options, Stop};
use luthier::log::{LogError, Options as SqliteOptions, ReplayError, SqliteLog};
use luthier::session::{Session, SessionError};
use luthier::study_file::{ObjectiveSpec, StudyFile};
use luthier_nn::objective::knob;
use luthier_nn::{NetworkSpec, Settings};

use crate::described::{Kind, check_unchanged, described, description, stored};
use crate::interrupts::{STOPPED, listen};
use crate::lineage;
use crate::opening::{
    BEST, EXTENSION, folder_of, holder, holder_is_alive, is_log, read_study_file, trials_of, with_hint,
};
use crate::page::{on_stdout, stderr_width, stdout_width};
use crate::progress::{Mode, Progress};
use crate::report;
use command::{Cue, Knobs, Line, named, parse, script};
use keyboard::{Cues, Keyboard};
use screen::{Screen, Teller};

/// What to train, and who watches.
#[derive(clap::Args, Clone)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Arguments {
    /// A study file (`.toml`, `.json`), or the log (`.luthier`) of a run to continue
    #[arg(value_name = "STUDY", default_value = "study.toml")]
    file: PathBuf,
    /// The value that a parameter or setting begins with; others begin with their defaults
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Commands that wait for a step, one a line: `at step 40: lr *0.5`
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// When the model goes back by itself, such as spike=6, patience=none, rollbacks=3, factor=0.3, or lowers its learning rate,
    /// such as plateau=10; `none`: never
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Steps between two checkpoints; 1 if not given, for a command that knows no knobs a tenth of its steps
    #[arg(long, value_name = "STEPS")]
    every: Option<u64>,
    /// Keep only so many of the newest checkpoints of each trial to go back to
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
    /// Say this to a run that goes on in another terminal, or will; then end
    #[arg(long, value_name = "COMMAND")]
    send: Vec<String>,
    /// The seed of every random choice; only for a new run
    #[arg(long)]
    seed: Option<u64>,
    /// Where the run's log is; beside the study file, as NAME.babysit.luthier, if not given
    #[arg(long, value_name = "FILE")]
    study: Option<PathBuf>,
    /// Print JSON lines as things happen
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print nothing but the result
    #[arg(long, short)]
    quiet: bool,
}

const EXAMPLE: &str = "\
While the model trains, type commands: `lr 0.01`, `lr *0.5`, `dropout 0.2`, `pause`, `go`, `back 12`, \
`branch 3@20`, `tree`, `knobs`, `stop`, `help`. A knob takes effect with the next step. Everything is in \
the run's log: the same command goes on after a kill, `luthier replay` trains the result again, and \
`luthier show LOG --lineage` prints what became of what.

Example: luthier babysit study.toml --set lr=0.1 --script turns.txt";

/// Trains it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let log = log_of(arguments)?;
    if !arguments.send.is_empty() {
        return send(&log, &arguments.send);
    }
    let cues = match &arguments.script {
        Some(path) => script(
            &fs::read_to_string(path)
                .with_context(|| format!("cannot read the script {}", path.display()))?,
        )?,
        None => Vec::new(),
    };
    let Opened { session, kind, knobs, created } = open(arguments, &log)?;
    let knobs = Arc::new(knobs);
    let screen = Screen::new(arguments.quiet || arguments.json);
    greet(&session, created, &kind, arguments, &screen);
    let cues = Cues::new(cues, furthest(session.study()));
    let session = session.prompted_by(prompter(cues.clone(), knobs.clone(), screen.clone()));
    watch(session, &kind, knobs, &screen, cues, &log, arguments)
}

/// Where the log of the run lies.
fn log_of(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    if is_log(&arguments.file) {
        return Ok(arguments.file.clone());
    }
    if let Some(log) = &arguments.study {
        return Ok(log.clone());
    }
    let name = read_study_file(&arguments.file)?.spec.name;
    Ok(arguments.file.with_file_name(format!("{name}.babysit.{EXTENSION}")))
}

struct Opened {
    session: Session,
    kind: Kind,
    knobs: Knobs,
    created: bool,
}

/// The run that is there, or a new one.
fn open(arguments: &Arguments, log: &Path) -> anyhow::Result<Opened> {
    let file = if is_log(&arguments.file) {
        None
    } else {
        Some(alone(read_study_file(&arguments.file)?, arguments)?)
    };
    let options = SqliteOptions { holder: holder(), ..SqliteOptions::default() };
    loop {
        let opened = SqliteLog::open(log, options.clone()).map(|log| Session::open(Box::new(log)));
        let file = match (opened, &file) {
            (Ok(Ok(session)), _) => return go_on(session, file.as_ref(), log, arguments),
            (
                Err(LogError::Missing { .. }) | Ok(Err(SessionError::Replay(ReplayError::Empty { .. }))),
                Some(file),
            ) => file,
            (Ok(Err(error)), _) => return Err(error.into()),
            (Err(error), _) => return Err(with_hint(error, log)),
        };
        if let Some(opened) = begin(file, log, options.clone(), arguments)? {
            return Ok(opened);
        }
    }
}

/// The study file of one training: no replicates, nothing trained in its company, `--set` in its settings.
fn alone(mut file: StudyFile, arguments: &Arguments) -> anyhow::Result<StudyFile> {
    if file.spec.replicates > 1 {
        bail!(
            "{} asks for {} replicates of each trial, but one model is watched at a time; remove `replicates`",
            arguments.file.display(),
            file.spec.replicates
        );
    }
    if let ObjectiveSpec::Network(table) = &mut file.objective {
        if table.contains_key("quality") {
            bail!(
                "[network.quality] trains each trial several times, but one model is watched at a time; remove it"
            );
        }
        table.insert("population".into(), "off".into());
    }
    Ok(file)
}

fn settings_of(objective: &ObjectiveSpec) -> anyhow::Result<Option<Settings>> {
    match objective {
        ObjectiveSpec::Command(_) => Ok(None),
        ObjectiveSpec::Network(table) => {
            let network: NetworkSpec =
                serde_json::from_value(serde_json::Value::Object(table.clone())).context("[network]")?;
            Ok(Some(network.settings))
        }
    }
}

fn go_on(
    session: Session,
    file: Option<&StudyFile>,
    log: &Path,
    arguments: &Arguments,
) -> anyhow::Result<Opened> {
    let session = session.with_liveness(holder_is_alive);
    if !luthier::core::steering::is_single(session.study()) {
        bail!("{} is no run of one model that is watched; name another log with --study", log.display());
    }
    let study = session.study();
    let (objective, base) = stored(study, log)?;
    let spec = Spec { space: study.space().clone(), ..study.spec().clone() };
    let kind = Kind::new(&objective, None, &spec, &base, 1)?;
    if let Some(file) = file {
        let mut file = file.clone();
        with_set(&mut file, &parse_set(&arguments.set)?)?;
        check_unchanged(described(study), &file.objective, &kind)?;
    }
    let knobs = Knobs { network: settings_of(&objective)? };
    let mut session = session;
    enqueue_first(&mut session, &Params::new())?;
    Ok(Opened { session, kind, knobs, created: false })
}

/// A new run, unless another process begins it at this moment.
fn begin(
    file: &StudyFile,
    log: &Path,
    options: SqliteOptions,
    arguments: &Arguments,
) -> anyhow::Result<Option<Opened>> {
    let mut file = file.clone();
    let set = parse_set(&arguments.set)?;
    let first = with_set(&mut file, &set)?;
    let network = settings_of(&file.objective)?;
    let mut spec = Spec { seed: arguments.seed.unwrap_or(file.spec.seed), ..file.spec.clone() };
    if let Some(settings) = &network {
        spec.space = with_rate(&spec.space, settings)?;
    }
    spec.limits = Limits { trials: Some(1), ..Limits::default() };
    // Whoever watches says when it has begun often enough.
    spec.max_attempts = u32::MAX;
    spec.policy = PolicySpec {
        sampler: Component::named("manual"),
        scheduler: scheduler(&file, &spec, arguments)?,
        ..spec.policy
    };
    resolve(&spec)?;
    let params = first_params(&spec.space, &first)?;
    let kind = Kind::new(&file.objective, Some(&file), &spec, &folder_of(&arguments.file), 1)?;
    spec.objective = description(&file, &arguments.file, &kind)?;
    let store = match SqliteLog::create(log, options.clone()) {
        Err(LogError::Exists { .. }) => SqliteLog::open(log, options)?,
        created => created?,
    };
    let mut session = match Session::create(Box::new(store), spec) {
        Err(SessionError::Log(LogError::Conflict { .. })) => return Ok(None),
        created => created?.with_liveness(holder_is_alive),
    };
    enqueue_first(&mut session, &params)?;
    Ok(Some(Opened { session, kind, knobs: Knobs { network }, created: true }))
}

/// The model to begin with, unless it is there already.
fn enqueue_first(session: &mut Session, params: &Params) -> anyhow::Result<()> {
    let is_there = |study: &Study| !study.trials().is_empty() || !study.queue().is_empty();
    if is_there(session.study()) {
        return Ok(());
    }
    let params = if params.is_empty() {
        session.study().space().decode(&session.study().space().default_point())
    } else {
        params.clone()
    };
    session.turn(|turn| {
        if is_there(turn.study()) { Ok(()) } else { turn.enqueue(Wish { params, within: Vec::new() }) }
    })?;
    Ok(())
}

fn parse_set(texts: &[String]) -> anyhow::Result<Vec<(String, Value)>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), Value::parse(value)))
        }
        Some(_) | None => bail!("--set {text:?} is not NAME=VALUE"),
    };
    texts.iter().map(pair).collect()
}

/// Puts values for settings that are no parameters into the network's table; returns those for parameters.
fn with_set(file: &mut StudyFile, set: &[(String, Value)]) -> anyhow::Result<Params> {
    let mut params = Params::new();
    for (name, value) in set {
        let space = &file.spec.space;
        if let Some(index) = named(space, name) {
            params.set(space.parameters()[index].name.clone(), value.clone());
        } else if let ObjectiveSpec::Network(table) = &mut file.objective {
            let full = Settings::full_name(name)?;
            let settings = table.entry("settings").or_insert_with(|| serde_json::json!({}));
            settings[full] = serde_json::to_value(value)?;
        } else {
            let names: Vec<&str> = space.parameters().iter().map(|p| &*p.name).collect();
            bail!("--set {name}: there is no such parameter; there are {}", names.join(", "));
        }
    }
    Ok(params)
}

/// The learning rate is always a knob, since it is what going back lowers.
fn with_rate(space: &Space, settings: &Settings) -> anyhow::Result<Space> {
    if named(space, RATES[0]).is_some() {
        return Ok(space.clone());
    }
    let edit = luthier::core::event::SpaceEdit::Add(knob(settings, RATES[0])?);
    Ok(luthier::core::study::edited(space, &edit)?)
}

/// The scheduler that watches.
const NAME: &str = "babysit";

/// Rules are called as the scheduler's options are.
fn check_rule(rule: &str) -> anyhow::Result<()> {
    let options = SCHEDULERS.iter().filter(|entry| *entry.name == *NAME).flat_map(|entry| entry.options);
    let names: Vec<&str> = options.map(|option| option.name).collect();
    if !names.contains(&rule) {
        bail!("--rule {rule}: there is no such rule; there are {}, and none for never", names.join(", "));
    }
    Ok(())
}

/// The scheduler that watches, with the rules of the study file and those of the command line over them.
fn scheduler(file: &StudyFile, spec: &Spec, arguments: &Arguments) -> anyhow::Result<Component> {
    let written = &file.spec.policy.scheduler;
    let mut scheduler = if *written.name == *NAME { written.clone() } else { Component::named(NAME) };
    for rule in &arguments.rule {
        with_rule(&mut scheduler, rule)?;
    }
    let usual = || usual_interval(&file.objective, spec.max_budget);
    let interval = arguments
        .every
        .or_else(|| if scheduler.options.contains_key("interval") { None } else { Some(usual()) });
    if let Some(interval) = interval {
        scheduler.options.insert("interval".into(), interval.into());
    }
    // A program that is started again has gone on by the time it is told to stop.
    let is_told = matches!(&file.objective, ObjectiveSpec::Command(command) if command.knobs.is_none());
    if is_told && !scheduler.options.contains_key("at_once") {
        scheduler.options.insert("at_once".into(), false.into());
    }
    if let Some(keep) = arguments.keep {
        scheduler.options.insert("keep".into(), keep.into());
    }
    Ok(scheduler)
}

/// Puts a rule of the command line among the scheduler's options.
fn with_rule(scheduler: &mut Component, rule: &str) -> anyhow::Result<()> {
    if rule == "none" {
        for (name, value) in [
            ("spike", serde_json::Value::Null),
            ("patience", serde_json::Value::Null),
            ("rollbacks", 0.into()),
            ("plateau", serde_json::Value::Null),
        ] {
            scheduler.options.insert(name.into(), value);
        }
        return Ok(());
    }
    let (name, value) = rule
        .split_once('=')
        .with_context(|| format!("--rule {rule:?} is not NAME=VALUE; try spike=6 or none"))?;
    check_rule(name)?;
    let value = match Value::parse(value) {
        Value::Text(text) if &*text == "none" => serde_json::Value::Null,
        value => serde_json::to_value(value)?,
    };
    scheduler.options.insert(name.into(), value);
    Ok(())
}

/// A command that is started again after each pause makes fewer.
fn usual_interval(objective: &ObjectiveSpec, max: Option<u64>) -> u64 {
    match objective {
        ObjectiveSpec::Network(_) => 1,
        ObjectiveSpec::Command(command) if command.knobs.is_some() => 1,
        ObjectiveSpec::Command(_) => max.map_or(1, |max| (max / 10).max(1)),
    }
}

/// The params to begin with: those given, else defaults, else the middle of each range.
fn first_params(space: &Space, given: &Params) -> anyhow::Result<Params> {
    for (name, value) in given.iter() {
        if let Some(index) = space.find(name) {
            space.encode_one(index, value)?;
        }
    }
    let usual = space.default_point();
    let point = space.complete(|k| {
        let parameter = &space.parameters()[k];
        let given = given.get(&parameter.name).and_then(|value| space.encode_one(k, value).ok());
        given.or_else(|| usual.get(k)).unwrap_or_else(|| parameter.distribution.from_unit(0.5))
    });
    let params = space.decode(&point);
    if let Some((name, _)) = given.iter().find(|(name, _)| params.get(name).is_none()) {
        bail!("--set {name}: its condition does not hold with the other values");
    }
    if let Some(constraint) = space.broken_constraint(&point.0) {
        bail!("{} break constraint {}; choose others with --set", lineage::words(&params), constraint + 1);
    }
    Ok(params)
}

/// Commands that wait for a step are carried out when it is first reached, right before its report.
fn prompter(cues: Cues, knobs: Arc<Knobs>, screen: Screen) -> luthier::session::Prompter {
    Box::new(move |turn, _, step| {
        for Cue { step: at, command } in &cues.due(furthest(turn.study()), step) {
            let said = knobs.carry_out(turn, command)?;
            screen.say_later(format!("at step {at}: {said}"));
        }
        Ok(())
    })
}

/// The furthest step that any trial has come to.
fn furthest(study: &Study) -> u64 {
    study.trials().iter().map(Trial::step).max().unwrap_or(0)
}

/// Says which lines waited for a step that has not come.
fn tell_in_vain(cues: &Cues, end: &End, screen: &Screen) {
    let (steps, reached) = cues.in_vain();
    let why = if matches!(end, End::Stopped) { "the run was interrupted" } else { "the run ended" };
    for step in steps {
        screen.say(format!("at step {step}: not done: {why} at {reached}"));
    }
}

fn greet(session: &Session, created: bool, kind: &Kind, arguments: &Arguments, screen: &Screen) {
    let study = session.study();
    let what = if created { "a new run" } else { "going on with" };
    screen.say(format!("{what} {} ({})", report::safe(&study.spec().name), session.place()));
    let guessed = guessed(study, arguments);
    if created && !guessed.is_empty() {
        screen.say(format!("begins with the middle of its range: {guessed}; choose with --set NAME=VALUE"));
    }
    for note in kind.notes() {
        screen.say(note);
    }
    if !created && !study.trials().is_empty() {
        for unused in unused(study, arguments).into_iter().chain(unheeded(study, arguments)) {
            screen.say(unused);
        }
        screen.say(lineage::tree(study, stderr_width()));
    }
    let has_rate = RATES.iter().any(|name| study.space().find(name).is_some());
    let options = &study.spec().policy.scheduler.options;
    if !has_rate && options.get("lower").is_none_or(serde_json::Value::is_null) {
        screen.say("no parameter is called learning_rate, lr or eta, so going back lowers nothing; name one with --rule lower=NAME");
    }
}

/// What `--set` says to a run that has begun with something else.
fn unused(study: &Study, arguments: &Arguments) -> Vec<String> {
    let first = study.trials().first().map(|trial| study.params(trial)).unwrap_or_default();
    let told = |(given, value): (String, Value)| {
        let name = &*study.space().parameters()[named(study.space(), &given)?].name;
        let began = first.get(name).filter(|began| match (began.as_f64(), value.as_f64()) {
            (Some(began), Some(value)) => began.to_bits() != value.to_bits(),
            _ => began.to_string() != value.to_string(),
        })?;
        Some(format!(
            "--set {} is not used: the run began with {}; `--send \"{name} {value}\"` turns the knob",
            report::safe(&given),
            report::safe(&began.to_string())
        ))
    };
    parse_set(&arguments.set).unwrap_or_default().into_iter().filter_map(told).collect()
}

/// What `--seed`, `--every`, `--keep` and `--rule` say to a run that has begun otherwise: they are settled when it begins.
fn unheeded(study: &Study, arguments: &Arguments) -> Vec<String> {
    let spec = study.spec();
    let began = |name: &str| spec.policy.scheduler.options.get(name).filter(|value| !value.is_null());
    let told = |flag: &str, value: Option<u64>, began: Option<u64>| {
        let value = value.filter(|value| Some(*value) != began)?;
        let began = began.map_or_else(|| "none".into(), |began| began.to_string());
        Some(format!("--{flag} {value} is not used: the run began with {began}"))
    };
    let option = |name: &str| began(name).and_then(serde_json::Value::as_u64);
    let mut all: Vec<String> = [
        told("seed", arguments.seed, Some(spec.seed)),
        told("every", arguments.every, option("interval")),
        told("keep", arguments.keep, option("keep")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let rules: Vec<&str> =
        arguments.rule.iter().map(String::as_str).filter(|rule| !holds(study, rule)).collect();
    if !rules.is_empty() {
        all.push(format!(
            "--rule {} is not used: the run keeps the rules that it began with",
            report::safe(&rules.join(", "))
        ));
    }
    all
}

/// Whether a run has this rule.
fn holds(study: &Study, rule: &str) -> bool {
    let mut scheduler = study.spec().policy.scheduler.clone();
    let before = scheduler.options.clone();
    with_rule(&mut scheduler, rule).is_ok()
        && scheduler.options.iter().all(|(name, value)| match (before.get(name), value) {
            (Some(before), value) if before.is_number() => before.as_f64() == value.as_f64(),
            (Some(before), value) => before == value,
            (None, value) => value.is_null(),
        })
}

/// Parameters whose first values nobody has chosen.
fn guessed(study: &Study, arguments: &Arguments) -> String {
    let set = parse_set(&arguments.set).unwrap_or_default();
    let space = study.space();
    let is_set = |index: usize| set.iter().any(|(given, _)| named(space, given) == Some(index));
    let Some(wish) = study.queue().front() else { return String::new() };
    let mut open = Params::new();
    for (name, value) in wish.params.iter() {
        let index = space.find(name).filter(|index| space.parameters()[*index].default.is_none());
        if index.is_some_and(|index| !is_set(index)) {
            open.set(name, value.clone());
        }
    }
    lineage::words(&open)
}

/// A session that writes wishes down for whoever trains.
fn steerer(log: &Path) -> anyhow::Result<Session> {
    let opened = SqliteLog::open(log, SqliteOptions { holder: holder(), ..SqliteOptions::default() });
    Ok(Session::open(Box::new(opened.map_err(|error| with_hint(error, log))?))?)
}

/// Says something to a run of another process.
fn send(log: &Path, lines: &[String]) -> anyhow::Result<ExitCode> {
    let mut session = steerer(log)?;
    let (objective, _) = stored(session.study(), log)?;
    let knobs = Knobs { network: settings_of(&objective)? };
    let mut is_done = true;
    for line in lines {
        match parse(line)? {
            None => {}
            Some(Line::Later(_)) => {
                bail!("{line:?} has to wait for its step; write it into a script, or to the run itself")
            }
            Some(Line::Now(command)) => {
                let said = session.turn(|turn| knobs.carry_out(turn, &command))?;
                is_done &= !said.starts_with("not done");
                println!("{said}");
            }
        }
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Trains, and tells what happens.
fn watch(
    mut session: Session,
    kind: &Kind,
    knobs: Arc<Knobs>,
    screen: &Screen,
    cues: Cues,
    log: &Path,
    arguments: &Arguments,
) -> anyhow::Result<ExitCode> {
    let stop = Stop::default();
    listen(&stop)?;
    let folder = trials_of(log);
    let options = Options { stop: stop.clone(), ..Options::new(&folder) };
    let (heard, hearing) = channel();
    let knobs_by = match stored(session.study(), log)?.0 {
        ObjectiveSpec::Command(spec) => spec.knobs,
        ObjectiveSpec::Network(_) => None,
    };
    let mut teller = Teller::new(screen.clone(), session.study(), knobs.clone(), knobs_by);
    let keyboard = Keyboard::listen(log.to_owned(), knobs, screen.clone(), cues.clone(), heard);
    let mut progress = Progress::new(
        if arguments.json { Mode::Machines } else { Mode::Quiet },
        session.study(),
        stop.clone(),
    );
    let end = loop {
        let end = executor::run(&mut session, kind.objective(), &options, &mut |study, moment| {
            progress.update(study, moment);
            teller.tell(study, moment);
            kind.remarks().iter().for_each(|remark| screen.say(report::safe(remark)));
        });
        match end {
            Ok(End::Done(_)) if wants_more(&mut session, screen, &hearing, &stop)? => {}
            end => break end,
        }
    };
    keyboard.finish();
    progress.finish();
    let end = end?;
    tell_in_vain(&cues, &end, screen);
    finish(&mut session, kind, &end, &folder, log, arguments)
}

/// A model that fell over may be taken back by somebody who sits before a terminal.
fn wants_more(
    session: &mut Session,
    screen: &Screen,
    hearing: &Receiver<()>,
    stop: &Stop,
) -> anyhow::Result<bool> {
    use std::io::IsTerminal;
    let has_wish =
        |study: &Study| standing(study).is_some_and(|standing| standing.back.is_some() && !standing.is_over);
    let fell = |study: &Study| {
        study
            .trials()
            .last()
            .is_some_and(|trial| matches!(trial.state(), TrialState::Failed | TrialState::Pruned))
    };
    session.refresh()?;
    if has_wish(session.study()) {
        return Ok(true);
    }
    if !fell(session.study()) || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let study = session.study();
    let why = study.trials().last().map(|last| screen::reason(study, last)).unwrap_or_default();
    screen
        .say(format!("the run has ended: {why}\n`back` and `branch` go on from a checkpoint, Ctrl-C leaves"));
    while !stop.is_asked() {
        let _silence = hearing.recv_timeout(Duration::from_millis(200));
        session.refresh()?;
        if has_wish(session.study()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a program that failed printed at its end, and what to do about it.
fn said(study: &Study, trial: &Trial) -> String {
    // The first line is why it failed.
    report::failure_block(study, trial).lines().skip(1).map(|line| format!("{line}\n")).collect()
}

/// Says what came of it, on standard output.
fn finish(
    session: &mut Session,
    kind: &Kind,
    end: &End,
    folder: &Path,
    log: &Path,
    arguments: &Arguments,
) -> anyhow::Result<ExitCode> {
    session.refresh()?;
    let study = session.study();
    let mut result = report::study_json(study, &session.place());
    let mut text = String::new();
    let mut is_good = true;
    if let Some(best) = study.incumbent().filter(|_| !matches!(end, End::Stopped)) {
        text.push_str(&report::best_block(study, best));
        if let Kind::Network(network) = kind {
            match network.save_best(study, folder, &folder.join(BEST), true) {
                Ok(winner) => {
                    result["held_out"] = serde_json::to_value(&winner.held_out)?;
                    result["model"] = winner.model.as_ref().map(|model| model.display().to_string()).into();
                    text.push_str(&report::winner_block(&winner));
                }
                Err(error) => {
                    is_good = false;
                    text.push_str(&format!("model  cannot be saved: {}\n", report::safe(&error.to_string())));
                }
            }
        }
    }
    text.push_str(&lineage::tree(study, stdout_width()));
    let shown = log.display();
    if let Some((trial, step, value)) =
        lineage::better_elsewhere(study).filter(|_| !matches!(end, End::Stopped))
    {
        let (metric, unit) = (&study.metrics().objectives[0].name, &study.metrics().step);
        text.push_str(&format!(
            "better on another line: trial {trial} had {} {} at {} {step}; to go on from there: luthier babysit {shown} --send \"branch {trial}@{step}\", then luthier babysit {shown}\n",
            report::safe(metric),
            report::number(value),
            report::safe(unit)
        ));
    }
    text.push_str(&format!("run    {shown}\n"));
    let last = study.trials().last();
    let state = last.map(Trial::state);
    text.push_str(&match (end, state) {
        (End::Stopped, _) if standing(study).is_some_and(|standing| standing.is_paused) => {
            format!("interrupted while paused; to go on: luthier babysit {shown} --send go, then luthier babysit {shown}\n")
        }
        (End::Stopped, _) => format!("interrupted; to go on: luthier babysit {shown}\n"),
        (End::NotStarted { .. }, _) => {
            is_good = false;
            format!("{}\nto go on: luthier babysit {shown}\n", report::told_end(end))
        }
        (End::Done(Done::Failures(_)) | End::Limit, _) | (_, Some(TrialState::Failed | TrialState::Pruned)) => {
            is_good = false;
            let why = last.map(|last| screen::reason(study, last)).unwrap_or_default();
            let said = last.map(|last| said(study, last)).unwrap_or_default();
            format!("ended: {why}\n{said}to go on from a checkpoint: luthier babysit {shown} --send back, then luthier babysit {shown}\n")
        }
        _ => format!("to train it again along its schedule: luthier replay {shown}\n"),
    });
    if arguments.json {
        result["event"] = "result".into();
        println!("{result}");
    } else {
        print!("{}", on_stdout(&text));
    }
    Ok(match end {
        End::Stopped => ExitCode::from(STOPPED),
        _ if is_good => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

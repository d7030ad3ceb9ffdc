//! Study files: what to tune, how, and with what, in TOML or JSON. Text in, specification out; `docs/guide/study-files.md`
//! describes every key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use luthier_core::metric::{CurveValue, Direction, Metric, Metrics};
use luthier_core::space::file::{ConstraintForm, FileError, Format, ParameterForm, SpaceFile, Table, parse};
use luthier_core::spec::{Component, Design, Limits, POLICY_VERSION, PolicySpec, Spec};
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::objective::command::{CommandError, CommandSpec, OuterFold};

/// Failed trials in a row after which a study stops, unless its file says otherwise: a broken command is no search.
pub const FAILURES: u64 = 10;

/// What is under study, as a study file says it and a log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveSpec {
    /// A program.
    Command(CommandSpec),
    /// A network; read by the network trainer.
    Network(serde_json::Map<String, serde_json::Value>),
}

/// A study file that has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyFile {
    /// The study's specification, with the policy as written, not yet resolved.
    pub spec: Spec,
    /// What is under study.
    pub objective: ObjectiveSpec,
    text: Arc<str>,
    format: Format,
    shown: String,
}

/// The keys of a study file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: Option<String>,
    #[serde(default)]
    seed: u64,
    trials: Option<u64>,
    #[serde(default)]
    limits: Limits,
    metric: Option<MetricForm>,
    #[serde(default)]
    metrics: Vec<MetricForm>,
    #[serde(default)]
    feasible: Vec<Arc<str>>,
    budget: Option<BudgetForm>,
    #[serde(default)]
    replicates: Replicates,
    #[serde(default = "three")]
    max_attempts: u32,
    #[serde(default)]
    policy: PolicyForm,
    command: Option<CommandSpec>,
    network: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    params: Table<ParameterForm>,
    #[serde(default)]
    constraints: Vec<ConstraintForm>,
}

/// How often each trial is run: `5`, or `{ folds = 5, seeds = 2, confirm = 1 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Replicates {
    /// So many times; nothing tells the replicates apart but their number.
    Number(u16),
    /// Fold by fold and seed by seed; see [`Design`].
    Design {
        /// Folds; 1 if not given.
        folds: Option<u16>,
        /// Seeds; 1 if not given.
        seeds: Option<u16>,
        /// Seeds by which the best are measured again; if not given, 1 with the scheduler `race`, else none.
        confirm: Option<u16>,
    },
}

impl Default for Replicates {
    fn default() -> Self {
        Self::Number(1)
    }
}

impl<'de> Deserialize<'de> for Replicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            folds: Option<u16>,
            seeds: Option<u16>,
            confirm: Option<u16>,
        }
        struct FormVisitor;
        impl<'de> Visitor<'de> for FormVisitor {
            type Value = Replicates;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a table with folds, seeds and confirm")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Replicates, E> {
                let number = u16::try_from(number);
                number.map(Replicates::Number).map_err(|_| E::custom("replicates must be 1 … 65,535"))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Replicates, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Replicates, A::Error> {
                let Keys { folds, seeds, confirm } =
                    Keys::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Replicates::Design { folds, seeds, confirm })
            }
        }
        deserializer.deserialize_any(FormVisitor)
    }
}

impl Replicates {
    /// The number of replicates, and what tells them apart. A race measures its best trials again unless it is told not to.
    ///
    /// # Errors
    /// A sentence for the user, where the numbers make no sense.
    pub fn read(self, scheduler: &Component) -> Result<(u16, Option<Design>), String> {
        match self {
            Self::Number(0) => Err("replicates must be at least 1".into()),
            Self::Number(number) => Ok((number, None)),
            Self::Design { folds, seeds, confirm } => {
                let usual = u16::from(*scheduler.name == *RACE);
                let (folds, seeds) = (folds.unwrap_or(1), seeds.unwrap_or(1));
                let design = Design { folds, seeds, confirm: confirm.unwrap_or(usual) };
                design.check()?;
                if design.confirm > 0 && usual == 0 {
                    return Err(format!(
                        "confirm = {}, but only the scheduler {RACE:?} measures trials again; leave confirm out, or take that scheduler",
                        design.confirm
                    ));
                }
                Ok((design.replicates(), Some(design)))
            }
        }
    }
}

/// The scheduler that gives each trial as many replicates as it deserves.
const RACE: &str = "race";

fn three() -> u32 {
    3
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricForm {
    name: Arc<str>,
    #[serde(default)]
    direction: Direction,
    curve: Option<CurveValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetForm {
    max: Option<u64>,
    unit: Option<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyForm {
    sampler: Option<ComponentForm>,
    scheduler: Option<ComponentForm>,
}

/// `"tpe"`, or `{ name = "tpe", gamma = 0.2 }`.
struct ComponentForm(Component);

impl<'de> Deserialize<'de> for ComponentForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = serde_json::Value::deserialize(deserializer)?;
        Component::from_written(written).map(Self).map_err(de::Error::custom)
    }
}

/// The policy of a study that names none, by its largest step, whether trials resume, and its replicates: that of [`default_policy`], which becomes the
/// pruner of a race where there is one metric, and folds or seeds.
pub fn default_policy_with(
    max_budget: Option<u64>,
    resumes: bool,
    replicates: Replicates,
    metrics: &Metrics,
) -> PolicySpec {
    let races = matches!(replicates, Replicates::Design { .. }) && metrics.objectives.len() == 1;
    // A race holds parts of trials back itself, so its pruner pauses none.
    let PolicySpec { version, sampler, scheduler } = default_policy(max_budget, resumes && !races);
    let scheduler =
        if races { Component::named(RACE).with("pruner", scheduler.into_table()) } else { scheduler };
    PolicySpec { version, sampler, scheduler }
}

/// The policy of a study that names none: `auto`, with ASHA where the largest step is known and leaves room for two rungs,
/// else the median rule (it never stops a trial that reports no steps).
///
/// The first rung is at a 27th of the largest step, rounded up. With an objective that `resumes` from its checkpoints, trials
/// are promoted, so that only the best of the first three go on; else those not among the best are stopped.
pub fn default_policy(max_budget: Option<u64>, resumes: bool) -> PolicySpec {
    let mode = if resumes { "promote" } else { "stop" };
    let scheduler = match max_budget {
        Some(max) if max >= 3 => {
            Component::named("asha").with("mode", mode).with("eta", 3).with("min_budget", max.div_ceil(27))
        }
        Some(_) | None => Component::named("median"),
    };
    PolicySpec { version: POLICY_VERSION, sampler: Component::named("auto"), scheduler }
}

impl StudyFile {
    /// Reads the text of a study file; `path` gives the format, the default name, and the name in messages.
    pub fn read(text: &str, path: &Path) -> Result<Self, FileError> {
        Self::read_in(text, path, None)
    }

    /// The same where a network that does not say otherwise is trained for `epochs` epochs.
    pub fn read_with_epochs(text: &str, path: &Path, epochs: u64) -> Result<Self, FileError> {
        Self::read_in(text, path, Some(epochs))
    }

    fn read_in(text: &str, path: &Path, epochs: Option<u64>) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let format = Format::of_name(&shown);
        let stem =
            path.file_stem().map_or_else(|| "study".into(), |stem| stem.to_string_lossy().into_owned());
        Self::read_named(text, format, &stem, &shown, epochs).map_err(|error| error.in_file(shown))
    }

    fn read_named(
        text: &str,
        format: Format,
        stem: &str,
        shown: &str,
        default_epochs: Option<u64>,
    ) -> Result<Self, FileError> {
        let at = |path: &[&str], message: &str| FileError::at(text, format, path, message);
        let mut form: Form = parse(text, format)?;
        let mut objective = match (form.command.take(), form.network.take()) {
            (Some(command), None) => ObjectiveSpec::Command(command),
            (None, Some(network)) => ObjectiveSpec::Network(network),
            (Some(_), Some(_)) => {
                return Err(at(&["network"], "a study has either [command] or [network], not both"));
            }
            (None, None) => {
                return Err(at(
                    &[],
                    "there is no [command] to run and no [network] to train; `luthier init` writes an example",
                ));
            }
        };
        if let ObjectiveSpec::Network(network) = &mut objective {
            let said = form.budget.as_ref().and_then(|budget| budget.unit.as_deref());
            set_unit(network, said).map_err(|message| at(&["budget", "unit"], &message))?;
        }
        if form.params.0.is_empty() {
            return Err(at(
                &["params"],
                "there is no parameter to tune; add a table such as [params.learning_rate]",
            ));
        }
        let metrics = metrics(&mut form, &objective).map_err(|message| at(&["metric"], &message))?;
        if form.trials.is_some() && form.limits.trials.is_some() {
            return Err(at(
                &["limits", "trials"],
                "trials is given twice; keep one of trials and limits.trials",
            ));
        }
        let trials = form.trials.or(form.limits.trials);
        let failures = form.limits.failures.or(Some(FAILURES));
        let limits = Limits { trials, failures, ..form.limits };
        limits.check().map_err(|message| at(&["limits", "converged"], &message))?;
        let max_budget = form
            .budget
            .as_ref()
            .and_then(|budget| budget.max)
            .or_else(|| largest_step(&form, &objective, default_epochs));
        if max_budget == Some(0) {
            return Err(at(&["budget", "max"], "the largest step must be at least 1"));
        }
        let defaults = match &objective {
            // Each part of the rows is a training of its own: trials are judged between them, also where a race would judge folds.
            ObjectiveSpec::Network(network) if unit_of(network) == PERCENT => {
                default_policy(max_budget, true)
            }
            _ => default_policy_with(max_budget, resumes(&objective), form.replicates, &metrics),
        };
        let policy = PolicySpec {
            version: POLICY_VERSION,
            sampler: form.policy.sampler.map_or(defaults.sampler, |form| form.0),
            scheduler: form.policy.scheduler.map_or(defaults.scheduler, |form| form.0),
        };
        let replicates = form.replicates.read(&policy.scheduler);
        let (replicates, design) = replicates.map_err(|message| at(&["replicates"], &message))?;
        let space = SpaceFile { params: form.params, constraints: form.constraints };
        let space = space.into_space().map_err(|misplaced| misplaced.locate(text, format))?;
        let name = form.name.unwrap_or_else(|| stem.to_owned());
        if name.is_empty() || name.contains(['/', '\\', '\0']) {
            return Err(at(
                &["name"],
                "a study's name becomes a file name; it may not be empty or hold a slash",
            ));
        }
        let spec = Spec {
            seed: form.seed,
            policy,
            limits,
            max_budget,
            replicates,
            design,
            max_attempts: form.max_attempts.max(1),
            ..Spec::new(&name, space, metrics)
        };
        luthier_core::engine::resolve(&spec).map_err(|e| at(&["policy", e.kind()], &e.to_string()))?;
        Ok(Self { spec, objective, text: text.into(), format, shown: shown.to_owned() })
    }

    /// The study of one outer fold, whose rows no trial sees: the same with the fold written into its objective, and another seed.
    ///
    /// # Errors
    /// A command that does not ask which fold that is and what it is to score on, or a network's data without a table.
    pub fn in_outer_fold(mut self, outer: OuterFold) -> Result<Self, FileError> {
        let needed = ["{outer_fold}", "{outer_part}"];
        match &mut self.objective {
            ObjectiveSpec::Command(command) => {
                if let Some(missing) = needed.iter().find(|word| !command.mentions(word)) {
                    let problem = format!(
                        "nested cross-validation needs a command that leaves out the rows of {{outer_fold}} of {{outer_folds}}, and scores on \
                         them, trained on all others, where {{outer_part}} is \"test\"; {missing} is not among its words"
                    );
                    return Err(self.error_at(&["command", "run"], &problem));
                }
                command.outer = Some(outer);
            }
            ObjectiveSpec::Network(network) => {
                let data = network.get_mut("data").and_then(serde_json::Value::as_object_mut);
                let Some(data) = data else {
                    return Err(
                        self.error_at(&["network"], "[network] has no table `data` to take outer folds of")
                    );
                };
                let fold = serde_json::json!({ "fold": outer.fold, "folds": outer.folds });
                data.insert("outer".into(), fold);
            }
        }
        self.spec.seed = self.spec.seed.wrapping_add(u64::from(outer.fold));
        Ok(self)
    }

    /// Reads the network's table, which is kept unread here.
    ///
    /// # Errors
    /// The first thing in it that does not fit, with its line and its key.
    pub fn network_as<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        #[derive(Deserialize)]
        struct Document<T> {
            network: T,
        }
        let document: Result<Document<T>, FileError> = parse(&self.text, self.format);
        document.map(|document| document.network).map_err(|error| error.in_file(&self.shown))
    }

    /// An error of the command, pointing to the file's line.
    pub fn locate(&self, error: &CommandError) -> FileError {
        let entry = match &self.objective {
            ObjectiveSpec::Command(spec) => error.entry(spec),
            ObjectiveSpec::Network(_) => Vec::new(),
        };
        let path: Vec<&str> = std::iter::once("command").chain(entry).collect();
        self.error_at(&path, &error.to_string())
    }

    /// An error about the entry at `path`.
    pub fn error_at(&self, path: &[&str], message: &str) -> FileError {
        FileError::at(&self.text, self.format, path, message).in_file(&self.shown)
    }
}

/// Whether a command asks how far to go and where its checkpoint is, so that it can be paused and resumed. A network can too, but
/// many of them train as one program, which pauses would break up.
fn resumes(objective: &ObjectiveSpec) -> bool {
    match objective {
        ObjectiveSpec::Command(command) => {
            ["{budget}", "{checkpoint}"].iter().all(|word| command.mentions(word))
        }
        ObjectiveSpec::Network(_) => false,
    }
}

/// What a network's training may be counted in: the name, its other forms, and the setting that says how much of it there is.
const UNITS: [(&str, &[&str], Option<&str>); 4] = [
    (EPOCH, &["epochs"], Some("epochs")),
    ("step", &["steps"], Some("max_steps")),
    ("second", &["seconds"], Some("max_seconds")),
    (PERCENT, &["%", "per cent"], None),
];
const EPOCH: &str = "epoch";
const PERCENT: &str = "percent";

fn unit_of(network: &serde_json::Map<String, serde_json::Value>) -> &str {
    network.get("unit").and_then(serde_json::Value::as_str).unwrap_or(EPOCH)
}

/// Writes what a network's training is counted in into its table, which may say so already.
fn set_unit(
    network: &mut serde_json::Map<String, serde_json::Value>,
    said: Option<&str>,
) -> Result<(), String> {
    let own = match network.get("unit") {
        Some(serde_json::Value::String(own)) => Some(own.clone()),
        // It is refused where the table is read.
        Some(_) => return Ok(()),
        None => None,
    };
    let named = |unit: &str| {
        let wanted = unit.to_lowercase();
        let known = UNITS.iter().find(|(name, others, _)| *name == wanted || others.contains(&&*wanted));
        known.map(|(name, ..)| *name).ok_or_else(|| {
            format!(
                "{unit:?} is not what a network's training can be counted in; that is epoch, step (an update of the weights), \
                 second, or percent (of the training rows)"
            )
        })
    };
    let (said, own) = (said.map(named).transpose()?, own.as_deref().map(named).transpose()?);
    if let (Some(said), Some(own)) = (said, own)
        && said != own
    {
        return Err(format!("the budget is counted in {said:?} here, but in {own:?} by [network]; keep one"));
    }
    // Epochs are what is counted where nothing is said.
    network.remove("unit");
    if let Some(unit) = said.or(own).filter(|unit| *unit != EPOCH) {
        network.insert("unit".into(), unit.into());
    }
    Ok(())
}

/// The largest step of a network, by its settings.
fn largest_step(form: &Form, objective: &ObjectiveSpec, default_epochs: Option<u64>) -> Option<u64> {
    let ObjectiveSpec::Network(network) = objective else { return None };
    match unit_of(network) {
        EPOCH => epochs(form, objective, default_epochs),
        PERCENT => Some(100),
        unit => {
            let setting = UNITS.iter().find(|(name, ..)| *name == unit)?.2?;
            let most = network.get("settings")?.get(setting)?.as_f64()?;
            Some(most.ceil() as u64)
        }
    }
}

/// A step of a network is an epoch, so its largest number of epochs is the largest step.
fn epochs(form: &Form, objective: &ObjectiveSpec, default: Option<u64>) -> Option<u64> {
    let ObjectiveSpec::Network(network) = objective else { return None };
    if let Some((_, tuned)) = form.params.0.iter().find(|(name, _)| name == "epochs") {
        let listed = tuned.choices.iter().chain(&tuned.levels).flatten();
        let values = listed.chain(&tuned.high).chain(&tuned.value);
        return values.filter_map(|value| u64::try_from(value.as_i64()?).ok()).max();
    }
    let settings = network.get("settings").and_then(|settings| settings.get("epochs"));
    settings.map_or(default, serde_json::Value::as_u64)
}

/// What a network's study is about if its file names no metric; all of these are to be small.
fn usual_metrics(network: &serde_json::Map<String, serde_json::Value>) -> &'static [&'static str] {
    let objective = network.get("quality").and_then(|quality| quality.get("objective"));
    match objective.and_then(serde_json::Value::as_str) {
        Some("lower_bound") => &["val_loss_upper"],
        Some("mean_and_spread") => &["val_loss", "val_loss_sd"],
        Some(_) | None => &["val_loss"],
    }
}

/// The metrics: a network has its own default, a command must say.
fn metrics(form: &mut Form, objective: &ObjectiveSpec) -> Result<Metrics, String> {
    let mut given = std::mem::take(&mut form.metrics);
    if let Some(single) = form.metric.take() {
        if !given.is_empty() {
            return Err("give [metric] for one, or [[metrics]] for several, not both".into());
        }
        given.push(single);
    }
    if given.is_empty() {
        match objective {
            ObjectiveSpec::Network(network) => {
                let curve = (unit_of(network) != PERCENT).then_some(CurveValue::Best);
                let form =
                    |name: &&str| MetricForm { name: (*name).into(), direction: Direction::Minimize, curve };
                given.extend(usual_metrics(network).iter().map(form));
            }
            ObjectiveSpec::Command(_) => {
                return Err(
                    "which number is to be made small or large? Add [metric] with name and direction".into(),
                );
            }
        }
    }
    let mut names: Vec<&str> =
        given.iter().map(|metric| &*metric.name).chain(form.feasible.iter().map(|f| &**f)).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
        return Err(format!("the metric {twice:?} is listed twice"));
    }
    if let Some(bad) = names.iter().find(|name| name.is_empty() || name.len() > 256 || **name == "step") {
        return Err(format!("{bad:?} cannot be a metric's name"));
    }
    let curve = given[0].curve;
    let objectives = given.iter().map(|m| Metric { name: m.name.clone(), direction: m.direction }).collect();
    let unit = form.budget.as_ref().and_then(|budget| budget.unit.clone());
    let step: Arc<str> = match objective {
        ObjectiveSpec::Network(network) if unit_of(network) != EPOCH => unit_of(network).into(),
        ObjectiveSpec::Network(_) => unit.unwrap_or_else(|| EPOCH.into()),
        ObjectiveSpec::Command(_) => unit.unwrap_or_else(|| "step".into()),
    };
    // What a network comes to on a part of the rows says little of what it comes to on more.
    let usual = if *step == *PERCENT { CurveValue::Last } else { CurveValue::default() };
    Ok(Metrics {
        objectives,
        constraints: std::mem::take(&mut form.feasible),
        step,
        curve: curve.unwrap_or(usual),
    })
}

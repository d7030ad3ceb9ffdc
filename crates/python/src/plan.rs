//! What a new study is asked to do, from Python's keywords; and how that meets a study that is already there.

use std::path::Path;
use std::sync::Arc;

use luthier::core::engine::resolve;
use luthier::core::metric::{CurveValue, Direction, Metric, Metrics};
use luthier::core::space::Space;
use luthier::core::spec::{Component, Limits, PolicySpec, Spec};
use luthier::core::study::Study;
use luthier::log::{LogError, Options, ReplayError, SqliteLog};
use luthier::session::{Session, SessionError};
use luthier::study_file::{Replicates, default_policy_with};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::Value as Json;

use crate::error::Problem;
use crate::value::{json, json_to_python, wrong};

/// The keywords of a study. What is none was not given.
pub(crate) struct Plan {
    pub(crate) space: Space,
    pub(crate) metrics: Metrics,
    pub(crate) sampler: Option<Component>,
    pub(crate) scheduler: Option<Component>,
    pub(crate) limits: Option<Limits>,
    pub(crate) seed: u64,
    pub(crate) max_budget: Option<u64>,
    /// Whether the program goes on from checkpoints, so that trials may be paused.
    pub(crate) resumes: bool,
    pub(crate) replicates: Replicates,
    pub(crate) name: Option<Arc<str>>,
}

impl Plan {
    /// The specification of a new study; `fallback` is its name if it has none.
    pub(crate) fn spec(&self, fallback: &str) -> Spec {
        let name = self.name.as_deref().unwrap_or(fallback);
        let policy =
            self.policy(default_policy_with(self.max_budget, self.resumes, self.replicates, &self.metrics));
        // What is wrong with them is told by `check`.
        let (replicates, design) = self.replicates.read(&policy.scheduler).unwrap_or((0, None));
        Spec {
            seed: self.seed,
            policy,
            limits: self.limits.unwrap_or_default(),
            max_budget: self.max_budget,
            replicates,
            design,
            ..Spec::new(name, self.space.clone(), self.metrics.clone())
        }
    }

    fn policy(&self, otherwise: PolicySpec) -> PolicySpec {
        PolicySpec {
            version: otherwise.version,
            sampler: self.sampler.clone().unwrap_or(otherwise.sampler),
            scheduler: self.scheduler.clone().unwrap_or(otherwise.scheduler),
        }
    }

    /// Everything that can be wrong with a new study, found before there is a file.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.max_budget == Some(0) {
            return Err(Problem::Study("max_budget must be at least 1".into()));
        }
        let spec = self.spec("");
        self.replicates.read(&spec.policy.scheduler).map_err(Problem::Study)?;
        resolve(&spec).map_err(SessionError::from)?;
        Ok(())
    }

    /// Trials are compared by these parts of a specification, so they stay as they were.
    fn check_comparable(&self, study: &Study, path: &Path) -> Result<(), Problem> {
        let (spec, known) = (self.spec(""), study.spec());
        let what = if self.metrics != known.metrics {
            "the metrics have"
        } else if self.max_budget != known.max_budget {
            "max_budget has"
        } else if (spec.replicates, spec.design) != (known.replicates, known.design) {
            "replicates has"
        } else if self.space != *study.space() {
            "the space has"
        } else {
            return Ok(());
        };
        Err(Problem::Study(format!(
            "{what} changed since the study in {} began; give another storage, or Study.open this one as it is",
            path.display()
        )))
    }

    /// Other limits and another policy hold from here on.
    fn change(&self, session: &mut Session) -> Result<(), Problem> {
        let known = session.study().spec().clone();
        let limits = self.limits.filter(|limits| *limits != known.limits);
        let policy = self.policy(known.policy.clone());
        let policy = resolve(&Spec { policy, ..known.clone() }).map_err(SessionError::from)?;
        let is_other = policy.sampler != known.policy.sampler || policy.scheduler != known.policy.scheduler;
        if limits.is_none() && !is_other {
            return Ok(());
        }
        session.turn(|turn| {
            limits.map_or(Ok(()), |limits| turn.change_limits(limits))?;
            if is_other { turn.change_policy(policy) } else { Ok(()) }
        })?;
        Ok(())
    }
}

/// The session of the study in a file: the one that is there, or a new one by the plan.
pub(crate) fn session(
    path: &Path,
    stem: &str,
    plan: Option<&Plan>,
    options: &Options,
) -> Result<Session, Problem> {
    if let Some(plan) = plan {
        plan.check()?;
    }
    loop {
        let opened = SqliteLog::open(path, options.clone()).map(|log| Session::open(Box::new(log)));
        let plan = match (opened, plan) {
            (Ok(Ok(session)), None) => return Ok(session),
            (Ok(Ok(mut session)), Some(plan)) => {
                plan.check_comparable(session.study(), path)?;
                plan.change(&mut session)?;
                return Ok(session);
            }
            // An empty log: whoever made it was killed before its first event, or is about to write that.
            (
                Err(LogError::Missing { .. }) | Ok(Err(SessionError::Replay(ReplayError::Empty { .. }))),
                Some(plan),
            ) => plan,
            (Ok(Err(error)), _) => return Err(error.into()),
            (Err(error), _) => return Err(error.into()),
        };
        let log = match SqliteLog::create(path, options.clone()) {
            Err(LogError::Exists { .. }) => SqliteLog::open(path, options.clone())?,
            created => created?,
        };
        match Session::create(Box::new(log), plan.spec(stem)) {
            // Another process was faster.
            Err(SessionError::Log(LogError::Conflict { .. })) => {}
            created => return Ok(created?),
        }
    }
}

/// What is measured: one objective by `direction` and `metric`, or several by `objectives`.
pub(crate) fn metrics(
    direction: Option<&str>,
    metric: Option<&str>,
    objectives: Option<&Bound<'_, PyAny>>,
    constraints: Option<Vec<String>>,
    step: Option<&str>,
    curve: Option<&str>,
) -> PyResult<Metrics> {
    let listed = match objectives {
        Some(_) if direction.is_some() || metric.is_some() => {
            return Err(PyTypeError::new_err("give objectives, or metric and direction, not both"));
        }
        Some(objectives) => several(objectives)?,
        None => {
            let name = metric.unwrap_or("value").into();
            vec![Metric { name, direction: direction_of(direction.unwrap_or("minimize"))? }]
        }
    };
    let constraints: Vec<Arc<str>> = constraints.unwrap_or_default().into_iter().map(Into::into).collect();
    let names: Vec<&str> = listed.iter().map(|m| &*m.name).chain(constraints.iter().map(|c| &**c)).collect();
    for (k, name) in names.iter().enumerate() {
        if names[..k].contains(name) {
            return Err(Problem::Study(format!("the metric {name:?} is listed twice")).into());
        }
        if name.is_empty() || name.len() > 256 || *name == "step" {
            return Err(Problem::Study(format!("{name:?} cannot be a metric's name")).into());
        }
    }
    let curve = match curve.unwrap_or("last") {
        "last" => CurveValue::Last,
        "best" => CurveValue::Best,
        other => {
            return Err(PyValueError::new_err(format!("curve must be \"last\" or \"best\", not {other:?}")));
        }
    };
    Ok(Metrics { objectives: listed, constraints, step: step.unwrap_or("step").into(), curve })
}

/// A list of names or of (name, direction), or a dict from names to directions.
fn several(objectives: &Bound<'_, PyAny>) -> PyResult<Vec<Metric>> {
    let refused =
        || wrong("objectives", "a list of (name, direction), or a dict of directions by name", objectives);
    if objectives.is_instance_of::<PyString>() {
        return Err(refused());
    }
    let items = match objectives.cast::<PyDict>() {
        Ok(dict) => dict.items().into_any(),
        Err(_) => objectives.clone(),
    };
    let metrics = items.try_iter().map_err(|_| refused())?.map(|item| {
        let item = item?;
        let (name, direction) = match item.extract::<String>() {
            Ok(name) => (name, "minimize".to_owned()),
            Err(_) => item.extract::<(String, String)>().map_err(|_| refused())?,
        };
        Ok(Metric { name: name.into(), direction: direction_of(&direction)? })
    });
    metrics.collect()
}

fn direction_of(text: &str) -> PyResult<Direction> {
    match text {
        "minimize" => Ok(Direction::Minimize),
        "maximize" => Ok(Direction::Maximize),
        other => Err(PyValueError::new_err(format!(
            "direction must be \"minimize\" or \"maximize\", not {other:?}"
        ))),
    }
}

/// A sampler or scheduler: its name, `(name, options)`, or a dict with `name` and the options.
pub(crate) fn component(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Component> {
    let refused = || wrong(what, "a name, or (name, {option: value})", given);
    if let Ok(name) = given.extract::<String>() {
        return Ok(Component::named(&name));
    }
    let (name, options) = if let Ok(pair) = given.extract::<(String, Bound<'_, PyDict>)>() {
        pair
    } else {
        let dict = given.cast::<PyDict>().map_err(|_| refused())?.copy()?;
        let name = dict.get_item("name")?.ok_or_else(refused)?.extract().map_err(|_: PyErr| refused())?;
        dict.del_item("name")?;
        (name, dict)
    };
    match json(options.as_any(), what, 0)? {
        Json::Object(options) => Ok(Component { name: name.into(), options }),
        _ => Err(refused()),
    }
}

/// (name, options).
pub(crate) fn component_to_python<'py>(
    py: Python<'py>,
    component: &Component,
) -> PyResult<(String, Bound<'py, PyAny>)> {
    Ok((component.name.to_string(), json_to_python(py, &Json::Object(component.options.clone()))?))
}

/// When the study is done: `trials` is short for the limit of that name.
pub(crate) fn limits(trials: Option<u64>, limits: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Limits>> {
    let Some(given) = limits else {
        return Ok(trials.map(|trials| Limits { trials: Some(trials), ..Limits::default() }));
    };
    let limits: Limits = serde_json::from_value(json(given, "limits", 0)?)
        .map_err(|error| PyValueError::new_err(format!("limits: {error}")))?;
    if trials.is_some() && limits.trials.is_some() {
        return Err(PyValueError::new_err(
            "trials is given twice; keep one of trials and limits[\"trials\"]",
        ));
    }
    Ok(Some(Limits { trials: trials.or(limits.trials), ..limits }))
}

/// Replicates of a trial: a number, or a dict with folds, seeds and confirm.
pub(crate) fn replicates(given: Option<&Bound<'_, PyAny>>) -> PyResult<Replicates> {
    let Some(given) = given else { return Ok(Replicates::default()) };
    serde_json::from_value(json(given, "replicates", 0)?)
        .map_err(|error| PyValueError::new_err(format!("replicates: {error}")))
}

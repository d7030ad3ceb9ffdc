//! What became of a trial, as a dict for tables and plots: taken from the study first, turned into Python's types later, so
//! that Python's lock is not needed while the study is.

use std::sync::Arc;

use luthier::core::event::{Origin, Outcome};
use luthier::core::space::Params;
use luthier::core::study::Study;
use luthier::core::trial::Trial;
use luthier::replicates;
use luthier::session::named_values;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::value::{Said, json_to_python, params_to_python};

/// A trial's data, out of the study.
pub(crate) struct Record {
    number: u32,
    state: &'static str,
    origin: &'static str,
    pub(crate) params: Params,
    pub(crate) values: Said,
    curve: Vec<(u64, Said)>,
    step: u64,
    seconds: f64,
    violation: f64,
    replicates: serde_json::Value,
    failure: Option<String>,
    detail: Option<Arc<str>>,
}

impl Record {
    /// The trial as it is now. The curve is that of replicate 0.
    pub(crate) fn of(study: &Study, trial: &Trial) -> Self {
        let names = study.metrics().objectives.iter().map(|metric| metric.name.clone());
        let (failure, detail) = match trial.outcome() {
            Some(Outcome::Failed { reason, detail }) => (Some(reason.to_string()), Some(detail.clone())),
            Some(
                Outcome::Completed { .. } | Outcome::Pruned | Outcome::Replaced { .. } | Outcome::Cancelled,
            )
            | None => (None, None),
        };
        Self {
            number: trial.number,
            state: trial.state().name(),
            origin: origin(trial.origin),
            params: study.params(trial),
            values: names.zip(trial.values().unwrap_or_default().iter().copied()).collect(),
            curve: trial.curve().iter().map(|point| (point.step, named_values(study, point))).collect(),
            step: trial.step(),
            seconds: trial.seconds(),
            violation: study.violation(trial),
            replicates: replicates::told(study, trial),
            failure,
            detail,
        }
    }

    /// The dict.
    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("number", self.number)?;
        dict.set_item("state", self.state)?;
        dict.set_item("origin", self.origin)?;
        dict.set_item("params", params_to_python(py, &self.params)?)?;
        dict.set_item("values", numbers(py, &self.values)?)?;
        dict.set_item("curve", self.curve(py)?)?;
        dict.set_item("step", self.step)?;
        dict.set_item("seconds", self.seconds)?;
        dict.set_item("violation", self.violation)?;
        dict.set_item("replicates", json_to_python(py, &self.replicates)?)?;
        dict.set_item("failure", self.failure.as_deref())?;
        dict.set_item("detail", self.detail.as_deref().filter(|text| !text.is_empty()))?;
        Ok(dict)
    }

    fn curve<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let points = self.curve.iter().map(|(step, values)| Ok((*step, numbers(py, values)?)));
        PyList::new(py, points.collect::<PyResult<Vec<_>>>()?)
    }
}

fn numbers<'py>(py: Python<'py>, values: &[(Arc<str>, f64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in values {
        dict.set_item(&**name, value)?;
    }
    Ok(dict)
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Sampler => "sampler",
        Origin::Default => "default",
        Origin::Enqueued => "enqueued",
        Origin::Fallback => "fallback",
        Origin::Scheduler => "scheduler",
        Origin::Steered => "steered",
    }
}

//! The lists of samplers and schedulers, for help and for menus, read from the engine's registries.

use luthier::core::registry::Entry;
use luthier::core::sampler::SAMPLERS;
use luthier::core::scheduler::SCHEDULERS;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::value::json_to_python;

/// The lists' functions.
pub(crate) fn add_lists(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(samplers, module)?)?;
    module.add_function(wrap_pyfunction!(schedulers, module)?)
}

/// Every sampler as (name, summary, options); options map a name to (default, what it does).
#[pyfunction]
fn samplers(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    listed(py, SAMPLERS)
}

/// Every scheduler as (name, summary, options); options map a name to (default, what it does).
#[pyfunction]
fn schedulers(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    listed(py, SCHEDULERS)
}

fn listed<'py, T: ?Sized>(py: Python<'py>, entries: &[Entry<T>]) -> PyResult<Bound<'py, PyList>> {
    let rows = entries.iter().map(|entry| {
        let defaults =
            (entry.build)(&serde_json::Map::new()).map(|(_, complete)| complete).unwrap_or_default();
        let options = PyDict::new(py);
        for option in entry.options {
            let default = defaults.get(option.name).unwrap_or(&serde_json::Value::Null);
            options.set_item(option.name, (json_to_python(py, default)?, option.doc))?;
        }
        Ok((entry.name, entry.summary, options))
    });
    PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}

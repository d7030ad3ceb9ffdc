//! Errors: one Python exception per layer, with the texts of the layers below.

use luthier::log::LogError;
use luthier::session::SessionError;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

/// What can go wrong behind the door, before it is a Python exception.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A declaration of a space, or params that do not fit it.
    Space(String),
    /// A sampler, a scheduler or their options.
    Policy(String),
    /// The study's file.
    Storage(String),
    /// Something that this study, or this trial, cannot do.
    Study(String),
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::Space(_) => Self::Space(text),
            SessionError::Policy(_) => Self::Policy(text),
            SessionError::Log(_) | SessionError::Replay(_) => Self::Storage(text),
            SessionError::NoTrial(number) => Self::Study(format!("there is no trial {number} in this study")),
            SessionError::Stale
            | SessionError::Seconds(_)
            | SessionError::Spec(_)
            | SessionError::Steer(_) => Self::Study(text),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<Problem> for PyErr {
    fn from(problem: Problem) -> Self {
        let (name, text) = match problem {
            Problem::Space(text) => ("SpaceError", text),
            Problem::Policy(text) => ("PolicyError", text),
            Problem::Storage(text) => ("StorageError", text),
            Problem::Study(text) => ("StudyError", text),
        };
        Python::attach(|py| match exception(py, name) {
            Ok(kind) => Self::from_type(kind, text),
            Err(error) => error,
        })
    }
}

/// The exceptions, the root first; those that are about values given are `ValueError`s too.
const EXCEPTIONS: [(&str, bool, &str); 5] = [
    ("LuthierError", false, "Whatever Luthier raises itself."),
    ("SpaceError", true, "A declaration of a space is wrong, or params do not fit it."),
    ("PolicyError", true, "There is no such sampler or scheduler, or its options are wrong."),
    ("StorageError", false, "The study's file cannot be read or written."),
    ("StudyError", false, "What was asked of a study or a trial cannot be done."),
];

static MADE: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();

/// Names the exceptions in the module.
pub(crate) fn add_exceptions(module: &Bound<'_, PyModule>) -> PyResult<()> {
    EXCEPTIONS.iter().try_for_each(|(name, ..)| module.add(*name, exception(module.py(), name)?))
}

fn exception<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    let made = MADE.get_or_try_init(py, || make(py))?;
    let at = EXCEPTIONS.iter().position(|(known, ..)| *known == name).unwrap_or(0);
    Ok(made[at].bind(py).clone())
}

fn make(py: Python<'_>) -> PyResult<Vec<Py<PyType>>> {
    let mut made: Vec<Py<PyType>> = Vec::with_capacity(EXCEPTIONS.len());
    for (name, is_value, doc) in EXCEPTIONS {
        let mut bases = match made.first() {
            None => vec![py.get_type::<PyException>()],
            Some(root) => vec![root.bind(py).clone()],
        };
        if is_value {
            bases.push(py.get_type::<PyValueError>());
        }
        let body = PyDict::new(py);
        body.set_item("__module__", "luthier")?;
        body.set_item("__doc__", doc)?;
        let arguments = (PyString::new(py, name), PyTuple::new(py, bases)?, body);
        let kind = py.get_type::<PyType>().call1(arguments)?;
        made.push(kind.cast_into::<PyType>().map_err(PyErr::from)?.unbind());
    }
    Ok(made)
}

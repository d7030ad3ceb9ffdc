//! Values on their way: numbers, params and metrics between Python's types and the engine's. A value that cannot cross is
//! an error that names where it stood.

use std::sync::Arc;

use luthier::core::metric::Metrics;
use luthier::core::space::{Params, Value};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value as Json};

/// The deepest nesting that is read.
const DEPTH: usize = 64;

/// Named values of metrics.
pub(crate) type Said = Vec<(Arc<str>, f64)>;

/// A value as Python's `bool`, `int`, `float` or `str`.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Bool(flag) => flag.into_bound_py_any(py),
        Value::Int(i) => i.into_bound_py_any(py),
        Value::Float(x) => x.into_bound_py_any(py),
        Value::Text(text) => (**text).into_bound_py_any(py),
    }
}

/// Params as a dict, in the order of the space.
pub(crate) fn params_to_python<'py>(py: Python<'py>, params: &Params) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in params.iter() {
        dict.set_item(name, to_python(py, value)?)?;
    }
    Ok(dict)
}

/// A dict of params.
pub(crate) fn params_from_python(dict: &Bound<'_, PyAny>, what: &str) -> PyResult<Params> {
    let dict = dict.cast::<PyDict>().map_err(|_| wrong(what, "a dict of params by name", dict))?;
    let mut params = Params::new();
    for (name, value) in dict.iter() {
        let name = key(&name, what)?;
        params.set(&*name, from_python(&value, &format!("{what}, {name:?}"))?);
    }
    Ok(params)
}

/// One value of a parameter; numbers of other libraries are taken by their `__index__` or `__float__`.
pub(crate) fn from_python(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Value> {
    let expected = "True, False, a number or a text";
    match json(value, what, 0)? {
        Json::Bool(flag) => Ok(Value::Bool(flag)),
        Json::String(text) => Ok(Value::from(text)),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(i), _) => Ok(Value::Int(i)),
            (None, Some(x)) => Ok(Value::Float(x)),
            (None, None) => Err(wrong(what, expected, value)),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => Err(wrong(what, expected, value)),
    }
}

/// Python's plain data as JSON; `what` names the place in messages. `None` is not a value: leave the key out.
pub(crate) fn json(value: &Bound<'_, PyAny>, what: &str, depth: usize) -> PyResult<Json> {
    let plain = "True, False, a number, a text, a list or a dict";
    if depth > DEPTH {
        return Err(PyValueError::new_err(format!("{what} is nested more than {DEPTH} deep")));
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Json::Bool(value.extract()?));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Json::String(value.extract()?));
    }
    if value.is_instance_of::<PyInt>() {
        return whole(value, what);
    }
    if value.is_instance_of::<PyFloat>() {
        return finite(value, what);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let mut map = Map::with_capacity(dict.len());
        for (name, value) in dict.iter() {
            let name = key(&name, what)?;
            map.insert(name.to_string(), json(&value, &format!("{what}, {name:?}"), depth + 1)?);
        }
        return Ok(Json::Object(map));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.enumerate();
        let items = items.map(|(k, item)| json(&item?, &format!("{what}[{k}]"), depth + 1));
        return Ok(Json::Array(items.collect::<PyResult<_>>()?));
    }
    scalar(value, what).unwrap_or_else(|| Err(wrong(what, plain, value)))
}

/// A scalar of NumPy or another library, by what it says it can be.
fn scalar(value: &Bound<'_, PyAny>, what: &str) -> Option<PyResult<Json>> {
    let kind = value.get_type().name().ok()?.to_string();
    if kind == "bool_" || kind == "bool" {
        return Some(value.is_truthy().map(Json::Bool));
    }
    if value.hasattr("__index__").ok()? {
        return Some(whole(&value.call_method0("__index__").ok()?, what));
    }
    if value.hasattr("__float__").ok()? {
        return Some(finite(value, what));
    }
    None
}

fn whole(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Json> {
    let too_large = |_| {
        let shown = value.str().map_or_else(|_| "an integer".into(), |text| text.to_string());
        PyValueError::new_err(format!("{what}: {shown} is too large an integer"))
    };
    value.extract::<i64>().map(Json::from).map_err(too_large)
}

fn finite(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Json> {
    let x: f64 = value.extract()?;
    let number = Number::from_f64(x).map(Json::Number);
    number.ok_or_else(|| PyValueError::new_err(format!("{what}: {} is not a finite number", lower(x))))
}

fn lower(x: f64) -> String {
    x.to_string().to_lowercase()
}

fn key(name: &Bound<'_, PyAny>, what: &str) -> PyResult<Arc<str>> {
    let name = name.cast::<PyString>().map_err(|_| wrong(&format!("a name in {what}"), "a text", name))?;
    Ok(name.to_cow()?.into())
}

/// A number, NaN and infinities included; whatever has `__float__` is one.
pub(crate) fn number(value: &Bound<'_, PyAny>, what: &str) -> PyResult<f64> {
    value
        .extract()
        .map_err(|error| if is_type_error(&error, value) { wrong(what, "a number", value) } else { error })
}

fn is_type_error(error: &PyErr, value: &Bound<'_, PyAny>) -> bool {
    error.is_instance_of::<PyTypeError>(value.py())
}

/// Values of metrics as a user gives them: a number for the only objective, a list of one per objective, or a dict by name.
pub(crate) fn said(value: &Bound<'_, PyAny>, metrics: &Metrics, what: &str) -> PyResult<Said> {
    let objectives = &metrics.objectives;
    if value.is_instance_of::<PyFloat>() && objectives.len() == 1 {
        return Ok(vec![(objectives[0].name.clone(), value.extract()?)]);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let pairs = dict.iter().map(|(name, value)| {
            let name = key(&name, what)?;
            let number = number(&value, &format!("{what}, {name:?}"))?;
            Ok((name, number))
        });
        return pairs.collect();
    }
    let expected = || match objectives.len() {
        1 => "a number, or a dict of numbers by metric".to_owned(),
        n => format!("a list of {n} numbers ({}), or a dict of numbers by metric", names(metrics)),
    };
    if value.is_instance_of::<PyString>() {
        return Err(wrong(what, &expected(), value));
    }
    if objectives.len() == 1
        && let Ok(x) = value.extract::<f64>()
    {
        return Ok(vec![(objectives[0].name.clone(), x)]);
    }
    let items = value.try_iter().map_err(|_| wrong(what, &expected(), value))?;
    let numbers: Vec<f64> = items.map(|item| number(&item?, what)).collect::<PyResult<_>>()?;
    if numbers.len() != objectives.len() {
        let got = numbers.len();
        return Err(PyValueError::new_err(format!("{what} must be {}, not {got} values", expected())));
    }
    Ok(objectives.iter().map(|metric| metric.name.clone()).zip(numbers).collect())
}

fn names(metrics: &Metrics) -> String {
    let names: Vec<&str> = metrics.objectives.iter().map(|metric| &*metric.name).collect();
    names.join(", ")
}

/// The error for a value of the wrong type.
pub(crate) fn wrong(what: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let kind = value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
    let kind = if kind == "NoneType" { "None".into() } else { kind };
    PyTypeError::new_err(format!("{what} must be {expected}, not {kind}"))
}

/// JSON as Python's plain data.
pub(crate) fn json_to_python<'py>(py: Python<'py>, value: &Json) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Json::Null => Ok(py.None().into_bound(py)),
        Json::Bool(flag) => flag.into_bound_py_any(py),
        Json::Number(number) => match number.as_i64() {
            Some(i) => i.into_bound_py_any(py),
            None => number.as_f64().into_bound_py_any(py),
        },
        Json::String(text) => text.into_bound_py_any(py),
        Json::Array(items) => {
            let items = items.iter().map(|item| json_to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_bound_py_any(py)
        }
        Json::Object(map) => {
            let dict = PyDict::new(py);
            for (name, value) in map {
                dict.set_item(name, json_to_python(py, value)?)?;
            }
            dict.into_bound_py_any(py)
        }
    }
}

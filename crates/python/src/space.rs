//! Spaces as Python declares them. Every way fills in the forms of space files, so checks and error texts are the same.

use luthier::core::space::file::{Format, SpaceFile, parse, read};
use luthier::core::space::{Space as CoreSpace, SpaceError};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::{Map, Value as Json};

use crate::error::Problem;
use crate::value::{json, params_from_python, params_to_python, wrong};

/// One parameter of a space, as declared; made by `Float`, `Int`, `Bool`, `Categorical`, `Ordinal` and `Fixed`.
#[pyclass(frozen, module = "luthier")]
pub(crate) struct Parameter {
    name: String,
    form: Map<String, Json>,
}

#[pymethods]
impl Parameter {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    fn __repr__(&self) -> String {
        format!("Parameter({:?}, {})", self.name, Json::Object(self.form.clone()))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.name == other.name && self.form == other.form
    }
}

/// A keyword's value, if it was given.
type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The keys of every parameter but a fixed one.
const COMMON: [&str; 4] = ["default", "prior", "when", "repeat"];

fn named<'a, 'py, const N: usize>(
    keys: [&'static str; N],
    values: [Given<'a, 'py>; N],
) -> Vec<(&'static str, Given<'a, 'py>)> {
    keys.into_iter().zip(values).collect()
}

/// A parameter of numbers.
fn ranged(
    kind: &str,
    name: String,
    range: [Given<'_, '_>; 5],
    common: [Given<'_, '_>; 4],
) -> PyResult<Parameter> {
    let mut keys = named(["low", "high", "log", "scale", "step"], range);
    keys.extend(named(COMMON, common));
    declared(kind, name, &keys)
}

/// The keys of a declaration, those that are `None` left out.
fn declared(kind: &str, name: String, keys: &[(&str, Given<'_, '_>)]) -> PyResult<Parameter> {
    let mut form = Map::new();
    form.insert("type".into(), kind.into());
    for (key, value) in keys {
        if let Some(value) = value {
            let value = json(value, &format!("parameter {name:?}, {key}"), 0)?;
            form.insert((*key).into(), value);
        }
    }
    Ok(Parameter { name, form })
}

/// The choices or levels, which may come from any iterable but a text.
fn listed<'py>(values: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyAny>> {
    let refused = || wrong(what, "a list of values", values);
    if values.is_instance_of::<PyString>() {
        return Err(refused());
    }
    let items = values.try_iter().map_err(|_| refused())?.collect::<PyResult<Vec<_>>>()?;
    Ok(pyo3::types::PyList::new(values.py(), items)?.into_any())
}

/// Numbers between `low` and `high`, both included.
#[pyfunction]
#[pyo3(name = "Float", signature = (name, low, high, *, log=None, scale=None, step=None, default=None, prior=None, when=None, repeat=None))]
#[allow(clippy::too_many_arguments, reason = "keywords of Python")]
fn float(
    name: String,
    low: &Bound<'_, PyAny>,
    high: &Bound<'_, PyAny>,
    log: Option<&Bound<'_, PyAny>>,
    scale: Option<&Bound<'_, PyAny>>,
    step: Option<&Bound<'_, PyAny>>,
    default: Option<&Bound<'_, PyAny>>,
    prior: Option<&Bound<'_, PyAny>>,
    when: Option<&Bound<'_, PyAny>>,
    repeat: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parameter> {
    let range = [Some(low), Some(high), log, scale, step];
    ranged("float", name, range, [default, prior, when, repeat])
}

/// Whole numbers between `low` and `high`, both included.
#[pyfunction]
#[pyo3(name = "Int", signature = (name, low, high, *, log=None, scale=None, step=None, default=None, prior=None, when=None, repeat=None))]
#[allow(clippy::too_many_arguments, reason = "keywords of Python")]
fn int(
    name: String,
    low: &Bound<'_, PyAny>,
    high: &Bound<'_, PyAny>,
    log: Option<&Bound<'_, PyAny>>,
    scale: Option<&Bound<'_, PyAny>>,
    step: Option<&Bound<'_, PyAny>>,
    default: Option<&Bound<'_, PyAny>>,
    prior: Option<&Bound<'_, PyAny>>,
    when: Option<&Bound<'_, PyAny>>,
    repeat: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parameter> {
    let range = [Some(low), Some(high), log, scale, step];
    ranged("int", name, range, [default, prior, when, repeat])
}

/// `True` or `False`.
#[pyfunction]
#[pyo3(name = "Bool", signature = (name, *, default=None, prior=None, when=None, repeat=None))]
fn boolean(
    name: String,
    default: Option<&Bound<'_, PyAny>>,
    prior: Option<&Bound<'_, PyAny>>,
    when: Option<&Bound<'_, PyAny>>,
    repeat: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parameter> {
    declared("bool", name, &named(COMMON, [default, prior, when, repeat]))
}

/// Choices without an order.
#[pyfunction]
#[pyo3(name = "Categorical", signature = (name, choices, *, default=None, prior=None, when=None, repeat=None))]
fn categorical(
    name: String,
    choices: &Bound<'_, PyAny>,
    default: Option<&Bound<'_, PyAny>>,
    prior: Option<&Bound<'_, PyAny>>,
    when: Option<&Bound<'_, PyAny>>,
    repeat: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parameter> {
    let choices = listed(choices, &format!("parameter {name:?}, choices"))?;
    let own = ("choices", Some(&choices));
    declared("categorical", name, &[&[own], &named(COMMON, [default, prior, when, repeat])[..]].concat())
}

/// Levels from low to high.
#[pyfunction]
#[pyo3(name = "Ordinal", signature = (name, levels, *, default=None, prior=None, when=None, repeat=None))]
fn ordinal(
    name: String,
    levels: &Bound<'_, PyAny>,
    default: Option<&Bound<'_, PyAny>>,
    prior: Option<&Bound<'_, PyAny>>,
    when: Option<&Bound<'_, PyAny>>,
    repeat: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parameter> {
    let levels = listed(levels, &format!("parameter {name:?}, levels"))?;
    let own = ("levels", Some(&levels));
    declared("ordinal", name, &[&[own], &named(COMMON, [default, prior, when, repeat])[..]].concat())
}

/// One value, passed on as it is.
#[pyfunction]
#[pyo3(name = "Fixed", signature = (name, value, *, when=None, repeat=None))]
fn fixed(
    name: String,
    value: &Bound<'_, PyAny>,
    when: Option<&Bound<'_, PyAny>>,
    repeat: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parameter> {
    declared("fixed", name, &[("value", Some(value)), ("when", when), ("repeat", repeat)])
}

/// The functions that declare parameters.
pub(crate) fn add_constructors(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(float, module)?)?;
    module.add_function(wrap_pyfunction!(int, module)?)?;
    module.add_function(wrap_pyfunction!(boolean, module)?)?;
    module.add_function(wrap_pyfunction!(categorical, module)?)?;
    module.add_function(wrap_pyfunction!(ordinal, module)?)?;
    module.add_function(wrap_pyfunction!(fixed, module)?)
}

/// A search space, checked when it is made.
#[pyclass(frozen, module = "luthier")]
pub(crate) struct Space {
    pub(crate) core: CoreSpace,
}

#[pymethods]
impl Space {
    /// A space of `parameters`; `constraints` are dicts as in space files.
    #[new]
    #[pyo3(signature = (parameters, constraints=None))]
    fn new(parameters: &Bound<'_, PyAny>, constraints: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let refused = |value: &Bound<'_, PyAny>| {
            wrong("parameters", "a list of luthier.Float, Int, Bool, Categorical, Ordinal and Fixed", value)
        };
        if parameters.is_instance_of::<PyDict>() || parameters.is_instance_of::<PyString>() {
            let hint = "; Space.from_dict, Space.from_toml and Space.from_json take whole declarations";
            return Err(PyTypeError::new_err(format!(
                "{}{hint}",
                refused(parameters).value(parameters.py())
            )));
        }
        let mut entries = Vec::new();
        for item in parameters.try_iter().map_err(|_| refused(parameters))? {
            let item = item?;
            let parameter = item.cast::<Parameter>().map_err(|_| refused(&item))?.get();
            entries.push((parameter.name.clone(), Json::Object(parameter.form.clone())));
        }
        let constraints = constraints.map(constraint_forms).transpose()?.unwrap_or_default();
        Self::from_entries(&entries, Json::Array(constraints))
    }

    /// A space from the dict form of a space file, with the keys `params` and `constraints`.
    #[staticmethod]
    fn from_dict(document: &Bound<'_, PyDict>) -> PyResult<Self> {
        let text = json(document.as_any(), "the space", 0)?.to_string();
        Self::from_document(&text)
    }

    /// A space from the text of a space file in TOML.
    #[staticmethod]
    fn from_toml(text: &str) -> PyResult<Self> {
        Self::from_text(text, Format::Toml)
    }

    /// A space from the text of a space file in JSON.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        Self::from_text(text, Format::Json)
    }

    /// The names of its parameters, in their order.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.core.parameters().iter().map(|parameter| &*parameter.name).collect()
    }

    /// The params tried first: the defaults, and the middle of what has none.
    fn default<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        params_to_python(py, &self.core.decode(&self.core.default_point()))
    }

    /// Raises `SpaceError` if `params` are no point of the space.
    fn check(&self, params: &Bound<'_, PyAny>) -> PyResult<()> {
        let params = params_from_python(params, "params")?;
        self.core.encode(&params).map_err(|error| space_problem(&error))?;
        Ok(())
    }

    fn __len__(&self) -> usize {
        self.core.len()
    }

    fn __contains__(&self, name: &str) -> bool {
        self.core.find(name).is_some()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.core == other.core
    }

    fn __repr__(&self) -> String {
        format!("Space({})", self.names().join(", "))
    }
}

impl Space {
    /// What `Study` takes for a space: a `Space`, or what makes one.
    pub(crate) fn of(given: &Bound<'_, PyAny>) -> PyResult<CoreSpace> {
        if let Ok(space) = given.cast::<Self>() {
            return Ok(space.get().core.clone());
        }
        if let Ok(document) = given.cast::<PyDict>() {
            return Ok(Self::from_dict(document)?.core);
        }
        if given.is_instance_of::<PyString>() || given.try_iter().is_err() {
            return Err(wrong("space", "a luthier.Space, a list of parameters, or a dict", given));
        }
        Ok(Self::new(given, None)?.core)
    }

    fn from_text(text: &str, format: Format) -> PyResult<Self> {
        let core = read(text, format).map_err(|error| Problem::Space(error.to_string()))?;
        Ok(Self { core })
    }

    /// Written as text so that whatever is wrong is found by the reader of files. Names are not merged on the way: one that
    /// is declared twice is an error.
    fn from_entries(entries: &[(String, Json)], constraints: Json) -> PyResult<Self> {
        let quoted = |name: &String| Json::String(name.clone()).to_string();
        let params: Vec<String> =
            entries.iter().map(|(name, form)| format!("{}:{form}", quoted(name))).collect();
        Self::from_document(&format!("{{\"params\":{{{}}},\"constraints\":{constraints}}}", params.join(",")))
    }

    /// The messages without lines and columns, for nobody has seen this text.
    fn from_document(text: &str) -> PyResult<Self> {
        let file: SpaceFile = parse(text, Format::Json).map_err(|error| Problem::Space(error.message))?;
        let core = file.into_space().map_err(|misplaced| space_problem(&misplaced.error))?;
        Ok(Self { core })
    }
}

fn space_problem(error: &SpaceError) -> Problem {
    Problem::Space(error.to_string())
}

/// Constraints as forms.
fn constraint_forms(given: &Bound<'_, PyAny>) -> PyResult<Vec<Json>> {
    let refused = || wrong("constraints", "a list of dicts", given);
    if given.is_instance_of::<PyDict>() || given.is_instance_of::<PyString>() {
        return Err(refused());
    }
    let items = given.try_iter().map_err(|_| refused())?.enumerate();
    items.map(|(k, item)| json(&item?, &format!("constraints[{k}]"), 0)).collect()
}

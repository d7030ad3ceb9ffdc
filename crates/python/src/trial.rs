//! A trial in the hands of whoever evaluates it: what to try, and how to say what came of it.

use luthier::core::event::Work;
use luthier::core::spec::Place;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::study::Study;

/// A trial to be evaluated, from `Study.ask`.
#[pyclass(frozen, module = "luthier")]
pub(crate) struct Trial {
    pub(crate) study: Py<Study>,
    pub(crate) work: Work,
    pub(crate) attempt: u32,
    pub(crate) params: Py<PyDict>,
    pub(crate) budget: Option<u64>,
    pub(crate) step: u64,
    pub(crate) place: Place,
    pub(crate) seed: u64,
    pub(crate) parent: Option<(u32, u64)>,
}

#[pymethods]
impl Trial {
    /// Its number, from 0.
    #[getter]
    fn number(&self) -> u32 {
        self.work.trial
    }

    /// Which fold or seed of the trial this is, from 0.
    #[getter]
    fn replicate(&self) -> u16 {
        self.work.replicate
    }

    /// Which fold it is, from 0; 0 where there are none.
    #[getter]
    fn fold(&self) -> u16 {
        self.place.fold
    }

    /// How many folds there are; 1 where there are none.
    #[getter]
    fn folds(&self) -> u16 {
        self.place.folds
    }

    /// A number below 2**31 to seed what the objective draws; the same for all trials and folds of one seed of the study.
    #[getter]
    fn seed(&self) -> u64 {
        self.seed
    }

    /// The params to try, by name; inactive ones are absent.
    #[getter]
    fn params(&self, py: Python<'_>) -> Py<PyDict> {
        self.params.clone_ref(py)
    }

    /// How far to go, in steps; None means to its end.
    #[getter]
    fn budget(&self) -> Option<u64> {
        self.budget
    }

    /// The largest step already reported: a paused trial goes on from there.
    #[getter]
    fn step(&self) -> u64 {
        self.step
    }

    /// The trial and step whose checkpoint it begins with, or None.
    #[getter]
    fn parent(&self) -> Option<(u32, u64)> {
        self.parent
    }

    /// How often it has been handed out, from 1.
    #[getter]
    fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The value of one parameter.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let params = self.params.bind(py);
        params.get_item(name)?.ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(name.to_owned()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let replicate = match self.work.replicate {
            0 => String::new(),
            k => format!(", replicate={k}"),
        };
        Ok(format!("Trial({}{replicate}, {})", self.work.trial, self.params.bind(py).repr()?))
    }

    /// `Study.report` for this trial.
    #[pyo3(signature = (step, values, *, seconds=None))]
    fn report(
        slf: &Bound<'_, Self>,
        step: u64,
        values: &Bound<'_, PyAny>,
        seconds: Option<f64>,
    ) -> PyResult<&'static str> {
        slf.get().study.bind(slf.py()).get().report(slf.py(), slf.as_any(), step, values, seconds, 0)
    }

    /// `Study.tell` for this trial.
    #[pyo3(signature = (values=None, *, seconds=None))]
    fn tell(
        slf: &Bound<'_, Self>,
        values: Option<&Bound<'_, PyAny>>,
        seconds: Option<f64>,
    ) -> PyResult<&'static str> {
        slf.get().study.bind(slf.py()).get().tell(slf.py(), slf.as_any(), values, seconds, 0)
    }

    /// `Study.fail` for this trial.
    #[pyo3(signature = (message="", *, kind="error", limit=None, code=None, detail="", seconds=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords of Python")]
    fn fail(
        slf: &Bound<'_, Self>,
        message: &str,
        kind: &str,
        limit: Option<f64>,
        code: Option<i32>,
        detail: &str,
        seconds: Option<f64>,
    ) -> PyResult<&'static str> {
        let study = slf.get().study.bind(slf.py()).get();
        study.fail(slf.py(), slf.as_any(), message, kind, limit, code, detail, seconds, 0)
    }

    /// `Study.cancel` for this trial.
    #[pyo3(signature = (*, seconds=None))]
    fn cancel(slf: &Bound<'_, Self>, seconds: Option<f64>) -> PyResult<&'static str> {
        slf.get().study.bind(slf.py()).get().cancel(slf.py(), slf.as_any(), seconds, 0)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.study.get().drop_trial(self.work, self.attempt);
    }
}

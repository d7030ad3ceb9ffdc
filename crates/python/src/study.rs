//! A study to ask and tell. Each call takes the desk without Python's lock, and never waits for that lock while it has the desk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use luthier::core::convergence::advice;
use luthier::core::event::{Failure, Wish, Within, Work};
use luthier::core::metric::Metrics;
use luthier::core::spec::Convergence;
use luthier::core::study::Study as CoreStudy;
use luthier::log::{MemoryLog, Options};
use luthier::session::{Session, SessionError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::desk::{Desk, End, Meant, holder};
use crate::error::Problem;
use crate::plan::Plan;
use crate::record::Record;
use crate::space::Space;
use crate::trial::Trial;
use crate::value::{Said, from_python, json_to_python, params_from_python, params_to_python, said, wrong};

/// A study: what was tried so far, and what to try next.
///
/// Keywords, all optional:
///
/// * `direction`: "minimize" (default) or "maximize"; `metric`: what the value is called, default "value".
/// * `objectives`: instead of these two, a list of (name, direction), or a dict of directions by name.
/// * `constraints`: names of further metrics that should be at most 0.
/// * `sampler`, `scheduler`: a name, or (name, {option: value}); default as for study files. `luthier.samplers()` and
///   `luthier.schedulers()` list them.
/// * `seed`: of every random choice, default 0.
/// * `trials`: how many trials are finished in all; `limits`: a dict with trials, seconds, steps, target, failures, converged.
/// * `max_budget`: the largest step a trial can reach; schedulers with rungs need it. `step`: what a step is called.
/// * `resumes`: whether your program goes on from checkpoints, so that by default trials are paused rather than stopped.
/// * `curve`: "last" (default) or "best": which value of a learning curve stands for the trial.
/// * `replicates`: how often each trial is run, default 1; or a dict with folds, seeds and confirm, by which trials race.
/// * `storage`: a file ending in .luthier, created or continued; without it the study is in memory.
/// * `lease`: seconds for which a trial stays handed out when this process has ended; without it, it is given back at once.
/// * `name`: of the study, default that of the file.
#[pyclass(frozen, module = "luthier")]
pub(crate) struct Study {
    desk: Mutex<Desk>,
    /// Trials that Python has let go of since the last ask, with their tokens.
    dropped: Mutex<Vec<(Work, u32)>>,
    metrics: Metrics,
    name: Arc<str>,
}

#[pymethods]
impl Study {
    #[new]
    #[pyo3(signature = (space, *, direction=None, metric=None, objectives=None, constraints=None, sampler=None, scheduler=None, seed=0, trials=None, limits=None, max_budget=None, resumes=false, step=None, curve=None, replicates=None, storage=None, lease=None, name=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        py: Python<'_>,
        space: &Bound<'_, PyAny>,
        direction: Option<&str>,
        metric: Option<&str>,
        objectives: Option<&Bound<'_, PyAny>>,
        constraints: Option<Vec<String>>,
        sampler: Option<&Bound<'_, PyAny>>,
        scheduler: Option<&Bound<'_, PyAny>>,
        seed: u64,
        trials: Option<u64>,
        limits: Option<&Bound<'_, PyAny>>,
        max_budget: Option<u64>,
        resumes: bool,
        step: Option<&str>,
        curve: Option<&str>,
        replicates: Option<&Bound<'_, PyAny>>,
        storage: Option<PathBuf>,
        lease: Option<f64>,
        name: Option<&str>,
    ) -> PyResult<Self> {
        let metrics = crate::plan::metrics(direction, metric, objectives, constraints, step, curve)?;
        let plan = Plan {
            space: Space::of(space)?,
            metrics,
            sampler: sampler.map(|given| crate::plan::component(given, "sampler")).transpose()?,
            scheduler: scheduler.map(|given| crate::plan::component(given, "scheduler")).transpose()?,
            limits: crate::plan::limits(trials, limits)?,
            seed,
            max_budget,
            resumes,
            replicates: crate::plan::replicates(replicates)?,
            name: name.map(Into::into),
        };
        match storage {
            Some(path) => {
                let lease = lease_of(lease)?;
                Self::opened(py, move || in_file(&path, Some(&plan), lease))
            }
            None if lease.is_some() => {
                Err(PyValueError::new_err("lease is for a study in a file; give storage, or leave it out"))
            }
            None => Self::opened(py, move || {
                plan.check()?;
                let session = Session::create(Box::new(MemoryLog::new()), plan.spec("study"))?;
                Ok(Desk::in_memory(session))
            }),
        }
    }

    /// Opens the study in a file as it is.
    #[staticmethod]
    #[pyo3(signature = (storage, *, lease=None))]
    fn open(py: Python<'_>, storage: PathBuf, lease: Option<f64>) -> PyResult<Self> {
        let lease = lease_of(lease)?;
        Self::opened(py, move || in_file(&storage, None, lease))
    }

    /// The next trial to run, or None if there is none now; with `n`, a list of up to n trials.
    #[pyo3(signature = (n=None))]
    fn ask<'py>(slf: &Bound<'py, Self>, n: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let dropped = slf.get().take_dropped();
        let asked = slf.get().at_desk(py, |desk| {
            desk.let_go(&dropped)?;
            desk.ask(n.unwrap_or(1))
        })?;
        let mut trials = Vec::with_capacity(asked.len());
        for assigned in asked {
            let trial = Trial {
                study: slf.clone().unbind(),
                work: assigned.work,
                attempt: assigned.attempt,
                params: params_to_python(py, &assigned.params)?.unbind(),
                budget: assigned.budget.or(assigned.max_budget),
                step: assigned.step,
                place: assigned.place,
                seed: assigned.replicate_seed(),
                parent: assigned.parent,
            };
            trials.push(Bound::new(py, trial)?);
        }
        match n {
            Some(_) => Ok(PyList::new(py, trials)?.into_any()),
            None => Ok(trials.pop().map_or_else(|| py.None().into_bound(py), Bound::into_any)),
        }
    }

    /// Values at a step of a running trial; answers "continue", "pause", "stop" or "gone".
    #[pyo3(signature = (trial, step, values, *, seconds=None, replicate=0))]
    pub(crate) fn report(
        &self,
        py: Python<'_>,
        trial: &Bound<'_, PyAny>,
        step: u64,
        values: &Bound<'_, PyAny>,
        seconds: Option<f64>,
        replicate: u16,
    ) -> PyResult<&'static str> {
        let meant = self.meant(trial, replicate)?;
        let values = said(values, &self.metrics, "values")?;
        self.at_desk(py, |desk| desk.report(meant, step, &values, seconds))
    }

    /// The trial ran to its end, or to its budget; answers "completed", "paused", "pruned", "cancelled" or "failed".
    #[pyo3(signature = (trial, values=None, *, seconds=None, replicate=0))]
    pub(crate) fn tell(
        &self,
        py: Python<'_>,
        trial: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        seconds: Option<f64>,
        replicate: u16,
    ) -> PyResult<&'static str> {
        let meant = self.meant(trial, replicate)?;
        let values =
            values.map_or_else(|| Ok(Said::new()), |values| said(values, &self.metrics, "values"))?;
        self.at_desk(py, |desk| desk.end(meant, End::Values(values), seconds))
    }

    /// The trial failed.
    #[pyo3(signature = (trial, message="", *, kind="error", limit=None, code=None, detail="", seconds=None, replicate=0))]
    #[allow(clippy::too_many_arguments, reason = "keywords of Python")]
    pub(crate) fn fail(
        &self,
        py: Python<'_>,
        trial: &Bound<'_, PyAny>,
        message: &str,
        kind: &str,
        limit: Option<f64>,
        code: Option<i32>,
        detail: &str,
        seconds: Option<f64>,
        replicate: u16,
    ) -> PyResult<&'static str> {
        let meant = self.meant(trial, replicate)?;
        let failure = self.failure(message, kind, limit, code)?;
        let detail = detail.into();
        self.at_desk(py, |desk| desk.end(meant, End::Failed(failure, detail), seconds))
    }

    /// Ends a trial that nobody wants to go on with; its curve stays.
    #[pyo3(signature = (trial, *, seconds=None, replicate=0))]
    pub(crate) fn cancel(
        &self,
        py: Python<'_>,
        trial: &Bound<'_, PyAny>,
        seconds: Option<f64>,
        replicate: u16,
    ) -> PyResult<&'static str> {
        let meant = self.meant(trial, replicate)?;
        self.at_desk(py, |desk| desk.end(meant, End::Cancelled, seconds))
    }

    /// Queues params to be tried next; what is not given is filled in by the sampler.
    #[pyo3(signature = (params=None, *, within=None, count=1))]
    fn enqueue(
        &self,
        py: Python<'_>,
        params: Option<&Bound<'_, PyAny>>,
        within: Option<&Bound<'_, PyDict>>,
        count: u32,
    ) -> PyResult<()> {
        let params =
            params.map(|params| params_from_python(params, "params")).transpose()?.unwrap_or_default();
        let within = within.map(ranges).transpose()?.unwrap_or_default();
        let wish = Wish { params, within };
        self.at_desk(py, |desk| {
            desk.session()?.turn(|turn| (0..count).try_for_each(|_| turn.enqueue(wish.clone())))?;
            Ok(())
        })
    }

    /// Writes a note about a trial or the study; algorithms never read it.
    #[pyo3(signature = (key, value, *, trial=None))]
    fn note(
        &self,
        py: Python<'_>,
        key: &str,
        value: &Bound<'_, PyAny>,
        trial: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let value = crate::value::json(value, "value", 0)?;
        let trial = trial.map(|trial| self.meant(trial, 0)).transpose()?.map(|meant| meant.work.trial);
        self.at_desk(py, |desk| Ok(desk.session()?.turn(|turn| turn.note(trial, key, value))?))
    }

    /// Why `ask` has nothing more to give, or None if it may have.
    #[getter]
    fn done(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.at_desk(py, |desk| Ok(desk.done().map(str::to_owned)))
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The file it is kept in, or None.
    #[getter]
    fn storage(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.at_desk(py, |desk| Ok(desk.path().map(|path| path.display().to_string())))
    }

    /// The search space.
    #[getter]
    fn space(&self, py: Python<'_>) -> PyResult<Space> {
        self.read(py, |study| Space { core: study.space().clone() })
    }

    /// The sampler with all its options: (name, options).
    #[getter]
    fn sampler<'py>(&self, py: Python<'py>) -> PyResult<(String, Bound<'py, PyAny>)> {
        let component = self.read(py, |study| study.spec().policy.sampler.clone())?;
        crate::plan::component_to_python(py, &component)
    }

    /// The scheduler with all its options: (name, options).
    #[getter]
    fn scheduler<'py>(&self, py: Python<'py>) -> PyResult<(String, Bound<'py, PyAny>)> {
        let component = self.read(py, |study| study.spec().policy.scheduler.clone())?;
        crate::plan::component_to_python(py, &component)
    }

    /// The best completed trial by the first objective as a dict, feasible ones before others; None before the first.
    #[getter]
    fn best<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let best = self.read(py, |study| study.incumbent().map(|trial| Record::of(study, trial)))?;
        best.map(|record| record.to_python(py)).transpose()
    }

    /// The completed and feasible trials that no other beats in all objectives, as dicts by number.
    fn pareto_front<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let records: Vec<Record> = self.read(py, |study| {
            study.pareto_front().into_iter().map(|trial| Record::of(study, trial)).collect()
        })?;
        let dicts = records.iter().map(|record| record.to_python(py)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, dicts)
    }

    /// The params of the best trial, or None.
    #[getter]
    fn best_params<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let best = self.read(py, |study| study.incumbent().map(|trial| study.params(trial)))?;
        best.map(|params| params_to_python(py, &params)).transpose()
    }

    /// The first objective's value of the best trial, or None.
    #[getter]
    fn best_value(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.read(py, |study| study.incumbent()?.values()?.first().copied())
    }

    /// What more trials might gain: a dict with `trials` (how many more), `chance` of a gain of more than `epsilon` among them, `regret` (what ten
    /// times the trials would gain), `stalled` (trials since the last gain), `progress`, `noise`, `stopped` (trials paused or over) and `text`; None before there is
    /// enough to go by. By the study's limit `converged`, or the usual rule; `trials` and `epsilon` are others.
    #[pyo3(signature = (trials=None, epsilon=None))]
    fn advice<'py>(
        &self,
        py: Python<'py>,
        trials: Option<u64>,
        epsilon: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let given = Convergence { trials: trials.unwrap_or(1), epsilon, ..Convergence::default() };
        given.check().map_err(PyValueError::new_err)?;
        let advice = self.read(py, |study| {
            let known = study.spec().limits.converged.unwrap_or_default();
            let rule = Convergence {
                trials: trials.unwrap_or(known.trials),
                epsilon: epsilon.or(known.epsilon),
                ..known
            };
            advice(study, &rule)
        })?;
        let Some(advice) = advice else { return Ok(None) };
        let mut json =
            serde_json::to_value(advice).map_err(|error| PyValueError::new_err(error.to_string()))?;
        json["text"] = advice.to_string().into();
        json_to_python(py, &json).map(Some)
    }

    /// Every trial as a dict, by number. Its `replicates` tells, by objective, `values`, `estimate`, `measured_again` and `confirmed`; None where a trial is
    /// run once.
    #[getter]
    fn trials<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let records: Vec<Record> =
            self.read(py, |study| study.trials().iter().map(|trial| Record::of(study, trial)).collect())?;
        let dicts = records.iter().map(|record| record.to_python(py)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, dicts)
    }

    /// One trial as a dict.
    fn trial<'py>(&self, py: Python<'py>, number: u32) -> PyResult<Bound<'py, PyDict>> {
        let record = self.read(py, |study| study.trial(number).map(|trial| Record::of(study, trial)))?;
        let record = record.ok_or(SessionError::NoTrial(number)).map_err(Problem::from)?;
        record.to_python(py)
    }

    /// Gives back the trials that were asked for and not told, and lets go of the file. What was tried can still be read.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.at_desk(py, Desk::close)
    }

    /// The study itself, closed at the end of the `with`.
    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// `close`.
    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// How many trials there are, running ones included.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |study| study.trials().len())
    }

    /// A study is something even before its first trial.
    #[allow(clippy::unused_self, reason = "Python calls it with the study")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.read(py, |study| {
            let policy = &study.spec().policy;
            let best = match study.incumbent().and_then(|trial| Some((trial.number, trial.values()?))) {
                Some((number, values)) => format!(", best {:?} in trial {number}", values[0]),
                None => String::new(),
            };
            format!(
                "Study({:?}, {} + {}, {} trials{best})",
                study.spec().name,
                policy.sampler.name,
                policy.scheduler.name,
                study.trials().len()
            )
        })
    }
}

impl Study {
    fn opened(py: Python<'_>, open: impl FnOnce() -> Result<Desk, Problem> + Send) -> PyResult<Self> {
        let (desk, metrics, name) = py.detach(|| {
            let mut desk = open()?;
            let spec = desk.study()?.spec();
            let (metrics, name) = (spec.metrics.clone(), spec.name.clone());
            Ok::<_, Problem>((desk, metrics, name))
        })?;
        Ok(Self { desk: Mutex::new(desk), dropped: Mutex::default(), metrics, name })
    }

    /// Runs `act` at the desk, without Python's lock.
    fn at_desk<R: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Desk) -> Result<R, Problem> + Send,
    ) -> PyResult<R> {
        Ok(py.detach(|| act(&mut *self.lock()?))?)
    }

    /// Looks at the study, without Python's lock.
    fn read<R: Send>(&self, py: Python<'_>, look: impl FnOnce(&CoreStudy) -> R + Send) -> PyResult<R> {
        self.at_desk(py, |desk| desk.study().map(look))
    }

    fn lock(&self) -> Result<MutexGuard<'_, Desk>, Problem> {
        let broken = "an earlier call of this study was broken off by a bug; open the study anew";
        self.desk.lock().map_err(|_| Problem::Study(broken.into()))
    }

    /// Notes that Python has let go of a trial. Called while Python's lock is held, so it waits for nothing.
    pub(crate) fn drop_trial(&self, work: Work, attempt: u32) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push((work, attempt));
    }

    fn take_dropped(&self) -> Vec<(Work, u32)> {
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The trial that `given` means: a `Trial` of this study, or a number.
    fn meant(&self, given: &Bound<'_, PyAny>, replicate: u16) -> PyResult<Meant> {
        if let Ok(trial) = given.cast::<Trial>() {
            let trial = trial.get();
            if !std::ptr::eq(trial.study.get(), self) {
                let text = format!("trial {} belongs to another study", trial.work.trial);
                return Err(Problem::Study(text).into());
            }
            return Ok(Meant { work: trial.work, attempt: Some(trial.attempt) });
        }
        let number =
            given.extract::<u32>().map_err(|_| wrong("trial", "a luthier.Trial or its number", given))?;
        Ok(Meant { work: Work { trial: number, replicate }, attempt: None })
    }

    fn failure(&self, message: &str, kind: &str, limit: Option<f64>, code: Option<i32>) -> PyResult<Failure> {
        let needed = |what: &str| PyValueError::new_err(format!("kind={kind:?} needs {what}"));
        match kind {
            "error" => Ok(Failure::error(if message.is_empty() { "it failed" } else { message })),
            "crash" => {
                match code.ok_or_else(|| needed("code, its exit code, or minus the signal's number"))? {
                    code @ ..0 => Ok(Failure::Signal { signal: -code }),
                    code => Ok(Failure::ExitCode { code }),
                }
            }
            "timeout" => Ok(Failure::Timeout { seconds: limit.ok_or_else(|| needed("limit, in seconds"))? }),
            "memory" => {
                Ok(Failure::Memory { bytes: limit.ok_or_else(|| needed("limit, in bytes"))?.max(0.0) as u64 })
            }
            "nonfinite" => Ok(Failure::NonFinite {
                metric: self.metrics.objectives[0].name.clone(),
                value: "nan".into(),
            }),
            "not_started" => Ok(Failure::NotStarted { problem: message.into() }),
            other => Err(PyValueError::new_err(format!(
                "there is no kind {other:?}; there are error, crash, timeout, memory, nonfinite, not_started"
            ))),
        }
    }
}

/// Ranges given by hand: a dict from names to (low, high).
fn ranges(given: &Bound<'_, PyDict>) -> PyResult<Vec<Within>> {
    let ranges = given.iter().map(|(name, range)| {
        let name: String = name.extract()?;
        let what = format!("within, {name:?}");
        let pair: (Bound<'_, PyAny>, Bound<'_, PyAny>) =
            range.extract().map_err(|_: PyErr| wrong(&what, "a pair (low, high)", &range))?;
        let (low, high) = (from_python(&pair.0, &what)?, from_python(&pair.1, &what)?);
        Ok(Within { name: name.into(), low, high })
    });
    ranges.collect()
}

fn lease_of(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let wrong = || PyValueError::new_err("lease must be a number of seconds above 0");
    seconds
        .map(|s| Duration::try_from_secs_f64(s).ok().filter(|d| !d.is_zero()).ok_or_else(wrong))
        .transpose()
}

/// The desk of a study in a file: the one that is there, or a new one where there is a plan.
fn in_file(path: &Path, plan: Option<&Plan>, lease: Option<Duration>) -> Result<Desk, Problem> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    if path.extension().is_none_or(|extension| extension != "luthier") {
        let shown = path.display();
        return Err(Problem::Storage(format!("{shown}: the file of a study ends in .luthier; rename it")));
    }
    let holder = if lease.is_none() { holder() } else { String::new() };
    let options = Options { holder, ..Options::default() };
    let session = crate::plan::session(path, &stem.unwrap_or_default(), plan, &options)?;
    Ok(Desk::in_file(session, path, lease))
}

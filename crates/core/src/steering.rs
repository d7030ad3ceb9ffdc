//! What users want of the one model that is watched: whether it can be done, and where the model stands once it is done.
//! Carrying it out is left to the scheduler.

use crate::event::Steer;
use crate::lineage::schedule;
use crate::space::{Params, Point, Space, SpaceError};
use crate::study::Study;
use crate::trial::Trial;

/// Names that a learning rate usually has; the first is that of a network's setting.
pub const RATES: [&str; 3] = ["learning_rate", "lr", "eta"];

/// Where the model that is watched stands, once everything has been heard that users want of it and that no decision has
/// carried out yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The trial and step whose checkpoint it is to go on from; none where it is.
    pub back: Option<(u32, u64)>,
    /// The params that it is to go on with.
    pub point: Point,
    /// Whether these, or the checkpoint, are others than those of the trial that trains now.
    pub is_changed: bool,
    /// Whether it is to stand still until told to go on.
    pub is_paused: bool,
    /// Whether it is to be done.
    pub is_over: bool,
    /// What was asked for, in a few words; empty if nothing was.
    pub asked: String,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SteerError {
    /// The study tunes and watches no single model.
    #[error(
        "this study is no run of one model that is watched, so there is nothing to steer; `luthier babysit` begins one"
    )]
    NotWatched,
    /// Nothing has been started.
    #[error("the model has not begun to train")]
    NotBegun,
    /// The model is done.
    #[error("the run is over; it can only go back to a checkpoint")]
    Over,
    /// It was told to go on, but does.
    #[error("it is not paused")]
    NotPaused,
    /// A value that is none of the space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A trial that does not exist.
    #[error("there is no trial {0}")]
    NoTrial(u32),
    /// A checkpoint that does not exist.
    #[error("trial {trial} has no checkpoint of step {step}; it has {there}")]
    NoCheckpoint {
        /// The trial.
        trial: u32,
        /// The step.
        step: u64,
        /// What there is instead.
        there: String,
    },
}

/// Whether the study is about one model that is trained once, and not about many that are compared.
pub fn is_single(study: &Study) -> bool {
    study.spec().limits.trials == Some(1) && study.spec().replicates == 1
}

/// Whether the study is a run of `luthier babysit`: of its one model, nothing is drawn and nothing compared, so there is nothing to tune.
pub fn is_watched(study: &Study) -> bool {
    let policy = &study.spec().policy;
    is_single(study) && *policy.sampler.name == *"manual" && *policy.scheduler.name == *"babysit"
}

/// The trial that trains now, or did last.
pub fn present(study: &Study) -> Option<&Trial> {
    study.trials().last()
}

/// Where the model stands; none before it has begun.
pub fn standing(study: &Study) -> Option<Standing> {
    let trial = present(study)?;
    let mut standing = Standing {
        back: None,
        point: trial.point.clone(),
        is_changed: false,
        is_paused: false,
        is_over: false,
        asked: String::new(),
    };
    for steer in study.steers() {
        standing.hear(study, steer);
    }
    standing.is_changed = standing.back.is_some() || !is_same(&standing.point, &trial.point);
    Some(standing)
}

impl Standing {
    fn hear(&mut self, study: &Study, steer: &Steer) {
        match steer {
            Steer::Turn(params) => self.point = turned(study.space(), &self.point, params),
            Steer::Back { trial, step } => {
                self.back = Some((*trial, *step));
                self.point = in_force(study, *trial, *step).unwrap_or_else(|| self.point.clone());
            }
            Steer::Pause => self.is_paused = true,
            Steer::Go => self.is_paused = false,
            Steer::Stop => self.is_over = true,
        }
        let told = told(steer, &study.metrics().step);
        self.asked = if self.asked.is_empty() { told } else { format!("{}, {told}", self.asked) };
    }
}

/// A wish in a few words; `unit` is what the study's steps are called.
pub fn told(steer: &Steer, unit: &str) -> String {
    match steer {
        Steer::Turn(params) => {
            params.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        }
        Steer::Back { step: 0, .. } => "back to the beginning".into(),
        Steer::Back { trial, step } => format!("back to {unit} {step} of trial {trial}"),
        Steer::Pause => "pause".into(),
        Steer::Go => "go".into(),
        Steer::Stop => "stop".into(),
    }
}

/// The params in force where trial `number` had its checkpoint of `step`; of step 0 those that the model began with.
pub fn in_force(study: &Study, number: u32, step: u64) -> Option<Point> {
    let first = || schedule(study, number).first().map(|leg| leg.trial);
    let of = if step == 0 { first()? } else { number };
    study.trial(of).map(|trial| trial.point.clone())
}

/// Whether a wish can be granted; `is_kept` says whether what a trial had at a step is still there.
///
/// # Errors
///
/// What does not fit, in words for the user.
pub fn check(study: &Study, steer: &Steer, is_kept: impl Fn(&Trial, u64) -> bool) -> Result<(), SteerError> {
    if !is_single(study) {
        return Err(SteerError::NotWatched);
    }
    let (Some(trial), Some(now)) = (present(study), standing(study)) else {
        return Err(SteerError::NotBegun);
    };
    let is_live = !trial.is_finished() || now.back.is_some();
    match steer {
        Steer::Turn(params) if is_live => check_turn(study.space(), &now.point, params),
        Steer::Back { trial, step } => check_back(study, *trial, *step, is_kept),
        Steer::Go if is_live && !now.is_paused => Err(SteerError::NotPaused),
        Steer::Pause | Steer::Go | Steer::Stop if is_live => Ok(()),
        Steer::Turn(_) | Steer::Pause | Steer::Go | Steer::Stop => Err(SteerError::Over),
    }
}

fn check_turn(space: &Space, point: &Point, params: &Params) -> Result<(), SteerError> {
    let wrong = |name: &str, problem: String| SpaceError::Value { name: name.into(), problem };
    for (name, value) in params.iter() {
        let index =
            space.find(name).filter(|index| !space.parameters()[*index].retired).ok_or_else(|| {
                let known: Vec<&str> = space.parameters().iter().take(12).map(|p| &*p.name).collect();
                wrong(name, format!("there is no such knob; there are {}", known.join(", ")))
            })?;
        space.encode_one(index, value)?;
    }
    let after = turned(space, point, params);
    for (name, _) in params.iter() {
        if space.find(name).is_some_and(|index| after.get(index).is_none()) {
            return Err(wrong(name, "its condition does not hold with the other values".into()).into());
        }
    }
    match space.broken_constraint(&after.0) {
        Some(index) => {
            let problem = format!("{params} with the other values as they are does not keep it");
            Err(SpaceError::Constraint { index, problem }.into())
        }
        None => Ok(()),
    }
}

fn check_back(
    study: &Study,
    number: u32,
    step: u64,
    is_kept: impl Fn(&Trial, u64) -> bool,
) -> Result<(), SteerError> {
    let trial = study.trial(number).ok_or(SteerError::NoTrial(number))?;
    let pauses = trial.pauses();
    if step == 0 || (pauses.contains(&step) && is_kept(trial, step)) {
        return Ok(());
    }
    let kept: Vec<String> =
        pauses.iter().filter(|step| is_kept(trial, **step)).map(ToString::to_string).collect();
    let there = match kept.as_slice() {
        [] => "none".into(),
        [first, .., last] if kept.len() > 12 => format!("{} from {first} to {last}", kept.len()),
        few => few.join(", "),
    };
    Err(SteerError::NoCheckpoint { trial: number, step, there })
}

/// A point with some values replaced. What its condition makes active by that has its default; a parameter that the point is
/// older than stays out of it.
pub(crate) fn turned(space: &Space, point: &Point, params: &Params) -> Point {
    let usual = space.default_point();
    let given =
        |k: usize| params.get(&space.parameters()[k].name).and_then(|value| space.encode_one(k, value).ok());
    let mut turned = space.complete(|k| {
        let usual = usual.get(k).unwrap_or_else(|| space.parameters()[k].distribution.from_unit(0.5));
        given(k).or_else(|| point.get(k)).unwrap_or(usual)
    });
    for (k, parameter) in space.parameters().iter().enumerate() {
        if parameter.when.is_none() && point.get(k).is_none() && given(k).is_none() {
            turned.0[k] = f64::NAN;
        }
    }
    turned
}

/// Whether two points are the same, inactive parameters included; one may be of an earlier, shorter space.
fn is_same(a: &Point, b: &Point) -> bool {
    (0..a.0.len().max(b.0.len())).all(|k| a.get(k) == b.get(k))
}

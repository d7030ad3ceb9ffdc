//! The crate `optimizer`, define-by-run, so that conditions are native. A level of an ordinal is an integer.

use optimizer::parameter::{CategoricalParam, FloatParam, IntParam, Parameter as _};
use optimizer::sampler::tpe::MultivariateTpeSampler;
use optimizer::sampler::{CmaEsSampler, DESampler, GpSampler, TpeSampler};
use optimizer::{Direction, Study, Trial};

use crate::refuse;
use crate::task::{Kind, Parameter, Point, Task};

pub fn run(task: &Task) {
    let params: Vec<Param> = task.space.iter().map(Param::of).collect();
    let objective = |trial: &mut Trial| {
        let mut point: Point = Vec::with_capacity(params.len());
        for (parameter, param) in task.space.iter().zip(&params) {
            let value = parameter.is_active(&point).then(|| param.suggest(trial)).transpose()?;
            point.push(value);
        }
        crate::evaluate(&point).ok_or_else(|| "failed".to_owned())
    };
    if let Err(error) = study(task).optimize(task.trials, objective) {
        refuse(&error.to_string());
    }
}

/// A study of the package's defaults but for the seed.
fn study(task: &Task) -> Study<f64> {
    let seed = task.seed;
    match task.variant.as_str() {
        "tpe" => Study::minimize(TpeSampler::builder().seed(seed).build().expect("defaults are valid")),
        "mvtpe" => {
            Study::minimize(MultivariateTpeSampler::builder().seed(seed).build().expect("defaults are valid"))
        }
        "cmaes" => Study::minimize(CmaEsSampler::with_seed(seed)),
        "gp" => Study::minimize(GpSampler::with_seed(seed)),
        "de" => Study::with_sampler(Direction::Minimize, DESampler::with_seed(seed)),
        other => refuse(&format!("optimizer has no variant {other:?}")),
    }
}

enum Param {
    Float(FloatParam),
    Int(IntParam),
    Choice(CategoricalParam<usize>),
}

impl Param {
    fn of(parameter: &Parameter) -> Self {
        let (low, high) = (parameter.low, parameter.high);
        match parameter.kind {
            Kind::Float if parameter.log => Self::Float(FloatParam::new(low, high).log_scale()),
            Kind::Float => Self::Float(FloatParam::new(low, high)),
            Kind::Int if parameter.log => Self::Int(IntParam::new(low as i64, high as i64).log_scale()),
            Kind::Int | Kind::Ordinal => Self::Int(IntParam::new(low as i64, high as i64)),
            Kind::Categorical => Self::Choice(CategoricalParam::new((0..=high as usize).collect())),
        }
    }

    fn suggest(&self, trial: &mut Trial) -> Result<f64, String> {
        match self {
            Self::Float(param) => param.suggest(trial),
            Self::Int(param) => param.suggest(trial).map(|value| value as f64),
            Self::Choice(param) => param.suggest(trial).map(|index| index as f64),
        }
        .map_err(|error| error.to_string())
    }
}

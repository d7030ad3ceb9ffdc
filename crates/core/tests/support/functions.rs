//! Functions with known optima, as studies: for comparing samplers on equal terms.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::VecDeque;

use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Origin, Outcome};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::space::{Condition, Distribution, Parameter, Prior, Scale, Space, Value};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;

/// An objective over a space, whose smallest value is 0.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Where it is defined.
    pub(crate) space: fn() -> Space,
    /// The regret at a coded point.
    pub(crate) regret: fn(&[f64]) -> f64,
}

/// Σ x² over five dimensions, off centre.
pub(crate) const SPHERE: Function = Function {
    name: "sphere",
    space: || cube(5, -5.0, 5.0),
    regret: |x| x.iter().zip([1.3, -2.1, 0.4, 3.0, -0.7]).map(|(x, c)| (x - c).powi(2)).sum(),
};

/// Branin and Hoo: two dimensions, three minima (Dixon and Szegő 1978).
pub(crate) const BRANIN: Function = Function {
    name: "branin",
    space: || made(vec![float("x", -5.0, 10.0, Scale::Linear), float("y", 0.0, 15.0, Scale::Linear)]),
    regret: |p| {
        let pi = std::f64::consts::PI;
        let bowl = p[1] - 5.1 / (4.0 * pi * pi) * p[0] * p[0] + 5.0 / pi * p[0] - 6.0;
        bowl * bowl + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * p[0].cos() + 10.0 - 0.397_887_357_729_738
    },
};

/// Hartmann's function in six dimensions: six minima (Dixon and Szegő 1978).
pub(crate) const HARTMANN6: Function = Function {
    name: "hartmann6",
    space: || cube(6, 0.0, 1.0),
    regret: |x| {
        const ALPHA: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
        const A: [[f64; 6]; 4] = [
            [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
            [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
            [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
            [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
        ];
        const P: [[f64; 6]; 4] = [
            [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
            [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
            [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
            [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
        ];
        let hill = |k: usize| {
            let inner: f64 = (0..6).map(|j| A[k][j] * (x[j] - P[k][j]).powi(2)).sum();
            ALPHA[k] * (-inner).exp()
        };
        3.322_368_011_415_511 - (0..4).map(hill).sum::<f64>()
    },
};

/// Levy's function in four dimensions: a valley full of ripples, its floor at 1.
pub(crate) const LEVY: Function = Function {
    name: "levy",
    space: || cube(4, -10.0, 10.0),
    regret: |x| {
        let pi = std::f64::consts::PI;
        let w: Vec<f64> = x.iter().map(|x| 1.0 + (x - 1.0) / 4.0).collect();
        let inner = w[..3].iter().map(|w| (w - 1.0).powi(2) * (1.0 + 10.0 * (pi * w + 1.0).sin().powi(2)));
        let last = (w[3] - 1.0).powi(2) * (1.0 + (2.0 * pi * w[3]).sin().powi(2));
        (pi * w[0]).sin().powi(2) + inner.sum::<f64>() + last
    },
};

/// A learning rate, a decay and a momentum on log scales, good only in a corner, like training a network.
pub(crate) const SKEWED: Function = Function {
    name: "skewed quadratic on log scales",
    space: || {
        made(vec![
            float("rate", 1e-6, 1.0, Scale::Log),
            float("decay", 1e-8, 1e-1, Scale::Log),
            float("momentum", 0.0, 0.999, Scale::Log1m),
        ])
    },
    regret: |p| {
        let rate = p[0].log10() + 2.2;
        let decay = p[1].log10() + 5.0;
        let momentum = (1.0 - p[2]).log10() + 1.5;
        // Too large a rate is worse than too small a one.
        rate * rate * if rate > 0.0 { 6.0 } else { 1.0 } + 0.2 * decay * decay + momentum * momentum
    },
};

/// An optimiser with parameters of its own on either branch, layers, a step and a choice.
pub(crate) const BRANCHES: Function = Function {
    name: "branches",
    space: || {
        let sgd = || Some(Condition::eq("optimizer", "sgd"));
        let adam = || Some(Condition::eq("optimizer", "adam"));
        let choices = |names: &[&str]| Distribution::Categorical {
            choices: names.iter().map(|name| (*name).into()).collect(),
        };
        let dropout = Distribution::Float { low: 0.0, high: 0.6, scale: Scale::Linear, step: Some(0.05) };
        made(vec![
            Parameter::new("optimizer", choices(&["sgd", "adam", "none"])),
            Parameter { when: sgd(), ..float("sgd_rate", 1e-4, 10.0, Scale::Log) },
            Parameter { when: sgd(), ..float("momentum", 0.0, 0.99, Scale::Log1m) },
            Parameter { when: adam(), ..float("adam_rate", 1e-6, 1.0, Scale::Log) },
            Parameter::new("layers", int(1, 8, Scale::Linear)),
            Parameter::new("width", int(8, 1024, Scale::Log)),
            Parameter::new("dropout", dropout),
            Parameter::new("activation", choices(&["relu", "tanh", "gelu", "elu", "silu"])),
        ])
    },
    regret: |p| {
        let branch = match p[0] as u64 {
            0 => 0.3 + (p[1].log10() + 1.0).powi(2) + 2.0 * ((1.0 - p[2]).log10() + 1.0).powi(2),
            1 => (p[3].log10() + 3.0).powi(2),
            _ => 4.0,
        };
        let activation = [0.3, 0.8, 0.0, 0.5, 0.1][p[7] as usize];
        branch
            + 0.1 * (p[4] - 3.0).powi(2)
            + 0.5 * (p[5] / 128.0).log2().powi(2)
            + 8.0 * (p[6] - 0.2).powi(2)
            + activation
    },
};

/// Four learning rates, three sizes, three choices: the space on which the cost of a proposal is measured.
pub(crate) const TEN: Function = Function {
    name: "ten mixed parameters",
    space: || {
        let mut parameters: Vec<Parameter> =
            (0..4).map(|k| float(&format!("f{k}"), 1e-5, 1.0, Scale::Log)).collect();
        let sizes = [int(1, 16, Scale::Linear), int(1, 1000, Scale::Log), int(-50, 50, Scale::Linear)];
        parameters.extend((0..3).map(|k| Parameter::new(format!("i{k}"), sizes[k].clone())));
        for (k, count) in [2, 4, 8].into_iter().enumerate() {
            let choices = (0..count).map(|c: i64| c.into()).collect();
            parameters.push(Parameter::new(format!("c{k}"), Distribution::Categorical { choices }));
        }
        made(parameters)
    },
    regret: |p| {
        let rates: f64 = p[..4].iter().map(|x| (x.log10() + 2.5).powi(2)).sum();
        let sizes =
            0.02 * (p[4] - 11.0).powi(2) + (p[5] / 60.0).log10().powi(2) + 1e-3 * (p[6] - 20.0).powi(2);
        rates + sizes + p[7] + 0.5 * (p[8] - 2.0).abs() + 0.25 * (p[9] - 5.0).abs()
    },
};

/// A float without steps.
pub(crate) fn float(name: &str, low: f64, high: f64, scale: Scale) -> Parameter {
    Parameter::new(name, Distribution::Float { low, high, scale, step: None })
}

/// An int without gaps.
pub(crate) fn int(low: i64, high: i64, scale: Scale) -> Distribution {
    Distribution::Int { low, high, scale, step: 1 }
}

fn made(parameters: Vec<Parameter>) -> Space {
    Space::new(parameters, vec![]).expect("the space of a test function is valid")
}

fn cube(dimensions: usize, low: f64, high: f64) -> Space {
    made((0..dimensions).map(|k| float(&format!("x{k}"), low, high, Scale::Linear)).collect())
}

/// A study of a function by a sampler, one trial at a time.
pub(crate) fn study_of(function: &Function, sampler: Component, seed: u64, trials: usize) -> Study {
    let mut spec = Spec::new(function.name, (function.space)(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = sampler;
    spec.seed = seed;
    run(spec, trials, function.regret)
}

/// Runs a study of `spec`, one trial at a time.
pub(crate) fn run(spec: Spec, trials: usize, loss: impl Fn(&[f64]) -> f64) -> Study {
    live(spec, trials, |point| Outcome::Completed { values: vec![loss(point)] })
}

/// Runs a study of `spec`, one trial at a time, each of which ends as `outcome` says of its coded point.
pub(crate) fn live(spec: Spec, trials: usize, outcome: impl Fn(&[f64]) -> Outcome) -> Study {
    crowd(spec, trials, 1, outcome)
}

/// The same with so many trials running at once, of which the oldest ends when the last one has begun.
pub(crate) fn crowd(spec: Spec, trials: usize, workers: usize, outcome: impl Fn(&[f64]) -> Outcome) -> Study {
    let mut study = Study::new(spec);
    let mut engine = Engine::new(&study).expect("the policy is valid");
    let mut running = VecDeque::new();
    while study.finished().len() < trials {
        let is_due = match engine.next(&study).expect("the policy is valid") {
            Next::Decide(event) => {
                study.apply(&event).expect("a decision follows");
                false
            }
            Next::Claim(work) => {
                study.apply(&Event::Claimed { work, attempt: 1 }).expect("the work is free");
                running.push_back(work);
                running.len() == workers
            }
            Next::Wait | Next::Done(_) => true,
        };
        if is_due {
            let Some(work) = running.pop_front() else { break };
            let outcome = outcome(&study.trials()[work.trial as usize].point.0);
            let ended = Event::Ended { work, outcome, seconds: 0.0, used: None };
            study.apply(&ended).expect("the work runs");
        }
    }
    study
}

/// The trial `trial` of a study begins at these params, and nobody has claimed it yet.
pub(crate) fn started(study: &Study, trial: u32, params: Vec<Option<Value>>, why: Origin) -> Event {
    let space = study.space_version();
    Event::Started { trial, space, params, budget: None, replicates: None, parent: None, why, by: None }
}

/// Half a unit off the optimum of [`SPHERE`] in each direction, in a range of ten.
pub(crate) const RIGHT: [f64; 5] = [1.8, -1.6, 0.9, 2.5, -1.2];
/// At the other side.
pub(crate) const WRONG: [f64; 5] = [-3.7, 2.9, -4.6, -2.0, 4.3];

/// The space of [`SPHERE`] with what a user expects of it.
pub(crate) fn expecting(center: Option<[f64; 5]>) -> Space {
    let mut parameters = (SPHERE.space)().parameters().to_vec();
    for (k, parameter) in parameters.iter_mut().enumerate() {
        parameter.prior = center.map(|center| Prior::Center { center: center[k].into(), spread: 0.1 });
    }
    made(parameters)
}

/// The smallest loss of a study.
pub(crate) fn best(study: &Study) -> f64 {
    study.trajectory().last().expect("some trial completed").loss
}

//! Problems with several objectives and known fronts, as studies: ZDT (Zitzler, Deb and Thiele 2000) and DTLZ (Deb et al.
//! 2005).

use std::f64::consts::PI;

use luthier_core::engine::resolve;
use luthier_core::event::Outcome;
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::pareto::hypervolume;
use luthier_core::space::{Distribution, Parameter, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;

use crate::functions::live;

/// Losses over the unit cube, with the corner from which their volume is measured.
#[derive(Clone, Copy)]
pub(crate) struct Problem {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Parameters.
    pub(crate) dimensions: usize,
    /// Losses.
    pub(crate) objectives: usize,
    /// The same coordinate for each loss.
    pub(crate) corner: f64,
    /// The losses at a point.
    pub(crate) losses: fn(&[f64]) -> Vec<f64>,
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn wave(x: f64) -> f64 {
    x * x - 10.0 * (4.0 * PI * x).cos()
}

/// Rastrigin's ripples around one half, 100 times their sum: the distance of DTLZ1 and 3.
fn ripples(x: &[f64]) -> f64 {
    let sum: f64 = x.iter().map(|x| (x - 0.5).powi(2) - (20.0 * PI * (x - 0.5)).cos()).sum();
    100.0 * (x.len() as f64 + sum)
}

fn bowl(x: &[f64]) -> f64 {
    x.iter().map(|x| (x - 0.5).powi(2)).sum()
}

/// A point on the sphere octant by three losses' two angles, in units of a right angle.
fn sphere(radius: f64, a: f64, b: f64) -> Vec<f64> {
    let (a, b) = (a * PI / 2.0, b * PI / 2.0);
    vec![radius * a.cos() * b.cos(), radius * a.cos() * b.sin(), radius * a.sin()]
}

pub(crate) const ZDT1: Problem = Problem {
    name: "zdt1",
    dimensions: 10,
    objectives: 2,
    corner: 4.0,
    losses: |x| {
        let g = 1.0 + 9.0 * mean(&x[1..]);
        vec![x[0], g * (1.0 - (x[0] / g).sqrt())]
    },
};

pub(crate) const ZDT2: Problem = Problem {
    name: "zdt2",
    losses: |x| {
        let g = 1.0 + 9.0 * mean(&x[1..]);
        vec![x[0], g * (1.0 - (x[0] / g).powi(2))]
    },
    ..ZDT1
};

pub(crate) const ZDT3: Problem = Problem {
    name: "zdt3",
    losses: |x| {
        let g = 1.0 + 9.0 * mean(&x[1..]);
        let f = x[0] / g;
        vec![x[0], g * (1.0 - f.sqrt() - f * (10.0 * PI * x[0]).sin())]
    },
    ..ZDT1
};

/// With x₂ … in [0, 1] stretched to [−5, 5].
pub(crate) const ZDT4: Problem = Problem {
    name: "zdt4",
    corner: 100.0,
    losses: |x| {
        let rest: f64 = x[1..].iter().map(|x| wave(10.0 * x - 5.0)).sum();
        let g = 1.0 + 10.0 * (x.len() - 1) as f64 + rest;
        vec![x[0], g * (1.0 - (x[0] / g).sqrt())]
    },
    ..ZDT1
};

pub(crate) const ZDT6: Problem = Problem {
    name: "zdt6",
    corner: 8.0,
    losses: |x| {
        let f = 1.0 - (-4.0 * x[0]).exp() * (6.0 * PI * x[0]).sin().powi(6);
        let g = 1.0 + 9.0 * mean(&x[1..]).powf(0.25);
        vec![f, g * (1.0 - (f / g).powi(2))]
    },
    ..ZDT1
};

pub(crate) const DTLZ1: Problem = Problem {
    name: "dtlz1",
    dimensions: 7,
    objectives: 3,
    corner: 200.0,
    losses: |x| {
        let half = 0.5 * (1.0 + ripples(&x[2..]));
        vec![half * x[0] * x[1], half * x[0] * (1.0 - x[1]), half * (1.0 - x[0])]
    },
};

pub(crate) const DTLZ2: Problem = Problem {
    name: "dtlz2",
    dimensions: 12,
    objectives: 3,
    corner: 2.0,
    losses: |x| sphere(1.0 + bowl(&x[2..]), x[0], x[1]),
};

pub(crate) const DTLZ3: Problem =
    Problem { name: "dtlz3", corner: 800.0, losses: |x| sphere(1.0 + ripples(&x[2..]), x[0], x[1]), ..DTLZ2 };

pub(crate) const DTLZ4: Problem = Problem {
    name: "dtlz4",
    losses: |x| sphere(1.0 + bowl(&x[2..]), x[0].powi(100), x[1].powi(100)),
    ..DTLZ2
};

pub(crate) const DTLZ5: Problem = Problem {
    name: "dtlz5",
    losses: |x| {
        let g = bowl(&x[2..]);
        sphere(1.0 + g, x[0], (1.0 + 2.0 * g * x[1]) / (2.0 * (1.0 + g)))
    },
    ..DTLZ2
};

pub(crate) const DTLZ6: Problem = Problem {
    name: "dtlz6",
    corner: 9.0,
    losses: |x| {
        let g: f64 = x[2..].iter().map(|x| x.powf(0.1)).sum();
        sphere(1.0 + g, x[0], (1.0 + 2.0 * g * x[1]) / (2.0 * (1.0 + g)))
    },
    ..DTLZ2
};

pub(crate) const DTLZ7: Problem = Problem {
    name: "dtlz7",
    corner: 20.0,
    losses: |x| {
        let g = 1.0 + 9.0 * mean(&x[2..]);
        let h: f64 = x[..2].iter().map(|f| f / (1.0 + g) * (1.0 + (3.0 * PI * f).sin())).sum();
        vec![x[0], x[1], (1.0 + g) * (3.0 - h)]
    },
    ..DTLZ2
};

/// All of them.
pub(crate) const PROBLEMS: [Problem; 12] =
    [ZDT1, ZDT2, ZDT3, ZDT4, ZDT6, DTLZ1, DTLZ2, DTLZ3, DTLZ4, DTLZ5, DTLZ6, DTLZ7];

/// The volume that `trials` trials of a sampler cover, one trial at a time.
pub(crate) fn volume(problem: &Problem, sampler: Component, seed: u64, trials: usize) -> f64 {
    let study = study_of(problem, sampler, seed, trials);
    let losses: Vec<&[f64]> = study.trials().iter().filter_map(|trial| trial.values()).collect();
    hypervolume(&losses, &vec![problem.corner; problem.objectives])
}

/// A study of a problem by a sampler, one trial at a time.
pub(crate) fn study_of(problem: &Problem, sampler: Component, seed: u64, trials: usize) -> Study {
    let unit = Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    let parameters = (0..problem.dimensions).map(|k| Parameter::new(format!("x{k}"), unit.clone()));
    let space = Space::new(parameters.collect(), vec![]).expect("a cube is a valid space");
    let metric = |k: usize| Metric { name: format!("f{k}").into(), direction: Direction::Minimize };
    let objectives = (0..problem.objectives).map(metric).collect();
    let metrics = Metrics { objectives, ..Metrics::single("f", Direction::Minimize) };
    let mut spec = Spec::new(problem.name, space, metrics);
    spec.policy.sampler = sampler;
    spec.seed = seed;
    spec.limits.trials = Some(trials as u64);
    spec.policy = resolve(&spec).expect("the policy is valid");
    live(spec, trials, |point| Outcome::Completed { values: (problem.losses)(point) })
}

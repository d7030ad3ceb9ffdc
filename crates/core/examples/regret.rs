//! Prints the regret of a sampler on functions with known optima: medians over seeds after 30, 50 and 100 trials, and
//! CPU milliseconds per ask. Arguments: sampler, options as JSON, seeds, trials, and parts of function names.

#[path = "../tests/support/functions.rs"]
#[allow(dead_code)]
mod functions;

use std::time::Instant;

use functions::*;
use luthier_core::engine::Engine;
use luthier_core::engine::Next;
use luthier_core::event::{Event, Outcome};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::space::{Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;

fn cube(low: f64, high: f64, d: usize) -> Space {
    Space::new((0..d).map(|k| float(&format!("x{k}"), low, high, Scale::Linear)).collect(), vec![]).unwrap()
}

const LEVY10: Function = Function {
    name: "levy10",
    space: || cube(-10.0, 10.0, 10),
    regret: |x| {
        let pi = std::f64::consts::PI;
        let w: Vec<f64> = x.iter().map(|x| 1.0 + (x - 1.0) / 4.0).collect();
        let n = w.len();
        let inner =
            w[..n - 1].iter().map(|w| (w - 1.0).powi(2) * (1.0 + 10.0 * (pi * w + 1.0).sin().powi(2)));
        let last = (w[n - 1] - 1.0).powi(2) * (1.0 + (2.0 * pi * w[n - 1]).sin().powi(2));
        (pi * w[0]).sin().powi(2) + inner.sum::<f64>() + last
    },
};
const ACKLEY10: Function = Function {
    name: "ackley10",
    space: || cube(-30.0, 34.0, 10),
    regret: |x| {
        let n = x.len() as f64;
        let square: f64 = x.iter().map(|x| x * x).sum::<f64>() / n;
        let wave: f64 = x.iter().map(|x| (2.0 * std::f64::consts::PI * x).cos()).sum::<f64>() / n;
        -20.0 * (-0.2 * square.sqrt()).exp() - wave.exp() + 20.0 + std::f64::consts::E
    },
};
const ROSENBROCK10: Function = Function {
    name: "rosenbrock10",
    space: || cube(-5.0, 10.0, 10),
    regret: |x| x.windows(2).map(|p| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2)).sum(),
};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut component = Component::named(&args[1]);
    let options: serde_json::Value = serde_json::from_str(&args[2]).unwrap();
    for (key, value) in options.as_object().unwrap() {
        component = component.with(key, value.clone());
    }
    let (seeds, trials): (u64, usize) = (args[3].parse().unwrap(), args[4].parse().unwrap());
    let wanted = &args[5..];
    for function in [BRANIN, HARTMANN6, SKEWED, BRANCHES, LEVY10, ACKLEY10, ROSENBROCK10, TEN] {
        if !wanted.is_empty() && !wanted.iter().any(|part| function.name.contains(part.as_str())) {
            continue;
        }
        let mut rows = Vec::new();
        let mut seconds = 0.0;
        for seed in 0..seeds {
            let mut spec =
                Spec::new(function.name, (function.space)(), Metrics::single("loss", Direction::Minimize));
            spec.policy.sampler = component.clone();
            spec.seed = seed;
            let mut study = Study::new(spec);
            let mut engine = Engine::new(&study).unwrap();
            let mut best = Vec::new();
            while study.finished().len() < trials {
                let start = Instant::now();
                let next = engine.next(&study).unwrap();
                seconds += start.elapsed().as_secs_f64();
                match next {
                    Next::Decide(event) => study.apply(&event).unwrap(),
                    Next::Claim(work) => {
                        let values = vec![(function.regret)(&study.trials()[work.trial as usize].point.0)];
                        best.push(best.last().map_or(values[0], |b: &f64| b.min(values[0])));
                        if std::env::var("TRACE").is_ok() {
                            println!(
                                "{seed} {} {:.4e} {:?}",
                                best.len(),
                                values[0],
                                study.trials()[work.trial as usize]
                                    .point
                                    .0
                                    .iter()
                                    .map(|x| (x * 1e4).round() / 1e4)
                                    .collect::<Vec<_>>()
                            );
                        }
                        let outcome = Outcome::Completed { values };
                        study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                        study.apply(&Event::Ended { work, outcome, seconds: 0.0, used: None }).unwrap();
                    }
                    _ => break,
                }
            }
            println!(
                "  {} seed {seed}: {:?}",
                function.name,
                [30, 50, 100].map(|n| best[n.min(best.len()) - 1])
            );
            rows.push(best);
        }
        let median = |n: usize| {
            let mut values: Vec<f64> = rows.iter().map(|row| row[n.min(row.len()) - 1]).collect();
            values.sort_by(f64::total_cmp);
            (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
        };
        println!(
            "{:34} 30: {:<10.4} 50: {:<10.4} 100: {:<10.4} end: {:<10.4} ms/ask {:.2}",
            function.name,
            median(30),
            median(50),
            median(100),
            median(trials),
            seconds * 1e3 / (seeds as f64 * trials as f64)
        );
    }
}

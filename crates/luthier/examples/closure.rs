//! Tunes a Rust closure that reports a learning curve, in two threads; hopeless trials are stopped early. The study is a
//! file: run it again and it goes on where it was.
//!
//! ```text
//! cargo run --release --example closure -- [STUDY.luthier]
//! ```

use std::error::Error;
use std::path::PathBuf;

use luthier::core::metric::{CurveValue, Direction, Metrics};
use luthier::core::space::{Condition, Space};
use luthier::core::spec::{Component, PolicySpec, Spec};
use luthier::executor::{Options, run};
use luthier::log::{LogError, Options as LogOptions, SqliteLog};
use luthier::objective::{Flow, closure};
use luthier::session::Session;

fn main() -> Result<(), Box<dyn Error>> {
    let path =
        std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("closure.luthier"), PathBuf::from);
    let mut session = match SqliteLog::open(&path, LogOptions::default()) {
        Ok(log) => Session::open(Box::new(log))?,
        Err(LogError::Missing { .. }) => {
            Session::create(Box::new(SqliteLog::create(&path, LogOptions::default())?), spec()?)?
        }
        Err(error) => return Err(error.into()),
    };

    let objective = closure("loss", |running| {
        let rate = running.float("rate")?;
        let is_sgd = running.text("optimizer")? == "sgd";
        let momentum = if is_sgd { running.float("momentum")? } else { 0.9 };
        let mut loss = 1.0;
        for step in 1..=27 {
            loss = descend(rate / (1.0 - momentum), step);
            if running.report(step, &[("loss", loss)]) != Flow::Continue {
                break;
            }
        }
        Ok(loss)
    });
    let options = Options { workers: 2, ..Options::new(path.with_extension("trials")) };
    run(&mut session, &objective, &options, &mut |_, _| {})?;

    let study = session.study();
    let tally = study.tally();
    println!("{}: {} completed, {} pruned", session.place(), tally.completed, tally.pruned);
    let best = study.incumbent().ok_or("no trial has completed")?;
    println!(
        "trial {}: loss {:?} with {}",
        best.number,
        best.values().unwrap_or_default(),
        study.params(best)
    );
    Ok(())
}

fn spec() -> Result<Spec, Box<dyn Error>> {
    let space = Space::builder()
        .float("rate", 1e-4..=1.0)
        .log()
        .categorical("optimizer", ["adam", "sgd"])
        .float("momentum", 0.5..=0.99)
        .log1m()
        .when(Condition::eq("optimizer", "sgd"))
        .build()?;
    let metrics = Metrics { curve: CurveValue::Best, ..Metrics::single("loss", Direction::Minimize) };
    let mut spec = Spec::new("closure", space, metrics);
    spec.limits.trials = Some(40);
    spec.max_budget = Some(27);
    spec.policy = PolicySpec::new("tpe", "asha");
    spec.policy.scheduler = Component::named("asha").with("min_budget", 3).with("eta", 3);
    Ok(spec)
}

/// The loss after `step` steps of gradient descent on two parabolas, one of them ten times as steep.
fn descend(rate: f64, step: u64) -> f64 {
    let left = |curvature: f64| (1.0 - (rate * curvature).min(2.5)).powi(step as i32).clamp(-1e3, 1e3);
    0.5 * (left(1.0).powi(2) + left(0.1).powi(2))
}

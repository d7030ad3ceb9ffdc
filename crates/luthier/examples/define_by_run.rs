//! Define-by-run: there is no space beforehand. The objective asks for each parameter where it needs it, and the space
//! grows as names come up; a parameter that a trial did not ask for is inactive in it.
//!
//! ```text
//! cargo run --release --example define_by_run
//! ```

use std::error::Error;

use luthier::core::event::Failure;
use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::{Distribution, Parameter, Scale, Space, Value};
use luthier::core::spec::{PolicySpec, Spec};
use luthier::executor::{Options, run};
use luthier::log::MemoryLog;
use luthier::objective::{Running, closure};
use luthier::session::Session;

fn main() -> Result<(), Box<dyn Error>> {
    let nothing_yet = Space::builder().build()?;
    let mut spec = Spec::new("define by run", nothing_yet, Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(80);
    spec.policy = PolicySpec::new("tpe", "run_all");
    let objective = closure("loss", |running| {
        let kind = running.suggest(Parameter::new(
            "kind",
            Distribution::Categorical { choices: ["line", "polynomial"].map(Value::from).into() },
        ))?;
        let slope = number(running, "slope", -3.0, 3.0)?;
        if kind.as_str() == Some("line") {
            return Ok((slope - 1.0).powi(2) + 0.5);
        }
        let bend = number(running, "bend", -3.0, 3.0)?;
        Ok((slope - 1.0).powi(2) + (bend - slope).powi(2))
    });
    let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
    let folder = std::env::temp_dir().join("define-by-run.trials");
    run(&mut session, &objective, &Options::new(folder), &mut |_, _| {})?;

    let study = session.study();
    let names: Vec<&str> = study.space().parameters().iter().map(|parameter| &*parameter.name).collect();
    println!("the space has grown to {}", names.join(", "));
    let best = study.incumbent().ok_or("no trial has completed")?;
    println!(
        "trial {}: loss {:?} with {}",
        best.number,
        best.values().unwrap_or_default(),
        study.params(best)
    );
    Ok(())
}

fn number(running: &mut Running<'_>, name: &str, low: f64, high: f64) -> Result<f64, Failure> {
    let distribution = Distribution::Float { low, high, scale: Scale::Linear, step: None };
    let value = running.suggest(Parameter::new(name, distribution))?;
    value.as_f64().ok_or_else(|| Failure::error(format!("{name} is {value}, not a number")))
}

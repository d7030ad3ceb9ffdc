//! A search space declared as a Rust struct, which is filled in for each trial.
//!
//! ```text
//! cargo run --release --example typed
//! ```

use std::error::Error;

use luthier::Tunable;
use luthier::core::event::Failure;
use luthier::core::metric::{Direction, Metrics};
use luthier::core::spec::{PolicySpec, Spec};
use luthier::executor::{Options, run};
use luthier::log::MemoryLog;
use luthier::objective::closure;
use luthier::session::Session;

#[derive(Debug, Tunable)]
#[tune(crate = "luthier::core")]
struct Settings {
    #[tune(low = 1e-5, high = 1e-1, scale = "log", default = 1e-3)]
    learning_rate: f64,
    #[tune(low = 1, high = 3)]
    layers: u32,
    #[tune(low = 8, high = 256, scale = "log", repeat = "layers")]
    units: Vec<u32>,
    optimizer: Optimizer,
}

#[derive(Debug, Tunable)]
#[tune(crate = "luthier::core")]
enum Optimizer {
    Adam,
    Sgd {
        #[tune(low = 0.5, high = 0.999, scale = "log1m")]
        momentum: f64,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut spec = Spec::new("typed", Settings::space()?, Metrics::single("loss", Direction::Minimize));
    spec.limits.trials = Some(60);
    spec.policy = PolicySpec::new("tpe", "run_all");
    let objective = closure("loss", |running| {
        let settings = Settings::from_params(running.params()).map_err(Failure::error)?;
        Ok(loss(&settings))
    });
    let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
    let folder = std::env::temp_dir().join("typed.trials");
    run(&mut session, &objective, &Options::new(folder), &mut |_, _| {})?;

    let study = session.study();
    let best = study.incumbent().ok_or("no trial has completed")?;
    println!("trial {}: loss {:?}", best.number, best.values().unwrap_or_default());
    println!("{:?}", Settings::from_params(&study.params(best))?);
    Ok(())
}

/// Stands for a training run: best at a learning rate of 0.003, 200 units in all, and a momentum of 0.95.
fn loss(settings: &Settings) -> f64 {
    let rate = (settings.learning_rate / 0.003).log10();
    let units = (f64::from(settings.units.iter().sum::<u32>()) / 200.0).ln();
    let optimizer = match settings.optimizer {
        Optimizer::Adam => 0.1,
        Optimizer::Sgd { momentum } => ((1.0 - momentum) / 0.05).log10().abs(),
    };
    rate * rate + units * units + optimizer + 0.01 * f64::from(settings.layers)
}

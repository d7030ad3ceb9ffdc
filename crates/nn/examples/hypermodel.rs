//! A network written in Rust, tuned: layers, widths and learning rate are asked for where they are needed, and the space
//! grows as names come up. Learns to read digits; takes a few seconds.
//!
//! ```text
//! cargo run --release -p luthier-nn --example hypermodel
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::Space;
use luthier::core::spec::{PolicySpec, Spec};
use luthier::executor::{Options, run};
use luthier::log::MemoryLog;
use luthier::session::Session;
use luthier_nn::objective::HyperObjective;
use luthier_nn::{Activation, Compile, DataSpec, Network, Problem, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/digits.csv");
    let problem = Arc::new(Problem::prepare(&DataSpec::new(data), Path::new("."))?);
    let (inputs, classes) = (problem.inputs(), problem.classes().len());

    let metrics = Metrics::single("val_accuracy", Direction::Maximize);
    let objective = HyperObjective::from_fn(&problem, &metrics, |hp| {
        let mut network = Network::sequential([inputs]);
        for layer in 1..=hp.int("layers", 0, 2).linear() {
            let units = hp.int(&format!("units[{layer}]"), 16, 128).log();
            network = network.dense(units).activation(Activation::Relu);
            network = network.dropout(hp.float("dropout", 0.0, 0.5).step(0.1));
        }
        let settings = Settings { epochs: 8, patience: Some(3), ..Settings::default() };
        let learning_rate = Some(hp.float("learning_rate", 1e-4, 1e-1).log());
        network.dense(classes).compile(Compile { learning_rate, settings, ..Compile::default() })
    })?;

    let mut spec = Spec::new("digits by hand", Space::builder().build()?, metrics);
    spec.limits.trials = Some(20);
    spec.policy = PolicySpec::new("tpe", "median");
    let folder = std::env::temp_dir().join(format!("luthier-hypermodel-{}", std::process::id()));
    let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
    run(&mut session, &objective, &Options::new(folder.clone()), &mut |_, _| {})?;

    let study = session.study();
    let best = study.incumbent().ok_or("no trial has completed")?;
    println!("trial {}: {:?} with {}", best.number, best.values().unwrap_or_default(), study.params(best));
    let saved = objective.save_best(best.number, &folder, &folder.join("best"))?;
    for (name, value) in saved.held_out {
        println!("on rows that no trial has seen: {name} {value:.4}");
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

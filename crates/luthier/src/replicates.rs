//! What the replicates of a trial said, for programs that read a study: the same words from the command line and from Python.

use luthier_core::metric::Metric;
use luthier_core::study::Study;
use luthier_core::trial::{Estimate, Trial};
use serde_json::{Map, Value, json};

/// By objective, the value of each replicate that completed, what they lead to expect of the trial (its mean with a standard
/// error), and the same of those that measured it again. Null where a trial is run once.
pub fn told(study: &Study, trial: &Trial) -> Value {
    if study.spec().runs_once() {
        return Value::Null;
    }
    let objectives = study.metrics().objectives.iter().enumerate();
    let by_name =
        objectives.map(|(k, metric)| (metric.name.to_string(), of_objective(study, trial, k, metric)));
    Value::Object(by_name.collect::<Map<_, _>>())
}

fn of_objective(study: &Study, trial: &Trial, k: usize, metric: &Metric) -> Value {
    let value = |(replicate, loss): (u16, f64)| json!({ "replicate": replicate, "value": metric.direction.turn(loss) });
    let values: Vec<Value> = trial.replicate_losses(study.metrics(), k).map(value).collect();
    let again: Vec<Value> = trial.confirmation_losses(study.metrics(), k).map(value).collect();
    json!({
        "values": values,
        "estimate": trial.estimate(k).map(|found| estimate(found, metric)),
        "measured_again": again,
        "confirmed": study.measured_again(trial, k).map(|found| estimate(&found, metric)),
    })
}

/// The standard error is null where nothing tells it.
fn estimate(found: &Estimate, metric: &Metric) -> Value {
    json!({
        "mean": metric.direction.turn(found.mean),
        "standard_error": Some(found.error).filter(|error| error.is_finite()),
        "replicates": found.replicates,
    })
}

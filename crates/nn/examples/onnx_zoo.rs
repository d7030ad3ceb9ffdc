//! Writes networks of every kind as ONNX, each with inputs, weights and, where an engine of this build runs it, its
//! outputs as JSON, for `tests/reference/onnx_check.py`.
//!
//! `cargo run -p luthier-nn --example onnx_zoo -- FOLDER`

use std::path::Path;

use luthier_nn::{Arch, EngineError, for_inference, onnx};
use serde_json::{Map, Value, json};

#[path = "../tests/zoo/mod.rs"]
mod zoo;

use zoo::{Case, ROWS, zoo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to write into")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let (mut written, mut run) = (0, 0);
    for case in zoo() {
        let file = onnx(&case.network, &case.weights, &case.outputs, &[])?;
        std::fs::write(folder.join(format!("{}.onnx", case.name)), file)?;
        let predictions = predictions(&case)?;
        run += usize::from(predictions.is_some());
        std::fs::write(
            folder.join(format!("{}.json", case.name)),
            description(&case, predictions).to_string(),
        )?;
        written += 1;
    }
    println!("{written} networks written, of which this build runs {run}");
    Ok(())
}

/// What an engine says, in the unit of the outputs; `None` if this build has no engine for the network.
fn predictions(case: &Case) -> Result<Option<Vec<f32>>, Box<dyn std::error::Error>> {
    let mut engine = match for_inference(&case.network, ROWS) {
        Ok(engine) => engine,
        Err(EngineError::Unsupported(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    engine.load_weights(&case.weights)?;
    let width = case.network.outputs();
    let mut scores = vec![0.0; ROWS * width];
    engine.predict(&case.inputs, ROWS, &mut scores);
    case.network.loss.link().apply(Arch::new(), &mut scores, width);
    if case.outputs.two_classes {
        scores = scores.iter().flat_map(|&p| [1.0 - p, p]).collect();
    }
    if !case.outputs.scales.is_empty() {
        for row in scores.chunks_exact_mut(width) {
            for (score, (mean, deviation)) in row.iter_mut().zip(&case.outputs.scales) {
                *score = (f64::from(*score) * deviation + mean) as f32;
            }
        }
    }
    Ok(Some(scores))
}

fn description(case: &Case, predictions: Option<Vec<f32>>) -> Value {
    let weights: Map<String, Value> = case
        .weights
        .iter()
        .map(|tensor| (tensor.name.clone(), json!({ "shape": tensor.shape, "data": tensor.data })))
        .collect();
    json!({
        "network": case.network,
        "rows": ROWS,
        "inputs": case.inputs,
        "weights": weights,
        "scales": case.outputs.scales,
        "two_classes": case.outputs.two_classes,
        "predictions": predictions,
    })
}

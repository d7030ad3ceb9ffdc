//! Which engine runs a network: the fused dense engine where it can, Burn for everything else. The only place that
//! knows more than one engine.

#[cfg(feature = "burn")]
use crate::burn::{BurnEngine, Compute};
use crate::dense::DenseEngine;
use crate::engine::Engine;
use crate::network::{Network, ShapeError};
use crate::parameters::Layout;
use crate::settings::Settings;
use crate::update::Updater;

/// A network that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Its layers do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// It has layers that this build cannot run.
    #[error("this build of luthier has no engine for layers of type {0}: build it with the feature `burn`")]
    Unsupported(String),
}

/// An engine for `network` with initial weights from `seed`, for batches of up to `rows` rows.
///
/// # Errors
///
/// Layers that do not fit together, or that no engine of this build can run.
pub fn for_training(
    network: &Network,
    settings: &Settings,
    seed: &[u8; 32],
    rows: usize,
) -> Result<Box<dyn Engine>, EngineError> {
    let updater = Updater::for_network(&Layout::new(network)?, settings);
    if let Some(engine) = DenseEngine::new(network, updater.clone(), seed, rows) {
        return Ok(Box::new(engine));
    }
    #[cfg(feature = "burn")]
    return Ok(Box::new(BurnEngine::new(network, updater, seed, Compute::Cpu)?));
    #[cfg(not(feature = "burn"))]
    Err(unsupported(network))
}

/// An engine for `network` with zero weights that predicts up to `rows` rows at once and cannot train.
///
/// # Errors
///
/// As for [`for_training`].
pub fn for_inference(network: &Network, rows: usize) -> Result<Box<dyn Engine>, EngineError> {
    network.shapes()?;
    if let Some(engine) = DenseEngine::for_inference(network, rows) {
        return Ok(Box::new(engine));
    }
    #[cfg(feature = "burn")]
    return Ok(Box::new(BurnEngine::for_inference(network, Compute::Cpu)?));
    #[cfg(not(feature = "burn"))]
    Err(unsupported(network))
}

#[cfg(not(feature = "burn"))]
fn unsupported(network: &Network) -> EngineError {
    let mut kinds: Vec<&str> = network.layers.iter().map(crate::network::Layer::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    EngineError::Unsupported(kinds.join(", "))
}

//! What a user allows a network to cost. A network above a limit is refused before it is built.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::summary::{Summary, grouped};

/// Limits on a network; none is checked during training.
///
/// ```
/// use luthier_nn::{Layer, Limits, Loss, Network, OptimizerKind};
///
/// let limits: Limits = toml::from_str(r#"memory = "2 GiB"
///     parameters = 15"#)?;
/// let network = Network { input: vec![3], layers: vec![Layer::dense(3), Layer::dense(1)], loss: Loss::SquaredError };
/// let refused = limits.check(&network.summary(32, OptimizerKind::Adam)?).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the network has 16 parameters to learn, above the limit of 15: use fewer `units`, `filters` or `layers`, or raise the limit"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Estimated memory in training; default 16 GiB.
    pub memory: Bytes,
    /// Parameters that are learned; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Floating-point operations of one example forward; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Bytes(16 << 30), parameters: None, flops: None }
    }
}

/// A network above a limit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// Too much memory.
    #[error(
        "the network needs about {needed} for {parameters} parameters and batches of {rows} rows, above the limit of {limit}: use fewer `units`, `filters` or `layers`, a smaller `batch_size`, or raise the limit", parameters = grouped(*parameters)
    )]
    Memory {
        /// Estimated bytes.
        needed: Bytes,
        /// Bytes allowed.
        limit: Bytes,
        /// Numbers that are learned.
        parameters: u64,
        /// Rows in a batch.
        rows: usize,
    },
    /// Too many parameters.
    #[error(
        "the network has {} parameters to learn, above the limit of {}: use fewer `units`, `filters` or `layers`, or raise the limit", grouped(*found), grouped(*limit)
    )]
    Parameters {
        /// Numbers that are learned.
        found: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// Too much arithmetic.
    #[error(
        "the network takes {} floating-point operations for one example, above the limit of {limit:e}: use fewer `units`, `filters` or `layers`, larger `strides`, or raise the limit", grouped(*found)
    )]
    Flops {
        /// Operations of one example forward.
        found: u64,
        /// How many are allowed.
        limit: f64,
    },
}

impl Limits {
    /// Whether a network is within the limits.
    ///
    /// # Errors
    ///
    /// Says which limit it is above, by how much, and what to do.
    pub fn check(&self, summary: &Summary) -> Result<(), LimitError> {
        if let Some(limit) = self.parameters.filter(|&limit| summary.learned > limit) {
            return Err(LimitError::Parameters { found: summary.learned, limit });
        }
        if let Some(limit) = self.flops.filter(|&limit| summary.flops as f64 > limit) {
            return Err(LimitError::Flops { found: summary.flops, limit });
        }
        let needed = Bytes(summary.memory.total());
        if needed > self.memory {
            let (limit, parameters, rows) = (self.memory, summary.learned, summary.rows);
            return Err(LimitError::Memory { needed, limit, parameters, rows });
        }
        Ok(())
    }
}

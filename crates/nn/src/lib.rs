//! Neural networks.

mod activation;
mod dense;
mod elementary;
mod engine;
mod initializer;
mod kernels;
mod matmul;
mod naming;
mod network;
mod optimizer;
mod rng;
mod schedule;
mod settings;

pub use activation::Activation;
pub use dense::DenseEngine;
pub use engine::{Batch, Engine, OptimizerMemory, StateError, Targets, Tensor};
pub use initializer::KernelInitializer;
pub use network::{Dense, Loss, Network};
pub use optimizer::{Optimizer, OptimizerKind};
pub use rng::{Purpose, Stream, seed_from_u64};
pub use schedule::Schedule;
pub use settings::{ParamValue, PerLayer, Settings, SettingsError};

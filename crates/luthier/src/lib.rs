//! Luthier as a library: studies kept in logs, objectives, and executors that run them.

pub mod log;

pub use luthier_core as core;

//! Luthier as a library: studies kept in logs, objectives, and executors that run them.

pub mod executor;
pub mod log;
pub mod objective;
pub mod process;
pub mod session;
pub mod study_file;

pub use luthier_core as core;

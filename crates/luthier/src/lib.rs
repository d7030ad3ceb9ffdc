//! Luthier as a library: studies kept in logs, objectives, and executors that run them.

pub mod executor;
pub mod folders;
pub mod log;
pub mod objective;
pub mod process;
pub mod replicates;
pub mod session;
pub mod study_file;

pub use luthier_core as core;
/// The trait and its derive macro: a struct as a search space, filled in for each trial.
pub use luthier_core::space::Tunable;
pub use luthier_derive::Tunable;

/// The Rust in these documents is compiled and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide/library.md")]
    struct Library;
}

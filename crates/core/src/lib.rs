//! The engine of Luthier: search spaces, studies, samplers and schedulers, as pure functions over values.
//!
//! Nothing in this crate opens a file, reads a clock, starts a thread or prints. A study is the fold of its
//! events ([`event`]); the [`engine`] answers what to run next and what a running trial does now.

pub mod acquisition;
pub mod convergence;
mod coverage;
pub mod engine;
pub mod event;
pub mod figures;
pub mod halton;
pub mod lineage;
pub mod memo;
pub mod metric;
pub mod observation;
pub mod pareto;
pub mod registry;
pub mod rng;
pub mod sampler;
pub mod scheduler;
pub mod sobol;
pub mod space;
pub mod spec;
pub mod steering;
pub mod study;
pub mod surrogate;
pub mod trial;

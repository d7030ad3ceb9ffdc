//! Luthier: sessions, logs, objectives and executors around the pure engine of `luthier-core`.

pub mod process;

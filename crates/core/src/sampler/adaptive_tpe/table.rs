//! Written by `examples/train_adaptive_tpe.rs`; do not edit. One row per choice of each setting, in the order of
//! `SETTINGS`; what the choice gains, in ranks among random settings from −1 to 1, is the row times the features.

use super::features::COUNT;

/// What another choice must promise beyond the plain estimator's.
pub(super) const MARGIN: f64 = 0.02;

pub(super) const TABLE: [[f64; COUNT]; 21] = [[0.0; COUNT]; 21];

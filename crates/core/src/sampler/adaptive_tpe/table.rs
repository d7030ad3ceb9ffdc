//! Written by `examples/train_adaptive_tpe.rs` from 5316 branches of studies of 6 families; do not edit. One row per
//! choice of each setting, in the order of `SETTINGS`; what the choice gains, in ranks among random settings from −1 to 1,
//! is the row times the features. A choice with the plain one's row is one that did not pay on families left out:
//!
//! 0. one
//! 1. log10 of the number of ranked trials, less 1.7
//! 2. log2 of the number of parameters, less 3, halved
//! 3. share of parameters with unordered choices
//! 4. share of the importance that the most important quarter of the parameters has, less 0.5
//! 5. how low the median loss lies between the 10 % and the 90 % quantile: 0.5 less its height
//! 6. share of the trials since the best one, less 0.4
//! 7. spread of the good trials' values by that of uniform ones, less 0.6
//! 8. how much of the best trials' losses is one outlier: the gap after the best by that to the 20 % quantile

use super::features::COUNT;

/// What another choice must promise beyond the plain estimator's.
pub(super) const MARGIN: f64 = 0.02;

#[rustfmt::skip]
pub(super) const TABLE: [[f64; COUNT]; 24] = [
    // gamma
    [0.0862, -0.0245, 0.0014, 0.0002, 0.0016, 0.0069, -0.0203, -0.0121, -0.0063],
    [0.0862, -0.0245, 0.0014, 0.0002, 0.0016, 0.0069, -0.0203, -0.0121, -0.0063],
    [0.0862, -0.0245, 0.0014, 0.0002, 0.0016, 0.0069, -0.0203, -0.0121, -0.0063],
    // n_candidates
    [0.0257, 0.0138, -0.0073, -0.0046, -0.0015, 0.0240, -0.0138, -0.0025, -0.0142],
    [0.0257, 0.0138, -0.0073, -0.0046, -0.0015, 0.0240, -0.0138, -0.0025, -0.0142],
    [0.0632, -0.0145, 0.0037, 0.0038, 0.0033, 0.0008, -0.0050, 0.0053, 0.0275],
    // width
    [-0.0124, -0.0034, -0.0030, -0.0071, -0.0100, -0.0101, -0.0099, 0.0024, 0.0119],
    [-0.0124, -0.0034, -0.0030, -0.0071, -0.0100, -0.0101, -0.0099, 0.0024, 0.0119],
    [0.0107, 0.0140, 0.0022, 0.0027, -0.0012, 0.0131, -0.0012, -0.0024, -0.0102],
    // bad_width
    [0.0392, 0.0132, 0.0010, -0.0187, -0.0035, -0.0133, 0.0030, -0.0110, -0.0139],
    [0.0392, 0.0132, 0.0010, -0.0187, -0.0035, -0.0133, 0.0030, -0.0110, -0.0139],
    [0.0392, 0.0132, 0.0010, -0.0187, -0.0035, -0.0133, 0.0030, -0.0110, -0.0139],
    // prior_weight
    [0.0502, 0.0127, 0.0031, 0.0300, -0.0118, 0.0125, -0.0092, 0.0121, 0.0071],
    [0.0502, 0.0127, 0.0031, 0.0300, -0.0118, 0.0125, -0.0092, 0.0121, 0.0071],
    [0.0502, 0.0127, 0.0031, 0.0300, -0.0118, 0.0125, -0.0092, 0.0121, 0.0071],
    // lock
    [-0.0566, -0.0118, -0.0030, -0.0093, 0.0020, -0.0126, 0.0258, 0.0118, 0.0051],
    [0.0053, -0.0012, 0.0021, 0.0103, 0.0033, -0.0012, -0.0073, 0.0031, 0.0072],
    [0.0513, 0.0130, 0.0009, -0.0010, -0.0053, 0.0138, -0.0185, -0.0149, -0.0123],
    // filter
    [0.0031, -0.0079, -0.0127, 0.0051, 0.0049, 0.0046, -0.0098, -0.0132, 0.0183],
    [0.0031, -0.0079, -0.0127, 0.0051, 0.0049, 0.0046, -0.0098, -0.0132, 0.0183],
    [0.0031, -0.0079, -0.0127, 0.0051, 0.0049, 0.0046, -0.0098, -0.0132, 0.0183],
    [0.0031, -0.0079, -0.0127, 0.0051, 0.0049, 0.0046, -0.0098, -0.0132, 0.0183],
    // grouping
    [0.0277, -0.0044, 0.0224, 0.0173, 0.0041, -0.0033, -0.0045, 0.0043, 0.0053],
    [0.0277, -0.0044, 0.0224, 0.0173, 0.0041, -0.0033, -0.0045, 0.0043, 0.0053],
];

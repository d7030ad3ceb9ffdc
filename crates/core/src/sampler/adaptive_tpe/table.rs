//! Written by `examples/train_adaptive_tpe.rs` from 3462 branches of studies of 6 families; do not edit. One row per
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
    [0.0630, -0.0146, 0.0097, -0.0090, 0.0000, 0.0056, -0.0108, -0.0018, 0.0013],
    [0.0630, -0.0146, 0.0097, -0.0090, 0.0000, 0.0056, -0.0108, -0.0018, 0.0013],
    [0.0630, -0.0146, 0.0097, -0.0090, 0.0000, 0.0056, -0.0108, -0.0018, 0.0013],
    // n_candidates
    [0.0145, 0.0034, -0.0087, -0.0049, 0.0000, 0.0225, -0.0053, 0.0021, -0.0040],
    [0.0145, 0.0034, -0.0087, -0.0049, 0.0000, 0.0225, -0.0053, 0.0021, -0.0040],
    [0.0647, -0.0106, -0.0006, 0.0077, 0.0000, -0.0086, -0.0099, 0.0003, 0.0196],
    // width
    [-0.0153, 0.0015, 0.0041, -0.0082, 0.0000, -0.0139, -0.0109, 0.0042, 0.0022],
    [-0.0153, 0.0015, 0.0041, -0.0082, 0.0000, -0.0139, -0.0109, 0.0042, 0.0022],
    [-0.0153, 0.0015, 0.0041, -0.0082, 0.0000, -0.0139, -0.0109, 0.0042, 0.0022],
    // bad_width
    [0.0317, 0.0098, 0.0034, -0.0119, 0.0000, -0.0053, 0.0039, -0.0077, -0.0090],
    [0.0317, 0.0098, 0.0034, -0.0119, 0.0000, -0.0053, 0.0039, -0.0077, -0.0090],
    [0.0317, 0.0098, 0.0034, -0.0119, 0.0000, -0.0053, 0.0039, -0.0077, -0.0090],
    // prior_weight
    [0.0335, 0.0018, -0.0097, 0.0200, 0.0000, 0.0077, -0.0090, 0.0125, 0.0043],
    [0.0335, 0.0018, -0.0097, 0.0200, 0.0000, 0.0077, -0.0090, 0.0125, 0.0043],
    [0.0335, 0.0018, -0.0097, 0.0200, 0.0000, 0.0077, -0.0090, 0.0125, 0.0043],
    // lock
    [-0.0560, -0.0063, -0.0008, -0.0114, 0.0000, -0.0033, 0.0200, 0.0047, 0.0014],
    [-0.0560, -0.0063, -0.0008, -0.0114, 0.0000, -0.0033, 0.0200, 0.0047, 0.0014],
    [0.0462, 0.0024, 0.0022, 0.0036, 0.0000, 0.0013, -0.0021, -0.0073, -0.0037],
    // filter
    [0.0105, -0.0049, -0.0123, 0.0074, 0.0000, 0.0116, -0.0037, -0.0133, 0.0134],
    [0.0105, -0.0049, -0.0123, 0.0074, 0.0000, 0.0116, -0.0037, -0.0133, 0.0134],
    [0.0105, -0.0049, -0.0123, 0.0074, 0.0000, 0.0116, -0.0037, -0.0133, 0.0134],
    [0.0105, -0.0049, -0.0123, 0.0074, 0.0000, 0.0116, -0.0037, -0.0133, 0.0134],
    // grouping
    [0.0338, -0.0066, 0.0210, 0.0113, 0.0000, -0.0038, -0.0065, 0.0080, 0.0076],
    [0.0338, -0.0066, 0.0210, 0.0113, 0.0000, -0.0038, -0.0065, 0.0080, 0.0076],
];

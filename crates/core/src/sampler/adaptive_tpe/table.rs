//! Written by `examples/train_adaptive_tpe.rs` from 15060 branches of simulated studies; do not edit. One row per
//! choice of each setting, in the order of `SETTINGS`; what the choice gains, in ranks among random settings from −1 to 1,
//! is the row times the features:
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
    [0.0343, 0.0102, -0.0060, -0.0052, -0.0166, 0.0332, -0.0019, -0.0198, 0.0208],
    [-0.0911, 0.0084, 0.0729, 0.0011, 0.0294, -0.0486, 0.0279, 0.0651, 0.0100],
    [0.0567, -0.0186, -0.0670, 0.0041, -0.0128, 0.0153, -0.0261, -0.0453, -0.0308],
    // n_candidates
    [0.0070, -0.0003, -0.0163, -0.0209, -0.0078, 0.0025, -0.0210, -0.0094, 0.0012],
    [-0.0276, -0.0135, 0.0105, 0.0132, 0.0047, 0.0028, 0.0153, 0.0119, 0.0166],
    [0.0206, 0.0137, 0.0058, 0.0077, 0.0032, -0.0053, 0.0057, -0.0025, -0.0178],
    // width
    [-0.0172, -0.0212, 0.0111, 0.0118, 0.0168, -0.0076, 0.0165, -0.0010, -0.0139],
    [0.0095, 0.0306, 0.0005, 0.0041, -0.0076, 0.0291, -0.0111, 0.0028, 0.0042],
    [0.0077, -0.0094, -0.0116, -0.0159, -0.0092, -0.0215, -0.0054, -0.0017, 0.0096],
    // bad_width
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    // prior_weight
    [0.0048, 0.0072, -0.0142, 0.0098, 0.0007, 0.0082, 0.0135, 0.0023, 0.0154],
    [0.0179, 0.0014, 0.0128, 0.0021, 0.0012, -0.0206, -0.0088, -0.0117, -0.0065],
    [-0.0227, -0.0086, 0.0014, -0.0119, -0.0018, 0.0124, -0.0048, 0.0094, -0.0089],
    // lock
    [-0.0369, -0.0231, -0.0155, 0.0208, 0.0027, -0.0003, 0.0155, 0.0426, 0.0231],
    [0.0022, 0.0132, -0.0089, -0.0054, -0.0155, 0.0005, 0.0077, -0.0133, -0.0158],
    [0.0347, 0.0100, 0.0243, -0.0154, 0.0127, -0.0002, -0.0231, -0.0293, -0.0072],
    // filter
    [0.0374, -0.0159, -0.0519, -0.0103, 0.0296, -0.0053, -0.0289, 0.0094, -0.0042],
    [0.0171, 0.0186, 0.0076, 0.0004, -0.0165, 0.0097, 0.0133, -0.0055, 0.0054],
    [-0.0468, 0.0164, 0.0319, 0.0077, -0.0154, 0.0038, 0.0082, -0.0109, -0.0144],
    [-0.0077, -0.0192, 0.0123, 0.0022, 0.0023, -0.0082, 0.0073, 0.0070, 0.0132],
    // grouping
    [0.0345, -0.0155, 0.0249, -0.0130, 0.0163, 0.0095, -0.0243, -0.0290, -0.0007],
    [-0.0345, 0.0155, -0.0249, 0.0130, -0.0163, -0.0095, 0.0243, 0.0290, 0.0007],
];

//! Models of what a study has seen. They know coordinates and weights, and have never heard of trials or studies.

pub mod normal;
pub mod parzen;

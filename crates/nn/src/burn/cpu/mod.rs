//! The few operations that decide the speed of a network on the CPU, each as one node of Burn's graph. All of them
//! have a twin in [`super::portable`]; tests hold them to each other.

mod activate;
mod convolution;
mod node;
mod pooling;
mod recurrence;

pub(super) use activate::activate;
pub(super) use convolution::convolve;
pub(super) use pooling::{average, largest};
pub(super) use recurrence::{Sequence, read};

//! The seam between training and tensors: what a trainer asks of an engine. An engine holds weights and optimiser
//! state and does arithmetic; it never sees epochs, shuffles, files or reports.

use crate::rng::Stream;

/// Holds the weights of one network and moves them. Implemented by [`crate::dense::DenseEngine`].
pub trait Engine: Send {
    /// One optimiser step on a batch; returns the summed loss of its rows before the step, each times its weight,
    /// without penalties. A loss that is not finite means that training diverged. `dropout` is the epoch's stream.
    fn train(&mut self, batch: Batch<'_>, learning_rate: f64, dropout: &mut Stream) -> f64;

    /// Writes the outputs (scores before the softmax, or numbers) of `rows` rows, without dropout. The result of a
    /// row may depend in its last bits on how many rows are asked together, never on anything else.
    fn predict(&mut self, inputs: &[f32], rows: usize, outputs: &mut [f32]);

    /// The weights, in a fixed order with fixed names.
    fn weights(&self) -> Vec<Tensor>;

    /// What the optimiser remembers.
    fn memory(&self) -> OptimizerMemory;

    /// Replaces the weights by tensors of the same names and shapes.
    fn load_weights(&mut self, tensors: &[Tensor]) -> Result<(), StateError>;

    /// Replaces what the optimiser remembers.
    fn load_memory(&mut self, memory: &OptimizerMemory) -> Result<(), StateError>;
}

/// Rows to train on.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Number of rows, at least one.
    pub rows: usize,
    /// Row by row.
    pub inputs: &'a [f32],
    /// What the network should say for them.
    pub targets: Targets<'a>,
    /// How much each row counts (class weight times the row's own), not negative; all the same without.
    pub weights: Option<&'a [f32]>,
}

/// What a network should say for each of some rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Targets<'a> {
    /// The class number of each row, from 0.
    Classes(&'a [u32]),
    /// Numbers row by row, as many per row as the network has outputs: standardised numbers, labels that are 0 or 1,
    /// or a probability for each class.
    Values(&'a [f32]),
}

/// A named array, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// For example `layers.1.kernel`.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// As many values as the product of the sizes.
    pub data: Vec<f32>,
}

/// Steps taken and the optimiser's per-parameter numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerMemory {
    /// Steps taken so far.
    pub steps: u64,
    /// Named like the weights, with the slot in front (`velocity.layers.1.kernel`).
    pub slots: Vec<Tensor>,
}

/// A state that does not fit the network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StateError {
    /// A tensor is not there.
    #[error("tensor `{0}` is missing")]
    Missing(String),
    /// A tensor has another shape.
    #[error("tensor `{name}` has shape {found:?}, but this network needs {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The state's shape.
        found: Vec<usize>,
    },
    /// A tensor holds infinity or NaN.
    #[error("tensor `{0}` holds numbers that are not finite")]
    NotFinite(String),
}

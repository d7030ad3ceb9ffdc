//! The fused dense engine: networks of rows of features on the CPU, in single precision, on one thread. All buffers
//! are made once; a step allocates nothing but what `gemm` takes to pack its matrices.
//!
//! It runs dense layers, activations, dropout, both normalisations, embedded columns, residual blocks of these, and
//! flattening; on plain rows, and on each step of a sequence where nothing looks at other steps. No convolutions, no
//! recurrence. All parameters live in one slice, so that the optimiser is one loop.

mod normalization;
mod plan;
mod stage;

use pulp::Arch;

use self::plan::plan;
use self::stage::{Deltas, Noise, Stage, Values};
use crate::engine::{Batch, Engine, OptimizerMemory, StateError, Tensor};
use crate::loss::Loss;
use crate::network::Network;
use crate::parameters::Layout;
use crate::rng::Stream;
use crate::update::Updater;

/// Runs a [`Network`] by hand-written passes.
///
/// ```
/// use luthier_nn::{DenseEngine, Engine, Layer, Loss, Network, Tensor};
///
/// let network = Network { input: vec![2], layers: vec![Layer::dense(2)], loss: Loss::SquaredError };
/// let mut engine = DenseEngine::for_inference(&network, 2).expect("a dense layer");
/// engine.load_weights(&[
///     Tensor { name: "layers.1.kernel".into(), shape: vec![2, 2], data: vec![0.5, 0.75, 0.25, 0.5] },
///     Tensor { name: "layers.1.bias".into(), shape: vec![2], data: vec![0.0, 0.0] },
/// ])?;
/// let mut outputs = [0.0; 4];
/// engine.predict(&[1.0, 2.0, 3.0, 4.0], 2, &mut outputs);
/// assert_eq!(outputs, [1.0, 1.75, 2.5, 4.25]);
/// # Ok::<(), luthier_nn::StateError>(())
/// ```
pub struct DenseEngine {
    arch: Arch,
    inputs: usize,
    layout: Layout,
    loss: Loss,
    /// Never empty.
    stages: Vec<Stage>,
    /// Where the way back ends: the first stage that learns.
    first: usize,
    weights: Vec<f32>,
    /// As `weights`; empty in an engine that only predicts, as everything below.
    gradients: Vec<f32>,
    updater: Option<Updater>,
    deltas: Deltas,
    noise: Vec<u8>,
}

impl DenseEngine {
    /// Whether this engine can run the network.
    pub fn supports(network: &Network) -> bool {
        Layout::new(network).is_ok_and(|layout| plan(network, &layout, 1, false).is_some())
    }

    /// A network with fresh weights from `seed`, ready to be trained on batches of up to `rows` rows and to predict
    /// as many at once; `None` if it [cannot](Self::supports) run it. `updater` is one made for this network.
    ///
    /// Batch normalisation takes its statistics from any batch, even of one row: that has the variance 0 and comes
    /// out as β, passes no gradient on, and pulls the moving variance towards 0 as any other batch pulls it.
    ///
    /// # Panics
    /// If the updater is for another number of parameters.
    pub fn new(network: &Network, updater: Updater, seed: &[u8; 32], rows: usize) -> Option<Self> {
        let mut engine = Self::build(network, rows, true)?;
        let count = engine.weights.len();
        assert_eq!(updater.len(), count, "an updater for another network");
        engine.weights = engine.layout.initial(seed);
        engine.gradients = vec![0.0; count];
        engine.updater = Some(updater);
        let widest = engine.stages.iter().map(|stage| stage.positions * stage.inputs.max(stage.units));
        let room = vec![0.0; widest.max().unwrap_or_default() * rows];
        engine.deltas = Deltas { now: room.clone(), next: room };
        let noisy = engine.stages.iter().filter(|stage| stage.dropout > 0.0);
        engine.noise = vec![0; noisy.map(|stage| 2 * stage.outputs.len()).max().unwrap_or_default()];
        Some(engine)
    }

    /// A network with zero weights that can predict up to `rows` rows at once but not be trained; `None` if it
    /// [cannot](Self::supports) run it.
    pub fn for_inference(network: &Network, rows: usize) -> Option<Self> {
        Self::build(network, rows, false)
    }

    fn build(network: &Network, rows: usize, training: bool) -> Option<Self> {
        let layout = Layout::new(network).ok()?;
        let stages = plan(network, &layout, rows, training)?;
        Some(Self {
            arch: Arch::new(),
            inputs: network.inputs(),
            loss: network.loss,
            weights: vec![0.0; layout.len()],
            layout,
            first: stages.iter().position(Stage::learns).unwrap_or(stages.len()),
            stages,
            gradients: Vec::new(),
            updater: None,
            deltas: Deltas::default(),
            noise: Vec::new(),
        })
    }

    /// The gradient at the last batch trained on, named as the weights: what the update rule was given, that is, of
    /// the mean loss with penalties, clipped if clipping is on.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.layout.tensors(&self.gradients, "")
    }

    /// Runs all stages; in training with the stream of dropout.
    fn forward(&mut self, inputs: &[f32], rows: usize, mut dropout: Option<&mut Stream>) {
        for index in 0..self.stages.len() {
            let (stages, rest) = self.stages.split_at_mut(index);
            let values = Values { arch: self.arch, rows, inputs, stages };
            let noise = dropout.as_deref_mut().map(|stream| Noise { stream, room: &mut self.noise });
            rest[0].forward(&values, &mut self.weights, noise);
        }
    }

    /// The outputs of the last run.
    fn outputs(&self, rows: usize) -> &[f32] {
        self.stages.last().map_or(&[], |last| &last.outputs[..rows * last.size()])
    }

    /// From the gradient with respect to the outputs, in `deltas.now`, to that of all parameters.
    fn backward(&mut self, inputs: &[f32], rows: usize) {
        for index in (self.first..self.stages.len()).rev() {
            let (stages, rest) = self.stages.split_at_mut(index);
            let Some((stage, after)) = rest.split_first_mut() else { return };
            let values = Values { arch: self.arch, rows, inputs, stages };
            let goes_on = index > self.first;
            stage.backward(&values, after, &self.weights, &mut self.gradients, &mut self.deltas, goes_on);
        }
    }

    fn slot_names(&self) -> impl Iterator<Item = String> + use<> {
        let names = self.updater.as_ref().map_or(&[][..], Updater::slot_names);
        names.iter().map(|slot| format!("{slot}."))
    }
}

impl Engine for DenseEngine {
    fn train(&mut self, batch: Batch<'_>, learning_rate: f64, dropout: &mut Stream) -> f64 {
        let rows = batch.rows;
        self.forward(batch.inputs, rows, Some(dropout));
        let mut delta = std::mem::take(&mut self.deltas.now);
        let outputs = self.outputs(rows);
        let scores = &mut delta[..outputs.len()];
        scores.copy_from_slice(outputs);
        let loss = self.loss.gradient(self.arch, scores, rows, batch.targets, batch.weights);
        self.deltas.now = delta;
        self.backward(batch.inputs, rows);
        let Some(updater) = &mut self.updater else {
            unreachable!("an engine for inference was asked to train")
        };
        updater.step(&mut self.weights, &mut self.gradients, learning_rate);
        loss
    }

    fn predict(&mut self, inputs: &[f32], rows: usize, outputs: &mut [f32]) {
        debug_assert_eq!(inputs.len(), rows * self.inputs);
        self.forward(inputs, rows, None);
        outputs.copy_from_slice(self.outputs(rows));
    }

    fn weights(&self) -> Vec<Tensor> {
        self.layout.tensors(&self.weights, "")
    }

    fn memory(&self) -> OptimizerMemory {
        let (steps, values) = self.updater.as_ref().map_or((0, &[][..]), |u| (u.steps(), u.slots()));
        let slots =
            self.slot_names().zip(values).flat_map(|(slot, values)| self.layout.tensors(values, &slot));
        OptimizerMemory { steps, slots: slots.collect() }
    }

    fn load_weights(&mut self, tensors: &[Tensor]) -> Result<(), StateError> {
        self.weights = self.layout.gather(tensors, "")?;
        Ok(())
    }

    fn load_memory(&mut self, memory: &OptimizerMemory) -> Result<(), StateError> {
        let slots: Result<_, _> =
            self.slot_names().map(|slot| self.layout.gather(&memory.slots, &slot)).collect();
        let slots = slots?;
        if let Some(updater) = &mut self.updater {
            updater.restore(memory.steps, slots);
        }
        Ok(())
    }
}

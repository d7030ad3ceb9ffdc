//! The fused dense engine: networks of dense layers on the CPU, in single precision, on one thread. All buffers are
//! made once; a step allocates nothing.
//!
//! The forward pass of training keeps, beside each layer's output, the slope of what was applied to its sums
//! (activation times dropout mask). Going backward is then the same for every activation: multiply by the slope,
//! two matrix products, next layer. All parameters live in one slice, so the optimiser is one loop.

use std::ops::Range;

use pulp::Arch;

use crate::activation::Activation;
use crate::engine::{Batch, Engine, OptimizerMemory, StateError, Tensor};
use crate::kernels;
use crate::loss::Loss;
use crate::matmul::{Matrix, multiply};
use crate::network::{Layer, Network, Penalty};
use crate::optimizer::Optimizer;
use crate::parameters::Layout;
use crate::rng::Stream;

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
    layers: Vec<Block>,
    weights: Vec<f32>,
    /// Empty in an engine that only predicts.
    gradients: Vec<f32>,
    optimizer: Option<Optimizer>,
    /// The optimiser's numbers, each slot as long as `weights`.
    slots: Vec<Vec<f32>>,
    steps: u64,
    /// The gradient with respect to a layer's outputs, and room for that of the layer before.
    delta: Vec<f32>,
    delta_before: Vec<f32>,
    noise: Vec<u8>,
}

/// A dense layer with what follows it, its place in the parameters, and its buffers.
struct Block {
    units: usize,
    activation: Activation,
    dropout: f64,
    penalty: Penalty,
    inputs: usize,
    kernel: Range<usize>,
    bias: Range<usize>,
    outputs: Vec<f32>,
    slopes: Vec<f32>,
}

impl DenseEngine {
    /// Whether this engine can run the network: rows of features through dense layers with activation and dropout.
    pub fn supports(network: &Network) -> bool {
        Layout::new(network).is_ok_and(|layout| blocks(network, &layout, 1).is_some())
    }

    /// A network with fresh weights from `seed`, ready to be trained on batches of up to `rows` rows and to predict
    /// as many at once; `None` if it [cannot](Self::supports) run it.
    pub fn new(network: &Network, optimizer: Optimizer, seed: &[u8; 32], rows: usize) -> Option<Self> {
        let mut engine = Self::for_inference(network, rows)?;
        let count = engine.weights.len();
        engine.weights = engine.layout.initial(seed);
        engine.gradients = vec![0.0; count];
        engine.slots = optimizer.kind().slots().iter().map(|_| vec![0.0; count]).collect();
        engine.optimizer = Some(optimizer);
        let widest = engine.layers.iter().map(|layer| layer.units).fold(engine.inputs, usize::max) * rows;
        (engine.delta, engine.delta_before) = (vec![0.0; widest], vec![0.0; widest]);
        let mut noisiest = 0;
        for layer in &mut engine.layers {
            layer.slopes = vec![0.0; layer.outputs.len()];
            if layer.dropout > 0.0 {
                noisiest = noisiest.max(2 * layer.outputs.len());
            }
        }
        engine.noise = vec![0; noisiest];
        Some(engine)
    }

    /// A network with zero weights that can predict up to `rows` rows at once but not be trained; `None` if it
    /// [cannot](Self::supports) run it.
    pub fn for_inference(network: &Network, rows: usize) -> Option<Self> {
        let layout = Layout::new(network).ok()?;
        let layers = blocks(network, &layout, rows)?;
        Some(Self {
            arch: Arch::new(),
            inputs: network.inputs(),
            loss: network.loss,
            weights: vec![0.0; layout.len()],
            layout,
            layers,
            gradients: Vec::new(),
            optimizer: None,
            slots: Vec::new(),
            steps: 0,
            delta: Vec::new(),
            delta_before: Vec::new(),
            noise: Vec::new(),
        })
    }

    /// The gradient of the mean loss (with penalties) at the last batch trained on, named as the weights.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.layout.tensors(&self.gradients, "")
    }

    fn forward_training(&mut self, inputs: &[f32], rows: usize, dropout: &mut Stream) {
        for index in 0..self.layers.len() {
            let (before, rest) = self.layers.split_at_mut(index);
            let layer = &mut rest[0];
            let (units, used) = (layer.units, rows * layer.units);
            let x = before.last().map_or(inputs, |previous| &previous.outputs[..rows * layer.inputs]);
            let outputs = &mut layer.outputs[..used];
            let slopes = &mut layer.slopes[..used];
            let kernel = Matrix::new(&self.weights[layer.kernel.clone()], layer.inputs, units);
            multiply(outputs, Matrix::new(x, rows, layer.inputs), kernel);
            let bias = &self.weights[layer.bias.clone()];
            kernels::activate_with_slope(self.arch, layer.activation, outputs, slopes, bias);
            if layer.dropout > 0.0 {
                let noise = &mut self.noise[..2 * used];
                dropout.fill(noise);
                kernels::drop_units(self.arch, layer.dropout, outputs, slopes, noise);
            }
        }
    }

    /// Puts the gradient of the mean loss with respect to the network's outputs into `delta`.
    fn loss_gradient(&mut self, batch: &Batch<'_>) -> f64 {
        let Some(last) = self.layers.last() else { return 0.0 };
        let used = batch.rows * last.units;
        let delta = &mut self.delta[..used];
        delta.copy_from_slice(&last.outputs[..used]);
        self.loss.gradient(self.arch, delta, batch.rows, batch.targets, batch.weights)
    }

    fn backward(&mut self, inputs: &[f32], rows: usize) {
        for index in (0..self.layers.len()).rev() {
            let layer = &self.layers[index];
            let (fan_in, units) = (layer.inputs, layer.units);
            let delta = &mut self.delta[..rows * units];
            let slopes = &layer.slopes[..rows * units];
            kernels::through_slope(self.arch, delta, slopes, &mut self.gradients[layer.bias.clone()]);

            let x = match index.checked_sub(1) {
                Some(previous) => &self.layers[previous].outputs[..rows * fan_in],
                None => inputs,
            };
            let delta = Matrix::new(delta, rows, units);
            let x = Matrix::new(x, rows, fan_in).transposed();
            multiply(&mut self.gradients[layer.kernel.clone()], x, delta);
            if index > 0 {
                let kernel = Matrix::new(&self.weights[layer.kernel.clone()], fan_in, units).transposed();
                multiply(&mut self.delta_before[..rows * fan_in], delta, kernel);
                std::mem::swap(&mut self.delta, &mut self.delta_before);
            }
        }
    }

    fn add_penalties(&mut self) {
        for layer in self.layers.iter().filter(|layer| !layer.penalty.is_none()) {
            let (gradient, kernel) =
                (&mut self.gradients[layer.kernel.clone()], &self.weights[layer.kernel.clone()]);
            kernels::add_penalty(self.arch, gradient, kernel, layer.penalty.l1, layer.penalty.l2);
        }
    }
}

/// Groups the layers of a network into blocks; `None` if one of them is of another kind.
fn blocks(network: &Network, layout: &Layout, rows: usize) -> Option<Vec<Block>> {
    let [mut inputs] = network.input[..] else { return None };
    let mut ranges = layout.entries().iter().map(|(_, range)| range.clone());
    let mut blocks: Vec<Block> = Vec::new();
    for layer in &network.layers {
        match layer {
            Layer::Dense(dense)
                if dense.bias && dense.weights.biases.is_none() && dense.weights.activity.is_none() =>
            {
                blocks.push(Block {
                    units: dense.units,
                    activation: dense.activation,
                    dropout: 0.0,
                    penalty: dense.weights.kernel,
                    inputs,
                    kernel: ranges.next()?,
                    bias: ranges.next()?,
                    outputs: vec![0.0; rows * dense.units],
                    slopes: Vec::new(),
                });
                inputs = dense.units;
            }
            Layer::Dropout { rate } => {
                let block = blocks.last_mut().filter(|block| block.dropout == 0.0)?;
                block.dropout = *rate;
            }
            _ => return None,
        }
    }
    Some(blocks)
}

impl Engine for DenseEngine {
    fn train(&mut self, batch: Batch<'_>, learning_rate: f64, dropout: &mut Stream) -> f64 {
        let rows = batch.rows;
        let Some(optimizer) = self.optimizer else {
            unreachable!("an engine for inference was asked to train")
        };
        self.forward_training(batch.inputs, rows, dropout);
        let loss = self.loss_gradient(&batch);
        self.backward(batch.inputs, rows);
        self.add_penalties();
        self.steps += 1;
        optimizer.update(
            self.arch,
            &mut self.weights,
            &self.gradients,
            &mut self.slots,
            learning_rate,
            self.steps,
        );
        loss
    }

    fn predict(&mut self, inputs: &[f32], rows: usize, outputs: &mut [f32]) {
        debug_assert_eq!(inputs.len(), rows * self.inputs);
        for index in 0..self.layers.len() {
            let (before, rest) = self.layers.split_at_mut(index);
            let layer = &mut rest[0];
            let x = before.last().map_or(inputs, |previous| &previous.outputs[..rows * layer.inputs]);
            let sums = &mut layer.outputs[..rows * layer.units];
            let kernel = Matrix::new(&self.weights[layer.kernel.clone()], layer.inputs, layer.units);
            multiply(sums, Matrix::new(x, rows, layer.inputs), kernel);
            kernels::activate(self.arch, layer.activation, sums, &self.weights[layer.bias.clone()]);
        }
        if let Some(last) = self.layers.last() {
            outputs.copy_from_slice(&last.outputs[..rows * last.units]);
        }
    }

    fn weights(&self) -> Vec<Tensor> {
        self.layout.tensors(&self.weights, "")
    }

    fn memory(&self) -> OptimizerMemory {
        let slots =
            self.slot_names().zip(&self.slots).flat_map(|(slot, values)| self.layout.tensors(values, &slot));
        OptimizerMemory { steps: self.steps, slots: slots.collect() }
    }

    fn load_weights(&mut self, tensors: &[Tensor]) -> Result<(), StateError> {
        self.weights = self.layout.gather(tensors, "")?;
        Ok(())
    }

    fn load_memory(&mut self, memory: &OptimizerMemory) -> Result<(), StateError> {
        let slots: Result<_, _> =
            self.slot_names().map(|slot| self.layout.gather(&memory.slots, &slot)).collect();
        self.slots = slots?;
        self.steps = memory.steps;
        Ok(())
    }
}

impl DenseEngine {
    fn slot_names(&self) -> impl Iterator<Item = String> + use<> {
        let names = self.optimizer.map_or(&[][..], |optimizer| optimizer.kind().slots());
        names.iter().map(|slot| format!("{slot}."))
    }
}

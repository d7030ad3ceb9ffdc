//! The fused dense engine: networks of dense layers on the CPU, in single precision, on one thread. All buffers are
//! made once; a step allocates nothing.
//!
//! The forward pass of training keeps, beside each layer's output, the slope of what was applied to its sums
//! (activation times dropout mask). Going backward is then the same for every activation: multiply by the slope,
//! two matrix products, next layer. All parameters live in one slice, so the optimiser is one loop.

use std::ops::Range;

use pulp::Arch;

use crate::engine::{Batch, Engine, OptimizerMemory, StateError, Tensor};
use crate::kernels;
use crate::loss::Loss;
use crate::matmul::{Matrix, multiply};
use crate::network::{Dense, Network};
use crate::optimizer::Optimizer;
use crate::rng::{Purpose, Stream};

/// Runs a [`Network`] by hand-written passes.
///
/// ```
/// use luthier_nn::{Activation, DenseEngine, Engine, Network, Tensor};
/// # use luthier_nn::{Loss, Settings};
///
/// let settings = Settings { layers: Some(0), ..Settings::default() };
/// let network = Network::dense(2, 2, Loss::SquaredError, &settings);
/// let mut engine = DenseEngine::for_inference(&network, 2);
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
    loss: Loss,
    layers: Vec<Layer>,
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

/// A layer's place in the parameters, and its buffers.
struct Layer {
    spec: Dense,
    inputs: usize,
    kernel: Range<usize>,
    bias: Range<usize>,
    outputs: Vec<f32>,
    slopes: Vec<f32>,
}

impl DenseEngine {
    /// A network with fresh weights from `seed`, ready to be trained on batches of up to `rows` rows and to predict
    /// as many at once.
    pub fn new(network: &Network, optimizer: Optimizer, seed: &[u8; 32], rows: usize) -> Self {
        let mut engine = Self::for_inference(network, rows);
        let count = engine.weights.len();
        engine.gradients = vec![0.0; count];
        engine.slots = optimizer.kind().slots().iter().map(|_| vec![0.0; count]).collect();
        engine.optimizer = Some(optimizer);
        let widest = network.widest() * rows;
        (engine.delta, engine.delta_before) = (vec![0.0; widest], vec![0.0; widest]);
        let mut noisiest = 0;
        for (index, layer) in engine.layers.iter_mut().enumerate() {
            layer.slopes = vec![0.0; layer.outputs.len()];
            if layer.spec.dropout > 0.0 {
                noisiest = noisiest.max(2 * layer.outputs.len());
            }
            let kernel = &mut engine.weights[layer.kernel.clone()];
            let mut stream = Stream::new(seed, Purpose::Weights, index as u64);
            layer.spec.kernel_initializer.fill(kernel, layer.inputs, layer.spec.units, &mut stream);
        }
        engine.noise = vec![0; noisiest];
        engine
    }

    /// A network with zero weights that can predict up to `rows` rows at once but not be trained.
    pub fn for_inference(network: &Network, rows: usize) -> Self {
        let mut end = 0;
        let mut place = |length| {
            end += length;
            end - length..end
        };
        let layers: Vec<Layer> = network
            .shapes()
            .zip(&network.layers)
            .map(|((inputs, units), spec)| Layer {
                spec: spec.clone(),
                inputs,
                kernel: place(inputs * units),
                bias: place(units),
                outputs: vec![0.0; rows * units],
                slopes: Vec::new(),
            })
            .collect();
        Self {
            arch: Arch::new(),
            inputs: network.inputs,
            loss: network.loss,
            layers,
            weights: vec![0.0; end],
            gradients: Vec::new(),
            optimizer: None,
            slots: Vec::new(),
            steps: 0,
            delta: Vec::new(),
            delta_before: Vec::new(),
            noise: Vec::new(),
        }
    }

    /// The gradient of the mean loss (with penalties) at the last batch trained on, named as the weights.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.tensors(&self.gradients, "")
    }

    fn forward_training(&mut self, inputs: &[f32], rows: usize, dropout: &mut Stream) {
        for index in 0..self.layers.len() {
            let (before, rest) = self.layers.split_at_mut(index);
            let layer = &mut rest[0];
            let (units, used) = (layer.spec.units, rows * layer.spec.units);
            let x = before.last().map_or(inputs, |previous| &previous.outputs[..rows * layer.inputs]);
            let outputs = &mut layer.outputs[..used];
            let slopes = &mut layer.slopes[..used];
            let kernel = Matrix::new(&self.weights[layer.kernel.clone()], layer.inputs, units);
            multiply(outputs, Matrix::new(x, rows, layer.inputs), kernel);
            let bias = &self.weights[layer.bias.clone()];
            kernels::activate_with_slope(self.arch, layer.spec.activation, outputs, slopes, bias);
            if layer.spec.dropout > 0.0 {
                let noise = &mut self.noise[..2 * used];
                dropout.fill(noise);
                kernels::drop_units(self.arch, layer.spec.dropout, outputs, slopes, noise);
            }
        }
    }

    /// Puts the gradient of the mean loss with respect to the network's outputs into `delta`.
    fn loss_gradient(&mut self, batch: &Batch<'_>) -> f64 {
        let Some(last) = self.layers.last() else { return 0.0 };
        let used = batch.rows * last.spec.units;
        let delta = &mut self.delta[..used];
        delta.copy_from_slice(&last.outputs[..used]);
        self.loss.gradient(self.arch, delta, batch.rows, batch.targets, batch.weights)
    }

    fn backward(&mut self, inputs: &[f32], rows: usize) {
        for index in (0..self.layers.len()).rev() {
            let layer = &self.layers[index];
            let (fan_in, units) = (layer.inputs, layer.spec.units);
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
        for layer in self.layers.iter().filter(|layer| layer.spec.l1 > 0.0 || layer.spec.l2 > 0.0) {
            let (gradient, kernel) =
                (&mut self.gradients[layer.kernel.clone()], &self.weights[layer.kernel.clone()]);
            kernels::add_penalty(self.arch, gradient, kernel, layer.spec.l1, layer.spec.l2);
        }
    }

    /// Cuts a slice that is laid out like the weights into named tensors.
    fn tensors(&self, values: &[f32], prefix: &str) -> Vec<Tensor> {
        self.places()
            .map(|(name, shape, range)| Tensor {
                name: format!("{prefix}{name}"),
                shape,
                data: values[range].to_vec(),
            })
            .collect()
    }

    /// Name, shape and place of each tensor.
    fn places(&self) -> impl Iterator<Item = (String, Vec<usize>, Range<usize>)> + '_ {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            let (number, units) = (index + 1, layer.spec.units);
            [
                (format!("layers.{number}.kernel"), vec![layer.inputs, units], layer.kernel.clone()),
                (format!("layers.{number}.bias"), vec![units], layer.bias.clone()),
            ]
        })
    }

    /// The opposite of [`Self::tensors`], checked.
    fn gather(&self, tensors: &[Tensor], prefix: &str) -> Result<Vec<f32>, StateError> {
        let mut values = vec![0.0; self.weights.len()];
        for (name, shape, range) in self.places() {
            let name = format!("{prefix}{name}");
            let Some(tensor) = tensors.iter().find(|tensor| tensor.name == name) else {
                return Err(StateError::Missing(name));
            };
            if tensor.shape != shape || tensor.data.len() != range.len() {
                return Err(StateError::Shape { name, expected: shape, found: tensor.shape.clone() });
            }
            if tensor.data.iter().any(|value| !value.is_finite()) {
                return Err(StateError::NotFinite(name));
            }
            values[range].copy_from_slice(&tensor.data);
        }
        Ok(values)
    }
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
            let sums = &mut layer.outputs[..rows * layer.spec.units];
            let kernel = Matrix::new(&self.weights[layer.kernel.clone()], layer.inputs, layer.spec.units);
            multiply(sums, Matrix::new(x, rows, layer.inputs), kernel);
            kernels::activate(self.arch, layer.spec.activation, sums, &self.weights[layer.bias.clone()]);
        }
        if let Some(last) = self.layers.last() {
            outputs.copy_from_slice(&last.outputs[..rows * last.spec.units]);
        }
    }

    fn weights(&self) -> Vec<Tensor> {
        self.tensors(&self.weights, "")
    }

    fn memory(&self) -> OptimizerMemory {
        let slots = self.slot_names().zip(&self.slots).flat_map(|(slot, values)| self.tensors(values, &slot));
        OptimizerMemory { steps: self.steps, slots: slots.collect() }
    }

    fn load_weights(&mut self, tensors: &[Tensor]) -> Result<(), StateError> {
        self.weights = self.gather(tensors, "")?;
        Ok(())
    }

    fn load_memory(&mut self, memory: &OptimizerMemory) -> Result<(), StateError> {
        let slots: Result<_, _> = self.slot_names().map(|slot| self.gather(&memory.slots, &slot)).collect();
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

//! The Burn engine: every kind of layer, on the CPU or, in builds with the feature for it, on a GPU.
//!
//! Burn holds no state between steps. Weights lie in one flat slice, as [`Layout`] says, and are handed to Burn anew at
//! each step; Burn builds the graph, the loss starts the backward pass with its gradient by the scores, and the
//! gradients come back into one flat slice, where the same update rules as everywhere move the weights. All random
//! numbers are drawn here: Burn's generator is one for the whole process and is never used.

mod cpu;
mod forward;
mod portable;
mod shape;

use std::ops::Range;

use burn::Tensor as Burn;
use burn::tensor::{Device, TensorData, Transaction};
use pulp::Arch;

use crate::engine::{Batch, Engine, OptimizerMemory, StateError, Tensor};
use crate::network::{Network, ShapeError};
use crate::parameters::{Layout, Role};
use crate::rng::Stream;
use crate::update::Updater;
use forward::{Forward, Statistics};

/// Where a [`BurnEngine`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compute {
    /// On the calling thread, with convolutions, pooling and recurrence written out by hand.
    #[default]
    Cpu,
    /// On the calling thread, by Burn's own operations alone, which are those that a GPU runs. Slower than
    /// [`Compute::Cpu`]; to compare with.
    PlainCpu,
    /// The best GPU that Vulkan, Metal or `WebGPU` finds.
    #[cfg(feature = "wgpu")]
    Wgpu,
    /// The first CUDA device.
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Compute {
    fn device(self) -> Device {
        match self {
            Self::Cpu | Self::PlainCpu => Device::flex(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
        }
    }
}

/// Runs any [`Network`].
///
/// ```
/// use luthier_nn::{BurnEngine, Compute, Engine, Layer, Loss, Network, Tensor};
///
/// let network = Network { input: vec![2], layers: vec![Layer::dense(2)], loss: Loss::SquaredError };
/// let mut engine = BurnEngine::for_inference(&network, Compute::Cpu)?;
/// engine.load_weights(&[
///     Tensor { name: "layers.1.kernel".into(), shape: vec![2, 2], data: vec![0.5, 0.75, 0.25, 0.5] },
///     Tensor { name: "layers.1.bias".into(), shape: vec![2], data: vec![0.0, 0.0] },
/// ])?;
/// let mut outputs = [0.0; 4];
/// engine.predict(&[1.0, 2.0, 3.0, 4.0], 2, &mut outputs);
/// assert_eq!(outputs, [1.0, 1.75, 2.5, 4.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BurnEngine {
    network: Network,
    layout: Layout,
    arch: Arch,
    /// Whether convolutions, pooling and recurrence are done by hand.
    by_hand: bool,
    /// For prediction.
    device: Device,
    /// For training.
    graph: Device,
    weights: Vec<f32>,
    /// The weights as the device has them, until they move.
    handed_over: Option<Vec<Burn<1>>>,
    /// Empty in an engine that only predicts.
    gradients: Vec<f32>,
    updater: Option<Updater>,
}

impl BurnEngine {
    /// A network with fresh weights from `seed`, ready to be trained and to predict. `updater` is one before its first
    /// step, made for the network's [`Layout`].
    ///
    /// # Errors
    ///
    /// Layers that do not fit together.
    pub fn new(
        network: &Network,
        updater: Updater,
        seed: &[u8; 32],
        compute: Compute,
    ) -> Result<Self, ShapeError> {
        let mut engine = Self::for_inference(network, compute)?;
        engine.weights = engine.layout.initial(seed);
        engine.gradients = vec![0.0; engine.weights.len()];
        engine.updater = Some(updater);
        Ok(engine)
    }

    /// A network with zero weights that can predict but not be trained.
    ///
    /// # Errors
    ///
    /// Layers that do not fit together.
    pub fn for_inference(network: &Network, compute: Compute) -> Result<Self, ShapeError> {
        let layout = Layout::new(network)?;
        let device = compute.device();
        Ok(Self {
            network: network.clone(),
            arch: Arch::new(),
            by_hand: compute == Compute::Cpu,
            graph: device.clone().autodiff(),
            device,
            weights: vec![0.0; layout.len()],
            layout,
            handed_over: None,
            gradients: Vec::new(),
            updater: None,
        })
    }

    /// The gradient of the mean loss, with penalties and clipping, at the last batch trained on, named as the weights.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.layout.tensors(&self.gradients, "")
    }

    /// Fills `gradients` with those of the mean loss, moves the moving statistics, and returns the summed loss.
    fn learn(&mut self, batch: Batch<'_>, noise: &mut Stream) -> f64 {
        let parameters = self.leaves();
        let mut pass = Forward::new(self.by_hand.then_some(self.arch), &parameters, Some(noise));
        let inputs = rows(batch.inputs, batch.rows, &self.graph);
        let scores = pass.through(&self.network.layers, &self.network.input, inputs, parameters.len());
        let (activity, statistics) = (pass.activity.take(), std::mem::take(&mut pass.statistics));

        let mut delta = numbers(scores.clone().without_autodiff());
        let loss =
            self.network.loss.gradient(self.arch, &mut delta, batch.rows, batch.targets, batch.weights);
        let mut root = (scores * rows(&delta, batch.rows, &self.graph)).sum();
        if let Some(activity) = activity {
            root = root + activity;
        }
        self.backward(&parameters, &root);
        for seen in statistics {
            self.follow(seen);
        }
        loss
    }

    /// The parameters as leaves of a new graph. Moving statistics are not among what is learned.
    fn leaves(&self) -> Vec<Burn<1>> {
        let leaf = |role: Role, range: &Range<usize>| {
            let tensor = flat(&self.weights[range.clone()], &self.graph);
            if role.is_trained() { tensor.require_grad() } else { tensor }
        };
        self.layout.entries().iter().map(|(parameter, range)| leaf(parameter.role, range)).collect()
    }

    /// Puts the gradients of `root` by the parameters into `gradients`; zero for what it does not depend on.
    fn backward(&mut self, parameters: &[Burn<1>], root: &Burn<1>) {
        let mut found = root.backward();
        let mut reading = Transaction::default();
        let mut places = Vec::with_capacity(parameters.len());
        for ((parameter, range), leaf) in self.layout.entries().iter().zip(parameters) {
            let gradient = leaf.grad_remove(&mut found).filter(|_| parameter.role.is_trained());
            match gradient {
                Some(gradient) => {
                    reading = reading.register(gradient);
                    places.push(range.clone());
                }
                None => self.gradients[range.clone()].fill(0.0),
            }
        }
        for (data, place) in reading.execute().into_iter().zip(places) {
            self.gradients[place].copy_from_slice(data.as_slice().expect("single precision"));
        }
    }

    /// moving ← momentum · moving + (1 − momentum) · batch.
    fn follow(&mut self, seen: Statistics) {
        let entries = self.layout.entries();
        for (offset, tensor) in [seen.mean, seen.variance].into_iter().enumerate() {
            let moving = &mut self.weights[entries[seen.parameter + offset].1.clone()];
            let (keep, add) = (seen.momentum as f32, (1.0 - seen.momentum) as f32);
            for (moving, now) in moving.iter_mut().zip(numbers(tensor)) {
                *moving = keep * *moving + add * now;
            }
        }
    }

    fn slot_names(&self) -> impl Iterator<Item = String> + use<> {
        let names = self.updater.as_ref().map_or(&[][..], Updater::slot_names);
        names.iter().map(|slot| format!("{slot}."))
    }
}

impl Engine for BurnEngine {
    fn train(&mut self, batch: Batch<'_>, learning_rate: f64, dropout: &mut Stream) -> f64 {
        let loss = self.learn(batch, dropout);
        self.handed_over = None;
        let Some(updater) = &mut self.updater else {
            unreachable!("an engine for inference was asked to train")
        };
        updater.step(&mut self.weights, &mut self.gradients, learning_rate);
        loss
    }

    fn predict(&mut self, inputs: &[f32], count: usize, outputs: &mut [f32]) {
        if count == 0 {
            return;
        }
        let hand_over = || {
            let entries = self.layout.entries().iter();
            entries.map(|(_, range)| flat(&self.weights[range.clone()], &self.device)).collect()
        };
        let parameters: &Vec<Burn<1>> = self.handed_over.get_or_insert_with(hand_over);
        let mut pass = Forward::new(self.by_hand.then_some(self.arch), parameters, None);
        let inputs = rows(inputs, count, &self.device);
        let scores = pass.through(&self.network.layers, &self.network.input, inputs, parameters.len());
        outputs.copy_from_slice(&numbers(scores));
    }

    fn weights(&self) -> Vec<Tensor> {
        self.layout.tensors(&self.weights, "")
    }

    fn memory(&self) -> OptimizerMemory {
        let Some(updater) = &self.updater else { return OptimizerMemory { steps: 0, slots: Vec::new() } };
        let slots = self.slot_names().zip(updater.slots());
        let slots = slots.flat_map(|(slot, values)| self.layout.tensors(values, &slot)).collect();
        OptimizerMemory { steps: updater.steps(), slots }
    }

    fn load_weights(&mut self, tensors: &[Tensor]) -> Result<(), StateError> {
        self.weights = self.layout.gather(tensors, "")?;
        self.handed_over = None;
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

fn flat(values: &[f32], device: &Device) -> Burn<1> {
    Burn::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn rows(values: &[f32], count: usize, device: &Device) -> Burn<2> {
    Burn::from_data(TensorData::new(values.to_vec(), [count, values.len() / count]), device)
}

fn numbers<const D: usize>(tensor: Burn<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("single precision")
}

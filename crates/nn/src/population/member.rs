//! The engine of a trainer whose steps a population takes: it holds what came back from the device, and predicts. It
//! cannot train.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::program::HostState;
use crate::engine::{Batch, Engine, OptimizerMemory, StateError, Tensor};
use crate::parameters::Layout;
use crate::rng::Stream;

/// The population's hand on the engine inside the trainer.
#[derive(Clone)]
pub(super) struct Remote(Arc<Mutex<Held>>);

struct Held {
    layout: Layout,
    slots: &'static [&'static str],
    state: HostState,
    steps: u64,
    /// What the trainer had before; it predicts.
    inner: Box<dyn Engine>,
    /// Whether `inner` has the present weights.
    is_loaded: bool,
    /// Scores that the device has predicted, block by block in the order they will be asked for.
    ahead: VecDeque<Vec<f32>>,
}

impl Remote {
    /// Takes over the state of an engine.
    pub(super) fn new(
        inner: Box<dyn Engine>,
        layout: Layout,
        slots: &'static [&'static str],
    ) -> Result<Self, (StateError, Box<dyn Engine>)> {
        let memory = inner.memory();
        let weights = layout.gather(&inner.weights(), "");
        let gathered: Result<Vec<Vec<f32>>, StateError> =
            slots.iter().map(|slot| layout.gather(&memory.slots, &prefix(slot))).collect();
        match weights.and_then(|weights| Ok(HostState { weights, slots: gathered? })) {
            Ok(state) => {
                let (steps, ahead) = (memory.steps, VecDeque::new());
                let held = Held { layout, slots, state, steps, inner, is_loaded: true, ahead };
                Ok(Self(Arc::new(Mutex::new(held))))
            }
            Err(error) => Err((error, inner)),
        }
    }

    pub(super) fn state(&self) -> HostState {
        self.held().state.clone()
    }

    /// A state that came back; without slots those of before stay.
    pub(super) fn set(&self, state: HostState, steps: u64) {
        let mut held = self.held();
        if !state.slots.is_empty() {
            held.state.slots = state.slots;
        }
        held.state.weights = state.weights;
        (held.steps, held.is_loaded) = (steps, false);
    }

    pub(super) fn predict_ahead(&self, blocks: VecDeque<Vec<f32>>) {
        self.held().ahead = blocks;
    }

    /// Puts the present state into the engine that the trainer had before, and gives that back in exchange for the
    /// emptied hand.
    pub(super) fn give_back(self, empty: Box<dyn Engine>) -> Result<Box<dyn Engine>, StateError> {
        let (weights, memory) = (Engine::weights(&self), Engine::memory(&self));
        let mut inner = std::mem::replace(&mut self.held().inner, empty);
        inner.load_weights(&weights)?;
        inner.load_memory(&memory)?;
        Ok(inner)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Remote {
    fn train(&mut self, _: Batch<'_>, _: f64, _: &mut Stream) -> f64 {
        unreachable!("a population takes the steps of its members")
    }

    fn predict(&mut self, inputs: &[f32], rows: usize, outputs: &mut [f32]) {
        let mut held = self.held();
        if let Some(block) = held.ahead.pop_front() {
            return outputs.copy_from_slice(&block);
        }
        if !held.is_loaded {
            let weights = held.layout.tensors(&held.state.weights, "");
            if held.inner.load_weights(&weights).is_err() {
                return outputs.fill(f32::NAN);
            }
            held.is_loaded = true;
        }
        held.inner.predict(inputs, rows, outputs);
    }

    fn weights(&self) -> Vec<Tensor> {
        let held = self.held();
        held.layout.tensors(&held.state.weights, "")
    }

    fn memory(&self) -> OptimizerMemory {
        let held = self.held();
        let slots = held.slots.iter().zip(&held.state.slots);
        let slots = slots.flat_map(|(slot, values)| held.layout.tensors(values, &prefix(slot))).collect();
        OptimizerMemory { steps: held.steps, slots }
    }

    fn load_weights(&mut self, tensors: &[Tensor]) -> Result<(), StateError> {
        let mut held = self.held();
        held.state.weights = held.layout.gather(tensors, "")?;
        held.is_loaded = false;
        held.ahead.clear();
        Ok(())
    }

    fn load_memory(&mut self, memory: &OptimizerMemory) -> Result<(), StateError> {
        let mut held = self.held();
        let slots: Result<_, _> =
            held.slots.iter().map(|slot| held.layout.gather(&memory.slots, &prefix(slot))).collect();
        (held.state.slots, held.steps) = (slots?, memory.steps);
        Ok(())
    }
}

fn prefix(slot: &str) -> String {
    format!("{slot}.")
}

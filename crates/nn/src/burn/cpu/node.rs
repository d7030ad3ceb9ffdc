//! One node of Burn's gradient graph whose two passes are plain Rust over slices. Knows nothing of layers.
//!
//! Burn's own operations on the CPU are general; for the few that decide the speed of a network, a forward pass over
//! slices and a hand-written backward pass are several times as fast. Burn still orders the backward pass and adds
//! gradients up where a value was used twice.

use std::sync::{Arc, Mutex};

use burn::Tensor;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::TensorData;

/// A tensor that goes into a node: of rank 1 (a parameter) or 2 (rows).
pub(super) enum Input {
    /// In training.
    Graph(FloatTensor<Autodiff<Flex>>),
    /// In prediction, where there is no backward pass.
    Plain(FloatTensor<Flex>),
}

impl Input {
    pub(super) fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        const HERE: &str = "a tensor of the CPU backend";
        if tensor.is_autodiff() {
            Self::Graph(tensor.try_into_primitive::<Autodiff<Flex>>().expect(HERE))
        } else {
            Self::Plain(tensor.try_into_primitive::<Flex>().expect(HERE))
        }
    }

    /// Its numbers; shared, not copied, unless it is a view with gaps.
    pub(super) fn values(&self) -> Values {
        match self {
            Self::Graph(tensor) => Values(tensor.primitive().to_contiguous()),
            Self::Plain(tensor) => Values(tensor.to_contiguous()),
        }
    }
}

/// The numbers of a tensor, row-major.
#[derive(Clone)]
pub(super) struct Values(FloatTensor<Flex>);

impl std::ops::Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.storage()
    }
}

/// From the gradient by a node's output, and which inputs want one, the gradients by its inputs.
pub(super) type BackwardPass<const N: usize> =
    Box<dyn FnOnce(&[f32], [bool; N]) -> [Option<Vec<f32>>; N] + Send>;

/// Puts `output`, computed from `inputs`, into the graph as rows of equal length; `backward` gives gradients as
/// long as the inputs. Outside training it is dropped.
pub(super) fn record<const N: usize>(
    inputs: [Input; N],
    output: Vec<f32>,
    rows: usize,
    backward: BackwardPass<N>,
) -> Tensor<2> {
    let width = output.len() / rows;
    let output = tensor(output, &[rows, width]);
    let mut shapes: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
    let mut guards = Vec::with_capacity(N);
    for (input, shape) in inputs.into_iter().zip(&mut shapes) {
        if let Input::Graph(tensor) = input {
            let (primitive, guard) = tensor.into_parts();
            *shape = primitive.layout().shape().to_vec();
            guards.push(guard);
        }
    }
    let Ok(guards) = guards.try_into() else { return Tensor::from_primitive::<Flex>(output) };
    let output = match Fused.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(node) => {
            node.finish(Saved { backward: Arc::new(Mutex::new(Some(backward))), shapes }, output)
        }
        OpsKind::UnTracked(node) => node.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FloatTensor<Flex> {
    Flex::float_from_data(TensorData::new(values, shape.to_vec()), &burn::backend::FlexDevice)
}

/// Burn wants a node's state to be cloneable; the pass inside runs once.
#[derive(Clone)]
struct Saved<const N: usize> {
    backward: Arc<Mutex<Option<BackwardPass<N>>>>,
    shapes: [Vec<usize>; N],
}

impl<const N: usize> std::fmt::Debug for Saved<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Fused;

impl<const N: usize> Backward<Flex, N> for Fused {
    type State = Saved<N>;

    fn backward(self, ops: Ops<Saved<N>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Values(gradients.consume::<Flex>(&ops.node).to_contiguous());
        let pass = ops.state.backward.lock().ok().and_then(|mut pass| pass.take());
        let pass = pass.expect("a graph runs backward once");
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = pass(&gradient, wanted);
        for ((parent, found), shape) in ops.parents.into_iter().zip(found).zip(&ops.state.shapes) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<Flex>(parent.id, tensor(found, shape));
            }
        }
    }
}

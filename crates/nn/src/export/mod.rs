//! Networks for other programs: as ONNX, which `onnxruntime` and many others run. Reads nothing back, and trains nothing.

mod graph;
mod layers;
mod protobuf;

use std::path::Path;

use crate::data::{Preprocessing, TargetEncoding};
use crate::engine::{StateError, Tensor};
use crate::loss::Link;
use crate::model::Model;
use crate::network::{Layer, Network, Pooling, ShapeError};
use crate::parameters::Layout;
use crate::store::{self, StoreError};

use graph::{Attribute, Graph, Port};
use layers::Translator;

/// What the graph's input is called.
const INPUT: &str = "inputs";
/// A message of protocol buffers is smaller than this.
const LARGEST: usize = i32::MAX as usize;

/// How scores become what a user wants to see, as the last operations of the graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// Mean and deviation of each target that was standardised; empty if none was.
    pub scales: Vec<(f64, f64)>,
    /// Whether the one score there is stands for the second of two classes, so that the first has the rest.
    pub two_classes: bool,
}

impl Outputs {
    /// What the targets of a model need.
    fn of(preprocessing: &Preprocessing, network: &Network) -> Self {
        let target = preprocessing.target();
        let classes = matches!(target, TargetEncoding::Classes { .. });
        Self { scales: target.scales(), two_classes: classes && network.outputs() == 1 }
    }
}

/// A network that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Its layers do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The weights are not this network's.
    #[error(transparent)]
    Weights(#[from] StateError),
    /// A pooling layer that does not say how to pool.
    #[error("a {0} layer has the pooling `none`: leave the layer out, or give it `max` or `average`")]
    Pooling(&'static str),
    /// The file would be too large for the format.
    #[error(
        "the network has {bytes} bytes, but an ONNX file holds less than 2 GiB: export the safetensors instead"
    )]
    TooLarge {
        /// What it would have.
        bytes: usize,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Model {
    /// Writes the network as ONNX (operator set 17).
    ///
    /// The graph reads `inputs`, single precision, `[rows, …]` in the shape of [`Network::input`]: rows after
    /// preprocessing, which the file describes in its metadata (`preprocessing`, as JSON) but does not contain. It
    /// gives `probabilities`, one for each of the `classes` in the metadata, or `prediction`, in the unit of the target.
    ///
    /// # Errors
    ///
    /// A network of 2 GiB or more; a file that cannot be written.
    pub fn to_onnx(&self, path: &Path) -> Result<(), ExportError> {
        let outputs = Outputs::of(self.preprocessing(), self.network());
        let json = |value: serde_json::Result<String>| {
            value.unwrap_or_else(|error| unreachable!("descriptions are plain JSON: {error}"))
        };
        let notes = [
            ("classes", json(serde_json::to_string(self.classes()))),
            ("target", self.preprocessing().target_name().to_owned()),
            ("preprocessing", json(serde_json::to_string(self.preprocessing()))),
            ("network", json(serde_json::to_string(self.network()))),
        ];
        let bytes = onnx(self.network(), self.weights(), &outputs, &notes)?;
        Ok(store::write_whole(path, &bytes)?)
    }
}

/// The bytes of an ONNX file with this network; see [`Model::to_onnx`]. `notes` become its metadata.
///
/// # Errors
///
/// Layers that do not fit together, weights of another network, a pooling layer without pooling, or a network of
/// 2 GiB or more.
pub fn onnx(
    network: &Network,
    weights: &[Tensor],
    outputs: &Outputs,
    notes: &[(&str, String)],
) -> Result<Vec<u8>, ExportError> {
    let layout = Layout::new(network)?;
    check_pooling(&network.layers)?;
    let values = layout.gather(weights, "")?;
    let mut translator = Translator::new(&layout, &values);
    let scores = translator.network(network, INPUT);
    let mut graph = translator.graph;
    let link = network.loss.link();
    let predicted = outputs.write(&mut graph, &scores, link);
    let name = match link {
        Link::Softmax | Link::Sigmoid => "probabilities",
        Link::Identity | Link::Exp => "prediction",
    };
    graph.rename(&predicted, name);
    let mut shape = network.shapes()?.pop().unwrap_or_default();
    if let (true, Some(last)) = (outputs.two_classes, shape.last_mut()) {
        *last = 2;
    }
    let input = Port { name: INPUT, shape: &network.input };
    let bytes = graph.encode(&input, &Port { name, shape: &shape }, notes);
    if bytes.len() >= LARGEST { Err(ExportError::TooLarge { bytes: bytes.len() }) } else { Ok(bytes) }
}

impl Outputs {
    fn write(&self, graph: &mut Graph, scores: &str, link: Link) -> String {
        let linked = match link {
            Link::Identity => scores.to_owned(),
            Link::Softmax => graph.node("Softmax", &[scores], vec![("axis", Attribute::Int(-1))]),
            Link::Sigmoid => graph.node("Sigmoid", &[scores], Vec::new()),
            Link::Exp => graph.node("Exp", &[scores], Vec::new()),
        };
        if self.two_classes {
            let one = graph.number(1.0);
            let rest = graph.node("Sub", &[&one, &linked], Vec::new());
            return graph.node("Concat", &[&rest, &linked], vec![("axis", Attribute::Int(-1))]);
        }
        if self.scales.iter().all(|&scale| scale == (0.0, 1.0)) {
            return linked;
        }
        let [means, deviations]: [Vec<f32>; 2] = [
            self.scales.iter().map(|scale| scale.0 as f32).collect(),
            self.scales.iter().map(|scale| scale.1 as f32).collect(),
        ];
        let width = vec![self.scales.len()];
        let deviations = graph.weights("target.deviation".to_owned(), width.clone(), &deviations);
        let means = graph.weights("target.mean".to_owned(), width, &means);
        let scaled = graph.node("Mul", &[&linked, &deviations], Vec::new());
        graph.node("Add", &[&scaled, &means], Vec::new())
    }
}

fn check_pooling(layers: &[Layer]) -> Result<(), ExportError> {
    for layer in layers {
        let pooling = match layer {
            Layer::Pool1d(pool) | Layer::Pool2d(pool) => pool.pooling,
            Layer::GlobalPool { pooling } => *pooling,
            Layer::Residual { layers } => {
                check_pooling(layers)?;
                continue;
            }
            _ => continue,
        };
        if pooling == Pooling::None {
            return Err(ExportError::Pooling(layer.kind()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

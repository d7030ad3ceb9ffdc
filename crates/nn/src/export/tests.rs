use super::protobuf::reading::Fields;
use super::*;
use crate::activation::Activation;
use crate::architecture::Signature;
use crate::loss::Loss;
use crate::network::{Cell, Pool};
use crate::settings::{Architecture, Normalization, PerLayer, Settings};

/// The graph of an ONNX file.
struct Read {
    model: Fields,
    graph: Fields,
}

fn read(bytes: &[u8]) -> Read {
    let model = Fields::read(bytes);
    let graph = model.messages(7).remove(0);
    Read { model, graph }
}

impl Read {
    fn operators(&self) -> Vec<String> {
        self.graph.messages(1).iter().flat_map(|node| node.texts(4)).collect()
    }

    /// Name and shape of each constant of single precision; checks that there is a number for each place.
    fn weights(&self) -> Vec<(String, Vec<i64>)> {
        let tensors = self.graph.messages(5).into_iter().filter(|tensor| tensor.ints(2) == [1]);
        tensors
            .map(|tensor| {
                let shape = tensor.ints(1);
                let numbers: i64 = shape.iter().product();
                assert_eq!(tensor.raw(9)[0].len() as i64, 4 * numbers);
                (tensor.texts(8).remove(0), shape)
            })
            .collect()
    }

    /// Shape of an input or output, the open axis as its name.
    fn port(&self, field: u64) -> (String, Vec<String>) {
        let port = self.graph.messages(field).remove(0);
        let shape = port.messages(2)[0].messages(1)[0].messages(2).remove(0);
        let axis = |dimension: &Fields| match dimension.texts(2).pop() {
            Some(name) => name,
            None => dimension.ints(1)[0].to_string(),
        };
        (port.texts(1).remove(0), shape.messages(1).iter().map(axis).collect())
    }

    /// Every input of every operation is the graph's, a constant, or came out of an operation before.
    fn check_names(&self) {
        let mut known = vec![self.port(11).0];
        known.extend(self.graph.messages(5).iter().flat_map(|tensor| tensor.texts(8)));
        for node in self.graph.messages(1) {
            for input in node.texts(1) {
                assert!(known.contains(&input), "{input} comes from nowhere");
            }
            for output in node.texts(2).into_iter().filter(|name| !name.is_empty()) {
                assert!(!known.contains(&output), "{output} is there twice");
                known.push(output);
            }
        }
        assert!(known.contains(&self.port(12).0));
    }
}

fn initial(network: &Network) -> Vec<Tensor> {
    let layout = Layout::new(network).unwrap_or_else(|error| panic!("{error}"));
    layout.tensors(&layout.initial(&[3; 32]), "")
}

fn exported(network: &Network, outputs: &Outputs) -> Read {
    let notes = [("target", "digit".to_owned())];
    let bytes = onnx(network, &initial(network), outputs, &notes).unwrap_or_else(|error| panic!("{error}"));
    let read = read(&bytes);
    read.check_names();
    read
}

fn network(input: &[usize], layers: Vec<Layer>, loss: Loss) -> Network {
    Network { input: input.to_vec(), layers, loss }
}

#[test]
fn a_dense_network_is_two_products_and_a_softmax() {
    let signature = Signature::rows(4, 3, Loss::CROSS_ENTROPY);
    let settings = Settings { units: PerLayer::all(5), ..Settings::default() };
    let read = exported(&Network::build(&signature, &settings), &Outputs::default());
    assert_eq!(read.operators(), ["Gemm", "Relu", "Gemm", "Softmax"]);
    let named = |name: &str, shape: &[i64]| (name.to_owned(), shape.to_vec());
    assert_eq!(
        read.weights(),
        [
            named("layers.1.kernel", &[4, 5]),
            named("layers.1.bias", &[5]),
            named("layers.2.kernel", &[5, 3]),
            named("layers.2.bias", &[3])
        ]
    );
    let port = |name: &str, shape: &[&str]| (name.to_owned(), shape.iter().map(|&s| s.to_owned()).collect());
    assert_eq!(read.port(11), port("inputs", &["rows", "4"]));
    assert_eq!(read.port(12), port("probabilities", &["rows", "3"]));
    assert_eq!((read.model.ints(1), read.model.messages(8)[0].ints(2)), (vec![8], vec![17]));
    let note = read.model.messages(14).remove(0);
    assert_eq!((note.texts(1), note.texts(2)), (vec!["target".to_owned()], vec!["digit".to_owned()]));
}

#[test]
fn numbers_come_out_in_the_unit_of_the_target() {
    let network = network(&[2], vec![Layer::dense(1)], Loss::SquaredError);
    let outputs = Outputs { scales: vec![(10.0, 2.5)], two_classes: false };
    let read = exported(&network, &outputs);
    assert_eq!(read.operators(), ["Gemm", "Mul", "Add"]);
    assert_eq!(read.port(12).0, "prediction");
    let scale = read.graph.messages(5).remove(2);
    assert_eq!(
        (scale.texts(8), scale.raw(9)),
        (vec!["target.deviation".to_owned()], vec![2.5f32.to_le_bytes().to_vec()])
    );
    let plain = exported(&network, &Outputs { scales: vec![(0.0, 1.0)], two_classes: false });
    assert_eq!(plain.operators(), ["Gemm"]);
}

#[test]
fn one_score_for_two_classes_becomes_two_probabilities() {
    let network = network(&[2], vec![Layer::dense(1)], Loss::BinaryCrossEntropy { label_smoothing: 0.0 });
    let read = exported(&network, &Outputs { scales: Vec::new(), two_classes: true });
    assert_eq!(read.operators(), ["Gemm", "Sigmoid", "Sub", "Concat"]);
    assert_eq!(read.port(12).1, ["rows", "2"]);
}

#[test]
fn a_network_of_nothing_but_dropout_has_a_named_output() {
    let network = network(&[2], vec![Layer::Dropout { rate: 0.5 }], Loss::SquaredError);
    assert_eq!(exported(&network, &Outputs::default()).operators(), ["Identity"]);
}

#[test]
fn every_network_that_settings_describe_is_written_with_all_its_weights() {
    let inputs: [(&[usize], Option<usize>); 4] =
        [(&[7], None), (&[12, 3], None), (&[3, 8, 8], None), (&[20], Some(30))];
    for (input, vocabulary) in inputs {
        for &architecture in Architecture::ALL {
            for (&cell, &normalization) in Cell::ALL.iter().zip(Normalization::ALL) {
                let settings = Settings {
                    architecture: Some(architecture),
                    residual: cell != Cell::Simple,
                    bidirectional: cell == Cell::Gru,
                    recurrent_layers: 2,
                    cell,
                    activation: PerLayer::all(Activation::Gelu),
                    normalization: PerLayer::all(normalization),
                    ..Settings::default()
                };
                let signature = Signature {
                    input: input.to_vec(),
                    vocabulary,
                    ..Signature::rows(0, 4, Loss::CROSS_ENTROPY)
                };
                let network = Network::build(&signature, &settings);
                let written: i64 = exported(&network, &Outputs::default())
                    .weights()
                    .iter()
                    .filter(|(name, _)| name.starts_with("layers."))
                    .map(|(_, shape)| shape.iter().product::<i64>())
                    .sum();
                let wanted = Layout::new(&network).map_or(0, |layout| layout.len());
                // ONNX has a second bias for the state, zero but in a GRU, where it is there already.
                let second = if cell == Cell::Gru { 0 } else { second_biases(&network.layers) };
                assert_eq!(written as usize, wanted + second, "{network:?}");
            }
        }
    }
}

fn second_biases(layers: &[Layer]) -> usize {
    let of = |layer: &Layer| match layer {
        Layer::Recurrent(layer) => layer.units * layer.cell.gates() * (1 + usize::from(layer.bidirectional)),
        Layer::Residual { layers } => second_biases(layers),
        _ => 0,
    };
    layers.iter().map(of).sum()
}

#[test]
fn what_cannot_be_written_is_refused() {
    let pool = Layer::Pool1d(Pool { pooling: Pooling::None, size: 2, stride: 2 });
    let none = network(&[4, 2], vec![Layer::Residual { layers: vec![pool] }], Loss::SquaredError);
    let refusal = |network: &Network, weights: &[Tensor]| {
        onnx(network, weights, &Outputs::default(), &[])
            .map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(
        refusal(&none, &[]),
        "a pool1d layer has the pooling `none`: leave the layer out, or give it `max` or `average`"
    );
    let one = network(&[4], vec![Layer::dense(2)], Loss::SquaredError);
    assert_eq!(refusal(&one, &[]), "tensor `layers.1.kernel` is missing");
    let misfit = network(&[4, 2], vec![Layer::EmbedColumns { columns: Vec::new() }], Loss::SquaredError);
    assert_eq!(
        refusal(&misfit, &[]),
        "layer 1 (embed_columns): it cannot take [4, 2]: it needs a row [features]"
    );
}

//! A network for each layer, and mixtures of them, with random weights and inputs: what exports are checked on.
#![allow(dead_code, unreachable_pub)] // each program uses its own part

use luthier_nn::{
    Activation, Cell, Conv, Dense, EmbedColumn, Layer, Layout, Loss, Network, Outputs, Padding, Pool,
    Pooling, Purpose, Recurrent, Role, Stream, Tensor, WeightSettings, seed_from_u64,
};

/// A network with all that an export needs.
pub struct Case {
    pub name: String,
    pub network: Network,
    pub weights: Vec<Tensor>,
    pub outputs: Outputs,
    /// [`ROWS`] examples.
    pub inputs: Vec<f32>,
}

/// Examples of each case.
pub const ROWS: usize = 3;

const EPSILON: f64 = 1e-3;

pub fn zoo() -> Vec<Case> {
    let mut cases = dense();
    cases.extend(heads());
    cases.extend(normalised());
    cases.extend(convolutional());
    cases.extend(embedded());
    cases.extend(recurrent());
    cases.extend(residual());
    cases.extend(mixed());
    cases
}

fn dense() -> Vec<Case> {
    let mut cases = vec![case("softmax_regression", &[4], vec![layer(3, Activation::Linear)])];
    for &activation in Activation::ALL {
        let layers = vec![layer(6, activation), Layer::Dropout { rate: 0.5 }, layer(3, Activation::Linear)];
        cases.push(case(&format!("dense_{activation}"), &[4], layers));
    }
    let bare = Layer::Dense(Dense { bias: false, ..dense_of(5, Activation::Tanh) });
    cases.push(case("dense_without_bias", &[4], vec![bare, layer(2, Activation::Sigmoid)]));
    cases.push(case(
        "dense_on_steps",
        &[5, 4],
        vec![layer(6, Activation::Relu), Layer::Flatten, layer(3, Activation::Linear)],
    ));
    cases
}

/// Every loss with what its scores become.
fn heads() -> Vec<Case> {
    let label_smoothing = 0.0;
    let with = |name: &str, units: usize, loss: Loss, outputs: Outputs| {
        let mut case = case(name, &[4], vec![layer(5, Activation::Tanh), layer(units, Activation::Linear)]);
        case.network.loss = loss;
        case.outputs = outputs;
        case
    };
    let scales = vec![(-20.0, 3.5)];
    let standardised = Outputs { scales, two_classes: false };
    let two_classes = Outputs { two_classes: true, scales: Vec::new() };
    vec![
        with("head_binary", 1, Loss::BinaryCrossEntropy { label_smoothing }, two_classes),
        with("head_multi_label", 3, Loss::MultiLabel { label_smoothing }, Outputs::default()),
        with("head_regression", 1, Loss::SquaredError, standardised),
        with(
            "head_several_numbers",
            2,
            Loss::Huber { delta: 1.0 },
            Outputs { scales: vec![(1.0, 2.0), (-5.0, 0.25)], two_classes: false },
        ),
        with("head_poisson", 1, Loss::Poisson, Outputs::default()),
    ]
}

fn normalised() -> Vec<Case> {
    let shapes: [(&str, &[usize]); 3] = [("row", &[6]), ("sequence", &[5, 4]), ("image", &[3, 4, 5])];
    let mut cases = Vec::new();
    for (name, shape) in shapes {
        for (kind, normal) in [("batch", batch_normalization()), ("layer", layer_normalization())] {
            let layers =
                vec![normal, activation(Activation::Elu), Layer::Flatten, layer(3, Activation::Linear)];
            cases.push(case(&format!("{kind}_normalization_{name}"), shape, layers));
        }
    }
    cases
}

fn convolutional() -> Vec<Case> {
    let mut cases = Vec::new();
    for padding in [Padding::Same, Padding::Valid] {
        for (kernel_size, stride) in [(3, 1), (2, 2), (4, 3)] {
            let conv = Conv { kernel_size, stride, padding, ..conv(5) };
            let tail = [Layer::Flatten, layer(3, Activation::Linear)];
            let layers = |first: Layer| std::iter::once(first).chain(tail.clone()).collect();
            let name = format!("{padding}_{kernel_size}_by_{stride}");
            cases.push(case(&format!("conv1d_{name}"), &[9, 2], layers(Layer::Conv1d(conv.clone()))));
            cases.push(case(&format!("conv2d_{name}"), &[2, 7, 8], layers(Layer::Conv2d(conv))));
        }
    }
    for pooling in [Pooling::Max, Pooling::Average] {
        let (square, long) = (Pool { pooling, size: 2, stride: 2 }, Pool { pooling, size: 3, stride: 2 });
        for (name, pool) in [("2_by_2", square), ("3_by_2", long)] {
            let tail = [Layer::Flatten, layer(3, Activation::Linear)];
            let layers = |first: Layer| std::iter::once(first).chain(tail.clone()).collect();
            cases.push(case(&format!("{pooling}_pool1d_{name}"), &[8, 3], layers(Layer::Pool1d(pool))));
            cases.push(case(&format!("{pooling}_pool2d_{name}"), &[2, 7, 6], layers(Layer::Pool2d(pool))));
        }
        for (name, shape) in [("sequence", &[6, 4][..]), ("image", &[4, 3, 5])] {
            let layers = vec![Layer::GlobalPool { pooling }, layer(3, Activation::Linear)];
            cases.push(case(&format!("global_{pooling}_pool_{name}"), shape, layers));
        }
    }
    let softmax = Conv { activation: Activation::Softmax, ..conv(3) };
    let tail = [Layer::Flatten, layer(2, Activation::Linear)];
    let with_tail = |layers: Vec<Layer>| layers.into_iter().chain(tail.clone()).collect::<Vec<_>>();
    let of_steps = with_tail(vec![Layer::Conv1d(softmax.clone()), activation(Activation::Softmax)]);
    cases.push(case("softmax_of_steps", &[5, 2], of_steps));
    let of_image = with_tail(vec![Layer::Conv2d(softmax), activation(Activation::Softmax)]);
    cases.push(case("softmax_of_channels", &[2, 4, 5], of_image));
    let conv = Conv { bias: false, ..conv(3) };
    let layers = vec![
        Layer::Conv2d(conv.clone()),
        batch_normalization(),
        activation(Activation::Relu),
        Layer::Pool2d(Pool { pooling: Pooling::Max, size: 2, stride: 2 }),
        Layer::Conv2d(conv),
        layer_normalization(),
        Layer::Dropout { rate: 0.2 },
        Layer::GlobalPool { pooling: Pooling::Average },
        layer(4, Activation::Linear),
    ];
    cases.push(case("convolutional_network", &[1, 8, 8], layers));
    cases
}

const VOCABULARY: usize = 11;

fn embedded() -> Vec<Case> {
    let embedding = Layer::Embedding { vocabulary: VOCABULARY, dimension: 4 };
    let tokens = |name: &str, layers: Vec<Layer>| {
        let mut case = case(name, &[6], layers);
        let mut stream = stream(name);
        case.inputs = (0..ROWS * 6).map(|_| stream.below(VOCABULARY as u32) as f32).collect();
        case
    };
    let bag = vec![
        embedding.clone(),
        Layer::GlobalPool { pooling: Pooling::Average },
        layer(3, Activation::Linear),
    ];
    let read = vec![embedding, recurrent_layer(Cell::Gru, false, false), layer(3, Activation::Linear)];
    let columns = |name: &str, width: usize, places: &[usize]| {
        let column = |&input: &usize| EmbedColumn { input, cardinality: 3 + input, dimension: 2 };
        let columns: Vec<EmbedColumn> = places.iter().map(column).collect();
        let layers = vec![
            Layer::EmbedColumns { columns: columns.clone() },
            layer(5, Activation::Relu),
            layer(2, Activation::Linear),
        ];
        let mut case = case(name, &[width], layers);
        let mut stream = stream(name);
        for row in case.inputs.chunks_exact_mut(width) {
            for column in &columns {
                row[column.input] = stream.below(column.cardinality as u32) as f32;
            }
        }
        case
    };
    vec![
        tokens("embedding", bag),
        tokens("embedding_read", read),
        columns("embed_some_columns", 5, &[1, 3]),
        columns("embed_all_columns", 2, &[0, 1]),
    ]
}

fn recurrent() -> Vec<Case> {
    let mut cases = Vec::new();
    for &cell in Cell::ALL {
        for bidirectional in [false, true] {
            for return_sequences in [false, true] {
                let mut layers = vec![recurrent_layer(cell, bidirectional, return_sequences)];
                layers.extend(return_sequences.then_some(Layer::Flatten));
                layers.push(layer(3, Activation::Linear));
                let direction = if bidirectional { "_bidirectional" } else { "" };
                let out = if return_sequences { "_sequence" } else { "" };
                cases.push(case(&format!("{cell}{direction}{out}"), &[5, 3], layers));
            }
        }
    }
    for &activation in Activation::ALL {
        let Layer::Recurrent(simple) = recurrent_layer(Cell::Simple, true, true) else { continue };
        let first = Layer::Recurrent(Recurrent { activation, ..simple.clone() });
        let second = Layer::Recurrent(Recurrent { activation, return_sequences: false, ..simple });
        let layers = vec![first, second, layer(2, Activation::Linear)];
        cases.push(case(&format!("simple_{activation}"), &[4, 3], layers));
    }
    let layers = vec![Layer::Rows, recurrent_layer(Cell::Lstm, false, false), layer(3, Activation::Linear)];
    cases.push(case("image_read_row_by_row", &[2, 4, 3], layers));
    cases
}

fn residual() -> Vec<Case> {
    let with = |name: &str, shape: &[usize], layers: Vec<Layer>| {
        let block = Layer::Residual { layers };
        case(name, shape, vec![block, Layer::Flatten, layer(3, Activation::Linear)])
    };
    let conv = |filters, stride| Conv { stride, ..conv(filters) };
    let normal = |layer: Layer| vec![layer, batch_normalization(), activation(Activation::Relu)];
    vec![
        with("residual_same", &[4], vec![layer(4, Activation::Tanh)]),
        with("residual_wider", &[4], normal(layer(6, Activation::Linear))),
        with("residual_steps", &[5, 3], vec![layer(6, Activation::Relu)]),
        with("residual_conv1d", &[7, 3], normal(Layer::Conv1d(conv(3, 1)))),
        with("residual_conv1d_by_2", &[7, 3], normal(Layer::Conv1d(conv(5, 2)))),
        with("residual_conv2d", &[3, 5, 6], normal(Layer::Conv2d(conv(3, 1)))),
        with("residual_conv2d_by_2", &[3, 5, 6], normal(Layer::Conv2d(conv(4, 2)))),
        with("residual_recurrent", &[5, 3], vec![recurrent_layer(Cell::Lstm, true, true)]),
        with(
            "residual_in_residual",
            &[4],
            vec![Layer::Residual { layers: vec![layer(6, Activation::Relu)] }, layer(4, Activation::Elu)],
        ),
    ]
}

/// A convolutional and recurrent network with a bit of everything.
fn mixed() -> Vec<Case> {
    let layers = vec![
        Layer::Conv1d(conv(6)),
        Layer::Residual { layers: vec![Layer::Conv1d(conv(6)), layer_normalization()] },
        Layer::Pool1d(Pool { pooling: Pooling::Max, size: 2, stride: 2 }),
        recurrent_layer(Cell::Gru, true, true),
        Layer::Dropout { rate: 0.3 },
        recurrent_layer(Cell::Lstm, false, false),
        layer(8, Activation::Selu),
        batch_normalization(),
        activation(Activation::Gelu),
        layer(4, Activation::Linear),
    ];
    let wide = vec![
        layer(200, Activation::Linear),
        batch_normalization(),
        activation(Activation::Relu),
        layer(100, Activation::Silu),
        layer(10, Activation::Linear),
    ];
    vec![case("mixed", &[12, 3], layers), case("wide", &[64], wide)]
}

fn case(name: &str, input: &[usize], layers: Vec<Layer>) -> Case {
    let network = Network { input: input.to_vec(), layers, loss: Loss::CROSS_ENTROPY };
    let mut stream = stream(name);
    let inputs = (0..ROWS * network.inputs()).map(|_| stream.normal() as f32).collect();
    let layout = Layout::new(&network).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut values = vec![0.0; layout.len()];
    for (parameter, range) in layout.entries() {
        // So small that scores of wide layers stay of the order of one.
        let scale = match parameter.role {
            Role::Kernel => 1.0 / (parameter.shape[0] as f64).sqrt(),
            Role::Filters => 1.0 / (parameter.shape[1..].iter().product::<usize>() as f64).sqrt(),
            _ => 0.5,
        };
        for value in &mut values[range.clone()] {
            *value = match parameter.role {
                Role::MovingVariance => 0.5 + stream.uniform(),
                Role::Gamma => 1.0 + 0.3 * stream.normal(),
                _ => scale * stream.normal(),
            } as f32;
        }
    }
    let weights = layout.tensors(&values, "");
    Case { name: name.to_owned(), network, weights, outputs: Outputs::default(), inputs }
}

fn stream(name: &str) -> Stream {
    let number = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Stream::new(&seed_from_u64(number), Purpose::Weights, 0)
}

fn layer(units: usize, activation: Activation) -> Layer {
    Layer::Dense(dense_of(units, activation))
}

fn dense_of(units: usize, activation: Activation) -> Dense {
    Dense { units, activation, bias: true, weights: WeightSettings::default() }
}

fn activation(activation: Activation) -> Layer {
    Layer::Activation { activation }
}

fn batch_normalization() -> Layer {
    Layer::BatchNormalization { momentum: 0.9, epsilon: EPSILON }
}

fn layer_normalization() -> Layer {
    Layer::LayerNormalization { epsilon: EPSILON }
}

fn conv(filters: usize) -> Conv {
    Conv {
        filters,
        kernel_size: 3,
        stride: 1,
        padding: Padding::Same,
        activation: Activation::Tanh,
        bias: true,
        weights: WeightSettings::default(),
    }
}

fn recurrent_layer(cell: Cell, bidirectional: bool, return_sequences: bool) -> Layer {
    Layer::Recurrent(Recurrent {
        cell,
        units: 4,
        activation: Activation::Tanh,
        bidirectional,
        return_sequences,
        weights: WeightSettings::default(),
    })
}

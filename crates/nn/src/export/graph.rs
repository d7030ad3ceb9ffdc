//! An ONNX graph being built, and its bytes: the messages of `onnx.proto` (IR version 8, operator set 17) that a chain of
//! layers needs. Knows no layers.

use super::protobuf::Message;

const IR_VERSION: i64 = 8;
/// The first operator set with `LayerNormalization`; the last in which reductions take their axes as an attribute.
const OPERATORS: i64 = 17;

const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// Operations in the order in which they run, and the constants they use.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    constants: Vec<Constant>,
}

#[derive(Debug)]
struct Node {
    operator: &'static str,
    inputs: Vec<String>,
    output: String,
    /// Operations with several outputs (recurrent ones): which of them is used.
    place: usize,
    attributes: Vec<(&'static str, Attribute)>,
}

/// A setting of an operation.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(Vec<i64>),
    Texts(Vec<&'static str>),
}

#[derive(Debug)]
struct Constant {
    name: String,
    shape: Vec<usize>,
    kind: i64,
    bytes: Vec<u8>,
}

/// What a graph reads or writes: rows of a shape.
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
}

impl Graph {
    /// Adds an operation and returns the name of what comes out of it.
    pub(super) fn node(
        &mut self,
        operator: &'static str,
        inputs: &[&str],
        attributes: Vec<(&'static str, Attribute)>,
    ) -> String {
        self.node_with_output(operator, inputs, 0, attributes)
    }

    /// The same for an operation of whose outputs the one at `place` is wanted.
    pub(super) fn node_with_output(
        &mut self,
        operator: &'static str,
        inputs: &[&str],
        place: usize,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> String {
        let output = format!("{operator}_{}", self.nodes.len() + 1);
        let inputs = inputs.iter().map(|&name| name.to_owned()).collect();
        self.nodes.push(Node { operator, inputs, output: output.clone(), place, attributes });
        output
    }

    /// Adds numbers under a name of their own, such as a parameter's.
    pub(super) fn weights(&mut self, name: String, shape: Vec<usize>, values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constants.push(Constant { name: name.clone(), shape, kind: FLOAT, bytes });
        name
    }

    /// Adds one number, for all places.
    pub(super) fn number(&mut self, value: f32) -> String {
        let name = self.fresh();
        self.weights(name, Vec::new(), &[value])
    }

    /// Adds whole numbers: a shape, or places.
    pub(super) fn ints(&mut self, values: &[i64]) -> String {
        self.int_constant(vec![values.len()], values)
    }

    /// Adds one whole number, which as a place to gather takes an axis away.
    pub(super) fn int(&mut self, value: i64) -> String {
        self.int_constant(Vec::new(), &[value])
    }

    fn int_constant(&mut self, shape: Vec<usize>, values: &[i64]) -> String {
        let name = self.fresh();
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constants.push(Constant { name: name.clone(), shape, kind: INT64, bytes });
        name
    }

    fn fresh(&self) -> String {
        format!("constant_{}", self.constants.len() + 1)
    }

    /// Gives what is called `value` the name `name`.
    pub(super) fn rename(&mut self, value: &str, name: &str) {
        if self.nodes.last().is_none_or(|last| last.output != value) {
            self.node("Identity", &[value], Vec::new());
        }
        if let Some(last) = self.nodes.last_mut() {
            name.clone_into(&mut last.output);
        }
    }

    /// The bytes of a model with this graph. The size of the first axis of inputs and outputs is open.
    pub(super) fn encode(&self, input: &Port<'_>, output: &Port<'_>, notes: &[(&str, String)]) -> Vec<u8> {
        let mut operators = Message::default();
        operators.bytes(1, "").int(2, OPERATORS);
        let mut model = Message::default();
        model.int(1, IR_VERSION).bytes(2, "luthier").bytes(3, env!("CARGO_PKG_VERSION"));
        model.message(7, &self.message(input, output)).message(8, &operators);
        for (key, value) in notes {
            let mut note = Message::default();
            note.bytes(1, key).bytes(2, value);
            model.message(14, &note);
        }
        model.into_bytes()
    }

    fn message(&self, input: &Port<'_>, output: &Port<'_>) -> Message {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph.message(1, &node.message());
        }
        graph.bytes(2, "network");
        for constant in &self.constants {
            graph.message(5, &constant.message());
        }
        graph.message(11, &input.message()).message(12, &output.message());
        graph
    }
}

impl Node {
    fn message(&self) -> Message {
        let mut node = Message::default();
        for input in &self.inputs {
            node.bytes(1, input);
        }
        // An output without a name is not wanted.
        for _ in 0..self.place {
            node.bytes(2, "");
        }
        node.bytes(2, &self.output).bytes(3, &self.output).bytes(4, self.operator);
        for (name, attribute) in &self.attributes {
            node.message(5, &attribute.message(name));
        }
        node
    }
}

impl Attribute {
    fn message(&self, name: &str) -> Message {
        let mut message = Message::default();
        message.bytes(1, name);
        match self {
            Self::Float(value) => message.float(2, *value).int(20, 1),
            Self::Int(value) => message.int(3, *value).int(20, 2),
            Self::Text(value) => message.bytes(4, value).int(20, 3),
            Self::Ints(values) => {
                for value in values {
                    message.int(8, *value);
                }
                message.int(20, 7)
            }
            Self::Texts(values) => {
                for value in values {
                    message.bytes(9, value);
                }
                message.int(20, 8)
            }
        };
        message
    }
}

impl Constant {
    fn message(&self) -> Message {
        let mut tensor = Message::default();
        for &size in &self.shape {
            tensor.int(1, size as i64);
        }
        tensor.int(2, self.kind).bytes(8, &self.name).bytes(9, &self.bytes);
        tensor
    }
}

impl Port<'_> {
    fn message(&self) -> Message {
        let mut shape = Message::default();
        let mut rows = Message::default();
        rows.bytes(2, "rows");
        shape.message(1, &rows);
        for &size in self.shape {
            let mut dimension = Message::default();
            dimension.int(1, size as i64);
            shape.message(1, &dimension);
        }
        let mut tensor = Message::default();
        tensor.int(1, FLOAT).message(2, &shape);
        let mut kind = Message::default();
        kind.message(1, &tensor);
        let mut port = Message::default();
        port.bytes(1, self.name).message(2, &kind);
        port
    }
}

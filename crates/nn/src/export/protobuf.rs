//! The wire format of protocol buffers, as far as writing an ONNX file needs it: fields one after another, no schema.
//! (<https://protobuf.dev/programming-guides/encoding/>.) A hundred lines here save a code generator and its crates.

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// A message being written. Repeated fields are written by writing them again.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A whole number (`int64`, `int32` or an enum).
    pub(super) fn int(&mut self, field: u64, value: i64) -> &mut Self {
        self.key(field, VARINT);
        // Negative numbers are their two's complement in 64 bits, also for int32.
        self.varint(value as u64);
        self
    }

    /// A single-precision number.
    pub(super) fn float(&mut self, field: u64, value: f32) -> &mut Self {
        self.key(field, FIXED_32);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Text, or bytes.
    pub(super) fn bytes(&mut self, field: u64, value: impl AsRef<[u8]>) -> &mut Self {
        let value = value.as_ref();
        self.key(field, LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    /// A message inside this one.
    pub(super) fn message(&mut self, field: u64, value: &Self) -> &mut Self {
        self.bytes(field, &value.bytes)
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// Reads messages back, for tests.
#[cfg(test)]
pub(super) mod reading {
    use super::{FIXED_32, LENGTH_DELIMITED, VARINT};

    /// The value of a field.
    #[derive(Debug, Clone, PartialEq)]
    pub(in super::super) enum Value {
        Int(i64),
        Float(f32),
        Bytes(Vec<u8>),
    }

    /// A message as its fields in order.
    #[derive(Debug, Clone, PartialEq)]
    pub(in super::super) struct Fields(Vec<(u64, Value)>);

    impl Fields {
        pub(in super::super) fn read(mut bytes: &[u8]) -> Self {
            let mut fields = Vec::new();
            while !bytes.is_empty() {
                let key = varint(&mut bytes);
                let value = match key & 7 {
                    VARINT => Value::Int(varint(&mut bytes) as i64),
                    FIXED_32 => {
                        let (number, rest) = bytes.split_at(4);
                        bytes = rest;
                        Value::Float(f32::from_le_bytes(number.try_into().unwrap()))
                    }
                    LENGTH_DELIMITED => {
                        let length = varint(&mut bytes) as usize;
                        let (value, rest) = bytes.split_at(length);
                        bytes = rest;
                        Value::Bytes(value.to_vec())
                    }
                    other => panic!("wire type {other}"),
                };
                fields.push((key >> 3, value));
            }
            Self(fields)
        }

        pub(in super::super) fn ints(&self, field: u64) -> Vec<i64> {
            self.all(field)
                .map(|value| match value {
                    Value::Int(number) => *number,
                    other => panic!("field {field} is {other:?}"),
                })
                .collect()
        }

        pub(in super::super) fn raw(&self, field: u64) -> Vec<Vec<u8>> {
            self.all(field)
                .map(|value| match value {
                    Value::Bytes(bytes) => bytes.clone(),
                    other => panic!("field {field} is {other:?}"),
                })
                .collect()
        }

        pub(in super::super) fn texts(&self, field: u64) -> Vec<String> {
            self.raw(field).into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
        }

        pub(in super::super) fn messages(&self, field: u64) -> Vec<Self> {
            self.raw(field).iter().map(|bytes| Self::read(bytes)).collect()
        }

        pub(in super::super) fn floats(&self, field: u64) -> Vec<f32> {
            self.all(field)
                .map(|value| match value {
                    Value::Float(number) => *number,
                    other => panic!("field {field} is {other:?}"),
                })
                .collect()
        }

        fn all(&self, field: u64) -> impl Iterator<Item = &Value> {
            self.0.iter().filter(move |(number, _)| *number == field).map(|(_, value)| value)
        }
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (&byte, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Message;
    use super::reading::Fields;

    // The examples of the encoding guide.
    #[test]
    fn bytes_are_those_of_the_guide() {
        let mut inner = Message::default();
        inner.int(1, 150);
        assert_eq!(inner.bytes, [0x08, 0x96, 0x01]);
        let mut message = Message::default();
        message.bytes(2, "testing").message(3, &inner);
        assert_eq!(message.bytes, b"\x12\x07testing\x1a\x03\x08\x96\x01");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::default();
        message.int(1, -1).int(1, i64::MAX).float(2, -0.5).bytes(20, "text");
        let fields = Fields::read(&message.into_bytes());
        assert_eq!(fields.ints(1), [-1, i64::MAX]);
        assert_eq!(fields.floats(2), [-0.5]);
        assert_eq!(fields.texts(20), ["text"]);
    }
}

//! Amounts of memory as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes. Written as text, `"2 GiB"` or `"500 MB"`, or as a whole number.
///
/// ```
/// use luthier_nn::Bytes;
///
/// assert_eq!("1.5 KiB".parse(), Ok(Bytes(1536)));
/// assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Bytes(pub u64);

/// The largest unit comes first.
const BINARY: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];

impl fmt::Display for Bytes {
    /// In the largest binary unit that it fills; exact if it is a whole number of those, else with one decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) =
            BINARY.into_iter().find(|(_, size)| self.0 >= *size).unwrap_or(BINARY[BINARY.len() - 1]);
        if self.0.is_multiple_of(size) {
            return write!(f, "{} {unit}", self.0 / size);
        }
        write!(f, "{:.1} {unit}", self.0 as f64 / size as f64)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is no amount of memory: write it as `2 GiB` or `500 MB`");
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(problem)?;
        let (number, unit) = (text[..split].trim().replace('_', ""), text[split..].trim());
        let number: f64 = number.parse().map_err(|_| problem())?;
        let mut units = BINARY.into_iter().chain(DECIMAL);
        let (_, size) = units.find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(problem)?;
        let bytes = number * size as f64;
        if bytes.is_finite() && bytes >= 0.0 { Ok(Self(bytes as u64)) } else { Err(problem()) }
    }
}

impl From<Bytes> for String {
    /// Without loss: in bytes, unless a larger unit is exact.
    fn from(bytes: Bytes) -> Self {
        let exact = BINARY.iter().find(|(_, size)| bytes.0 > 0 && bytes.0.is_multiple_of(*size));
        exact.map_or_else(|| "0 B".to_owned(), |(unit, size)| format!("{} {unit}", bytes.0 / size))
    }
}

/// As files have it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an amount of memory such as \"2 GiB\", or a whole number of bytes")]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Bytes {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_binary_and_decimal_units() {
        let check = |text: &str, expected: u64| assert_eq!(text.parse(), Ok(Bytes(expected)), "{text}");
        check("2 GiB", 2 << 30);
        check("2GB", 2_000_000_000);
        check("1_000 kb", 1_000_000);
        check("0.5 mib", 1 << 19);
        for wrong in ["2", "GiB", "-1 GiB", "2 parsecs", "1e400 B", ""] {
            let error = wrong.parse::<Bytes>().expect_err(wrong);
            assert_eq!(error, format!("`{wrong}` is no amount of memory: write it as `2 GiB` or `500 MB`"));
        }
    }

    #[test]
    fn amounts_survive_a_file() {
        for bytes in [0, 1, 1023, 1024, 3 << 29, (2 << 30) + 1] {
            let text = serde_json::to_string(&Bytes(bytes)).unwrap_or_default();
            assert_eq!(serde_json::from_str::<Bytes>(&text).ok(), Some(Bytes(bytes)), "{text}");
        }
        assert_eq!(serde_json::from_str::<Bytes>("4096").ok(), Some(Bytes(4096)));
        let error = serde_json::from_str::<Bytes>("true").map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("expected an amount of memory such as \"2 GiB\", or a whole number of bytes".to_owned())
        );
    }
}

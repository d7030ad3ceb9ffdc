//! The written form of a space, in TOML and JSON alike, with errors that point to the line.
//!
//! [`read_toml`] and [`read_json`] take the text of a document that is only a space. A larger document (a study
//! file) holds [`SpaceFile`]'s two fields among its own, reads itself with [`parse`], and turns its own semantic
//! errors into [`FileError`]s with [`FileError::at`]. Nothing here opens a file: text in, space out.
//!
//! ```
//! let space = luthier_core::space::file::read_toml(r#"
//!     [params.lr]
//!     type = "float"
//!     low = 1e-5
//!     high = 1e-1
//!     scale = "log"
//! "#)?;
//! assert_eq!(space.len(), 1);
//! # Ok::<(), luthier_core::space::file::FileError>(())
//! ```

mod form;
mod locate;

use std::fmt;

use serde::de::DeserializeOwned;

pub use form::{
    ConstraintForm, LinearForm, Misplaced, ParameterForm, ParameterType, PriorForm, ProductForm, Repeat,
    SpaceFile, Table, WeightsForm,
};
pub use locate::{Position, line_of, position_of};

use super::Space;

/// The longest document that is read, in bytes: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.1.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// The format that a file's name tells: JSON for `.json`, else TOML.
    pub fn of_name(name: &str) -> Self {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        if extension.is_some_and(|e| e.eq_ignore_ascii_case("json")) { Self::Json } else { Self::Toml }
    }
}

/// What is wrong with a document, and where.
///
/// Shown as `space.toml:7:1: what is wrong` with the line quoted below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file's name, once [`FileError::in_file`] has told it.
    pub file: Option<String>,
    /// Line and column, from 1; none if the document as a whole is meant.
    pub position: Option<Position>,
    /// What is wrong and what to do.
    pub message: String,
    /// The line itself.
    pub quoted: Option<String>,
}

impl FileError {
    /// An error about what stands at `path` in a document, such as `["params", "lr", "low"]`; where there is no
    /// such entry, about the innermost table around it.
    pub fn at<S: AsRef<str>>(text: &str, format: Format, path: &[S], message: impl Into<String>) -> Self {
        Self::new(text, position_of(text, format, path), message.into())
    }

    /// An error about a position of a document.
    pub fn new(text: &str, position: Option<Position>, message: String) -> Self {
        let quoted = position.and_then(|p| text.lines().nth(p.line - 1)).map(quotable);
        Self { file: None, position, message, quoted }
    }

    /// The same error, told with the name of the file.
    pub fn in_file(mut self, name: impl Into<String>) -> Self {
        self.file = Some(name.into());
        self
    }
}

/// A line in a message: without a byte order mark and control characters, and not too long for a terminal.
fn quotable(line: &str) -> String {
    let clean = line.trim_start_matches('\u{feff}').chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = clean.take(160).collect();
    if line.chars().count() > 160 {
        shown.push('…');
    }
    shown
}

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.position) {
            (Some(file), Some(Position { line, column })) => write!(f, "{file}:{line}:{column}: ")?,
            (None, Some(Position { line, column })) => write!(f, "line {line}, column {column}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        match (&self.quoted, self.position) {
            (Some(quoted), Some(Position { line, .. })) => write!(f, "\n{line:>5} | {quoted}"),
            _ => Ok(()),
        }
    }
}

/// Reads any document of either format; syntax and type errors tell line, column and the entry they are about.
pub fn parse<T: DeserializeOwned>(text: &str, format: Format) -> Result<T, FileError> {
    if text.len() > MAX_BYTES {
        let message = format!("the document has {} bytes; the limit is {MAX_BYTES}", text.len());
        return Err(FileError { file: None, position: None, message, quoted: None });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Toml => toml::from_str(text)
            .map_err(|error| described(text, format, error.span().map(|span| span.start), error.message())),
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let offset = locate::offset(text, error.line(), error.column());
            let full = error.to_string();
            let suffix = format!(" at line {} column {}", error.line(), error.column());
            described(text, format, Some(offset), full.strip_suffix(&suffix).unwrap_or(&full))
        }),
    }
}

/// An error of a parser, with the path of the entry it is about in front, where that can be told.
fn described(text: &str, format: Format, offset: Option<usize>, message: &str) -> FileError {
    let path = offset.map(|at| locate::path_at(text, format, at)).unwrap_or_default();
    let message = in_plain_words(message);
    let message = if path.is_empty() { message } else { format!("{}: {message}", path.join(".")) };
    FileError::new(text, offset.map(|at| Position::of(text, at)), message)
}

/// A parser's message without the names of Rust's types, and with what to do about a backslash.
///
/// ```
/// use luthier_core::space::file::in_plain_words;
/// let told = in_plain_words("invalid type: floating point `2.5`, expected u64");
/// assert_eq!(told, "invalid type: floating point `2.5`, expected a whole number from 0");
/// ```
pub fn in_plain_words(message: &str) -> String {
    if ["missing escaped value", "too few unicode value digits"]
        .iter()
        .any(|start| message.starts_with(start))
    {
        return "in double quotes a backslash begins an escape such as \\n, and this is none; write the text in single quotes, \
                such as 'step (\\d+)', or two backslashes"
            .into();
    }
    let Some((start, expected)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let kind = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        "a boolean" => "true or false",
        other => other,
    };
    format!("{start}expected {kind}")
}

/// Reads a document that is only a space.
pub fn read(text: &str, format: Format) -> Result<Space, FileError> {
    let file: SpaceFile = parse(text, format)?;
    if file.params.0.is_empty() {
        let message = match format {
            Format::Toml => "there is no parameter; add a table such as [params.lr]",
            Format::Json => "there is no parameter; add one to \"params\": { \"lr\": { … } }",
        };
        return Err(FileError::new(text, Some(Position { line: 1, column: 1 }), message.into()));
    }
    file.into_space().map_err(|misplaced| misplaced.locate(text, format))
}

/// Reads a space written in TOML; see the [module](self).
pub fn read_toml(text: &str) -> Result<Space, FileError> {
    read(text, Format::Toml)
}

/// Reads a space written in JSON; see the [module](self).
///
/// ```
/// let text = r#"{ "params": { "layers": { "type": "int", "low": 3, "high": 1 } } }"#;
/// let error = luthier_core::space::file::read_json(text).unwrap_err();
/// assert!(error.to_string().starts_with(
///     "line 1, column 42: parameter \"layers\", low: low = 3 is above high = 1; swap them"));
/// ```
pub fn read_json(text: &str) -> Result<Space, FileError> {
    read(text, Format::Json)
}

//! Where in a document an entry stands: paths such as `params / lr / low` to line and column, and back.
//!
//! Used only after something went wrong, so it parses the text again rather than carry positions along.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Format;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
}

impl Position {
    /// The position of the byte `offset`; a byte order mark is no character.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().filter(|c| *c != '\u{feff}').count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}

/// The byte offset of a line and a column that counts bytes, both from 1, as `serde_json` tells them.
pub(super) fn offset(text: &str, line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        _ => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at + 1),
    };
    (start + column.saturating_sub(1)).min(text.len())
}

/// Line and column of the entry at `path`: keys of tables and indices of lists from 0, outermost first, such as
/// `["params", "lr", "low"]` or `["constraints", "1"]`. Where the path leads beyond what the document holds, the
/// innermost entry that is there; `None` if not even the first is, or if the text is not of that format.
pub fn position_of<S: AsRef<str>>(text: &str, format: Format, path: &[S]) -> Option<Position> {
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut node = &tree(bare, format)?;
    let mut found = None;
    for key in path {
        let Some(entry) = node.entries.iter().find(|entry| entry.key == key.as_ref()) else { break };
        (found, node) = (Some(entry.at), &entry.node);
    }
    found.map(|at| Position::of(bare, at))
}

/// The line of the entry at `path`; see [`position_of`].
///
/// ```
/// use luthier_core::space::file::{Format, line_of};
/// let text = "[params.lr]\ntype = \"float\"\nlow = 3\n";
/// assert_eq!(line_of(text, Format::Toml, &["params", "lr", "low"]), Some(3));
/// assert_eq!(line_of(text, Format::Toml, &["params", "lr", "high"]), Some(1), "the table around it");
/// assert_eq!(line_of(text, Format::Toml, &["policy"]), None);
/// ```
pub fn line_of<S: AsRef<str>>(text: &str, format: Format, path: &[S]) -> Option<usize> {
    position_of(text, format, path).map(|position| position.line)
}

/// The path of the innermost entry around a byte offset; empty outside all entries.
pub(super) fn path_at(text: &str, format: Format, offset: usize) -> Vec<String> {
    let Some(root) = tree(text, format) else { return Vec::new() };
    let (mut node, mut path) = (&root, Vec::new());
    while let Some(entry) = node.entries.iter().find(|entry| entry.covers(offset)) {
        path.push(entry.key.clone());
        node = &entry.node;
    }
    path
}

/// What a document holds, without its values.
struct Node {
    /// The end of the value, in bytes.
    end: usize,
    entries: Vec<Entry>,
}

/// One key of a table or one element of a list.
struct Entry {
    key: String,
    /// Where the key, or the element, begins.
    at: usize,
    node: Node,
}

impl Entry {
    /// Whether it or something in it stands at `offset`. A TOML table may be written in several places.
    fn covers(&self, offset: usize) -> bool {
        (self.at <= offset && offset <= self.node.end)
            || self.node.entries.iter().any(|entry| entry.covers(offset))
    }
}

fn tree(text: &str, format: Format) -> Option<Node> {
    match format {
        Format::Toml => {
            let root = DeTable::parse(text).ok()?;
            Some(Node { end: text.len(), entries: toml_entries(root.get_ref()) })
        }
        Format::Json => Scanner { text: text.as_bytes(), at: 0 }.document(),
    }
}

fn toml_entries(table: &DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry { key: name.to_string(), at: key.span().start, node: toml_node(value) }
    };
    table.iter().map(entry).collect()
}

fn toml_node(value: &Spanned<DeValue<'_>>) -> Node {
    let entries = match value.get_ref() {
        DeValue::Table(table) => toml_entries(table),
        DeValue::Array(list) => {
            let entry = |(k, element): (usize, &Spanned<DeValue<'_>>)| Entry {
                key: k.to_string(),
                at: element.span().start,
                node: toml_node(element),
            };
            list.iter().enumerate().map(entry).collect()
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => Vec::new(),
    };
    Node { end: value.span().end, entries }
}

/// How deep a JSON text is followed; its reader stops at 128.
const MAX_DEPTH: usize = 200;

/// Walks over JSON and notes where things stand. It is lenient: judging the text is the reader's part.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn document(&mut self) -> Option<Node> {
        self.value(0)
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let entries = match self.peek()? {
            b'{' => self.list(b'}', depth)?,
            b'[' => self.list(b']', depth)?,
            b'"' => {
                self.string()?;
                Vec::new()
            }
            _ => {
                self.scalar()?;
                Vec::new()
            }
        };
        Some(Node { end: self.at, entries })
    }

    /// The entries up to `close`. What is cut short or misspelt ends the walk with what was seen so far.
    fn list(&mut self, close: u8, depth: usize) -> Option<Vec<Entry>> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b) if b == close => {
                    self.at += 1;
                    return Some(entries);
                }
                Some(_) => match self.entry(close, entries.len(), depth) {
                    Some(entry) => entries.push(entry),
                    None => return if depth < MAX_DEPTH { Some(entries) } else { None },
                },
                None => return Some(entries),
            }
        }
    }

    fn entry(&mut self, close: u8, index: usize, depth: usize) -> Option<Entry> {
        let at = self.at;
        if close == b']' {
            return Some(Entry { key: index.to_string(), at, node: self.value(depth + 1)? });
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        Some(Entry { key, at, node: self.value(depth + 1)? })
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_slice(&self.text[start..self.at]).ok()
    }

    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|b| !b",]}:\"[{".contains(b) && !b.is_ascii_whitespace()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

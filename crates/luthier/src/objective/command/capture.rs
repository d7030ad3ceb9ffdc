//! What a command prints: kept in bounded files, with a tail in memory, and searched for results.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use luthier_core::metric::Metrics;
use regex::Regex;

use super::CommandError;

/// Bytes of each output that are kept in its file from the start; the end is kept as well, see [`TAIL`].
const KEPT: u64 = 1 << 20;
/// Bytes of the end of an output that are kept.
const TAIL: usize = 4096;
/// Longer lines are searched for results only up to here.
const LINE: usize = 1 << 16;

/// Values found in one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Results {
    pub(super) step: Option<u64>,
    pub(super) values: Vec<(Arc<str>, f64)>,
}

/// How results are found.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    objectives: Arc<[Arc<str>]>,
    metrics: Arc<[Arc<str>]>,
    patterns: Arc<[(Arc<str>, Regex)]>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    JsonLines,
    Patterns,
    Nothing,
}

impl Reading {
    pub(super) fn new(
        patterns: &BTreeMap<String, String>,
        metrics: &Metrics,
        has_file: bool,
    ) -> Result<Self, CommandError> {
        let mut compiled = Vec::new();
        for (metric, text) in patterns {
            let wrong = |problem: String| CommandError::Pattern { metric: metric.clone(), problem };
            let regex = Regex::new(text).map_err(|e| wrong(e.to_string()))?;
            if regex.captures_len() != 2 {
                let groups = regex.captures_len() - 1;
                return Err(wrong(format!("it has {groups} groups; put the number, and only it, in ( )")));
            }
            compiled.push((metric.as_str().into(), regex));
        }
        let objectives: Vec<Arc<str>> = metrics.objectives.iter().map(|metric| metric.name.clone()).collect();
        if let Some(metric) =
            objectives.iter().find(|m| !patterns.is_empty() && !has_file && !patterns.contains_key(&***m))
        {
            return Err(CommandError::NoPattern { metric: metric.to_string() });
        }
        let mode = if patterns.is_empty() { Mode::JsonLines } else { Mode::Patterns };
        let all: Vec<Arc<str>> = objectives.iter().chain(&metrics.constraints).cloned().collect();
        Ok(Self { objectives: objectives.into(), metrics: all.into(), patterns: compiled.into(), mode })
    }

    /// JSON lines are read from standard output only; patterns are matched against both.
    pub(super) fn for_output(&self, name: &str) -> Self {
        let silent = self.mode == Mode::JsonLines && name != "stdout.log";
        Self { mode: if silent { Mode::Nothing } else { self.mode }, ..self.clone() }
    }

    pub(super) fn first_metric(&self) -> Arc<str> {
        self.objectives.first().cloned().unwrap_or_else(|| "the metric".into())
    }

    fn find(&self, line: &str) -> Option<Results> {
        match self.mode {
            Mode::Nothing => None,
            Mode::JsonLines => {
                let found = numbers(line)?;
                let is_ours = |(name, _): &(Arc<str>, f64)| self.metrics.contains(name);
                (found.step.is_some() || found.values.iter().any(is_ours)).then_some(found)
            }
            Mode::Patterns => self.match_patterns(line),
        }
    }

    fn match_patterns(&self, line: &str) -> Option<Results> {
        let mut found = Results::default();
        for (metric, regex) in self.patterns.iter() {
            let Some(text) = regex.captures(line).and_then(|groups| groups.get(1)) else { continue };
            let text = text.as_str().replace([',', '_'], "");
            match (&**metric, text.trim().parse::<f64>()) {
                ("step", Ok(step)) if step >= 0.0 => found.step = Some(step as u64),
                (_, Ok(value)) => found.values.push((metric.clone(), value)),
                (_, Err(_)) => {}
            }
        }
        (!found.values.is_empty()).then_some(found)
    }
}

/// The numbers of a JSON object, its `step` apart. Python's `NaN` and `Infinity` are read, and numbers in quotes.
pub(super) fn numbers(text: &str) -> Option<Results> {
    let text = text.trim();
    if !(text.starts_with('{') && text.ends_with('}')) {
        return None;
    }
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).or_else(|_| serde_json::from_str(&quote_non_finite(text))).ok()?;
    let mut found = Results::default();
    for (name, value) in &parsed {
        let number = match value {
            serde_json::Value::Number(number) => number.as_f64(),
            serde_json::Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(step) if name == "step" && step >= 0.0 && step.fract() == 0.0 => {
                found.step = Some(step as u64);
            }
            Some(value) if name != "step" && name.len() <= 256 => {
                found.values.push((name.as_str().into(), value));
            }
            Some(_) | None => {}
        }
    }
    Some(found)
}

/// Puts quotes around bare `NaN` and `Infinity` outside of strings.
fn quote_non_finite(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            quoted.push('"');
            quoted.push_str(&word.replace("Infinity", "inf"));
            quoted.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        in_string ^= first == '"' && !escaped;
        escaped = in_string && first == '\\' && !escaped;
        quoted.push(first);
        rest = &rest[first.len_utf8()..];
    }
    quoted
}

/// The last bytes of an output, shared with whoever waits for its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(bytes);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
    }

    fn text(&self) -> String {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(tail.make_contiguous()).into_owned()
    }
}

/// The last lines a command printed on its error output, or on its standard output if that was silent. Control
/// characters are taken out, so that a terminal or a page can show it.
pub(super) fn detail(tails: &[Tail]) -> Arc<str> {
    let texts: Vec<String> = tails.iter().map(Tail::text).collect();
    let chosen = texts.iter().rev().find(|text| !text.trim().is_empty());
    let lines: Vec<&str> = chosen.map(|text| text.lines().collect()).unwrap_or_default();
    let last = &lines[lines.len().saturating_sub(12)..];
    last.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n").trim().into()
}

/// A line without control characters and without the sequences that colour a terminal.
fn printable(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' && characters.next_if_eq(&'[').is_some() {
            // ECMA-48, 5.4: parameters, then one final byte.
            while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
            characters.next_if(|c| matches!(c, '@'..='~'));
        } else if !c.is_control() || c == '\t' {
            clean.push(c);
        }
    }
    clean
}

/// One output while it is read.
pub(super) struct Capture {
    path: PathBuf,
    tail: Tail,
    reading: Reading,
    line: Vec<u8>,
}

impl Capture {
    pub(super) fn new(path: PathBuf, tail: Tail, reading: Reading) -> Self {
        Self { path, tail, reading, line: Vec::new() }
    }

    /// Reads to the end: memory stays constant whatever the command prints.
    pub(super) fn read(mut self, mut pipe: impl Read, found: &SyncSender<Results>) {
        let mut file = BoundedFile::open(&self.path);
        let mut buffer = vec![0; 1 << 14];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    self.tail.push(&buffer[..count]);
                    file.write(&buffer[..count]);
                    self.split(&buffer[..count], found);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.end_line(found);
        file.finish(&self.tail);
    }

    /// Lines end with a newline or a carriage return, as progress displays write them.
    fn split(&mut self, bytes: &[u8], found: &SyncSender<Results>) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let ends = matches!(part.last(), Some(b'\n' | b'\r'));
            let text = if ends { &part[..part.len() - 1] } else { part };
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end_line(found);
            }
        }
    }

    fn end_line(&mut self, found: &SyncSender<Results>) {
        if let Some(results) = self.reading.find(&String::from_utf8_lossy(&self.line)) {
            // Nobody listens any more once the trial has been concluded.
            let _closed = found.send(results);
        }
        self.line.clear();
    }
}

/// A file that stops growing at [`KEPT`] bytes. A disk that is full loses the output and not the trial.
struct BoundedFile {
    file: Option<File>,
    written: u64,
    skipped: u64,
}

impl BoundedFile {
    fn open(path: &PathBuf) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).ok();
        let written = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
        Self { file, written, skipped: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.written).min(bytes.len() as u64) as usize;
        self.skipped += (bytes.len() - room) as u64;
        self.written += room as u64;
        if let Some(file) = &mut self.file
            && file.write_all(&bytes[..room]).is_err()
        {
            self.file = None;
        }
    }

    fn finish(self, tail: &Tail) {
        if let Some(mut file) = self.file.filter(|_| self.skipped > 0) {
            let skipped = self.skipped;
            let _full =
                write!(file, "\n[truncated: {skipped} bytes more, the end of which is]\n{}", tail.text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, step: Option<u64>, values: &[(&str, f64)]) {
        let found = numbers(line).unwrap();
        let expected: Vec<(Arc<str>, f64)> = values.iter().map(|(n, v)| ((*n).into(), *v)).collect();
        assert_eq!(found.step, step, "{line}");
        assert_eq!(format!("{:?}", found.values), format!("{expected:?}"), "{line}");
    }

    #[test]
    fn lines_are_cleaned_of_what_moves_a_terminal() {
        for (line, clean) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("a\u{7}b\tc\u{9b}", "ab\tc"),
            ("\u{1b}[2Jx\u{1b}[", "x"),
            ("\u{1b}]0;title\u{7}", "]0;title"),
        ] {
            assert_eq!(printable(line), clean);
        }
    }

    #[test]
    fn numbers_are_read_from_json_objects() {
        check(r#"{"step": 3, "val_loss": 0.41}"#, Some(3), &[("val_loss", 0.41)]);
        check(r#" {"a": "1e3", "b": null, "c": [1], "d": true} "#, None, &[("a", 1000.0)]);
        check(
            r#"{"step": 2, "x": NaN, "y": -Infinity, "z": Infinity}"#,
            Some(2),
            &[("x", f64::NAN), ("y", f64::NEG_INFINITY), ("z", f64::INFINITY)],
        );
        check(r#"{"say": "NaN \" NaN", "x": NaN}"#, None, &[("x", f64::NAN)]);
        check(r#"{"step": -1, "x": 1}"#, None, &[("x", 1.0)]);
        assert_eq!(numbers(r#"{"x": 1e400}"#), None);
        assert_eq!(numbers("loss 3"), None);
        assert_eq!(numbers("{broken"), None);
    }
}

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
    /// The names by which a line may call its step, the first that it has; only one from when a line has had it.
    steps: Arc<[Arc<str>]>,
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
            if text.contains(BACKSPACE) {
                let problem = "it holds a backspace, as which TOML reads \\b in double quotes; write the pattern in single quotes";
                return Err(wrong(problem.into()));
            }
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
        let mut steps: Vec<Arc<str>> = vec![STEP.into(), metrics.step.clone(), EPOCH.into()];
        steps.retain(|name| !all.contains(name));
        let (objectives, metrics) = (objectives.into(), all.into());
        Ok(Self { objectives, metrics, steps: steps.into(), patterns: compiled.into(), mode })
    }

    /// JSON lines are read from standard output only; patterns are matched against both.
    pub(super) fn for_output(&self, name: &str) -> Self {
        let silent = self.mode == Mode::JsonLines && name != "stdout.log";
        Self { mode: if silent { Mode::Nothing } else { self.mode }, ..self.clone() }
    }

    pub(super) fn first_metric(&self) -> Arc<str> {
        self.objectives.first().cloned().unwrap_or_else(|| "the metric".into())
    }

    /// Whether a value for an objective is among these.
    pub(super) fn has_objective(&self, found: &Results) -> bool {
        found.values.iter().any(|(name, _)| self.objectives.contains(name))
    }

    /// How a line says its step, for who has not.
    pub(super) fn how_to_step(&self) -> &'static str {
        match self.mode {
            Mode::Patterns => "a pattern for step, such as step = 'epoch (\\d+)', tells them apart",
            Mode::JsonLines | Mode::Nothing => {
                "a step in each line, such as {\"step\": 1, …}, tells them apart"
            }
        }
    }

    fn find(&mut self, line: &str) -> Option<Results> {
        match self.mode {
            Mode::Nothing => None,
            Mode::JsonLines => {
                let mut values = numbers(line)?;
                let is_ours = |(name, _): &(Arc<str>, f64)| self.metrics.contains(name);
                let has_ours = values.iter().any(is_ours);
                let step = self.take_step(&mut values);
                (step.is_some() || has_ours).then_some(Results { step, values })
            }
            Mode::Patterns => self.match_patterns(line),
        }
    }

    /// Takes the step out of a line's numbers: by whichever of its names the program uses first.
    fn take_step(&mut self, values: &mut Vec<(Arc<str>, f64)>) -> Option<u64> {
        let place = |name: &Arc<str>| values.iter().position(|(own, step)| own == name && is_step(*step));
        let found = self.steps.iter().find_map(|name| Some((name.clone(), place(name)?)));
        let step = found.map(|(name, place)| {
            self.steps = [name].into();
            values.remove(place).1 as u64
        });
        values.retain(|(name, _)| **name != *STEP);
        step
    }

    fn match_patterns(&self, line: &str) -> Option<Results> {
        let mut found = Results::default();
        for (metric, regex) in self.patterns.iter() {
            let Some(text) = regex.captures(line).and_then(|groups| groups.get(1)) else { continue };
            let text = text.as_str().replace([',', '_'], "");
            match (&**metric, text.trim().parse::<f64>()) {
                (STEP, Ok(step)) if step >= 0.0 => found.step = Some(step as u64),
                (_, Ok(value)) => found.values.push((metric.clone(), value)),
                (_, Err(_)) => {}
            }
        }
        (!found.values.is_empty()).then_some(found)
    }
}

/// What a step is called in any study, beside its unit's own name.
pub(super) const STEP: &str = "step";
const EPOCH: &str = "epoch";
const BACKSPACE: char = '\u{8}';

fn is_step(number: f64) -> bool {
    number >= 0.0 && number.fract() == 0.0
}

/// The numbers of a JSON object. Python's `NaN` and `Infinity` are read, and numbers in quotes.
pub(super) fn numbers(text: &str) -> Option<Vec<(Arc<str>, f64)>> {
    let text = text.trim();
    if !(text.starts_with('{') && text.ends_with('}')) {
        return None;
    }
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).or_else(|_| serde_json::from_str(&quote_non_finite(text))).ok()?;
    let mut found = Vec::new();
    for (name, value) in parsed.iter().filter(|(name, _)| name.len() <= 256) {
        let number = match value {
            serde_json::Value::Number(number) => number.as_f64(),
            serde_json::Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        found.extend(number.map(|number| (name.as_str().into(), number)));
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

    /// A line, and the step and the values it reports.
    type Line<'a> = (&'a str, Option<u64>, &'a [(&'a str, f64)]);

    /// What a program's lines say, to a study that minimises `x` and counts in `unit`.
    fn check(unit: &str, lines: &[Line<'_>]) {
        let mut metrics = Metrics::single("x", luthier_core::metric::Direction::Minimize);
        metrics.step = unit.into();
        let mut reading = Reading::new(&BTreeMap::new(), &metrics, false).unwrap();
        for (line, step, values) in lines {
            let found = reading.find(line).unwrap();
            let expected: Vec<(Arc<str>, f64)> = values.iter().map(|(n, v)| ((*n).into(), *v)).collect();
            assert_eq!(found.step, *step, "{line}");
            assert_eq!(format!("{:?}", found.values), format!("{expected:?}"), "{line}");
        }
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
        let check = |line, step, values: &[(&str, f64)]| check("step", &[(line, step, values)]);
        check(r#"{"step": 3, "val_loss": 0.41}"#, Some(3), &[("val_loss", 0.41)]);
        check(r#" {"x": "1e3", "b": null, "c": [1], "d": true} "#, None, &[("x", 1000.0)]);
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

    #[test]
    fn a_step_goes_by_the_name_that_the_program_gave_it_first() {
        check(
            "step",
            &[(r#"{"epoch": 1, "x": 2}"#, Some(1), &[("x", 2.0)]), (r#"{"epoch": 2}"#, Some(2), &[])],
        );
        check("tree", &[(r#"{"tree": 5, "epoch": 1, "x": 2}"#, Some(5), &[("epoch", 1.0), ("x", 2.0)])]);
        // The best epoch, say, at the end of a curve.
        check(
            "epoch",
            &[
                (r#"{"step": 1, "epoch": 0, "x": 2}"#, Some(1), &[("epoch", 0.0), ("x", 2.0)]),
                (r#"{"epoch": 7, "x": 1}"#, None, &[("epoch", 7.0), ("x", 1.0)]),
            ],
        );
        // Part of an epoch is no step.
        check("step", &[(r#"{"epoch": 0.5, "x": 2}"#, None, &[("epoch", 0.5), ("x", 2.0)])]);
        // A metric is a value, whatever it is called.
        let metrics = Metrics::single("epoch", luthier_core::metric::Direction::Minimize);
        let found = Reading::new(&BTreeMap::new(), &metrics, false).unwrap().find(r#"{"epoch": 3}"#);
        assert_eq!(found, Some(Results { step: None, values: vec![("epoch".into(), 3.0)] }));
    }

    #[test]
    fn a_pattern_with_a_backspace_was_meant_otherwise() {
        let metrics = Metrics::single("x", luthier_core::metric::Direction::Minimize);
        let patterns = BTreeMap::from([("x".to_owned(), "\u{8}x=(.*)".to_owned())]);
        let problem = Reading::new(&patterns, &metrics, false).unwrap_err().to_string();
        assert!(problem.contains("single quotes"), "{problem}");
    }
}

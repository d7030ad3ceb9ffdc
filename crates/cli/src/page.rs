//! Text for a terminal of some width: folded between words, so that the terminal breaks none. Elsewhere lines stay as they are.

use std::io::IsTerminal;

use console::{Term, measure_text_width};

/// Columns that a line on standard output may have; none where it is no terminal.
pub(crate) fn stdout_width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| usable(&Term::stdout()))
}

/// The same of standard error.
pub(crate) fn stderr_width() -> Option<usize> {
    std::io::stderr().is_terminal().then(|| usable(&Term::stderr()))
}

fn usable(term: &Term) -> usize {
    usize::from(term.size().1).clamp(20, 400) - 1
}

/// A text as it is to stand on standard output.
pub(crate) fn on_stdout(text: &str) -> String {
    stdout_width().map_or_else(|| text.to_owned(), |width| fitted(text, width))
}

/// The same text in lines of at most `width` columns, but for words that are longer, and commands: these are to be copied.
fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    for line in text.lines() {
        let is_whole = measure_text_width(line) <= width || line.contains("luthier ");
        let lines = if is_whole { vec![line.to_owned()] } else { folded_below(line, width) };
        fitted.push_str(&(lines.join("\n") + "\n"));
    }
    fitted
}

/// A line folded below its text: what stands before two spaces is a label.
fn folded_below(line: &str, width: usize) -> Vec<String> {
    let blank = line.len() - line.trim_start().len();
    let after_label = line[blank..].find("  ").map(|end| &line[blank + end..]);
    let label = after_label.map_or(0, |rest| line.len() - rest.trim_start().len());
    if (1..=MOST_LABEL).contains(&label) && line.is_char_boundary(label) {
        return folded(&line[..label], &line[label..], width);
    }
    let (first, rest) = line[blank..].split_once(' ').unwrap_or((&line[blank..], ""));
    let mut lines = folded(&" ".repeat(blank + 2), &format!("{first} {rest}"), width);
    if let Some(first) = lines.first_mut() {
        first.drain(..2);
    }
    lines
}

/// Columns of the longest label.
const MOST_LABEL: usize = 16;

/// A text behind its label, over as many lines as it takes at this width.
pub(crate) fn folded(label: &str, text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), label.to_string());
    let indent = measure_text_width(label);
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && measure_text_width(&line) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_folded_and_not_cut() {
        let text = "another 50 trials: 12 % chance to gain over 0.0021 (1 % of the gain so far); ten times the trials would gain about 0.013";
        for width in [20, 79, 200] {
            let lines = folded("gain  ", text, width);
            assert!(lines.iter().all(|line| measure_text_width(line) <= width), "{width}: {lines:?}");
            let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            assert_eq!(words.join(" "), format!("gain {text}"), "{width}: nothing is lost");
        }
        assert_eq!(folded("gain  ", text, 79).len(), 2);
        assert_eq!(folded("gain  ", text, 200), [format!("gain  {text}")]);
    }

    #[test]
    fn lines_are_folded_below_their_text_and_commands_are_left_whole() {
        let text = "cost   a long time of work, many epochs\nadvice another ten trials gain nothing at all\nto continue: luthier tune study.toml --trials 400\n";
        let narrow = "cost   a long time of\n       work, many epochs\nadvice another ten\n  trials gain nothing at\n  all\nto continue: luthier tune study.toml --trials 400\n";
        assert_eq!(fitted(text, 24), narrow);
        assert_eq!(fitted(text, 80), text);
    }
}

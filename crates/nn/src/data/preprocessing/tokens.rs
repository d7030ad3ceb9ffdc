//! Text as inputs: characters or words become numbers, 0 is padding, 1 a token that training did not have, the others
//! the most frequent tokens of the training part.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::super::text::{RunningText, Token, each_token};
use super::super::{TextSpec, Tokens};

/// Tokens and their numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vocabulary {
    tokens: Tokens,
    /// Tokens of an example.
    pub(super) steps: usize,
    /// Token number 2 and those that follow.
    words: Vec<String>,
}

/// The number of a token that training did not have.
const UNKNOWN: f32 = 1.0;
/// The most tokens of an example that are taken without being asked for.
const USUAL_STEPS: usize = 512;

impl Vocabulary {
    /// Learns from lines; without `steps` they are made long enough for 95 of 100.
    pub(super) fn fit<'a>(spec: &TextSpec, lines: impl Iterator<Item = &'a str>) -> Self {
        let (mut counts, mut lengths) = (BTreeMap::<&str, usize>::new(), Vec::new());
        let mut word_counts = BTreeMap::<String, usize>::new();
        for line in lines {
            let mut length = 0;
            each_token(spec.tokens, line, |token| {
                length += 1;
                match token {
                    Token::Part(text) => *counts.entry(text).or_default() += 1,
                    Token::Word(text) => *word_counts.entry(text).or_default() += 1,
                }
            });
            lengths.push(length);
        }
        word_counts.extend(counts.into_iter().map(|(text, count)| (text.to_owned(), count)));
        lengths.sort_unstable();
        let usual = lengths.get(lengths.len() * 95 / 100).or(lengths.last()).copied().unwrap_or(1);
        Self {
            tokens: spec.tokens,
            steps: spec.steps.unwrap_or(usual.clamp(1, USUAL_STEPS)),
            words: most_frequent(word_counts, spec.vocabulary),
        }
    }

    /// Learns from windows of a text that is tokens already.
    pub(super) fn fit_windows(
        spec: &TextSpec,
        steps: usize,
        text: &RunningText,
        places: impl Iterator<Item = usize>,
    ) -> Self {
        let mut counts = vec![0; text.symbols.len()];
        places.for_each(|place| counts[text.tokens[place] as usize] += 1);
        let counted = text.symbols.iter().cloned().zip(counts).filter(|(_, count)| *count > 0);
        Self { tokens: spec.tokens, steps, words: most_frequent(counted.collect(), spec.vocabulary) }
    }

    /// Category numbers that occur, 0 and 1 included.
    pub(super) fn len(&self) -> usize {
        self.words.len() + 2
    }

    /// The rows of some lines: the last `steps` tokens of each, padded in front.
    pub(super) fn encode<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Vec<f32> {
        let numbers = self.numbers();
        let mut rows = Vec::new();
        let mut line_tokens = Vec::new();
        for line in lines {
            line_tokens.clear();
            each_token(self.tokens, line, |token| line_tokens.push(number(&numbers, token.text())));
            let kept = &line_tokens[line_tokens.len().saturating_sub(self.steps)..];
            rows.resize(rows.len() + self.steps - kept.len(), 0.0);
            rows.extend_from_slice(kept);
        }
        rows
    }

    /// The rows of windows of a text that is tokens already.
    pub(super) fn encode_windows(&self, text: &RunningText, starts: impl Iterator<Item = usize>) -> Vec<f32> {
        let numbers = self.numbers();
        let of_symbol: Vec<f32> = text.symbols.iter().map(|symbol| number(&numbers, symbol)).collect();
        let mut rows = Vec::new();
        for start in starts {
            let end = text.tokens.len().min(start + self.steps);
            rows.resize(rows.len() + self.steps - (end - start), 0.0);
            rows.extend(text.tokens[start..end].iter().map(|&token| of_symbol[token as usize]));
        }
        rows
    }

    fn numbers(&self) -> HashMap<&str, f32> {
        self.words.iter().enumerate().map(|(index, word)| (word.as_str(), (index + 2) as f32)).collect()
    }
}

fn number(numbers: &HashMap<&str, f32>, token: &str) -> f32 {
    numbers.get(token).copied().unwrap_or(UNKNOWN)
}

/// The most frequent, of equally frequent ones the alphabetically first; then in alphabetical order.
pub(in super::super) fn most_frequent(counts: BTreeMap<String, usize>, most: usize) -> Vec<String> {
    let mut counted: Vec<(String, usize)> = counts.into_iter().collect();
    counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counted.truncate(most);
    let mut words: Vec<String> = counted.into_iter().map(|(word, _)| word).collect();
    words.sort_unstable();
    words
}

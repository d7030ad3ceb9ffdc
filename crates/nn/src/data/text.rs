//! Texts as tokens: characters or words.

use std::collections::HashMap;

use super::Tokens;

/// A text as one row of tokens. The tokens of several texts follow each other; `ends` says where each ends.
#[derive(Debug)]
pub(super) struct RunningText {
    pub(super) symbols: Vec<String>,
    pub(super) tokens: Vec<u32>,
    pub(super) ends: Vec<usize>,
}

impl RunningText {
    pub(super) fn new(kind: Tokens, texts: &[String]) -> Self {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let (mut symbols, mut tokens, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts {
            each_token(kind, text, |token| {
                let number = numbers.get(token.text()).copied().unwrap_or_else(|| {
                    symbols.push(token.text().to_owned());
                    numbers.insert(token.text().to_owned(), symbols.len() as u32 - 1);
                    symbols.len() as u32 - 1
                });
                tokens.push(number);
            });
            ends.push(tokens.len());
        }
        Self { symbols, tokens, ends }
    }
}

/// A token: part of the text, or a word that is written otherwise there.
pub(super) enum Token<'a> {
    Part(&'a str),
    Word(String),
}

impl Token<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Part(text) => text,
            Self::Word(text) => text,
        }
    }
}

pub(super) fn each_token<'a>(kind: Tokens, text: &'a str, mut see: impl FnMut(Token<'a>)) {
    match kind {
        Tokens::Character => {
            for (start, c) in text.char_indices() {
                see(Token::Part(&text[start..start + c.len_utf8()]));
            }
        }
        Tokens::Word => {
            let belongs = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’');
            let mut rest = text;
            while let Some(first) = rest.chars().next() {
                let length = if belongs(first) {
                    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
                } else {
                    first.len_utf8()
                };
                let (token, after) = rest.split_at(length);
                if belongs(first) {
                    see(Token::Word(token.to_lowercase()));
                } else if !first.is_whitespace() {
                    see(Token::Part(token));
                }
                rest = after;
            }
        }
    }
}

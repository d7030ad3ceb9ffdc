//! Arguments with placeholders in braces.

use luthier_core::space::Space;

use super::{CommandError, Filling};

/// Placeholders that are not parameters.
pub const PLACEHOLDERS: [&str; 14] = [
    "budget",
    "step",
    "trial",
    "replicate",
    "fold",
    "folds",
    "outer_fold",
    "outer_folds",
    "outer_part",
    "seed",
    "attempt",
    "params",
    "checkpoint",
    "folder",
];

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

impl Template {
    /// Reads `text`; every placeholder must be a parameter or one of [`PLACEHOLDERS`].
    pub(super) fn parse(text: &str, space: &Space) -> Result<Self, CommandError> {
        let unbalanced = || CommandError::Brace { text: text.to_owned() };
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err(unbalanced());
            } else {
                let end = rest.find('}').ok_or_else(unbalanced)?;
                let name = &rest[..end];
                check_known(name, text, space)?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Placeholder(name.to_owned()));
                rest = &rest[end + 1..];
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The text, or `None` where a placeholder's parameter is inactive.
    pub(super) fn fill(&self, filling: &Filling) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Placeholder(name) => text.push_str(&filling.get(name)?),
            }
        }
        Some(text)
    }

    /// Whether the placeholder `name` occurs.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Placeholder(own) if own == name))
    }

    /// Whether a parameter occurs.
    pub(super) fn depends_on_params(&self) -> bool {
        let is_param = |name: &str| !PLACEHOLDERS.contains(&name);
        self.0.iter().any(|piece| matches!(piece, Piece::Placeholder(name) if is_param(name)))
    }

    fn is_only_a_placeholder(&self) -> bool {
        matches!(self.0.as_slice(), [Piece::Placeholder(_)])
    }

    fn is_flag(&self) -> bool {
        matches!(self.0.as_slice(), [Piece::Text(text)] if text.starts_with('-') && !text.contains('='))
    }
}

/// Fills all arguments; those of inactive parameters are left out, with the flag before a bare placeholder.
pub(super) fn fill_all(templates: &[Template], filling: &Filling) -> Vec<String> {
    let mut filled: Vec<String> = Vec::with_capacity(templates.len());
    for (k, template) in templates.iter().enumerate() {
        match template.fill(filling) {
            Some(text) => filled.push(text),
            None if template.is_only_a_placeholder() && k > 1 && templates[k - 1].is_flag() => {
                filled.pop();
            }
            None => {}
        }
    }
    filled
}

fn check_known(name: &str, text: &str, space: &Space) -> Result<(), CommandError> {
    if PLACEHOLDERS.contains(&name) || space.find(name).is_some() {
        return Ok(());
    }
    let parameters = space.parameters().iter().take(12).map(|p| &*p.name);
    let known: Vec<&str> = parameters.chain(PLACEHOLDERS).collect();
    Err(CommandError::Placeholder { text: text.to_owned(), name: name.to_owned(), known: known.join(", ") })
}

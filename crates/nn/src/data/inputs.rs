//! What examples consist of, before anything is scaled.

use super::Table;
use super::array::Array;
use super::text::RunningText;

/// What examples consist of.
#[derive(Debug)]
pub(super) enum Inputs {
    /// Each row of a table is an example.
    Columns {
        table: Table,
        features: Vec<usize>,
        targets: Vec<usize>,
    },
    Series(Series),
    Array(Array),
    /// Each cell of a column of text is an example.
    Lines {
        table: Table,
        column: usize,
    },
    Running(RunningWindows),
}

/// Each run of `window` rows is an example.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) table: Table,
    pub(super) features: Vec<usize>,
    pub(super) targets: Vec<usize>,
    pub(super) window: usize,
    /// First row of each example.
    pub(super) starts: Vec<u32>,
}

impl Series {
    /// The rows of the table that some examples cover, each once.
    pub(super) fn rows(&self, examples: &[u32]) -> Vec<u32> {
        let mut covered = vec![false; self.table.len()];
        for &example in examples {
            let start = self.starts[example as usize] as usize;
            covered[start..start + self.window].fill(true);
        }
        (0..covered.len() as u32).filter(|&row| covered[row as usize]).collect()
    }
}

/// Each run of `steps` tokens is an example; the token after it is the target.
#[derive(Debug)]
pub(super) struct RunningWindows {
    pub(super) text: RunningText,
    pub(super) steps: usize,
    pub(super) stride: usize,
    pub(super) starts: Vec<u32>,
}

impl RunningWindows {
    /// Places of the tokens of some examples.
    pub(super) fn rows(&self, examples: &[u32]) -> impl Iterator<Item = usize> {
        examples.iter().flat_map(|&example| {
            let start = self.starts[example as usize] as usize;
            start..start + self.steps
        })
    }
}

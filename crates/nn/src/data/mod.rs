//! Data from files, made ready once and then shared by all trials: read, split, and turned into numbers with statistics
//! of the training part only. Nothing here trains or evaluates.
//!
//! The way of the data: `formats` turns a file into a [`Table`], an array or a text; `examples` says what one example
//! is and what is predicted (`inputs`, `order`); `split` divides the examples; `preprocessing` learns scales and vocabularies from the
//! training part; [`Problem`] holds what came out.

mod array;
mod error;
mod examples;
mod formats;
mod inputs;
mod order;
mod preprocessing;
mod problem;
mod spec;
mod split;
mod table;
mod text;

pub use error::{DataError, Place};
pub use preprocessing::{EmbeddedColumn, LabelError, Preprocessing, TargetEncoding};
use problem::PartTargets;
pub use problem::{KnownTargets, Part, Problem};
pub use spec::{
    BudgetUnit, Categories, Channels, ColumnRef, ColumnType, DataSpec, ExampleKind, Fill, Format,
    MissingCategory, NetworkSpec, OuterFold, SplitKind, TargetColumns, Task, TextSpec, TogetherChoice,
    TogetherSpec, Tokens,
};
pub use split::Fold;
use table::Table;

//! `luthier tune`: creates a study from a study file, or continues one, and runs it.

mod arguments;
mod changes;
mod ending;
mod nested;
mod ran;
mod target;
mod wanted;

use std::process::ExitCode;

pub(crate) use self::arguments::Arguments;
use self::arguments::on_data;
use self::ending::finish;
use self::ran::{Interrupts, Ran};

/// Runs a study, or with `--nested` one for each outer fold.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let arguments = &on_data(arguments)?;
    let mut interrupts = Interrupts::default();
    if let Some(folds) = arguments.nested {
        return nested::run(arguments, folds, &mut interrupts);
    }
    let ran = Ran::new(arguments, &mut interrupts)?;
    finish(&ran, arguments)
}

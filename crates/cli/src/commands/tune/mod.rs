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
use crate::lineage::note_on_params;

/// Runs a study, or with `--nested` one for each outer fold.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let arguments = &on_data(arguments)?;
    let mut interrupts = Interrupts::default();
    if let Some(folds) = arguments.nested {
        return nested::run(arguments, folds, &mut interrupts);
    }
    let ran = Ran::new(arguments, &mut interrupts)?;
    let code = finish(&ran, arguments)?;
    if !arguments.json {
        tell_schedule(&ran);
    }
    Ok(code)
}

/// Says that the params of the best are not all that led to it, where that is so.
fn tell_schedule(ran: &Ran) {
    let study = ran.session.study();
    let note = study.incumbent().and_then(|best| note_on_params(study, best, &ran.session.place()));
    if let Some(note) = note {
        println!("{note}");
    }
}

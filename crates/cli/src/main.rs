//! `luthier`: tunes the hyperparameters of any program, and of networks, from one binary.
//!
//! This file tells the story; each command is a file in `commands/`. Results go to standard output, everything else
//! to standard error.

#[macro_use]
mod output;

mod commands;
mod described;
mod headway;
mod interrupts;
mod lineage;
mod opening;
mod page;
mod progress;
mod report;

use std::process::ExitCode;

use clap::Parser;
use luthier::process::supervisor;

use commands::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tunes hyperparameters: of any program, or of a neural network trained here.
///
/// Start with `luthier init -- python3 train.py --lr {lr}`, which writes a commented study file, then `luthier tune`.
#[derive(Parser)]
#[command(name = "luthier", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    supervisor::run_if_asked();
    match commands::run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, but for those that it tells itself.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// `luthier trials | head` is no error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

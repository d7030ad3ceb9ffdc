//! `luthier completions`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// For which shell.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
#[allow(clippy::unnecessary_wraps)] // one signature for all commands
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "luthier", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}

//! The commands, one file each: its arguments, and `run`.

mod ask;
mod babysit;
mod best;
mod completions;
mod data;
mod enqueue;
mod evaluate;
mod export;
mod init;
mod model;
mod predict;
mod quality;
mod replay;
mod show;
mod stop;
mod summary;
mod tell;
mod trials;
mod tune;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

/// What `luthier` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a study from a study file, or continue one
    Tune(tune::Arguments),
    /// Train one model and turn its knobs while it trains
    Babysit(babysit::Arguments),
    /// Write a commented study file for a command
    Init(init::Arguments),
    /// Print the best trial
    Best(best::Arguments),
    /// List trials
    Trials(trials::Arguments),
    /// Show a study, or one trial with its learning curve
    Show(show::Arguments),
    /// Show how dependable the winner of a study of networks is
    Quality(quality::Arguments),
    /// Train a fresh model along the schedule of the best trial
    Replay(replay::Arguments),
    /// Write all trials as CSV or JSON
    Export(export::Arguments),
    /// Show a network's layers, parameters, memory and arithmetic before training
    Summary(summary::Arguments),
    /// Predict new rows with a trained model
    Predict(predict::Arguments),
    /// Measure a trained model on rows whose answers are known
    Evaluate(evaluate::Arguments),
    /// Write a study's best network into a folder, also as ONNX
    Model(model::Arguments),
    /// Take the next trial by hand: prints its params
    Ask(ask::Arguments),
    /// Report the values of a trial taken by `ask`
    Tell(tell::Arguments),
    /// Queue params, or ranges, to be tried next
    Enqueue(enqueue::Arguments),
    /// Ask running trials to stop
    Stop(stop::Arguments),
    /// Re-derive every decision in a study's log
    Verify(verify::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
}

/// Runs a command.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Babysit(arguments) => babysit::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Best(arguments) => best::run(&arguments),
        Command::Trials(arguments) => trials::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Quality(arguments) => quality::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Summary(arguments) => summary::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Ask(arguments) => ask::run(&arguments),
        Command::Tell(arguments) => tell::run(&arguments),
        Command::Enqueue(arguments) => enqueue::run(&arguments),
        Command::Stop(arguments) => stop::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

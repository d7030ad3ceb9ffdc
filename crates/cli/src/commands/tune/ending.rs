//! What a run says at its end: what came of it, and how to go on.

use std::process::ExitCode;

use luthier::core::engine::Done;
use luthier::core::study::Study;
use luthier::executor::End;

use super::arguments::{Arguments, Survives};
use super::ran::Ran;
use super::target::Target;
use crate::described::Kind;
use crate::interrupts::STOPPED;
use crate::opening::{BEST, quoted};
use crate::page;
use crate::report::{self, told_end};

/// Says what came of it, on standard output.
pub(super) fn finish(ran: &Ran, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Ran { session, kind, end, target, folder, .. } = ran;
    let study = session.study();
    let again = continuation(end, study.roots(), target, arguments);
    let mut result = report::study_json(study, &session.place());
    let mut text = String::new();
    let mut has_model = true;
    if let Some(best) = study.incumbent() {
        text.push_str(&format!("\nbest of {}\n", report::counts(study)));
        text.push_str(&report::best_block(study, best));
        for (name, value) in report::other_values(study, best) {
            text.push_str(&format!("  {}  {}\n", report::safe(&name), report::number(value)));
        }
        if let Kind::Network(network) = kind {
            let ended = !matches!(end, End::Stopped);
            match network.save_best(study, folder, &folder.join(BEST), ended) {
                Ok(winner) => {
                    result["held_out"] = serde_json::to_value(&winner.held_out)?;
                    result["model"] = winner.model.as_ref().map(|model| model.display().to_string()).into();
                    result["winner"] = report::winner_json(&winner.report)?;
                    text.push_str(&report::winner_block(&winner));
                    if winner.model.is_none() {
                        let finished = study.tally().finished();
                        text.push_str(&format!("model  trained anew when the study ends; to end it here: luthier tune {} --trials {finished}\n", quoted(&arguments.file)));
                    }
                }
                Err(error) => {
                    let problem = format!("the model of trial {} cannot be saved: {error}", best.number);
                    text.push_str(&format!("model  {}\n", report::safe(&problem)));
                    result["model_problem"] = problem.into();
                    has_model = false;
                }
            }
        }
    } else {
        text.push_str(&format!("\nno trial has completed ({})\n", report::counts(study)));
        text.push_str(&last_failure(study));
    }
    if let Some(front) = report::front_line(study) {
        text.push_str(&format!("front  {front}: luthier trials {} --front\n", quoted(&target.log)));
    }
    // Where nothing is left to try, more trials are none.
    let is_used_up = matches!(end, End::Done(Done::Exhausted | Done::SamplerExhausted(_)));
    if let Some(advice) = report::advice(study).filter(|_| !is_used_up) {
        result["advice"] = serde_json::to_value(advice)?;
        text.push_str(&format!("advice {}\n", report::advice_line(study, &advice)));
    }
    if let End::Done(Done::Converged(verdict)) = end {
        result["converged"] = verdict.to_string().into();
    }
    text.push_str(&format!("cost   {}\n", report::cost(study)));
    text.push_str(&format!("study  {}\n", session.place()));
    text.push_str(&format!("{}\n", told_end(end)));
    text.push_str(&format!("to continue: {again}\n"));
    text.extend(condition(end, study, arguments).map(|condition| format!("  once {condition}\n")));
    result["continue"] = again.into();
    if arguments.json {
        result["event"] = "result".into();
        println!("{result}");
    } else {
        print!("{}", page::on_stdout(&text));
    }
    // Whoever asked for no trial at all has what was asked for.
    let has_no_result = study.incumbent().is_none() && !study.trials().is_empty();
    let broken = has_no_result
        || !has_model
        || matches!(
            end,
            End::Done(Done::Failures(_) | Done::Impossible { .. } | Done::Queue(_)) | End::NotStarted { .. }
        );
    Ok(match end {
        End::Stopped => ExitCode::from(STOPPED),
        _ if broken => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn last_failure(study: &Study) -> String {
    use luthier::core::event::Outcome;
    let failed = study.finished().iter().rev().filter_map(|number| study.trial(*number));
    let last = failed.into_iter().find(|trial| matches!(trial.outcome(), Some(Outcome::Failed { .. })));
    last.map_or_else(String::new, |trial| {
        format!("trial {} {}", trial.number, report::failure_block(study, trial))
    })
}

/// What has to change before that command starts anything more, where a limit of the study file has ended the run.
fn condition(end: &End, study: &Study, arguments: &Arguments) -> Option<String> {
    let End::Done(done) = end else { return None };
    let tally = study.tally();
    match done {
        Done::Converged(_) if !arguments.until_converged => {
            Some("limits.converged in the study file is gone, or asks for a smaller chance or epsilon".into())
        }
        Done::Steps(_) => Some(format!("limits.steps in the study file is above {}", tally.steps)),
        Done::Seconds(_) => {
            Some(format!("limits.seconds in the study file is above {}", tally.seconds.ceil()))
        }
        Done::Target(_) => {
            let best =
                study.incumbent().map_or_else(String::new, |best| report::objective_values(study, best));
            Some(format!("limits.target in the study file is gone, or better than the best: {best}"))
        }
        Done::Exhausted => Some("the space in the study file has more points".into()),
        Done::SamplerExhausted(sampler) => {
            let more =
                if **sampler == *"grid" { "it has more `points` or `values`" } else { "it has more to try" };
            Some(format!("{more} in the study file, or with another sampler: --sampler auto"))
        }
        Done::Trials(_)
        | Done::Converged(_)
        | Done::Failures(_)
        | Done::Scheduler
        | Done::Impossible { .. }
        | Done::Queue(_) => None,
    }
}

/// The command that continues a run of `--nested`.
pub(super) fn nested_continuation(arguments: &Arguments) -> anyhow::Result<String> {
    Ok(continuation(&End::Stopped, 0, &Target::find(arguments)?, arguments))
}

/// The command that continues the study, of which so many trials have been started; with more trials if those asked for are done.
fn continuation(end: &End, started: u64, target: &Target, arguments: &Arguments) -> String {
    let mut command = format!("luthier tune {}", quoted(&arguments.file));
    if let (Some(_), Some(log)) = (&target.file, &arguments.study) {
        command.push_str(&format!(" --study {}", quoted(log)));
    }
    let twice = |trials: u64| Some((trials * 2).max(1));
    let (trials, until_converged) = match end {
        // A limit of trials is one of those started, paused ones included.
        End::Done(Done::Converged(_)) => (twice(started), false),
        End::Done(Done::Trials(done)) => (twice(started.max(*done)), arguments.until_converged),
        _ => (arguments.trials, arguments.until_converged),
    };
    command.extend(trials.map(|trials| format!(" --trials {trials}")));
    if until_converged {
        command.push_str(" --until-converged");
    }
    command.extend(arguments.nested.map(|folds| format!(" --nested {folds}")));
    if arguments.workers > 1 {
        command.push_str(&format!(" -j {}", arguments.workers));
    }
    for (flag, name) in [("--sampler", &arguments.sampler), ("--scheduler", &arguments.scheduler)] {
        command.extend(name.iter().map(|name| format!(" {flag} {name}")));
    }
    command.extend(arguments.folder.iter().map(|folder| format!(" --folder {}", quoted(folder))));
    command.extend(arguments.checkpoint_quota.iter().map(|quota| format!(" --checkpoint-quota {quota}")));
    let flags = [
        (arguments.durability == Survives::PowerLoss, " --durability power-loss"),
        (arguments.keep_all, " --keep-all"),
        (arguments.accept_changes, " --accept-changes"),
    ];
    command.extend(flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag));
    command
}

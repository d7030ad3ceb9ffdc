//! The live display of a run: on a terminal a block that is redrawn, elsewhere plain lines, for machines JSON lines.
//!
//! It reads the study and never decides anything. Everything goes to standard error, JSON lines to standard output.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use console::{Term, measure_text_width, truncate_str};
use luthier::core::convergence::{Advice, Course};
use luthier::core::engine::Engine;
use luthier::core::event::{Failure, Outcome, Work};
use luthier::core::study::Study;
use luthier::core::trial::{CurvePoint, Trial, TrialState, WorkState};
use luthier::executor::{Moment, Stop};
use serde_json::json;

use crate::headway::{Headway, best_so_far};
use crate::page::folded;
use crate::report::{
    Open, advice_line, broken, counts_with, duration, failure_line, number, objective_values, params_words,
    replicate_name, safe, said_instead, sparkline, told_advice, trajectory, was_on_stderr, why_stopped,
};

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A block that is redrawn if standard error is a terminal, else plain lines.
    People,
    /// JSON lines on standard output.
    Machines,
    /// Nothing.
    Quiet,
}

/// Lines for running trials; more are summed up.
const SHOWN: usize = 8;
/// Finished trials among which the last failure is looked for.
const RECENT: usize = 1000;
/// How long a process waits for others before it says so.
const PATIENCE: Duration = Duration::from_secs(1);
/// Least time between two drawings.
const FRAME: Duration = Duration::from_millis(80);

/// The display of one run.
pub(crate) struct Progress {
    form: Form,
    stop: Stop,
    begun: Instant,
    /// Knows what the sampler is about to do.
    engine: Option<Engine>,
    /// Knows what more trials might gain.
    course: Course,
    /// When so many trials had stopped, advice was last told.
    advised: u64,
    finished_before: u64,
    /// Steps that were done when this run began, where they are what counts.
    steps_before: u64,
    /// What this process runs.
    own: BTreeSet<Work>,
    /// Since when this process has had nothing to run while others hold work.
    waiting: Option<Instant>,
    told_waiting: bool,
    drawn: Option<Instant>,
    best: Option<u32>,
    told_stopping: Option<&'static str>,
    /// The trials that this process has run something of, and how many of those finished were looked at.
    begun_here: BTreeSet<u32>,
    looked_at: usize,
}

enum Form {
    Block(Block),
    Lines,
    Json,
    Nothing,
}

impl Progress {
    /// A display for a run that begins now.
    pub(crate) fn new(mode: Mode, study: &Study, stop: Stop) -> Self {
        let form = match mode {
            Mode::People if std::io::stderr().is_terminal() => Form::Block(Block::new()),
            Mode::People => Form::Lines,
            Mode::Machines => Form::Json,
            Mode::Quiet => Form::Nothing,
        };
        let finished_before = study.tally().finished();
        let best = study.incumbent().map(|trial| trial.number);
        Self {
            form,
            stop,
            begun: Instant::now(),
            engine: Engine::new(study).ok(),
            course: Course::default(),
            advised: study.stopped() as u64,
            finished_before,
            steps_before: Headway::of(study, Open::of(study)).map_or(0, |headway| headway.done),
            own: BTreeSet::new(),
            waiting: None,
            told_waiting: false,
            drawn: None,
            best,
            told_stopping: None,
            begun_here: BTreeSet::new(),
            looked_at: study.finished().len(),
        }
    }

    /// Shows what has changed.
    pub(crate) fn update(&mut self, study: &Study, moment: Moment) {
        self.keep_account(study, moment);
        match &self.form {
            Form::Nothing => {}
            Form::Json => {
                json_line(study, moment);
                if let Some(others) = self.newly_waiting(study) {
                    let trials: Vec<u32> = others.iter().map(|work| work.trial).collect();
                    json_out(&json!({ "event": "waiting", "trials": trials }));
                }
            }
            Form::Lines => self.plain_line(study, moment),
            Form::Block(_) => {
                let urgent = matches!(moment, Moment::Ended(_));
                if urgent || self.drawn.is_none_or(|at| at.elapsed() >= FRAME) {
                    self.draw(study);
                }
            }
        }
    }

    /// Says something that stays: above the block, as a line, or as an event.
    pub(crate) fn say(&mut self, text: &str) {
        let text = safe(text);
        match &mut self.form {
            Form::Nothing => {}
            Form::Json => json_out(&json!({ "event": "remark", "text": text })),
            Form::Lines => eprintln!("{text}"),
            Form::Block(block) => {
                block.draw(&[]);
                eprintln!("{text}");
                self.drawn = None;
            }
        }
    }

    /// Notes what this process runs, and since when it can only wait for others.
    fn keep_account(&mut self, study: &Study, moment: Moment) {
        match moment {
            Moment::Started(work) => {
                self.own.insert(work);
                self.begun_here.insert(work.trial);
            }
            Moment::Ended(work) | Moment::Gone(work) => drop(self.own.remove(&work)),
            Moment::Reported(_) | Moment::Idle => {}
        }
        if !self.own.is_empty() || study.running().is_empty() {
            (self.waiting, self.told_waiting) = (None, false);
        } else if matches!(moment, Moment::Idle) {
            self.waiting.get_or_insert_with(Instant::now);
        }
    }

    /// The work that others hold and this process has waited for, if that has lasted.
    fn awaited<'a>(&self, study: &'a Study) -> Option<&'a BTreeSet<Work>> {
        self.waiting.filter(|since| since.elapsed() >= PATIENCE).map(|_| study.running())
    }

    /// The same, once.
    fn newly_waiting<'a>(&mut self, study: &'a Study) -> Option<&'a BTreeSet<Work>> {
        let others = self.awaited(study).filter(|_| !self.told_waiting)?;
        self.told_waiting = true;
        Some(others)
    }

    /// Takes the block away; the result is printed in its place.
    pub(crate) fn finish(self) {
        if let Form::Block(mut block) = self.form {
            block.draw(&[]);
        }
    }

    fn draw(&mut self, study: &Study) {
        self.drawn = Some(Instant::now());
        let Form::Block(block) = &self.form else { return };
        let width = block.width();
        let plan = self.engine.as_mut().and_then(|engine| engine.explain(study).ok().flatten());
        let advice = self.advice(study);
        let texts = self.block(study, plan, advice, width);
        if let Form::Block(block) = &mut self.form {
            block.draw(&texts);
        }
    }

    /// What more trials might gain.
    fn advice(&mut self, study: &Study) -> Option<Advice> {
        self.course.advance(study);
        told_advice(self.course.advice(study, &study.spec().limits.converged.unwrap_or_default()))
    }

    /// The block's lines: counts, incumbent, rate, advice, the last failure, and each running trial.
    fn block(
        &self,
        study: &Study,
        plan: Option<String>,
        advice: Option<Advice>,
        width: usize,
    ) -> Vec<String> {
        let mut lines = vec![head(study, width)];
        lines.push(match study.incumbent() {
            Some(best) => {
                let broken = broken(study, best).map_or_else(String::new, |broken| format!(", {broken}"));
                let text = format!("best  {}{broken}  trial {}", objective_values(study, best), best.number);
                let room = width.saturating_sub(measure_text_width(&text) + 2).min(30);
                format!("{text}  {}", trajectory(study, room))
            }
            None => format!("best  {}", best_so_far(study).unwrap_or_else(|| "-".into())),
        });
        lines.push(self.rate(study));
        lines.extend(
            advice.into_iter().flat_map(|advice| folded("gain  ", &advice_line(study, &advice), width)),
        );
        lines.extend(plan.map(|plan| format!("next  {plan}")));
        let finished = study.finished().iter().rev().take(RECENT).filter_map(|number| study.trial(*number));
        let mut failed = finished.filter(|trial| trial.state() == TrialState::Failed);
        if let Some(trial) = failed.next() {
            lines.push(format!("fail  trial {}: {}", trial.number, why_failed(study, trial)));
        }
        let running: Vec<&Work> = study.running().iter().collect();
        for work in running.iter().take(SHOWN) {
            lines.push(running_line(study, **work, width));
        }
        if running.len() > SHOWN {
            lines.push(format!("  … and {} more", running.len() - SHOWN));
        }
        lines.extend(self.awaited(study).map(waiting_line));
        lines.extend(self.stopping().map(String::from));
        lines
    }

    /// What a user who has asked to stop should know.
    fn stopping(&self) -> Option<&'static str> {
        if self.stop.is_now() {
            Some("stopping now; the study continues where it is")
        } else if self.stop.is_asked() {
            Some("finishing what is running; Ctrl-C again stops now")
        } else {
            None
        }
    }

    /// Tells each stage of stopping once.
    fn plain_stop(&mut self) {
        let stopping = self.stopping();
        if stopping != self.told_stopping {
            self.told_stopping = stopping;
            if let Some(text) = stopping {
                eprintln!("{text}");
            }
        }
    }

    fn rate(&self, study: &Study) -> String {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let (unit, done, left) = self.pace(study);
        let mut text = format!("time  {}", duration(elapsed));
        if done == 0 {
            return text;
        }
        let rate = done as f64 / elapsed.max(1e-9);
        if rate >= 1.0 {
            text.push_str(&format!("  {} {unit}s/s", number((rate * 10.0).round() / 10.0)));
        } else {
            text.push_str(&format!("  {} a {unit}", duration(1.0 / rate)));
        }
        if let Some(left) = left.filter(|left| *left > 0) {
            text.push_str(&format!("  about {} left", duration(left as f64 / rate)));
        }
        text
    }

    /// What is counted, how much of it this run has done, and how much is left, if that is known.
    fn pace(&self, study: &Study) -> (&'static str, u64, Option<u64>) {
        let open = Open::of(study);
        let headway = Headway::of(study, open);
        if let Some(headway) = headway.filter(|headway| headway.in_steps) {
            let done = headway.done.saturating_sub(self.steps_before);
            return ("step", done, Some(headway.of.saturating_sub(headway.done)));
        }
        let finished = study.tally().finished();
        // How many of those that pause will go on, nobody knows.
        let known = headway.filter(|_| open.paused == 0);
        let left = known.map(|headway| headway.of.saturating_sub(finished));
        ("trial", finished.saturating_sub(self.finished_before), left)
    }

    fn plain_line(&mut self, study: &Study, moment: Moment) {
        self.plain_stop();
        if let Some(others) = self.newly_waiting(study) {
            eprintln!("{}", waiting_line(others));
        }
        if let Moment::Gone(work) = moment {
            eprintln!(
                "{} was taken over by another process; what this one found does not count",
                name(study, work)
            );
        }
        let Moment::Ended(work) = moment else { return self.plain_races(study, None) };
        self.plain_end(study, work);
        self.plain_races(study, Some(work));
        self.plain_advice(study);
    }

    /// The line of work that has come to a stop.
    fn plain_end(&mut self, study: &Study, work: Work) {
        let Some(trial) = study.trial(work.trial) else { return };
        let step = study.piece(work).map_or(0, luthier::core::trial::Piece::step);
        // Where models are watched, each pause is one to look at them.
        if is_watching(study)
            && study.piece(work).is_some_and(|piece| piece.state == WorkState::Running && step > 0)
        {
            return;
        }
        let state = stopped_as(study, work, trial);
        let is_best =
            study.incumbent().map(|best| best.number) == Some(work.trial) && self.best != Some(work.trial);
        self.best = study.incumbent().map(|best| best.number);
        let own = study.piece(work).and_then(|piece| match &piece.outcome {
            Some(Outcome::Completed { values }) if study.spec().replicates > 1 => values.first().copied(),
            _ => None,
        });
        let result = match trial.state() {
            _ if own.is_some() => with_mean(study, trial, own.unwrap_or_default()),
            TrialState::Completed => objective_values(study, trial),
            TrialState::Failed => why_failed(study, trial),
            _ if step == 0 => why_stopped(trial).map_or_else(|| stopped_at(study, work, step), safe),
            _ => stopped_at(study, work, step),
        };
        let broken = broken(study, trial);
        let star = match (&broken, &*study.metrics().objectives) {
            _ if !is_best => String::new(),
            (Some(_), _) => "  (nearest to the constraints so far)".into(),
            (None, [first, _, ..]) => format!("  (best {} so far)", safe(&first.name)),
            (None, _) => "  (best so far)".into(),
        };
        let params = params_words(study, trial);
        let broken = broken.map_or_else(String::new, |broken| format!(", {broken}"));
        eprintln!("{} {state}: {result}{broken}  [{params}]{star}", name(study, work));
    }

    /// Tells of trials that were stopped between two of their replicates, when nothing of them ran.
    fn plain_races(&mut self, study: &Study, ended: Option<Work>) {
        // Whose own end has been told with what became of the trial.
        let is_told = |work: &Work| {
            let outcome = study.piece(*work).and_then(|piece| piece.outcome.as_ref());
            !matches!(outcome, Some(Outcome::Completed { .. }))
        };
        let told = ended.filter(is_told).map(|work| work.trial);
        let finished = study.finished();
        for number in &finished[self.looked_at.min(finished.len())..] {
            let is_ours = self.begun_here.contains(number) && study.spec().replicates > 1;
            let trial = study.trial(*number).filter(|trial| trial.state() == TrialState::Pruned);
            if let Some(trial) = trial.filter(|_| is_ours && told != Some(*number)) {
                let why = why_stopped(trial).map(safe).unwrap_or_default();
                eprintln!("trial {number} pruned: {why}  [{}]", params_words(study, trial));
            }
        }
        self.looked_at = finished.len();
    }

    /// Tells from time to time what more trials might gain: whenever a quarter more have stopped, and at least ten.
    fn plain_advice(&mut self, study: &Study) {
        let stopped = study.stopped() as u64;
        if stopped < self.advised + (stopped / 5).max(10) {
            return;
        }
        if let Some(advice) = self.advice(study) {
            self.advised = stopped;
            eprintln!("advice {}", advice_line(study, &advice));
        }
    }
}

/// Why a trial failed, in one line: where, and what its program said.
pub(crate) fn why_failed(study: &Study, trial: &Trial) -> String {
    let line = failure_line(trial);
    match trial.outcome() {
        Some(Outcome::Failed { reason: Failure::NonFinite { .. }, .. }) if trial.step() > 0 => {
            format!("{line} after {} {}", safe(&study.metrics().step), trial.step())
        }
        _ if was_on_stderr(trial) => format!("{line}; it was on standard error"),
        _ => said_instead(study, trial)
            .map_or_else(|| line.clone(), |said| format!("{line}; it printed {said}")),
    }
}

/// Whether trials pause only so that somebody may look at them, and go on at once.
fn is_watching(study: &Study) -> bool {
    *study.spec().policy.scheduler.name == *"babysit"
}

/// What became of work that has come to a stop: of its replicate alone, for with others the trial goes on.
fn stopped_as(study: &Study, work: Work, trial: &Trial) -> &'static str {
    let Some(piece) = study.piece(work) else { return trial.state().name() };
    // It may have been sent on already.
    let goes_on = piece.state == WorkState::Running && piece.step() > 0;
    match (piece.state, &piece.outcome) {
        (state, _) if state == WorkState::Paused || goes_on => TrialState::Paused.name(),
        (WorkState::Ended, Some(Outcome::Completed { .. })) => TrialState::Completed.name(),
        _ => trial.state().name(),
    }
}

/// The value of a replicate, and the trial's mean if that is the last of them.
fn with_mean(study: &Study, trial: &Trial, own: f64) -> String {
    let name = study.metrics().objectives.first().map(|metric| safe(&metric.name)).unwrap_or_default();
    let mean = trial.is_finished().then(|| objective_values(study, trial)).filter(|mean| !mean.is_empty());
    let mean = mean.map(|mean| format!("; mean of {}: {mean}", study.spec().replicates));
    format!("{name} {}{}", number(own), mean.unwrap_or_default())
}

/// How far work came that has no final value, and what it had reached there.
fn stopped_at(study: &Study, work: Work, step: u64) -> String {
    let mut text = format!("at {} {step}", safe(&study.metrics().step));
    let reached = study.piece(work).and_then(|piece| study.curve_values(piece, u64::MAX).ok());
    for (metric, value) in study.metrics().objectives.iter().zip(reached.unwrap_or_default()) {
        text.push_str(&format!(", {} {}", safe(&metric.name), number(value)));
    }
    text
}

fn json_line(study: &Study, moment: Moment) {
    let (kind, work) = match moment {
        Moment::Started(work) => ("started", work),
        Moment::Reported(work) => ("reported", work),
        Moment::Ended(work) => ("ended", work),
        Moment::Gone(work) => ("gone", work),
        Moment::Idle => return,
    };
    let Some(trial) = study.trial(work.trial) else { return };
    let state = match moment {
        Moment::Ended(_) => stopped_as(study, work, trial),
        Moment::Started(_) | Moment::Reported(_) | Moment::Gone(_) | Moment::Idle => trial.state().name(),
    };
    let mut line = json!({ "event": kind, "trial": work.trial, "state": state });
    if study.spec().replicates > 1 {
        line["replicate"] = json!(work.replicate);
        if let Some(design) = study.spec().design {
            let place = design.place(work.replicate);
            line["fold"] = json!(place.fold);
            line["seed_index"] = json!(place.seed);
        }
    }
    match moment {
        Moment::Started(_) => line["params"] = json!(study.params(trial)),
        Moment::Reported(_) => {
            let piece = study.piece(work);
            let latest = study.latest_report(work);
            let is_it = |point: &&CurvePoint| Some(point.step) == latest;
            if let Some(point) = piece.and_then(|piece| piece.curve.iter().find(is_it)) {
                line["step"] = json!(point.step);
                for (name, value) in luthier::session::named_values(study, point) {
                    line["values"][&*name] = json!(value);
                }
            }
        }
        Moment::Ended(_) => {
            line["values"] = crate::report::trial_json(study, trial)["values"].take();
            line["best"] = json!(study.incumbent().map(|best| best.number));
        }
        Moment::Gone(_) | Moment::Idle => {}
    }
    json_out(&line);
}

fn json_out(line: &serde_json::Value) {
    // A reader that has gone away does not end the run.
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// A piece of work as people know it.
fn name(study: &Study, work: Work) -> String {
    match study.spec().replicates {
        0 | 1 => format!("trial {}", work.trial),
        _ if study.spec().design.is_some() => {
            format!("trial {}, {}", work.trial, replicate_name(study, work.replicate))
        }
        _ => format!("trial {} replicate {}", work.trial, work.replicate),
    }
}

fn waiting_line(others: &BTreeSet<Work>) -> String {
    let mut trials: Vec<u32> = others.iter().map(|work| work.trial).collect();
    trials.dedup();
    let shown = trials.iter().take(5).map(u32::to_string).collect::<Vec<_>>().join(", ");
    match trials.len() {
        1 => format!("waiting for trial {shown}, held by another process"),
        n @ 2..=5 => format!("waiting for {n} trials held by other processes: {shown}"),
        n => format!("waiting for {n} trials held by other processes: {shown}, …"),
    }
}

fn running_line(study: &Study, work: Work, width: usize) -> String {
    let Some(piece) = study.piece(work) else { return String::new() };
    let end = piece.budget.or(study.spec().max_budget);
    let step = match end {
        Some(end) => format!("{}/{end}", piece.step()),
        None => piece.step().to_string(),
    };
    let direction = study.metrics().objectives[0].direction;
    let values: Vec<f64> = piece.curve.iter().map(|point| direction.turn(point.loss)).collect();
    let last = values.last().map_or("-".into(), |value| number(*value));
    let unit = &study.metrics().step;
    let room = width.saturating_sub(46).clamp(8, 30);
    let replicate = if study.spec().replicates > 1 { format!(".{}", work.replicate) } else { String::new() };
    let trial = format!("{}{replicate}", work.trial);
    format!("  trial {trial:<4} {unit} {step:<7}  {last:<9} {}", sparkline(&values, room))
}

/// The study's name, how much of it is done, and counts; the bar gives way first where there is no room.
fn head(study: &Study, width: usize) -> String {
    let open = Open::of(study);
    let (name, counts) = (safe(&study.spec().name), counts_with(study, open));
    let Some(headway) = Headway::of(study, open) else {
        return format!("{name}  {} trials  {counts}", study.tally().finished());
    };
    let shown = format!("{}  {counts}", headway.told(study));
    // The name gives way to the counts.
    let most = width.saturating_sub(measure_text_width(&shown) + 2).max(SHORTEST_NAME);
    let name = truncate_str(&name, most, "…");
    let room = width.saturating_sub(measure_text_width(&name) + measure_text_width(&shown) + 3).min(20);
    if room < 5 {
        return format!("{name}  {shown}");
    }
    let done = ((headway.done.min(headway.of) * room as u64) / headway.of.max(1)) as usize;
    format!("{name}  {}{} {shown}", "█".repeat(done), "░".repeat(room - done))
}

/// Columns that a study's name keeps where there is little room.
const SHORTEST_NAME: usize = 8;

/// Lines at the bottom of a terminal that are overwritten in place, with one write each time so that nothing flickers.
struct Block {
    term: Term,
    /// The width in columns of each line that stands there.
    standing: Vec<usize>,
}

impl Block {
    fn new() -> Self {
        Self { term: Term::buffered_stderr(), standing: Vec::new() }
    }

    /// Columns that a line may have without reaching the edge.
    fn width(&self) -> usize {
        usize::from(self.term.size().1).clamp(20, 400) - 1
    }

    /// Puts `texts` in the place of the lines that stand there.
    fn draw(&mut self, texts: &[String]) {
        // A terminal that is gone needs no drawing.
        let _gone = self.try_draw(texts);
    }

    fn try_draw(&mut self, texts: &[String]) -> std::io::Result<()> {
        let (rows, columns) = self.term.size();
        let (rows, columns) = (usize::from(rows), usize::from(columns).max(1));
        // A terminal that was made narrower has folded the lines that stand there.
        let standing: usize = self.standing.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        self.term.write_str("\r")?;
        self.term.move_cursor_up(standing.min(rows.saturating_sub(1)))?;
        let folded = standing > self.standing.len();
        if folded {
            self.term.clear_to_end_of_screen()?;
        }
        let width = self.width();
        let mut now = Vec::with_capacity(texts.len());
        for (k, text) in texts.iter().take(rows.saturating_sub(1).max(1)).enumerate() {
            let text = truncate_str(text, width, "…");
            let shown = measure_text_width(&text);
            let covered = if folded { 0 } else { self.standing.get(k).copied().unwrap_or(0) };
            self.term.write_line(&format!("{text}{}", " ".repeat(covered.saturating_sub(shown))))?;
            now.push(shown);
        }
        self.term.clear_to_end_of_screen()?;
        self.standing = now;
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use luthier::core::metric::{Direction, Metrics};
    use luthier::core::space::Space;
    use luthier::core::spec::Spec;

    use super::*;

    #[test]
    fn a_long_name_gives_way_to_the_counts() {
        let space = Space::builder().float("x", 0.0..=1.0).build().expect("a space");
        let metrics = Metrics::single("loss", Direction::Minimize);
        let mut spec = Spec::new("a rather long name of a study that somebody gave", space, metrics);
        spec.limits.trials = Some(200);
        let study = Study::new(spec);
        for width in [30, 49, 79] {
            let line = head(&study, width);
            assert!(line.contains("0/200  no trials"), "{width}: {line}");
            assert!(measure_text_width(&line) <= width, "{width}: {line}");
        }
        assert!(head(&study, 120).starts_with("a rather long name of a study that somebody gave  ░"));
    }
}

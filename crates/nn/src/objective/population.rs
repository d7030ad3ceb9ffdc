//! Trials that train together: who joins whom, when members come and go, and whether it pays at all. How they are
//! trained is [`crate::population`]'s; what a trial leaves behind is the same as that of one trained alone.

use std::sync::Arc;

use crate::data::{TogetherChoice, TogetherSpec};
use crate::{Problem, Settings};

#[cfg(feature = "burn")]
pub(super) use trials::evaluate;

/// Members of a population when nobody says how many.
#[cfg(feature = "burn")]
const USUAL: usize = 32;

/// How many trials train together (1 for one by one), with a sentence about it if it was measured or is not as asked.
/// `middle` are settings in the middle of the space.
pub(super) fn choose(
    wanted: TogetherSpec,
    problem: &Arc<Problem>,
    middle: &Settings,
) -> (usize, Option<String>) {
    match wanted {
        TogetherSpec::Named(TogetherChoice::Off) => (1, None),
        TogetherSpec::Named(TogetherChoice::Auto) => measured(problem, middle),
        TogetherSpec::Members { members } => asked_for(members.get()),
    }
}

/// What to say where trials train one by one, since their budget is not counted in epochs.
pub(super) fn unless_epochs(wanted: TogetherSpec) -> Option<String> {
    let note = "trials train one by one: those that train together count their budget in epochs";
    match wanted {
        TogetherSpec::Named(_) => None,
        TogetherSpec::Members { members } => (members.get() > 1).then(|| note.to_owned()),
    }
}

#[cfg(not(feature = "burn"))]
fn measured(_: &Arc<Problem>, _: &Settings) -> (usize, Option<String>) {
    (1, None)
}

#[cfg(not(feature = "burn"))]
fn asked_for(members: usize) -> (usize, Option<String>) {
    let note = "trials train one by one: this build cannot train networks together (feature `burn`)";
    (1, (members > 1).then(|| note.to_owned()))
}

#[cfg(feature = "burn")]
fn asked_for(members: usize) -> (usize, Option<String>) {
    (members, None)
}

#[cfg(feature = "burn")]
fn measured(problem: &Arc<Problem>, middle: &Settings) -> (usize, Option<String>) {
    let Some(times) = crate::population::times_as_fast(problem, middle, USUAL) else { return (1, None) };
    if times > 1.0 {
        let note = format!(
            "up to {USUAL} trials train together: {times:.1} times as fast as one by one on this machine (measured)"
        );
        (USUAL, Some(note))
    } else {
        let note =
            format!("trials train one by one: together would be {times:.1} times as fast here (measured)");
        (1, Some(note))
    }
}

#[cfg(feature = "burn")]
mod trials {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Instant;

    use luthier::core::event::Failure;
    use luthier::objective::{Failed, Flow, Next, Pool, Running};

    use crate::objective::{Keeper, Kept, NetworkObjective, SAVE_EVERY, failure, leave, save};
    use crate::{Compute, EpochReport, Member, Model, Population, Shape, TrainError, Trainer};

    /// A trial that runs.
    struct Trial<'a> {
        running: Running<'a>,
        keeper: Keeper<'a>,
        checkpoint: PathBuf,
        /// The epoch it is sent to.
        end: usize,
        saved: Instant,
        seat: Seat,
        /// What its last epoch came to.
        report: Option<Result<EpochReport, TrainError>>,
    }

    /// Where a trial's network is trained.
    enum Seat {
        Alone(Box<Trainer>),
        /// With others, in the group of this number.
        Together(u64, Member),
        /// While it changes.
        Nowhere,
    }

    /// The groups by their numbers, which are given in order.
    #[derive(Default)]
    struct Groups {
        by_number: BTreeMap<u64, Population>,
        next: u64,
        /// Where networks are whose trials have just paused, by trial and epoch: what goes on, or another trial that begins
        /// with it, need not be read from disk.
        parked: BTreeMap<(u32, u64), Seat>,
    }

    /// Evaluates trials of `pool` until it has none: those of one shape as one tensor program, the others one by one.
    pub(in crate::objective) fn evaluate(
        objective: &NetworkObjective,
        pool: &mut Pool<'_>,
    ) -> Result<(), Failed> {
        let mut groups = Groups::default();
        let mut trials: Vec<Trial<'_>> = Vec::new();
        loop {
            let mut begun: Vec<Running<'_>> = Vec::new();
            while let Next::Trial(running) = pool.refill() {
                begun.push(running);
            }
            // Whoever begins with what another has, before that one trains on.
            begun.sort_by_key(|running| running.parent().is_none());
            for running in begun {
                trials.extend(groups.begin(objective, running));
            }
            groups.clear_parked();
            if trials.is_empty() {
                return Ok(());
            }
            groups.seat(objective, &mut trials);
            groups.advance(&mut trials);
            for trial in &mut trials {
                if let Some(Ok(report)) = &trial.report {
                    let values = report.values();
                    let seat = &mut trial.seat;
                    trial.keeper.see(&values, || Kept::Model(Box::new(groups.model(seat))));
                    trial.running.post(report.epoch as u64, &values);
                }
            }
            trials = trials.into_iter().filter_map(|trial| groups.go_on(trial)).collect();
        }
    }

    /// A trial whose network is at hand or read from disk, not yet seated.
    fn opened<'a>(objective: &'a NetworkObjective, running: Running<'a>, checkpoint: PathBuf) -> Trial<'a> {
        Trial {
            keeper: Keeper::new(&objective.metrics, &checkpoint),
            end: running.budget().map_or(usize::MAX, |budget| budget as usize),
            saved: Instant::now(),
            seat: Seat::Nowhere,
            report: None,
            checkpoint,
            running,
        }
    }

    fn lost() -> Failure {
        Failure::error("its network was lost")
    }

    fn is_at_its_end(trial: &Trial<'_>, trainer: &Trainer) -> bool {
        trainer.is_done() || trainer.epochs_done() >= trial.end
    }

    impl Trial<'_> {
        fn finish(mut self, flow: Flow, mut trainer: &Trainer) {
            let left = leave(flow, &self.running, &mut trainer, &mut self.keeper, &self.checkpoint);
            self.running.finish(left);
        }
    }

    impl Groups {
        /// A trial at its beginning, or where it was; one that cannot begin or has nothing left to do is finished.
        fn begin<'a>(&mut self, objective: &'a NetworkObjective, running: Running<'a>) -> Option<Trial<'a>> {
            let checkpoint = running.checkpoint_folder();
            if let Some(seat) = self.parked_for(objective, &running) {
                let mut trial = opened(objective, running, checkpoint);
                trial.seat = seat;
                return Some(trial);
            }
            let trainer = objective.run_of(&running).and_then(|run| run.trainer(&running, &checkpoint));
            let trainer = match trainer {
                Ok(trainer) => trainer,
                Err(failed) => {
                    running.finish(Err(failed));
                    return None;
                }
            };
            let mut trial = opened(objective, running, checkpoint);
            if is_at_its_end(&trial, &trainer) || trial.running.is_interrupted() {
                trial.finish(Flow::Continue, &trainer);
                return None;
            }
            trial.seat = Seat::Alone(Box::new(trainer));
            Some(trial)
        }

        /// The network of a trial that goes on from a pause a moment ago, or a copy of the one that it begins with.
        fn parked_for(&mut self, objective: &NetworkObjective, running: &Running<'_>) -> Option<Seat> {
            if running.is_interrupted() || running.attempt() == 1 && running.parent().is_none() {
                return None;
            }
            if running.attempt() > 1 {
                return self.parked.remove(&(running.trial(), running.step()));
            }
            let Seat::Together(number, member) = self.parked.get(&running.parent()?)? else { return None };
            let settings = objective.run_of(running).ok()?.settings;
            let group = self.by_number.get_mut(number)?;
            let branched = group.branch(*member, settings, running.random_key()).ok()?;
            Some(Seat::Together(*number, branched))
        }

        fn clear_parked(&mut self) {
            for (_, mut seat) in std::mem::take(&mut self.parked) {
                self.take(&mut seat);
            }
        }

        /// Puts trials that are alone together with others of their shape.
        fn seat(&mut self, objective: &NetworkObjective, trials: &mut [Trial<'_>]) {
            let shapes: Vec<Option<Shape>> = trials
                .iter()
                .map(
                    |trial| {
                        if let Seat::Alone(trainer) = &trial.seat { Shape::of(trainer).ok() } else { None }
                    },
                )
                .collect();
            for (trial, shape) in trials.iter_mut().zip(&shapes) {
                let Some(shape) = shape else { continue };
                let group = self
                    .by_number
                    .iter()
                    .find(|(_, group)| group.shape() == shape)
                    .map(|(&number, _)| number);
                let has_company = shapes.iter().flatten().filter(|other| *other == shape).count() > 1;
                let number = match group {
                    Some(number) => number,
                    None if has_company => self.found(objective, shape),
                    None => continue,
                };
                self.join(number, trial);
            }
        }

        fn found(&mut self, objective: &NetworkObjective, shape: &Shape) -> u64 {
            self.next += 1;
            let group = Population::new(&objective.problem, shape.clone(), Compute::best());
            self.by_number.insert(self.next, group);
            self.next
        }

        fn join(&mut self, number: u64, trial: &mut Trial<'_>) {
            let Some(group) = self.by_number.get_mut(&number) else { return };
            let seat = std::mem::replace(&mut trial.seat, Seat::Nowhere);
            trial.seat = match seat {
                Seat::Alone(trainer) => match group.add(*trainer) {
                    Ok(member) => Seat::Together(number, member),
                    Err(misfit) => Seat::Alone(misfit.trainer),
                },
                seat => seat,
            };
        }

        /// One epoch of all trials.
        fn advance(&mut self, trials: &mut [Trial<'_>]) {
            let mut reports = BTreeMap::new();
            for (&number, group) in &mut self.by_number {
                for (member, report) in group.epoch() {
                    reports.insert((number, member), report);
                }
            }
            for trial in trials {
                trial.report = match &mut trial.seat {
                    Seat::Alone(trainer) => Some(trainer.epoch()),
                    Seat::Together(number, member) => reports.remove(&(*number, *member)),
                    Seat::Nowhere => None,
                };
            }
        }

        fn model(&mut self, seat: &mut Seat) -> Model {
            match seat {
                Seat::Alone(trainer) => trainer.model(),
                Seat::Together(number, member) => {
                    let group = self.by_number.get_mut(number);
                    let model = group.and_then(|group| group.model(*member));
                    model.unwrap_or_else(|| unreachable!("it was trained just now"))
                }
                Seat::Nowhere => unreachable!("it was trained just now"),
            }
        }

        /// The trial, if it goes on after its epoch; else it is finished.
        fn go_on<'a>(&mut self, mut trial: Trial<'a>) -> Option<Trial<'a>> {
            if let Some(Err(error)) = &trial.report {
                let failed = failure(error.clone()).into();
                self.take(&mut trial.seat);
                trial.running.finish(Err(failed));
                return None;
            }
            let flow = trial.running.flow();
            let goes_on = flow == Flow::Continue && !trial.running.is_interrupted() && !self.is_over(&trial);
            if flow == Flow::Pause && !trial.running.is_interrupted() {
                self.park(trial);
                return None;
            }
            if !goes_on {
                match self.take(&mut trial.seat) {
                    Some(trainer) => trial.finish(flow, &trainer),
                    None => trial.running.finish(Err(lost().into())),
                }
                return None;
            }
            if trial.saved.elapsed() > SAVE_EVERY {
                if let Err(failed) = self.save(&mut trial) {
                    self.take(&mut trial.seat);
                    trial.running.finish(Err(failed));
                    return None;
                }
                trial.saved = Instant::now();
            }
            Some(trial)
        }

        /// Saves a trial that pauses; its network stays where it is until it is known what comes next.
        fn park(&mut self, mut trial: Trial<'_>) {
            let at = (trial.running.trial(), trial.running.step());
            let seat = std::mem::replace(&mut trial.seat, Seat::Nowhere);
            match &seat {
                Seat::Alone(trainer) => trial.finish(Flow::Pause, trainer),
                Seat::Together(number, member) => {
                    match self.by_number.get_mut(number).and_then(|group| group.trainer(*member)) {
                        Some(trainer) => trial.finish(Flow::Pause, trainer),
                        None => return trial.running.finish(Err(lost().into())),
                    }
                }
                Seat::Nowhere => return trial.running.finish(Err(lost().into())),
            }
            self.parked.insert(at, seat);
        }

        fn is_over(&self, trial: &Trial<'_>) -> bool {
            let trainer = match &trial.seat {
                Seat::Alone(trainer) => Some(&**trainer),
                Seat::Together(number, member) => {
                    self.by_number.get(number).and_then(|group| group.look(*member))
                }
                Seat::Nowhere => None,
            };
            trainer.is_none_or(|trainer| is_at_its_end(trial, trainer))
        }

        fn save(&mut self, trial: &mut Trial<'_>) -> Result<(), Failed> {
            match &trial.seat {
                Seat::Alone(trainer) => save(&mut &**trainer, &mut trial.keeper, &trial.checkpoint),
                Seat::Together(number, member) => {
                    match self.by_number.get_mut(number).and_then(|group| group.trainer(*member)) {
                        Some(mut trainer) => save(&mut trainer, &mut trial.keeper, &trial.checkpoint),
                        None => Ok(()),
                    }
                }
                Seat::Nowhere => Ok(()),
            }
        }

        /// Takes a trial's trainer out of wherever it is; a group without members is given up.
        fn take(&mut self, seat: &mut Seat) -> Option<Box<Trainer>> {
            match std::mem::replace(seat, Seat::Nowhere) {
                Seat::Alone(trainer) => Some(trainer),
                Seat::Together(number, member) => {
                    let group = self.by_number.get_mut(&number)?;
                    let trainer = group.remove(member)?;
                    if group.is_empty() {
                        self.by_number.remove(&number);
                    }
                    Some(Box::new(trainer))
                }
                Seat::Nowhere => None,
            }
        }
    }
}

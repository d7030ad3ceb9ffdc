//! The session's side of a run: gathers whatever the workers have said, takes one turn for all of it, and answers. So a
//! commit serves many workers, and decisions are made in one place. What the workers do is in [`super::worker`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use luthier_core::event::{Failure, Work};
use luthier_core::trial::{Piece, WorkState};

use super::retention::Retention;
use super::worker::{Delivery, Drawn, Message, Start, Tray, work};
use super::{End, Moment, Observer, Options};
use crate::objective::Objective;
use crate::session::{Asked, Assigned, Reply, Returned, Session, SessionError, Turn, fate_of_siblings};

/// How long to wait for a message before looking around.
const TICK: Duration = Duration::from_millis(100);
/// How often to look for workers that are gone.
const SWEEP: Duration = Duration::from_secs(2);

/// Runs `objective` on the study until it is done or stopped.
///
/// Errors are those of the study's store; failing trials are data.
pub fn run(
    session: &mut Session,
    objective: &dyn Objective,
    options: &Options,
    observe: &mut Observer<'_>,
) -> Result<End, SessionError> {
    thread::scope(|scope| {
        // Both ends die with this closure, so that no worker waits for an answer after an error.
        let (to_session, from_workers) = channel();
        let (over, width) = (Arc::new(AtomicBool::new(false)), objective.slots().max(1));
        let workers: Vec<_> = (0..options.workers.max(1))
            .map(|_| {
                let (sender, deliveries) = channel();
                let folder = options.folder.clone();
                let tray = Tray::new(objective, deliveries, to_session.clone(), folder, over.clone());
                scope.spawn(move || work(tray, width));
                sender
            })
            .collect();
        drop(to_session);
        let mut run = Run::new(session, options, workers, width, over);
        let ended = run.until_done(&from_workers, observe);
        run.interrupt_all();
        ended
    })
}

/// What runs in a slot.
struct Current {
    work: Work,
    attempt: u32,
    interrupt: Arc<AtomicBool>,
}

struct Run<'a> {
    session: &'a mut Session,
    options: &'a Options,
    workers: Vec<Sender<Delivery>>,
    /// Slot k is one of worker k modulo their number, so that few trials are spread over all workers.
    slots: Vec<Option<Current>>,
    begun: Instant,
    finished_before: u64,
    renewed: Instant,
    swept: Option<Instant>,
    /// Whether something has changed since a request for work was last answered with "wait".
    stale: bool,
    end: Option<End>,
    /// Tells the workers that there is an end.
    over: Arc<AtomicBool>,
    retention: Retention,
}

/// Answers held back until the turn is durable.
#[derive(Default)]
struct Outbox {
    replies: Vec<(Sender<Reply>, Reply)>,
    values: Vec<(Sender<Drawn>, Drawn)>,
    starts: Vec<(usize, Assigned)>,
    moments: Vec<Moment>,
    freed: Vec<usize>,
    end: Option<End>,
}

impl<'a> Run<'a> {
    fn new(
        session: &'a mut Session,
        options: &'a Options,
        workers: Vec<Sender<Delivery>>,
        width: usize,
        over: Arc<AtomicBool>,
    ) -> Self {
        let slots = (0..workers.len() * width).map(|_| None).collect();
        let finished_before = session.study().tally().finished();
        let retention = Retention::new(session.study(), options);
        let now = Instant::now();
        Self {
            session,
            options,
            workers,
            slots,
            begun: now,
            finished_before,
            renewed: now,
            swept: None,
            stale: true,
            end: None,
            over,
            retention,
        }
    }

    fn until_done(
        &mut self,
        inbox: &Receiver<Vec<Message>>,
        observe: &mut Observer<'_>,
    ) -> Result<End, SessionError> {
        loop {
            self.check_stop();
            match &self.end {
                Some(end) if self.currents().next().is_none() => {
                    if matches!(end, End::Done(_)) && self.session.branches() {
                        let session = &*self.session;
                        self.retention.tidy_all(session.study(), &|trial, step| session.keeps(trial, step));
                    }
                    return Ok(end.clone());
                }
                Some(_) | None => {}
            }
            let messages = if self.wants_work() { Vec::new() } else { gather(inbox) };
            let moved = !messages.is_empty() || self.wants_work() || self.sweep_is_due();
            if moved {
                self.take_turn(messages, observe)?;
            } else {
                self.stale |= self.session.refresh()?;
                observe(self.session.study(), Moment::Idle);
            }
            self.keep_leases()?;
            self.pass_on_stops();
        }
    }

    fn currents(&self) -> impl Iterator<Item = &Current> {
        self.slots.iter().flatten()
    }

    fn wants_work(&self) -> bool {
        self.stale && self.end.is_none() && self.slots.iter().any(Option::is_none)
    }

    fn sweep_is_due(&self) -> bool {
        self.end.is_none() && self.swept.is_none_or(|at| at.elapsed() > SWEEP)
    }

    /// One turn for everything the workers said and everything that idle workers can do.
    fn take_turn(&mut self, messages: Vec<Message>, observe: &mut Observer<'_>) -> Result<(), SessionError> {
        let sweep = self.sweep_is_due();
        let ask = self.end.is_none() && !self.limit_reached();
        let (slots, stop_now) = (&self.slots, self.options.stop.is_now());
        let mut idle: Vec<usize> = (0..slots.len()).filter(|k| slots[*k].is_none()).collect();
        let (limit, before) = (self.options.trials, self.finished_before);
        let outbox = self.session.turn(|turn| {
            let mut outbox = Outbox::default();
            for message in messages {
                answer(turn, slots, message, stop_now, &mut outbox)?;
            }
            idle.extend(&outbox.freed);
            if sweep {
                turn.sweep()?;
            }
            if ask && outbox.end.is_none() {
                let used = turn.study().tally().finished().saturating_sub(before)
                    + (slots.len() - idle.len()) as u64;
                let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(used));
                idle.sort_unstable();
                idle.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                assign(turn, &idle, &mut outbox)?;
            }
            Ok(outbox)
        })?;
        if sweep {
            self.swept = Some(Instant::now());
        }
        self.stale = !outbox.freed.is_empty() && !ask;
        self.deliver(outbox, observe);
        Ok(())
    }

    /// Passes on what a turn has led to. New work goes out before the answers, and after an end is known, so that a
    /// worker which has its answer finds what it can refill its slots with, or that there is nothing.
    fn deliver(&mut self, outbox: Outbox, observe: &mut Observer<'_>) {
        self.stale |= !outbox.replies.is_empty() || !outbox.freed.is_empty();
        let settled: Vec<Work> =
            outbox.freed.iter().filter_map(|slot| Some(self.slots[*slot].as_ref()?.work)).collect();
        let deliveries = self.fill(&outbox.freed, outbox.starts);
        if let Some(end) = outbox.end {
            if self.currents().next().is_none() || !matches!(end, End::Done(_)) {
                self.conclude(end);
            }
            // While others run, their results may lead to more: ask again when something has changed.
            self.stale = false;
        }
        if self.end.is_none() && self.limit_reached() {
            self.conclude(End::Limit);
        }
        // A worker whose channel is closed is gone already; its trial is over for it.
        for (worker, delivery) in deliveries {
            let _closed = self.workers[worker].send(delivery);
        }
        for (answer, reply) in outbox.replies {
            let _closed = answer.send(reply);
        }
        for (answer, value) in outbox.values {
            let _closed = answer.send(value);
        }
        for moment in outbox.moments {
            if let Moment::Ended(work) = moment {
                self.retention.weigh(work);
            }
            observe(self.session.study(), moment);
        }
        self.tidy(&settled);
    }

    /// Frees slots and takes slots: one delivery for each worker that has finished something or gets something.
    fn fill(&mut self, freed: &[usize], starts: Vec<(usize, Assigned)>) -> BTreeMap<usize, Delivery> {
        let mut deliveries = BTreeMap::<usize, Delivery>::new();
        let count = self.workers.len();
        let counted = self.session.study().spec().replicates.max(1);
        for &slot in freed {
            // What measured a finished trial again may have left a checkpoint.
            if let Some(again) = self.slots[slot].as_ref().filter(|current| current.work.replicate >= counted)
            {
                self.retention.look_again(again.work.trial);
            }
            self.slots[slot] = None;
            deliveries.entry(slot % count).or_default().settled += 1;
        }
        for (slot, assigned) in starts {
            let interrupt = Arc::new(AtomicBool::new(false));
            let (work, attempt) = (assigned.work, assigned.attempt);
            self.slots[slot] = Some(Current { work, attempt, interrupt: interrupt.clone() });
            deliveries.entry(slot % count).or_default().starts.push(Start { slot, assigned, interrupt });
        }
        deliveries
    }

    fn conclude(&mut self, end: End) {
        self.end = Some(end);
        self.over.store(true, Ordering::Relaxed);
    }

    /// Removes checkpoints that nobody needs any more.
    fn tidy(&mut self, settled: &[Work]) {
        if self.session.branches() {
            let session = &*self.session;
            self.retention.tidy_kept(session.study(), settled, &|trial, step| session.keeps(trial, step));
        }
        let busy: BTreeSet<u32> = self.slots.iter().flatten().map(|current| current.work.trial).collect();
        self.retention.tidy(self.session.study(), &busy);
    }

    fn limit_reached(&self) -> bool {
        let finished = self.session.study().tally().finished().saturating_sub(self.finished_before);
        let running = self.currents().count() as u64;
        self.options.trials.is_some_and(|limit| finished + running >= limit)
            || self.options.seconds.is_some_and(|limit| self.begun.elapsed().as_secs_f64() >= limit)
    }

    fn check_stop(&mut self) {
        if self.options.stop.is_asked() {
            self.conclude(End::Stopped);
        }
        if self.options.stop.is_now() {
            self.interrupt_all();
        }
    }

    fn interrupt_all(&self) {
        for current in self.currents() {
            current.interrupt.store(true, Ordering::Relaxed);
        }
    }

    fn keep_leases(&mut self) -> Result<(), SessionError> {
        if self.renewed.elapsed() < self.session.renewal() {
            return Ok(());
        }
        self.renewed = Instant::now();
        let gone = self.session.renew()?;
        for current in self.currents() {
            if gone.contains(&current.work) {
                current.interrupt.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// A trial that was asked to stop and does not report soon is interrupted, and so is a replicate whose trial is decided.
    fn pass_on_stops(&self) {
        for current in self.currents() {
            let study = self.session.study();
            if study.stopping().contains(&current.work.trial)
                || fate_of_siblings(study, current.work).is_some()
            {
                current.interrupt.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Whatever the workers have said: waits a tick for the first, then takes all there are.
fn gather(inbox: &Receiver<Vec<Message>>) -> Vec<Message> {
    match inbox.recv_timeout(TICK) {
        Ok(first) => std::iter::once(first).chain(inbox.try_iter()).flatten().collect(),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Vec::new(),
    }
}

fn answer(
    turn: &mut Turn<'_>,
    slots: &[Option<Current>],
    message: Message,
    stop_now: bool,
    outbox: &mut Outbox,
) -> Result<(), SessionError> {
    match message {
        Message::Report { slot, step, values, seconds, answer } => {
            let Some(Current { work, attempt, .. }) = &slots[slot] else { return Ok(()) };
            let reply = turn.report(*work, *attempt, step, &values, seconds)?;
            if reply != Reply::Gone {
                outbox.moments.push(Moment::Reported(*work));
            }
            outbox.replies.push((answer, reply));
        }
        Message::Draw { slot, parameter, answer } => {
            let Some(Current { work, attempt, .. }) = &slots[slot] else { return Ok(()) };
            let value = match turn.draw(*work, *attempt, &parameter) {
                Ok(value) => {
                    value.ok_or_else(|| Failure::error("the trial was taken over by another worker"))
                }
                Err(SessionError::Space(problem)) => Err(Failure::error(problem)),
                Err(other) => return Err(other),
            };
            outbox.values.push((answer, value));
        }
        Message::BeginsAnew { slot, why } => {
            let Some(Current { work, attempt, .. }) = &slots[slot] else { return Ok(()) };
            if turn.study().piece(*work).is_some_and(|piece| piece.attempt == *attempt) {
                turn.note(Some(work.trial), "begins anew", why.into())?;
            }
        }
        Message::Finished { slot, returned } => {
            let Some(Current { work, attempt, interrupt }) = &slots[slot] else { return Ok(()) };
            let asked_to_stop = turn.study().stopping().contains(&work.trial);
            let taken = |piece: &Piece| piece.attempt != *attempt || piece.state == WorkState::Waiting;
            let gone = turn.study().piece(*work).is_none_or(taken);
            let unable = match &returned.result {
                Err((Failure::NotStarted { problem }, _)) => Some(problem.clone()),
                _ => None,
            };
            if asked_to_stop {
                turn.cancel(*work, *attempt, returned.seconds)?;
            } else if stop_now && interrupt.load(Ordering::Relaxed) && !has_arrived(turn, *work, &returned) {
                turn.give_back(*work, *attempt)?;
            } else if let Some(problem) = unable {
                turn.give_back(*work, *attempt)?;
                outbox.end.get_or_insert(End::NotStarted { trial: work.trial, problem });
            } else {
                turn.finish(*work, *attempt, returned)?;
            }
            outbox.moments.push(if gone { Moment::Gone(*work) } else { Moment::Ended(*work) });
            outbox.freed.push(slot);
        }
    }
    Ok(())
}

fn assign(turn: &mut Turn<'_>, idle: &[usize], outbox: &mut Outbox) -> Result<(), SessionError> {
    for &slot in idle {
        match turn.ask()? {
            Asked::Work(assigned) => {
                outbox.moments.push(Moment::Started(assigned.work));
                outbox.starts.push((slot, *assigned));
            }
            Asked::Wait => break,
            Asked::Done(done) => {
                if turn.study().running().is_empty() {
                    outbox.end = Some(End::Done(done));
                }
                break;
            }
        }
    }
    Ok(())
}

/// Whether work came to where it was sent although it was interrupted: then its result counts.
fn has_arrived(turn: &Turn<'_>, work: Work, returned: &Returned) -> bool {
    let study = turn.study();
    let Some(piece) = study.piece(work) else { return false };
    let end = piece.budget.or(study.spec().max_budget);
    returned.conclusion.is_some() || end.is_some_and(|end| piece.step() >= end)
}

//! A worker's side of a run: takes trials that the session hands out, has them evaluated, and says how they went. It knows
//! no study and decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luthier_core::event::{Failure, Work};
use luthier_core::space::{Parameter, Value};

use super::replay::Replay;
use crate::folders;
use crate::objective::kept::{self, Sharing};
use crate::objective::{Clock, Failed, Intake, Link, Next, Objective, Pool, Running};
use crate::session::{Assigned, Reply, Returned};

/// A drawn value, or why there is none.
pub(super) type Drawn = Result<Value, Failure>;

/// What a worker says about the trial in one of its slots.
pub(super) enum Message {
    Report { slot: usize, step: u64, values: Vec<(Arc<str>, f64)>, seconds: f64, answer: Sender<Reply> },
    Draw { slot: usize, parameter: Parameter, answer: Sender<Drawn> },
    BeginsAnew { slot: usize, why: String },
    Finished { slot: usize, returned: Returned },
}

/// What one turn has led to for one worker.
#[derive(Default)]
pub(super) struct Delivery {
    /// New work.
    pub(super) starts: Vec<Start>,
    /// How many of the trials that the worker said were finished are written down now.
    pub(super) settled: usize,
}

/// Work for a slot.
pub(super) struct Start {
    pub(super) slot: usize,
    pub(super) assigned: Assigned,
    pub(super) interrupt: Arc<AtomicBool>,
}

/// A worker's life: wait for work, have it evaluated, see to it that each trial has an end.
pub(super) fn work(mut tray: Tray<'_>, slots: usize) {
    let objective = tray.objective;
    while tray.wait() {
        let taken = tray.taken;
        let mut pool = Pool::new(&mut tray, slots);
        let evaluation = catch_unwind(AssertUnwindSafe(|| objective.evaluate_batch(&mut pool)));
        let failed = match evaluation {
            Ok(Ok(())) => forgotten(),
            Ok(Err(failed)) => failed,
            Err(panic) => panicked(&*panic),
        };
        if tray.taken == taken {
            // An objective that takes nothing would be called for ever.
            tray.refuse_first();
        }
        tray.desk.fail_unfinished(&failed);
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failed {
    Failure::Panicked { problem: panic_text(panic).into() }.into()
}

fn forgotten() -> Failed {
    Failure::error("the objective let go of the trial without finishing it").into()
}

/// Where a worker's trials arrive and wait to be taken.
pub(super) struct Tray<'o> {
    objective: &'o dyn Objective,
    desk: Arc<Desk>,
    deliveries: Receiver<Delivery>,
    waiting: VecDeque<Start>,
    folder: PathBuf,
    /// Whether the run hands out no more work.
    over: Arc<AtomicBool>,
    /// How many trials the objective was given so far.
    taken: u64,
    sharing: Sharing,
}

/// Whether a trial can begin.
enum Ready {
    Yes,
    /// It has nothing to do, or has been interrupted before it began.
    Over,
}

impl<'o> Tray<'o> {
    pub(super) fn new(
        objective: &'o dyn Objective,
        deliveries: Receiver<Delivery>,
        to_session: Sender<Vec<Message>>,
        folder: PathBuf,
        over: Arc<AtomicBool>,
    ) -> Self {
        let desk = Arc::new(Desk {
            to_session,
            said: Mutex::default(),
            unfinished: Mutex::default(),
            unsettled: AtomicUsize::new(0),
            clock: Clock::default(),
        });
        let sharing = if objective.replaces_files() { Sharing::Links } else { Sharing::Copies };
        Self { objective, desk, deliveries, waiting: VecDeque::new(), folder, over, taken: 0, sharing }
    }

    /// Waits until there is a trial; false if there will be none.
    fn wait(&mut self) -> bool {
        loop {
            self.hand_back_interrupted();
            self.desk.flush();
            if !self.waiting.is_empty() {
                return true;
            }
            match self.deliveries.recv() {
                Ok(delivery) => self.sort(delivery),
                Err(_) => return false,
            }
        }
    }

    /// Waits until all that was said to be finished is written down, then takes all there is.
    fn settle(&mut self) {
        self.desk.fail_abandoned();
        self.desk.flush();
        while self.desk.unsettled.load(Ordering::Acquire) > 0 {
            match self.deliveries.recv() {
                Ok(delivery) => self.sort(delivery),
                Err(_) => return,
            }
        }
        while let Ok(delivery) = self.deliveries.try_recv() {
            self.sort(delivery);
        }
    }

    fn sort(&mut self, delivery: Delivery) {
        self.desk.unsettled.fetch_sub(delivery.settled, Ordering::AcqRel);
        self.waiting.extend(delivery.starts);
    }

    /// Trials that were interrupted before the objective has seen them.
    fn hand_back_interrupted(&mut self) {
        let interrupted = |start: &Start| start.interrupt.load(Ordering::Relaxed);
        let (back, waiting): (VecDeque<Start>, _) = self.waiting.drain(..).partition(interrupted);
        self.waiting = waiting;
        for start in back {
            self.desk.finish(start.slot, returned(Ok(()), Leftover::default()));
        }
    }

    fn refuse_first(&mut self) {
        if let Some(start) = self.waiting.pop_front() {
            self.desk.open(start.slot);
        }
    }

    fn running(&mut self, Start { slot, assigned, interrupt }: Start) -> Running<'static> {
        self.taken += 1;
        self.desk.open(slot);
        let link = Box::new(Wire { slot, desk: self.desk.clone(), reply: None });
        let folder = folders::of_work(&self.folder, assigned.work);
        Running::new(assigned, link, interrupt, folder, self.desk.clock.clone()).sharing(self.sharing)
    }

    /// The next trial that can begin. A full disk is nobody's fault.
    fn pop(&mut self) -> Option<Start> {
        while let Some(start) = self.waiting.pop_front() {
            let result = match self.make_ready(&start) {
                Err(failed) => Err(failed),
                Ok(Ready::Yes) => return Some(start),
                Ok(Ready::Over) => Ok(()),
            };
            self.desk.finish(start.slot, returned(result, Leftover::default()));
        }
        None
    }

    /// Puts the checkpoint that a trial begins with where it looks for it: its own, else that of its latest pause, else that of its
    /// parent. What is gone is made anew: by the trial itself if it has no parent, else along the schedule that led to it.
    fn make_ready(&self, start: &Start) -> Result<Ready, Failed> {
        let Assigned { work, attempt, step, parent, keeps_pauses, .. } = start.assigned;
        let folder = folders::of_work(&self.folder, work);
        let checkpoint = folders::checkpoint_in(&folder);
        let cannot = |error: io::Error| Failed::from(cannot_begin(&error));
        if attempt == 1 {
            kept::clear(&folder, &checkpoint);
        }
        kept::restore(&checkpoint).map_err(cannot)?;
        // All that is lacking is the word that it has paused: a worker was killed after what it had there was kept.
        if keeps_pauses
            && attempt > 1
            && start.assigned.pauses_at(step)
            && kept::take_up(&folder, &checkpoint, step, self.sharing).map_err(cannot)?
        {
            return Ok(Ready::Over);
        }
        if kept::fall_back(&folder, &checkpoint, step, self.sharing).map_err(cannot)? {
            return Ok(Ready::Yes);
        }
        let from = parent.map_or(0, |(_, from)| from);
        if keeps_pauses && step > from {
            self.say_anew(
                start,
                format!("it had no checkpoint left, and went from step {from} to {step} again"),
            );
        }
        let Some((number, _)) = parent else { return Ok(Ready::Yes) };
        let its_folder = folders::of_work(&self.folder, Work::of(number));
        if kept::adopt(&its_folder, from, &checkpoint, self.sharing).map_err(cannot)? {
            return Ok(Ready::Yes);
        }
        let what = format!("what trial {number} had at step {from}");
        self.say_anew(start, format!("{what} was gone, and was trained again along its schedule"));
        self.train_again(start, &folder, &checkpoint)?;
        if checkpoint.is_dir() {
            Ok(Ready::Yes)
        } else if start.interrupt.load(Ordering::Relaxed) {
            Ok(Ready::Over)
        } else {
            let problem = format!(
                "it cannot begin: {what} is gone, and training it again left no checkpoint of that step"
            );
            Err(Failure::error(problem).into())
        }
    }

    fn say_anew(&self, start: &Start, why: String) {
        self.desk.say(Message::BeginsAnew { slot: start.slot, why });
        self.desk.flush();
    }

    /// Makes what a trial begins with again, as that came about, and leaves nothing else of that behind.
    fn train_again(
        &self,
        Start { assigned, interrupt, .. }: &Start,
        folder: &Path,
        checkpoint: &Path,
    ) -> Result<(), Failed> {
        let (seed, max_budget, Some((parent, step))) = (assigned.seed, assigned.max_budget, assigned.parent)
        else {
            return Ok(());
        };
        let replay = Replay { seed, max_budget, folder: folder.join("before") };
        let train = || replay.train_until(self.objective, &assigned.before, interrupt, &mut |_| {});
        let trained = catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|panic| Err(panicked(&*panic)));
        let from = folders::of_work(&replay.folder, Work::of(parent));
        let adopted = trained.and_then(|_| {
            kept::adopt(&from, step, checkpoint, self.sharing).map_err(|error| cannot_begin(&error).into())
        });
        kept::discard(&replay.folder);
        adopted.map(|_| ())
    }
}

impl Intake for Tray<'_> {
    fn next(&mut self) -> Next<'static> {
        self.settle();
        self.hand_back_interrupted();
        match self.pop() {
            Some(start) => Next::Trial(self.running(start)),
            None if self.over.load(Ordering::Relaxed) => Next::Over,
            None => Next::Later,
        }
    }
}

/// What the trials of one worker share. What they say is gathered here until one of them needs an answer, so that it
/// reaches the session together: one turn for all, in an order that depends on nobody's speed.
struct Desk {
    to_session: Sender<Vec<Message>>,
    said: Mutex<Said>,
    /// By slot, trials that the objective has not finished; with what they left behind, if it has dropped them.
    unfinished: Mutex<BTreeMap<usize, Option<Leftover>>>,
    /// How many trials were said to be finished and are not yet known to be written down.
    unsettled: AtomicUsize,
    clock: Clock,
}

/// What has not been sent yet.
#[derive(Default)]
struct Said {
    messages: Vec<Message>,
    /// How often something was sent before.
    sendings: u64,
}

/// What is known of a trial that was dropped.
#[derive(Default)]
struct Leftover {
    seconds: f64,
    used: Option<Vec<Arc<str>>>,
}

impl Desk {
    /// Returns which sending it will go with.
    fn say(&self, message: Message) -> u64 {
        let mut said = lock(&self.said);
        said.messages.push(message);
        said.sendings
    }

    /// Sends all that was said.
    fn flush(&self) {
        let mut said = lock(&self.said);
        if !said.messages.is_empty() {
            said.sendings += 1;
            // Where nobody listens any more, nobody answers either, and the workers end by that.
            let _closed = self.to_session.send(std::mem::take(&mut said.messages));
        }
    }

    /// Sees to it that what goes with this sending is sent. Nothing later is: it may be the first of more.
    fn flush_up_to(&self, sending: u64) {
        if lock(&self.said).sendings == sending {
            self.flush();
        }
    }

    fn open(&self, slot: usize) {
        lock(&self.unfinished).insert(slot, None);
    }

    fn finish(&self, slot: usize, returned: Returned) {
        lock(&self.unfinished).remove(&slot);
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        self.say(Message::Finished { slot, returned });
    }

    /// Fails what the objective has dropped.
    fn fail_abandoned(&self) {
        let abandoned: Vec<_> = lock(&self.unfinished).extract_if(.., |_, left| left.is_some()).collect();
        for (slot, leftover) in abandoned {
            self.finish(slot, returned(Err(forgotten()), leftover.unwrap_or_default()));
        }
    }

    /// Fails all that is not finished.
    fn fail_unfinished(&self, failed: &Failed) {
        let unfinished = std::mem::take(&mut *lock(&self.unfinished));
        for (slot, leftover) in unfinished {
            self.finish(slot, returned(Err(failed.clone()), leftover.unwrap_or_default()));
        }
    }
}

fn cannot_begin(error: &io::Error) -> Failure {
    let problem = format!("it cannot begin with its checkpoint: {error}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Failure::error(problem),
        _ => Failure::NotStarted { problem: problem.into() },
    }
}

fn returned(result: Result<(), Failed>, Leftover { seconds, used }: Leftover) -> Returned {
    let result = result.map_err(|failed| (failed.reason, failed.detail));
    Returned { result, conclusion: None, seconds, used }
}

/// A trial's line to the session.
struct Wire {
    slot: usize,
    desk: Arc<Desk>,
    /// The answer to a report, and which sending the report goes with.
    reply: Option<(Receiver<Reply>, u64)>,
}

impl Link for Wire {
    fn post(&mut self, step: u64, values: Vec<(Arc<str>, f64)>, seconds: f64) {
        let (answer, reply) = channel();
        let sending = self.desk.say(Message::Report { slot: self.slot, step, values, seconds, answer });
        self.reply = Some((reply, sending));
    }

    fn reply(&mut self) -> Reply {
        let Some((reply, sending)) = self.reply.take() else { return Reply::Gone };
        self.desk.flush_up_to(sending);
        reply.recv().unwrap_or(Reply::Gone)
    }

    fn draw(&mut self, parameter: Parameter) -> Drawn {
        let (answer, drawn) = channel();
        self.desk.say(Message::Draw { slot: self.slot, parameter, answer });
        self.desk.flush();
        drawn.recv().unwrap_or_else(|_| Err(Failure::error("the study is closed")))
    }

    fn finish(&mut self, returned: Returned) {
        self.desk.finish(self.slot, returned);
    }

    fn abandon(&mut self, seconds: f64, used: Option<Vec<Arc<str>>>) {
        if let Some(leftover) = lock(&self.desk.unfinished).get_mut(&self.slot) {
            *leftover = Some(Leftover { seconds, used });
        }
    }
}

/// Nothing that is done under these locks can leave them half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

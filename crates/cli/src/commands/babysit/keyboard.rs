//! Standard input while a model is watched: keys where it is a terminal, else lines. Whatever is said goes into the study's log
//! as from any other process.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use luthier::core::steering::standing;
use luthier::process::Keys;
use luthier::session::SessionError;

use super::command::{Amount, Command, Cue, Knobs, Line, View, parse};
use super::screen::Screen;
use super::steerer;

/// How long it is waited for a key before looking around.
const TICK: Duration = Duration::from_millis(100);

/// Commands that wait for their step; the runner has them.
#[derive(Clone, Default)]
pub(super) struct Cues(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    cues: Vec<Cue>,
    /// The furthest step that any trial has come to.
    reached: u64,
}

impl Cues {
    /// Those of a script, for a model that has come to this step.
    pub(super) fn new(cues: Vec<Cue>, reached: u64) -> Self {
        Self(Arc::new(Mutex::new(Waiting { cues, reached })))
    }

    /// Lets a command wait, unless its step is past; then says why not.
    fn add(&self, cue: Cue) -> Result<(), String> {
        let mut waiting = self.waiting();
        if cue.step <= waiting.reached {
            return Err(format!("step {} is past: the model has come to {}", cue.step, waiting.reached));
        }
        waiting.cues.push(cue);
        Ok(())
    }

    /// Takes those whose step is reached with a report of `step`. What waits for a step that is past was heard when that was reached,
    /// maybe by a process that was killed since.
    pub(super) fn due(&self, before: u64, step: u64) -> Vec<Cue> {
        let mut waiting = self.waiting();
        waiting.reached = waiting.reached.max(before).max(step);
        let (due, later) = std::mem::take(&mut waiting.cues).into_iter().partition(|cue| cue.step <= step);
        waiting.cues = later;
        due.into_iter().filter(|cue: &Cue| before < cue.step).collect()
    }

    /// The steps that somebody waits for in vain, and the one that the model has come to.
    pub(super) fn in_vain(&self) -> (Vec<u64>, u64) {
        let waiting = self.waiting();
        let steps = waiting.cues.iter().map(|cue| cue.step).filter(|step| *step > waiting.reached);
        (steps.collect(), waiting.reached)
    }

    /// Nothing that is done under this lock can leave it half changed.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens in a thread of its own.
pub(super) struct Keyboard {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    has_keys: bool,
    screen: Screen,
}

struct Ears {
    log: PathBuf,
    knobs: Arc<Knobs>,
    screen: Screen,
    cues: Cues,
    is_over: Arc<AtomicBool>,
    heard: Sender<()>,
}

impl Keyboard {
    /// Begins to listen; `heard` is told of each wish that was written down.
    pub(super) fn listen(
        log: PathBuf,
        knobs: Arc<Knobs>,
        screen: Screen,
        cues: Cues,
        heard: Sender<()>,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let is_drawn = std::io::stderr().is_terminal() && std::io::stdin().is_terminal();
        let keys = if is_drawn { Keys::open() } else { None };
        let has_keys = keys.is_some();
        let ears = Ears { log, knobs, screen: screen.clone(), cues, is_over: is_over.clone(), heard };
        let thread = thread::spawn(move || match keys {
            Some(keys) => ears.hear_keys(&keys),
            None => ears.hear_lines(),
        });
        Self { is_over, thread, has_keys, screen }
    }

    /// Stops listening and leaves the terminal as it was.
    pub(super) fn finish(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.screen.typing(None);
        // A thread that waits for a line ends with the process.
        if self.has_keys {
            let _panicked = self.thread.join();
        }
    }
}

impl Ears {
    fn hear_lines(&self) {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            self.hear(&line);
        }
    }

    fn hear_keys(&self, keys: &Keys) {
        let mut typed = String::new();
        let mut pending = Vec::new();
        self.screen.typing(Some(&typed));
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(bytes) = keys.read(TICK) else { return };
            let is_all = bytes.is_empty();
            pending.extend(bytes);
            if pending.is_empty() {
                continue;
            }
            for key in keys_in(&mut pending, is_all) {
                self.press(key, &mut typed);
            }
            if !self.is_over.load(Ordering::Relaxed) {
                self.screen.typing(Some(&typed));
            }
        }
    }

    fn press(&self, key: Key, typed: &mut String) {
        let lr = |factor: f64| Command::Turn { name: "learning_rate".into(), to: Amount::Times(factor) };
        match key {
            Key::Enter if typed.is_empty() => self.carry_out(&Command::Show(View::Knobs)),
            Key::Enter => {
                let line = std::mem::take(typed);
                self.screen.say(format!("> {line}"));
                self.hear(&line);
            }
            Key::Letter(' ') if typed.is_empty() => {
                self.carry_out_by(|is_paused| if is_paused { Command::Go } else { Command::Pause });
            }
            Key::Letter('+') | Key::Up if typed.is_empty() => self.carry_out(&lr(1.2)),
            Key::Letter('-') | Key::Down if typed.is_empty() => self.carry_out(&lr(1.0 / 1.2)),
            Key::Left if typed.is_empty() => self.carry_out(&Command::Back(None)),
            Key::Letter(letter) => typed.push(letter),
            Key::Rubout => drop(typed.pop()),
            Key::Escape => typed.clear(),
            Key::Up | Key::Down | Key::Left | Key::Other => {}
        }
    }

    fn hear(&self, line: &str) {
        match parse(line) {
            Ok(None) => {}
            Ok(Some(Line::Now(command))) => self.carry_out(&command),
            Ok(Some(Line::Later(cue))) => {
                let step = cue.step;
                self.screen.say(match self.cues.add(cue) {
                    Ok(()) => format!("at step {step}: noted"),
                    Err(problem) => format!("not done: {problem}"),
                });
            }
            Err(problem) => self.screen.say(format!("not done: {problem:#}")),
        }
    }

    fn carry_out(&self, command: &Command) {
        self.carry_out_by(|_| command.clone());
    }

    /// Carries out what follows from whether the model is paused.
    fn carry_out_by(&self, choose: impl Fn(bool) -> Command) {
        let done = steerer(&self.log).and_then(|mut session| {
            let done: Result<String, SessionError> = session.turn(|turn| {
                let is_paused = standing(turn.study()).is_some_and(|standing| standing.is_paused);
                self.knobs.carry_out(turn, &choose(is_paused))
            });
            Ok(done?)
        });
        match done {
            Ok(text) => {
                self.screen.say(text);
                // Whoever does not wait for anything needs no word.
                let _nobody = self.heard.send(());
            }
            Err(problem) => self.screen.say(format!("not done: {problem:#}")),
        }
    }
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Letter(char),
    Enter,
    Rubout,
    Escape,
    Up,
    Down,
    Left,
    Other,
}

/// Takes whole keys off what was typed. The beginning of a key of several bytes stays, unless this is all that comes: then an
/// escape is the key of that name.
fn keys_in(bytes: &mut Vec<u8>, is_all: bool) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some(&first) = bytes.first() {
        let (key, length) = match (first, bytes.as_slice()) {
            (0x1b, [_]) if !is_all => return keys,
            (0x1b, [_, b'[' | b'O', rest @ ..]) => {
                let end = rest.iter().position(|byte| (0x40..0x7f).contains(byte));
                if end.is_none() && !is_all {
                    return keys;
                }
                let key = match end.map(|end| rest[end]) {
                    Some(b'A') => Key::Up,
                    Some(b'B') => Key::Down,
                    Some(b'D') => Key::Left,
                    Some(_) | None => Key::Other,
                };
                (key, end.map_or(bytes.len(), |end| end + 3))
            }
            // Ctrl-U too, as in a shell.
            (0x1b | 0x15, _) => (Key::Escape, 1),
            (b'\r' | b'\n', _) => (Key::Enter, 1),
            (0x7f | 0x08, _) => (Key::Rubout, 1),
            (0..0x20, _) => (Key::Other, 1),
            (_, all) => {
                let length = match first {
                    0..0x80 => 1,
                    0x80..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    _ => 4,
                };
                if all.len() < length {
                    return keys;
                }
                let letter = std::str::from_utf8(&all[..length]).ok().and_then(|text| text.chars().next());
                (letter.map_or(Key::Other, Key::Letter), length)
            }
        };
        keys.push(key);
        bytes.drain(..length);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let mut typed = b"l\x1b[A\x1b[D\x7f\r\xc3".to_vec();
        let keys = [Key::Letter('l'), Key::Up, Key::Left, Key::Rubout, Key::Enter];
        assert_eq!(keys_in(&mut typed, false), keys);
        typed.push(0xa4);
        assert_eq!(keys_in(&mut typed, false), [Key::Letter('ä')]);
        // A key may come in pieces.
        let mut typed = b"\x1b".to_vec();
        assert_eq!(keys_in(&mut typed, false), []);
        typed.push(b'[');
        assert_eq!(keys_in(&mut typed, false), []);
        typed.push(b'D');
        assert_eq!(keys_in(&mut typed, false), [Key::Left]);
        assert_eq!(keys_in(&mut b"\x1b".to_vec(), true), [Key::Escape]);
    }
}

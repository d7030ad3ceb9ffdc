//! Runs one external program under supervision, so that nothing it started outlives it or the tuner.
//!
//! This module does not know what a trial is: it starts a program, hands out its pipes, ends it on request and says
//! how it ended. It never parses output and never decides to stop anything, except at a memory limit it was given.
//!
//! # Design
//!
//! On Unix a *supervisor process* sits between the tuner and the command. It is this same executable, started with a
//! hidden first argument, which is why `main` has to call [`supervisor::run_if_asked`] before anything else. The
//! supervisor adopts orphans (Linux), holds a socket whose other end only the tuner has, and kills every descendant of
//! the command when the command ends, when it is told to, and when the tuner vanishes for any reason, `kill -9`
//! included. If the supervisor is killed instead, the command dies with it (Linux) and the tuner's side hunts the rest
//! down by a mark in their environment. On Windows a job object does all of this and there is no supervisor.
//!
//! | | Linux | macOS | other Unix | Windows |
//! |---|---|---|---|---|
//! | found after `setsid` and a double fork | always | if seen once by a look, every 100 ms | no | always |
//! | memory limit | resident set, PSS when in doubt | resident set | no | working set |
//! | `terminate` sends | `SIGTERM` to every descendant | the same | `SIGTERM` to the process group | Ctrl-Break |
//!
//! What no user-space supervisor can do: if the tuner *and* a supervisor are killed with `SIGKILL` at the same instant,
//! only the command itself is sure to die on Linux. So that a careless `killall luthier` does not do this, supervisors
//! carry another name.

#[cfg(unix)]
mod guard;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android", target_os = "macos"))))]
#[path = "posix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod words;

mod file;
mod keys;
pub mod supervisor;
mod tag;
mod threads;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use file::FileIdentity;
pub use keys::Keys;
pub use tag::{ProcessTag, is_alive};
pub use threads::thread_environment;

#[cfg(windows)]
use system as platform;
#[cfg(unix)]
use unix as platform;

/// A program to run, and the terms on which it runs.
///
/// The program is executed directly, never through a shell, and its arguments arrive byte for byte. It gets the
/// tuner's environment with [`env`](Self::env) on top, a session of its own (so an interrupt typed at the terminal
/// reaches the tuner alone), an empty standard input unless [`pipe_stdin`](Self::pipe_stdin) is set, and no other open
/// file of the tuner.
///
/// ```no_run
/// use luthier::process::{Exit, Launch, supervisor};
///
/// supervisor::run_if_asked(); // first thing in `main`
/// let mut launch = Launch::new("python3");
/// launch.args = vec!["train.py".into(), "--lr".into(), "0.1".into()];
/// launch.memory_limit = Some(4 << 30);
/// let ended = launch.start()?.wait();
/// assert_eq!(ended.status, Exit::Code(0));
/// # Ok::<(), luthier::process::LaunchError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program: a name to look up in `PATH`, or a path. A relative path starts from the tuner's own working
    /// directory, not from [`working_dir`](Self::working_dir).
    pub program: OsString,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Variables added to the tuner's environment, or replacing what is there. A later pair wins.
    pub env: Vec<(OsString, OsString)>,
    /// Where the program starts; the tuner's own working directory if `None`.
    pub working_dir: Option<PathBuf>,
    /// Bytes of memory that the program and all its descendants may hold together. Looked at about ten times a second
    /// (less often for a very large tree), so a short spike may pass. Address space is not limited: CUDA and the JVM
    /// reserve far more than they use.
    pub memory_limit: Option<u64>,
    /// How long the program has to end well after [`Process::terminate`] before all of it is killed. Default 10 s.
    pub grace: Duration,
    /// Whether [`Process::take_stdin`] gives a pipe. Default false: reading standard input finds its end at once.
    pub pipe_stdin: bool,
    /// An executable whose `main` calls [`supervisor::run_if_asked`] first; `None` for the one that is running. Not
    /// used on Windows.
    pub supervisor: Option<PathBuf>,
}

/// A running program, from [`Launch::start`]. Dropping it kills the program and all its descendants, without waiting.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    supervisor: Option<u32>,
    stdin: Mutex<Option<ChildStdin>>,
    stdout: Mutex<Option<ChildStdout>>,
    stderr: Mutex<Option<ChildStderr>>,
    running: Arc<Running>,
}

/// Ends a [`Process`] from another thread. Holding one does not keep the process alive.
#[derive(Debug, Clone)]
pub struct Killer {
    running: Arc<Running>,
}

/// How a program ended. When this is known, its descendants are gone too, but for [`left`](Self::left).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How the program itself ended.
    pub status: Exit,
    /// Whether everything was killed because [`Launch::memory_limit`] was reached.
    pub memory_exceeded: bool,
    /// The most memory seen in use by the program and its descendants together, in bytes; `None` if unknown. Sampled,
    /// but at least the peak of the largest single process where the system records that.
    pub peak_memory: Option<u64>,
    /// Processor time of the program and its descendants, user and system together; `None` if unknown.
    pub cpu: Option<Duration>,
    /// Descendants that were still running and had to be killed.
    pub swept: u32,
    /// Descendants that `SIGKILL` did not end within 10 s, because they are stuck in the kernel or belong to another
    /// user. Normally 0; the supervisor stays behind to keep trying.
    pub left: u32,
}

/// How the program itself ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal (Unix).
    Signal(i32),
    /// Its supervisor vanished before it could tell; the program was killed.
    SupervisorLost,
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No such program.
    #[error("the program `{program}` was not found{}; check the spelling, or give its full path", searched(.path.as_deref()))]
    NotFound {
        /// The program asked for.
        program: String,
        /// The `PATH` that was searched; `None` if the program was given as a path.
        path: Option<String>,
    },
    /// The program exists and the interpreter in its first line, or its dynamic loader, does not.
    #[error(
        "`{program}` exists, but what runs it does not: check the interpreter named in its first line (`#!`)"
    )]
    InterpreterMissing {
        /// The program asked for.
        program: String,
    },
    /// The program exists but may not be executed.
    #[error(
        "`{program}` may not be executed: make it executable (`chmod +x`), or run it through its interpreter"
    )]
    NotExecutable {
        /// The program asked for.
        program: String,
    },
    /// The file is no program of this machine.
    #[error(
        "`{program}` is no program this machine can run: it was built for another one, or is a script without a `#!` line"
    )]
    WrongFormat {
        /// The program asked for.
        program: String,
    },
    /// Arguments and environment exceed the system's limit.
    #[error(
        "the arguments of `{program}` are too long for this system ({bytes} bytes); pass large values in a file"
    )]
    ArgumentsTooLong {
        /// The program asked for.
        program: String,
        /// The length of the arguments and of the added variables.
        bytes: usize,
    },
    /// The working directory is missing or is not a directory.
    #[error("the working directory `{}` does not exist or cannot be entered", path.display())]
    WorkingDir {
        /// The directory asked for.
        path: PathBuf,
    },
    /// An argument or a variable holds a character that the system cannot pass on.
    #[error("{what} cannot be passed to a program: it holds {holds}")]
    Text {
        /// Which one.
        what: String,
        /// What is wrong with it.
        holds: &'static str,
    },
    /// The executable that is running cannot supervise, because its `main` does not offer it.
    #[error(
        "this executable cannot supervise commands: call `luthier::process::supervisor::run_if_asked()` first in \
         `main`, or set `Launch::supervisor` to the path of the `luthier` program"
    )]
    NoSupervisor,
    /// The executable given as supervisor does not behave as one.
    #[error("`{}` does not act as a supervisor: its `main` must call `supervisor::run_if_asked()` first and be of this version", path.display())]
    NotASupervisor {
        /// The executable that was tried.
        path: PathBuf,
    },
    /// The supervisor could not be started.
    #[error("the supervisor `{}` could not be started: {source}", path.display())]
    Supervisor {
        /// The executable that was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Out of processes, memory or open files: trying again later may work.
    #[error(
        "no room to start `{program}` now ({source}); run fewer trials at once or raise the system's limits"
    )]
    Resources {
        /// The program asked for.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("`{program}` could not be started: {source}")]
    Other {
        /// The program asked for.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Launch {
    /// `program` without arguments, on the default terms.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            memory_limit: None,
            grace: Duration::from_secs(10),
            pipe_stdin: false,
            supervisor: None,
        }
    }

    /// Starts the program. When this returns, the program has been executed or the error says why not.
    pub fn start(&self) -> Result<Process, LaunchError> {
        let started = platform::start(self)?;
        let running =
            Arc::new(Running { controls: started.controls, ended: Mutex::new(None), signal: Condvar::new() });
        let process = Process {
            pid: started.pid,
            supervisor: started.supervisor,
            stdin: Mutex::new(started.stdin),
            stdout: Mutex::new(started.stdout),
            stderr: Mutex::new(started.stderr),
            running: Arc::clone(&running),
        };
        // If no thread can be had, dropping `process` kills what was started.
        std::thread::Builder::new()
            .name("process-watch".into())
            .stack_size(256 * 1024)
            .spawn(move || running.end(started.watch.until_ended()))
            .map_err(|source| LaunchError::Resources { program: self.shown(), source })?;
        Ok(process)
    }

    fn shown(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// The grace, short enough to be added to any time.
    fn bounded_grace(&self) -> Duration {
        self.grace.min(Duration::from_hours(24 * 365))
    }

    fn bytes(&self) -> usize {
        let env = self.env.iter().map(|(name, value)| name.len() + value.len() + 2);
        self.args.iter().map(|arg| arg.len() + 1).chain(env).sum()
    }
}

impl Process {
    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The supervisor's process id; `None` where there is none (Windows).
    pub fn supervisor_pid(&self) -> Option<u32> {
        self.supervisor
    }

    /// The pipe into the program's standard input, once, if [`Launch::pipe_stdin`] asked for it.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        lock(&self.stdin).take()
    }

    /// The program's standard output, once. It ends when the program and its descendants have ended. What is not taken
    /// before the first wait is thrown away, so that a full pipe cannot block the program.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        lock(&self.stdout).take()
    }

    /// The program's standard error, on the same terms as [`take_stdout`](Self::take_stdout).
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        lock(&self.stderr).take()
    }

    /// A handle that ends this process from elsewhere.
    pub fn killer(&self) -> Killer {
        Killer { running: Arc::clone(&self.running) }
    }

    /// Asks the program and its descendants to end, and kills what is left after [`Launch::grace`]. Returns at once;
    /// does nothing if the program has ended or was asked before.
    pub fn terminate(&self) {
        self.running.controls.terminate();
    }

    /// Kills the program and its descendants. Returns at once; does nothing if the program has ended.
    pub fn kill(&self) {
        self.running.controls.kill();
    }

    /// Waits until the program and its descendants have ended.
    pub fn wait(&self) -> Ended {
        self.drain();
        let mut ended = lock(&self.running.ended);
        loop {
            if let Some(ended) = ended.clone() {
                return ended;
            }
            ended = self.running.signal.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How the program ended, or `None` while it runs.
    pub fn try_wait(&self) -> Option<Ended> {
        lock(&self.running.ended).clone()
    }

    /// Waits at most this long; `None` if the program still runs then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Ended> {
        let Some(until) = Instant::now().checked_add(timeout) else { return Some(self.wait()) };
        self.drain();
        let mut ended = lock(&self.running.ended);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if ended.is_some() || left.is_zero() {
                return ended.clone();
            }
            ended = self.running.signal.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn drain(&self) {
        drop(self.take_stdin());
        if let Some(stdout) = self.take_stdout() {
            throw_away(stdout);
        }
        if let Some(stderr) = self.take_stderr() {
            throw_away(stderr);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.running.controls.kill();
    }
}

impl Killer {
    /// As [`Process::terminate`].
    pub fn terminate(&self) {
        self.running.controls.terminate();
    }

    /// As [`Process::kill`].
    pub fn kill(&self) {
        self.running.controls.kill();
    }
}

impl LaunchError {
    /// Whether the same launch may succeed later without any change by the user.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Resources { .. })
    }
}

#[derive(Debug)]
struct Running {
    controls: platform::Controls,
    ended: Mutex<Option<Ended>>,
    signal: Condvar,
}

impl Running {
    fn end(&self, ended: Ended) {
        *lock(&self.ended) = Some(ended);
        self.signal.notify_all();
    }
}

/// What a platform hands over once the program runs.
struct Started {
    pid: u32,
    supervisor: Option<u32>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    controls: platform::Controls,
    watch: platform::Watch,
}

fn throw_away(mut pipe: impl io::Read + Send + 'static) {
    // Without a thread the pipe closes, and the program gets a write error instead of blocking for ever.
    let _ = std::thread::Builder::new()
        .name("process-drain".into())
        .stack_size(128 * 1024)
        .spawn(move || io::copy(&mut pipe, &mut io::sink()));
}

fn searched(path: Option<&str>) -> String {
    path.map(|path| format!(" in PATH ({path})")).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The process-level behaviour is tested in `tests/process.rs`, whose `main` calls the hook; this one's does not.
    #[test]
    fn an_executable_that_never_offered_to_supervise_is_not_started_again() {
        let error = Launch::new("true").start().expect_err("the hook was not called");
        assert!(matches!(error, LaunchError::NoSupervisor), "{error}");
        assert!(error.to_string().contains("run_if_asked"), "{error}");
    }
}

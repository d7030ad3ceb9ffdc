//! The tuner's side on every Unix: starts a supervisor, gives it its order, hears how the command ended. Does not look
//! at the command's processes, except to kill what is left when the supervisor itself was killed.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io::{self, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::supervisor::{HIDDEN_ARGUMENT, is_installed};
use super::words::{ASKED, GREETING, KILL, MARK, Order, Step, TERMINATE, Word, hear, say};
use super::{Ended, Exit, Launch, LaunchError, Started, lock, system};

/// How long an executable may take to show that it is a supervisor, on a machine that swaps.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tuner's hold on a running supervisor.
#[derive(Debug)]
pub(super) struct Controls {
    socket: Mutex<UnixStream>,
}

impl Controls {
    pub(super) fn terminate(&self) {
        self.say(TERMINATE);
    }

    pub(super) fn kill(&self) {
        self.say(KILL);
    }

    fn say(&self, word: u8) {
        // A failure means that the supervisor is gone, and then there is nothing to end.
        let _ = lock(&self.socket).write_all(&[word]);
    }
}

/// The wait for one supervisor.
pub(super) struct Watch {
    child: Child,
    words: BufReader<UnixStream>,
    command: u32,
    mark: String,
}

impl Watch {
    /// Blocks until the command has ended, however that happens.
    pub(super) fn until_ended(mut self) -> Ended {
        match hear(&mut self.words) {
            Ok(Word::Ended(ended)) => {
                // With descendants left, the supervisor stays behind for an unknown time.
                if ended.left == 0 {
                    let _ = self.child.wait();
                } else {
                    let _ = std::thread::Builder::new().spawn(move || self.child.wait());
                }
                ended
            }
            Ok(_) | Err(_) => self.supervisor_lost(),
        }
    }

    fn supervisor_lost(&mut self) -> Ended {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (swept, left) = system::kill_marked(MARK, &self.mark, self.command);
        Ended {
            status: Exit::SupervisorLost,
            memory_exceeded: false,
            peak_memory: None,
            cpu: None,
            swept,
            left,
        }
    }
}

/// Starts the supervisor and, through it, the command.
pub(super) fn start(launch: &Launch) -> Result<Started, LaunchError> {
    check_text(launch)?;
    check_working_dir(launch)?;
    let order = order(launch)?;
    let (path, mut supervisor) = spawn_supervisor(launch)?;
    match instruct(launch, &path, &mut supervisor, &order) {
        Ok(pid) => Ok(supervisor.into_started(pid, order.mark)),
        Err(error) => {
            let _ = supervisor.child.kill();
            let _ = supervisor.child.wait();
            Err(error)
        }
    }
}

struct Supervisor {
    child: Child,
    stdin: Option<ChildStdin>,
    socket: UnixStream,
    words: BufReader<UnixStream>,
}

impl Supervisor {
    fn into_started(mut self, pid: u32, mark: String) -> Started {
        Started {
            pid,
            supervisor: Some(self.child.id()),
            stdin: self.stdin,
            stdout: self.child.stdout.take(),
            stderr: self.child.stderr.take(),
            controls: Controls { socket: Mutex::new(self.socket) },
            watch: Watch { child: self.child, words: self.words, command: pid, mark },
        }
    }
}

fn spawn_supervisor(launch: &Launch) -> Result<(PathBuf, Supervisor), LaunchError> {
    // Where a descriptor cannot be created and marked close-on-exec in one call, a concurrent launch would inherit
    // ours and keep it open.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = lock(&ONE_AT_A_TIME);

    let path = supervisor_path(launch)?;
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(errno) if is_shortage(errno) => LaunchError::Resources { program: launch.shown(), source },
        _ => LaunchError::Supervisor { path: path.clone(), source },
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let words = BufReader::new(ours.try_clone().map_err(failed)?);
    let mut command = Command::new(&path);
    command
        .arg0(system::SUPERVISOR_NAME)
        .arg(HIDDEN_ARGUMENT)
        .env(ASKED, std::process::id().to_string())
        // Out of the terminal's foreground: an interrupt typed there is for the tuner to judge.
        .process_group(0)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let stdin = if launch.pipe_stdin { Some(pass_stdin(&mut command).map_err(failed)?) } else { None };
    let child = command.spawn().map_err(failed)?;
    Ok((path, Supervisor { child, stdin, socket: ours, words }))
}

/// Lets the supervisor inherit the reading end of a new pipe, whose number becomes its second argument.
fn pass_stdin(command: &mut Command) -> io::Result<ChildStdin> {
    let (theirs, ours) = io::pipe()?;
    let theirs = OwnedFd::from(theirs);
    let number: RawFd = theirs.as_raw_fd();
    command.arg(number.to_string());
    // SAFETY: runs between fork and exec and makes one async-signal-safe call on a descriptor that the closure owns.
    // Only the child's copy loses its close-on-exec mark, so no other launch can inherit it.
    unsafe {
        command.pre_exec(move || match libc::fcntl(theirs.as_raw_fd(), libc::F_SETFD, 0) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    Ok(ChildStdin::from(OwnedFd::from(ours)))
}

fn supervisor_path(launch: &Launch) -> Result<PathBuf, LaunchError> {
    let asked_by = std::env::var(ASKED).ok();
    let unheeded = asked_by.is_some_and(|pid| pid == std::os::unix::process::parent_id().to_string());
    match &launch.supervisor {
        // This process was started as a supervisor and came here instead: going on would start ourselves for ever.
        _ if unheeded => Err(LaunchError::NoSupervisor),
        Some(path) => Ok(path.clone()),
        None if is_installed() => system::this_executable()
            .map_err(|source| LaunchError::Supervisor { path: PathBuf::new(), source }),
        None => Err(LaunchError::NoSupervisor),
    }
}

/// Gives the order and returns the command's process id.
fn instruct(
    launch: &Launch,
    path: &Path,
    supervisor: &mut Supervisor,
    order: &Order,
) -> Result<u32, LaunchError> {
    let stranger = |_| LaunchError::NotASupervisor { path: path.to_owned() };
    supervisor.socket.set_read_timeout(Some(PATIENCE)).map_err(stranger)?;
    match hear(&mut supervisor.words) {
        Ok(Word::Greeting(words)) if words == GREETING => {}
        Ok(_) => return Err(LaunchError::NotASupervisor { path: path.to_owned() }),
        Err(error) => return Err(stranger(error)),
    }
    supervisor.socket.set_read_timeout(None).map_err(stranger)?;
    say(&mut supervisor.socket, order).map_err(stranger)?;
    match hear(&mut supervisor.words) {
        Ok(Word::Running { pid }) => Ok(pid),
        Ok(Word::Refused { step, errno }) => Err(refusal(launch, step, errno)),
        Ok(Word::Greeting(_) | Word::Ended(_)) => Err(LaunchError::NotASupervisor { path: path.to_owned() }),
        Err(source) => Err(LaunchError::Supervisor { path: path.to_owned(), source }),
    }
}

fn refusal(launch: &Launch, step: Step, errno: i32) -> LaunchError {
    let program = launch.shown();
    let source = io::Error::from_raw_os_error(errno);
    if step == Step::WorkingDir {
        return LaunchError::WorkingDir { path: launch.working_dir.clone().unwrap_or_default() };
    }
    match errno {
        // The file was there when its path was resolved.
        libc::ENOENT => LaunchError::InterpreterMissing { program },
        libc::EACCES | libc::EPERM => LaunchError::NotExecutable { program },
        libc::ENOEXEC => LaunchError::WrongFormat { program },
        libc::E2BIG => LaunchError::ArgumentsTooLong { program, bytes: launch.bytes() },
        errno if is_shortage(errno) => LaunchError::Resources { program, source },
        _ => LaunchError::Other { program, source },
    }
}

fn is_shortage(errno: i32) -> bool {
    [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE].contains(&errno)
}

fn order(launch: &Launch) -> Result<Order, LaunchError> {
    let program = resolve(launch)?.into_os_string();
    // A name is passed on as it was typed; a relative path would be wrong from another working directory.
    let shown = if is_path(&launch.program) { program.clone() } else { launch.program.clone() };
    Ok(Order {
        tuner: std::process::id(),
        program,
        argv: std::iter::once(shown).chain(launch.args.iter().cloned()).collect(),
        env: launch.env.clone(),
        working_dir: launch.working_dir.clone().map(PathBuf::into_os_string),
        memory_limit: launch.memory_limit,
        grace: launch.bounded_grace(),
        mark: mark(),
    })
}

/// A mark that no other launch on this machine ever had.
fn mark() -> String {
    static LAUNCHES: AtomicU64 = AtomicU64::new(0);
    let number = LAUNCHES.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("{pid}-{}-{number}", system::start_time(pid).unwrap_or(0))
}

/// The program's absolute path, found the way `execvp` would find it.
fn resolve(launch: &Launch) -> Result<PathBuf, LaunchError> {
    if is_path(&launch.program) {
        return resolve_path(launch, Path::new(&launch.program));
    }
    let path = launch.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let path = path.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| "/usr/bin:/bin".into());
    let found =
        || std::env::split_paths(&path).map(|dir| dir.join(&launch.program)).filter(|file| file.is_file());
    if let Some(file) = found().find(|file| is_executable(file)).or_else(|| found().next()) {
        return resolve_path(launch, &file);
    }
    Err(LaunchError::NotFound { program: launch.shown(), path: Some(path.to_string_lossy().into_owned()) })
}

fn resolve_path(launch: &Launch, path: &Path) -> Result<PathBuf, LaunchError> {
    if !path.exists() {
        return Err(LaunchError::NotFound { program: launch.shown(), path: None });
    }
    std::path::absolute(path).map_err(|source| LaunchError::Other { program: launch.shown(), source })
}

fn is_path(program: &OsStr) -> bool {
    program.as_bytes().contains(&b'/')
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

fn check_working_dir(launch: &Launch) -> Result<(), LaunchError> {
    match &launch.working_dir {
        Some(path) if !path.is_dir() => Err(LaunchError::WorkingDir { path: path.clone() }),
        _ => Ok(()),
    }
}

fn check_text(launch: &Launch) -> Result<(), LaunchError> {
    let refuse = |what: String, holds| Err(LaunchError::Text { what, holds });
    let nul = |text: &OsStr| text.as_bytes().contains(&0);
    if launch.program.is_empty() {
        return refuse("the program's name".into(), "nothing");
    }
    if nul(&launch.program) {
        return refuse("the program's name".into(), "a NUL character");
    }
    if let Some(index) = launch.args.iter().position(|arg| nul(arg)) {
        return refuse(format!("argument {}", index + 1), "a NUL character");
    }
    for (name, value) in &launch.env {
        let what = || format!("the environment variable `{}`", name.to_string_lossy());
        if nul(name) || nul(value) {
            return refuse(what(), "a NUL character");
        }
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return refuse(what(), "no name, or a name with `=` in it");
        }
    }
    Ok(())
}

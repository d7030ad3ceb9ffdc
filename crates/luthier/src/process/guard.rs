//! The supervisor process on every Unix: runs one command, and leaves nothing of it behind. It has one thread, so that
//! the death signal, which follows the creating thread, follows the process. It never decides: it obeys the tuner, the
//! memory limit and the command's own end.
//!
//! Whatever path leads out of [`Guard::watch`], [`Guard::sweep`] comes next.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::system::{self, Member, Tree};
use super::words::{ASKED, GREETING, KILL, MARK, Order, Step, TERMINATE, Word, say};
use super::{Ended, Exit};

/// Time between two looks at the tree: its memory, and whether the tuner still lives.
const LOOK: Duration = Duration::from_millis(100);
/// A look may take at most this share of the time, so a huge tree is looked at less often.
const LOOK_SHARE: u32 = 50;
/// After this long, what `SIGKILL` does not end is reported instead of waited for.
const STUBBORN: Duration = Duration::from_secs(10);

/// Runs the supervisor to its end and returns its exit code, which nobody reads but a curious user.
pub(super) fn supervise() -> i32 {
    reset_signals();
    let Some(mut control) = take_control() else {
        eprintln!("this is an internal command: it is started by the tuner, not by hand");
        return 2;
    };
    let Ok(signals) = hear_signals() else { return 1 };
    system::prepare_supervisor();
    let stdin = std::env::args().nth(2).and_then(|number| number.parse().ok());
    close_on_exec(stdin);
    if say(&mut control, &Word::Greeting(GREETING.into())).is_err() {
        return 1;
    }
    let Some((order, rest)) = hear_order(&mut control) else { return 1 };
    let command = match launch(&order, stdin) {
        Ok(pid) => pid,
        Err((step, error)) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let _ = say(&mut control, &Word::Refused { step, errno });
            return 1;
        }
    };
    let _ = say(&mut control, &Word::Running { pid: command as u32 });
    Guard::new(control, signals, command, &order, rest).run();
    0
}

struct Guard {
    control: UnixStream,
    signals: UnixStream,
    /// Bytes that came behind the order.
    unread: Vec<u8>,
    tuner: Option<u32>,
    tree: Tree,
    command: i32,
    status: Option<Exit>,
    grace: Duration,
    /// When what was asked to end will be killed.
    deadline: Option<Instant>,
    memory_limit: Option<u64>,
    memory_exceeded: bool,
    peak_memory: u64,
    swept: HashSet<i32>,
}

/// What arrived while waiting.
enum Wish {
    Nothing,
    Terminate,
    Kill,
}

impl Guard {
    fn new(control: UnixStream, signals: UnixStream, command: i32, order: &Order, unread: Vec<u8>) -> Self {
        Self {
            control,
            signals,
            unread,
            // Behind a wrapper script the parent is another process; then only the socket tells.
            tuner: (parent_id() == order.tuner).then_some(order.tuner),
            tree: Tree::below_this_process(command),
            command,
            status: None,
            grace: order.grace,
            deadline: None,
            memory_limit: order.memory_limit,
            memory_exceeded: false,
            peak_memory: 0,
            swept: HashSet::new(),
        }
    }

    fn run(mut self) {
        self.watch();
        let left = self.sweep();
        let ended = Ended {
            status: self.status.unwrap_or(Exit::Signal(libc::SIGKILL)),
            memory_exceeded: self.memory_exceeded,
            peak_memory: (self.peak_memory > 0).then_some(self.peak_memory),
            cpu: children_cpu(),
            swept: self.swept.len() as u32,
            left,
        };
        let _ = say(&mut self.control, &Word::Ended(ended));
        while left > 0 && self.sweep() > 0 {}
    }

    /// Returns when everything is to be swept away.
    fn watch(&mut self) {
        let mut next_look = Instant::now();
        loop {
            let childless = self.reap();
            let overdue = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
            let over = match self.deadline {
                None => self.status.is_some(),
                // What was asked to end along with the command has the rest of the grace.
                Some(_) => childless && self.alive() == 0,
            };
            if over || overdue {
                return;
            }
            if next_look <= Instant::now() {
                match self.look() {
                    Some(pause) => next_look = Instant::now() + pause,
                    None => return,
                }
            }
            match self.wait_until(self.deadline.map_or(next_look, |deadline| deadline.min(next_look))) {
                Wish::Nothing => {}
                Wish::Terminate => self.ask_to_end(),
                Wish::Kill => return,
            }
        }
    }

    fn alive(&mut self) -> usize {
        self.tree.members().iter().filter(|member| !member.zombie).count()
    }

    /// Looks at the tree; returns the pause until the next look, or `None` if it has to die.
    fn look(&mut self) -> Option<Duration> {
        if self.tuner.is_some_and(|tuner| tuner != parent_id()) {
            return None;
        }
        let begun = Instant::now();
        let members = self.tree.members();
        let memory = system::memory(&members, self.memory_limit);
        self.peak_memory = self.peak_memory.max(memory);
        self.memory_exceeded = self.memory_limit.is_some_and(|limit| memory > limit);
        (!self.memory_exceeded).then(|| LOOK.max(begun.elapsed() * LOOK_SHARE))
    }

    /// Sends every process exactly one `SIGTERM`: to some programs a second one means "at once", and what they start to
    /// clean up should not get one at all. Stopped processes are woken to hear it.
    fn ask_to_end(&mut self) {
        if self.deadline.is_some() {
            return;
        }
        self.deadline = Some(Instant::now() + self.grace);
        let members = self.tree.members();
        for target in targets(&members) {
            signal(target, libc::SIGTERM);
            signal(target, libc::SIGCONT);
        }
    }

    /// Kills every descendant until there is none; returns how many would not die in time.
    fn sweep(&mut self) -> u32 {
        let give_up = Instant::now() + STUBBORN;
        if self.status.is_none() || !self.tree.lists_processes() {
            signal(-self.command, libc::SIGKILL);
        }
        let mut nap = Duration::from_micros(200);
        loop {
            let childless = self.reap();
            let members = self.tree.members();
            let alive = members.iter().filter(|member| !member.zombie).count() as u32;
            if childless && alive == 0 {
                return 0;
            }
            if Instant::now() > give_up {
                return alive.max(1);
            }
            self.kill_all(&members);
            self.wait_for_signal(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }

    fn kill_all(&mut self, members: &[Member]) {
        for target in targets(members) {
            signal(target, libc::SIGKILL);
        }
        for member in members.iter().filter(|member| !member.zombie) {
            signal(member.pid, libc::SIGKILL);
            if member.pid != self.command {
                self.swept.insert(member.pid);
            }
        }
    }

    /// Waits for every child that has ended, adopted ones too; returns whether there is none left.
    fn reap(&mut self) -> bool {
        loop {
            let mut status = 0;
            let mut usage = MaybeUninit::<libc::rusage>::zeroed();
            // SAFETY: both pointers are to live locals of the right types.
            let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
            match pid {
                0 => return false,
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => return true,
                pid => {
                    // SAFETY: all zeros is a valid `rusage`, and a successful `wait4` has filled it.
                    let usage = unsafe { usage.assume_init() };
                    self.peak_memory = self.peak_memory.max(system::peak_of(&usage));
                    if pid == self.command {
                        self.status = Some(exit_of(status));
                    }
                }
            }
        }
    }

    fn wait_until(&mut self, until: Instant) -> Wish {
        if self.unread.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match poll([self.control.as_raw_fd(), self.signals.as_raw_fd()], left) {
                [false, false] => return Wish::Nothing,
                [true, _] => {
                    let mut words = [0; 64];
                    match self.control.read(&mut words) {
                        Ok(0) | Err(_) => return Wish::Kill,
                        Ok(count) => self.unread.extend(&words[..count]),
                    }
                }
                [false, true] => {}
            }
        }
        let heard = self.heard_signals();
        let words = std::mem::take(&mut self.unread);
        if words.contains(&KILL) {
            Wish::Kill
        } else if words.contains(&TERMINATE) || heard.iter().any(|signal| *signal != libc::SIGCHLD as u8) {
            Wish::Terminate
        } else {
            Wish::Nothing
        }
    }

    fn wait_for_signal(&mut self, longest: Duration) {
        poll([self.signals.as_raw_fd(), self.signals.as_raw_fd()], longest);
        self.heard_signals();
    }

    fn heard_signals(&mut self) -> Vec<u8> {
        let mut heard = [0; 256];
        let count = self.signals.read(&mut heard).unwrap_or(0);
        heard[..count].to_vec()
    }
}

/// The process groups of `members`, as targets of `kill`. A group gets a signal in one go: the kernel lets no fork slip
/// through, however fast the group forks. Every group but the supervisor's own was made by the command's processes,
/// because a group lies within one session; who is still in the supervisor's group is a target alone.
fn targets(members: &[Member]) -> HashSet<i32> {
    let own_group = std::process::id() as i32;
    let target = |member: &Member| if member.group == own_group { member.pid } else { -member.group };
    members.iter().map(target).filter(|target| !(-1..=1).contains(target)).collect()
}

/// Starts the command and detaches the supervisor from the command's pipes and directory.
fn launch(order: &Order, stdin: Option<RawFd>) -> Result<i32, (Step, io::Error)> {
    if let Some(dir) = &order.working_dir {
        std::env::set_current_dir(dir).map_err(|error| (Step::WorkingDir, error))?;
    }
    let mut image = Image::new(order).map_err(|error| (Step::Execute, error))?;
    let stdin = match stdin {
        // SAFETY: the tuner passed this descriptor for us to own; nothing else here uses it.
        Some(number) => Stdio::from(unsafe { OwnedFd::from_raw_fd(number) }),
        None => Stdio::null(),
    };
    let mut command = Command::new(&order.program);
    command.stdin(stdin).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let supervisor = std::process::id();
    // SAFETY: this process has one thread, so the child may do anything between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            system::die_with_parent()?;
            if parent_id() != supervisor {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Err(image.execute())
        });
    }
    let child = command.spawn().map_err(|error| (Step::Execute, error))?;
    drop(command);
    let _ = std::env::set_current_dir("/");
    detach_output();
    Ok(child.id() as i32)
}

/// What `execve` needs. The standard library would use `execvp`, which hands a file it cannot run to a shell.
struct Image {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    fn new(order: &Order) -> io::Result<Self> {
        let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::from);
        let env = environment(order).into_iter().map(|(name, value)| {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            text(pair)
        });
        Ok(Self {
            path: text(order.program.clone())?,
            argv: order.argv.iter().cloned().map(text).collect::<io::Result<_>>()?,
            env: env.collect::<io::Result<_>>()?,
        })
    }

    /// Becomes the program; returns only if that failed.
    fn execute(&mut self) -> io::Error {
        let pointers = |texts: &[CString]| {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (argv, env) = (pointers(&self.argv), pointers(&self.env));
        // SAFETY: both arrays end with a null pointer, and the strings they point to live in `self`.
        unsafe { libc::execve(self.path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// The command's environment: the tuner's, with the order's variables and the mark.
fn environment(order: &Order) -> Vec<(OsString, OsString)> {
    let mut mark = std::env::var_os(MARK).unwrap_or_default();
    if !mark.is_empty() {
        mark.push(":");
    }
    mark.push(&order.mark);
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| name != ASKED).collect();
    for (name, value) in order.env.iter().chain([&(MARK.into(), mark)]) {
        env.retain(|(old, _)| old != name);
        env.push((name.clone(), value.clone()));
    }
    env
}

fn hear_order(control: &mut UnixStream) -> Option<(Order, Vec<u8>)> {
    let mut line = Vec::new();
    let mut chunk = [0; 8 * 1024];
    loop {
        let count = control.read(&mut chunk).ok().filter(|count| *count > 0)?;
        line.extend(&chunk[..count]);
        if let Some(end) = line[line.len() - count..].iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(line.len() - count + end + 1);
            return Some((serde_json::from_slice(&line).ok()?, rest));
        }
    }
}

/// The socket to the tuner, which came as standard input; `None` if that is anything else.
fn take_control() -> Option<UnixStream> {
    // SAFETY: descriptor 0 is open or the call fails; the new descriptor is owned by nobody else.
    let socket = unsafe {
        match libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) {
            -1 => return None,
            number => UnixStream::from_raw_fd(number),
        }
    };
    socket.peer_addr().ok()?;
    replace(0, &File::open("/dev/null").ok()?);
    Some(socket)
}

/// The command's pipes must close when the command's processes are gone, whatever the supervisor still does.
fn detach_output() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        replace(1, &null);
        replace(2, &null);
    }
}

fn replace(number: RawFd, file: &File) {
    // SAFETY: both are open descriptors; 0, 1 and 2 are owned by no Rust object here.
    unsafe { libc::dup2(file.as_raw_fd(), number) };
}

/// Keeps from the command whatever the tuner's host program left inheritable.
fn close_on_exec(except: Option<RawFd>) {
    let Ok(open) = std::fs::read_dir("/dev/fd") else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|number| *number > 2).chain(except) {
        // SAFETY: setting a flag on a number that is not an open descriptor fails without effect.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Undoes what was inherited, a blocked mask and ignored signals: the command starts from the defaults.
fn reset_signals() {
    // SAFETY: the set is initialised before use; default actions run no code of ours.
    unsafe {
        for number in 1..=64 {
            libc::signal(number, libc::SIG_DFL);
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

/// A stream of the signals this process gets, one byte each.
fn hear_signals() -> io::Result<UnixStream> {
    let (hear, tell) = UnixStream::pair()?;
    hear.set_nonblocking(true)?;
    tell.set_nonblocking(true)?;
    SIGNAL_PIPE.store(tell.into_raw_fd(), Ordering::Relaxed);
    for number in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        // SAFETY: the handler makes one async-signal-safe call; exec puts the default action back.
        unsafe { libc::signal(number, handler as libc::sighandler_t) };
    }
    Ok(hear)
}

extern "C" fn on_signal(number: libc::c_int) {
    let byte = number as u8;
    // SAFETY: `write` is async-signal-safe and the byte outlives the call. A full pipe already says enough.
    unsafe { libc::write(SIGNAL_PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// Which of two descriptors are readable, or closed at the other end, within `longest`.
fn poll(descriptors: [RawFd; 2], longest: Duration) -> [bool; 2] {
    let mut polled = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // Rounded up, so that the time is over when nothing came.
    let milliseconds = longest.as_micros().div_ceil(1000).min(60_000) as libc::c_int;
    // SAFETY: the array lives through the call and its length is given.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, milliseconds) };
    polled.map(|descriptor| ready > 0 && descriptor.revents != 0)
}

/// An error means that the process is gone or belongs to another user; the next look tells.
fn signal(target: i32, number: libc::c_int) {
    // SAFETY: `kill` touches no memory of ours.
    unsafe { libc::kill(target, number) };
}

fn exit_of(status: libc::c_int) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

fn children_cpu() -> Option<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live local; all zeros is a valid `rusage`.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Some(of(usage.ru_utime) + of(usage.ru_stime))
}

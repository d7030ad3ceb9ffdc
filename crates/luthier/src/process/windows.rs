//! Supervision on Windows: a job object holds the command and everything it starts, and ends them all when its last
//! handle closes, which happens when the tuner dies. No supervisor process is needed.
//!
//! Windows has no signals: what was killed shows exit code 1.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_ACCESS_DENIED, ERROR_BAD_EXE_FORMAT, ERROR_FILENAME_EXCED_RANGE,
    ERROR_NOT_ENOUGH_MEMORY, FILETIME, HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOBOBJECTINFOCLASS,
    JobObjectBasicAccountingInformation, JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation,
    QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::ProcessStatus::{GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, GetProcessTimes, OpenProcess, OpenThread,
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, ResumeThread, THREAD_SUSPEND_RESUME,
    WaitForSingleObject,
};

use super::{Ended, Exit, Launch, LaunchError, Started, lock};

/// Whether this system tells which processes run.
pub(super) const CAN_LIST: bool = true;

/// Time between two looks at the job's memory and at the end of the grace.
const LOOK: Duration = Duration::from_millis(100);
/// After this long, what was killed and still runs is reported instead of waited for.
const STUBBORN: Duration = Duration::from_secs(10);
/// The exit code of what is killed.
const KILLED: u32 = 1;
/// More processes than this in one job are not all counted for its memory.
const LISTED: usize = 1024;

/// The tuner's hold on a running command.
#[derive(Debug, Clone)]
pub(super) struct Controls {
    job: Arc<Job>,
    group: u32,
    grace: Duration,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Controls {
    pub(super) fn terminate(&self) {
        let mut deadline = lock(&self.deadline);
        if deadline.is_none() {
            *deadline = Some(Instant::now() + self.grace);
            // SAFETY: no pointer is passed. Without a console this fails, and the grace passes unused.
            unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, self.group) };
        }
    }

    pub(super) fn kill(&self) {
        self.job.terminate();
    }

    fn deadline(&self) -> Option<Instant> {
        *lock(&self.deadline)
    }
}

/// The wait for one command.
pub(super) struct Watch {
    child: Child,
    controls: Controls,
    memory_limit: Option<u64>,
    memory_exceeded: bool,
    peak_memory: u64,
}

impl Watch {
    /// Blocks until the command has ended, however that happens.
    pub(super) fn until_ended(mut self) -> Ended {
        while !self.is_over() {
            self.look();
        }
        let job = Arc::clone(&self.controls.job);
        let swept = job.active().saturating_sub(u32::from(matches!(self.child.try_wait(), Ok(None))));
        job.terminate();
        let give_up = Instant::now() + STUBBORN;
        while job.active() > 0 && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(1));
        }
        let status = self.child.try_wait().ok().flatten().and_then(|status| status.code());
        Ended {
            status: Exit::Code(status.unwrap_or(KILLED as i32)),
            memory_exceeded: self.memory_exceeded,
            peak_memory: (self.peak_memory > 0).then_some(self.peak_memory),
            cpu: job.cpu(),
            swept,
            left: job.active(),
        }
    }

    /// Waits for at most one look and tells whether everything is to be swept away.
    fn is_over(&mut self) -> bool {
        let deadline = self.controls.deadline();
        if self.memory_exceeded || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return true;
        }
        // SAFETY: the handle belongs to `child`, which lives.
        let waited = unsafe { WaitForSingleObject(self.child.as_raw_handle(), LOOK.as_millis() as u32) };
        if waited != WAIT_OBJECT_0 {
            return false;
        }
        // Asked to end, its descendants have the rest of the grace.
        if deadline.is_some() && self.controls.job.active() > 0 {
            std::thread::sleep(Duration::from_millis(10));
            return false;
        }
        true
    }

    fn look(&mut self) {
        let memory = self.controls.job.memory();
        self.peak_memory = self.peak_memory.max(memory);
        self.memory_exceeded = self.memory_limit.is_some_and(|limit| memory > limit);
    }
}

/// Starts the command inside a new job.
pub(super) fn start(launch: &Launch) -> Result<Started, LaunchError> {
    if let Some(path) = launch.working_dir.as_ref().filter(|path| !path.is_dir()) {
        return Err(LaunchError::WorkingDir { path: path.clone() });
    }
    let job =
        Arc::new(Job::new().map_err(|source| LaunchError::Resources { program: launch.shown(), source })?);
    let mut child = command(launch).spawn().map_err(|error| refusal(launch, error))?;
    // Suspended until it is in the job, so that it can start nothing outside.
    if let Err(source) = job.adopt(&child).and_then(|()| resume(child.id())) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(LaunchError::Other { program: launch.shown(), source });
    }
    let controls = Controls {
        job,
        group: child.id(),
        grace: launch.bounded_grace(),
        deadline: Arc::new(Mutex::new(None)),
    };
    Ok(Started {
        pid: child.id(),
        supervisor: None,
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        controls: controls.clone(),
        watch: Watch {
            child,
            controls,
            memory_limit: launch.memory_limit,
            memory_exceeded: false,
            peak_memory: 0,
        },
    })
}

fn command(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        // A group of its own does not hear the Ctrl-C that is meant for the tuner.
        .creation_flags(CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP)
        .stdin(if launch.pipe_stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(dir) = &launch.working_dir {
        command.current_dir(dir);
    }
    command
}

fn refusal(launch: &Launch, source: io::Error) -> LaunchError {
    let program = launch.shown();
    let is_path = launch.program.to_string_lossy().contains(['/', '\\']);
    let path = || std::env::var("PATH").ok().filter(|_| !is_path);
    match (source.raw_os_error().map(|code| code as u32), source.kind()) {
        (Some(ERROR_ACCESS_DENIED), _) => LaunchError::NotExecutable { program },
        (Some(ERROR_BAD_EXE_FORMAT), _) => LaunchError::WrongFormat { program },
        (Some(ERROR_FILENAME_EXCED_RANGE), _) => {
            LaunchError::ArgumentsTooLong { program, bytes: launch.bytes() }
        }
        (Some(ERROR_NOT_ENOUGH_MEMORY), _) => LaunchError::Resources { program, source },
        (_, io::ErrorKind::NotFound) => LaunchError::NotFound { program, path: path() },
        (_, io::ErrorKind::InvalidInput) => {
            let what = format!("an argument or variable of `{program}`");
            LaunchError::Text { what, holds: "a NUL character, or a quote that a batch file cannot get" }
        }
        _ => LaunchError::Other { program, source },
    }
}

/// Lets the one thread of a suspended new process run.
fn resume(pid: u32) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let threads = Handle::new(unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) })?;
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    // SAFETY: the snapshot is open and `entry` is live with its size set.
    let mut more = unsafe { Thread32First(threads.0, &raw mut entry) } != 0;
    while more && entry.th32OwnerProcessID != pid {
        // SAFETY: as above.
        more = unsafe { Thread32Next(threads.0, &raw mut entry) } != 0;
    }
    if !more {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: no pointer is passed.
    let thread = Handle::new(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID) })?;
    // SAFETY: the handle is open; the call fails with -1.
    if unsafe { ResumeThread(thread.0) } == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A job object that takes its processes with it.
#[derive(Debug)]
struct Job(Handle);

impl Job {
    fn new() -> io::Result<Self> {
        // SAFETY: null pointers ask for a nameless job whose handle nobody inherits.
        let job = Self(Handle::new(unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) })?);
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        let size = size_of_val(&limits) as u32;
        let pointer = (&raw const limits).cast::<c_void>();
        // SAFETY: the structure belongs to this class of information, lives, and its size is given.
        let set =
            unsafe { SetInformationJobObject(job.0.0, JobObjectExtendedLimitInformation, pointer, size) };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(job) }
    }

    fn adopt(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open.
        match unsafe { AssignProcessToJobObject(self.0.0, child.as_raw_handle()) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn terminate(&self) {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(self.0.0, KILLED) };
    }

    fn active(&self) -> u32 {
        self.accounting().map_or(0, |accounting| accounting.ActiveProcesses)
    }

    fn cpu(&self) -> Option<Duration> {
        let accounting = self.accounting()?;
        let hundred_nanoseconds = accounting.TotalUserTime + accounting.TotalKernelTime;
        Some(Duration::from_micros(hundred_nanoseconds.max(0) as u64 / 10))
    }

    fn accounting(&self) -> Option<JOBOBJECT_BASIC_ACCOUNTING_INFORMATION> {
        let mut accounting = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the structure belongs to this class of information.
        unsafe { self.query(JobObjectBasicAccountingInformation, &mut accounting) }.then_some(accounting)
    }

    /// Bytes in the working sets of the job's processes.
    fn memory(&self) -> u64 {
        let mut list = Box::new(ProcessIds { assigned: 0, listed: 0, ids: [0; LISTED] });
        // SAFETY: the structure is laid out as JOBOBJECT_BASIC_PROCESS_ID_LIST with a longer list. A list that is
        // still too short fails and is filled as far as it goes.
        unsafe { self.query(JobObjectBasicProcessIdList, &mut *list) };
        let listed = LISTED.min(list.listed as usize);
        list.ids[..listed].iter().map(|pid| working_set(*pid as u32)).sum()
    }

    /// # Safety
    /// `T` must be the structure that belongs to `class`.
    unsafe fn query<T>(&self, class: JOBOBJECTINFOCLASS, into: &mut T) -> bool {
        let pointer = std::ptr::from_mut(into).cast::<c_void>();
        // SAFETY: `into` lives and its size is given; the caller answers for its type.
        unsafe {
            QueryInformationJobObject(self.0.0, class, pointer, size_of::<T>() as u32, std::ptr::null_mut())
                != 0
        }
    }
}

#[repr(C)]
struct ProcessIds {
    assigned: u32,
    listed: u32,
    ids: [usize; LISTED],
}

/// An open handle, closed when dropped.
#[derive(Debug)]
struct Handle(HANDLE);

// SAFETY: a kernel handle may be used from any thread, and concurrently.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    fn new(handle: HANDLE) -> io::Result<Self> {
        if handle.is_null() || handle == INVALID_HANDLE_VALUE {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self(handle))
        }
    }

    fn of_process(pid: u32) -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        Self::new(unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE, 0, pid) })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open and closed only here.
        unsafe { CloseHandle(self.0) };
    }
}

fn working_set(pid: u32) -> u64 {
    let Ok(process) = Handle::of_process(pid) else { return 0 };
    let mut counters = PROCESS_MEMORY_COUNTERS::default();
    let size = size_of_val(&counters) as u32;
    // SAFETY: the handle is open; `counters` lives and its size is given.
    let known = unsafe { GetProcessMemoryInfo(process.0, &raw mut counters, size) };
    if known == 0 { 0 } else { counters.WorkingSetSize as u64 }
}

/// 100 ns units between 1601 and the start of a process that still runs.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let process = Handle::of_process(pid).ok()?;
    let mut times = [FILETIME::default(); 4];
    let [created, exited, kernel, user] = &mut times;
    // SAFETY: the handle is open and the four pointers are to live structures.
    let known = unsafe {
        // A process that has ended can be opened as long as anybody else has it open.
        WaitForSingleObject(process.0, 0) == WAIT_TIMEOUT
            && GetProcessTimes(process.0, created, exited, kernel, user) != 0
    };
    known.then(|| (u64::from(times[0].dwHighDateTime) << 32) | u64::from(times[0].dwLowDateTime))
}

/// Whether the process may run although [`start_time`] does not tell.
pub(super) fn is_hidden(pid: u32) -> bool {
    Handle::of_process(pid).is_err_and(|error| error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32))
}

pub(super) fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Empty: start times are dates, so they tell one boot from another.
pub(super) fn boot() -> String {
    String::new()
}

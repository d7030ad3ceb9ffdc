//! What supervision needs from macOS, through `libproc`: who descends from whom and holds how much memory. There is no
//! adopting of orphans here: a process that detached itself fully is found only if a look saw it before.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::path::PathBuf;

/// Not the tuner's name, so that `killall luthier` leaves supervisors the time to clean up.
pub(super) const SUPERVISOR_NAME: &str = "trial-guard";
/// Whether this system tells which processes run.
pub(super) const CAN_LIST: bool = true;

/// One process of a command.
pub(super) struct Member {
    pub(super) pid: i32,
    /// Its process group.
    pub(super) group: i32,
    /// It has ended and only waits to be waited for.
    pub(super) zombie: bool,
}

/// The command's descendants: whoever has a known parent, is in the command's session, or was known before.
pub(super) struct Tree {
    root: i32,
    command: i32,
    /// Start times of the processes seen so far, which survive the loss of their parent.
    known: HashMap<i32, u64>,
}

impl Tree {
    pub(super) fn below_this_process(command: i32) -> Self {
        Self { root: std::process::id() as i32, command, known: HashMap::new() }
    }

    /// Whether [`members`](Self::members) can see processes at all.
    #[expect(clippy::unused_self, reason = "the same call on every system")]
    pub(super) fn lists_processes(&self) -> bool {
        true
    }

    pub(super) fn members(&mut self) -> Vec<Member> {
        let all: Vec<(i32, libc::proc_bsdinfo)> =
            processes().into_iter().filter_map(|pid| Some((pid, describe(pid)?))).collect();
        self.known
            .retain(|pid, start| all.iter().any(|(other, info)| other == pid && started(info) == *start));
        // Parents may stand behind their children in the list.
        loop {
            let before = self.known.len();
            for (pid, info) in &all {
                if *pid != self.root && self.is_ours(*pid, info) {
                    self.known.insert(*pid, started(info));
                }
            }
            if self.known.len() == before {
                break;
            }
        }
        let ours = all.into_iter().filter(|(pid, _)| self.known.contains_key(pid));
        ours.map(|(pid, info)| Member {
            pid,
            group: info.pbi_pgid as i32,
            zombie: info.pbi_status == libc::SZOMB,
        })
        .collect()
    }

    fn is_ours(&self, pid: i32, info: &libc::proc_bsdinfo) -> bool {
        let parent = info.pbi_ppid as i32;
        // SAFETY: takes no pointer.
        let session = unsafe { libc::getsid(pid) };
        parent == self.root || self.known.contains_key(&parent) || session == self.command
    }
}

/// Nothing to prepare: macOS has no way to adopt orphans.
pub(super) fn prepare_supervisor() {}

/// Nothing to set: macOS has no death signal. The supervisor's own end is heard by the tuner.
#[expect(clippy::unnecessary_wraps, reason = "the same call on every system")]
pub(super) fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Bytes resident in all of `members`.
pub(super) fn memory(members: &[Member], _limit: Option<u64>) -> u64 {
    let resident =
        |pid| about::<libc::proc_taskinfo>(pid, libc::PROC_PIDTASKINFO).map(|info| info.pti_resident_size);
    members.iter().filter_map(|member| resident(member.pid)).sum()
}

/// The largest resident set of the process, or of a child it waited for, in bytes.
pub(super) fn peak_of(usage: &libc::rusage) -> u64 {
    usage.ru_maxrss as u64
}

/// Microseconds between 1970 and the start of a process that still runs.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    describe(pid as i32).filter(|info| info.pbi_status != libc::SZOMB).map(|info| started(&info))
}

/// Whether the process may run although [`start_time`] does not tell, because it is another user's.
pub(super) fn is_hidden(pid: u32) -> bool {
    // SAFETY: signal 0 only asks whether there is a receiver.
    let denied = unsafe { libc::kill(pid as i32, 0) } == -1;
    denied && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

pub(super) fn host() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is live and its length is given; the last byte stays zero.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Empty: start times are dates, so they tell one boot from another.
pub(super) fn boot() -> String {
    String::new()
}

pub(super) fn this_executable() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Kills the processes of `session`; environments of others cannot be read reliably here. Returns how many were killed
/// and how many are left.
pub(super) fn kill_marked(_variable: &str, _mark: &str, session: u32) -> (u32, u32) {
    let mut tree = Tree { root: -1, command: session as i32, known: HashMap::new() };
    let mut killed = std::collections::HashSet::new();
    for _ in 0..1000 {
        let alive: Vec<Member> = tree.members().into_iter().filter(|member| !member.zombie).collect();
        if alive.is_empty() {
            return (killed.len() as u32, 0);
        }
        for member in &alive {
            // SAFETY: `kill` touches no memory of ours.
            unsafe { libc::kill(member.pid, libc::SIGKILL) };
            killed.insert(member.pid);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (killed.len() as u32, tree.members().len() as u32)
}

fn started(info: &libc::proc_bsdinfo) -> u64 {
    info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec
}

fn describe(pid: i32) -> Option<libc::proc_bsdinfo> {
    about(pid, libc::PROC_PIDTBSDINFO)
}

/// `T` must be the plain C structure that belongs to `flavor`.
fn about<T: Copy>(pid: i32, flavor: c_int) -> Option<T> {
    let mut info = MaybeUninit::<T>::zeroed();
    let size = size_of::<T>() as c_int;
    // SAFETY: the buffer is live, its size is given, and the call fills all of it when it returns that size.
    unsafe {
        let filled = libc::proc_pidinfo(pid, flavor, 0, info.as_mut_ptr().cast::<c_void>(), size);
        (filled == size).then(|| info.assume_init())
    }
}

fn processes() -> Vec<i32> {
    // SAFETY: a null buffer asks for the number of processes.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let mut pids = vec![0_i32; count.max(0) as usize + 64];
    let bytes = (pids.len() * size_of::<i32>()) as c_int;
    // SAFETY: the buffer is live and its size in bytes is given.
    let filled = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast::<c_void>(), bytes) };
    pids.truncate(filled.max(0) as usize);
    pids.retain(|pid| *pid > 0);
    pids
}

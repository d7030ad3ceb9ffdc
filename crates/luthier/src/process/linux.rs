//! What supervision needs from Linux: adopting orphans, the death signal, and `/proc` for who descends from whom and
//! holds how much memory. No policy.
#![allow(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Not the tuner's name, so that `killall luthier` leaves supervisors the time to clean up. At most 15 bytes.
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

/// All descendants of the supervisor. Complete at every look but for what is forked meanwhile, because whoever loses
/// its parent becomes the supervisor's own child.
pub(super) struct Tree {
    root: i32,
    children_files: bool,
}

impl Tree {
    pub(super) fn below_this_process(_command: i32) -> Self {
        let root = std::process::id() as i32;
        // A kernel may be built without these files (CONFIG_PROC_CHILDREN).
        let children_files = Path::new(&format!("/proc/{root}/task/{root}/children")).exists();
        Self { root, children_files }
    }

    /// Whether [`members`](Self::members) can see processes at all.
    pub(super) fn lists_processes(&self) -> bool {
        Stat::of(self.root).is_some()
    }

    pub(super) fn members(&mut self) -> Vec<Member> {
        let all = if self.children_files { HashMap::new() } else { children_of_all() };
        let children = |pid| {
            if self.children_files { children(pid) } else { all.get(&pid).cloned().unwrap_or_default() }
        };
        let mut found = HashSet::from([self.root]);
        let mut waiting = children(self.root);
        let mut members = Vec::new();
        while let Some(pid) = waiting.pop() {
            if !found.insert(pid) {
                continue;
            }
            if let Some(stat) = Stat::of(pid) {
                members.push(Member { pid, group: stat.group, zombie: stat.is_dead() });
                waiting.extend(children(pid));
            }
        }
        members
    }
}

/// Makes this process the parent of its descendants' orphans, and gives it its name.
pub(super) fn prepare_supervisor() {
    let mut name = [0_u8; 16];
    name[..SUPERVISOR_NAME.len()].copy_from_slice(SUPERVISOR_NAME.as_bytes());
    // SAFETY: the first call takes no pointer, the second a NUL-terminated string of at most 16 bytes.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1_usize, 0_usize, 0_usize, 0_usize);
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
}

/// Has this process killed when its parent dies.
pub(super) fn die_with_parent() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Bytes held by all of `members`. Resident sets count shared pages once per process, which is harmless below `limit`;
/// beyond it the dearer proportional set size decides, so that workers sharing one data set are not killed for it.
pub(super) fn memory(members: &[Member], limit: Option<u64>) -> u64 {
    let resident = members.iter().map(|member| resident(member.pid)).sum();
    if limit.is_none_or(|limit| resident <= limit) {
        return resident;
    }
    members.iter().map(|member| proportional(member.pid)).sum()
}

/// The largest resident set of the process, or of a child it waited for, in bytes.
pub(super) fn peak_of(usage: &libc::rusage) -> u64 {
    usage.ru_maxrss as u64 * 1024
}

/// Clock ticks between boot and the start of a process that still runs.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    Stat::of(pid as i32).filter(|stat| !stat.is_dead()).map(|stat| stat.start)
}

/// Whether the process may run although [`start_time`] does not tell, because it is another user's.
pub(super) fn is_hidden(pid: u32) -> bool {
    // SAFETY: signal 0 only asks whether there is a receiver.
    let denied = unsafe { libc::kill(pid as i32, 0) } == -1;
    denied && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

pub(super) fn host() -> String {
    line_of("/proc/sys/kernel/hostname")
}

/// The boot and the process namespace: in two containers of one boot the same process id means two processes.
pub(super) fn boot() -> String {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", line_of("/proc/sys/kernel/random/boot_id"), namespace.display())
}

/// This executable, even if its file was replaced by another version or removed meanwhile.
pub(super) fn this_executable() -> io::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() || link.is_symlink() { Ok(link) } else { std::env::current_exe() }
}

/// Kills every process whose environment holds `mark` in the list `variable`, or that is in `session`, until none is
/// left or 10 s are over. Returns how many were killed and how many are left.
pub(super) fn kill_marked(variable: &str, mark: &str, session: u32) -> (u32, u32) {
    let give_up = Instant::now() + Duration::from_secs(10);
    let mut killed = HashSet::new();
    let mut clean_looks = 0;
    loop {
        let marked = marked(variable, mark, session as i32);
        clean_looks = if marked.is_empty() { clean_looks + 1 } else { 0 };
        // A second look finds what was forked during the first.
        if clean_looks == 2 || Instant::now() > give_up {
            return (killed.len() as u32, marked.len() as u32);
        }
        for pid in marked {
            // SAFETY: `kill` touches no memory of ours.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            killed.insert(pid);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn marked(variable: &str, mark: &str, session: i32) -> Vec<i32> {
    let own = std::process::id() as i32;
    let is_ours = |pid: &i32| {
        let Some(stat) = Stat::of(*pid) else { return false };
        *pid != own && !stat.is_dead() && (stat.session == session || holds_mark(*pid, variable, mark))
    };
    processes().into_iter().filter(is_ours).collect()
}

fn holds_mark(pid: i32, variable: &str, mark: &str) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environ
        .split(|byte| *byte == 0)
        .filter_map(|pair| pair.strip_prefix(variable.as_bytes())?.strip_prefix(b"="))
        .any(|marks| marks.split(|byte| *byte == b':').any(|one| one == mark.as_bytes()))
}

/// The fields of `/proc/PID/stat` that matter here, see `proc_pid_stat(5)`.
struct Stat {
    state: u8,
    parent: i32,
    group: i32,
    session: i32,
    threads: u64,
    start: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name, in parentheses, may hold anything, parentheses and line breaks too.
    fn parse(line: &[u8]) -> Option<Self> {
        let end_of_name = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&line[end_of_name + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Field n of the manual page stands at n - 3.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
        })
    }

    /// A zombie with threads is a process whose first thread has ended before the others.
    fn is_dead(&self) -> bool {
        matches!(self.state, b'X' | b'x') || (self.state == b'Z' && self.threads <= 1)
    }
}

/// A process's children hang on the threads that created them.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn children_of_all() -> HashMap<i32, Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes() {
        if let Some(stat) = Stat::of(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    children
}

fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn resident(pid: i32) -> u64 {
    let pages =
        || fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split(' ').nth(1)?.parse::<u64>().ok();
    // SAFETY: takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    pages().unwrap_or(0) * page
}

fn proportional(pid: i32) -> u64 {
    let kibibytes = || {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    kibibytes().map_or_else(|| resident(pid), |kibibytes| kibibytes * 1024)
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_confuse_the_fields() {
        let line = b"42 (a) S 1 (b\n) Z 7 8 9 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0";
        let stat = Stat::parse(line).expect("well formed");
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), (b'Z', 7, 8, 9));
        assert_eq!((stat.threads, stat.start), (1, 12345));
        assert!(stat.is_dead());
    }

    #[test]
    fn a_process_whose_first_thread_ended_still_lives() {
        let line = b"42 (a) Z 7 8 9 0 -1 0 1 2 3 4 5 6 7 8 20 0 3 0 12345 0 0";
        assert!(!Stat::parse(line).expect("well formed").is_dead());
    }

    #[test]
    fn both_ways_of_listing_find_the_same_child() {
        let Ok(mut child) = std::process::Command::new("sleep").arg("1000").spawn() else {
            eprintln!("skipped: no `sleep` here");
            return;
        };
        let root = std::process::id() as i32;
        for children_files in [false, true] {
            let members = Tree { root, children_files }.members();
            assert!(members.iter().any(|member| member.pid == child.id() as i32), "files: {children_files}");
        }
        child.kill().and_then(|()| child.wait()).expect("it is ours");
    }

    #[test]
    fn this_process_holds_memory_by_either_measure() {
        let pid = std::process::id() as i32;
        assert!(resident(pid) > 100_000);
        let shared = proportional(pid);
        assert!(shared > 100_000 && shared <= resident(pid) * 2, "{shared}");
    }
}

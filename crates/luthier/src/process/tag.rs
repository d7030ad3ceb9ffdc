//! A name for a process that no other process ever had, so that a lease can tell whether its holder still lives.

use serde::{Deserialize, Serialize};

use super::system;

/// Identifies one process on one machine, for good: process ids are reused, start times with them are not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessTag {
    /// The machine's host name.
    pub host: String,
    /// This start of the machine and, on Linux, its process namespace: process ids mean nothing across containers.
    /// Empty on systems whose `start` is a date.
    pub boot: String,
    /// The process id.
    pub pid: u32,
    /// When the process started, in the system's own units: clock ticks since boot (Linux), microseconds since 1970
    /// (macOS), 100 ns since 1601 (Windows). 0 where it is unknown.
    pub start: u64,
}

impl ProcessTag {
    /// The tag of this process.
    pub fn of_this_process() -> Self {
        let pid = std::process::id();
        let start = system::start_time(pid).unwrap_or(0);
        Self { host: system::host(), boot: system::boot(), pid, start }
    }
}

/// Whether the tagged process still runs. A process that was killed but not yet waited for is dead. `None` when this
/// cannot be known from here: it ran on another machine, before a restart, in another container, as another user
/// whose processes are hidden, or the system does not tell.
pub fn is_alive(tag: &ProcessTag) -> Option<bool> {
    let here = (system::host(), system::boot());
    if tag.start == 0 || here != (tag.host.clone(), tag.boot.clone()) || !system::CAN_LIST {
        return None;
    }
    match system::start_time(tag.pid) {
        Some(start) => Some(start == tag.start),
        None if system::is_hidden(tag.pid) => None,
        None => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        assert_eq!(is_alive(&ProcessTag::of_this_process()), Some(true));
    }

    #[test]
    fn the_same_id_with_another_start_is_another_process() {
        let mut tag = ProcessTag::of_this_process();
        tag.start += 1;
        assert_eq!(is_alive(&tag), Some(false));
    }

    #[test]
    fn nothing_is_known_about_other_machines_and_other_boots() {
        let here = ProcessTag::of_this_process();
        assert_eq!(is_alive(&ProcessTag { host: "elsewhere".into(), ..here.clone() }), None);
        assert_eq!(is_alive(&ProcessTag { boot: "before".into(), ..here }), None);
    }

    #[test]
    fn a_killed_child_is_dead_before_it_is_waited_for() {
        let Ok(mut child) = std::process::Command::new("sleep").arg("1000").spawn() else {
            eprintln!("skipped: no `sleep` here");
            return;
        };
        let mut tag = ProcessTag::of_this_process();
        tag.pid = child.id();
        tag.start = system::start_time(tag.pid).expect("the child runs");
        assert_eq!(is_alive(&tag), Some(true));
        child.kill().expect("it is ours");
        while is_alive(&tag) == Some(true) {
            std::thread::yield_now();
        }
        assert_eq!(is_alive(&tag), Some(false));
        child.wait().expect("it is ours");
    }

    #[test]
    fn a_tag_survives_json() {
        let tag = ProcessTag::of_this_process();
        let text = serde_json::to_string(&tag).expect("plain data");
        assert_eq!(serde_json::from_str::<ProcessTag>(&text).expect("plain data"), tag);
    }
}

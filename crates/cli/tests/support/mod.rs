//! A folder with a study, and the real `luthier` run in it. Waits are polls with generous deadlines; nothing here
//! measures time.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use luthier::core::event::{Event, Work};
use luthier::log::{Log, Record, SqliteLog};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing that these tests wait for takes this long, even on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(5);
/// The variable by which all processes of one bench are known.
const MARK: &str = "LUTHIER_TEST_BENCH";

/// A temporary folder; everything that is run in it carries its mark and is gone when it is dropped.
pub struct Bench {
    folder: TempDir,
    mark: String,
    runs: AtomicU32,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; minus the signal's number if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A `luthier` that is running.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// The text of a study file for a shell command with one parameter `x` in 0 … 1 and the metric `loss`.
pub fn study(head: &str, script: &str, tail: &str) -> String {
    let script = toml_text(&script.replace('{', "{{").replace('}', "}}").replace("@x@", "{x}"));
    format!(
        "{head}\n[metric]\nname = \"loss\"\n[policy]\nsampler = \"random\"\nscheduler = \"run_all\"\n\
         [params.x]\ntype = \"float\"\nlow = 0.0\nhigh = 1.0\n[command]\nrun = [\"sh\", \"-c\", {script}]\n{tail}\n"
    )
}

pub fn toml_text(text: &str) -> String {
    Value::from(text).to_string()
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mark = folder.path().display().to_string();
        Self { folder, mark, runs: AtomicU32::new(0) }
    }

    /// A bench with `study.toml`.
    pub fn with_study(text: &str) -> Self {
        let bench = Self::new();
        bench.write("study.toml", text);
        bench
    }

    /// The folder's absolute path.
    pub fn name(&self) -> String {
        self.mark.clone()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in a temporary folder");
    }

    /// Writes `data.csv`: 200 rows of two numbers and a class `y` that they all but tell.
    pub fn write_classes(&self) {
        let rows: String = (0..200u32)
            .map(|k| {
                let (a, b, noise) = ((k * 37) % 101, (k * 53) % 97, (k * k * 7) % 40);
                format!("{a},{b},{}\n", if a + noise > b + 20 { "yes" } else { "no" })
            })
            .collect();
        self.write("data.csv", &format!("a,b,y\n{rows}"));
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Replaces a part of the study file, which must be there.
    pub fn edit(&self, old: &str, new: &str) {
        let text = self.read("study.toml");
        assert!(text.contains(old), "{old}: {text}");
        self.write("study.toml", &text.replace(old, new));
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// `luthier` in this folder, with no variable that would change what commands see.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_luthier"));
        command.args(arguments).current_dir(self.folder.path()).env(MARK, &self.mark).stdin(Stdio::null());
        for name in
            ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "NO_COLOR"]
        {
            command.env_remove(name);
        }
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_command(self.command(arguments))
    }

    /// Starts with both outputs in files, which no descendant can keep open for us.
    pub fn start_command(&self, mut command: Command) -> Running {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!(".out-{run}")), self.path(&format!(".err-{run}")));
        command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        Running { child: command.spawn().expect("luthier starts"), out, err }
    }

    pub fn luthier(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// The same, for what has to succeed.
    pub fn ok(&self, arguments: &[&str]) -> Ended {
        let ended = self.luthier(arguments);
        assert_eq!(ended.code, 0, "luthier {}: {ended:#?}", arguments.join(" "));
        ended
    }

    /// The same, for what has to fail: its message, without the folder's name.
    pub fn error(&self, arguments: &[&str]) -> String {
        let ended = self.luthier(arguments);
        assert_eq!(ended.code, 1, "luthier {}: {ended:#?}", arguments.join(" "));
        ended.err.replace(&self.mark, "FOLDER").trim_end().to_owned()
    }

    /// All trials, as `luthier trials --json` tells them.
    pub fn trials(&self) -> Vec<Value> {
        let ended = self.ok(&["trials", "--json", "--limit", "0"]);
        ended.out.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The events of `study.luthier`; none if there is no such file yet.
    pub fn events(&self) -> Vec<(Record, Event)> {
        self.events_of("study.luthier")
    }

    /// The same of another log.
    pub fn events_of(&self, log: &str) -> Vec<(Record, Event)> {
        let path = self.path(log);
        if !path.exists() {
            return Vec::new();
        }
        let mut log = SqliteLog::watch(path).expect("a study");
        let records = log.read(0, usize::MAX >> 1).expect("a study that can be read");
        records
            .into_iter()
            .map(|record| {
                let event = record.event().expect("an event");
                (record, event)
            })
            .collect()
    }

    /// How many reports a log has.
    pub fn reports(&self, log: &str) -> usize {
        let is_report = |(_, event): &&(Record, Event)| matches!(event, Event::Reported { .. });
        self.events_of(log).iter().filter(is_report).count()
    }

    /// How trials ended, in the log's order.
    pub fn ends(&self) -> Vec<(u64, Work)> {
        let ends = self.events().into_iter().filter_map(|(record, event)| match event {
            Event::Ended { work, .. } => Some((record.seq, work)),
            _ => None,
        });
        ends.collect()
    }

    /// Asserts that `luthier verify` agrees with the log.
    pub fn verify(&self) {
        self.ok(&["verify", "study.luthier"]);
    }

    /// Living processes that were started here or descend from one that was, however they hid.
    #[cfg(target_os = "linux")]
    pub fn processes(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        };
        pids.filter(is_ours).collect()
    }

    /// Waits until two looks in a row find no process of this bench.
    #[cfg(target_os = "linux")]
    pub fn no_process_is_left(&self) {
        let mut clean = 0;
        eventually(&format!("all processes have ended ({:?})", self.processes()), || {
            clean = if self.processes().is_empty() { clean + 1 } else { 0 };
            clean == 2
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        for pid in self.processes() {
            let _gone = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Writes to its standard input, which has to be a pipe.
    pub fn say(&mut self, text: &str) {
        use std::io::Write;
        let input = self.child.stdin.as_mut().expect("a pipe");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("it listens");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("our child");
        self.wait()
    }

    pub fn wait(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            if begun.elapsed() > DEADLINE {
                let _gone = self.child.kill();
                panic!("it did not end; out: {}\nerr: {}", self.out(), self.err());
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ended { code: code(status), out: self.out(), err: self.err() }
    }

    pub fn out(&self) -> String {
        text(&self.out)
    }

    pub fn err(&self) -> String {
        text(&self.err)
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(unix)]
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "in vain waited until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

//! The file of a study: making it at once or not at all, and telling a study from everything else that may lie at a
//! path, without changing a byte of it. What is inside a study is not looked at here.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::log::{FORMAT, LogError};
use crate::process::FileIdentity;

/// `Luth` in the header of the file, by which `file` and this program know a study.
pub(super) const APPLICATION: i32 = 0x4c75_7468;

/// The smallest page of SQLite in bytes; it takes anything shorter for a database that is still empty.
const SMALLEST: u64 = 512;

const NOT_SQLITE: &str = "it is not an SQLite database, or its beginning is damaged";

/// The tables of format 1; `docs/log-format.md` explains the columns.
pub(super) const SCHEMA: [(&str, &str); 2] = [
    (
        "leases",
        "CREATE TABLE leases(trial INTEGER NOT NULL, replicate INTEGER NOT NULL, attempt INTEGER NOT NULL, \
         writer INTEGER NOT NULL, holder TEXT NOT NULL, until REAL NOT NULL, \
         PRIMARY KEY(trial, replicate)) STRICT, WITHOUT ROWID",
    ),
    (
        "log",
        "CREATE TABLE log(seq INTEGER PRIMARY KEY, class INTEGER NOT NULL, trial INTEGER, replicate INTEGER, \
         writer INTEGER NOT NULL, at INTEGER NOT NULL, basis INTEGER NOT NULL, decided INTEGER NOT NULL, \
         body TEXT NOT NULL) STRICT",
    ),
];

/// A place for a study, as the user named it and as the system finds it whatever the current directory becomes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) shown: String,
    pub(super) path: PathBuf,
}

impl Place {
    pub(super) fn new(path: &Path) -> Result<Self, LogError> {
        let shown = path.display().to_string();
        // An absolute path is also one that SQLite takes for neither a URI nor a database in memory.
        match std::path::absolute(path) {
            Ok(path) => Ok(Self { shown, path }),
            Err(problem) => Err(LogError::Store { path: shown, problem: format!("not a path: {problem}") }),
        }
    }

    pub(super) fn store(&self, problem: impl Into<String>) -> LogError {
        LogError::Store { path: self.shown.clone(), problem: problem.into() }
    }

    pub(super) fn not_ours(&self, problem: impl Into<String>) -> LogError {
        LogError::NotOurs { path: self.shown.clone(), problem: problem.into() }
    }

    pub(super) fn damaged(&self, problem: impl Into<String>) -> LogError {
        LogError::Damaged { path: self.shown.clone(), problem: problem.into() }
    }

    fn missing(&self) -> LogError {
        LogError::Missing { path: self.shown.clone() }
    }

    /// The file in which SQLite keeps what it has not yet moved into the study's own.
    pub(super) fn wal(&self) -> PathBuf {
        self.beside("-wal")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        name.into()
    }

    /// Refuses file systems whose locks or shared memory do not work between machines.
    pub(super) fn check_disk(&self) -> Result<(), LogError> {
        let directory = self.path.parent().unwrap_or(&self.path);
        match network_disk(directory) {
            Some(kind) => Err(self.store(format!(
                "its directory is on {kind}, where processes on different machines would damage a study; \
                 keep it on a local disk and copy it when nobody writes"
            ))),
            None => Ok(()),
        }
    }

    /// The study's format, read without locking or changing anything, or why this is no study.
    pub(super) fn inspect(&self) -> Result<(), LogError> {
        let found = fs::metadata(&self.path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => self.missing(),
            ErrorKind::NotADirectory => self.store("a part of the path before the last is not a directory"),
            _ => self.store(e.to_string()),
        })?;
        if found.is_dir() {
            return Err(self.not_ours("it is a directory"));
        }
        if !found.is_file() {
            return Err(self.not_ours("it is not a regular file"));
        }
        if found.len() == 0 {
            return Err(self.not_ours("it is empty"));
        }
        if found.len() < SMALLEST {
            return Err(self.not_ours(NOT_SQLITE));
        }
        // Not with `File::open`: closing a second descriptor drops every POSIX lock that this process has on the
        // file, and another thread may have it open. SQLite knows of this and keeps its descriptors apart.
        let header = open_still(&self.path).and_then(|conn| {
            // A file whose pages are still in its `-wal` may be shorter than its header says; that is no damage.
            conn.pragma_update(None, "writable_schema", true)?;
            let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((application, version))
        });
        match header {
            Ok((APPLICATION, version)) => self.check_version(version),
            Ok((0, _)) => Err(self.not_ours("it is an SQLite database of another program")),
            Ok((id, _)) => Err(self.not_ours(format!(
                "it is an SQLite database of another program (application id {id:#010x})"
            ))),
            Err(error) => Err(match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => self.not_ours(NOT_SQLITE),
                _ => self.explain(&error),
            }),
        }
    }

    pub(super) fn check_version(&self, version: i64) -> Result<(), LogError> {
        if version == i64::from(FORMAT) {
            return Ok(());
        }
        if version > i64::from(FORMAT) {
            return Err(LogError::Newer { path: self.shown.clone(), found: version, known: FORMAT });
        }
        Err(self.damaged(format!("its header says log format {version}, which never was")))
    }

    /// Makes an empty study here, complete or not at all.
    pub(super) fn make(&self, token: u64) -> Result<(), LogError> {
        self.check_free()?;
        self.check_disk()?;
        let draft = self.beside(&format!("-new-{token:016x}"));
        let made = write_empty(&draft).map_err(|e| self.explain(&e)).and_then(|()| self.publish(&draft));
        // After a link the draft is the study's second name; after a failure it is of no use to anybody.
        let _ = fs::remove_file(&draft);
        made?;
        sync_directory(&self.path);
        Ok(())
    }

    /// Nothing may lie at the path, nor what a study deleted from here has left beside it.
    fn check_free(&self) -> Result<(), LogError> {
        let parent = self.path.parent().unwrap_or(&self.path);
        if !parent.is_dir() {
            return Err(self.store(format!("there is no directory {}; create it first", parent.display())));
        }
        let left = fs::symlink_metadata(self.wal()).is_ok();
        if fs::symlink_metadata(&self.path).is_ok() {
            return Err(self.taken());
        }
        if left {
            return Err(self.store(format!(
                "the study that was here is gone but has left {}-wal; delete that too, or give another path",
                self.shown
            )));
        }
        Ok(())
    }

    fn taken(&self) -> LogError {
        self.inspect().err().unwrap_or_else(|| LogError::Exists { path: self.shown.clone() })
    }

    /// Gives the draft its name unless somebody else was first.
    fn publish(&self, draft: &Path) -> Result<(), LogError> {
        match fs::hard_link(draft, &self.path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(self.taken()),
            Err(_) => self.publish_without_links(draft),
        }
    }

    /// For file systems without hard links: whoever creates the empty file may put the draft in its place.
    fn publish_without_links(&self, draft: &Path) -> Result<(), LogError> {
        match fs::File::create_new(&self.path) {
            Ok(claim) => drop(claim),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(self.taken()),
            Err(e) => return Err(self.store(format!("cannot be created: {e}"))),
        }
        fs::rename(draft, &self.path).map_err(|e| {
            let _ = fs::remove_file(&self.path);
            self.store(format!("cannot be created: {e}"))
        })
    }

    /// What an error of SQLite means for the user.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> LogError {
        let Some(code) = error.sqlite_error_code() else {
            return self.damaged(error.to_string());
        };
        match code {
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => self.damaged(error.to_string()),
            ErrorCode::DiskFull => self
                .store("the disk is full; free some space and continue, what was confirmed until now is safe"),
            ErrorCode::SystemIoFailure => self.store(format!(
                "the disk failed or is full ({}); check it and continue, what was confirmed until now is safe",
                meaning(error)
            )),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => self.store(
                "it may not be written; allow writing to the file and its directory, or use a command that only reads",
            ),
            ErrorCode::CannotOpen => self.store(
                "the file, or the files -wal and -shm beside it, cannot be opened; check the rights on the file and \
                 on its directory",
            ),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => self
                .store("another process keeps it locked; see what it does, end it if it hangs, then try again"),
            ErrorCode::TooBig => {
                self.store("an event is larger than 256 MB; shorten its notes, choices or error output")
            }
            _ => self.store(format!("SQLite says: {error}")),
        }
    }
}

/// SQLite's own words for an extended result code.
fn meaning(error: &rusqlite::Error) -> String {
    error.sqlite_error().map_or_else(|| error.to_string(), ToString::to_string)
}

/// A connection that takes the file as it lies there: it locks nothing, creates nothing and ignores the `-wal`.
pub(super) fn open_still(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    Connection::open_with_flags(still_uri(path), flags)
}

fn still_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    let text = path.as_os_str().as_encoded_bytes();
    if !text.starts_with(b"/") {
        uri.push_str("///");
    }
    for &byte in text {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'/' | b':' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(byte.into());
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    uri
}

fn write_empty(draft: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open(draft)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch("BEGIN EXCLUSIVE")?;
    for (_, table) in SCHEMA {
        conn.execute_batch(table)?;
    }
    conn.pragma_update(None, "application_id", APPLICATION)?;
    conn.pragma_update(None, "user_version", FORMAT)?;
    conn.execute_batch("COMMIT")?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.close().map_err(|(_, error)| error)
}

/// The name of a new file survives a power loss only if its directory is written out too.
#[cfg(unix)]
fn sync_directory(path: &Path) {
    if let Some(Ok(directory)) = path.parent().map(fs::File::open) {
        let _ = directory.sync_all();
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) {}

/// Which file a path names now, so that a deleted or replaced study is noticed.
pub(super) fn identity_of(path: &Path) -> io::Result<FileIdentity> {
    fs::metadata(path).map(|about| FileIdentity::of(path, &about))
}

/// How a file that nobody writes looks from outside: no `-wal` beside it, and these marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    identity: FileIdentity,
    length: u64,
    changed: Option<SystemTime>,
}

impl Rest {
    /// The marks of the file, or `None` while somebody has it open for writing (or died doing so).
    pub(super) fn of(place: &Place) -> Option<Self> {
        if fs::symlink_metadata(place.wal()).is_ok() {
            return None;
        }
        let found = fs::metadata(&place.path).ok()?;
        let identity = FileIdentity::of(&place.path, &found);
        Some(Self { identity, length: found.len(), changed: found.modified().ok() })
    }
}

#[cfg(target_os = "linux")]
fn network_disk(directory: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(directory).ok()?;
    // Sign extension of the 32-bit magic differs between targets.
    network_name(found.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
fn network_disk(_: &Path) -> Option<&'static str> {
    None
}

/// Magic numbers of Linux `statfs(2)`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("an SMB share"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x00c3_6400 => Some("CephFS"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x1983_0326 => Some("BeeGFS"),
        0xaad7_aaea => Some("PanFS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0x0bd0_0bd0), Some("Lustre"));
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x2fc1_2fc1, 0x794c_7630] {
            assert_eq!(network_name(local), None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn any_path_can_be_a_uri() {
        let uri = still_uri(Path::new("/a b/50%?#ü.luthier"));
        assert_eq!(uri, "file:/a%20b/50%25%3F%23%C3%BC.luthier?mode=ro&immutable=1");
    }
}

//! A log in one SQLite file, for any number of processes on one machine. One file is one study.
//!
//! It stores events and leases and never reads an event's body. A turn is a write transaction, so SQLite's own lock
//! is the only one there is. `docs/log-format.md` describes the file.

mod file;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use luthier_core::event::{Class, Seq, Work};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::{Draft, Guard, Lease, Log, LogError, Record, Writer};
use crate::process::FileIdentity;
use file::{Place, Rest, SCHEMA, identity_of, open_still};

/// The largest event in bytes.
const LARGEST: i32 = 256 << 20;
/// Pages of 4 KiB written before they are moved from the `-wal` into the study's own file.
const CHECKPOINT: u32 = 4_000;
/// The size in bytes at which the `-wal` is emptied even if readers and writers must wait for it.
const WAL_LIMIT: u64 = 64 << 20;
/// Turns between looks at the size of the `-wal`.
const WAL_LOOK: u32 = 64;

/// What of a study survives which accident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every turn given back survives the end of any process, `kill -9` included. A loss of power may cost the last
    /// moments (what the system had not yet written out), never the study.
    #[default]
    Kill,
    /// Every turn given back survives a loss of power too; costs one wait for the disk per turn.
    PowerLoss,
}

/// How a study's file is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What a turn given back survives; default [`Durability::Kill`].
    pub durability: Durability,
    /// How long to wait for others' turns before giving up; default 60 s.
    pub busy: Duration,
    /// A description of this process for leases, by which others may tell whether it still lives; default empty.
    pub holder: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Kill, busy: Duration::from_mins(1), holder: String::new() }
    }
}

/// A study's log in an SQLite file.
#[derive(Debug)]
pub struct SqliteLog {
    conn: Connection,
    place: Place,
    identity: FileIdentity,
    access: Access,
    writer: Writer,
    holder: String,
    patience: Patience,
    turn: Option<Turn>,
    turns: u32,
}

/// What a handle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    /// Reads while others write.
    Watch,
    /// Reads a file at rest, without locks; good until the file no longer looks like this.
    Still(Rest),
}

/// What is known during a turn, in which nobody else can change it.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    head: Option<Head>,
    /// A write failed half-way; the turn can only be abandoned.
    broken: bool,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    end: Seq,
    /// The last decision.
    decided: Seq,
}

impl SqliteLog {
    /// Creates an empty study and opens it.
    ///
    /// The file appears complete or not at all; of several processes that create the same study one succeeds.
    ///
    /// # Errors
    /// [`LogError::Exists`] if a study is there; [`LogError::NotOurs`] and its kin if something else is;
    /// [`LogError::Store`] if the directory is missing, not writable, or on a network disk.
    pub fn create(path: impl AsRef<Path>, options: Options) -> Result<Self, LogError> {
        let place = Place::new(path.as_ref())?;
        place.make(token())?;
        Self::open(path, options)
    }

    /// Opens a study to work on it.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::NotOurs`], [`LogError::Newer`] or [`LogError::Damaged`], none of which
    /// changes the file; [`LogError::Store`] if it may not be written or lies on a network disk.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, LogError> {
        let place = Place::new(path.as_ref())?;
        place.inspect()?;
        place.check_disk()?;
        if std::fs::metadata(&place.path).is_ok_and(|found| found.permissions().readonly()) {
            return Err(read_only(&place));
        }
        let patience = Patience { limit: options.busy, seed: token() };
        let log = Self::connect(place, Access::Write, patience, options.holder)?;
        if log.conn.is_readonly("main").unwrap_or(false) {
            return Err(read_only(&log.place));
        }
        log.check()?;
        log.prepare(options.durability)?;
        Ok(log)
    }

    /// Opens a study to look at it while others work. Never makes a writer wait, and leaves no files behind unless
    /// a writer has it open or died over it.
    ///
    /// # Errors
    /// As for [`SqliteLog::open`]; everything that would write fails with [`LogError::Store`].
    pub fn watch(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let place = Place::new(path.as_ref())?;
        place.inspect()?;
        place.check_disk()?;
        let patience = Patience { limit: Options::default().busy, seed: token() };
        let access = watching(&place);
        let mut log = Self::connect(place, access, patience, String::new())?;
        log.reading(SqliteLog::check)?;
        Ok(log)
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.place.path.clone()
    }

    fn connect(place: Place, access: Access, patience: Patience, holder: String) -> Result<Self, LogError> {
        let conn = connection(&place, access).map_err(|e| place.explain(&e))?;
        let identity = identity_of(&place.path).map_err(|e| place.store(e.to_string()))?;
        let writer = token();
        Ok(Self { conn, place, identity, access, writer, holder, patience, turn: None, turns: 0 })
    }

    /// Sets up a connection that writes.
    fn prepare(&self, durability: Durability) -> Result<(), LogError> {
        let synchronous = match durability {
            Durability::Kill => "NORMAL",
            Durability::PowerLoss => "FULL",
        };
        let pragma = |name: &str| {
            self.patiently(|| self.conn.pragma_query_value(None, name, |row| row.get::<_, String>(0)))
        };
        if pragma("journal_mode")? != "wal" {
            let wal = || self.conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
            let mode: String = self.patiently(wal)?;
            if mode != "wal" {
                return Err(self
                    .place
                    .store(format!("it is in journal mode {mode} and cannot be put in WAL")));
            }
        }
        let settings = format!(
            "PRAGMA synchronous={synchronous}; PRAGMA fullfsync={full}; PRAGMA checkpoint_fullfsync={full};
             PRAGMA wal_autocheckpoint={CHECKPOINT}; PRAGMA journal_size_limit={WAL_LIMIT};",
            full = u8::from(durability == Durability::PowerLoss),
        );
        self.patiently(|| self.conn.execute_batch(&settings))
    }

    /// Looks for what is wrong with the file as far as that is cheap.
    fn check(&self) -> Result<(), LogError> {
        let version = || self.conn.pragma_query_value(None, "user_version", |row| row.get(0));
        self.place.check_version(self.patiently(version)?)?;
        let found = self.patiently(|| schema(&self.conn))?;
        for (kind, name, _) in &found {
            if !SCHEMA.iter().any(|(known, _)| known == name) {
                let problem = format!("it holds a {kind} {name:?}, which no study has");
                return Err(self.place.not_ours(problem));
            }
        }
        let known = |(kind, name, sql): &(String, String, String)| {
            kind == "table" && SCHEMA.iter().any(|(n, s)| n == name && s == sql)
        };
        if found.len() != SCHEMA.len() || !found.iter().all(known) {
            return Err(self.place.damaged("its tables are not those of a study"));
        }
        // The end first: the log may grow between the two looks, but never gets another beginning.
        let Some((end, decided)) = self.patiently(|| edge(&self.conn, Edge::Last))? else { return Ok(()) };
        match self.patiently(|| edge(&self.conn, Edge::First))? {
            Some((1, _)) if decided <= end => Ok(()),
            _ => Err(self.place.damaged("the log's first or last record is missing or wrong")),
        }
    }

    /// Runs something that others' locks may delay.
    fn patiently<R>(&self, act: impl FnMut() -> rusqlite::Result<R>) -> Result<R, LogError> {
        self.patience.wait_for(act).map_err(|e| self.place.explain(&e))
    }

    /// Runs something that only reads, again if the file at rest turns out to have been woken up meanwhile.
    fn reading<R>(&mut self, act: impl Fn(&Self) -> Result<R, LogError>) -> Result<R, LogError> {
        loop {
            let result = act(self);
            match self.access {
                Access::Write | Access::Watch => return result,
                Access::Still(rest) if Rest::of(&self.place) == Some(rest) => return result,
                Access::Still(_) => {
                    self.same_file()?;
                    self.access = watching(&self.place);
                    self.conn = connection(&self.place, self.access).map_err(|e| self.place.explain(&e))?;
                }
            }
        }
    }

    /// Runs something that writes, in the turn there is or in one of its own.
    fn writing<R>(&mut self, act: impl FnOnce(&mut Self) -> Result<R, LogError>) -> Result<R, LogError> {
        if self.turn.is_some() {
            return act(self);
        }
        self.lock()?;
        match act(self) {
            Ok(result) => self.unlock().map(|()| result),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// A study that was deleted or replaced behind our back must not be written to: nobody would ever see it.
    fn same_file(&self) -> Result<(), LogError> {
        if identity_of(&self.place.path).ok() == Some(self.identity) {
            return Ok(());
        }
        Err(self.place.store("the file was deleted or replaced while it was in use; start again"))
    }

    fn head(&mut self) -> Result<Head, LogError> {
        if let Some(Turn { head: Some(head), .. }) = self.turn {
            return Ok(head);
        }
        let head =
            self.patiently(|| edge(&self.conn, Edge::Last))?.map(|(end, decided)| Head { end, decided });
        let head = head.unwrap_or_default();
        if let Some(turn) = &mut self.turn {
            turn.head = Some(head);
        }
        Ok(head)
    }

    fn check_guard(&self, head: Head, guard: Guard) -> Result<(), LogError> {
        match guard {
            Guard::End(seq) if seq != head.end => Err(LogError::Conflict { end: head.end }),
            Guard::Decisions(seq) if head.decided > seq => Err(LogError::Conflict { end: head.end }),
            Guard::Holds { work, attempt }
                if self.patiently(|| holder(&self.conn, work))? != Some(attempt) =>
            {
                Err(LogError::Fenced { work, attempt })
            }
            Guard::End(_) | Guard::Decisions(_) | Guard::Holds { .. } | Guard::None => Ok(()),
        }
    }

    fn insert(&self, head: Head, drafts: &[Draft]) -> rusqlite::Result<Head> {
        let mut head = head;
        let at: i64 = self
            .conn
            .prepare_cached("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")?
            .query_row([], |row| row.get(0))?;
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO log(seq, class, trial, replicate, writer, at, basis, decided, body) \
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for draft in drafts {
            head.end += 1;
            if draft.class == Class::Decision {
                head.decided = head.end;
            }
            insert.execute(params![
                head.end as i64,
                class_number(draft.class),
                draft.work.map(|work| work.trial),
                draft.work.map(|work| work.replicate),
                self.writer as i64,
                at,
                draft.basis as i64,
                head.decided as i64,
                draft.body,
            ])?;
        }
        Ok(head)
    }

    /// Runs one statement of a turn; if it fails, the turn can only be abandoned.
    fn execute(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<usize, LogError> {
        let done = self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
        done.map_err(|e| self.spoil(&e))
    }

    fn spoil(&mut self, error: &rusqlite::Error) -> LogError {
        if let Some(turn) = &mut self.turn {
            turn.broken = true;
        }
        self.place.explain(error)
    }

    /// Empties a `-wal` that has become too long because somebody was reading at every checkpoint.
    fn tame_wal(&mut self) {
        self.turns = self.turns.wrapping_add(1);
        if !self.turns.is_multiple_of(WAL_LOOK) {
            return;
        }
        let length = std::fs::metadata(self.place.wal()).map_or(0, |found| found.len());
        if length > WAL_LIMIT {
            // It is only put off if it does not succeed now.
            let _ = self.conn.busy_timeout(Duration::from_secs(1));
            let _ = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = self.conn.busy_timeout(Duration::ZERO);
        }
    }
}

impl Log for SqliteLog {
    fn lock(&mut self) -> Result<(), LogError> {
        assert!(self.turn.is_none(), "a turn is taken inside a turn");
        if self.access != Access::Write {
            return Err(self.place.store("it was opened only to look at it"));
        }
        self.same_file()?;
        self.patiently(|| self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]))?;
        self.turn = Some(Turn::default());
        Ok(())
    }

    fn unlock(&mut self) -> Result<(), LogError> {
        let Some(turn) = self.turn else { return Ok(()) };
        // SQLite itself gives up a transaction on some failures; committing "the rest" would tear the turn.
        if turn.broken || self.conn.is_autocommit() {
            self.abandon();
            return Err(self.place.store("a write of this turn failed, so nothing of it was kept"));
        }
        let committed = self.patiently(|| self.conn.prepare_cached("COMMIT")?.execute([]));
        if committed.is_err() {
            self.abandon();
        }
        committed?;
        self.turn = None;
        self.tame_wal();
        Ok(())
    }

    fn abandon(&mut self) {
        if self.turn.take().is_some() && !self.conn.is_autocommit() {
            // Fails only if SQLite has already rolled back by itself.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    fn read(&mut self, after: Seq, limit: usize) -> Result<Vec<Record>, LogError> {
        let records = self.reading(|log| log.patiently(|| records(&log.conn, after, limit)))?;
        let expected = after + 1;
        match records.iter().zip(expected..).find(|(record, seq)| record.seq != *seq) {
            Some((_, seq)) => Err(self.place.damaged(format!("record {seq} is missing"))),
            None => Ok(records),
        }
    }

    fn append(&mut self, drafts: &[Draft], guard: Guard) -> Result<Seq, LogError> {
        self.writing(|log| {
            let head = log.head()?;
            log.check_guard(head, guard)?;
            let head = log.insert(head, drafts).map_err(|e| log.spoil(&e))?;
            if let Some(turn) = &mut log.turn {
                turn.head = Some(head);
            }
            Ok(head.end)
        })
    }

    fn hold(&mut self, work: Work, attempt: u32, ttl: Duration) -> Result<(), LogError> {
        self.writing(|log| {
            let (writer, holder) = (log.writer as i64, log.holder.clone());
            log.execute(
                "INSERT INTO leases(trial, replicate, attempt, writer, holder, until) \
                 VALUES(?1, ?2, ?3, ?4, ?5, unixepoch('subsec') + ?6) \
                 ON CONFLICT DO UPDATE SET attempt = excluded.attempt, writer = excluded.writer, \
                 holder = excluded.holder, until = excluded.until",
                params![work.trial, work.replicate, attempt, writer, holder, ttl.as_secs_f64()],
            )?;
            Ok(())
        })
    }

    fn renew(&mut self, held: &[(Work, u32)], ttl: Duration) -> Result<Vec<Work>, LogError> {
        self.writing(|log| {
            let mut gone = Vec::new();
            for (work, attempt) in held {
                let renewed = log.execute(
                    "UPDATE leases SET until = unixepoch('subsec') + ?4 \
                     WHERE trial = ?1 AND replicate = ?2 AND attempt = ?3",
                    params![work.trial, work.replicate, attempt, ttl.as_secs_f64()],
                )?;
                if renewed == 0 {
                    gone.push(*work);
                }
            }
            Ok(gone)
        })
    }

    fn release(&mut self, work: Work) -> Result<(), LogError> {
        self.writing(|log| {
            let sql = "DELETE FROM leases WHERE trial = ?1 AND replicate = ?2";
            log.execute(sql, params![work.trial, work.replicate]).map(|_| ())
        })
    }

    fn leases(&mut self) -> Result<Vec<Lease>, LogError> {
        self.reading(|log| log.patiently(|| leases(&log.conn)))
    }

    fn has_news(&mut self, seq: Seq) -> Result<bool, LogError> {
        self.same_file()?;
        let end = self.reading(|log| log.patiently(|| edge(&log.conn, Edge::Last)))?;
        Ok(end.is_some_and(|(end, _)| end > seq))
    }

    fn writer(&self) -> Writer {
        self.writer
    }

    fn place(&self) -> String {
        self.place.shown.clone()
    }
}

fn read_only(place: &Place) -> LogError {
    place.store("the file is read-only; make it writable, or use a command that only reads")
}

fn watching(place: &Place) -> Access {
    Rest::of(place).map_or(Access::Watch, Access::Still)
}

/// A connection that trusts nothing in the file.
fn connection(place: &Place, access: Access) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = match access {
        Access::Still(_) => open_still(&place.path)?,
        Access::Watch => Connection::open_with_flags(&place.path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        Access::Write => Connection::open_with_flags(&place.path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)?,
    };
    conn.busy_timeout(Duration::ZERO)?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    Ok(conn)
}

fn schema(conn: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    let mut statement = conn.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

#[derive(Clone, Copy)]
enum Edge {
    First,
    Last,
}

/// The first or last record's position, and that of the last decision by then.
fn edge(conn: &Connection, edge: Edge) -> rusqlite::Result<Option<(Seq, Seq)>> {
    let sql = match edge {
        Edge::First => "SELECT seq, decided FROM log ORDER BY seq ASC LIMIT 1",
        Edge::Last => "SELECT seq, decided FROM log ORDER BY seq DESC LIMIT 1",
    };
    let pair = |row: &Row<'_>| Ok((row.get::<_, i64>(0)? as Seq, row.get::<_, i64>(1)? as Seq));
    conn.prepare_cached(sql)?.query_row([], pair).optional()
}

fn records(conn: &Connection, after: Seq, limit: usize) -> rusqlite::Result<Vec<Record>> {
    let sql = "SELECT seq, writer, at, basis, body FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![after as i64, limit as i64])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(Record {
            seq: row.get::<_, i64>(0)? as Seq,
            writer: row.get::<_, i64>(1)? as Writer,
            at: row.get(2)?,
            basis: row.get::<_, i64>(3)? as Seq,
            body: row.get(4)?,
        });
    }
    Ok(records)
}

fn holder(conn: &Connection, work: Work) -> rusqlite::Result<Option<u32>> {
    conn.prepare_cached("SELECT attempt FROM leases WHERE trial = ?1 AND replicate = ?2")?
        .query_row(params![work.trial, work.replicate], |row| row.get(0))
        .optional()
}

fn leases(conn: &Connection) -> rusqlite::Result<Vec<Lease>> {
    let mut statement = conn.prepare_cached(
        "SELECT trial, replicate, attempt, writer, holder, unixepoch('subsec') - until FROM leases",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Lease {
            work: Work { trial: row.get(0)?, replicate: row.get(1)? },
            attempt: row.get(2)?,
            writer: row.get::<_, i64>(3)? as Writer,
            holder: row.get(4)?,
            expired_for: row.get(5)?,
        })
    })?;
    rows.collect()
}

fn class_number(class: Class) -> u8 {
    match class {
        Class::Decision => 1,
        Class::Fact => 2,
        Class::Wish => 3,
    }
}

/// A random number that other processes do not draw; positive as an SQLite integer.
fn token() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library seeds this from the system's generator, once per thread, and never repeats it.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    (hasher.finish() >> 1).max(1)
}

/// Waiting for one's turn when many want it.
#[derive(Clone, Copy, Debug)]
struct Patience {
    limit: Duration,
    seed: u64,
}

impl Patience {
    /// Pauses start at this length, where asking again is cheaper than sleeping longer.
    const FIRST: Duration = Duration::from_micros(50);
    /// Whoever is new asks less often than this ...
    const NEW: Duration = Duration::from_millis(8);
    /// ... and whoever has waited for long more often, so that nobody waits for ever.
    const OLD: Duration = Duration::from_millis(1);
    /// What counts as long.
    const LONG: Duration = Duration::from_millis(250);

    fn wait_for<R>(&self, mut act: impl FnMut() -> rusqlite::Result<R>) -> rusqlite::Result<R> {
        let mut result = act();
        if !is_busy(&result) {
            return result;
        }
        let began = Instant::now();
        let mut pause = Self::FIRST;
        let mut state = self.seed ^ (began.elapsed().as_nanos() as u64);
        while is_busy(&result) && began.elapsed() < self.limit {
            state = scrambled(state);
            let part = 0.5 + 0.5 * (state >> 11) as f64 / (1_u64 << 53) as f64;
            std::thread::sleep(pause.mul_f64(part));
            let longest = if began.elapsed() > Self::LONG { Self::OLD } else { Self::NEW };
            pause = (pause * 3 / 2).min(longest);
            result = act();
        }
        result
    }
}

/// One step of the `SplitMix64` sequence: pauses of different processes must not fall into step.
fn scrambled(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn is_busy<R>(result: &rusqlite::Result<R>) -> bool {
    let code = result.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed))
}

#[cfg(test)]
mod tests {
    use luthier_core::event::Event;

    use super::*;

    fn note(length: usize) -> Draft {
        let value = "x".repeat(length).into();
        Draft::new(&Event::Noted { trial: None, key: "note".into(), value }, 0).unwrap()
    }

    #[test]
    fn a_turn_on_a_full_disk_is_kept_in_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("study.luthier");
        let mut log = SqliteLog::create(&path, Options::default()).unwrap();
        log.append(&[note(1)], Guard::None).unwrap();
        log.conn.pragma_update_and_check(None, "max_page_count", 20, |_| Ok(())).unwrap();

        log.lock().unwrap();
        log.append(&[note(10)], Guard::End(1)).unwrap();
        let refused = log.append(&[note(10), note(1 << 20)], Guard::End(2)).unwrap_err().to_string();
        assert!(refused.contains("the disk is full; free some space"), "{refused}");
        let torn = log.unlock().unwrap_err().to_string();
        assert!(torn.ends_with("a write of this turn failed, so nothing of it was kept"), "{torn}");
        assert_eq!(log.read(0, 9).unwrap().len(), 1);
        assert_eq!(log.append(&[note(10)], Guard::End(1)).unwrap(), 2, "what fits can still be written");
        assert!(log.hold(Work::of(0), 1, Duration::ZERO).is_ok());
    }

    #[test]
    fn tokens_differ_and_fit_an_sqlite_integer() {
        let tokens: std::collections::HashSet<u64> = (0..1_000).map(|_| token()).collect();
        assert_eq!(tokens.len(), 1_000);
        assert!(tokens.iter().all(|token| i64::try_from(*token).is_ok_and(|token| token > 0)));
    }

    #[test]
    fn waiting_goes_on_while_others_are_busy_and_ends_at_its_limit() {
        let busy =
            || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None);
        let patience = Patience { limit: Duration::from_millis(20), seed: 1 };
        let mut asked = 0;
        let answer = patience.wait_for(|| {
            asked += 1;
            if asked < 4 { Err(busy()) } else { Ok(asked) }
        });
        assert_eq!(answer.unwrap(), 4);
        assert!(patience.wait_for(|| Err::<(), _>(busy())).is_err());
        let mut asked = 0;
        let other = patience.wait_for(|| {
            asked += 1;
            Err::<(), _>(rusqlite::Error::InvalidQuery)
        });
        assert!(other.is_err() && asked == 1, "only locks are waited for");
    }
}

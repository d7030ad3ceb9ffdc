//! The append-only log of a study: the only truth. It stores events and leases and never interprets an event.
//!
//! A writer takes the log's turn ([`Log::lock`]), reads what others have appended, decides, appends and gives the
//! turn back ([`Log::unlock`]), which makes everything since visible and durable at once. So each decision is a
//! function of an exact prefix of the log, and one commit serves all the workers of a process.

mod memory;
mod replay;
mod sqlite;

use std::time::Duration;

use luthier_core::event::{Class, Event, Seq, Work};

pub use memory::MemoryLog;
pub use replay::{ReplayError, replay};
pub use sqlite::{Durability, Options, SqliteLog};

/// One writer's identity: a random number drawn when it opens the log.
pub type Writer = u64;

/// The version of the written format; see `docs/log-format.md`.
pub const FORMAT: u32 = 1;

/// One stored event with its header.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its position, from 1, without gaps.
    pub seq: Seq,
    /// Who appended it.
    pub writer: Writer,
    /// When, in milliseconds since 1970, by the store's clock; decisions never read it.
    pub at: i64,
    /// The last position that whoever decided it had seen.
    pub basis: Seq,
    /// The event as JSON.
    pub body: String,
}

impl Record {
    /// The event.
    pub fn event(&self) -> Result<Event, LogError> {
        serde_json::from_str(&self.body)
            .map_err(|e| LogError::Event { seq: self.seq, problem: e.to_string() })
    }
}

/// An event about to be appended, with what the log needs to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// How it is guarded.
    pub class: Class,
    /// The work it concerns.
    pub work: Option<Work>,
    /// The last position its decision had seen.
    pub basis: Seq,
    /// The event as JSON.
    pub body: String,
}

impl Draft {
    /// Writes an event that was decided after `basis`.
    pub fn new(event: &Event, basis: Seq) -> Result<Self, LogError> {
        let body = serde_json::to_string(event)
            .map_err(|e| LogError::Event { seq: basis + 1, problem: format!("cannot be written: {e}") })?;
        Ok(Self { class: event.class(), work: event.work(), basis, body })
    }
}

/// What must still hold when records are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nobody has appended anything after this position.
    End(Seq),
    /// Nobody has appended a decision after this position.
    Decisions(Seq),
    /// This attempt still holds this work.
    Holds {
        /// The work.
        work: Work,
        /// The fencing token.
        attempt: u32,
    },
    /// Nothing.
    None,
}

/// A worker's hold on a piece of work, on the store's own clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// The work.
    pub work: Work,
    /// The fencing token.
    pub attempt: u32,
    /// Who holds it.
    pub writer: Writer,
    /// The holder's process, as it described itself; empty if it did not.
    pub holder: String,
    /// How long ago it ran out; negative while it is still good.
    pub expired_for: f64,
}

/// What can go wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A guard did not hold; read on and decide again.
    #[error("somebody else has written to the study meanwhile (the log ends at {end})")]
    Conflict {
        /// Where the log ends now.
        end: Seq,
    },
    /// The work is held by another attempt.
    #[error("trial {} replicate {} is no longer held by attempt {attempt}", work.trial, work.replicate)]
    Fenced {
        /// The work.
        work: Work,
        /// The attempt that was refused.
        attempt: u32,
    },
    /// The file is not one of ours.
    #[error("{path} is not a Luthier study: {problem}. Nothing was changed; give another --study path")]
    NotOurs {
        /// The file.
        path: String,
        /// How that shows.
        problem: String,
    },
    /// The file is ours, but of a version this program does not know.
    #[error(
        "{path} has log format {found}, and this program writes {known}. Nothing was changed; use a newer luthier"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: u32,
    },
    /// The file is ours and damaged.
    #[error(
        "{path} is damaged: {problem}. Nothing was changed; restore a copy, or keep what comes before with `luthier export`"
    )]
    Damaged {
        /// The file.
        path: String,
        /// How that shows.
        problem: String,
    },
    /// A record's event cannot be read or written.
    #[error(
        "event {seq} cannot be understood: {problem}. It was written by a newer luthier, or the study is damaged"
    )]
    Event {
        /// Its position.
        seq: Seq,
        /// What is wrong.
        problem: String,
    },
    /// There is no such study.
    #[error("there is no study at {path}")]
    Missing {
        /// The file.
        path: String,
    },
    /// A study is already there.
    #[error("there is already a study at {path}")]
    Exists {
        /// The file.
        path: String,
    },
    /// The store failed: a full disk, a lost permission, a lock held for too long.
    #[error("{path}: {problem}")]
    Store {
        /// The file.
        path: String,
        /// What the store said.
        problem: String,
    },
}

/// An append-only log of one study, with leases beside it.
pub trait Log: Send {
    /// Takes the turn: until [`Log::unlock`] or [`Log::abandon`] nobody else appends.
    fn lock(&mut self) -> Result<(), LogError>;

    /// Gives the turn back and makes everything since [`Log::lock`] visible to others, at the log's durability.
    fn unlock(&mut self) -> Result<(), LogError>;

    /// Gives the turn back and forgets everything since [`Log::lock`].
    fn abandon(&mut self);

    /// At most `limit` records after position `after`, without gaps.
    fn read(&mut self, after: Seq, limit: usize) -> Result<Vec<Record>, LogError>;

    /// Appends records and returns the position of the last, if the guard holds. Outside a turn it takes one by itself.
    fn append(&mut self, drafts: &[Draft], guard: Guard) -> Result<Seq, LogError>;

    /// Writes down that this log's writer holds `work` for `ttl` from now, with the token of its claim.
    fn hold(&mut self, work: Work, attempt: u32, ttl: Duration) -> Result<(), LogError>;

    /// Extends this writer's leases by `ttl` from now; returns those it no longer has.
    fn renew(&mut self, held: &[(Work, u32)], ttl: Duration) -> Result<Vec<Work>, LogError>;

    /// Forgets the lease of `work`.
    fn release(&mut self, work: Work) -> Result<(), LogError>;

    /// All leases.
    fn leases(&mut self) -> Result<Vec<Lease>, LogError>;

    /// Whether anything was appended after `seq`; cheap enough to ask ten times a second.
    fn has_news(&mut self, seq: Seq) -> Result<bool, LogError>;

    /// This writer.
    fn writer(&self) -> Writer;

    /// Where the log is, for messages.
    fn place(&self) -> String;
}

//! A log in memory, for tests, simulations and studies that nobody needs to keep. One handle, one process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use luthier_core::event::{Class, Seq, Work};

use super::{Draft, Guard, Lease, Log, LogError, Record, Writer};

/// A log in memory.
#[derive(Default)]
pub struct MemoryLog {
    records: Vec<Record>,
    last_decision: Seq,
    leases: BTreeMap<Work, Held>,
    turn: Option<Before>,
}

/// A token, and until when it is good.
type Held = (u32, Instant);

/// What the log was at the beginning of a turn.
struct Before {
    length: usize,
    last_decision: Seq,
    /// Leases that the turn has changed, as they were.
    leases: Vec<(Work, Option<Held>)>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn end(&self) -> Seq {
        self.records.len() as Seq
    }

    fn change(&mut self, work: Work, held: Option<Held>) {
        let before = match held {
            Some(held) => self.leases.insert(work, held),
            None => self.leases.remove(&work),
        };
        if let Some(turn) = &mut self.turn {
            turn.leases.push((work, before));
        }
    }
}

impl Log for MemoryLog {
    fn lock(&mut self) -> Result<(), LogError> {
        assert!(self.turn.is_none(), "a turn is taken inside a turn");
        let (length, last_decision) = (self.records.len(), self.last_decision);
        self.turn = Some(Before { length, last_decision, leases: Vec::new() });
        Ok(())
    }

    fn unlock(&mut self) -> Result<(), LogError> {
        self.turn = None;
        Ok(())
    }

    fn abandon(&mut self) {
        if let Some(before) = self.turn.take() {
            self.records.truncate(before.length);
            self.last_decision = before.last_decision;
            for (work, held) in before.leases.into_iter().rev() {
                self.change(work, held);
            }
        }
    }

    fn read(&mut self, after: Seq, limit: usize) -> Result<Vec<Record>, LogError> {
        Ok(self.records.iter().skip(after as usize).take(limit).cloned().collect())
    }

    fn append(&mut self, drafts: &[Draft], guard: Guard) -> Result<Seq, LogError> {
        let end = self.end();
        match guard {
            Guard::End(seq) if seq != end => return Err(LogError::Conflict { end }),
            Guard::Decisions(seq) if self.last_decision > seq => return Err(LogError::Conflict { end }),
            Guard::Holds { work, attempt }
                if self.leases.get(&work).is_none_or(|(held, _)| *held != attempt) =>
            {
                return Err(LogError::Fenced { work, attempt });
            }
            Guard::End(_) | Guard::Decisions(_) | Guard::Holds { .. } | Guard::None => {}
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        for draft in drafts {
            let seq = self.end() + 1;
            if draft.class == Class::Decision {
                self.last_decision = seq;
            }
            self.records.push(Record { seq, writer: 0, at, basis: draft.basis, body: draft.body.clone() });
        }
        Ok(self.end())
    }

    fn hold(&mut self, work: Work, attempt: u32, ttl: Duration) -> Result<(), LogError> {
        self.change(work, Some((attempt, Instant::now() + ttl)));
        Ok(())
    }

    fn renew(&mut self, held: &[(Work, u32)], ttl: Duration) -> Result<Vec<Work>, LogError> {
        let mut gone = Vec::new();
        for (work, attempt) in held {
            if self.leases.get(work).is_some_and(|(token, _)| token == attempt) {
                self.change(*work, Some((*attempt, Instant::now() + ttl)));
            } else {
                gone.push(*work);
            }
        }
        Ok(gone)
    }

    fn release(&mut self, work: Work) -> Result<(), LogError> {
        self.change(work, None);
        Ok(())
    }

    fn leases(&mut self) -> Result<Vec<Lease>, LogError> {
        let now = Instant::now();
        let lease = |(work, (attempt, until)): (&Work, &(u32, Instant))| Lease {
            work: *work,
            attempt: *attempt,
            writer: 0,
            holder: String::new(),
            expired_for: if now > *until {
                (now - *until).as_secs_f64()
            } else {
                -(*until - now).as_secs_f64()
            },
        };
        Ok(self.leases.iter().map(lease).collect())
    }

    fn has_news(&mut self, seq: Seq) -> Result<bool, LogError> {
        Ok(self.end() > seq)
    }

    fn writer(&self) -> Writer {
        0
    }

    fn place(&self) -> String {
        "memory".into()
    }
}

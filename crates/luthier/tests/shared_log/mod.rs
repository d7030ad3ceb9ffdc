//! A log in memory for tests that look at it beside the session that writes it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use luthier::core::event::{Event, Seq, Work};
use luthier::log::{Draft, Guard, Lease, Log, LogError, MemoryLog, Record};

/// A log whose records the test can still read after the session took it.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<MemoryLog>>);

macro_rules! forward {
    ($($name:ident(&mut self $(, $arg:ident: $ty:ty)*) $(-> $ret:ty)?;)*) => {
        $(fn $name(&mut self $(, $arg: $ty)*) $(-> $ret)? { self.0.lock().unwrap().$name($($arg),*) })*
    };
}
impl Log for Shared {
    forward! {
        lock(&mut self) -> Result<(), LogError>;
        unlock(&mut self) -> Result<(), LogError>;
        abandon(&mut self);
        read(&mut self, after: Seq, limit: usize) -> Result<Vec<Record>, LogError>;
        append(&mut self, drafts: &[Draft], guard: Guard) -> Result<Seq, LogError>;
        hold(&mut self, work: Work, attempt: u32, ttl: Duration) -> Result<(), LogError>;
        renew(&mut self, held: &[(Work, u32)], ttl: Duration) -> Result<Vec<Work>, LogError>;
        release(&mut self, work: Work) -> Result<(), LogError>;
        leases(&mut self) -> Result<Vec<Lease>, LogError>;
        has_news(&mut self, seq: Seq) -> Result<bool, LogError>;
    }
    fn writer(&self) -> u64 {
        0
    }
    fn place(&self) -> String {
        "memory".into()
    }
}

/// All events of a log.
pub(crate) fn events(log: &Shared) -> Vec<Event> {
    log.0.lock().unwrap().read(0, usize::MAX).unwrap().iter().map(|r| r.event().unwrap()).collect()
}

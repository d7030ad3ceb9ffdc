//! Folding a whole log into its study, reading ahead while the events before are parsed and folded.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use luthier_core::event::{Event, Seq};
use luthier_core::study::{FoldError, Study};

use super::{Log, LogError, Record};

/// Records read at once.
const CHUNK: usize = 5_000;
/// Chunks read ahead; with the one being read and the one being folded, all that is in memory besides the study.
const AHEAD: usize = 2;

/// Why a log could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its events do not follow from one another.
    #[error("the study is damaged at event {seq}: {problem}. Nothing was changed; restore a copy")]
    Fold {
        /// The event's position.
        seq: Seq,
        /// What does not follow.
        problem: FoldError,
    },
    /// The log holds no event.
    #[error(
        "the study at {place} is empty: whoever created it ended before saying what it is. `luthier tune` with its study file begins it"
    )]
    Empty {
        /// Where.
        place: String,
    },
}

/// The study that a log holds, and the last position folded.
///
/// Reading and folding overlap on two threads, and memory besides the study is bounded whatever the log's length.
pub fn replay(log: &mut dyn Log) -> Result<(Study, Seq), ReplayError> {
    let place = log.place();
    let (chunks, incoming) = sync_channel(AHEAD);
    let (study, seen) = thread::scope(|scope| {
        scope.spawn(move || read_all(log, &chunks));
        fold_all(incoming)
    })?;
    study.map(|study| (study, seen)).ok_or(ReplayError::Empty { place })
}

/// Sends the log's chunks until its end, its first error, or until nobody listens any more.
fn read_all(log: &mut dyn Log, chunks: &SyncSender<Result<Vec<Record>, LogError>>) {
    let mut after = 0;
    loop {
        let chunk = log.read(after, CHUNK);
        let is_last = chunk.as_ref().map_or(true, |records| records.len() < CHUNK);
        after = chunk.as_ref().ok().and_then(|records| records.last()).map_or(after, |last| last.seq);
        if chunks.send(chunk).is_err() || is_last {
            return;
        }
    }
}

/// Takes the receiver, so that after an error the reader finds nobody listening and ends.
fn fold_all(chunks: Receiver<Result<Vec<Record>, LogError>>) -> Result<(Option<Study>, Seq), ReplayError> {
    let mut study = None;
    let mut seen = 0;
    for chunk in chunks {
        for record in chunk? {
            let fold = |problem| ReplayError::Fold { seq: record.seq, problem };
            match (&mut study, record.event()?) {
                (None, Event::Created(spec)) => study = Some(Study::new(*spec)),
                (None, _) => return Err(fold(FoldError::Created)),
                (Some(study), event) => study.apply(&event).map_err(fold)?,
            }
            seen = record.seq;
        }
    }
    Ok((study, seen))
}

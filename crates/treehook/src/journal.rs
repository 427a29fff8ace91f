//! The receiver's journal: what it has promised, kept on disk from one start to the next.
//!
//! Two slots in one file are written in turn, each with its checksum, so that a write that a power
//! cut tears leaves the one before. It is not synced: it has to outlive the process, at every
//! publish, and what a power cut takes of it costs the ledger precision and the events nothing.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::warn;
use treehook_event::{Failure, ReceiverId, Statement};
use treehook_pipeline::Journal;

const FILE: &str = "ledger.journal";
/// A slot, in bytes: hundreds of countings, or the longest few.
const SLOT: usize = 256 << 10;
const CHECKSUM: usize = 32;
const HEADER: usize = CHECKSUM + 8;

/// What a slot holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Page<S> {
    receiver: ReceiverId,
    /// Rises with each write: of two whole slots the higher one stands.
    turn: u64,
    statements: Vec<S>,
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    receiver: ReceiverId,
    turn: Mutex<u64>,
    is_failing: AtomicBool,
}

/// What a journal tells at start.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Whose it is.
    pub(crate) receiver: ReceiverId,
    /// What was promised, as far as nobody was told so yet.
    pub(crate) statements: Vec<Statement>,
}

impl JournalFile {
    /// Opens the directory's journal, and makes it if need be.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Kept), Failure> {
        let path = dir.join(FILE);
        let cannot = |error: std::io::Error| {
            Failure::fatal("journal", format!("{} cannot be used: {error}", path.display()))
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(cannot)?;
        let page = latest(&file).map_err(cannot)?.unwrap_or_else(|| Page {
            receiver: ReceiverId(rand_u64()),
            turn: 0,
            statements: Vec::new(),
        });
        // Room that is there already can be written to when the disk is full.
        if file.metadata().map_err(cannot)?.len() < (2 * SLOT) as u64 {
            file.write_all_at(&vec![0; 2 * SLOT], 0).map_err(cannot)?;
        }
        let journal = Self {
            file,
            receiver: page.receiver,
            turn: Mutex::new(page.turn),
            is_failing: AtomicBool::new(false),
        };
        let held: Vec<&Statement> = page.statements.iter().collect();
        journal.write(&held).map_err(cannot)?;
        journal.file.sync_all().map_err(cannot)?;
        Ok((journal, Kept { receiver: page.receiver, statements: page.statements }))
    }

    fn write(&self, statements: &[&Statement]) -> std::io::Result<()> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        *turn += 1;
        let page = Page { receiver: self.receiver, turn: *turn, statements: statements.to_vec() };
        let text = serde_json::to_vec(&page)?;
        if text.len() > SLOT - HEADER {
            return Err(std::io::Error::new(ErrorKind::FileTooLarge, "too much to tell"));
        }
        let mut slot = Vec::with_capacity(HEADER + text.len());
        slot.extend_from_slice(&Sha256::digest(&text));
        slot.extend_from_slice(&(text.len() as u64).to_le_bytes());
        slot.extend_from_slice(&text);
        self.file.write_all_at(&slot, (*turn % 2) * SLOT as u64)
    }
}

impl Journal for JournalFile {
    fn keep(&self, statements: &[&Statement]) {
        match self.write(statements) {
            Ok(()) => self.is_failing.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    warn!("the ledger's journal cannot be written: {error}");
                }
            }
        }
    }
}

/// What the journal of a directory that nobody uses has left to tell.
pub(crate) fn left_behind(dir: &Path) -> Result<Vec<Statement>, Failure> {
    let path = dir.join(FILE);
    let cannot = |error: std::io::Error| {
        Failure::fatal("journal", format!("{} cannot be read: {error}", path.display()))
    };
    match File::open(&path) {
        Ok(file) => {
            let page = latest(&file).map_err(cannot)?;
            Ok(page.map(|page| page.statements).unwrap_or_default())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(cannot(error)),
    }
}

fn latest(file: &File) -> std::io::Result<Option<Page<Statement>>> {
    let pages = [slot(file, 0)?, slot(file, SLOT as u64)?];
    Ok(pages.into_iter().flatten().max_by_key(|page| page.turn))
}

/// The page in a slot, if it is whole.
fn slot(file: &File, at: u64) -> std::io::Result<Option<Page<Statement>>> {
    let mut bytes = vec![0; SLOT];
    let mut filled = 0;
    while filled < SLOT {
        match file.read_at(&mut bytes[filled..], at + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(page(&bytes[..filled]))
}

fn page(slot: &[u8]) -> Option<Page<Statement>> {
    let (checksum, rest) = slot.split_first_chunk::<CHECKSUM>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let text = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let is_whole = Sha256::digest(text).as_slice() == checksum;
    if is_whole { serde_json::from_slice(text).ok() } else { None }
}

/// 64 random bits, of which 60 are.
fn rand_u64() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

#[cfg(test)]
mod tests {
    use treehook_event::{Counting, SourceName};

    use super::*;

    fn statement(next: u64) -> Statement {
        let source = SourceName::trusted("linktree");
        let counting = Counting { receiver: ReceiverId(7), epoch: 1, source };
        Statement { next, ..Statement::new(counting) }
    }

    #[test]
    fn what_was_kept_last_is_told_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, kept) = JournalFile::open(dir.path()).unwrap();
        assert!(kept.statements.is_empty());
        for next in 1..=5 {
            journal.keep(&[&statement(next)]);
        }
        let (_, again) = JournalFile::open(dir.path()).unwrap();
        assert_eq!((again.receiver, again.statements), (kept.receiver, vec![statement(5)]));
        assert_eq!(left_behind(dir.path()).unwrap(), [statement(5)]);
    }

    #[test]
    fn a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = JournalFile::open(dir.path()).unwrap();
        journal.keep(&[&statement(1)]);
        journal.keep(&[&statement(2)]);
        let last = (*journal.turn.lock().unwrap() % 2) * SLOT as u64;
        journal.file.write_all_at(b"torn", last + HEADER as u64 + 3).unwrap();
        assert_eq!(left_behind(dir.path()).unwrap(), [statement(1)]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = JournalFile::open(dir.path()).unwrap();
        journal.keep(&[&statement(1)]);
        let mut long = statement(2);
        for number in 0..100_000 {
            long.void.add(number * 2..number * 2 + 1);
        }
        journal.keep(&[&long]);
        assert_eq!(left_behind(dir.path()).unwrap(), [statement(1)]);
        assert!(left_behind(&dir.path().join("nothing")).unwrap().is_empty());
    }
}

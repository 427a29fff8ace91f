//! The receiver's side of the ledger: numbers what it takes in, and remembers which it promised.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use treehook_event::{Counting, Entry, Event, ReceiverId, SourceName, Statement};

/// Ranges of void numbers in one counting: beyond this the next counting begins, so that a statement
/// stays small however often promises alternate with refusals.
const VOID_PIECES_MAX: usize = 1000;

/// Where statements are kept from one start of the receiver to the next.
pub trait Journal: Send + Sync {
    /// Keeps these instead of what was kept before. Called before anybody is answered, for every
    /// publish: what it writes must outlive the process, and need not outlive the machine. What it
    /// cannot write costs the ledger precision and the events nothing.
    fn keep(&self, statements: &[&Statement]);
}

/// Keeps nothing: for pipelines that nobody audits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unkept;

impl Journal for Unkept {
    fn keep(&self, _statements: &[&Statement]) {}
}

/// Numbers what one receiver takes in.
#[derive(Debug)]
pub struct Ledger<J> {
    receiver: ReceiverId,
    journal: J,
    countings: Mutex<Countings>,
}

#[derive(Debug)]
struct Countings {
    /// The epoch that a source which is heard for the first time begins with.
    epoch: u64,
    /// The counting of each source that goes on.
    current: BTreeMap<SourceName, u64>,
    /// Every counting that is not over and told, and the version that was told last.
    statements: BTreeMap<Counting, (Statement, u64)>,
}

/// The numbers of one publish, until it is known what came of it.
#[derive(Debug, Default)]
pub struct Page(Vec<(Counting, Range<u64>)>);

impl<J: Journal> Ledger<J> {
    /// Begins to count. `epoch` is the Unix time in milliseconds; `earlier` is what the journal kept
    /// from earlier starts, whose countings are over.
    pub fn start(receiver: ReceiverId, epoch: u64, earlier: Vec<Statement>, journal: J) -> Self {
        let mut statements = BTreeMap::new();
        let mut next_epoch = epoch;
        for mut statement in earlier {
            statement.close();
            // A clock that was set back must not make two countings one.
            next_epoch = next_epoch.max(statement.counting.epoch.saturating_add(1));
            statements.insert(statement.counting.clone(), (statement, 0));
        }
        let countings = Countings { epoch: next_epoch, current: BTreeMap::new(), statements };
        Self { receiver, journal, countings: Mutex::new(countings) }
    }

    /// Numbers the events of a publish.
    pub fn open(&self, events: &mut [Event]) -> Page {
        let mut page = Page::default();
        let mut countings = self.countings();
        for event in events {
            let statement = countings.current(self.receiver, &event.source);
            let sequence = statement.next;
            statement.next += 1;
            event.entry =
                Some(Entry { receiver: self.receiver, epoch: statement.counting.epoch, sequence });
            page.add(&statement.counting, sequence);
        }
        for (counting, range) in &page.0 {
            if let Some((statement, _)) = countings.statements.get_mut(counting) {
                statement.open.add(range.clone());
                statement.version += 1;
            }
        }
        page
    }

    /// What came of it: promised, or void. Kept in the journal when this returns.
    pub fn close(&self, page: Page, is_promised: bool) {
        let mut countings = self.countings();
        for (counting, range) in page.0 {
            let Some((statement, _)) = countings.statements.get_mut(&counting) else { continue };
            statement.open.remove(range.clone());
            if !is_promised {
                statement.void.add(range);
            }
            statement.version += 1;
        }
        countings.turn_pages();
        countings.keep(&self.journal);
    }

    /// Statements that say more than those that were told.
    pub fn untold(&self, outbox: u64) -> Vec<Statement> {
        let mut countings = self.countings();
        let mut untold = Vec::new();
        for (statement, told) in countings.statements.values_mut() {
            // A backlog that shrinks is news as well, wherever anything was counted.
            if statement.outbox != outbox && statement.next > 0 {
                statement.outbox = outbox;
                statement.version += 1;
            }
            if statement.version > *told {
                untold.push(statement.clone());
            }
        }
        untold
    }

    /// These are on their way, durably. A counting that is over need not be kept any longer, unless
    /// some of it waits in the outbox.
    pub fn told(&self, statements: &[Statement]) {
        let mut countings = self.countings();
        for statement in statements {
            let Some((held, told)) = countings.statements.get_mut(&statement.counting) else {
                continue;
            };
            *told = (*told).max(statement.version);
            if held.closed && held.outbox == 0 && held.version == *told {
                countings.statements.remove(&statement.counting);
            }
        }
        countings.keep(&self.journal);
    }

    /// The receiver ends: every counting is over.
    pub fn end(&self) {
        let mut countings = self.countings();
        countings.current.clear();
        for (statement, _) in countings.statements.values_mut() {
            statement.close();
        }
        countings.keep(&self.journal);
    }

    fn countings(&self) -> MutexGuard<'_, Countings> {
        // Whole after every step: a task that died between two leaves numbers open.
        self.countings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Countings {
    fn current(&mut self, receiver: ReceiverId, source: &SourceName) -> &mut Statement {
        // Looked up first: nearly every event finds it, and a name is only copied for the first.
        let known = self.current.get(source).copied();
        let epoch =
            known.unwrap_or_else(|| *self.current.entry(source.clone()).or_insert(self.epoch));
        let counting = Counting { receiver, epoch, source: source.clone() };
        let fresh = |counting: &Counting| (Statement::new(counting.clone()), 0);
        &mut self.statements.entry(counting).or_insert_with_key(fresh).0
    }

    /// Ends countings that have become long to tell. Their sources begin the next one.
    fn turn_pages(&mut self) {
        let current = &mut self.current;
        for (statement, _) in self.statements.values_mut() {
            let counting = &statement.counting;
            if statement.void.pieces() > VOID_PIECES_MAX
                && current.get(&counting.source) == Some(&counting.epoch)
            {
                self.epoch = self.epoch.max(counting.epoch.saturating_add(1));
                current.remove(&counting.source);
            }
            let goes_on = current.get(&counting.source) == Some(&counting.epoch);
            if !goes_on && statement.open.is_empty() {
                statement.close();
            }
        }
    }

    fn keep<J: Journal>(&self, journal: &J) {
        let statements: Vec<&Statement> =
            self.statements.values().map(|(statement, _)| statement).collect();
        journal.keep(&statements);
    }
}

impl Page {
    fn add(&mut self, counting: &Counting, sequence: u64) {
        match self.0.iter_mut().find(|(held, range)| held == counting && range.end == sequence) {
            Some((_, range)) => range.end += 1,
            None => self.0.push((counting.clone(), sequence..sequence + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use treehook_event::{Body, EventType, Identity, Numbers, Timestamp};

    use super::*;

    /// Keeps what it was given last.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Statement>>>);

    impl Journal for Kept {
        fn keep(&self, statements: &[&Statement]) {
            *self.0.lock().unwrap() = statements.iter().map(|one| (*one).clone()).collect();
        }
    }

    fn events(sources: &[&str]) -> Vec<Event> {
        let event = |source: &&str| Event {
            source: SourceName::trusted(source),
            identity: Identity::trusted("e"),
            occurred_at: Timestamp::default(),
            received_at: Timestamp::default(),
            entry: None,
            body: Body::Unknown { event_type: EventType::trusted("a") },
            payload: "null".into(),
        };
        sources.iter().map(event).collect()
    }

    fn publish<J: Journal>(ledger: &Ledger<J>, sources: &[&str], is_promised: bool) -> Vec<Event> {
        let mut batch = events(sources);
        let page = ledger.open(&mut batch);
        ledger.close(page, is_promised);
        batch
    }

    fn promised(statements: &[Statement]) -> Vec<(String, String)> {
        let one = |statement: &Statement| {
            (statement.counting.source.to_string(), statement.promised().to_string())
        };
        statements.iter().map(one).collect()
    }

    #[test]
    fn each_source_counts_from_zero_and_what_failed_is_void() {
        let ledger = Ledger::start(ReceiverId(1), 5, Vec::new(), Unkept);
        let batch = publish(&ledger, &["a", "b", "a"], true);
        let numbers: Vec<u64> = batch.iter().map(|event| event.entry.unwrap().sequence).collect();
        assert_eq!(numbers, [0, 0, 1]);
        publish(&ledger, &["a"], false);
        publish(&ledger, &["a"], true);
        let told = ledger.untold(0);
        assert_eq!(promised(&told), [("a".into(), "0-1,3".into()), ("b".into(), "0".to_owned())]);
        ledger.told(&told);
        assert!(ledger.untold(0).is_empty());
        assert_eq!(ledger.untold(7).len(), 2, "a backlog is news");
    }

    #[test]
    fn what_a_dead_process_had_promised_is_told_by_the_next_one() {
        let kept = Kept::default();
        let ledger = Ledger::start(ReceiverId(1), 5, Vec::new(), kept.clone());
        publish(&ledger, &["a", "a"], true);
        // In flight when it dies.
        let page = ledger.open(&mut events(&["a"]));
        let earlier = kept.0.lock().unwrap().clone();
        drop((page, ledger));

        let next = Ledger::start(ReceiverId(1), 5, earlier, kept.clone());
        publish(&next, &["a"], true);
        let told = next.untold(0);
        assert_eq!(told.iter().map(|one| one.counting.epoch).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(told[0].promised().to_string(), "0-1");
        assert!(told[0].closed && !told[1].closed);
        next.told(&told);
        assert_eq!(kept.0.lock().unwrap().len(), 1, "what is over and told is not kept");
    }

    #[test]
    fn a_counting_that_is_long_to_tell_ends_once_nothing_is_open() {
        let ledger = Ledger::start(ReceiverId(1), 5, Vec::new(), Unkept);
        let page = ledger.open(&mut events(&["a"]));
        for _ in 0..=VOID_PIECES_MAX {
            publish(&ledger, &["a"], false);
            publish(&ledger, &["a"], true);
        }
        assert_eq!(publish(&ledger, &["a"], true)[0].entry.unwrap().epoch, 6);
        assert!(ledger.untold(0).iter().all(|statement| !statement.closed));
        ledger.close(page, true);
        let told = ledger.untold(0);
        assert!(told[0].closed && told[0].open == Numbers::default());
        let below = told[0].next;
        assert_eq!(told[0].promised().count() + told[0].void.count(), below);
    }

    #[test]
    fn an_end_closes_everything() {
        let ledger = Ledger::start(ReceiverId(1), 5, Vec::new(), Unkept);
        publish(&ledger, &["a", "b"], true);
        ledger.end();
        let told = ledger.untold(3);
        assert!(told.iter().all(|statement| statement.closed && statement.outbox == 3));
        ledger.told(&told);
        // They are told once more when the outbox is empty.
        let again = ledger.untold(0);
        assert_eq!(again.len(), 2);
        ledger.told(&again);
        assert!(ledger.untold(1).is_empty());
    }
}

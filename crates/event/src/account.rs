//! The ledger's other half: what became of each number, and whether every promise was kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::deadletter::DeadLetter;
use crate::event::Event;
use crate::ledger::{Counting, Entry, Numbers, Statement};
use crate::names::SourceName;

/// What became of numbers of one counting. A number that comes again, since its message did, may
/// stand in several sets: the first of `applied`, `duplicates` and `dead` says what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settled {
    /// Their events count.
    pub applied: Numbers,
    /// Their events had been recorded before.
    pub duplicates: Numbers,
    /// Their events were set aside.
    pub dead: Numbers,
}

impl Settled {
    /// Adds what others have settled.
    pub fn absorb(&mut self, other: &Self) {
        self.applied.absorb(&other.applied);
        self.duplicates.absorb(&other.duplicates);
        self.dead.absorb(&other.dead);
    }

    /// Every number in it.
    pub fn all(&self) -> Numbers {
        let mut all = self.applied.clone();
        all.absorb(&self.duplicates);
        all.absorb(&self.dead);
        all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.duplicates.is_empty() && self.dead.is_empty()
    }

    fn from(&self, start: u64) -> Self {
        let rest = start..u64::MAX;
        Self {
            applied: self.applied.within(&rest),
            duplicates: self.duplicates.within(&rest),
            dead: self.dead.within(&rest),
        }
    }

    fn outcomes(&self) -> (u64, u64, u64) {
        let duplicates = self.duplicates.minus(&self.applied);
        let dead = self.dead.minus(&self.applied).minus(&self.duplicates);
        (self.applied.count(), duplicates.count(), dead.count())
    }
}

/// What a batch settles, by counting. `fresh` are the positions of the events that count.
pub fn settled(events: &[Event], fresh: &[usize]) -> BTreeMap<Counting, Settled> {
    let mut applied: BTreeMap<Counting, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    let mut fresh = fresh.iter().copied().peekable();
    for (position, event) in events.iter().enumerate() {
        let is_fresh = fresh.next_if_eq(&position).is_some();
        if let Some(entry) = event.entry {
            let (counted, repeated) = applied.entry(counting(&event.source, entry)).or_default();
            if is_fresh { counted } else { repeated }.push(entry.sequence);
        }
    }
    applied
        .into_iter()
        .map(|(counting, (counted, repeated))| {
            let applied = counted.into_iter().collect();
            let duplicates = repeated.into_iter().collect();
            (counting, Settled { applied, duplicates, dead: Numbers::default() })
        })
        .collect()
}

/// What burying these settles.
pub fn settled_dead(letters: &[DeadLetter]) -> BTreeMap<Counting, Settled> {
    let mut settled: BTreeMap<Counting, Settled> = BTreeMap::new();
    for letter in letters {
        if let Some(entry) = letter.entry {
            let dead = &mut settled.entry(counting(&letter.source, entry)).or_default().dead;
            dead.add(entry.sequence..entry.sequence.saturating_add(1));
        }
    }
    settled
}

fn counting(source: &SourceName, entry: Entry) -> Counting {
    Counting { receiver: entry.receiver, epoch: entry.epoch, source: source.clone() }
}

/// The account of one counting: what was promised against what was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Of what.
    pub counting: Counting,
    /// The receiver's latest statement; none has come yet, or it was lost with the receiver.
    pub statement: Option<Statement>,
    /// Every number below this is settled or void, and stands in the three counts.
    pub settled_to: u64,
    /// Events below `settled_to` that count.
    pub applied: u64,
    /// Events below `settled_to` that had been recorded before.
    pub duplicates: u64,
    /// Events below `settled_to` that were set aside.
    pub dead: u64,
    /// What is settled from `settled_to` on.
    pub pending: Settled,
}

impl Account {
    /// Of a counting that nothing is known of yet.
    pub fn new(counting: Counting) -> Self {
        Self {
            counting,
            statement: None,
            settled_to: 0,
            applied: 0,
            duplicates: 0,
            dead: 0,
            pending: Settled::default(),
        }
    }

    /// Takes in what workers settled. What came again long after it was counted changes nothing.
    pub fn settle(&mut self, settled: &Settled) {
        self.pending.absorb(&settled.from(self.settled_to));
    }

    /// Takes in a statement, if it is the latest.
    pub fn state(&mut self, statement: &Statement) {
        let known = self.statement.as_ref().map(|known| known.version);
        if known.is_none_or(|version| version < statement.version) {
            self.statement = Some(statement.clone());
        }
    }

    /// Counts what is complete, so that its numbers need not be kept one by one.
    pub fn advance(&mut self) {
        let to = self.complete_to();
        if to <= self.settled_to {
            return;
        }
        let range = self.settled_to..to;
        let done = Settled {
            applied: self.pending.applied.within(&range),
            duplicates: self.pending.duplicates.within(&range),
            dead: self.pending.dead.within(&range),
        };
        let (applied, duplicates, dead) = done.outcomes();
        self.applied += applied;
        self.duplicates += duplicates;
        self.dead += dead;
        self.pending = self.pending.from(to);
        self.settled_to = to;
    }

    /// Whether nothing is left to come: the counting is over and every promise is kept.
    pub fn is_complete(&self) -> bool {
        let is_closed = self.statement.as_ref().is_some_and(|statement| statement.closed);
        is_closed && self.pending.is_empty() && self.unsettled().is_empty()
    }

    /// Up to where every number is judged by the receiver, and settled unless it is void.
    fn complete_to(&self) -> u64 {
        let Some(statement) = &self.statement else { return self.settled_to };
        let settled = self.pending.all();
        let mut complete = settled.clone();
        complete.absorb(&statement.void);
        // The journal of a receiver that died may be a moment behind what it had handed out.
        let judged = if statement.closed {
            complete.add(statement.next..settled.end());
            statement.next.max(settled.end())
        } else {
            statement.open.first().unwrap_or(statement.next).min(statement.next)
        };
        complete.around(self.settled_to).map_or(self.settled_to, |range| range.end.min(judged))
    }

    /// What was promised and is not settled: on its way, or lost.
    pub fn unsettled(&self) -> Numbers {
        let Some(statement) = &self.statement else { return Numbers::default() };
        statement.promised().within(&(self.settled_to..u64::MAX)).minus(&self.pending.all())
    }

    /// Everything in numbers.
    pub fn balance(&self) -> Balance {
        let (applied, duplicates, dead) = self.pending.outcomes();
        let mut balance = Balance {
            accepted: 0,
            applied: self.applied + applied,
            duplicates: self.duplicates + duplicates,
            dead: self.dead + dead,
            in_flight: self.unsettled().count(),
            void: self.statement.as_ref().map_or(0, |statement| statement.void.count()),
        };
        balance.accepted = balance.applied + balance.duplicates + balance.dead + balance.in_flight;
        balance
    }
}

/// Brings accounts up to date: those that are not complete, and those that something was settled of,
/// which may be new. Answers the ones to be kept anew.
pub fn fold_settled(
    held: impl IntoIterator<Item = Account>,
    settled: &BTreeMap<Counting, Settled>,
) -> Vec<Account> {
    let mut accounts: BTreeMap<&Counting, Account> =
        settled.keys().map(|counting| (counting, Account::new(counting.clone()))).collect();
    let mut others = Vec::new();
    for account in held {
        match accounts.get_mut(&account.counting) {
            Some(fresh) => *fresh = account,
            None => others.push(account),
        }
    }
    let mut changed = Vec::new();
    for mut account in accounts.into_values().chain(others) {
        let before = account.clone();
        if let Some(settled) = settled.get(&account.counting) {
            account.settle(settled);
        }
        account.advance();
        if account != before || account.is_complete() {
            changed.push(account);
        }
    }
    // In order, so that two who keep the same accounts do not wait for each other in a circle.
    changed.sort_by(|one, other| one.counting.cmp(&other.counting));
    changed
}

/// accepted = applied + duplicates + dead + in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Events that were promised, or that arrived though nobody was told so: a publish whose confirm
    /// was lost, a receiver that died before it could answer.
    pub accepted: u64,
    /// Events that count.
    pub applied: u64,
    /// Events that had been recorded before.
    pub duplicates: u64,
    /// Events that were set aside.
    pub dead: u64,
    /// Events that were promised and are not settled.
    pub in_flight: u64,
    /// Numbers that were never promised: their senders were told 503 or nothing.
    pub void: u64,
}

impl std::ops::AddAssign for Balance {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.applied += other.applied;
        self.duplicates += other.duplicates;
        self.dead += other.dead;
        self.in_flight += other.in_flight;
        self.void += other.void;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ReceiverId;

    fn account(next: u64, void: &str, open: &str) -> Account {
        let source = SourceName::trusted("linktree");
        let counting = Counting { receiver: ReceiverId(1), epoch: 2, source };
        let mut account = Account::new(counting.clone());
        account.state(&Statement {
            version: 1,
            next,
            void: void.parse().unwrap(),
            open: open.parse().unwrap(),
            ..Statement::new(counting)
        });
        account
    }

    fn of(applied: &str, duplicates: &str, dead: &str) -> Settled {
        Settled {
            applied: applied.parse().unwrap(),
            duplicates: duplicates.parse().unwrap(),
            dead: dead.parse().unwrap(),
        }
    }

    #[test]
    fn a_gap_is_in_flight_until_it_is_settled() {
        let mut account = account(10, "3", "9");
        account.settle(&of("0-2,6", "5", ""));
        account.advance();
        assert_eq!((account.settled_to, account.applied), (4, 3));
        assert_eq!(account.unsettled().to_string(), "4,7-8");
        let balance = account.balance();
        assert_eq!((balance.accepted, balance.in_flight, balance.void), (8, 3, 1));
        account.settle(&of("4", "", "7-8"));
        account.advance();
        assert_eq!((account.settled_to, account.pending.is_empty()), (9, true));
        assert_eq!((account.applied, account.duplicates, account.dead), (5, 1, 2));
        assert!(account.unsettled().is_empty());
    }

    #[test]
    fn what_comes_again_is_settled_once() {
        let mut account = account(4, "", "");
        account.settle(&of("0-1", "", ""));
        account.settle(&of("2", "0-1,3", "3"));
        assert_eq!(account.balance().applied, 3);
        assert_eq!((account.balance().duplicates, account.balance().dead), (1, 0));
        account.advance();
        account.settle(&of("", "0-3", "1"));
        account.advance();
        let balance = account.balance();
        assert_eq!((balance.applied, balance.duplicates, balance.dead), (3, 1, 0));
        assert_eq!(account.settled_to, 4);
    }

    #[test]
    fn what_was_never_promised_may_arrive_all_the_same() {
        let mut account = account(4, "1", "3");
        account.settle(&of("0-2", "", ""));
        account.advance();
        assert_eq!((account.settled_to, account.applied), (3, 3));
        // It died, and its journal was a moment behind.
        let mut last = account.statement.clone().unwrap();
        last.close();
        account.state(&last);
        account.settle(&of("5", "", ""));
        account.advance();
        assert_eq!((account.settled_to, account.applied), (6, 4));
        assert!(account.unsettled().is_empty());
    }

    #[test]
    fn without_a_statement_nothing_is_missing() {
        let mut account = account(0, "", "");
        account.statement = None;
        account.settle(&of("0-5", "", ""));
        account.advance();
        assert_eq!((account.settled_to, account.balance().accepted), (0, 6));
    }

    #[test]
    fn an_older_statement_changes_nothing() {
        let mut account = account(10, "", "");
        let older = Statement { version: 0, ..Statement::new(account.counting.clone()) };
        account.state(&older);
        assert_eq!(account.statement.as_ref().map(|statement| statement.next), Some(10));
    }
}

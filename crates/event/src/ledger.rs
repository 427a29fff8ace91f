//! The ledger's one half: a receiver numbers what it takes in, and states which numbers it promised.
//!
//! A 202 is a promise. Numbers make it possible to prove that each was kept: a worker tells what
//! became of every number ([`crate::Settled`]), and whatever was promised and never settled is named.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rangemap::RangeSet;
use serde::{Deserialize, Serialize};

use crate::names::SourceName;

/// Text that is no entry or no set of numbers of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a ledger's {0}")]
pub struct BadEntry(&'static str);

/// A receiver, by the random number that its data directory keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(pub u64);

impl fmt::Display for ReceiverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ReceiverId {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        u64::from_str_radix(text, 16).map(Self).map_err(|_| BadEntry("receiver"))
    }
}

/// An event's place in the ledger, beside its source: `receiver.epoch.sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Who took it in.
    pub receiver: ReceiverId,
    /// Since when that receiver counts from 0: Unix milliseconds of its start, never used twice.
    pub epoch: u64,
    /// Which one of its source's in that epoch, from 0.
    pub sequence: u64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.receiver, self.epoch, self.sequence)
    }
}

impl FromStr for Entry {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let number = |part: Option<&str>| part.and_then(|digits| digits.parse().ok());
        let mut parts = text.split('.');
        let receiver = parts.next().ok_or(BadEntry("entry"))?.parse()?;
        match (number(parts.next()), number(parts.next()), parts.next()) {
            (Some(epoch), Some(sequence), None) => Ok(Self { receiver, epoch, sequence }),
            _ => Err(BadEntry("entry")),
        }
    }
}

/// A set of sequence numbers, kept as ranges. As text: `0-99,105`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers(RangeSet<u64>);

impl Numbers {
    /// Adds what is not there yet.
    pub fn add(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.0.insert(range);
        }
    }

    /// Takes out what is there.
    pub fn remove(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.0.remove(range);
        }
    }

    /// Adds another set.
    pub fn absorb(&mut self, other: &Self) {
        self.0.extend(other.ranges());
    }

    /// What is in this set and not in the other.
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for range in other.ranges() {
            rest.remove(range);
        }
        rest
    }

    /// What is in both.
    pub fn within(&self, range: &Range<u64>) -> Self {
        let clipped = self
            .0
            .overlapping(range)
            .map(|held| held.start.max(range.start)..held.end.min(range.end));
        Self(clipped.filter(|held| !held.is_empty()).collect())
    }

    /// The range that holds this number.
    pub fn around(&self, number: u64) -> Option<Range<u64>> {
        self.0.get(&number).cloned()
    }

    /// The ranges, in order, none touching the next.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.start)
    }

    /// One more than the highest number; 0 for none.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// How many ranges: what it costs to keep.
    pub fn pieces(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut set = Self::default();
        let mut run: Option<Range<u64>> = None;
        for number in numbers {
            match &mut run {
                Some(run) if run.end == number => run.end += 1,
                Some(held) => {
                    set.add(std::mem::replace(held, number..number.saturating_add(1)));
                }
                None => run = Some(number..number.saturating_add(1)),
            }
        }
        set.add(run.unwrap_or_default());
        set
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Range { start, end }) in self.0.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            match end - start {
                1 => write!(f, "{comma}{start}")?,
                _ => write!(f, "{comma}{start}-{}", end - 1)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Numbers {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let bad = BadEntry("numbers");
        let mut numbers = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u64 = first.parse().map_err(|_| bad)?;
            let last: u64 = last.parse().map_err(|_| bad)?;
            if first > last {
                return Err(bad);
            }
            numbers.add(first..last.checked_add(1).ok_or(bad)?);
        }
        Ok(numbers)
    }
}

impl Serialize for Numbers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for ReceiverId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReceiverId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One counting: a source at a receiver, from one of its starts to the next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counting {
    /// Who counts.
    pub receiver: ReceiverId,
    /// Since when, in Unix milliseconds.
    pub epoch: u64,
    /// Whose deliveries.
    pub source: SourceName,
}

/// What a receiver says of one counting: which of its numbers it has promised. A later statement
/// tells everything that an earlier one did, so that any of them may be lost on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Of what.
    #[serde(flatten)]
    pub counting: Counting,
    /// Rises with each change: of two statements the higher one stands.
    pub version: u64,
    /// Numbers handed out so far: all below this.
    pub next: u64,
    /// Handed out and never promised: their sender was told 503, and tries again.
    #[serde(default, skip_serializing_if = "Numbers::is_empty")]
    pub void: Numbers,
    /// Handed out, and their sender not answered yet.
    #[serde(default, skip_serializing_if = "Numbers::is_empty")]
    pub open: Numbers,
    /// The counting has ended: nothing more is handed out, and what was open is void.
    #[serde(default)]
    pub closed: bool,
    /// Events in that receiver's outbox, of all its sources.
    #[serde(default)]
    pub outbox: u64,
}

impl Statement {
    /// Of a counting that begins.
    pub fn new(counting: Counting) -> Self {
        Self {
            counting,
            version: 0,
            next: 0,
            void: Numbers::default(),
            open: Numbers::default(),
            closed: false,
            outbox: 0,
        }
    }

    /// The numbers whose senders were answered 202.
    pub fn promised(&self) -> Numbers {
        let mut promised = Numbers::default();
        promised.add(0..self.next);
        promised.minus(&self.void).minus(&self.open)
    }

    /// The counting is over, as after a restart: who was not answered then never will be.
    pub fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.void.absorb(&std::mem::take(&mut self.open));
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_as_they_were_written() {
        for text in ["", "0", "0-99", "0-99,105", "7,9-10"] {
            assert_eq!(text.parse::<Numbers>().unwrap().to_string(), text);
        }
        for text in ["-", "a", "3-1", "1-", "0-18446744073709551615"] {
            assert!(text.parse::<Numbers>().is_err(), "{text}");
        }
    }

    #[test]
    fn neighbours_become_one_range() {
        let numbers: Numbers = [1, 2, 3, 7, 5, 6].into_iter().collect();
        assert_eq!(numbers.to_string(), "1-3,5-7");
        assert_eq!((numbers.count(), numbers.pieces(), numbers.end()), (6, 2, 8));
        assert_eq!(numbers.within(&(2..6)).to_string(), "2-3,5");
    }

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let entry = Entry { receiver: ReceiverId(0xabc), epoch: 1_764_000_000_000, sequence: 7 };
        assert_eq!(entry.to_string(), "0000000000000abc.1764000000000.7");
        assert_eq!(entry.to_string().parse(), Ok(entry));
        for text in ["", "1.2", "1.2.3.4", "x.1.2", "1.-1.2"] {
            assert!(text.parse::<Entry>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_open_at_the_end_was_never_promised() {
        let counting =
            Counting { receiver: ReceiverId(1), epoch: 1, source: SourceName::trusted("linktree") };
        let mut statement = Statement::new(counting);
        statement.next = 10;
        statement.void.add(2..4);
        statement.open.add(8..10);
        assert_eq!(statement.promised().to_string(), "0-1,4-7");
        statement.close();
        assert_eq!((statement.void.to_string().as_str(), statement.open.count()), ("2-3,8-9", 0));
        let text = serde_json::to_string(&statement).unwrap();
        assert_eq!(serde_json::from_str::<Statement>(&text).unwrap(), statement);
    }
}

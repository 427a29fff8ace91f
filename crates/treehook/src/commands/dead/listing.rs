//! Dead letters as people and programs read them.

use std::fmt::Write as _;

use serde_json::{Value, json};
use treehook_event::{DeadLetter, Timestamp};

use super::super::table::{printable, shortened};

/// A letter takes two lines: its id is to be copied, so it stays whole, and 80 columns hold no more
/// beside it.
pub(super) fn table(letters: &[DeadLetter], now: Timestamp) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut text = format!("{:<32}  {:<28}  {:>8}  {:>6}\n", "id", "reason", "attempts", "age");
    let _ = writeln!(text, "  {:<38}  first and last time, UTC", "source, type, profile");
    for letter in letters {
        let (id, reason) = (letter.id(), shortened(&printable(&letter.reason), 28));
        let age = age(now.millis_since(letter.last_at));
        let _ = writeln!(text, "{id}  {reason:<28}  {:>8}  {age:>6}", letter.attempts);
        let whose = letter.profile_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let what = printable(&format!("{} {}{whose}", letter.source, letter.event_type));
        let (first, last) = (minute(letter.first_at), minute(letter.last_at));
        let _ = writeln!(text, "  {:<38}  {first} to {last}", shortened(&what, 38));
    }
    text
}

/// The same as an array, whole.
pub(super) fn json(letters: &[DeadLetter], now: Timestamp) -> String {
    let letters: Vec<Value> = letters.iter().map(|letter| summary(letter, now)).collect();
    format!("{}\n", Value::from(letters))
}

/// One letter with its event.
pub(super) fn whole(letter: &DeadLetter, now: Timestamp) -> String {
    let mut shown = summary(letter, now);
    // What does not parse is shown as the text it is.
    shown["event"] =
        serde_json::from_str(&letter.event).unwrap_or_else(|_| letter.event.clone().into());
    format!("{shown:#}\n")
}

fn summary(letter: &DeadLetter, now: Timestamp) -> Value {
    json!({
        "id": letter.id(),
        "reason": letter.reason,
        "source": letter.source.as_str(),
        "identity": letter.identity.as_str(),
        "type": letter.event_type.as_str(),
        "profile_id": letter.profile_id.as_ref().map(ToString::to_string),
        "occurred_at": letter.occurred_at.to_rfc3339(),
        "first_at": letter.first_at.to_rfc3339(),
        "last_at": letter.last_at.to_rfc3339(),
        "age_seconds": now.millis_since(letter.last_at).max(0) / 1000,
        "attempts": letter.attempts,
    })
}

fn minute(at: Timestamp) -> String {
    at.to_rfc3339().replace('T', " ").chars().take(16).collect()
}

/// How long ago, in the largest unit that is not zero.
fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use treehook_event::Event;

    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        for (seconds, told) in
            [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86_400 * 400, "400 d")]
        {
            assert_eq!(age(seconds * 1000), told);
        }
    }

    #[test]
    fn a_listing_fits_80_columns_and_writes_nothing_to_the_terminal_itself() {
        let now = Timestamp::from_millis(1_795_176_000_000);
        let event = Event::unreadable(b"\x1b[31m", "at line 1", now);
        let mut letter =
            DeadLetter::of(&event, &format!("undecodable:{}\u{1b}", "x".repeat(150)), now);
        letter.attempts = 12_345_678;
        let listed = table(&[letter], now);
        assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
        assert!(!listed.contains('\u{1b}'), "{listed}");
    }
}

//! Leaves Linktree alone after several failures in a row, then lets one request try.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::CircuitRule;

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Circuit {
    rule: CircuitRule,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    opens_at: Option<Instant>,
}

impl Circuit {
    pub(crate) fn new(rule: CircuitRule) -> Self {
        Self { rule, state: Mutex::default() }
    }

    /// Lets a request through, or says for how long none is.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        match state.opens_at {
            Some(opens_at) if opens_at > now => Err(opens_at - now),
            Some(_) => {
                // This one tries; until it is back, or for another rest, the others wait.
                state.opens_at = Some(now + self.rule.rest);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether nothing would be let through.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let state = self.state.lock().expect("nobody panics while holding it");
        state.opens_at.is_some_and(|opens_at| opens_at > now)
    }

    /// Takes note of how a request ended. True when this very one opened the circuit.
    pub(crate) fn note(&self, failed: bool, now: Instant) -> bool {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        if !failed {
            *state = State::default();
            return false;
        }
        state.failures = state.failures.saturating_add(1);
        let opens = state.failures >= self.rule.failures;
        if opens {
            state.opens_at = Some(now + self.rule.rest);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_one_success_closes_it() {
        let rest = Duration::from_secs(30);
        let circuit = Circuit::new(CircuitRule { failures: 5, rest });
        let start = Instant::now();
        for _ in 0..4 {
            assert!(!circuit.note(true, start));
        }
        circuit.note(false, start);
        for _ in 0..4 {
            assert!(!circuit.note(true, start));
        }
        assert_eq!(circuit.admit(start), Ok(()));
        assert!(circuit.note(true, start));
        assert_eq!(circuit.admit(start), Err(rest));
        assert!(circuit.is_open(start));

        // After the rest one request tries, alone.
        let later = start + rest;
        assert_eq!(circuit.admit(later), Ok(()));
        assert_eq!(circuit.admit(later), Err(rest));
        assert!(circuit.note(true, later));
        assert_eq!(circuit.admit(later), Err(rest));

        let much_later = later + rest;
        assert_eq!(circuit.admit(much_later), Ok(()));
        circuit.note(false, much_later);
        assert_eq!(circuit.admit(much_later), Ok(()));
        assert_eq!(circuit.admit(much_later), Ok(()));
    }
}

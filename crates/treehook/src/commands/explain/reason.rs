//! One thing that is wrong with a request, and what to do about it.

/// Holds neither a secret nor a part of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// For programs, in `snake_case`.
    pub(super) name: &'static str,
    /// What is wrong, for people.
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: String,
}

impl Reason {
    /// A reason, its finding and its remedy.
    pub(super) fn new(
        name: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name, what: what.into(), remedy: remedy.into() }
    }
}

/// A header's name or a prefix from outside, fit for a line of text.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let kept: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    format!("`{kept}`")
}

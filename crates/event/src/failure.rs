//! Why work on events stopped, named by what to do about it.

/// What went wrong: a short constant name for metrics and dead letters, and a sentence for people.
/// Neither holds a secret nor personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Cause {
    /// A constant in `snake_case`, fit for a metric label.
    pub reason: &'static str,
    /// A sentence for people.
    pub detail: String,
}

/// Why work on events stopped, named by what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A dependency is unwell; the same work will succeed later. Costs no attempt.
    #[error("{0}")]
    Transient(Cause),
    /// This event can never succeed as it stands.
    #[error("{0}")]
    Poison(Cause),
    /// This process can never succeed as it stands.
    #[error("{0}")]
    Fatal(Cause),
}

impl Failure {
    /// A dependency is unwell.
    pub fn transient(reason: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Transient(Cause { reason, detail: detail.to_string() })
    }

    /// The event is at fault.
    pub fn poison(reason: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Poison(Cause { reason, detail: detail.to_string() })
    }

    /// The process is at fault.
    pub fn fatal(reason: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Fatal(Cause { reason, detail: detail.to_string() })
    }

    /// What went wrong, whoever has to deal with it.
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Transient(cause) | Self::Poison(cause) | Self::Fatal(cause) => cause,
        }
    }
}

//! Why a request to Linktree failed, named by what to do about it.

use std::time::Duration;

/// Why a request to Linktree failed. Holds no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The request may or may not have been carried out.
    #[error(
        "Linktree did not answer within {0:?}; the request may have been carried out all the same: \
         list the webhooks before you try again"
    )]
    TimedOut(Duration),
    /// No connection, or one that broke.
    #[error("Linktree's API cannot be reached: {0}")]
    Unreachable(String),
    /// 401 or 403.
    #[error("Linktree refuses the API key (HTTP {0}): check LINKTREE_API_KEY and what it may do")]
    TokenRefused(u16),
    /// 429, still after every attempt, or with a longer pause than is worth waiting for.
    #[error("too many requests for Linktree{}", later(*.retry_after))]
    RateLimited {
        /// How long Linktree asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// 5xx, still after every attempt.
    #[error("Linktree's API is unwell (HTTP {0}): try again later")]
    Server(u16),
    /// 404.
    #[error("Linktree knows no such webhook, or the base URL is wrong")]
    NotFound,
    /// Any other answer that is not a success.
    #[error("Linktree refuses the request (HTTP {status}): {detail}")]
    Refused {
        /// The status.
        status: u16,
        /// What Linktree says of it.
        detail: String,
    },
    /// A success that says something else than it should.
    #[error("Linktree's answer cannot be read: {0}")]
    Unreadable(String),
    /// Too many failures in a row: nothing was sent.
    #[error("Linktree has failed several times in a row: not trying again for {0:?}")]
    CircuitOpen(Duration),
    /// Nothing was sent.
    #[error("that is not the id of a webhook")]
    BadId,
}

fn later(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!(": it asks to wait {} s", wait.as_secs()),
        None => ": try again in a minute".to_owned(),
    }
}

impl ApiError {
    /// The `outcome` label of `treehook_linktree_requests_total`.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::TokenRefused(_) => "token_refused",
            Self::RateLimited { .. } => "rate_limited",
            Self::Server(_) => "server_error",
            Self::NotFound => "not_found",
            Self::Refused { .. } => "refused",
            Self::Unreadable(_) => "unreadable",
            Self::CircuitOpen(_) => "circuit_open",
            Self::BadId => "bad_id",
        }
    }

    /// Whether the same request may go through a moment later, and is safe to send again: what
    /// timed out may have been carried out.
    pub(crate) fn is_worth_another_try(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Server(_) => true,
            Self::TimedOut(_)
            | Self::Unreachable(_)
            | Self::TokenRefused(_)
            | Self::NotFound
            | Self::Refused { .. }
            | Self::Unreadable(_)
            | Self::CircuitOpen(_)
            | Self::BadId => false,
        }
    }

    /// Whether it says that Linktree is unwell, rather than that the request is wrong.
    pub(crate) fn counts_against_the_service(&self) -> bool {
        match self {
            Self::TimedOut(_)
            | Self::Unreachable(_)
            | Self::RateLimited { .. }
            | Self::Server(_)
            | Self::Unreadable(_) => true,
            Self::TokenRefused(_)
            | Self::NotFound
            | Self::Refused { .. }
            | Self::CircuitOpen(_)
            | Self::BadId => false,
        }
    }
}

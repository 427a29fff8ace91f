//! What the sender did wrong, as CONTRACT.md section 1 answers it.

/// Why a delivery is refused. The receiver turns it into a status; the domain only names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A header that the scheme signs with is not there.
    #[error("a signature header is missing")]
    MissingSignature,
    /// The signature is wrong or malformed; which of the two is nobody's business.
    #[error("the signature does not verify")]
    InvalidSignature,
    /// The signature holds, but not for now.
    #[error("the signed timestamp is outside the tolerance")]
    StaleTimestamp,
    /// Verified, but not an envelope of this platform. Says what and where, never the payload.
    #[error("{0}")]
    MalformedPayload(String),
}

impl Rejection {
    /// The `code` of the problem+json body, and the `outcome` label of the metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::InvalidSignature => "invalid_signature",
            Self::StaleTimestamp => "stale_timestamp",
            Self::MalformedPayload(_) => "malformed_payload",
        }
    }
}

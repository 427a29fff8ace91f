//! What an error of the listening socket asks for.

use std::io::{Error, ErrorKind};

/// Why a connection could not be taken, named by what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptFault {
    /// That peer is gone; the next one is not concerned.
    PeerGone,
    /// This machine is short of something, as file descriptors: it passes.
    Exhausted,
}

/// Unknown means transient: a listener that gave up would accept nothing ever after.
pub(crate) fn accept_fault(error: &Error) -> AcceptFault {
    match error.kind() {
        ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::Interrupted => AcceptFault::PeerGone,
        _ => AcceptFault::Exhausted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_left_is_told_from_a_machine_that_is_short() {
        const TOO_MANY_OPEN_FILES: i32 = 24;
        for (error, fault) in [
            (Error::from(ErrorKind::ConnectionAborted), AcceptFault::PeerGone),
            (Error::from(ErrorKind::ConnectionReset), AcceptFault::PeerGone),
            (Error::from(ErrorKind::ConnectionRefused), AcceptFault::PeerGone),
            (Error::from(ErrorKind::Interrupted), AcceptFault::PeerGone),
            (Error::from_raw_os_error(TOO_MANY_OPEN_FILES), AcceptFault::Exhausted),
            (Error::from(ErrorKind::OutOfMemory), AcceptFault::Exhausted),
            (Error::other("never seen before"), AcceptFault::Exhausted),
        ] {
            assert_eq!(accept_fault(&error), fault, "{error}");
        }
    }
}

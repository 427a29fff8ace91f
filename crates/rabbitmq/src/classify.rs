//! What the client library's errors mean to us: one table, and everything unknown is transient.

use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};
use treehook_event::Failure;

/// Names an error by what to do about it. Waiting loses nothing, so only what can never heal by
/// itself is fatal: a queue or an exchange that exists with other arguments.
pub(crate) fn classify(error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(answer) => classify_answer(answer),
        _ => Failure::transient("broker_down", error),
    }
}

/// The broker answered, and said no.
fn classify_answer(answer: &AMQPError) -> Failure {
    let text = answer.get_message().as_str();
    match answer.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
            if text.contains("inequivalent arg") =>
        {
            Failure::fatal(
                "topology_mismatch",
                format!(
                    "{text}: it exists with other arguments than this version needs. Let the \
                     workers empty it, delete it (`rabbitmqctl delete_queue NAME`, or the \
                     management page for an exchange) and start again"
                ),
            )
        }
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) if text.contains("invalid arg") => {
            Failure::fatal(
                "topology_refused",
                format!("{text}: this broker lacks a feature; RabbitMQ 3.10 or newer is needed"),
            )
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Failure::transient(
            "broker_refused",
            format!(
                "{text}: check the user and the password in the AMQP URL, and that the user may \
                 configure, write and read in its virtual host"
            ),
        ),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Failure::transient(
            "broker_refused",
            format!(
                "{text}: check the virtual host at the end of the AMQP URL (`/%2f` is the \
                 default one) and the user's permissions there"
            ),
        ),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Failure::transient("broker_missing", text),
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => Failure::transient("broker_down", text),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn answer(code: u16, text: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::from_id(code, text.into()).unwrap()).into()
    }

    #[test]
    fn every_error_is_named_by_what_to_do() {
        let inequivalent = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue \
                            'treehook.aggregate' in vhost '/'";
        let table: [(Error, &str, bool); 11] = [
            (answer(406, inequivalent), "topology_mismatch", true),
            (
                answer(406, "PRECONDITION_FAILED - invalid arg 'x-queue-type'"),
                "topology_refused",
                true,
            ),
            (
                answer(406, "PRECONDITION_FAILED - delivery acknowledgement timed out"),
                "broker_down",
                false,
            ),
            (answer(403, "ACCESS_REFUSED - Login was refused"), "broker_refused", false),
            (answer(530, "NOT_ALLOWED - vhost x not found"), "broker_refused", false),
            (answer(404, "NOT_FOUND - no queue"), "broker_missing", false),
            (answer(320, "CONNECTION_FORCED - broker is shutting down"), "broker_down", false),
            (answer(541, "INTERNAL_ERROR"), "broker_down", false),
            (io::Error::from(io::ErrorKind::ConnectionRefused).into(), "broker_down", false),
            (ErrorKind::MissingHeartbeatError.into(), "broker_down", false),
            (ErrorKind::ChannelsLimitReached.into(), "broker_down", false),
        ];
        for (error, reason, fatal) in table {
            let failure = classify(&error);
            assert_eq!(failure.cause().reason, reason, "{error}");
            assert_eq!(matches!(failure, Failure::Fatal(_)), fatal, "{error}");
        }
    }

    #[test]
    fn a_mismatch_names_the_queue_the_argument_and_the_remedy() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q'";
        let failure = classify(&answer(406, text));
        for part in ["x-delivery-limit", "'q'", "delete_queue"] {
            assert!(failure.to_string().contains(part), "{part}");
        }
    }
}

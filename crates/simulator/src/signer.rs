//! Signs deliveries as their sender would, or as a forger would.

use http::{HeaderMap, HeaderName, HeaderValue};
use treehook_event::{Scheme, SchemeError, SigningKey, Timestamp, sign};

use crate::traffic::{Delivery, DeliveryKind};

/// Signs deliveries. Whatever it does is done when a delivery is sent, so that one that is sent
/// again carries a new timestamp.
#[derive(Debug, Clone)]
pub struct Signer {
    scheme: Scheme,
    key: SigningKey,
    forged_key: SigningKey,
    /// The names that signing gives, in its order: read once, not per request.
    names: Vec<HeaderName>,
}

impl Signer {
    /// Signs with this key as this scheme says.
    pub fn new(scheme: Scheme, key: SigningKey) -> Result<Self, SchemeError> {
        scheme.check()?;
        let mut names = Vec::new();
        for (name, value) in sign(&scheme, &key, "msg_1", Timestamp::default(), b"{}") {
            // A prefix may hold what no header can.
            let usable = HeaderValue::from_str(&value).is_ok();
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) if usable => names.push(name),
                Ok(_) | Err(_) => return Err(SchemeError::BadHeader(name)),
            }
        }
        let forged_key = SigningKey::from_bytes(b"a key that no receiver has");
        Ok(Self { scheme, key, forged_key, names })
    }

    /// The headers to send with the delivery at `now`.
    pub(crate) fn headers(&self, delivery: &Delivery, now: Timestamp) -> HeaderMap {
        let key = match delivery.kind {
            DeliveryKind::Fresh | DeliveryKind::Repeat => &self.key,
            DeliveryKind::Forged => &self.forged_key,
        };
        let signed = sign(&self.scheme, key, &delivery.id, now, &delivery.body);
        let value = |text: String| {
            HeaderValue::try_from(text).expect("a value of the same form passed at the start")
        };
        // Room for the four headers that every request has.
        let mut headers = HeaderMap::with_capacity(self.names.len() + 4);
        for (name, (_, text)) in self.names.iter().zip(signed) {
            headers.insert(name.clone(), value(text));
        }
        headers
    }
}

//! A webhook as Linktree keeps it, read leniently: only its id is promised.

use serde::{Deserialize, Deserializer, Serialize};

/// A registered webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// What it is deleted by.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    /// Where its events go.
    #[serde(default)]
    pub url: Option<String>,
    /// Which types it is for.
    #[serde(default)]
    pub events: Vec<String>,
}

/// What is sent to register one.
#[derive(Debug, Serialize)]
pub(crate) struct Registration<'a> {
    pub(crate) url: &'a str,
    pub(crate) events: &'a [String],
}

/// A list, bare or wrapped: the contract does not say which.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Listing {
    Bare(Vec<Webhook>),
    Wrapped {
        #[serde(alias = "webhooks", alias = "items")]
        data: Vec<Webhook>,
    },
}

impl Listing {
    pub(crate) fn into_webhooks(self) -> Vec<Webhook> {
        match self {
            Self::Bare(webhooks) | Self::Wrapped { data: webhooks } => webhooks,
        }
    }
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(match Id::deserialize(deserializer)? {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_bare_or_wrapped() {
        let one = "[{\"id\": 7, \"url\": null, \"more\": true}]";
        for text in [
            one.to_owned(),
            format!("{{\"data\": {one}}}"),
            format!("{{\"webhooks\": {one}, \"total\": 1}}"),
        ] {
            let listing: Listing = serde_json::from_str(&text).unwrap();
            let webhook = Webhook { id: "7".to_owned(), url: None, events: Vec::new() };
            assert_eq!(listing.into_webhooks(), [webhook]);
        }
        assert!(serde_json::from_str::<Listing>("{\"error\": \"no\"}").is_err());
    }
}

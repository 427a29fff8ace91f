//! `webhooks`: registering, listing and deleting webhooks at Linktree's API.

use secrecy::SecretString;
use treehook_linktree::{Client, DEFAULT_BASE_URL, Settings, Webhook};

use super::print;
use super::simulate::usage;
use super::table::Table;
use crate::Trouble;
use crate::cli::{Webhooks, WebhooksCommand};
use crate::config::LogFormat;
use crate::telemetry;

pub(super) async fn webhooks(args: Webhooks) -> Result<(), Trouble> {
    telemetry::start_log("warn", LogFormat::Auto);
    let client = Client::new(&settings(args.sandbox)?).map_err(usage)?;
    match args.command {
        WebhooksCommand::Register { url, events } => {
            let registered = client.register(&url, &events).await.map_err(anyhow::Error::from)?;
            print(&format!("registered {}\n", registered.id))
        }
        WebhooksCommand::List => {
            let webhooks = client.list().await.map_err(anyhow::Error::from)?;
            print(&listed(&webhooks))
        }
        WebhooksCommand::Delete { id } => {
            client.delete(&id).await.map_err(anyhow::Error::from)?;
            print(&format!("deleted {id}\n"))
        }
    }
}

fn settings(sandbox: bool) -> Result<Settings, Trouble> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let token = match (variable("LINKTREE_API_KEY"), variable("LINKTREE_API_KEY_FILE")) {
        (Some(token), _) => token,
        (None, Some(path)) => std::fs::read_to_string(&path)
            .map_err(|error| usage(format!("LINKTREE_API_KEY_FILE: {path}: {error}")))?,
        (None, None) => {
            return Err(usage(
                "LINKTREE_API_KEY is not set: Linktree's API wants the bearer token that a partner has",
            ));
        }
    };
    let mut settings = Settings::new(SecretString::from(token.trim().to_owned()));
    settings.base_url =
        variable("LINKTREE_BASE_URL").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    settings.sandbox = sandbox;
    Ok(settings)
}

fn listed(webhooks: &[Webhook]) -> String {
    if webhooks.is_empty() {
        return "no webhooks are registered\n".to_owned();
    }
    let mut table = Table::new(&["id", "url", "events"]);
    for webhook in webhooks {
        let url = webhook.url.as_deref().unwrap_or("-");
        table.row(&[&webhook.id, url, &webhook.events.join(", ")]);
    }
    table.to_string()
}

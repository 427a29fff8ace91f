//! `doctor`: looks at everything that treehook stands on, one line for each, with the remedy.

mod admin;
mod broker;
mod database;
mod disk;
mod finding;
mod settings;

use std::time::Duration;

pub(super) use admin::Answers;
pub(super) use finding::{Finding, as_json, as_text};

use super::print;
use crate::Trouble;
use crate::cli::Doctor;
use crate::config::{self, Config, Environment, Flags, LogFormat};
use crate::telemetry;
use finding::any_failed;

/// How long any one of them may be waited for.
const WAIT: Duration = Duration::from_secs(5);

/// Exit code 1 if one fails.
pub(super) async fn doctor(args: &Doctor) -> Result<(), Trouble> {
    let log = args.shared.log.as_deref().unwrap_or("error");
    telemetry::start_log(log, LogFormat::Auto);
    let environment = config::environment()?;
    let findings = examine(&args.flags(), &environment).await.findings;
    if args.json {
        print(&format!("{}\n", as_json(&findings)))?;
    } else {
        print(&as_text(&findings).map_err(anyhow::Error::from)?)?;
    }
    if any_failed(&findings) { Err(Trouble::Found) } else { Ok(()) }
}

/// What was found, and what a running treehook answered meanwhile.
#[derive(Debug, Default)]
pub(super) struct Examination {
    pub(super) findings: Vec<Finding>,
    pub(super) answers: Answers,
}

/// Looks at everything.
pub(super) async fn examine(flags: &Flags, environment: &Environment) -> Examination {
    let config = match Config::load(flags, environment) {
        Ok(config) => config,
        Err(mistakes) => {
            let findings = mistakes.iter().map(|mistake| {
                let remedy = "mend it first: nothing else can be looked at";
                Finding::fail("configuration", mistake.0.clone(), remedy)
            });
            return Examination { findings: findings.collect(), answers: Answers::default() };
        }
    };
    let mut findings = vec![settings::origins(&config::settings(flags, environment))];
    findings.extend(settings::secrets(&config, &config::secrets(flags, environment)));
    findings.push(settings::visitor_key(&config));
    findings.push(settings::api_token(&config));
    let (disk, broker, database, answers) = tokio::join!(
        disk::check(&config),
        broker::check(&config),
        database::check(&config),
        admin::ask(&config)
    );
    findings.extend(disk);
    findings.extend(broker);
    findings.extend(database);
    findings.extend(admin::check(&config, &answers));
    Examination { findings, answers }
}

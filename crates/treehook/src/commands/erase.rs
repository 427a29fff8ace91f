//! `erase`: forgets a visitor or a profile, and says what cannot be forgotten and for how long.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::json;
use treehook_event::{Erased, ProfileId, Subjects, VisitorId, VisitorKey};

use super::simulate::usage;
use super::{opened, print};
use crate::Trouble;
use crate::cli::Erase;
use crate::config::Config;
use crate::datadir;

/// Longest period that can be asked for, in days: so long may a sketch count somebody who is forgotten.
const LONGEST_PERIOD_DAYS: u32 = 800;

/// Who is to be forgotten. Never shown: it was typed in, and is to be gone.
enum Subject {
    Visitor(VisitorId),
    Profile(ProfileId),
}

pub(super) async fn erase(args: &Erase) -> Result<(), Trouble> {
    if !args.yes && !std::io::stdin().is_terminal() {
        return Err(usage("--yes is needed where nobody can be asked: it cannot be undone"));
    }
    let (config, store) = opened(&args.shared).await?;
    let subject = subject(args, &config)?;
    if !args.yes && !confirmed(&subject)? {
        return Err(Trouble::Failed("nothing was erased".to_owned()));
    }
    let erased = forget(&store, &subject).await?;
    let text = if args.json { as_json(&erased) } else { as_text(&subject, &erased) };
    print(&text)
}

async fn forget<S: Subjects>(store: &S, subject: &Subject) -> Result<Erased, Trouble> {
    Ok(match subject {
        Subject::Visitor(visitor) => store.erase_visitor(*visitor).await?,
        Subject::Profile(profile) => store.erase_profile(profile).await?,
    })
}

fn subject(args: &Erase, config: &Config) -> Result<Subject, Trouble> {
    let whom = &args.whom;
    if let Some(profile) = &whom.profile {
        let problem = |problem| usage(format!("--profile: {problem}"));
        return ProfileId::new(profile).map(Subject::Profile).map_err(problem);
    }
    let key = visitor_key(config)?;
    let agent = args.user_agent.as_deref();
    let visitor = key.visitor(whom.visitor.as_deref(), whom.ip.as_deref(), agent);
    visitor.map(Subject::Visitor).ok_or_else(|| usage("--visitor, --ip or --profile is needed"))
}

/// The key that pseudonyms were made with. A new one would find nobody, and say that all is well.
fn visitor_key(config: &Config) -> Result<VisitorKey, Trouble> {
    let own = config.data_dir.join("visitor.key");
    if config.visitor_key.is_none() && !own.is_file() {
        return Err(usage(format!(
            "TREEHOOK_VISITOR_KEY is not set and {} is not there: without the receiver's key a \
             visitor cannot be found; set it, or name the receiver's directory with --data-dir",
            own.display()
        )));
    }
    Ok(datadir::visitor_key(&config.data_dir, config.visitor_key.as_ref())?)
}

/// Asks on the terminal.
fn confirmed(subject: &Subject) -> Result<bool, Trouble> {
    let what = match subject {
        Subject::Visitor(_) => "this visitor",
        Subject::Profile(_) => "this profile and everything that was counted for it",
    };
    let mut terminal = std::io::stderr();
    write!(terminal, "Forget {what} for good? Type yes: ")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn as_json(erased: &Erased) -> String {
    let Erased { events, sketches, sketches_kept, dead_letters } = erased;
    let counts = json!({
        "events": events,
        "sketches": sketches,
        "sketches_kept": sketches_kept,
        "dead_letters": dead_letters,
    });
    format!("{counts}\n")
}

fn as_text(subject: &Subject, erased: &Erased) -> String {
    let Erased { events, sketches, sketches_kept, dead_letters } = erased;
    let (whom, of_sketches) = match subject {
        Subject::Visitor(_) => ("the visitor", "rebuilt without them"),
        Subject::Profile(_) => ("the profile", "dropped"),
    };
    let what = if *erased == Erased::default() {
        format!("nothing was kept about {whom}\n")
    } else {
        format!(
            "forgotten is {whom}\n  events        {events} in the archive\n  \
             sketches      {sketches} days of visitors {of_sketches}\n  \
             dead letters  {dead_letters}\n"
        )
    };
    let kept = if *sketches_kept > 0 {
        format!(
            "{sketches_kept} days of visitors are older than the archive: a sketch cannot forget one \
             of its\nvisitors, and nothing is left to rebuild it from. The visitor may still be \
             counted there among\nothers, and cannot be told from them, until the day leaves every \
             period that is asked for\n({LONGEST_PERIOD_DAYS} days at most).\n"
        )
    } else {
        String::new()
    };
    format!(
        "{what}{kept}Events that are still on their way come after this: repeat it once queue and \
         outbox are empty.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_forgotten_is_said_with_its_end() {
        let subject = Subject::Visitor(VisitorId(7));
        let none = as_text(&subject, &Erased::default());
        assert!(none.starts_with("nothing was kept about the visitor"), "{none}");
        let erased = Erased { events: 3, sketches: 2, sketches_kept: 5, dead_letters: 1 };
        let some = as_text(&subject, &erased);
        for part in [
            "3 in the archive",
            "2 days of visitors rebuilt",
            "5 days of visitors are older",
            "800 days",
        ] {
            assert!(some.contains(part), "{part}: {some}");
        }
        assert!(!as_text(&subject, &Erased { sketches_kept: 0, ..erased }).contains("800 days"));
    }
}

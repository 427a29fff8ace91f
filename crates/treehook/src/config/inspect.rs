//! The configuration as it was given: where each setting came from, and secrets as they were written.

use secrecy::{ExposeSecret as _, SecretString};
use treehook_event::{Scheme, SourceName};

use super::layers::{Layers, Mistakes, SECRETS, SETTINGS};
use super::source::{FIELDS, SpelledOut};
use super::{Environment, Flags, TOLERANCE, value};

/// One setting, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// As it stands in the file; of a further source as `source[0].name`.
    pub(crate) name: String,
    /// Who gave it, as `TREEHOOK_LISTEN`; `default` when nobody did.
    pub(crate) origin: String,
    /// What was given; of a secret only whether it is set.
    pub(crate) value: String,
}

/// The secrets of one source, as they were written.
#[derive(Debug)]
pub(crate) struct Written {
    /// Whose.
    pub(crate) source: String,
    /// Where they were written.
    pub(crate) origin: String,
    /// Comma-separated, newest first.
    pub(crate) value: SecretString,
}

/// Every setting with its origin. What is wrong with them is for [`super::Config::load`] to say.
pub(crate) fn settings(flags: &Flags, environment: &Environment) -> Vec<Setting> {
    let mut ignored = Mistakes::default();
    let layers = Layers::read(flags, environment, &mut ignored);
    let mut shown: Vec<Setting> = SETTINGS
        .iter()
        .map(|key| {
            let given = layers.given(key, &mut ignored);
            let is_secret = SECRETS.contains(key);
            let (origin, value) = match given {
                Some(given) if is_secret => (given.origin, "set".to_owned()),
                Some(given) => (given.origin, given.value.trim().to_owned()),
                None if is_secret => ("default".to_owned(), "not set".to_owned()),
                None => ("default".to_owned(), "default".to_owned()),
            };
            Setting { name: (*key).to_owned(), origin, value }
        })
        .collect();
    for (index, table) in tables(&layers).enumerate() {
        for (key, value) in table {
            let value = match key.as_str() {
                "secret" => "set".to_owned(),
                known if FIELDS.contains(&known) => value.to_string(),
                // Perhaps a secret under a name with a typing error.
                _ => "not shown".to_owned(),
            };
            let name = format!("source[{index}].{key}");
            shown.push(Setting { name, origin: layers.file_name.clone(), value });
        }
    }
    shown
}

/// The secrets of every source that has any, as they were written.
pub(crate) fn secrets(flags: &Flags, environment: &Environment) -> Vec<Written> {
    let mut ignored = Mistakes::default();
    let layers = Layers::read(flags, environment, &mut ignored);
    let mut all = Vec::new();
    for source in ["linktree", "dub", "standard"] {
        if let Some(given) = layers.given(&format!("{source}_secret"), &mut ignored) {
            all.push(written(source, given.origin, given.value));
        }
    }
    for table in tables(&layers) {
        let name = table.get("name").and_then(toml::Value::as_str).map(SourceName::new);
        let Some(Ok(name)) = name else { continue };
        let spelled = SpelledOut { table, place: layers.file_name.clone(), layers: &layers };
        if let Some(given) = spelled.secrets(&name, &mut ignored) {
            // A table with the name of a built-in source replaces it.
            all.retain(|known: &Written| known.source != name.as_str());
            all.push(written(name.as_str(), given.origin, given.value));
        }
    }
    all
}

/// Everything that must not be shown anywhere: each secret by itself, and the passwords in URLs.
pub(crate) fn secret_values(flags: &Flags, environment: &Environment) -> Vec<SecretString> {
    let mut ignored = Mistakes::default();
    let layers = Layers::read(flags, environment, &mut ignored);
    let mut values: Vec<String> = SECRETS
        .iter()
        .filter_map(|key| layers.given(key, &mut ignored))
        .map(|given| given.value)
        .chain(secrets(flags, environment).iter().map(|w| w.value.expose_secret().to_owned()))
        .collect();
    let passwords = values.iter().filter_map(|value| {
        let url = url::Url::parse(value.trim()).ok()?;
        url.password().map(str::to_owned)
    });
    let passwords: Vec<String> = passwords.collect();
    values.extend(passwords);
    let parts = values.iter().flat_map(|value| value.split(',').map(str::trim));
    parts.filter(|part| !part.is_empty()).map(SecretString::from).collect()
}

/// The tolerance of sources that name none of their own.
pub(crate) fn tolerance_seconds(flags: &Flags, environment: &Environment) -> u64 {
    let mut ignored = Mistakes::default();
    let layers = Layers::read(flags, environment, &mut ignored);
    layers.value("tolerance", TOLERANCE, value::duration, &mut ignored).as_secs()
}

/// The scheme that a `[[source]]` table spells out.
pub(crate) fn scheme_of(table: &toml::Table, place: &str) -> Result<Scheme, Mistakes> {
    // An empty file: what the working directory's own says is of no matter here.
    let flags = Flags::from([("config", "/dev/null".to_owned())]);
    let environment = Environment::new();
    let mut mistakes = Mistakes::default();
    let layers = Layers::read(&flags, &environment, &mut mistakes);
    let spelled = SpelledOut { table, place: place.to_owned(), layers: &layers };
    let scheme = spelled.scheme(&SourceName::trusted("custom"), &mut mistakes);
    scheme.ok_or(mistakes)
}

fn tables<'a>(layers: &'a Layers<'_>) -> impl Iterator<Item = &'a toml::Table> {
    let tables = layers.file.get("source").and_then(toml::Value::as_array);
    tables.into_iter().flatten().filter_map(toml::Value::as_table)
}

fn written(source: &str, origin: String, value: String) -> Written {
    Written { source: source.to_owned(), origin, value: SecretString::from(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(file: &str) -> (tempfile::TempDir, Flags) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("treehook.toml");
        std::fs::write(&path, file).unwrap();
        let flags = Flags::from([("config", path.display().to_string())]);
        (dir, flags)
    }

    fn environment() -> Environment {
        let variables = [
            ("TREEHOOK_DUB_SECRET", "dub-marker-1,dub-marker-2"),
            ("TREEHOOK_AMQP_URL", "amqp://ann:rabbit-marker@mq"),
            ("TREEHOOK_LISTEN", ":81"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    const FILE: &str = "api_token = \"token-marker-0123456789\"\n\
        [[source]]\nname = \"one\"\nscheme = \"dub\"\nsecret = \"one-marker\"\n";

    #[test]
    fn settings_name_their_origin_and_show_no_secret() {
        let (_dir, flags) = given(FILE);
        let shown = settings(&flags, &environment());
        assert!(!format!("{shown:?}").contains("marker"), "{shown:?}");
        let of = |name: &str| shown.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!(
            (of("listen").origin.as_str(), of("listen").value.as_str()),
            ("TREEHOOK_LISTEN", ":81")
        );
        assert_eq!(of("prefetch").origin, "default");
        assert_eq!(of("visitor_key").value, "not set");
        assert!(of("api_token").origin.ends_with("treehook.toml: api_token"));
        assert_eq!(of("source[0].secret").value, "set");
    }

    #[test]
    fn every_secret_is_known_by_itself() {
        let (_dir, flags) = given(FILE);
        let values = secret_values(&flags, &environment());
        let values: Vec<&str> = values.iter().map(SecretString::expose_secret).collect();
        for secret in [
            "dub-marker-1",
            "dub-marker-2",
            "rabbit-marker",
            "one-marker",
            "token-marker-0123456789",
        ] {
            assert!(values.contains(&secret), "{secret}");
        }
        let sources: Vec<String> =
            secrets(&flags, &environment()).into_iter().map(|written| written.source).collect();
        assert_eq!(sources, ["dub", "one"]);
    }
}

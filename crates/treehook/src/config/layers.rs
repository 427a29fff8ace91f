//! The layers of the configuration, and where each value came from.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{Environment, Flags};

/// Every setting that can stand at the top of the file, and in the environment as `TREEHOOK_` and its upper case.
pub(super) const SETTINGS: [&str; 23] = [
    "listen",
    "admin_listen",
    "data_dir",
    "amqp_url",
    "database_url",
    "linktree_secret",
    "dub_secret",
    "standard_secret",
    "tolerance",
    "visitor_key",
    "api_token",
    "max_body",
    "max_in_flight",
    "outbox_max",
    "batch_max",
    "prefetch",
    "hold",
    "retention",
    "log",
    "log_format",
    "personal_keys",
    "amqp_prefix",
    "amqp_compression",
];

/// Settings whose value may stand in a file of its own: `X_FILE`.
pub(super) const SECRETS: [&str; 7] = [
    "amqp_url",
    "database_url",
    "linktree_secret",
    "dub_secret",
    "standard_secret",
    "visitor_key",
    "api_token",
];

/// The file that is read when `--config` names none.
const DEFAULT_FILE: &str = "treehook.toml";

/// One thing that is wrong with the configuration: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake(pub(crate) String);

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// One mistake alone.
    pub(crate) fn one(text: impl Into<String>) -> Self {
        Self(vec![Mistake(text.into())])
    }

    pub(super) fn add(&mut self, text: String) {
        self.0.push(Mistake(text));
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

/// A value as somebody gave it, and who that was.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: String,
}

/// The layers, the strongest first.
pub(super) struct Layers<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
    pub(super) file: toml::Table,
    pub(super) file_name: String,
}

impl<'a> Layers<'a> {
    /// Reads the file, and refuses what nobody knows.
    pub(super) fn read(
        flags: &'a Flags,
        environment: &'a Environment,
        mistakes: &mut Mistakes,
    ) -> Self {
        let named = flags.get("config").or_else(|| environment.get("TREEHOOK_CONFIG"));
        let path = PathBuf::from(named.map_or(DEFAULT_FILE, String::as_str));
        let file_name = path.display().to_string();
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => text.parse().unwrap_or_else(|error: toml::de::Error| {
                mistakes.add(format!("{file_name}: {}", where_in(&text, &error)));
                toml::Table::new()
            }),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                toml::Table::new()
            }
            Err(error) => {
                mistakes.add(format!("{file_name} (--config): cannot be read: {error}"));
                toml::Table::new()
            }
        };
        let layers = Self { flags, environment, file, file_name };
        layers.refuse_unknown(mistakes);
        layers
    }

    fn refuse_unknown(&self, mistakes: &mut Mistakes) {
        for key in self.file.keys() {
            let is_setting = SETTINGS.contains(&key.as_str()) || key == "source";
            let of_secret = key.strip_suffix("_file").is_some_and(|key| SECRETS.contains(&key));
            if !is_setting && !of_secret {
                mistakes.add(format!(
                    "{}: unknown setting `{key}`{}",
                    self.file_name,
                    nearest(key, str::to_owned)
                ));
            }
        }
        for name in self.environment.keys() {
            let Some(rest) = name.strip_prefix("TREEHOOK_") else { continue };
            if !self.knows_variable(rest) {
                let hint = nearest(&rest.to_ascii_lowercase(), |known| {
                    format!("TREEHOOK_{}", known.to_ascii_uppercase())
                });
                mistakes.add(format!("environment: unknown variable {name}{hint}"));
            }
        }
    }

    fn knows_variable(&self, rest: &str) -> bool {
        let key = rest.to_ascii_lowercase();
        let base = key.strip_suffix("_file").unwrap_or(&key);
        let of_source = self
            .source_names()
            .any(|name| base.strip_suffix("_secret").is_some_and(|b| b == name.replace('-', "_")));
        // Kubernetes sets these for services that are called treehook or treehook-something; the
        // tests have their own.
        let foreign = key == "config"
            || key == "port"
            || key.ends_with("_port")
            || key.starts_with("port_")
            || key.contains("_port_")
            || key.starts_with("test_")
            || key.contains("service_host")
            || key.contains("service_port");
        let is_setting = SETTINGS.contains(&key.as_str());
        is_setting || SECRETS.contains(&base) || of_source || foreign
    }

    /// The names that `[[source]]` tables give.
    pub(super) fn source_names(&self) -> impl Iterator<Item = &str> {
        let tables = self.file.get("source").and_then(toml::Value::as_array);
        tables.into_iter().flatten().filter_map(|table| table.get("name")?.as_str())
    }

    /// Who gave this setting, and what.
    pub(super) fn given(&self, key: &str, mistakes: &mut Mistakes) -> Option<Given> {
        if let Some(value) = self.flags.get(key) {
            let origin = format!("--{}", key.replace('_', "-"));
            return Some(Given { value: value.clone(), origin });
        }
        self.variable(&key.to_ascii_uppercase(), SECRETS.contains(&key), mistakes)
            .or_else(|| self.in_file(key, mistakes))
    }

    /// `TREEHOOK_NAME`, or the content of the file that `TREEHOOK_NAME_FILE` names.
    pub(super) fn variable(
        &self,
        name: &str,
        secret: bool,
        mistakes: &mut Mistakes,
    ) -> Option<Given> {
        let variable = format!("TREEHOOK_{name}");
        if let Some(value) = self.environment.get(&variable).filter(|value| !value.is_empty()) {
            return Some(Given { value: value.clone(), origin: variable });
        }
        let variable = format!("{variable}_FILE");
        let path = self.environment.get(&variable).filter(|path| secret && !path.is_empty())?;
        content_of(Path::new(path), variable, mistakes)
    }

    fn in_file(&self, key: &str, mistakes: &mut Mistakes) -> Option<Given> {
        let origin = format!("{}: {key}", self.file_name);
        if let Some(value) = self.file.get(key) {
            return text_of(value, origin, mistakes);
        }
        let path = self.file.get(&format!("{key}_file")).filter(|_| SECRETS.contains(&key))?;
        let path = text_of(path, format!("{origin}_file"), mistakes)?;
        content_of(Path::new(&path.value), path.origin, mistakes)
    }

    /// The setting, parsed. A value that does not parse is a mistake, and the default goes on.
    pub(super) fn value<T>(
        &self,
        key: &str,
        default: &str,
        parse: fn(&str) -> Result<T, String>,
        mistakes: &mut Mistakes,
    ) -> T {
        if let Some(given) = self.given(key, mistakes) {
            match parse(given.value.trim()) {
                Ok(value) => return value,
                Err(problem) => {
                    mistakes.add(format!("{}: `{}`: {problem}", given.origin, given.value.trim()));
                }
            }
        }
        parse(default).expect("every default parses")
    }

    /// A setting whose value is never shown.
    pub(super) fn secret(
        &self,
        key: &str,
        check: fn(&str) -> Result<(), String>,
        mistakes: &mut Mistakes,
    ) -> Option<SecretString> {
        let given = self.given(key, mistakes)?;
        let value = given.value.trim();
        match check(value) {
            Ok(()) => Some(SecretString::from(value.to_owned())),
            Err(problem) => {
                mistakes.add(format!("{}: {problem}", given.origin));
                None
            }
        }
    }

    /// A mistake that shows only once settings are looked at together.
    pub(super) fn blame(&self, key: &str, problem: &str, mistakes: &mut Mistakes) {
        let origin = self
            .given(key, &mut Mistakes::default())
            .map_or_else(|| format!("TREEHOOK_{}", key.to_ascii_uppercase()), |given| given.origin);
        mistakes.add(format!("{origin}: {problem}"));
    }
}

/// A value of the file as text: lists are joined with commas, as in the environment.
pub(super) fn text_of(
    value: &toml::Value,
    origin: String,
    mistakes: &mut Mistakes,
) -> Option<Given> {
    let text = match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            items.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>().map(|v| v.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    };
    if text.is_none() {
        mistakes.add(format!("{origin}: expected a text, found a {}", value.type_str()));
    }
    text.map(|value| Given { value, origin })
}

pub(super) fn content_of(path: &Path, origin: String, mistakes: &mut Mistakes) -> Option<Given> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Given { value: text.trim_end().to_owned(), origin }),
        Err(error) => {
            mistakes.add(format!("{origin}: {} cannot be read: {error}", path.display()));
            None
        }
    }
}

/// Where the file stops being TOML; without the line itself, which may hold a secret.
fn where_in(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
    format!("line {line}: {}", error.message())
}

/// The setting that was probably meant.
pub(super) fn nearest(key: &str, spelled: impl Fn(&str) -> String) -> String {
    let shared = |known: &str| {
        let same = known.chars().zip(key.chars()).take_while(|(a, b)| a == b).count();
        let sorted = |text: &str| {
            let mut chars: Vec<char> = text.chars().collect();
            chars.sort_unstable();
            chars
        };
        if sorted(known) == sorted(key) { usize::MAX } else { same }
    };
    let best = SETTINGS.iter().max_by_key(|known| shared(known)).filter(|known| shared(known) >= 3);
    best.map_or_else(String::new, |known| format!(" (did you mean `{}`?)", spelled(known)))
}

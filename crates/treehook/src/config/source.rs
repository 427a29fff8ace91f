//! Sources from the configuration: the built-in ones by their secrets, others spelled out as `[[source]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use treehook_event::{
    Encoding, KeyEncoding, Platform, Scheme, SigningKey, Source, SourceName, TimestampPlace,
};

use super::layers::{Given, Layers, Mistakes, content_of, text_of};
use super::value;

/// What a `[[source]]` table may hold.
pub(super) const FIELDS: [&str; 15] = [
    "name",
    "scheme",
    "secret",
    "secret_file",
    "tolerance",
    "signature_header",
    "timestamp_header",
    "timestamp_prefix",
    "id_header",
    "encoding",
    "prefix",
    "separator",
    "template",
    "key_encoding",
    "envelope",
];

/// Active secrets of one source, at most: every delivery is checked against each of them.
const SECRETS_MAX: usize = 8;

/// Every source that has a secret.
pub(super) fn all(
    layers: &Layers<'_>,
    tolerance: Duration,
    mistakes: &mut Mistakes,
) -> Vec<Source> {
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    for (name, scheme) in
        [("linktree", Scheme::linktree()), ("dub", Scheme::dub()), ("standard", Scheme::standard())]
    {
        // A table named as a built-in source replaces it: any part of it can be overridden, how its secret is read too.
        if layers.source_names().any(|spelled| spelled == name) {
            continue;
        }
        if let Some(given) = layers.given(&format!("{name}_secret"), mistakes) {
            let name_of = SourceName::trusted(name);
            let keys = keys(&given, scheme.key_encoding, mistakes);
            if !keys.is_empty() {
                let tolerance_seconds = tolerance.as_secs();
                let source = Source { name: name_of, scheme, keys, tolerance_seconds };
                sources.insert(name.to_owned(), source);
            }
        }
    }
    let tables = match layers.file.get("source") {
        None => &[][..],
        Some(toml::Value::Array(tables)) => tables.as_slice(),
        Some(_) => {
            mistakes.add(format!("{}: `source`: write it as [[source]]", layers.file_name));
            &[]
        }
    };
    let mut names = BTreeSet::new();
    for (index, table) in tables.iter().enumerate() {
        let place = format!("{}: source[{index}]", layers.file_name);
        let Some(table) = table.as_table() else {
            mistakes.add(format!("{place}: write it as [[source]]"));
            continue;
        };
        let spelled = SpelledOut { table, place, layers };
        let Some(source) = spelled.source(tolerance, mistakes) else { continue };
        if names.insert(source.name.to_string()) {
            sources.insert(source.name.to_string(), source);
        } else {
            mistakes.add(format!("{}: the name `{}` is taken", spelled.place, source.name));
        }
    }
    sources.into_values().collect()
}

fn keys(given: &Given, encoding: KeyEncoding, mistakes: &mut Mistakes) -> Vec<SigningKey> {
    let secrets: Vec<&str> = given.value.split(',').map(str::trim).collect();
    if secrets.len() > SECRETS_MAX {
        mistakes.add(format!("{}: at most {SECRETS_MAX} secrets", given.origin));
        return Vec::new();
    }
    let mut keys = Vec::with_capacity(secrets.len());
    for (position, secret) in secrets.iter().enumerate() {
        match SigningKey::decode(secret, encoding) {
            Ok(key) => keys.push(key),
            Err(problem) => mistakes.add(format!("{}: secret {position}: {problem}", given.origin)),
        }
    }
    keys
}

/// One `[[source]]` table.
pub(super) struct SpelledOut<'a> {
    pub(super) table: &'a toml::Table,
    pub(super) place: String,
    pub(super) layers: &'a Layers<'a>,
}

impl SpelledOut<'_> {
    fn source(&self, tolerance: Duration, mistakes: &mut Mistakes) -> Option<Source> {
        for key in self.table.keys() {
            if !FIELDS.contains(&key.as_str()) {
                mistakes.add(format!("{}: unknown setting `{key}`", self.place));
            }
        }
        let Some(name) = self.text("name", mistakes) else {
            mistakes.add(format!("{}: `name` is missing", self.place));
            return None;
        };
        let name = match SourceName::new(&name) {
            Ok(name) => name,
            Err(problem) => {
                mistakes.add(format!("{}: `name`: {problem}", self.place));
                return None;
            }
        };
        let scheme = self.scheme(&name, mistakes)?;
        let tolerance_seconds = match self.text("tolerance", mistakes).map(|t| value::duration(&t))
        {
            None => tolerance.as_secs(),
            Some(Ok(own)) => own.as_secs(),
            Some(Err(problem)) => {
                mistakes.add(format!("{}: `tolerance`: {problem}", self.place));
                return None;
            }
        };
        let Some(secrets) = self.secrets(&name, mistakes) else {
            let variable = format!("TREEHOOK_{}_SECRET", variable_part(&name));
            mistakes.add(format!(
                "{}: no secret: set `secret`, `secret_file` or {variable}",
                self.place
            ));
            return None;
        };
        let keys = keys(&secrets, scheme.key_encoding, mistakes);
        (!keys.is_empty()).then_some(Source { name, scheme, keys, tolerance_seconds })
    }

    fn text(&self, key: &str, mistakes: &mut Mistakes) -> Option<String> {
        let value = self.table.get(key)?;
        text_of(value, format!("{}: `{key}`", self.place), mistakes).map(|given| given.value)
    }

    pub(super) fn secrets(&self, name: &SourceName, mistakes: &mut Mistakes) -> Option<Given> {
        let variable = format!("{}_SECRET", variable_part(name));
        if let Some(given) = self.layers.variable(&variable, true, mistakes) {
            return Some(given);
        }
        let origin = format!("{}: `secret`", self.place);
        if let Some(value) = self.table.get("secret") {
            return text_of(value, origin, mistakes);
        }
        if let Some(path) = self.text("secret_file", mistakes) {
            let origin = format!("{}: `secret_file`", self.place);
            return content_of(std::path::Path::new(&path), origin, mistakes);
        }
        // A table that overrides a part of a built-in source may leave the secret where it is.
        let built_in = format!("{name}_secret");
        super::layers::SETTINGS
            .contains(&built_in.as_str())
            .then(|| self.layers.given(&built_in, mistakes))?
    }

    /// The named scheme, or a bare one, with whatever the table says of it.
    pub(super) fn scheme(&self, name: &SourceName, mistakes: &mut Mistakes) -> Option<Scheme> {
        // A table that carries a built-in name overrides parts of that scheme unless it names another.
        let named = self.text("scheme", mistakes);
        let built_in = ["linktree", "dub", "standard"].contains(&name.as_str());
        let named = named.or_else(|| built_in.then(|| name.to_string()));
        let mut scheme = match named.as_deref() {
            Some("linktree") => Scheme::linktree(),
            Some("dub") => Scheme::dub(),
            Some("standard") => Scheme::standard(),
            Some("custom") | None => bare(),
            Some(_) => {
                let known = "linktree, dub, standard or custom";
                mistakes.add(format!("{}: `scheme`: expected {known}", self.place));
                return None;
            }
        };
        let before = mistakes.iter().count();
        self.override_headers(&mut scheme, mistakes);
        self.override_encodings(&mut scheme, mistakes);
        if scheme.signature_header.is_empty() {
            mistakes.add(format!(
                "{}: `signature_header` is missing: it names the header that holds \
                the signature",
                self.place
            ));
        } else if let Err(problem) = scheme.check() {
            mistakes.add(format!("{}: {problem}", self.place));
        }
        (mistakes.iter().count() == before).then_some(scheme)
    }

    fn override_headers(&self, scheme: &mut Scheme, mistakes: &mut Mistakes) {
        let lower = |text: String| text.to_ascii_lowercase();
        if let Some(name) = self.text("signature_header", mistakes) {
            scheme.signature_header = lower(name);
        }
        if let Some(name) = self.text("id_header", mistakes) {
            scheme.id_header = (!name.is_empty()).then(|| lower(name));
        }
        if let Some(name) = self.text("timestamp_header", mistakes) {
            scheme.timestamp = if name.is_empty() {
                TimestampPlace::Nowhere
            } else {
                TimestampPlace::Header(lower(name))
            };
        }
        if let Some(prefix) = self.text("timestamp_prefix", mistakes) {
            scheme.timestamp = TimestampPlace::SignatureElement(prefix);
        }
        if let Some(prefix) = self.text("prefix", mistakes) {
            scheme.prefix = prefix;
        }
        match self.text("separator", mistakes).as_deref() {
            None => (),
            Some("") => scheme.separator = None,
            Some(text) if text.len() == 1 => scheme.separator = text.chars().next(),
            Some(_) => mistakes.add(format!("{}: `separator`: expected one character", self.place)),
        }
        if let Some(template) = self.text("template", mistakes) {
            match Scheme::parse_template(&template) {
                Ok(parts) => scheme.template = parts,
                Err(problem) => mistakes.add(format!("{}: `template`: {problem}", self.place)),
            }
        }
    }

    fn override_encodings(&self, scheme: &mut Scheme, mistakes: &mut Mistakes) {
        let hex = ("hex", Encoding::Hex);
        self.choose(
            "encoding",
            &[hex, ("base64", Encoding::Base64)],
            &mut scheme.encoding,
            mistakes,
        );
        let keys =
            [("utf8", KeyEncoding::Utf8), ("whsec", KeyEncoding::Whsec), ("hex", KeyEncoding::Hex)];
        self.choose("key_encoding", &keys, &mut scheme.key_encoding, mistakes);
        let platforms = [
            ("linktree", Platform::Linktree),
            ("dub", Platform::Dub),
            ("standard", Platform::Standard),
        ];
        self.choose("envelope", &platforms, &mut scheme.platform, mistakes);
    }

    fn choose<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        chosen: &mut T,
        mistakes: &mut Mistakes,
    ) {
        let Some(text) = self.text(key, mistakes) else { return };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            *chosen = *choice;
        } else {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let known = names.join(", ");
            mistakes.add(format!("{}: `{key}`: expected one of {known}", self.place));
        }
    }
}

/// A sender that signs the bare body in hex, as many do; `signature_header` has to be named.
fn bare() -> Scheme {
    Scheme { signature_header: String::new(), platform: Platform::Linktree, ..Scheme::dub() }
}

fn variable_part(name: &SourceName) -> String {
    name.as_str().to_ascii_uppercase().replace('-', "_")
}

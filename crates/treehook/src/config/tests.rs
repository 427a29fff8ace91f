//! The layers, their precedence, and what is said when something is wrong.

use secrecy::ExposeSecret as _;
use treehook_event::{Scheme, TimestampPlace};

use super::*;

fn load(environment: &[(&str, &str)], file: &str) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("treehook.toml");
    std::fs::write(&path, file).unwrap();
    let flags = Flags::from([("config", path.display().to_string())]);
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&flags, &environment)
        .map_err(|mistakes| mistakes.iter().map(|mistake| mistake.0.clone()).collect())
}

fn complaint(environment: &[(&str, &str)], file: &str) -> String {
    load(environment, file).expect_err("must be refused").join("\n")
}

#[test]
fn defaults_are_those_of_the_interface() {
    let config = load(&[], "").unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.max_body, 256 * 1024);
    assert_eq!(config.max_in_flight, 4096);
    assert_eq!(config.outbox_max, 10 << 30);
    assert_eq!(config.retention_days(), 400);
    assert!(config.sources.is_empty());
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let file = "max_in_flight = 3\nlog = \"warn\"\nretention = \"30d\"";
    let config = load(&[("TREEHOOK_MAX_IN_FLIGHT", "2"), ("TREEHOOK_LOG", "")], file).unwrap();
    assert_eq!(config.max_in_flight, 2);
    assert_eq!(config.log, "warn", "an empty variable says nothing");
    assert_eq!(config.retention_days(), 30);
    assert_eq!(load(&[("TREEHOOK_RETENTION", "36h")], "").unwrap().retention_days(), 2);
    let flags = Flags::from([("max_in_flight", "1".to_owned())]);
    let environment = Environment::from([("TREEHOOK_MAX_IN_FLIGHT".into(), "2".into())]);
    assert_eq!(Config::load(&flags, &environment).unwrap().max_in_flight, 1);
}

#[test]
fn every_mistake_is_named_with_its_origin_at_once() {
    let said = complaint(
        &[("TREEHOOK_MAX_BODY", "lots"), ("TREEHOOK_LISTNE", "x"), ("TREEHOOK_PREFETCH", "0")],
        "tolerence = \"1s\"\nretention = \"1h\"\n",
    );
    for part in [
        "TREEHOOK_MAX_BODY: `lots`: expected a size",
        "unknown variable TREEHOOK_LISTNE (did you mean `TREEHOOK_LISTEN`?)",
        "TREEHOOK_PREFETCH: `0`",
        "unknown setting `tolerence` (did you mean `tolerance`?)",
        "treehook.toml: retention: identities must be remembered for at least a day",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn what_the_surroundings_set_is_not_ours_to_refuse() {
    let environment = [
        ("TREEHOOK_SERVICE_HOST", "10.0.0.1"),
        ("TREEHOOK_PORT", "tcp://10.0.0.1:80"),
        ("TREEHOOK_ADMIN_PORT_9090_TCP", "tcp://10.0.0.1:9090"),
        ("TREEHOOK_ADMIN_PORT", "tcp://10.0.0.1:9090"),
        ("PATH", "/bin"),
    ];
    assert!(load(&environment, "").is_ok());
}

#[test]
fn secrets_are_never_shown() {
    let environment = [
        ("TREEHOOK_STANDARD_SECRET", "whsec_!!hush!!"),
        ("TREEHOOK_AMQP_URL", "http://user:hush@host"),
        ("TREEHOOK_API_TOKEN", "hush"),
        ("TREEHOOK_VISITOR_KEY", "hush"),
    ];
    let said = complaint(&environment, "database_url = \"mysql://hush\"\n");
    assert!(!said.contains("hush"), "{said}");
    assert_eq!(said.lines().count(), 5, "{said}");
    let broken = complaint(&[], "linktree_secret = \"hush\nx");
    assert!(broken.contains("treehook.toml: line ") && !broken.contains("hush"), "{broken}");
}

#[test]
fn a_secret_can_stand_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "newest,older\n").unwrap();
    let config = load(&[("TREEHOOK_LINKTREE_SECRET_FILE", path.to_str().unwrap())], "").unwrap();
    assert_eq!(config.sources[0].keys.len(), 2);
    std::fs::write(&path, "amqp://host\n").unwrap();
    let config = load(&[("TREEHOOK_AMQP_URL_FILE", path.to_str().unwrap())], "").unwrap();
    assert_eq!(config.amqp_url.unwrap().expose_secret(), "amqp://host");
    let said = complaint(&[("TREEHOOK_DUB_SECRET_FILE", "/nowhere/at/all")], "");
    assert!(said.contains("TREEHOOK_DUB_SECRET_FILE: /nowhere/at/all cannot be read"), "{said}");
    let said = complaint(&[], "visitor_key_file = 1.5");
    assert!(said.contains("treehook.toml: visitor_key_file: expected a text"), "{said}");
}

#[test]
fn how_a_built_in_source_reads_its_secret_can_be_overridden() {
    let file = "[[source]]\nname = \"standard\"\nkey_encoding = \"utf8\"";
    let config = load(&[("TREEHOOK_STANDARD_SECRET", "plain")], file).unwrap();
    assert_eq!(config.sources.len(), 1);
    assert_eq!(config.sources[0].scheme.key_encoding, treehook_event::KeyEncoding::Utf8);
}

#[test]
fn a_source_can_be_spelled_out() {
    let file = r#"
        [[source]]
        name = "github"
        signature_header = "X-Hub-Signature-256"
        prefix = "sha256="
        secret = "s"
        tolerance = "10m"

        [[source]]
        name = "shop-1"
        signature_header = "X-Shopify-Hmac-Sha256"
        encoding = "base64"

        [[source]]
        name = "stripe-like"
        signature_header = "Sig"
        separator = ","
        prefix = "v1="
        timestamp_prefix = "t="
        template = "{timestamp}.{body}"
        secret = "s"

        [[source]]
        name = "linktree"
        signature_header = "x-lt-sig"
        secret = "s"
    "#;
    let config = load(&[("TREEHOOK_SHOP_1_SECRET", "s")], file).unwrap();
    let by_name = |name: &str| config.sources.iter().find(|s| s.name.as_str() == name).unwrap();
    assert_eq!(by_name("github").scheme.signature_header, "x-hub-signature-256");
    assert_eq!(by_name("github").tolerance_seconds, 600);
    assert_eq!(by_name("shop-1").scheme.encoding, treehook_event::Encoding::Base64);
    let stripe = &by_name("stripe-like").scheme;
    assert_eq!(stripe.timestamp, TimestampPlace::SignatureElement("t=".into()));
    let linktree = &by_name("linktree").scheme;
    assert_eq!(linktree.template, Scheme::linktree().template);
    assert_eq!(linktree.signature_header, "x-lt-sig");
}

#[test]
fn a_source_that_cannot_work_is_refused_with_its_place() {
    for (file, part) in [
        ("[[source]]\nscheme = \"dub\"", "source[0]: `name` is missing"),
        ("[[source]]\nname = \"A b\"", "source[0]: `name`: a source's name is"),
        (
            "[[source]]\nname = \"a\"\nscheme = \"dub\"",
            "source[0]: no secret: set `secret`, `secret_file` or TREEHOOK_A_SECRET",
        ),
        ("[[source]]\nname = \"a\"\nsecret = \"s\"", "source[0]: `signature_header` is missing"),
        (
            "[[source]]\nname = \"a\"\nscheme = \"dub\"\nsecret = \"s\"\ncolor = 1",
            "source[0]: unknown setting `color`",
        ),
        (
            "[[source]]\nname = \"a\"\nscheme = \"dub\"\nsecret = \"s\"\ntemplate = \"x\"",
            "source[0]: the template must contain `{body}`",
        ),
        ("[[source]]\nname = \"a\"\nscheme = \"rsa\"\nsecret = \"s\"", "`scheme`: expected"),
        ("[source]\nname = \"a\"", "write it as [[source]]"),
        (
            "[[source]]\nname = \"a\"\nscheme = \"dub\"\nsecret = \"s\"\n[[source]]\nname = \"a\"\nscheme = \"dub\"\nsecret = \"s\"",
            "source[1]: the name `a` is taken",
        ),
    ] {
        let said = complaint(&[], file);
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

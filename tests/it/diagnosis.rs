//! Looking into trouble: the commands against captured requests and running deployments.

mod bundle;
mod erasing;

use serde_json::Value;
use treehook_event::{KeyEncoding, Scheme, SigningKey, sign};

use crate::fixtures::click_envelope;
use crate::harness::{Deployment, SECRET, now};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The headers of a delivery to `linktree` that was signed so long ago.
fn signed(body: &str, age_seconds: i64) -> Vec<(String, String)> {
    let key = SigningKey::decode(SECRET, KeyEncoding::Utf8).unwrap();
    let at = now().plus_millis(-1000 * age_seconds);
    sign(&Scheme::linktree(), &key, "", at, body.as_bytes())
}

/// A captured request as files of the deployment; the arguments that name them.
fn captured(deployment: &Deployment, body: &str, headers: &[(String, String)]) -> Vec<String> {
    let (body_file, headers_file) = (deployment.other_dir("body"), deployment.other_dir("headers"));
    std::fs::write(&body_file, body).unwrap();
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    std::fs::write(&headers_file, lines.join("\r\n")).unwrap();
    ["explain", "--json", "--body", &body_file.display().to_string(), "--headers"]
        .map(str::to_owned)
        .into_iter()
        .chain([headers_file.display().to_string()])
        .collect()
}

async fn explained(deployment: &Deployment, arguments: &[String], more: &[&str]) -> (i32, Value) {
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let output = deployment.run(&arguments).await;
    let said = text(&output.stdout);
    for hidden in [SECRET, "203.0.113.77", "marker-browser"] {
        assert!(!said.contains(hidden) && !text(&output.stderr).contains(hidden), "{said}");
    }
    let verdict = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", text(&output.stderr)));
    (output.status.code().unwrap(), verdict)
}

fn reasons(verdict: &Value) -> Vec<&str> {
    let reasons = verdict["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason["reason"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_captured_request_is_explained() {
    let deployment = Deployment::embedded();
    let body = click_envelope("e1", "p1", "l1", "ann").to_string();

    let request = captured(&deployment, &body, &signed(&body, 0));
    let (code, verdict) = explained(&deployment, &request, &[]).await;
    assert_eq!((code, &verdict["accepted"]), (0, &Value::from(true)), "{verdict}");
    assert_eq!(verdict["events"][0]["id"], "e1");

    let (code, verdict) = explained(&deployment, &request, &["--secret", "another-one"]).await;
    assert_eq!((code, reasons(&verdict)), (1, vec!["other_secret"]), "{verdict}");
    let unset = ["--scheme", "custom", "--signature-header", "x-linktree-signature"];
    let with = [&unset[..], &["--secret", SECRET, "--template", "{body}"]].concat();
    let (code, verdict) = explained(&deployment, &request, &with).await;
    assert_eq!(code, 1);
    assert!(!reasons(&verdict).is_empty(), "{verdict}");

    let old = captured(&deployment, &body, &signed(&body, 4000));
    let (code, verdict) = explained(&deployment, &old, &[]).await;
    assert_eq!((code, reasons(&verdict)), (1, vec!["stale_timestamp"]), "{verdict}");
    let then = (now().as_seconds() - 4000).to_string();
    assert_eq!(explained(&deployment, &old, &["--at", &then]).await.0, 0);
    assert_eq!(explained(&deployment, &old, &["--tolerance", "2h"]).await.0, 0);

    let pretty = format!("{:#}", serde_json::from_str::<Value>(&body).unwrap());
    let changed = captured(&deployment, &pretty, &signed(&body, 0));
    let (code, verdict) = explained(&deployment, &changed, &["--source", "linktree"]).await;
    assert_eq!((code, reasons(&verdict)), (1, vec!["body_changed"]), "{verdict}");
}

#[tokio::test]
async fn an_explanation_needs_a_source_and_says_which_there_are() {
    let deployment = Deployment::embedded();
    let request = captured(&deployment, "{}", &[]);
    for (more, part) in [
        (vec!["--source", "dub"], "sources: linktree"),
        (vec!["--scheme", "custom", "--secret", "x", "--encoding", "hax"], "`encoding`: expected"),
        (vec!["--scheme", "dub"], "--secret is needed"),
        (vec!["--header", "no colon"], "--header 1"),
        (vec!["--at", "yesterday"], "expected RFC 3339"),
    ] {
        let arguments: Vec<&str> =
            request.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let output = deployment.run(&arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(said.contains(part), "{more:?}: {said}");
    }
}

#[tokio::test]
async fn each_of_these_commands_shows_an_example() {
    let deployment = Deployment::embedded();
    for command in ["explain", "doctor", "debug-bundle", "erase"] {
        let said = deployment.output(&[command, "--help"]).await;
        assert!(said.contains("Example:"), "{command}: {said}");
    }
}

/// What `doctor` found, by check; its exit code.
async fn examined(deployment: &Deployment, more: &[&str]) -> (i32, Vec<Value>) {
    let arguments = [&["doctor", "--json"], more].concat();
    let output = deployment.run(&arguments).await;
    let said = text(&output.stdout);
    assert!(!said.contains(SECRET), "{said}");
    let value: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", text(&output.stderr)));
    let code = output.status.code().unwrap();
    assert_eq!(value["ok"], code == 0);
    (code, value["findings"].as_array().unwrap().clone())
}

fn grade<'a>(findings: &'a [Value], check: &str) -> &'a str {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {findings:?}"))["grade"].as_str().unwrap()
}

fn said(findings: &[Value], check: &str) -> String {
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    let lines: Vec<String> =
        of_check.map(|finding| format!("{} {}", finding["what"], finding["remedy"])).collect();
    lines.join("\n")
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_what_runs() {
    let deployment = Deployment::embedded();
    let (code, findings) = examined(&deployment, &[]).await;
    assert_eq!(code, 0, "{findings:?}");
    assert_eq!(grade(&findings, "data_dir"), "warn", "it is not there yet");
    assert!(!deployment.data_dir().exists(), "looking made something");

    let treehook = deployment.start(&["serve"]).await;
    let admin = treehook.admin.to_string();
    let (code, findings) = examined(&deployment, &["--admin-listen", &admin]).await;
    assert_eq!(code, 0, "{findings:?}");
    for check in ["configuration", "secrets", "data_dir", "disk", "lock", "queue", "database"] {
        assert_ne!(grade(&findings, check), "fail", "{findings:?}");
    }
    for check in ["schema", "running", "stale", "broker", "api_token", "visitor_key"] {
        assert_eq!(grade(&findings, check), "ok", "{findings:?}");
    }
    let lines = deployment.output(&["doctor", "--admin-listen", &admin]).await;
    assert!(lines.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn ")));

    // A good signature that is too old.
    let body = click_envelope("e1", "p1", "l1", "ann").to_string();
    let mut request = reqwest::Client::new()
        .post(format!("http://{}/webhooks/linktree", treehook.public()))
        .body(body.clone());
    for (name, value) in signed(&body, 4000) {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.unwrap().status(), 403);
    let (code, findings) = examined(&deployment, &["--admin-listen", &admin]).await;
    assert_eq!((code, grade(&findings, "stale")), (0, "warn"));
    assert!(said(&findings, "stale").contains("1 of `linktree`"), "{findings:?}");
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn the_doctor_names_what_is_wrong_and_the_remedy() {
    let mut deployment = Deployment::embedded();
    deployment.set("TREEHOOK_LINKTREE_SECRET", "short");
    deployment.set("TREEHOOK_AMQP_URL", "amqp://ann:hidden-marker@127.0.0.1:1");
    deployment.set("TREEHOOK_DATABASE_URL", "postgres://ann:hidden-marker@127.0.0.1:1/x");
    deployment.set("TREEHOOK_ADMIN_LISTEN", "0.0.0.0:0");
    let (code, findings) = examined(&deployment, &[]).await;
    assert_eq!(code, 1);
    for (check, expected, part) in [
        ("secrets", "warn", "shorter than 16 bytes"),
        ("broker", "fail", "TREEHOOK_AMQP_URL"),
        ("database", "fail", "TREEHOOK_DATABASE_URL"),
        ("api_token", "warn", "TREEHOOK_API_TOKEN"),
    ] {
        assert_eq!(grade(&findings, check), expected, "{findings:?}");
        assert!(said(&findings, check).contains(part), "{findings:?}");
    }
    assert!(!format!("{findings:?}").contains("hidden-marker"), "{findings:?}");

    std::fs::write(deployment.data_dir(), "a file").unwrap();
    assert_eq!(grade(&examined(&deployment, &[]).await.1, "data_dir"), "fail");
    deployment.set("TREEHOOK_MAX_BODY", "lots");
    let (code, findings) = examined(&deployment, &[]).await;
    assert_eq!((code, grade(&findings, "configuration")), (1, "fail"));
}

#[tokio::test]
async fn the_doctor_asks_the_servers() {
    let mut deployment = Deployment::server().await;
    let (code, findings) = examined(&deployment, &[]).await;
    assert_eq!((code, grade(&findings, "schema")), (1, "fail"), "{findings:?}");
    assert!(said(&findings, "schema").contains("treehook migrate"), "{findings:?}");
    deployment.output(&["migrate"]).await;
    let (code, findings) = examined(&deployment, &[]).await;
    assert_eq!(code, 0, "{findings:?}");
    for check in ["broker", "topology", "database", "schema", "clock"] {
        assert_eq!(grade(&findings, check), "ok", "{findings:?}");
    }

    let right = deployment.environment["TREEHOOK_AMQP_URL"].clone();
    let mut wrong = url::Url::parse(&right).unwrap();
    wrong.set_password(Some("hidden-marker")).unwrap();
    deployment.set("TREEHOOK_AMQP_URL", wrong.as_str());
    let (code, findings) = examined(&deployment, &[]).await;
    assert_eq!((code, grade(&findings, "broker")), (1, "fail"), "{findings:?}");
    assert!(!format!("{findings:?}").contains("hidden-marker"), "{findings:?}");
    deployment.end().await;
}

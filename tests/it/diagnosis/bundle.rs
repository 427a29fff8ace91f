//! The bundle for whoever helps: what is in it, and what never is.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::fixtures::click_envelope;
use crate::harness::{Client, Deployment, SECRET};

/// Everything in a bundle: names and contents.
fn unpacked(path: &std::path::Path) -> Vec<(String, String)> {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            (name, content)
        })
        .collect()
}

/// What must not be in any file of a bundle.
const PLANTED: [&str; 10] = [
    SECRET,
    "a-visitor-key-for-tests",
    "api-token-marker-0123",
    "203.0.113.77",
    "marker-browser",
    "ann-the-visitor",
    "ann@example.com",
    "2001:db8::77",
    "lonely-password-marker",
    "0f3c9f6a8d0b4a6e9a4b5f0c1d2e3f40",
];

#[tokio::test]
async fn a_bundle_holds_what_helps_and_nobody() {
    let mut deployment = Deployment::embedded();
    deployment.set("TREEHOOK_API_TOKEN", "api-token-marker-0123");
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let body = click_envelope("e1", "p1", "l1", "ann-the-visitor");
    assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    let log = deployment.other_dir("planted.log");
    let planted = format!(
        "{}\nplain line from 203.0.113.77 with user_agent=\"marker-browser 1\" {SECRET}\n\
         visitor ann-the-visitor\n{{\"visitor_id\":\"ann-the-visitor\",\"ip\":\"2001:db8::77\"}}\n\
         password: lonely-password-marker\nid 0f3c9f6a8d0b4a6e9a4b5f0c1d2e3f40 ann@example.com\n\
         the end is kept\n",
        treehook.log()
    );
    let planted = planted.replace("visitor ann-the", "visitor: ann-the");
    std::fs::write(&log, planted).unwrap();
    let bundle = deployment.other_dir("bundle.tar.gz");
    let (bundle_path, log_path) = (bundle.display().to_string(), log.display().to_string());
    let admin = treehook.admin.to_string();
    let arguments =
        ["debug-bundle", "--output", &bundle_path, "--log", &log_path, "--admin-listen", &admin];
    let said = deployment.output(&arguments).await;
    assert!(said.starts_with(&bundle_path), "{said}");

    let files = unpacked(&bundle);
    let content = |name: &str| {
        let found = files.iter().find(|(path, _)| path.ends_with(name));
        &found.unwrap_or_else(|| panic!("no {name} in {files:?}")).1
    };
    for (name, part) in [
        ("about.json", env!("CARGO_PKG_VERSION")),
        ("configuration.txt", "linktree_secret = set    # TREEHOOK_LINKTREE_SECRET"),
        ("configuration.txt", "dub_secret = not set    # default"),
        ("doctor.txt", "ok    running"),
        ("doctor.json", "\"findings\""),
        ("metrics.txt", "treehook_deliveries_total{"),
        ("status.json", "\"accepted\":1"),
        ("readyz.json", "\"ready\""),
        ("log.txt", "treehook starts"),
        ("log.txt", "the end is kept"),
    ] {
        assert!(content(name).contains(part), "{part} is not in {name}: {}", content(name));
    }
    for (name, content) in &files {
        for planted in PLANTED {
            assert!(!content.contains(planted), "{planted} is in {name}");
        }
    }
    assert_eq!(std::fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    let again = deployment.run(&arguments).await;
    assert_eq!(again.status.code(), Some(1), "what is there is kept");
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_bundle_is_made_of_a_broken_configuration_too() {
    let mut deployment = Deployment::embedded();
    deployment.set("TREEHOOK_STANDARD_SECRET", "whsec_@@broken-marker");
    deployment.output(&["debug-bundle", "--output", "broken.tar.gz"]).await;
    let files = unpacked(&deployment.other_dir("broken.tar.gz"));
    let doctor = files.iter().find(|(name, _)| name.ends_with("doctor.txt")).unwrap();
    assert!(doctor.1.contains("fail  configuration"), "{}", doctor.1);
    assert!(files.iter().all(|(_, content)| !content.contains("broken-marker")), "{files:?}");
}

//! The read API over a large archive: asks `benches/api.rs`, which measures each answer.

use tokio::process::Command;

use crate::Bench;
use crate::table::Target;

/// Archived events when `ARCHIVE` does not say how many: a minute's work for both stores. The target is for
/// ten million.
const EVENTS: &str = "300000";
/// What `benches/api.rs` prints before the number, in each line.
const P95: &str = "p95";

pub(crate) async fn measure(bench: &mut Bench) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let archived = std::env::var("ARCHIVE").ok().filter(|number| !number.is_empty());
    let archived = archived.unwrap_or_else(|| EVENTS.to_owned());
    let output = Command::new(cargo)
        .args(["bench", "--locked", "--quiet", "-p", "treehook", "--bench", "api"])
        .env("EVENTS", archived)
        .env(
            "TREEHOOK_BENCH_DATABASE_URL",
            std::env::var("TREEHOOK_TEST_DATABASE_URL").expect("`make bench` starts a Postgres"),
        )
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprint!("{text}");
    for store in ["sqlite", "postgres"] {
        let answers = text.lines().filter(|line| line.starts_with(store));
        let slowest = answers
            .filter_map(|line| {
                let number = line.split_once(P95)?.1.split_whitespace().next()?;
                Some((number.parse::<f64>().ok()?, line.rsplit(' ').next()?))
            })
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let Some((p95, path)) = slowest else { continue };
        let what = format!("slowest answer on {store}, p95 in ms");
        bench.table.add(what, p95, format!("{p95:.1} ms ({path})"), Target::AtMost(50.0));
    }
}

//! What the kernel says of processes: memory and time on a core.

use std::path::Path;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use url::Url;

/// The most memory that was resident, in KiB.
pub(crate) fn peak_memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Seconds on a core since it started, in user code and in the kernel.
pub(crate) fn core_seconds(id: u32) -> f64 {
    seconds(id).expect("it runs")
}

fn seconds(id: u32) -> Option<f64> {
    // The kernel counts in hundredths, whatever its own tick is.
    const PER_SECOND: f64 = 100.0;
    let ticks = |position: usize| field(id, position)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / PER_SECOND)
}

/// A field of `/proc/ID/stat`, counted from the one behind the program's name: that one is in brackets,
/// and may hold spaces.
fn field(id: u32, position: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields = stat.get(stat.rfind(')')? + 2..)?;
    fields.split(' ').nth(position).map(str::to_owned)
}

/// The two servers, and what they have used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Servers {
    postmaster: u32,
    rabbit: u32,
}

/// Seconds on a core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerSeconds {
    pub(crate) postgres: f64,
    pub(crate) rabbitmq: f64,
}

impl Servers {
    /// Those that the benchmark was given.
    pub(crate) async fn find() -> Self {
        let url = |name: &str| std::env::var(name).expect("`make bench` starts the servers");
        let database = url("TREEHOOK_TEST_DATABASE_URL");
        let mut connection = PgConnection::connect(&database).await.unwrap();
        let backend: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        let postmaster = parent(backend.cast_unsigned()).unwrap();
        connection.close().await.unwrap();
        let port = Url::parse(&url("TREEHOOK_TEST_AMQP_URL")).unwrap().port().unwrap();
        let ours = format!("RABBITMQ_NODE_PORT={port}");
        let is_ours = |id: &u32| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let is_erlang = Path::new(&format!("/proc/{id}/exe"))
                .read_link()
                .is_ok_and(|program| program.ends_with("beam.smp"));
            is_erlang && environment.split(|byte| *byte == 0).any(|word| word == ours.as_bytes())
        };
        let rabbit = processes().into_iter().find(is_ours).expect("a RabbitMQ on this machine");
        Self { postmaster, rabbit }
    }

    /// What they have used so far. Connections that have ended are not in it.
    pub(crate) fn used(self) -> ServerSeconds {
        let backends = processes().into_iter().filter(|id| parent(*id) == Some(self.postmaster));
        ServerSeconds {
            postgres: backends.filter_map(seconds).sum(),
            rabbitmq: core_seconds(self.rabbit),
        }
    }
}

impl ServerSeconds {
    /// Microseconds for each of so many events, since `before`.
    pub(crate) fn each(self, before: Self, events: u64) -> Self {
        let each = |now: f64, before: f64| (now - before) * 1e6 / events as f64;
        Self {
            postgres: each(self.postgres, before.postgres),
            rabbitmq: each(self.rabbitmq, before.rabbitmq),
        }
    }
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn parent(id: u32) -> Option<u32> {
    field(id, 1)?.parse().ok()
}

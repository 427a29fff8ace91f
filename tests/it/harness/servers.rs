//! Servers of a test's own, for stories in which they crash.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The scripts that start and stop servers.
fn scripts() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers");
    std::env::var_os("TREEHOOK_TEST_SERVERS").map_or_else(beside, PathBuf::from)
}

async fn script(name: &str, verb: &str, dir: &Path, variables: &[(&str, &str)]) {
    let status = Command::new(scripts().join(name))
        .arg(verb)
        .arg(dir)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(status.success(), "{name} {verb} {}: {status}", dir.display());
}

macro_rules! own_server {
    ($(#[$doc:meta])* $name:ident, $script:literal) => {
        $(#[$doc])*
        pub(crate) struct $name {
            dir: PathBuf,
            pub(crate) url: String,
        }

        impl $name {
            pub(crate) async fn start() -> Self {
                Self::start_with(&[]).await
            }

            /// With variables that its script knows.
            pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
                use std::os::unix::fs::PermissionsExt as _;
                // Kept when a test fails: whoever runs the tests ends the servers left below it.
                let dir = tempfile::tempdir().unwrap().keep();
                // Postgres runs as another user when the tests run as root.
                let open = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(&dir, open).unwrap();
                let server = dir.join("server");
                script($script, "start", &server, variables).await;
                let url = std::fs::read_to_string(server.join("url")).unwrap().trim().to_owned();
                Self { dir, url }
            }

            /// Its folder: `pid`, `port`, `server.log` and what else it needs.
            pub(crate) fn server(&self) -> PathBuf {
                self.dir.join("server")
            }

            /// Orderly, its data kept.
            pub(crate) async fn stop(&self) {
                script($script, "stop", &self.server(), &[]).await;
            }

            /// SIGKILL, its data kept.
            pub(crate) async fn kill(&self) {
                script($script, "kill", &self.server(), &[]).await;
            }

            /// Gone for good.
            pub(crate) async fn end(self) {
                self.kill().await;
                std::fs::remove_dir_all(&self.dir).unwrap();
            }

            /// Again, on the same port with the same data.
            pub(crate) async fn restart(&self) {
                script($script, "start", &self.server(), &[]).await;
            }
        }
    };
}

own_server! {
    /// A RabbitMQ that one test may crash.
    OwnRabbit, "rabbitmq.sh"
}
own_server! {
    /// A Postgres that one test may crash.
    OwnPostgres, "postgres.sh"
}

impl OwnPostgres {
    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.server().join("server.log")).unwrap()
    }
}

impl OwnRabbit {
    /// Raises or clears the memory alarm: while it is raised, connections that publish are blocked.
    pub(crate) async fn set_alarm(&self, raised: bool) {
        let watermark = if raised { "0.000001" } else { "0.4" };
        self.ctl(&["set_vm_memory_high_watermark", watermark]).await;
    }

    /// `rabbitmqctl` against it; what it printed.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(scripts().join("rabbitmq.sh"));
        command.arg("ctl").arg(self.server()).arg("--quiet").args(arguments).stdin(Stdio::null());
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {said}{errors}");
        said
    }
}

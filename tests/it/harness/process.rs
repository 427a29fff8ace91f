//! The built binary as processes that can be signalled, killed and started again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use tokio::process::{Child, Command};

use super::broker::{delete_topology, lose_messages};
use super::client::SECRET;
use super::{DEADLINE, TestDatabase, eventually, server_url, unique};

/// What a test deployment's processes share.
pub(crate) struct Deployment {
    dir: tempfile::TempDir,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) database: Option<TestDatabase>,
    broker: Option<(String, String)>,
}

impl Deployment {
    /// Nothing but a secret and a directory.
    pub(crate) fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        let environment = [
            ("TREEHOOK_LISTEN", "127.0.0.1:0"),
            ("TREEHOOK_ADMIN_LISTEN", "127.0.0.1:0"),
            ("TREEHOOK_DATA_DIR", &data),
            ("TREEHOOK_LINKTREE_SECRET", SECRET),
            ("TREEHOOK_VISITOR_KEY", "a-visitor-key-for-tests"),
            ("TREEHOOK_LOG_FORMAT", "json"),
        ];
        let environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { dir, environment, database: None, broker: None }
    }

    /// On the shared RabbitMQ and the shared Postgres.
    pub(crate) async fn server() -> Self {
        Self::server_on(
            &server_url("TREEHOOK_TEST_AMQP_URL"),
            &server_url("TREEHOOK_TEST_DATABASE_URL"),
        )
        .await
    }

    /// On these servers.
    pub(crate) async fn server_on(amqp_url: &str, postgres_url: &str) -> Self {
        let mut deployment = Self::embedded();
        let database = TestDatabase::create_on(postgres_url).await;
        let prefix = format!("{}.", unique("t"));
        deployment.set("TREEHOOK_AMQP_URL", amqp_url);
        deployment.set("TREEHOOK_AMQP_PREFIX", &prefix);
        deployment.set("TREEHOOK_DATABASE_URL", &database.url);
        deployment.database = Some(database);
        deployment.broker = Some((amqp_url.to_owned(), prefix));
        deployment
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        PathBuf::from(&self.environment["TREEHOOK_DATA_DIR"])
    }

    /// A directory beside the others, for a second receiver.
    pub(crate) fn other_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A release build can be named, for figures that are worth something.
        let program = std::env::var_os("TREEHOOK_TEST_BIN");
        let mut command =
            Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_treehook").into()));
        // Whatever is set where the tests run must not reach what they start.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TREEHOOK_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .envs(&self.environment)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts a command that stays, and waits until it listens.
    pub(crate) async fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[]).await
    }

    /// As [`Deployment::start`], with further variables.
    pub(crate) async fn start_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Process {
        let log = self.dir.path().join(unique("log"));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.command(arguments);
        command.envs(more.iter().copied()).stdout(Stdio::null()).stderr(file);
        let mut child = command.spawn().unwrap();
        let mut addresses = None;
        eventually("treehook listens", async || {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("treehook {arguments:?} ended with {status}:\n{text}");
            }
            addresses = listening(&text, arguments[0]);
            addresses.is_some()
        })
        .await;
        let (public, admin) = addresses.unwrap();
        Process { child, log, public, admin }
    }

    /// Starts a command that ends by itself, to be killed before it does.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs a command that ends.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.outcome(arguments, self.command(arguments)).await
    }

    /// As [`Deployment::run`], with a further variable in any encoding.
    pub(crate) async fn run_with(&self, arguments: &[&str], more: (&str, &OsStr)) -> Output {
        let mut command = self.command(arguments);
        command.env(more.0, more.1);
        self.outcome(arguments, command).await
    }

    async fn outcome(&self, arguments: &[&str], mut command: Command) -> Output {
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        tokio::time::timeout(DEADLINE, output)
            .await
            .unwrap_or_else(|_| panic!("treehook {arguments:?} does not end"))
            .unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub(crate) async fn output(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "treehook {arguments:?}: {}\n{text}{errors}",
            output.status
        );
        text
    }

    /// Loses what waits in RabbitMQ for workers; says how many messages.
    pub(crate) async fn lose_messages(&self) -> u32 {
        let (url, prefix) = self.broker.as_ref().expect("it is in server mode");
        lose_messages(url, prefix).await
    }

    /// Removes what the deployment made on the servers, once its processes are gone.
    pub(crate) async fn end(self) {
        if let Some((url, prefix)) = &self.broker {
            delete_topology(url, prefix).await;
        }
        if let Some(database) = self.database {
            database.end().await;
        }
    }
}

/// Where a process says it listens: the public address if its role has one, and the admin one.
fn listening(log: &str, role: &str) -> Option<(Option<SocketAddr>, SocketAddr)> {
    let after = |text: &str| -> Option<SocketAddr> {
        let rest = &log[log.find(text)? + text.len()..];
        rest[..rest.find('"')?].parse().ok()
    };
    let admin = after("dashboard on http://")?;
    let public = after("receiving on http://");
    let has_public = matches!(role, "serve" | "receive");
    (public.is_some() || !has_public).then_some((public, admin))
}

/// One running process.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    public: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

impl Process {
    /// The public listener.
    pub(crate) fn public(&self) -> SocketAddr {
        self.public.expect("this role has a public listener")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGKILL, and gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and its exit code.
    pub(crate) async fn terminate(mut self) -> i32 {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(sent.success());
        let status = tokio::time::timeout(DEADLINE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("it does not drain:\n{}", self.log()))
            .unwrap();
        status.code().unwrap_or_else(|| panic!("it died of a signal:\n{}", self.log()))
    }
}

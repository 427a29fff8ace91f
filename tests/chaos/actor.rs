//! A process of the storm: the way it is started every time, and the connections that it depends on.

use std::net::{SocketAddr, TcpListener};

use rand::RngExt as _;
use tokio::sync::Mutex;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{Deployment, Proxy};

/// One process, and the way it is started every time.
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Its connections to RabbitMQ and to Postgres.
    pub(crate) links: [Proxy; 2],
    pub(crate) public: Option<SocketAddr>,
    pub(crate) process: Mutex<Option<Process>>,
}

impl Actor {
    pub(crate) async fn new(deployment: &Deployment, role: &'static str, number: usize) -> Self {
        let is_receiver = role == "receive";
        let public = is_receiver.then(free_address);
        let dir = deployment.other_dir(&format!("{role}{number}"));
        let mut environment = vec![("TREEHOOK_DATA_DIR", dir.display().to_string())];
        if let Some(address) = public {
            environment.push(("TREEHOOK_LISTEN", address.to_string()));
            // Every other one, so that workers and outboxes see both.
            let compression = if number.is_multiple_of(2) { "lz4" } else { "none" };
            environment.push(("TREEHOOK_AMQP_COMPRESSION", compression.to_owned()));
        }
        let mut link = async |variable| {
            let (proxy, url) = through_proxy(&deployment.environment[variable]).await;
            environment.push((variable, url));
            proxy
        };
        let links = [link("TREEHOOK_AMQP_URL").await, link("TREEHOOK_DATABASE_URL").await];
        let name = if is_receiver { "receiver" } else { "worker" };
        Self {
            name: format!("{name} {number}"),
            role,
            environment,
            links,
            public,
            process: Mutex::new(None),
        }
    }

    pub(crate) fn setting(&self, name: &str) -> String {
        let found = self.environment.iter().find(|(known, _)| *known == name);
        found.expect("every actor has it").1.clone()
    }
}

/// A proxy before the server of a URL, and the URL that leads through it.
async fn through_proxy(url: &str) -> (Proxy, String) {
    let mut url = Url::parse(url).unwrap();
    let port = url.port().expect("test servers have a port of their own");
    let proxy = Proxy::to(([127, 0, 0, 1], port).into()).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    (proxy, url.into())
}

/// An address below the ports that outgoing connections get, so that nobody takes it while its
/// process is down.
fn free_address() -> SocketAddr {
    let mut rng = rand::rng();
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rng.random_range(12_000..20_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

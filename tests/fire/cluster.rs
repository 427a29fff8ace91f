//! Three RabbitMQ nodes that are one broker, and how they are cut apart.

use tokio::process::Command;
use url::Url;

use crate::balancer::Balancer;
use crate::harness::OwnRabbit;

/// Whoever is in the minority stops, as RabbitMQ recommends for three nodes; and a node that is not
/// heard of is given up after 8 s, not 60.
const CONF: &str = "cluster_partition_handling = pause_minority\nnet_ticktime = 8";

/// The nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: [OwnRabbit; 3],
}

impl Cluster {
    /// Starts them, and makes the second and the third join the first.
    pub(crate) async fn start() -> Self {
        let cookie = uuid::Uuid::new_v4().simple().to_string();
        let variables =
            [("RABBITMQ_ERLANG_COOKIE", cookie.as_str()), ("RABBITMQ_CONF_LINES", CONF)];
        let node = || OwnRabbit::start_with(&variables);
        let (first, second, third) = tokio::join!(node(), node(), node());
        for node in [&second, &third] {
            node.ctl(&["stop_app"]).await;
            node.ctl(&["join_cluster", &name(&first)]).await;
            node.ctl(&["start_app"]).await;
        }
        Self { nodes: [first, second, third] }
    }

    /// A balancer before all nodes, whose first connection leads to this one.
    pub(crate) async fn balancer(&self, first: usize) -> Balancer {
        let mut addresses: Vec<_> =
            self.nodes.iter().map(|node| ([127, 0, 0, 1], port(node)).into()).collect();
        // It turns once before each connection, the first one too.
        addresses.rotate_left((first + 2) % 3);
        Balancer::before(addresses).await
    }

    /// Which node leads a queue, as `asked` knows it.
    pub(crate) async fn leader_of(&self, queue: &str, asked: usize) -> usize {
        let said = self.nodes[asked].ctl(&["list_queues", "name", "leader"]).await;
        let leader = said.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        let leader = leader.unwrap_or_else(|| panic!("{queue} has no leader:\n{said}")).trim();
        let is_leader = |node: &OwnRabbit| name(node) == leader;
        self.nodes.iter().position(is_leader).unwrap_or_else(|| panic!("{leader} is not a node"))
    }

    /// Cuts one node off from the others, both sides alive: neither knows the other's cookie.
    pub(crate) async fn part(&self, node: usize) {
        self.tell(node, "erlang:set_cookie(Peer, wrong), erlang:disconnect_node(Peer)").await;
    }

    /// The other way round.
    pub(crate) async fn rejoin(&self, node: usize) {
        self.tell(
            node,
            "erlang:set_cookie(Peer, erlang:get_cookie()), net_kernel:connect_node(Peer)",
        )
        .await;
    }

    async fn tell(&self, node: usize, what: &str) {
        let peers: Vec<String> = (0..3)
            .filter(|peer| *peer != node)
            .map(|peer| format!("'{}'", name(&self.nodes[peer])))
            .collect();
        let code = format!("[begin {what} end || Peer <- [{}]].", peers.join(", "));
        self.nodes[node].ctl(&["eval", &code]).await;
    }

    /// Suspends a node as a machine that hangs would be, and lets it go on.
    pub(crate) async fn freeze(&self, node: usize, frozen: bool) {
        let pid = std::fs::read_to_string(self.nodes[node].server().join("pid")).unwrap();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, pid.trim()]).status().await.unwrap();
        assert!(sent.success());
    }

    pub(crate) async fn end(self) {
        for node in self.nodes {
            node.end().await;
        }
    }
}

fn port(node: &OwnRabbit) -> u16 {
    Url::parse(&node.url).unwrap().port().expect("test servers have a port of their own")
}

/// As its script names it.
fn name(node: &OwnRabbit) -> String {
    format!("treehook-{}@localhost", port(node))
}

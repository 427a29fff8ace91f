//! The processes, the servers and the connections between them, and how each action is carried out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::actor::Actor;
use crate::disk::Disk;
use crate::harness::process::Process;
use crate::harness::{Client, Deployment, OwnPostgres, OwnRabbit};
use crate::schedule::{Action, RECEIVERS, Server, WORKERS};

/// What a receiver's outbox may hold for each event of a delivery, in KiB: some ten seconds of its traffic,
/// so that an outage fills it now and then, and senders have to insist.
const OUTBOX_KIB: u64 = 350;
/// How long a process may take to end in good order (INTERFACE.md), and a little for a busy machine.
const DRAIN_MAX: Duration = Duration::from_secs(33);

/// What the environment wants, else what is usual.
fn outbox_max() -> String {
    let kib = crate::number("TREEHOOK_CHAOS_OUTBOX_MIB").map(|mib| mib * 1024);
    format!("{}KiB", kib.unwrap_or(OUTBOX_KIB * crate::batch()))
}

/// Everything that can go wrong.
pub(crate) struct Stage {
    /// Of the first receiver; unmounted before its folder is removed.
    disk: Option<Disk>,
    pub(crate) deployment: Deployment,
    pub(crate) client: Client,
    pub(crate) rabbit: OwnRabbit,
    pub(crate) postgres: OwnPostgres,
    actors: Vec<Actor>,
    /// RabbitMQ and Postgres suffer one thing at a time.
    server_turns: [Mutex<()>; 2],
    started: Instant,
    kills: AtomicU32,
    faults: AtomicU32,
}

impl Stage {
    /// Two receivers and three workers, each with its own connections to servers of our own.
    pub(crate) async fn set() -> Self {
        let (rabbit, postgres) = tokio::join!(OwnRabbit::start(), OwnPostgres::start());
        let mut deployment = Deployment::server_on(&rabbit.url, &postgres.url).await;
        deployment.set("TREEHOOK_OUTBOX_MAX", &outbox_max());
        // Small steps, so that a kill finds deliveries in hand.
        deployment.set("TREEHOOK_PREFETCH", "16");
        let mut actors = Vec::new();
        for number in 1..=RECEIVERS {
            actors.push(Actor::new(&deployment, "receive", number).await);
        }
        for number in 1..=WORKERS {
            actors.push(Actor::new(&deployment, "work", number).await);
        }
        let disk = Disk::mount(actors[0].setting("TREEHOOK_DATA_DIR").as_ref());
        let stage = Self {
            disk,
            deployment,
            client: Client::new(),
            rabbit,
            postgres,
            actors,
            server_turns: Default::default(),
            started: Instant::now(),
            kills: AtomicU32::new(0),
            faults: AtomicU32::new(0),
        };
        for actor in &stage.actors {
            *actor.process.lock().await = Some(stage.start(actor).await);
        }
        stage
    }

    /// Where the receivers listen, whenever they do.
    pub(crate) fn receivers(&self) -> Vec<SocketAddr> {
        self.actors.iter().filter_map(|actor| actor.public).collect()
    }

    /// Directories of the outboxes.
    pub(crate) fn outboxes(&self) -> Vec<String> {
        let dir = |actor: &Actor| actor.public.map(|_| actor.setting("TREEHOOK_DATA_DIR"));
        self.actors.iter().filter_map(dir).collect()
    }

    /// The admin listeners, as long as nothing is restarted: receivers first.
    pub(crate) async fn admins(&self) -> Vec<SocketAddr> {
        let mut admins = Vec::new();
        for actor in &self.actors {
            admins.push(actor.process.lock().await.as_ref().expect("everybody runs").admin);
        }
        admins
    }

    pub(crate) fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.started.elapsed().as_secs_f64());
    }

    pub(crate) fn kills(&self) -> u32 {
        self.kills.load(Ordering::Relaxed)
    }

    pub(crate) fn faults(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Carries an action out, and mends what it broke.
    pub(crate) async fn perform(&self, action: Action) {
        match action {
            Action::Kill(member, down) => self.kill(&self.actors[member], down).await,
            Action::Terminate(member, down) => self.terminate(&self.actors[member], down).await,
            Action::Roll { receivers } => self.roll(receivers).await,
            Action::Cut(member, server, fault) => {
                self.disturb(&self.actors[member..=member], server, false, fault).await;
            }
            Action::Stall(member, server, fault) => {
                self.disturb(&self.actors[member..=member], server, true, fault).await;
            }
            Action::CutAll(server, fault) => {
                self.disturb(&self.actors, server, false, fault).await;
            }
            Action::StallAll(server, fault) => {
                self.disturb(&self.actors, server, true, fault).await;
            }
            Action::Alarm(fault) => self.alarm(fault).await,
            Action::Crash(server, down) => self.crash(server, down).await,
            Action::Fill(fault) => self.fill(&self.actors[0], fault).await,
        }
    }

    async fn kill(&self, actor: &Actor, down: Duration) {
        let mut place = actor.process.lock().await;
        self.say(&format!("SIGKILL {}, down for {} ms", actor.name, down.as_millis()));
        self.kills.fetch_add(1, Ordering::Relaxed);
        let process = place.take().expect("whoever stops it starts it again");
        self.listen_in(actor, &process);
        process.kill().await;
        sleep(down).await;
        *place = Some(self.start(actor).await);
        self.say(&format!("{} is back", actor.name));
    }

    async fn terminate(&self, actor: &Actor, down: Duration) {
        let mut place = actor.process.lock().await;
        self.say(&format!("SIGTERM {}, down for {} ms", actor.name, down.as_millis()));
        self.kills.fetch_add(1, Ordering::Relaxed);
        let process = place.take().expect("whoever stops it starts it again");
        self.drain(actor, process).await;
        sleep(down).await;
        *place = Some(self.start(actor).await);
        self.say(&format!("{} is back", actor.name));
    }

    /// Ends a process in good order, and checks that it was.
    async fn drain(&self, actor: &Actor, process: Process) {
        self.listen_in(actor, &process);
        let asked = Instant::now();
        let code = process.terminate().await;
        let took = asked.elapsed();
        self.say(&format!("{} ended with {code} after {:.1} s", actor.name, took.as_secs_f64()));
        assert!(code == 0 && took < DRAIN_MAX, "{} did not drain in good order", actor.name);
    }

    async fn roll(&self, receivers: bool) {
        let (first, rest) = self.actors.split_at(RECEIVERS);
        let (who, actors) = if receivers { ("receivers", first) } else { ("workers", rest) };
        self.say(&format!("a rolling restart of the {who}"));
        for actor in actors {
            self.terminate(actor, Duration::ZERO).await;
        }
    }

    async fn disturb(&self, actors: &[Actor], server: Server, stall: bool, fault: Duration) {
        let whom = if actors.len() == 1 { actors[0].name.as_str() } else { "everybody" };
        let what = if stall { "stalled" } else { "cut off" };
        self.say(&format!("{whom} is {what} from {server:?} for {} ms", fault.as_millis()));
        self.faults.fetch_add(1, Ordering::Relaxed);
        for actor in actors {
            let link = &actor.links[server as usize];
            if stall {
                link.stall();
            } else {
                link.cut();
            }
        }
        sleep(fault).await;
        // Of two disturbances that overlap the first to end ends both.
        for actor in actors {
            actor.links[server as usize].restore();
        }
        self.say(&format!("{whom} reaches {server:?} again"));
    }

    /// Where no disk can be mounted, the limit of the outbox has to stand for its end.
    async fn fill(&self, receiver: &Actor, fault: Duration) {
        // It stays: a process that starts on a full disk is another story.
        let _running = receiver.process.lock().await;
        let mounted = if self.disk.is_some() { "" } else { " (not really: no disk of its own)" };
        self.say(&format!("the disk of {} is full{mounted}", receiver.name));
        if let Some(disk) = &self.disk {
            disk.fill();
        }
        let cut_off = std::slice::from_ref(receiver);
        self.disturb(cut_off, Server::RabbitMq, false, fault).await;
        if let Some(disk) = &self.disk {
            disk.empty();
        }
        self.say(&format!("there is room on the disk of {} again", receiver.name));
    }

    async fn alarm(&self, fault: Duration) {
        let _turn = self.server_turns[Server::RabbitMq as usize].lock().await;
        self.say(&format!("memory alarm of RabbitMq for {} ms", fault.as_millis()));
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.rabbit.set_alarm(true).await;
        sleep(fault).await;
        self.rabbit.set_alarm(false).await;
        self.say("the alarm is over");
    }

    async fn crash(&self, server: Server, down: Duration) {
        let _turn = self.server_turns[server as usize].lock().await;
        self.say(&format!("{server:?} crashes, down for {} ms", down.as_millis()));
        self.kills.fetch_add(1, Ordering::Relaxed);
        match server {
            Server::RabbitMq => self.rabbit.kill().await,
            Server::Postgres => self.postgres.kill().await,
        }
        sleep(down).await;
        match server {
            Server::RabbitMq => self.rabbit.restart().await,
            Server::Postgres => self.postgres.restart().await,
        }
        self.say(&format!("{server:?} is back"));
    }

    async fn start(&self, actor: &Actor) -> Process {
        let environment: Vec<(&str, &str)> =
            actor.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.deployment.start_with(&[actor.role], &environment).await
    }

    /// What a process has to say of itself before it goes: errors, and never a panic.
    fn listen_in(&self, actor: &Actor, process: &Process) {
        let log = process.log();
        for line in log.lines().filter(|line| line.contains(r#""ERROR""#)) {
            self.say(&format!("{} says {line}", actor.name));
        }
        assert!(!log.contains("panicked"), "{} panicked:\n{log}", actor.name);
    }

    /// Every process ends in good order.
    pub(crate) async fn close(&self) {
        for actor in &self.actors {
            let process = actor.process.lock().await.take().expect("everybody runs");
            self.drain(actor, process).await;
        }
    }

    /// Nothing is left of it.
    pub(crate) async fn end(self) {
        drop(self.disk);
        self.deployment.end().await;
        self.rabbit.end().await;
        self.postgres.end().await;
    }
}

//! The world as its processes share it: who waits for a change, who lives, where deliveries go.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use treehook_pipeline::Gather;

use crate::life::{Life, Role};
use crate::world::{Flaw, World};

/// The processes that live now.
#[derive(Default)]
struct Fleet {
    lives: Vec<Arc<Life>>,
    door: Option<Gather>,
    is_ending: bool,
}

/// The world, its processes, and who waits for a change.
pub(crate) struct Sim {
    world: Mutex<World>,
    fleet: Mutex<Fleet>,
    /// There is something to receive.
    pub(crate) arrived: Notify,
    /// There is less to receive.
    settled: Notify,
}

impl Sim {
    pub(crate) fn new(seed: u64, flaw: Flaw, traced: bool) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(World::new(seed, flaw, traced)),
            fleet: Mutex::default(),
            arrived: Notify::new(),
            settled: Notify::new(),
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap()
    }

    /// Wakes whoever waits for queues to change.
    pub(crate) fn stir(&self) {
        self.arrived.notify_waiters();
        self.settled.notify_waiters();
    }

    /// A new life for a role; none when the run ends.
    pub(crate) fn begin_life(&self, role: Role) -> Option<Arc<Life>> {
        let (mut world, mut fleet) = (self.world(), self.fleet());
        if fleet.is_ending {
            return None;
        }
        let life = Life::of(role, &mut world.rng);
        if world.weather.is_over {
            life.spare();
        }
        world.note(|| format!("{role:?} starts"));
        fleet.lives.retain(|other| other.role != role);
        fleet.lives.push(Arc::clone(&life));
        Some(life)
    }

    /// Where deliveries go, while a receiver lives.
    pub(crate) fn door(&self) -> Option<Gather> {
        self.fleet().door.clone()
    }

    pub(crate) fn set_door(&self, door: Option<Gather>) {
        // What is replaced is dropped when the lock is free again: dropping wakes its task.
        let _replaced = std::mem::replace(&mut self.fleet().door, door);
    }

    /// From now on nothing fails, and whoever lives goes on living.
    pub(crate) fn heal(&self) {
        self.world().heal();
        self.fleet().lives.iter().for_each(|life| life.spare());
        self.stir();
    }

    /// Resolves when nothing waits anywhere.
    pub(crate) async fn quiet(&self) {
        loop {
            let settled = self.settled.notified();
            if self.world().is_quiet() {
                // This much time only passes when nobody has anything left to do.
                sleep(Duration::from_millis(1)).await;
                if self.world().is_quiet() {
                    return;
                }
            } else {
                settled.await;
            }
        }
    }

    /// Tells everybody to stop, and lets nobody start again.
    pub(crate) fn end(&self) {
        self.world().note(|| "everybody is told to stop at the end".into());
        let mut fleet = self.fleet();
        fleet.is_ending = true;
        let lives = fleet.lives.clone();
        drop(fleet);
        for life in lives {
            life.stop.cancel();
        }
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.world().trace.take().unwrap_or_default()
    }
}

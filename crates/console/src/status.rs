//! How the pipeline is doing, as `/api/v1/status` tells it; whoever wires the process fills it in.

use serde::Serialize;
use utoipa::ToSchema;

/// The pipeline at this moment. What a process cannot know, or cannot ask right now, is `None`
/// (null), never a zero that would look like an answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PipelineStatus {
    /// Events that this process has accepted since it started; `None` without a receiver in it.
    pub accepted: Option<u64>,
    /// Events that count.
    pub applied: Option<u64>,
    /// Events that had been recorded before.
    pub duplicates: Option<u64>,
    /// Dead letters that wait for a decision.
    pub dead: Option<u64>,
    /// What the outbox holds; `None` without one in this process.
    pub outbox: Option<OutboxDepth>,
    /// What waits to be applied.
    pub queue: Option<QueueDepth>,
    /// How far what is applied is behind what happened.
    pub lag_seconds: Option<f64>,
    /// The broker, as this process sees it.
    pub broker: BrokerState,
    /// The database, as this process sees it.
    pub database: DatabaseState,
}

/// What the outbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct OutboxDepth {
    /// Events in it.
    pub events: u64,
    /// Its size.
    pub bytes: u64,
    /// Age of its oldest event; `None` when it is empty.
    pub oldest_seconds: Option<f64>,
}

/// What waits in the queue, in the unit that the queue counts: `{"events": 3}` or `{"messages": 2}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueDepth {
    /// Single events.
    Events(u64),
    /// Messages of one or more events each.
    Messages(u64),
}

/// The broker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrokerState {
    /// It takes messages.
    Up,
    /// It cannot be reached.
    Down,
    /// It is there, but an alarm keeps it from taking messages.
    Blocked,
    /// This deployment has none.
    None,
}

/// The database's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseState {
    /// It answers.
    Up,
    /// It does not.
    Down,
}

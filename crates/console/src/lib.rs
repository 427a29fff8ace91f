//! The read API and the dashboard: answers about what was counted, for programs and for people.

mod access;
mod actions;
mod answers;
mod assets;
mod audience;
mod console;
mod dead_letters;
mod document;
mod figures;
mod fresh;
mod history;
mod live;
mod parameters;
mod problem;
mod profiles;
mod reads;
mod report;
mod same_origin;
mod sign_in;
mod spreadsheet;
mod status;
mod trend;
mod window;
mod zone;

pub use access::{Access, BadToken, Token};
pub use actions::Actions;
pub use console::{Console, Limits, router};
pub use status::{BrokerState, DatabaseState, OutboxDepth, PipelineStatus, QueueDepth};

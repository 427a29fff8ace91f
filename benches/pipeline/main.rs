//! What each stage can take beside a reference that does less, both measured in one run: `make bench`.
//!
//! The system under test is the built binary; references are processes of their own as well, since
//! everything shares the machine's cores with whatever loads it. `make bench ONLY=ingest,worker`
//! picks parts, and `plan.rs` says what else can be set.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so by ending")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its results and its progress")]
#![expect(clippy::cast_precision_loss, reason = "counts of what happens within minutes")]

mod answers;
mod archive;
mod deliveries;
mod growth;
mod ingest;
mod load;
mod naive;
mod outbox;
mod plan;
mod proc;
mod receiver;
mod reference;
mod shards;
mod simulate;
mod table;
mod whole;
mod worker;

#[path = "../../tests/it"]
#[expect(dead_code, unused_imports, reason = "the stories use more of it")]
mod it {
    pub(crate) mod harness;
}

use it::harness;
use mimalloc::MiMalloc;

use crate::plan::Plan;
use crate::table::Table;

/// The same as the binary's: what is compared is the design.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A run of the benchmark: what is asked for, and what came of it.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) table: Table,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match words.as_slice() {
        ["reference", kind] => runtime.block_on(reference::serve(kind)),
        ["deliver", count] => receiver::deliver(count.parse().unwrap()),
        _ => runtime.block_on(run()),
    }
}

async fn run() {
    let mut bench = Bench { plan: Plan::from_environment(), table: Table::default() };
    let plan = bench.plan.clone();
    if plan.asks("receiver") {
        receiver::measure(&mut bench).await;
    }
    if plan.asks("simulate") {
        simulate::measure(&mut bench).await;
    }
    if plan.asks("ingest") {
        ingest::measure(&mut bench).await;
    }
    if plan.asks("outbox") {
        outbox::measure(&mut bench).await;
    }
    if plan.asks("shards") {
        shards::measure(&mut bench).await;
    }
    if plan.asks("whole") {
        whole::measure(&mut bench).await;
    }
    if plan.asks("worker") {
        worker::measure(&mut bench).await;
    }
    if plan.asks("growth") {
        growth::measure(&mut bench).await;
    }
    if plan.asks("answers") {
        answers::measure(&mut bench).await;
    }
    bench.table.print();
}

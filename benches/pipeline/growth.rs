//! What an archive costs whoever adds to it: the same worker, today's traffic, more and more days
//! behind it.

use std::collections::VecDeque;

use crate::Bench;
use crate::archive::database_with;
use crate::table::{Target, median, per_second, ratio};
use crate::worker::drained;

/// Days that the archive is spread over.
const DAYS: u32 = 50;

pub(crate) async fn measure(bench: &mut Bench) {
    let sizes = [0, bench.plan.archive, bench.plan.archive * 5];
    let mut rates = [vec![], vec![], vec![]];
    let mut databases = VecDeque::new();
    for size in sizes {
        eprintln!("growth: filling an archive of {size} events");
        databases.push_back(database_with(size, DAYS).await);
    }
    for round in 1..=bench.plan.rounds {
        eprintln!("growth: round {round} of {}", bench.plan.rounds);
        for (size, rates) in sizes.iter().zip(&mut rates) {
            let database = databases.pop_front().expect("each is put back");
            let run = drained(bench, database, 1).await;
            let [worker, postgres, rabbitmq] = run.costs;
            eprintln!(
                "  on {size} rows {}; us of a core per event: worker {worker:.1}, Postgres \
                 {postgres:.1}, RabbitMQ {rabbitmq:.1}",
                per_second(run.rate)
            );
            rates.push(run.rate);
            databases.push_back(run.database);
        }
    }
    for database in databases {
        database.end().await;
    }
    for (size, grown) in sizes.iter().zip(&rates).skip(1) {
        let times = ratio(grown, &rates[0]);
        let shown = format!("{times:.2} ({})", per_second(median(grown.clone())));
        let what = format!("worker on {size} older rows / on none");
        bench.table.add(what, times, shown, Target::AtLeast(0.85));
    }
}

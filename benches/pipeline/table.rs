//! The one table that a run ends with: what was measured, what is wanted, whether it is met.

use std::collections::BTreeMap;

/// What a measurement has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Nothing is promised.
    None,
}

struct Row {
    what: String,
    measured: String,
    target: String,
    verdict: &'static str,
}

/// Rows as they come in, and the memory of every process.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// The largest of each kind of process, in KiB.
    memory: BTreeMap<&'static str, u64>,
}

/// What one process may take, in KiB.
const MEMORY_MAX: u64 = 150 << 10;

impl Table {
    /// Adds a row, and says it at once: a long run is watched.
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        value: f64,
        shown: impl Into<String>,
        target: Target,
    ) {
        let (wanted, verdict) = match target {
            Target::AtLeast(least) => (format!(">= {least}"), yes(value >= least)),
            Target::AtMost(most) => (format!("<= {most}"), yes(value <= most)),
            Target::None => ("-".to_owned(), ""),
        };
        let (what, measured) = (what.into(), shown.into());
        eprintln!("{what}: {measured}  [{wanted}] {verdict}");
        self.rows.push(Row { what, measured, target: wanted, verdict });
    }

    /// Takes note of the most memory that a process has had.
    pub(crate) fn note_memory(&mut self, kind: &'static str, kib: u64) {
        let most = self.memory.entry(kind).or_default();
        *most = (*most).max(kib);
    }

    /// Prints everything.
    pub(crate) fn print(mut self) {
        for (kind, kib) in std::mem::take(&mut self.memory) {
            let mib = kib as f64 / 1024.0;
            let target = Target::AtMost((MEMORY_MAX >> 10) as f64);
            self.add(format!("memory, {kind}"), mib, format!("{mib:.0} MiB"), target);
        }
        let width = |text: fn(&Row) -> &str, head: &str| {
            self.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0).max(head.len())
        };
        let (what, measured, target) = (
            width(|row| &row.what, "what"),
            width(|row| &row.measured, "measured"),
            width(|row| &row.target, "target"),
        );
        println!("| {:what$} | {:measured$} | {:target$} | met |", "what", "measured", "target");
        println!("|-{:-<what$}-|-{:-<measured$}-|-{:-<target$}-|-----|", "", "", "");
        for row in &self.rows {
            let Row { what: name, measured: value, target: wanted, verdict } = row;
            println!("| {name:what$} | {value:measured$} | {wanted:target$} | {verdict:3} |");
        }
    }
}

fn yes(met: bool) -> &'static str {
    if met { "yes" } else { "no" }
}

/// The middle one; of an even number the upper of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of each round's ratio: what is slow about a moment is slow for both.
pub(crate) fn ratio(values: &[f64], references: &[f64]) -> f64 {
    median(values.iter().zip(references).map(|(value, reference)| value / reference).collect())
}

/// A rate as people read it.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{:.1}k/s", rate / 1000.0)
}

//! Rounds, interleaved, and what they say.
//!
//! All contenders of a row are opened first; then each round runs every contender once, A B C A B C. A round's
//! figure is its time divided by its operations. A figure of one contender beside another is the median of the
//! ratios within each round, so that a slow moment of the machine, which hits both, cancels out.
//! A contender that fails ends the row's run with its name; one that stands still is ended by the watchdog.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Something that can be timed.
pub(crate) trait Contender {
    /// Does this many operations and says how long they took.
    fn round(&mut self, operations: u64) -> Result<Duration>;
}

/// What a contender is to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The bare cost on this machine, which no library can undercut.
    Floor,
    /// Another library.
    Peer,
    /// procession.
    Ours,
}

/// A contender of a row, not yet opened.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The contender whose figure is this one's floor, where it is not the row's.
    pub(crate) floor: Option<&'static str>,
    /// Operations a round, where they are not the row's.
    pub(crate) operations: Option<u64>,
    pub(crate) open: fn() -> Result<Box<dyn Contender>>,
}

impl Entry {
    /// An entry that uses the row's floor and operations.
    pub(crate) const fn new(
        kind: Kind,
        name: &'static str,
        open: fn() -> Result<Box<dyn Contender>>,
    ) -> Self {
        Self {
            name,
            kind,
            floor: None,
            operations: None,
            open,
        }
    }

    /// The same, compared with this floor.
    pub(crate) const fn over(mut self, floor: &'static str) -> Self {
        self.floor = Some(floor);
        self
    }

    /// The same, with this many operations a round.
    pub(crate) const fn operations(mut self, operations: u64) -> Self {
        self.operations = Some(operations);
        self
    }
}

/// One question and all who answer it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What procession is to reach.
    pub(crate) goal: &'static str,
    /// The name of the contender that is the floor.
    pub(crate) floor: &'static str,
    pub(crate) operations: u64,
    pub(crate) rounds: usize,
    pub(crate) entries: Vec<Entry>,
}

/// A row's figures.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) goal: &'static str,
    pub(crate) rounds: usize,
    pub(crate) best_peer: Option<&'static str>,
    pub(crate) lines: Vec<Line>,
}

/// A contender's figures: seconds an operation, and ratios.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) median: f64,
    pub(crate) p90: f64,
    pub(crate) floor: &'static str,
    pub(crate) to_floor: Option<f64>,
    pub(crate) to_best_peer: Option<f64>,
    pub(crate) samples: Vec<f64>,
}

/// Opens a row's contenders, runs them interleaved, and closes them.
pub(crate) fn run(row: Row, quick: bool) -> Result<Table> {
    let rounds = if quick {
        (row.rounds / 8).max(5)
    } else {
        row.rounds
    };
    let named = |name: &str, error| format!("{}: {name}: {error}", row.name);
    let mut open = Vec::with_capacity(row.entries.len());
    for entry in &row.entries {
        progress(row.name, entry.name);
        let contender = (entry.open)().map_err(|error| named(entry.name, error))?;
        open.push((entry, contender, Vec::with_capacity(rounds)));
    }

    // The first round warms caches, pages and predictors, and is not counted.
    for round in 0..=rounds {
        for (entry, contender, samples) in &mut open {
            progress(row.name, entry.name);
            let operations = entry.operations.unwrap_or(row.operations);
            let took = contender
                .round(operations)
                .map_err(|error| named(entry.name, error))?;
            if round > 0 {
                samples.push(took.as_secs_f64() / operations as f64);
            }
        }
    }

    let series: Vec<(&Entry, Vec<f64>)> = open
        .into_iter()
        .map(|(entry, _, samples)| (entry, samples))
        .collect();
    Ok(tabulate(&row, rounds, &series))
}

fn tabulate(row: &Row, rounds: usize, series: &[(&Entry, Vec<f64>)]) -> Table {
    let samples_of = |name: &str| {
        series
            .iter()
            .find_map(|(entry, samples)| (entry.name == name).then_some(samples))
    };
    let best_peer = series
        .iter()
        .filter(|(entry, _)| entry.kind == Kind::Peer)
        .min_by(|(_, a), (_, b)| median(a).total_cmp(&median(b)))
        .map(|(entry, _)| entry.name);
    let lines = series
        .iter()
        .map(|(entry, samples)| {
            let floor = entry.floor.unwrap_or(row.floor);
            let ratio = |other: &str| samples_of(other).map(|other| median_ratio(samples, other));
            Line {
                name: entry.name,
                kind: entry.kind,
                median: median(samples),
                p90: quantile(samples, 0.9),
                floor,
                to_floor: ratio(floor),
                to_best_peer: best_peer.and_then(ratio),
                samples: samples.clone(),
            }
        })
        .collect();
    Table {
        name: row.name,
        title: row.title,
        goal: row.goal,
        rounds,
        best_peer,
        lines,
    }
}

fn median_ratio(samples: &[f64], others: &[f64]) -> f64 {
    let ratios: Vec<f64> = samples.iter().zip(others).map(|(a, b)| a / b).collect();
    median(&ratios)
}

fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The value below which this share of the samples lies, between two samples interpolated; NaN of no samples.
fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = share * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// How long one round of one contender may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

static STEP: AtomicU64 = AtomicU64::new(0);
static NOW: Mutex<(&str, &str)> = Mutex::new(("", ""));

fn progress(row: &'static str, contender: &'static str) {
    if let Ok(mut now) = NOW.lock() {
        *now = (row, contender);
    }
    STEP.fetch_add(1, Ordering::Relaxed);
}

/// Ends the program, and with it every child, when a contender stands still.
pub(crate) fn start_watchdog() {
    thread::spawn(|| {
        let mut seen = (STEP.load(Ordering::Relaxed), Instant::now());
        loop {
            thread::sleep(Duration::from_secs(1));
            let step = STEP.load(Ordering::Relaxed);
            if step != seen.0 {
                seen = (step, Instant::now());
            } else if seen.1.elapsed() > PATIENCE {
                let (row, contender) = NOW.lock().map(|now| *now).unwrap_or_default();
                let mut stderr = std::io::stderr();
                let _ = writeln!(
                    stderr,
                    "error: {row}: {contender} has stood still for {PATIENCE:?}"
                );
                std::process::exit(2);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&samples, 0.0), 1.0);
        assert_eq!(quantile(&samples, 0.5), 2.5);
        assert_eq!(quantile(&samples, 1.0), 4.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        // One disturbed round, which slowed both, leaves the ratio as it was.
        assert_eq!(median_ratio(&[2.0, 2.0, 20.0], &[1.0, 1.0, 10.0]), 2.0);
    }
}

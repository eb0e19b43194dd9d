//! Tables for people, JSON for programs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::harness::{Kind, Line, Table};
use crate::machine::Machine;
use crate::peers;

/// Prints a row's table.
pub(crate) fn print(table: &Table) {
    println!(
        "\n{}: {} ({} rounds)",
        table.name, table.title, table.rounds
    );
    println!("  to reach: {}", table.goal);
    let peer = table.best_peer.unwrap_or("-");
    println!(
        "  {:<38} {:>10} {:>10} {:>9} {:>11}   floor (best peer: {peer})",
        "", "median", "p90", "x floor", "x best peer"
    );
    for line in &table.lines {
        println!(
            "  {:<5} {:<32} {:>10} {:>10} {:>9} {:>11}   {}",
            kind(line),
            line.name,
            time(line.median),
            time(line.p90),
            ratio(line.to_floor),
            ratio(line.to_best_peer),
            if line.floor == line.name {
                ""
            } else {
                line.floor
            },
        );
    }
}

/// Writes every figure, the samples too.
pub(crate) fn write_json(path: &Path, machine: &Machine, tables: &[Table]) -> Result<()> {
    let rows: Vec<Value> = tables.iter().map(table_value).collect();
    let all = json!({
        "machine": {
            "cpu": machine.cpu,
            "usable_cpus": machine.usable_cpus,
            "kernel": machine.kernel,
            "memory_gib": machine.memory_gib,
            "load_before": machine.load,
            "compiler": machine.compiler,
        },
        "left_out": peers::LEFT_OUT,
        "rows": rows,
    });
    fs::write(path, serde_json::to_vec_pretty(&all)?)
        .map_err(|error| format!("write {}: {error}", path.display()))?;
    Ok(())
}

fn table_value(table: &Table) -> Value {
    let lines: Vec<Value> = table
        .lines
        .iter()
        .map(|line| {
            json!({
                "name": line.name,
                "kind": kind(line),
                "median_seconds": line.median,
                "p90_seconds": line.p90,
                "floor": line.floor,
                "to_floor": line.to_floor,
                "to_best_peer": line.to_best_peer,
                "samples": line.samples,
            })
        })
        .collect();
    json!({
        "name": table.name,
        "title": table.title,
        "goal": table.goal,
        "rounds": table.rounds,
        "best_peer": table.best_peer,
        "contenders": lines,
    })
}

const fn kind(line: &Line) -> &'static str {
    match line.kind {
        Kind::Floor => "floor",
        Kind::Peer => "peer",
        Kind::Ours => "ours",
    }
}

fn time(seconds: f64) -> String {
    let nanoseconds = seconds * 1e9;
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.1} ns"),
        ..1e6 => format!("{:.2} µs", nanoseconds / 1e3),
        _ => format!("{:.2} ms", nanoseconds / 1e6),
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

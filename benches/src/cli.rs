//! The command line, and the run that it asks for.

use std::path::PathBuf;

use crate::{Result, harness, link, machine, peers, report, rows};

const USAGE: &str =
    "usage: procession-bench [--quick] [--only NAME]... [--json FILE] [--float] [--list]

  --quick       few rounds: for a look, not for a figure
  --only NAME   only rows whose name contains NAME (may be repeated)
  --json FILE   write every figure to FILE as well
  --float       let the kernel place the two ends of a link, instead of one CPU for each
  --list        print the names of the rows";

#[derive(Debug, Default)]
struct Options {
    quick: bool,
    list: bool,
    only: Vec<String>,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--float" => link::float(),
                "--list" => options.list = true,
                "--only" => options.only.push(arguments.next().ok_or(USAGE)?),
                "--json" => options.json = Some(arguments.next().ok_or(USAGE)?.into()),
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument {other:?}\n{USAGE}").into()),
            }
        }
        Ok(Some(options))
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Runs the rows that the command line names and prints a table for each.
pub(crate) fn run() -> Result<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let rows: Vec<_> = rows::all()
        .into_iter()
        .filter(|row| options.wants(row.name))
        .collect();
    if rows.is_empty() {
        return Err("no row has such a name; --list prints them".into());
    }
    if options.list {
        for row in rows {
            println!("{:12} {}", row.name, row.title);
        }
        return Ok(());
    }

    let machine = machine::describe();
    println!("{machine}");
    for note in peers::LEFT_OUT {
        println!("left out: {note}");
    }
    harness::start_watchdog();

    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        let table = harness::run(row, options.quick)?;
        report::print(&table);
        tables.push(table);
    }
    if let Some(path) = options.json {
        report::write_json(&path, &machine, &tables)?;
        println!("figures written to {}", path.display());
    }
    Ok(())
}

//! The repository's own checks: `cargo run -q -p xtask -- tidy`.
//!
//! Used by `make lint`. Reads the tree as text, builds nothing and has no
//! dependency, so it answers within a second. `tidy --write` first rewrites
//! the pages that are generated from the sources.

mod source;
mod tidy;
mod tree;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -q -p xtask -- tidy [--write]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let write = match arguments.as_slice() {
        ["tidy"] => false,
        ["tidy", "--write"] => true,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };

    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else {
        eprintln!("xtask does not lie inside the repository");
        return ExitCode::from(2);
    };

    match tidy::run(root, write) {
        Ok(complaints) if complaints.is_empty() => {
            println!("tidy: nothing to complain about");
            ExitCode::SUCCESS
        }
        Ok(complaints) => {
            for complaint in &complaints {
                eprintln!("{complaint}");
            }
            eprintln!("tidy: {} complaints", complaints.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::from(2)
        }
    }
}

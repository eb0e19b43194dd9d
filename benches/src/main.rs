//! procession beside its peers and the bare floors of the machine, interleaved in one run.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -- [--quick] [--only NAME] [--json FILE] [--float]`
//!
//! Every contender of a row has its processes started before the first round; each round then runs all of them
//! one after another, so that what disturbs the machine disturbs them alike. Ratios are medians of the rounds'
//! own ratios. The processes of a contender are this same program, started again in a child role (`roles`).

mod cli;
mod floors;
mod harness;
mod link;
mod machine;
mod ours;
mod peers;
mod report;
mod roles;
mod rows;
mod work;

use std::process::ExitCode;

/// What every fallible step of the bench returns.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    procession::init();
    peers::init();
    let outcome = match roles::requested() {
        Some(role) => roles::run(&role),
        None => cli::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

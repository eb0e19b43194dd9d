//! Compiles the trivial program, whose start is a floor, and records the compiler's version.
//!
//! `cargo run` builds one binary only, so the second one is built here: one command stays enough.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output directory"));
    let trivial = out.join("trivial");
    let status = Command::new(&rustc)
        .args(["--edition", "2024", "-O", "trivial/main.rs", "-o"])
        .arg(&trivial)
        .status()
        .expect("failed to run the compiler");
    assert!(status.success(), "failed to compile trivial/main.rs");

    let version = Command::new(&rustc)
        .arg("--version")
        .output()
        .expect("failed to ask the compiler for its version");
    println!("cargo:rerun-if-changed=trivial/main.rs");
    println!("cargo:rustc-env=TRIVIAL_PROGRAM={}", trivial.display());
    println!(
        "cargo:rustc-env=RUSTC_VERSION={}",
        String::from_utf8_lossy(&version.stdout).trim()
    );
}

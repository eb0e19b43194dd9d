//! The attribute takes no arguments.

#[procession::main(processes = 2)]
fn main() {}

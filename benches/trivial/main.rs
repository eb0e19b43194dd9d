//! The program that does nothing: what it costs to start and end it is the floor of a fresh program.

fn main() {}

//! No runtime may be running when a child enters.

#[procession::main]
async fn main() {}

//! Only `main` is where a child enters.

#[procession::main]
fn start() {}

fn main() {
    start();
}

//! Which function a pointer points to is known in this process only.

fn greet() {}

#[procession::main]
fn main() {
    let target: fn() = greet;
    let _ = procession::Process::new(target).start();
}

//! What a closure captures would not be there in the child.

#[procession::main]
fn main() {
    let number = std::process::id();
    let _ = procession::Process::new(move || println!("{number}")).start();
}

//! As capturing_closure.rs, but what is captured cannot be copied either.

#[procession::main]
fn main() {
    let name = String::from("world");
    let _ = procession::Process::new(move || println!("hello, {name}")).start();
}

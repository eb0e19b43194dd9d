//! A program's `main` takes no parameters.

#[procession::main]
fn main(arguments: Vec<String>) {
    drop(arguments);
}

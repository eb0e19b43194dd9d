//! Not every number is one of an enum's.

#[derive(Clone, Copy, procession::Shared)]
#[repr(C)]
enum Colour {
    Red,
    Green,
}

fn main() {
    let _ = procession::Value::new(Colour::Red);
    let _ = Colour::Green;
}

//! The layout of such a struct is the compiler's own business.

#[derive(Clone, Copy, procession::Shared)]
struct Point {
    x: f64,
    y: f64,
}

fn main() {
    let _ = procession::Value::new(Point { x: 0.0, y: 0.0 });
}

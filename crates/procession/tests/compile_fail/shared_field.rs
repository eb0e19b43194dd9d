//! A reference means nothing in another process.

#[derive(Clone, Copy, procession::Shared)]
#[repr(C)]
struct Named {
    name: &'static str,
    number: u32,
}

fn main() {
    let _ = procession::Value::new(Named { name: "", number: 0 });
}

//! A text's bytes are not in the value itself.

fn main() {
    let _ = procession::Value::new(String::from("text"));
}

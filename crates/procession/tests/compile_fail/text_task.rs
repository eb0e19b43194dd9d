//! As closure_with_text.rs, in a pool.

#[procession::main]
fn main() -> procession::Result<()> {
    let name = String::from("world");
    let pool = procession::Pool::new()?;
    pool.map(move |n: usize| n + name.len(), 0..10)?;
    Ok(())
}

//! What a closure captures would not be there in the worker.

#[procession::main]
fn main() -> procession::Result<()> {
    let factor = u64::from(std::process::id());
    let pool = procession::Pool::new()?;
    pool.map(move |n: u64| n * factor, 0..10)?;
    Ok(())
}

//! The arguments' types are those of the target's parameters.

fn work(_: String, _: u8) {}

#[procession::main]
fn main() -> procession::Result<()> {
    procession::Process::new(work).args((1,)).start()?;
    procession::Process::new(work).args(("text", 1)).start()?;
    procession::Process::new(work).args(("text".to_owned(), 1)).start()?;
    Ok(())
}

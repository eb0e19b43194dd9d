//! An argument has to travel.

use std::sync::Mutex;

fn work(_: Mutex<std::fs::File>) {}

#[procession::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = Mutex::new(std::fs::File::open("/dev/null")?);
    procession::Process::new(work).args((file,)).start()?;
    Ok(())
}

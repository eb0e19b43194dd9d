//! What may be a target. (Its presence also has the programs beside it built as
//! a whole, and not only checked: a target's size is known late.)

use procession::{Pool, Process, Shared, Value};

fn plain(_: u8) {}

fn generic<T: Default + std::fmt::Debug>(_: T) -> Result<(), String> {
    Ok(())
}

#[derive(Clone, Copy, Shared)]
#[repr(transparent)]
struct Meters(f64);

#[derive(Clone, Copy, Shared)]
#[repr(C)]
struct Pair<T> {
    first: T,
    second: T,
}

#[procession::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    for child in [
        Process::new(plain).args((1,)).start()?,
        Process::new(generic::<u16>).args((1,)).start()?,
        Process::new(generic).args((Vec::<u8>::new(),)).start()?,
        Process::new(|number: i8| assert_eq!(number, 1))
            .args((1,))
            .start()?,
    ] {
        assert_eq!(child.join()?.code(), 0);
    }
    let pool = Pool::builder().processes(1).build()?;
    assert_eq!(pool.apply(u32::pow, (2, 5))?, 32);

    let pair = Pair {
        first: Meters(1.0),
        second: Meters(2.0),
    };
    let pair = Value::new(pair)?.get();
    assert_eq!(pair.first.0 + pair.second.0, 3.0);
    Ok(())
}

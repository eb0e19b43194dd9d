//! `Value` and `Array`: plain data that processes share, with a lock.
//!
//! `cargo run --example values_and_arrays`

use procession::{Array, Process, RawArray, Shared, Value};

/// A struct of one's own can be shared if its layout is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Shared)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

const CHILDREN: usize = 4;
const ROUNDS: i32 = 1000;

fn work(index: usize, count: Value<i32>, totals: Array<i32>, ratio: Value<f64>) {
    for _ in 0..ROUNDS {
        // `get` and then `set` would lose what others do in between.
        count.update(|count| count + 1);
        totals.set(index, totals.get(index) + 1);
    }
    ratio.update(|ratio| ratio / 2.0);
}

fn transfer(accounts: Array<i64>, amount: i64) -> procession::Result<()> {
    // Both changes under one lock: nobody sees the one without the other.
    let accounts = accounts.lock()?;
    accounts.set(0, accounts.get(0) - amount);
    accounts.set(1, accounts.get(1) + amount);
    Ok(())
}

fn mirror(points: RawArray<Point>) {
    for (index, point) in points.iter().enumerate() {
        let mirrored = Point {
            x: -point.x,
            ..point
        };
        points.set(index, mirrored);
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    let count = Value::new(10)?;
    let totals = Array::zeroed(CHILDREN)?;
    let ratio = Value::new(1.0)?;
    let mut children = Vec::new();
    for index in 0..CHILDREN {
        let arguments = (index, count.clone(), totals.clone(), ratio.clone());
        children.push(Process::new(work).args(arguments).start()?);
    }
    for child in children {
        child.join()?;
    }
    println!("count: {}", count.get());
    println!("totals: {:?}", totals.to_vec());
    println!("ratio: {}", ratio.get());

    let accounts = Array::from_slice(&[100, 0])?;
    let child = Process::new(transfer)
        .args((accounts.clone(), 30))
        .start()?;
    child.join()?;
    println!("accounts: {:?}", accounts.to_vec());

    // Slices are copied out and in.
    let numbers = Array::from_iter(0..10)?;
    numbers.copy_from(7, &[70, 80, 90]);
    println!("the middle: {:?}", numbers.slice(4..8));
    println!("the sum: {}", numbers.iter().sum::<i32>());

    // Without a lock, where only one process writes at a time.
    let points = RawArray::from_slice(&[Point { x: 1.0, y: 2.0 }, Point { x: 3.0, y: 4.0 }])?;
    Process::new(mirror)
        .args((points.clone(),))
        .start()?
        .join()?;
    println!("mirrored: {:?}", points.to_vec());
    Ok(())
}

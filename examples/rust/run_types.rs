//! Values as the work of a process, and methods as targets.
//!
//! Where Python subclasses `Process`, a type implements `Run`: it has its own
//! fields and its own constructor, and travels to the child as a whole. And
//! where Python passes a bound method, the method is the target and the object
//! its first argument.
//!
//! `cargo run --example run_types`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use procession::{Pool, Process, Queue, Run};
use serde::{Deserialize, Serialize};

/// What a class that inherits from `Process` is elsewhere.
#[derive(Serialize, Deserialize)]
struct Download {
    url: String,
    sizes: Queue<(String, usize)>,
}

impl Download {
    fn new(host: &str, sizes: &Queue<(String, usize)>) -> Self {
        Self {
            url: format!("https://{host}/index.html"),
            sizes: sizes.clone(),
        }
    }
}

impl Run for Download {
    type Output = procession::Result<()>;

    fn run(self) -> procession::Result<()> {
        // As if it were downloaded.
        let size = self.url.len();
        self.sizes.put(&(self.url, size))
    }
}

/// An object with methods that are worth a process.
#[derive(Clone, Serialize, Deserialize)]
struct Scaler {
    factor: i64,
}

impl Scaler {
    fn scale(self, number: i64) -> i64 {
        self.factor * number
    }

    fn announce(self, to: String) {
        println!("a method in a process: {to}, the factor is {}", self.factor);
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    let sizes = Queue::new()?;
    let child = Process::run(Download::new("example.org", &sizes))
        .name("Download")
        .start()?;
    child.join()?;
    let (url, size) = sizes.get()?;
    println!("downloaded {url}: {size} bytes");

    let scaler = Scaler { factor: 3 };
    let child = Process::new(Scaler::announce)
        .args((scaler.clone(), "attention".to_owned()))
        .start()?;
    child.join()?;

    let pool = Pool::builder().processes(2).build()?;
    let scaled = pool.apply(Scaler::scale, (scaler.clone(), 14))?;
    println!("a method as a task: {scaled}");
    let calls = (1..=4).map(|number| (scaler.clone(), number));
    println!(
        "a method in starmap: {:?}",
        pool.starmap(Scaler::scale, calls)?
    );

    // A closure may be a target if it captures nothing; what it would capture travels as an argument.
    let scaled = pool.apply(|factor: i64, number: i64| factor * number, (5, 5))?;
    println!("a closure as a task: {scaled}");
    Ok(())
}

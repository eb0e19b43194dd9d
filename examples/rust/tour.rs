//! Everything in one walk: processes, shared memory, locks, messages, pools,
//! and what happens when something goes wrong.
//!
//! `cargo run --release --example tour`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::time::Duration;

use procession::{
    Array, Barrier, Condition, Connection, Event, JoinableQueue, Lock, Pool, Process, Queue, RLock,
    Run, Semaphore, ShareableList, SharedMemory, StartMethod, TaskError, ThreadPool, Value,
    Waitable, current_process,
};
use serde::{Deserialize, Serialize};

#[procession::main]
fn main() -> procession::Result<()> {
    processes()?;
    shared_values()?;
    locks()?;
    messages()?;
    pools()?;
    trouble()?;
    threads()?;
    named_memory()?;
    the_heap()
}

fn heading(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.len()));
}

/// A target can be a value that has its own `run`.
#[derive(Serialize, Deserialize)]
struct Greeter {
    greetings: Vec<String>,
}

impl Run for Greeter {
    type Output = ();

    fn run(self) {
        println!("a value at work: {}", self.greetings.join(", "));
    }
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

fn processes() -> procession::Result<()> {
    heading("Processes");
    println!(
        "{} of {} processors may be used",
        procession::usable_cpu_count(),
        procession::cpu_count()
    );
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let child = Process::new(|text: String| println!("{}: {text}", current_process().name))
            .name(format!("child by {method:?}"))
            .args(("hello".to_owned(),))
            .start_method(method)
            .start()?;
        child.join()?;
    }
    let greetings = vec!["good morning".to_owned(), "good evening".to_owned()];
    Process::run(Greeter { greetings }).start()?.join()?;

    let stuck = Process::new(sleep_for_ever).daemon(true).start()?;
    let early = stuck.join_timeout(Duration::from_millis(10))?;
    println!("a process that does not end: {early:?}");
    stuck.kill()?;
    println!("now it has: {}", stuck.join()?);
    Ok(())
}

fn shared_values() -> procession::Result<()> {
    heading("Values and arrays in shared memory");
    let (sum, squares) = (Value::new(0)?, Array::<i32>::zeroed(5)?);
    let fill = |sum: Value<i32>, squares: Array<i32>| {
        for index in 0..squares.len() {
            squares.set(index, (index * index) as i32);
        }
        sum.set(squares.iter().sum());
    };
    let child = Process::new(fill)
        .args((sum.clone(), squares.clone()))
        .start()?;
    child.join()?;
    println!("squares: {:?}, their sum: {}", squares.to_vec(), sum.get());

    let guard = sum.lock()?;
    guard.set(guard.get() + 12);
    drop(guard);
    println!("changed under its lock: {}", sum.get());
    Ok(())
}

fn locks() -> procession::Result<()> {
    heading("Locks, semaphores, conditions, events, barriers");
    let (lock, count) = (Lock::new()?, Value::new(0)?);
    let add = |lock: Lock, count: Value<u32>| -> procession::Result<()> {
        for _ in 0..1000 {
            let _guard = lock.acquire()?;
            count.set(count.get() + 1);
        }
        Ok(())
    };
    let mut children = Vec::new();
    for _ in 0..2 {
        let arguments = (lock.clone(), count.clone());
        children.push(Process::new(add).args(arguments).start()?);
    }
    for child in children {
        child.join()?;
    }
    println!("two processes under one lock: {}", count.get());

    let reentrant = RLock::new()?;
    let (_outer, _inner) = (reentrant.acquire()?, reentrant.acquire()?);
    println!("held {} times by this thread", reentrant.count());

    let places = Semaphore::new(2)?;
    let taken = (places.acquire()?, places.acquire()?);
    println!("a third place: {}", places.try_acquire()?.is_some());
    drop(taken);
    println!("free places: {}", places.value());

    let (condition, ready) = (Condition::new()?, Value::new(false)?);
    let prepare = |condition: Condition, ready: Value<bool>| -> procession::Result<()> {
        let guard = condition.acquire()?;
        ready.set(true);
        guard.notify_all()?;
        Ok(())
    };
    let child = Process::new(prepare)
        .args((condition.clone(), ready.clone()))
        .start()?;
    let mut guard = condition.acquire()?;
    guard.wait_for(|| ready.get())?;
    drop(guard);
    println!("the condition is met: {}", ready.get());
    child.join()?;

    let (event, barrier) = (Event::new()?, Barrier::new(2)?);
    let meet = |event: Event, barrier: Barrier| -> procession::Result<()> {
        event.wait()?;
        barrier.wait()?;
        Ok(())
    };
    let child = Process::new(meet)
        .args((event.clone(), barrier.clone()))
        .start()?;
    event.set();
    barrier.wait()?;
    println!("two processes met at the barrier");
    child.join()?;

    let child = Process::new(|lock: Lock| -> procession::Result<()> {
        lock.acquire()?.leak();
        Ok(())
    })
    .args((lock.clone(),))
    .start()?;
    child.join()?;
    let guard = lock.acquire()?;
    println!("its holder has died: {}", guard.owner_died());
    Ok(())
}

fn messages() -> procession::Result<()> {
    heading("Queues and pipes");
    let (numbers, squares) = (Queue::new()?, Queue::new()?);
    let square = |numbers: Queue<u64>, squares: Queue<u64>| -> procession::Result<()> {
        for number in &numbers {
            squares.put(&number?.pow(2))?;
        }
        squares.close()
    };
    let child = Process::new(square)
        .args((numbers.clone(), squares.clone()))
        .start()?;
    numbers.put_many(1..=5)?;
    numbers.close()?;
    let squares = squares.iter().collect::<procession::Result<Vec<_>>>()?;
    println!("through two queues: {squares:?}");
    child.join()?;

    let tasks = JoinableQueue::new()?;
    let work = |tasks: JoinableQueue<u32>| -> procession::Result<()> {
        for task in tasks.iter() {
            task?;
            tasks.task_done()?;
        }
        Ok(())
    };
    let worker = Process::new(work).args((tasks.clone(),)).start()?;
    tasks.put_many(0..10)?;
    tasks.join()?;
    println!("ten tasks are done");
    tasks.close()?;
    worker.join()?;

    let (here, there) = procession::pipe::<String>()?;
    let echo = |there: Connection<String>| -> procession::Result<()> {
        let text = there.recv()?;
        there.send(&text.to_uppercase())
    };
    let child = Process::new(echo).args((there,)).start()?;
    here.send(&"both ways".to_owned())?;

    // Whatever comes first: an answer, or the end of the child.
    let ready = procession::wait(&[Waitable::from(&here), Waitable::from(&child)], None)?;
    println!("ready: {}", !ready.is_empty());
    println!("through a pipe: {}", here.recv()?);
    child.join()?;
    if let Err(error) = here.recv() {
        println!("after the end: {error}");
    }
    Ok(())
}

fn pools() -> procession::Result<()> {
    heading("A pool of processes");
    let pool = Pool::builder().processes(2).build()?;
    let square = |n: u64| n * n;
    println!("apply: {}", pool.apply(square, (12,))?);
    println!("map: {:?}", pool.map(square, 0..8)?);
    println!("starmap: {:?}", pool.starmap(u64::pow, [(2, 10), (3, 4)])?);
    let results = pool.imap(square, 1..).take(5);
    println!(
        "imap: {:?}",
        results.collect::<procession::Result<Vec<_>>>()?
    );
    let mut results = pool
        .imap_unordered(square, 1..=5)
        .collect::<procession::Result<Vec<_>>>()?;
    results.sort_unstable();
    println!("imap_unordered, sorted: {results:?}");

    let answer = pool.apply_async(square, (9,))?;
    answer.wait()?;
    println!("apply_async: {:?} {}", answer.successful(), answer.get()?);
    pool.close();
    pool.join()?;
    let statistics = pool.statistics();
    println!("items that failed: {}", statistics.items_failed);
    Ok(())
}

fn work(number: u32) -> u32 {
    match number {
        1 => panic!("one is too few"),
        2 => std::process::abort(),
        number => number,
    }
}

fn trouble() -> procession::Result<()> {
    heading("When something goes wrong");
    let pool = Pool::builder().processes(2).build()?;
    for result in pool.try_map(work, 0..4)? {
        match result {
            Ok(number) => println!("a result: {number}"),
            Err(TaskError::Panicked { message, .. }) => println!("a panic: {message}"),
            Err(TaskError::WorkerLost { status, .. }) => println!("a lost worker: {status}"),
            Err(error) => println!("another error: {error}"),
        }
    }
    let limit = Duration::from_millis(50);
    let stuck = pool.call(std::thread::park, ()).timeout(limit).submit()?;
    if let Some(TaskError::TimedOut { limit, .. }) =
        stuck.get().err().as_ref().and_then(procession::Error::task)
    {
        println!("a task took longer than {:?}", limit.unwrap_or_default());
    }
    println!("the pool still works: {}", pool.apply(work, (3,))?);

    let failing = Process::new(|| -> Result<(), String> { Err("no luck".to_owned()) });
    println!("a process that fails: {}", failing.start()?.join()?);
    Ok(())
}

fn threads() -> procession::Result<()> {
    heading("A pool of threads");
    let greeting = "hello".to_owned();
    let pool = ThreadPool::builder().threads(2).build()?;
    let greet = move |name: &str| format!("{greeting}, {name}");
    println!(
        "with captured state: {:?}",
        pool.map(greet, ["Ann", "Bob"])?
    );
    Ok(())
}

fn named_memory() -> procession::Result<()> {
    heading("Memory with a name, for any program");
    let memory = SharedMemory::create(None, 64)?;
    memory.write(0, b"written by the parent")?;
    let child = Process::new(|name: String| -> procession::Result<()> {
        let memory = SharedMemory::attach(&name)?;
        println!("{}", String::from_utf8_lossy(&memory.read(0, 21)?));
        Ok(())
    })
    .args((memory.name().to_owned(),))
    .start()?;
    child.join()?;
    memory.unlink()?;

    let list = ShareableList::new([1, 2, 3])?;
    list.set(1, 20)?;
    println!("a list of {} items: {:?}", list.len(), list.get(1)?);
    list.unlink()?;
    Ok(())
}

fn the_heap() -> procession::Result<()> {
    heading("The heap under it all");
    let before = procession::heap::stats()?;
    let array = Array::<u64>::zeroed(100_000)?;
    let during = procession::heap::stats()?;
    drop(array);
    let after = procession::heap::stats()?;
    println!(
        "an array takes {} KB, and none once it is gone: {}",
        (during.live_bytes - before.live_bytes) / 1000,
        after.live_bytes <= before.live_bytes
    );
    Ok(())
}

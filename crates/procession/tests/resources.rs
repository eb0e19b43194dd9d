//! What dead processes held is given back, and what is exhausted is an error: descriptors, address space, the heap's budget. Each is a
//! program of its own, because it counts or limits what a process has.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "tests that cannot go on fail and say so, and their programs print and exit as users' programs do"
)]

use std::fs::File;
use std::time::Duration;

use procession::{Array, ErrorKind, Pool, Process, StartMethod, TaskError, heap};
use procession_sys::process::{set_address_space_limit, set_descriptor_limit};
use procession_sys::signal::Signal;

#[path = "support/program.rs"]
mod program;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::Forkserver];

fn main() {
    let programs: [(&str, fn()); 6] = [
        ("thousand_workers", thousand_workers),
        ("results_that_nobody_takes", results_that_nobody_takes),
        ("no_descriptors", no_descriptors),
        ("no_address_space", no_address_space),
        ("no_budget", no_budget),
        ("no_zombies", no_zombies),
    ];
    let tests: Vec<(&'static str, fn())> = vec![
        ("a_thousand_killed_workers_leave_nothing", || {
            print("thousand_workers")
        }),
        ("results_that_nobody_takes_are_freed", || {
            print("results_that_nobody_takes")
        }),
        ("exhausted_descriptors", || print("no_descriptors")),
        ("exhausted_address_space", || print("no_address_space")),
        ("exhausted_heap", || print("no_budget")),
        ("no_zombies", || print("no_zombies")),
    ];
    program::run(&programs, tests);
}

fn print(name: &str) {
    eprint!("{}", program::succeed(name));
}

fn large(n: usize) -> Vec<u8> {
    vec![n as u8; 1000]
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

#[derive(Clone, Debug)]
struct Held {
    bytes: u64,
    blocks: u64,
    processes: usize,
    descriptors: usize,
    resident: u64,
}

fn held() -> Held {
    let stats = heap::stats().unwrap();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: u64 = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
    Held {
        bytes: stats.live_bytes,
        blocks: stats.blocks,
        processes: stats.processes,
        descriptors: descriptors(),
        resident: resident * 4096,
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn thousand_workers() {
    procession::init();
    for method in METHODS {
        let pool = Pool::builder()
            .processes(4)
            .start_method(method)
            .build()
            .unwrap();
        // The program, its workers, and the template.
        let family = 1 + 4 + usize::from(method == StartMethod::Forkserver);
        // Until all that were killed are replaced, and the new ones have joined the family.
        let settle = |killed: &[u32]| {
            let replaced = || {
                let pids = pool.pids();
                pids.len() == 4 && pids.iter().all(|pid| !killed.contains(pid))
            };
            while !replaced() || heap::stats().unwrap().processes != family {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _all = pool.map_chunked(large, 0..40, 1).unwrap();
        };
        let kill_some = |times: usize| {
            let mut killed = Vec::new();
            while killed.len() < times {
                for pid in pool.pids() {
                    program::signal(pid, Signal::KILL);
                    killed.push(pid);
                }
                let results = pool.map(large, 0..8).map_err(|error| error.task().cloned());
                assert!(matches!(
                    results,
                    Ok(_) | Err(Some(TaskError::WorkerLost { .. }))
                ));
            }
            // Numbers come again; the last of them are those that may still be there.
            settle(&killed[times - 8..]);
        };
        kill_some(40);
        let before = held();
        kill_some(if method == StartMethod::Spawn {
            300
        } else {
            1000
        });
        let after = held();
        println!("{method}: before {before:?}\n{method}: after  {after:?}");
        assert_eq!(
            (after.processes, after.descriptors),
            (before.processes, before.descriptors)
        );
        assert!(after.blocks <= before.blocks + 8 && after.bytes <= before.bytes + 4096);
        assert!(after.resident <= before.resident + (8 << 20));
    }
}

fn results_that_nobody_takes() {
    procession::init();
    let pool = Pool::builder()
        .processes(2)
        .start_method(StartMethod::Forkserver)
        .build()
        .unwrap();
    let waste = || {
        for n in 0..500 {
            drop(pool.apply_async(large, (n,)).unwrap());
            if n % 50 == 0 {
                drop(pool.imap(large, 0..).take(2));
                let _some: Vec<_> = pool.imap_unordered(large, 0..).take(3).collect();
                drop(pool.map_async(large, 0..30).unwrap());
                pool.apply_async(large, (n,)).unwrap().cancel();
            }
        }
        // Behind all that was queued.
        for _ in 0..3 {
            let _last = pool.map_chunked(large, 0..600, 1).unwrap();
        }
    };
    waste();
    let before = held();
    for _ in 0..5 {
        waste();
    }
    let after = held();
    println!("before {before:?}\nafter  {after:?}");
    // Six thousand tasks and more; the pool forgets them now and then.
    assert!(after.blocks <= 8000, "{after:?}");
    pool.close();
    pool.join().unwrap();
    drop(pool);
    println!("ended  {:?}", held());
    assert!(held().blocks < 50);
}

fn no_descriptors() {
    procession::init();
    set_descriptor_limit(100).unwrap();
    let pool = Pool::builder()
        .processes(2)
        .start_method(StartMethod::Forkserver)
        .build()
        .unwrap();
    let spawned = Pool::builder().processes(2).build().unwrap();
    let child = Process::new(|| ())
        .start_method(StartMethod::Forkserver)
        .start()
        .unwrap();
    assert_eq!(child.join().unwrap().code(), 0);
    drop(child);
    let before = descriptors();

    for _ in 0..10 {
        let mut hoard: Vec<File> = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        // With none, and with fewer than it takes.
        for _ in 0..6 {
            for method in METHODS {
                match Process::new(|| ()).start_method(method).start() {
                    Ok(child) => assert_eq!(child.join().unwrap().code(), 0),
                    Err(error) => assert!(
                        error.to_string().contains("Too many open files")
                            || error.kind() == ErrorKind::Os,
                        "{error:?}"
                    ),
                }
                if let Err(error) = Pool::builder().processes(2).start_method(method).build() {
                    assert_eq!(error.kind(), ErrorKind::Os, "{error}");
                }
            }
            assert_eq!(pool.apply(large, (3,)).unwrap(), large(3));
            hoard.pop();
        }
        hoard.clear();
        let mut hoard: Vec<File> = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        // Workers that die now are replaced when there are descriptors again.
        for pid in [pool.pids(), spawned.pids()].concat() {
            program::signal(pid, Signal::KILL);
        }
        drop(hoard);
        assert_eq!(pool.apply(large, (4,)).unwrap(), large(4));
        assert_eq!(spawned.apply(large, (4,)).unwrap(), large(4));
        for method in METHODS {
            let child = Process::new(|| ()).start_method(method).start().unwrap();
            assert_eq!(child.join().unwrap().code(), 0);
        }
        while pool.statistics().workers + spawned.statistics().workers < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    println!("descriptors: {before} before, {} after", descriptors());
    assert!(descriptors() <= before + 1);
}

fn no_address_space() {
    procession::init();
    let pool = Pool::builder()
        .processes(1)
        .start_method(StartMethod::Forkserver)
        .build()
        .unwrap();
    assert_eq!(pool.apply(large, (1,)).unwrap(), large(1));
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let used = pages
        .split_whitespace()
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 4096;
    set_address_space_limit(used + (48 << 20)).unwrap();

    let error = Array::<u8>::zeroed(256 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    println!("{error}");
    assert_eq!(pool.apply(large, (2,)).unwrap(), large(2));
    let results: Vec<_> = (0..100).map(|n| pool.apply(large, (n,)).unwrap()).collect();
    assert_eq!(results[99], large(99));
    match Process::new(|| ()).start() {
        Ok(child) => println!("{:?}", child.join()),
        Err(error) => println!("{error}"),
    }

    set_address_space_limit(u64::MAX >> 1).unwrap();
    let array = Array::<u8>::zeroed(256 << 20).unwrap();
    array.set(200 << 20, 1);
    assert_eq!(
        Process::new(|| ()).start().unwrap().join().unwrap().code(),
        0
    );
}

fn no_budget() {
    procession::init();
    heap::set_budget(64 << 20);
    let pool = Pool::builder()
        .processes(2)
        .start_method(StartMethod::Forkserver)
        .build()
        .unwrap();
    let error = Array::<u8>::zeroed(256 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("budget"), "{error}");
    println!("{error}");

    // Arguments, results, and many small things.
    let error = pool
        .apply(|bytes: Vec<u8>| bytes.len(), (vec![0; 80 << 20],))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    let error = pool
        .apply(|length: usize| vec![1u8; length], (80 << 20,))
        .unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::EncodeResult { .. })),
        "{error}"
    );
    println!("{error}");
    assert_eq!(pool.statistics().workers_lost, 0);
    let results = pool
        .try_map(|n: usize| vec![n as u8; 10 << 20], 0..24)
        .unwrap();
    assert_eq!(results.len(), 24);
    for (n, result) in results.into_iter().enumerate() {
        match result {
            Ok(bytes) => assert_eq!(bytes[0], n as u8),
            Err(TaskError::EncodeResult { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let mut arrays = Vec::new();
    let error = loop {
        match Array::<u8>::zeroed(60_000) {
            Ok(array) => arrays.push(array),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    let begun = Process::new(sleep_for_ever).start();
    let submitted = pool.apply_async(large, (1,));
    for error in [begun.as_ref().err(), submitted.as_ref().err()]
        .into_iter()
        .flatten()
    {
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    }
    if let Ok(child) = begun {
        child.kill().unwrap();
    }

    drop(arrays);
    assert_eq!(pool.map(large, 0..100).unwrap()[99], large(99));
    assert_eq!(
        Process::new(|| ()).start().unwrap().join().unwrap().code(),
        0
    );
    heap::set_budget(512 << 20);
    assert_eq!(Array::<u8>::zeroed(256 << 20).unwrap().len(), 256 << 20);
}

fn no_zombies() {
    procession::init();
    for method in METHODS {
        for _ in 0..100 {
            drop(Process::new(|| ()).start_method(method).start().unwrap());
        }
        let last = Process::new(|| ()).start_method(method).start().unwrap();
        assert_eq!(last.join().unwrap().code(), 0);
        for child in procession::active_children() {
            child.join().unwrap();
        }
        let pool = Pool::builder()
            .processes(3)
            .start_method(method)
            .build()
            .unwrap();
        for _ in 0..10 {
            let _all = pool.map(large, 0..10).unwrap();
            for pid in pool.pids() {
                program::signal(pid, Signal::KILL);
            }
        }
        drop(pool);
    }
    assert_eq!(program::zombies(), []);
}

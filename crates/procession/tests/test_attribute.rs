//! `#[procession::test]` on tests of every form, in modules too.

#![expect(
    clippy::panic_in_result_fn,
    reason = "a test that returns a result may fail by an assertion too"
)]

use std::time::Duration;

use procession::{Pool, Process, Queue, TaskError, Value, current_process};

fn watchdog() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(120));
        std::process::abort();
    });
}

fn set(value: Value<u32>) {
    value.set(7);
}

#[procession::test]
fn a_plain_test_starts_processes() {
    watchdog();
    let value = Value::new(0).unwrap();
    let child = Process::new(set).args((value.clone(),)).start().unwrap();
    assert_eq!(child.join().unwrap().code(), 0);
    assert_eq!(value.get(), 7);
    assert_eq!(current_process().name, "MainProcess");
}

#[procession::test]
fn a_test_may_return_a_result() -> procession::Result<()> {
    watchdog();
    let pool = Pool::builder().processes(2).build()?;
    assert_eq!(pool.map(|n: u32| n * n, 0..4)?, [0, 1, 4, 9]);
    Ok(())
}

#[procession::test]
fn a_test_may_return_another_error() -> Result<(), Box<dyn std::error::Error>> {
    watchdog();
    let queue = Queue::new()?;
    let put = |queue: Queue<String>| queue.put(&"text".to_owned());
    let child = Process::new(put).args((queue.clone(),)).start()?;
    let text = queue.get()?;
    child.join()?;
    assert_eq!(text.parse::<u32>().ok(), None);
    Ok(())
}

#[procession::test]
#[should_panic(expected = "the child has failed as it should: exit code 3")]
#[expect(clippy::exit, reason = "the child's exit code is looked at")]
fn a_test_may_have_to_panic() {
    watchdog();
    let child = Process::new(|| -> () { std::process::exit(3) })
        .start()
        .unwrap();
    panic!(
        "the child has failed as it should: {}",
        child.join().unwrap()
    );
}

mod inner {
    pub(super) mod most {
        use super::super::*;

        #[procession::test]
        fn a_test_in_a_module_starts_processes() -> procession::Result<()> {
            watchdog();
            let pool = Pool::builder().processes(1).build()?;
            let error = pool.apply(|| -> () { panic!("inside") }, ()).unwrap_err();
            let Some(TaskError::Panicked { message, .. }) = error.task() else {
                panic!("{error}");
            };
            assert_eq!(message, "inside");
            Ok(())
        }
    }
}

/// What a child prints is its own words: nothing of the harness's comes
/// between them.
#[procession::test]
fn the_harness_is_silent_in_children() {
    watchdog();
    let names = Queue::new().unwrap();
    let tell = |names: Queue<(String, bool)>| {
        let me = current_process();
        names.put(&(me.name, me.daemon))
    };
    let child = Process::new(tell)
        .name("the child")
        .args((names.clone(),))
        .daemon(true)
        .start()
        .unwrap();
    assert_eq!(names.get().unwrap(), ("the child".to_owned(), true));
    assert_eq!(child.join().unwrap().code(), 0);
}

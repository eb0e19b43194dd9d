//! Locks and values through the Rust face: between real processes, in messages, and when one of them is killed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "a test that cannot go on fails and says so"
)]

use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use procession::{
    Array, Barrier, BoundedSemaphore, Condition, ErrorKind, Event, Lock, Process, RLock, RawArray,
    RawValue, Semaphore, Shared, Value,
};
use serde::{Deserialize, Serialize};

const PROCESSES: u32 = 3;
const ROUNDS: u32 = 2000;
const TIME_LIMIT: Duration = Duration::from_secs(120);

fn main() {
    procession::init();
    std::thread::spawn(|| {
        std::thread::sleep(TIME_LIMIT);
        eprintln!("watchdog: the tests took longer than {TIME_LIMIT:?}");
        std::process::abort();
    });

    let tests: [(&str, fn()); 9] = [
        ("every_handle_travels", every_handle_travels),
        ("another_type_is_refused", another_type_is_refused),
        ("killed_holder_of_a_lock", killed_holder_of_a_lock),
        ("killed_holder_of_a_value", killed_holder_of_a_value),
        ("lock_excludes_processes", lock_excludes_processes),
        ("lock_is_released_by_another", lock_is_released_by_another),
        ("condition_waits_for_a_process", condition_waits),
        (
            "barrier_runs_its_action_in_one_process",
            barrier_runs_its_action,
        ),
        ("structs_arrays_and_tuples_are_shared", structs_are_shared),
    ];
    let trials = tests
        .map(|(name, test)| {
            Trial::test(name, move || -> Result<(), Failed> {
                test();
                Ok(())
            })
        })
        .into();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn join(child: &Process) {
    assert_eq!(child.join().unwrap().code(), 0);
}

/// One of each.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Everything {
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    condition: Condition,
    shared_lock: Condition,
    event: Event,
    barrier: Barrier,
    value: Value<u32>,
    array: Array<i16>,
    raw_value: RawValue<char>,
    raw_array: RawArray<(bool, f32)>,
}

fn every_handle_travels() {
    fn use_all(all: Everything) -> procession::Result<()> {
        assert!(all.lock.is_locked());
        assert!(
            all.shared_lock.try_acquire()?.is_none(),
            "the lock that travels beside it"
        );
        assert!(all.rlock.try_acquire()?.is_some());
        all.semaphore.release()?;
        assert_eq!(
            all.bounded.release().unwrap_err().kind(),
            ErrorKind::TooManyReleases
        );
        all.value
            .set(all.value.get() + all.array.iter().map(|n| n as u32).sum::<u32>());
        all.raw_value.set('ß');
        assert_eq!(all.raw_array.get(1), (true, 1.5));
        all.condition.acquire()?.notify_all()?;
        all.event.set();
        all.barrier.wait()?;
        Ok(())
    }

    let lock = Lock::new().unwrap();
    let all = Everything {
        shared_lock: Condition::with_lock(&lock).unwrap(),
        lock,
        rlock: RLock::new().unwrap(),
        semaphore: Semaphore::new(0).unwrap(),
        bounded: BoundedSemaphore::new(2).unwrap(),
        condition: Condition::new().unwrap(),
        event: Event::new().unwrap(),
        barrier: Barrier::new(2).unwrap(),
        value: Value::new(7).unwrap(),
        array: Array::from_iter([1, 2, 3]).unwrap(),
        raw_value: RawValue::new('a').unwrap(),
        raw_array: RawArray::from_slice(&[(false, 0.0), (true, 1.5)]).unwrap(),
    };
    let guard = all.lock.acquire().unwrap();
    let child = Process::new(use_all).args((all.clone(),)).start().unwrap();
    let permit = all.semaphore.acquire().unwrap();
    permit.forget();
    all.event.wait().unwrap();
    all.barrier.wait().unwrap();
    join(&child);
    drop(guard);

    assert_eq!((all.value.get(), all.raw_value.get()), (13, 'ß'));
    assert_eq!(all.semaphore.value(), 0);
}

fn another_type_is_refused() {
    /// What arrives is not what was sent.
    #[derive(Serialize)]
    struct Disguised(RawValue<u32>);

    impl<'de> Deserialize<'de> for Disguised {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let letter = RawValue::<char>::deserialize(from)?;
            letter.set('x');
            Ok(Self(RawValue::new(0).unwrap()))
        }
    }

    fn receive(_: Disguised) {}

    let number = RawValue::new(u32::MAX).unwrap();
    let child = Process::new(receive)
        .args((Disguised(number.clone()),))
        .start()
        .unwrap();
    assert_eq!(child.join().unwrap().code(), 1);
    assert_eq!(number.get(), u32::MAX);
}

fn killed_holder_of_a_lock() {
    fn hold(lock: Lock, rlock: RLock, held: Event) -> procession::Result<()> {
        lock.acquire()?.leak();
        rlock.acquire()?.leak();
        rlock.acquire()?.leak();
        held.set();
        loop {
            std::thread::park();
        }
    }

    let (lock, rlock, held) = (
        Lock::new().unwrap(),
        RLock::new().unwrap(),
        Event::new().unwrap(),
    );
    let child = Process::new(hold)
        .args((lock.clone(), rlock.clone(), held.clone()))
        .start()
        .unwrap();
    held.wait().unwrap();
    assert!(
        lock.acquire_timeout(Duration::from_millis(20))
            .unwrap()
            .is_none()
    );
    assert!(rlock.try_acquire().unwrap().is_none());
    child.kill().unwrap();

    assert!(lock.acquire().unwrap().owner_died());
    assert!(rlock.acquire().unwrap().owner_died());
    assert!(!lock.acquire().unwrap().owner_died());
    assert!(!rlock.acquire().unwrap().owner_died());
    child.join().unwrap();
}

fn killed_holder_of_a_value() {
    fn hold(value: Value<u64>, held: Event) -> procession::Result<()> {
        let guard = value.lock()?;
        guard.set(1);
        held.set();
        loop {
            std::thread::park();
        }
    }

    let (value, held) = (Value::new(0).unwrap(), Event::new().unwrap());
    let child = Process::new(hold)
        .args((value.clone(), held.clone()))
        .start()
        .unwrap();
    held.wait().unwrap();
    assert!(value.try_lock().unwrap().is_none());
    assert!(
        value
            .lock_timeout(Duration::from_millis(20))
            .unwrap()
            .is_none()
    );
    child.kill().unwrap();

    assert_eq!(
        value.get(),
        1,
        "waits for the lock, and leaves the report to the guard"
    );
    assert!(value.lock().unwrap().owner_died());
    assert!(!value.lock().unwrap().owner_died());
    child.join().unwrap();
}

fn lock_excludes_processes() {
    fn count(
        lock: Lock,
        number: RawValue<u32>,
        other: Value<u32>,
        array: Array<u32>,
    ) -> procession::Result<()> {
        for _ in 0..ROUNDS {
            let guard = lock.acquire()?;
            number.set(number.get() + 1);
            drop(guard);
            other.update(|n| n + 1);
            let array = array.lock()?;
            array.set(0, array.get(0) + 1);
        }
        Ok(())
    }

    let arguments = (
        Lock::new().unwrap(),
        RawValue::new(0).unwrap(),
        Value::new(0).unwrap(),
        Array::zeroed(1).unwrap(),
    );
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| Process::new(count).args(arguments.clone()).start().unwrap())
        .collect();
    children.iter().for_each(join);
    let (_, number, other, array) = arguments;
    let all = PROCESSES * ROUNDS;
    assert_eq!((number.get(), other.get(), array.get(0)), (all, all, all));
}

fn lock_is_released_by_another() {
    fn release(lock: Lock) -> procession::Result<()> {
        lock.release()
    }

    let lock = Lock::new().unwrap();
    assert_eq!(lock.release().unwrap_err().kind(), ErrorKind::WrongState);
    let guard = lock.acquire().unwrap();
    join(&Process::new(release).args((lock.clone(),)).start().unwrap());
    assert!(!lock.is_locked());
    drop(guard);
    assert_eq!(
        RLock::new().unwrap().release().unwrap_err().kind(),
        ErrorKind::WrongState
    );
}

fn condition_waits() {
    fn step(condition: Condition, number: RawValue<u32>) -> procession::Result<()> {
        for _ in 0..ROUNDS {
            let mut guard = condition.acquire()?;
            guard.wait_for(|| number.get() % 2 == 1)?;
            number.set(number.get() + 1);
            guard.notify_one()?;
        }
        Ok(())
    }

    let (condition, number) = (Condition::new().unwrap(), RawValue::new(0).unwrap());
    let child = Process::new(step)
        .args((condition.clone(), number.clone()))
        .start()
        .unwrap();
    for _ in 0..ROUNDS {
        let mut guard = condition.acquire().unwrap();
        number.set(number.get() + 1);
        guard.notify_all().unwrap();
        guard.wait_for(|| number.get().is_multiple_of(2)).unwrap();
    }
    join(&child);
    assert_eq!(number.get(), 2 * ROUNDS);

    let mut guard = condition.acquire().unwrap();
    assert!(!guard.wait_timeout(Duration::from_millis(20)).unwrap());
    assert!(
        !guard
            .wait_for_timeout(Duration::from_millis(20), || false)
            .unwrap()
    );
    assert!(guard.wait_for_timeout(Duration::ZERO, || true).unwrap());
    assert_eq!(guard.notify(5).unwrap(), 0);
    assert!(!guard.owner_died());
}

fn barrier_runs_its_action() {
    fn meet(barrier: Barrier) -> procession::Result<()> {
        for _ in 0..50 {
            barrier.wait()?;
        }
        Ok(())
    }

    fn break_down() {
        panic!("as the test wants it");
    }

    let barrier = Barrier::with_action(PROCESSES, || assert!(std::process::id() != 0)).unwrap();
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| Process::new(meet).args((barrier.clone(),)).start().unwrap())
        .collect();
    children.iter().for_each(join);
    assert_eq!((barrier.parties(), barrier.n_waiting()), (PROCESSES, 0));

    let broken = Barrier::with_action(1, break_down).unwrap();
    assert!(std::panic::catch_unwind(|| broken.wait()).is_err());
    assert!(broken.is_broken());
    assert_eq!(broken.wait().unwrap_err().kind(), ErrorKind::Broken);
    broken.reset().unwrap();
    assert!(!broken.is_broken());

    let lonely = Barrier::new(2).unwrap();
    let error = lonely.wait_timeout(Duration::from_millis(20)).unwrap_err();
    assert!(error.is_timeout());
    assert!(lonely.is_broken());
    lonely.abort().unwrap();
    assert_eq!(
        Barrier::new(0).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

fn structs_are_shared() {
    #[derive(Clone, Copy, Debug, PartialEq, Shared)]
    #[repr(C)]
    struct Record<const N: usize> {
        letter: char,
        is_new: bool,
        number: u128,
        numbers: [u16; N],
        pair: (i8, f64),
    }

    fn change(records: Array<Record<3>>) {
        let mut all = records.to_vec();
        all.swap(0, 1);
        all[0].letter = 'é';
        records.copy_from(0, &all);
    }

    let record = Record {
        letter: 'e',
        is_new: true,
        number: 1 << 100,
        numbers: [1, 2, 3],
        pair: (-1, 0.5),
    };
    let zero = Record {
        letter: '\0',
        is_new: false,
        number: 0,
        numbers: [0; 3],
        pair: (0, 0.0),
    };
    let records = Array::<Record<3>>::zeroed(2).unwrap();
    assert_eq!(records.to_vec(), [zero, zero]);
    records.set(
        0,
        Record {
            letter: 'x',
            ..record
        },
    );
    records.set(1, record);
    join(
        &Process::new(change)
            .args((records.clone(),))
            .start()
            .unwrap(),
    );
    assert_eq!(
        records.slice(..1),
        [Record {
            letter: 'é',
            ..record
        }]
    );
    assert_eq!(records.get(1).letter, 'x');
}

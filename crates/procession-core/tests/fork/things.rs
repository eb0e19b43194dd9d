//! One of everything that a program can hold, shared by its threads, and inherited by its forks.

use procession_core::ipc::queue::{JoinableQueue, Queue, Readiness};
use procession_core::pool::{Config, Pool, Task, TaskSpec};
use procession_core::primitives::{Lock, Semaphore};
use procession_core::process::{Child, Launch, Role, StartMethod, image};
use procession_core::shm::handles::{self, Collected, Collecting};
use procession_core::shm::{Block, Message, Wait, heap};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

/// The first byte of an item after which its worker dies.
pub(crate) const DIE: u8 = 1;

pub(crate) struct Things {
    /// Between threads of the program.
    pub(crate) traffic: Queue,
    /// From the copies to the program, and back.
    pub(crate) questions: Queue,
    pub(crate) answers: Queue,
    pub(crate) tasks: JoinableQueue,
    pub(crate) polled: Queue,
    pub(crate) readiness: Readiness,
    pub(crate) lock: Lock,
    pub(crate) semaphore: Semaphore,
    pub(crate) block: Block,
    /// It carries the lock.
    pub(crate) message: Message,
    pub(crate) pool: Pool,
    pub(crate) task: Arc<Task>,
    /// The newest process that the program has started; a fork may find the variable half written, so nobody drops it.
    pub(crate) child: ManuallyDrop<Mutex<Child>>,
}

impl Things {
    pub(crate) fn new() -> Self {
        let lock = Lock::new().unwrap();
        let polled = Queue::new(None).unwrap();
        let pool = pool(2);
        Self {
            traffic: Queue::new(Some(16)).unwrap(),
            questions: Queue::new(None).unwrap(),
            answers: Queue::new(None).unwrap(),
            tasks: JoinableQueue::new(None).unwrap(),
            readiness: polled.readiness().unwrap(),
            polled,
            semaphore: Semaphore::new(2).unwrap(),
            block: heap::allocate(300).unwrap(),
            message: carrying(&lock),
            lock,
            task: submit(&pool, &[0]),
            pool,
            child: ManuallyDrop::new(Mutex::new(start(StartMethod::Spawn, 0))),
        }
    }

    /// No copy has taken anything from the program.
    pub(crate) fn check(&self) {
        assert_eq!(self.block.len(), 300);
        let reading = self.message.begin_reading().unwrap();
        let same = Lock::from_handle(0).unwrap();
        drop(reading);
        assert_eq!(same.id(), self.lock.id());
        assert_eq!(self.tasks.unfinished().unwrap(), 0);
        self.task.wait(&mut Wait::forever()).unwrap();
        assert!(self.task.succeeded(|_| true));
    }
}

/// A message with a handle.
pub(crate) fn carrying(lock: &Lock) -> Message {
    let collecting = Collecting::begin();
    assert_eq!(lock.note().unwrap(), 0);
    let mut message = Message::create(&collecting.finish(), 100).unwrap();
    message.payload_mut().fill(7);
    message
}

/// Starts a process that ends with `code`.
pub(crate) fn start(method: StartMethod, code: u8) -> Child {
    let launch = Launch {
        method,
        name: "started".to_owned(),
        daemon: false,
        role: Role::Process,
        entry: image::position_of(super::runner as fn(_) -> _ as usize).unwrap(),
        payload: vec![code],
        handles: Collected::none(),
        memory_limit: None,
    };
    launch.start().unwrap()
}

pub(crate) fn pool(processes: u32) -> Pool {
    Pool::start(Config {
        processes,
        method: StartMethod::Forkserver,
        name: "pool".to_owned(),
        entry: 0,
        prefix: Vec::new(),
        payload: Vec::new(),
        handles: Collected::none(),
        max_tasks_per_child: 0,
        task_timeout: None,
        retries: 0,
        memory_limit: None,
    })
    .unwrap()
}

pub(crate) fn spec(payload: &[u8]) -> TaskSpec<'_> {
    TaskSpec {
        entry: 0,
        name: "echo",
        items: 1,
        payload,
        handles: Collected::none(),
        timeout: None,
        retries: 0,
        announced: true,
    }
}

/// Has the pool run one item.
pub(crate) fn submit(pool: &Pool, item: &[u8]) -> Arc<Task> {
    let mut payload = (item.len() as u64).to_le_bytes().to_vec();
    payload.extend_from_slice(item);
    pool.submit(spec(&payload)).unwrap()
}

/// A queue's message that carries nothing, or a handle of a queue that nobody else has.
pub(crate) fn put(queue: &Queue, len: usize, with_handle: bool) {
    let payload = vec![5; len];
    let collected = if with_handle {
        let inner = Queue::new(None).unwrap();
        let collecting = Collecting::begin();
        handles::note(inner.object()).unwrap();
        collecting.finish()
    } else {
        Collected::none()
    };
    queue
        .put(&[&payload], &collected, &mut Wait::forever())
        .unwrap();
}

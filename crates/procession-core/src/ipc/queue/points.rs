//! Where a test may kill a process inside a queue: every step of both ends and of the task table.
//!
//! Used by the crash tests, which go through all of them.

/// The points, by end, in the order in which an operation passes them.
pub const CRASH_POINTS: &[&str] = &[
    "queue.put.locked",
    "queue.put.linking",
    "queue.put.linked",
    "queue.put.switched",
    "queue.put.publishing",
    "queue.put.queued",
    "queue.put.written",
    "queue.put.published",
    "queue.put.continued",
    "queue.put.settled",
    "queue.put.unlocked",
    "queue.get.locked",
    "queue.get.retiring",
    "queue.get.linked",
    "queue.get.switched",
    "queue.get.left",
    "queue.get.counting",
    "queue.get.copied",
    "queue.get.delivered",
    "queue.get.claimed",
    "queue.get.counted",
    "queue.get.settled",
    "queue.get.unlocked",
    "queue.tasks.adding",
    "queue.tasks.added",
    "queue.tasks.locked",
    "queue.tasks.redo",
    "queue.tasks.entry",
    "queue.tasks.done",
    "queue.tasks.settled",
];

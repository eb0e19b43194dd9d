//! procession's `Queue`: small messages both ways, and vectors one way.
//!
//! The child is a process of procession's own, to which the queues travel as arguments.

use procession::{Process, Queue};

use crate::Result;
use crate::link::{Bulk, Director, Directs, Invitation, Link, Pair, Place};
use crate::work::{self, BULK_BYTES, Message};

/// The child of a link, which ends when the parent's end of its control socket closes.
pub(crate) struct Child {
    director: Option<Director>,
    process: Process,
}

impl Child {
    fn start(start: impl FnOnce(String) -> procession::Result<Process>) -> Result<Self> {
        let invitation = Invitation::new()?;
        let process = start(invitation.name().to_owned())?;
        Ok(Self {
            director: Some(invitation.accept()?),
            process,
        })
    }
}

impl Directs for Child {
    fn director(&mut self) -> &mut Director {
        match &mut self.director {
            Some(director) => director,
            None => unreachable!("only drop takes it"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.director.take());
        let _ = self.process.join();
    }
}

/// A queue each way.
pub(crate) struct Small {
    outgoing: Queue<Message>,
    incoming: Queue<Message>,
}

impl Link for Small {
    fn send(&mut self, message: &Message) -> Result<()> {
        Ok(self.outgoing.put(message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.incoming.get()?)
    }
}

/// Small messages over two queues.
pub(crate) fn small() -> Result<Pair<Small, Child>> {
    let link = Small {
        outgoing: Queue::new()?,
        incoming: Queue::new()?,
    };
    let ends = (link.outgoing.clone(), link.incoming.clone());
    let helper = Child::start(|control| {
        Process::new(serve_small)
            .args((control, ends.0, ends.1))
            .daemon(true)
            .start()
    })?;
    Ok(Pair { link, helper })
}

fn serve_small(control: String, incoming: Queue<Message>, outgoing: Queue<Message>) -> Result<()> {
    Place::new(&control, &[]).serve_link(Small { outgoing, incoming })
}

/// A queue of vectors.
pub(crate) struct Large {
    queue: Queue<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Bulk for Large {
    fn send(&mut self, number: u64) -> Result<()> {
        work::fill(&mut self.buffer, number);
        Ok(self.queue.put(&self.buffer)?)
    }

    fn receive(&mut self) -> Result<u64> {
        Ok(work::sum(&self.queue.get()?))
    }
}

/// Large messages over one queue.
pub(crate) fn large() -> Result<Pair<Large, Child>> {
    let queue = Queue::bounded(8)?;
    let end = queue.clone();
    let helper = Child::start(|control| {
        Process::new(serve_large)
            .args((control, end))
            .daemon(true)
            .start()
    })?;
    Ok(Pair {
        link: Large {
            queue,
            buffer: vec![0; BULK_BYTES],
        },
        helper,
    })
}

fn serve_large(control: String, queue: Queue<Vec<u8>>) -> Result<()> {
    Place::new(&control, &[]).serve_bulk(Large {
        queue,
        buffer: Vec::new(),
    })
}

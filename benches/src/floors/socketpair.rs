//! A pair of stream sockets: two system calls a message, and the kernel's copy.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use crate::Result;
use crate::link::{Helper, Link, Pair, Place};
use crate::work::{self, Message};

pub(crate) const ROLE: &str = "socketpair";

/// One end; in the child it is the standard input.
pub(crate) struct End(UnixStream);

impl Link for End {
    fn send(&mut self, message: &Message) -> Result<()> {
        Ok(self.0.write_all(&work::to_bytes(message))?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; size_of::<Message>()];
        self.0.read_exact(&mut bytes)?;
        Ok(work::from_bytes(&bytes))
    }
}

pub(crate) fn link() -> Result<Pair<End>> {
    let (ours, theirs) = UnixStream::pair()?;
    let helper = Helper::start(ROLE, &[], Some(theirs.into()))?;
    Ok(Pair {
        link: End(ours),
        helper,
    })
}

pub(crate) fn serve(place: &Place) -> Result<()> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
    place.serve_link(End(descriptor.into()))
}

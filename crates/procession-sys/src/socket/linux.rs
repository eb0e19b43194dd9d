//! Sockets on Linux.

#![expect(unsafe_code, reason = "SO_PEERCRED is read by getsockopt")]

use crate::{Error, Result, fd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// How many descriptors one message can carry here.
pub const MOST_DESCRIPTORS: usize = 64;

/// How many connections may wait to be accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backlog(pub u32);

/// The directions of a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Half {
    /// What comes in.
    Read,
    /// What goes out.
    Write,
    /// Both.
    Both,
}

/// The kernel's buffers of a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BufferSize {
    /// Bytes that wait to be read.
    Receive(usize),
    /// Bytes that wait to be taken by the peer.
    Send(usize),
}

/// Who connected a Unix socket, as of that moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerCredentials {
    /// Its process; 0 if that lies in another namespace.
    pub pid: u32,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

/// Two connected stream sockets.
///
/// # Errors
/// Too many open descriptors.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (left, right) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(Error::of("make a socket pair"))?;

    Ok((fd::at_least_three(left)?, fd::at_least_three(right)?))
}

/// Sends bytes, at least one; blocks while there is no room.
///
/// # Errors
/// [`Error::is_broken_pipe`], [`Error::is_interrupted`], [`Error::is_again`] on a non-blocking socket.
#[inline]
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL).map_err(Error::of("send"))
}

/// Sends bytes from several places, at least one.
///
/// # Errors
/// As [`send`].
#[inline]
pub fn send_vectored(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize> {
    let mut nothing = SendAncillaryBuffer::default();

    rustix::net::sendmsg(socket, parts, &mut nothing, SendFlags::NOSIGNAL)
        .map_err(Error::of("send"))
}

/// Receives what there is; blocks while there is nothing. 0 is the end.
///
/// # Errors
/// [`Error::is_broken_pipe`], [`Error::is_interrupted`], [`Error::is_again`] on a non-blocking socket.
#[inline]
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    rustix::net::recv(socket, buffer, RecvFlags::empty())
        .map(|(count, _)| count)
        .map_err(Error::of("receive"))
}

/// Sends bytes (at least one) over a Unix socket, with copies of descriptors attached to the first byte.
///
/// # Errors
/// As [`send`]; more than [`MOST_DESCRIPTORS`]; too many descriptors in flight.
pub fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize> {
    const OPERATION: &str = "send descriptors";

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);

    if bytes.is_empty() || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Error::new(OPERATION, libc::EINVAL));
    }

    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map_err(Error::of(OPERATION))
}

/// Receives bytes with the descriptors attached to them, closed on exec; 0 bytes are the end.
///
/// # Errors
/// As [`receive`]; [`Error::is_too_many_files`] if not all could be received (the bytes are lost, those that came closed).
pub fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>)> {
    const OPERATION: &str = "receive descriptors";

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(Error::of(OPERATION))?;

    let mut descriptors = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            for descriptor in received {
                descriptors.push(fd::at_least_three(descriptor)?);
            }
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Error::new(OPERATION, libc::EMFILE));
    }

    Ok((message.bytes, descriptors))
}

/// Listens at a name in the abstract namespace: no file, gone with the last descriptor of the listening socket.
///
/// # Errors
/// [`Error::is_already_there`], a name longer than 107 bytes, too many open descriptors.
pub fn listen_abstract(name: &[u8], backlog: Backlog) -> Result<OwnedFd> {
    const OPERATION: &str = "listen at the abstract name";

    let named = |errno| Error::of(OPERATION)(errno).with_subject(String::from_utf8_lossy(name));
    let address = SocketAddrUnix::new_abstract_name(name).map_err(named)?;
    let socket = stream_socket(OPERATION)?;

    rustix::net::bind(&socket, &address).map_err(named)?;
    rustix::net::listen(&socket, backlog.0.min(4096).cast_signed()).map_err(named)?;
    Ok(socket)
}

/// Connects to a name in the abstract namespace; blocks while the listener's backlog is full.
///
/// # Errors
/// [`Error::is_connection_refused`] if nobody listens, [`Error::is_interrupted`], too many open descriptors.
pub fn connect_abstract(name: &[u8]) -> Result<OwnedFd> {
    const OPERATION: &str = "connect to the abstract name";

    let named = |errno| Error::of(OPERATION)(errno).with_subject(String::from_utf8_lossy(name));
    let address = SocketAddrUnix::new_abstract_name(name).map_err(named)?;
    let socket = stream_socket(OPERATION)?;

    rustix::net::connect(&socket, &address).map_err(named)?;
    Ok(socket)
}

fn stream_socket(operation: &'static str) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );

    fd::at_least_three(socket.map_err(Error::of(operation))?)
}

/// Takes the next connection; blocks until there is one.
///
/// # Errors
/// [`Error::is_interrupted`], [`Error::is_again`] on a non-blocking socket, too many open descriptors.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC);

    fd::at_least_three(socket.map_err(Error::of("accept a connection"))?)
}

/// Who is at the other end of a Unix socket.
///
/// # Errors
/// Not a Unix socket.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> Result<PeerCredentials> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;

    // SAFETY: `peer` is valid for writes of `len` bytes. (rustix's type has no room for pid 0.)
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        return Err(Error::last("ask who is at the other end"));
    }

    Ok(PeerCredentials {
        pid: peer.pid.unsigned_abs(),
        user: peer.uid,
        group: peer.gid,
    })
}

/// Does the other end of a Unix socket belong to the user that this process acts for?
///
/// # Errors
/// As [`peer_credentials`].
pub fn is_own_user(socket: BorrowedFd<'_>) -> Result<bool> {
    Ok(peer_credentials(socket)?.user == rustix::process::geteuid().as_raw())
}

/// Ends one or both directions for every descriptor of the socket, in all processes: readers see the end.
///
/// # Errors
/// Not connected.
pub fn shutdown(socket: BorrowedFd<'_>, half: Half) -> Result<()> {
    let how = match half {
        Half::Read => Shutdown::Read,
        Half::Write => Shutdown::Write,
        Half::Both => Shutdown::Both,
    };

    rustix::net::shutdown(socket, how).map_err(Error::of("shut a socket down"))
}

/// Asks for a buffer size; the kernel bounds it.
///
/// # Errors
/// Not a socket.
pub fn set_buffer_size(socket: BorrowedFd<'_>, size: BufferSize) -> Result<()> {
    match size {
        BufferSize::Receive(bytes) => sockopt::set_socket_recv_buffer_size(socket, bytes),
        BufferSize::Send(bytes) => sockopt::set_socket_send_buffer_size(socket, bytes),
    }
    .map_err(Error::of("set a socket's buffer size"))
}

//! What people use today.

pub(crate) mod iceoryx2;
pub(crate) mod ipc_channel;
pub(crate) mod procspawn;
pub(crate) mod pthread;
pub(crate) mod rayon;

use crate::roles::Serve;

/// Peers that cannot take part, and why.
pub(crate) const LEFT_OUT: &[&str] = &[
    "crossmist 1.1.2: built with rustc 1.95 it panics at every start of a process \
     (\"entered unreachable code\" in its builtins.rs)",
];

/// The child roles of the peers.
pub(crate) const ROLES: &[(&str, Serve)] = &[
    (ipc_channel::TYPED_ROLE, ipc_channel::serve_typed),
    (
        ipc_channel::SMALL_BYTES_ROLE,
        ipc_channel::serve_small_bytes,
    ),
    (ipc_channel::BYTES_ROLE, ipc_channel::serve_bytes),
    (ipc_channel::SHARED_ROLE, ipc_channel::serve_shared),
    (iceoryx2::POLLED_ROLE, iceoryx2::serve_polled),
    (iceoryx2::NOTIFIED_ROLE, iceoryx2::serve_notified),
    (iceoryx2::BULK_ROLE, iceoryx2::serve_bulk),
];

/// What peers need at the beginning of `main`. In a process that a peer started this does not return.
pub(crate) fn init() {
    ::procspawn::init();
}

//! What the bare machine costs, without a library: no error handling beyond the system calls', no survivors.
//!
//! These files call the operating system directly, for that is what a floor is.

pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod memcpy;
pub(crate) mod os;
pub(crate) mod ring;
pub(crate) mod socketpair;
pub(crate) mod start;

use crate::roles::Serve;

/// The child roles of the floors.
pub(crate) const ROLES: &[(&str, Serve)] = &[
    (futex::ROLE, futex::serve),
    (futex::MAILBOX_ROLE, futex::serve_mailbox),
    (ring::SMALL_ROLE, ring::serve_small),
    (ring::BULK_ROLE, ring::serve_bulk),
    (socketpair::ROLE, socketpair::serve),
    (start::NOTHING_ROLE, start::serve_nothing),
];

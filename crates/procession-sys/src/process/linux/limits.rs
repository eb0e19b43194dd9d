//! Bounds that a process sets on itself; its children inherit them.

use crate::{Error, Result};
use rustix::process::{Resource, Rlimit};

/// Bounds private memory (heap, data, private writable mappings). Shared memory does not count, so shared objects stay
/// usable when an allocation fails.
///
/// # Errors
/// Above the hard limit.
pub fn set_memory_limit(bytes: u64) -> Result<()> {
    set(Resource::Data, bytes).map_err(Error::of("limit the memory"))
}

/// Bounds the numbers that descriptors can get. For tests of exhaustion.
///
/// # Errors
/// Above the hard limit.
pub fn set_descriptor_limit(count: u64) -> Result<()> {
    set(Resource::Nofile, count).map_err(Error::of("limit the descriptors"))
}

/// Lets the process open as many descriptors as its hard limit allows.
///
/// # Errors
/// The system's.
pub fn raise_descriptor_limit() -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);

    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .map_err(Error::of("raise the limit of descriptors"))
}

/// Bounds the address space, shared mappings included. For tests of exhaustion.
///
/// # Errors
/// Above the hard limit.
pub fn set_address_space_limit(bytes: u64) -> Result<()> {
    set(Resource::As, bytes).map_err(Error::of("limit the address space"))
}

/// Sets the soft limit; the hard one stays.
fn set(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let maximum = rustix::process::getrlimit(resource).maximum;

    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum,
        },
    )
}

//! Processes on Linux.

mod child;
mod die_with_parent;
mod fork;
mod image;
mod limits;
mod spawn;
mod status;

pub use child::{ChildProcess, exit_info, pidfd_open};
pub use die_with_parent::die_with_parent_pipe;
pub use fork::{Fork, fork};
pub use image::{BuildId, ImageRange, executable_identity, main_executable};
pub use limits::{
    raise_descriptor_limit, set_address_space_limit, set_descriptor_limit, set_memory_limit,
};
pub use spawn::Spawn;
pub use status::{
    StatusLine, at_exit, exists, exit_now, id, is_zombie, new_session, parent_id, start_time,
    status_line,
};

//! Processes: starting them by three methods, what a child does first, how everybody ends.
//!
//! | part | files |
//! |---|---|
//! | starting | `launch`, `method`, `program`, `marker`, `order`, `fork`, `template` |
//! | in the child | `bootstrap`, `current`, `exit` |
//! | in the parent | `child`, `registry`, `life`, `status` |
//! | for the family | `keeper` |
//! | naming code | `image` |

pub mod bootstrap;
pub mod child;
pub mod current;
mod exit;
mod fork;
pub mod image;
mod keeper;
pub mod launch;
mod life;
mod marker;
mod method;
mod order;
pub mod program;
mod registry;
mod status;
pub(crate) mod template;

pub use bootstrap::{Entered, Runner, init};
pub use child::Child;
pub use current::{Current, Parent, current};
pub use launch::Launch;
pub use method::StartMethod;
pub use order::Role;
pub use procession_sys::process::ExitStatus;
pub use procession_sys::thread::{all_cpus, usable_cpus};
pub use program::enter_through_test;
pub use registry::active_children;

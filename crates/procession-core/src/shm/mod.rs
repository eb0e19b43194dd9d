//! The family's shared memory: who belongs to it, what it holds, and how to wait in it.
//!
//! | part | files |
//! |---|---|
//! | members | `family`, `slots`, `identity`, `liveness`, `fork`, `recovery` |
//! | memory | `heap`, `segment`, `arena`, `arena_find`, `run`, `slab`, `slab_cache`, `block`, `sweep`, `offset`, `state_word`, `chunk`, `stats` |
//! | holding | `object`, `references`, `ledger`, `message`, `handles`, `kind` |
//! | waiting | `wait` |
//! | named | `named` |

pub mod arena;
mod arena_find;
pub mod block;
mod chunk;
pub mod family;
pub mod fork;
pub mod handles;
pub mod heap;
pub mod identity;
pub mod kind;
mod ledger;
pub mod liveness;
pub mod message;
pub mod named;
pub mod object;
pub mod offset;
pub mod recovery;
mod references;
mod run;
pub mod segment;
mod slab;
mod slab_cache;
pub mod slots;
mod state_word;
mod stats;
mod sweep;
pub mod wait;

pub use block::Block;
pub use family::{Family, FamilyId};
pub use kind::Kind;
pub use message::Message;
pub use object::{Layout, Object};
pub use offset::{BlockId, Offset};
pub use slots::SlotFlags;
pub use stats::Stats;
pub use wait::Wait;

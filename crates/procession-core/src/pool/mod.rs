//! A pool of supervised worker processes. The protocol is in `README.md` beside this file.
//!
//! | part | files |
//! |---|---|
//! | shared | `cell`, `record`, `shared`, `results` |
//! | in the worker | `worker` |
//! | in the program | `handle`, `task`, `table`, `crew`, `supervisor`, `config`, `fault` |

mod cell;
mod config;
mod crew;
mod fault;
mod handle;
mod record;
mod results;
mod shared;
mod supervisor;
mod table;
mod task;
mod worker;

pub use cell::Phase;
pub use config::{Config, Statistics};
pub use fault::Fault;
pub use handle::Pool;
pub use record::PoolState;
pub use task::{ItemOutcome, Task, TaskSpec};
pub use worker::{Executor, Worker};

//! Who this process is: its name, its parent, how it was started.

use std::sync::{Arc, Mutex, PoisonError};

use procession_sync::OwnerId;

use super::{Role, StartMethod};
use crate::engine::gate;

/// The running process, as it knows itself.
#[derive(Clone, Debug)]
pub struct Current {
    /// The name it was given; the first process of a family is `MainProcess`.
    pub name: String,
    /// Whether it ends with its parent.
    pub daemon: bool,
    /// What it was started for.
    pub role: Role,
    /// How it was started; `None` in the first process.
    pub method: Option<StartMethod>,
    /// Who started it; `None` in the first process.
    pub parent: Option<Parent>,
}

/// The process that started this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its place in the family.
    pub owner: OwnerId,
}

static CURRENT: Mutex<Option<Arc<Current>>> = Mutex::new(None);

/// The running process.
#[must_use]
pub fn current() -> Arc<Current> {
    let _inside = gate::enter();
    CURRENT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(|| {
            Arc::new(Current {
                name: "MainProcess".to_owned(),
                daemon: false,
                role: Role::Process,
                method: None,
                parent: None,
            })
        })
        .clone()
}

pub(super) fn set(current: Current) {
    let _inside = gate::enter();
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(current));
}

//! The checks of `tidy`, one file each.

mod layers;
mod links;
mod operating_system;
mod size;
mod unsafe_code;
mod words;

use std::fmt;
use std::io;
use std::path::Path;

use crate::tree::Tree;

/// Something that must not stay as it is, and where.
pub struct Complaint {
    path: String,
    line: Option<usize>,
    what: String,
}

impl Complaint {
    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: Some(line),
            what: what.into(),
        }
    }

    fn of(path: &str, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

/// All complaints about the repository at `root`; with `write`, the generated
/// pages are brought up to date first.
pub fn run(root: &Path, write: bool) -> io::Result<Vec<Complaint>> {
    if write {
        unsafe_code::write(&Tree::read(root)?)?;
    }

    let tree = Tree::read(root)?;
    let mut complaints = Vec::new();
    layers::check(&tree, &mut complaints);
    operating_system::check(&tree, &mut complaints);
    unsafe_code::check(&tree, &mut complaints);
    links::check(&tree, &mut complaints);
    size::check(&tree, &mut complaints);
    words::check(&tree, &mut complaints);
    Ok(complaints)
}

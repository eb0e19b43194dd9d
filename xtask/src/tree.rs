//! The repository's files, as the checks see them.
//!
//! Build output, version control and binary files are left out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::source;

const SKIPPED_DIRECTORIES: [&str; 5] = [".git", "target", "__pycache__", ".venv", "node_modules"];

/// A text file of the repository.
pub struct File {
    /// Relative to the root, with `/` between its parts.
    pub path: String,
    pub text: String,
    /// For Rust files: `text` with comments and literals blanked.
    pub code: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") {
            source::blank(text)
        } else {
            String::new()
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

pub struct Tree {
    pub root: PathBuf,
    pub files: Vec<File>,
}

impl Tree {
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name();
        let name = name.to_string_lossy();

        if kind.is_dir() {
            let is_skipped =
                SKIPPED_DIRECTORIES.contains(&name.as_ref()) || name.starts_with("target-");
            if !is_skipped {
                collect(root, &path, files)?;
            }
        } else if kind.is_file() && name != "Cargo.lock" {
            // What is not UTF-8 is not text, and no check applies to it.
            if let Ok(text) = String::from_utf8(fs::read(&path)?) {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                let relative = relative.to_string_lossy().replace('\\', "/");
                files.push(File::new(&relative, &text));
            }
        }
    }
    Ok(())
}

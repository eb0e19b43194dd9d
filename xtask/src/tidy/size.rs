//! A file past 600 lines hides something, or has a reason in
//! `xtask/large-files.txt`: one `path: reason` a line, `#` for comments.

use super::Complaint;
use crate::tree::Tree;

const LIMIT: usize = 600;
const REASONS: &str = "xtask/large-files.txt";

pub fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    let reasons = tree.file(REASONS).map_or("", |file| &file.text);
    let mut excused = Vec::new();
    for (number, text) in reasons.lines().enumerate() {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        match text.split_once(": ") {
            Some((path, reason)) if !reason.trim().is_empty() => excused.push((number + 1, path)),
            _ => complaints.push(Complaint::at(REASONS, number + 1, "is not `path: reason`")),
        }
    }

    for file in &tree.files {
        let lines = file.text.lines().count();
        let is_excused = excused.iter().any(|&(_, path)| path == file.path);
        if lines > LIMIT && !is_excused {
            complaints.push(Complaint::of(
                &file.path,
                format!("has {lines} lines: split it, or give the reason in {REASONS}"),
            ));
        }
    }

    for (number, path) in excused {
        let is_large = tree
            .file(path)
            .is_some_and(|file| file.text.lines().count() > LIMIT);
        if !is_large {
            complaints.push(Complaint::at(
                REASONS,
                number,
                format!("{path} is not over {LIMIT} lines: remove its entry"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    fn complaints(reasons: &str, lines: usize) -> usize {
        let tree = Tree {
            root: ".".into(),
            files: vec![
                File::new(REASONS, reasons),
                File::new("a.rs", &"\n".repeat(lines)),
            ],
        };
        let mut complaints = Vec::new();
        check(&tree, &mut complaints);
        complaints.len()
    }

    #[test]
    fn large_files_need_a_reason_and_small_ones_must_not_have_one() {
        assert_eq!(complaints("", 600), 0);
        assert_eq!(complaints("", 601), 1);
        assert_eq!(complaints("# why\na.rs: a table\n", 601), 0);
        assert_eq!(complaints("a.rs: a table\n", 600), 1);
        assert_eq!(complaints("a.rs\n", 601), 2);
    }
}

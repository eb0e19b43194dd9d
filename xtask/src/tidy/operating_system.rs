//! Only `procession-sys` knows an operating system.

use super::Complaint;
use crate::source::{line, words};
use crate::tree::Tree;

const KNOWS: &str = "crates/procession-sys/";
const NAMES: [&str; 3] = ["libc::", "rustix::", "target_os"];

pub fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    let elsewhere = tree.files.iter().filter(|file| {
        file.is_rust() && file.path.starts_with("crates/") && !file.path.starts_with(KNOWS)
    });
    for file in elsewhere {
        for name in NAMES {
            for at in words(&file.code, name) {
                complaints.push(Complaint::at(
                    &file.path,
                    line(&file.code, at),
                    format!("`{name}` belongs into procession-sys"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    #[test]
    fn names_in_code_count_and_names_in_comments_do_not() {
        let text = "// libc::read\n#[cfg(target_os = \"linux\")]\nfn f() { libc::read() }\n";
        let mut complaints = Vec::new();
        let tree = Tree {
            root: ".".into(),
            files: vec![
                File::new("crates/procession-core/src/a.rs", text),
                File::new("crates/procession-sys/src/a.rs", text),
            ],
        };
        check(&tree, &mut complaints);
        assert_eq!(complaints.len(), 2);
        assert!(complaints.iter().all(|c| c.path.contains("core")));
    }
}

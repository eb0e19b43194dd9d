//! What must not stand in the tree at all.
//!
//! A test that is skipped, code that is not written yet, a path of somebody's
//! machine, the host of a package registry (registries are reached through
//! their clients), and a page that does not exist.

use super::Complaint;
use crate::source::{is_word, line};
use crate::tree::{File, Tree};

const NOT_IN_CODE: [(&str, &str); 4] = [
    ("#[ignore", "a test runs or is deleted"),
    ("todo!", "write it, or leave it out"),
    ("unimplemented!", "write it, or leave it out"),
    ("dbg!", "left over from debugging"),
];

const NOT_ANYWHERE: [(&str, &str); 12] = [
    ("/root/", "a path of one machine"),
    ("/home/", "a path of one machine"),
    ("/work/", "a path of one machine"),
    ("index.crates.io", "reach registries through their clients"),
    ("static.crates.io", "reach registries through their clients"),
    ("pypi.org", "reach registries through their clients"),
    (
        "files.pythonhosted.org",
        "reach registries through their clients",
    ),
    (
        "registry.npmjs.org",
        "reach registries through their clients",
    ),
    ("proxy.golang.org", "reach registries through their clients"),
    ("deb.debian.org", "reach registries through their clients"),
    (
        "archive.ubuntu.com",
        "reach registries through their clients",
    ),
    ("sh.rustup.rs", "reach registries through their clients"),
];

/// This file names what it looks for.
const SELF: &str = "xtask/src/tidy/words.rs";

pub fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    for file in tree.files.iter().filter(|file| file.path != SELF) {
        if file.is_rust() {
            for (word, why) in NOT_IN_CODE {
                for at in file.code.match_indices(word).map(|(at, _)| at) {
                    if at == 0 || !is_word(file.code.as_bytes()[at - 1]) || word.starts_with('#') {
                        complaints.push(found(file, at, word, why));
                    }
                }
            }
        }
        for (word, why) in NOT_ANYWHERE {
            for (at, _) in file.text.match_indices(word) {
                complaints.push(found(file, at, word, why));
            }
        }
        missing_pages(tree, file, complaints);
    }
}

fn found(file: &File, at: usize, word: &str, why: &str) -> Complaint {
    Complaint::at(&file.path, line(&file.text, at), format!("`{word}`: {why}"))
}

/// Comments that send the reader to a page of the repository which is not
/// there, as `see LAYOUT.md`. Links are the business of `links`.
fn missing_pages(tree: &Tree, file: &File, complaints: &mut Vec<Complaint>) {
    if !file.is_rust() || file.path.starts_with("xtask/") {
        return;
    }
    for (dot, _) in file.text.match_indices(".md") {
        let at = dot + ".md".len();
        let is_name = dot > 0 && is_word(file.text.as_bytes()[dot - 1]);
        let ends = file.text.as_bytes().get(at).is_none_or(|&b| !is_word(b));
        if is_name && ends {
            let start = file.text[..at]
                .rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-./:".contains(c)))
                .map_or(0, |before| before + 1);
            report_page(tree, file, start, at, complaints);
        }
    }
}

fn report_page(tree: &Tree, file: &File, start: usize, end: usize, out: &mut Vec<Complaint>) {
    let name = &file.text[start..end];
    let last = name.rsplit('/').next().unwrap_or(name);
    let exists = tree
        .files
        .iter()
        .any(|other| other.path.rsplit('/').next() == Some(last));
    if !exists && !name.contains(':') {
        out.push(Complaint::at(
            &file.path,
            line(&file.text, start),
            format!("{name} does not exist"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let tree = Tree {
            root: ".".into(),
            files: vec![File::new("docs/here.md", ""), File::new(path, text)],
        };
        let mut complaints = Vec::new();
        check(&tree, &mut complaints);
        complaints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unfinished_code_is_found_and_its_mention_is_not() {
        assert_eq!(
            complaints("a.rs", "// todo!()\nfn f() { todo!() }").len(),
            1
        );
        assert_eq!(complaints("a.rs", "#[test]\n#[ignore]\nfn f() {}").len(), 1);
        assert_eq!(complaints("a.toml", "todo = \"warn\"").len(), 0);
    }

    #[test]
    fn machines_and_missing_pages_are_found() {
        assert_eq!(complaints("a.sh", "cd /home/me").len(), 1);
        assert_eq!(
            complaints("a.rs", "//! See here.md and docs/here.md.").len(),
            0
        );
        assert_eq!(
            complaints("a.rs", "//!\n//! See NOWHERE.md."),
            ["a.rs:2: NOWHERE.md does not exist"]
        );
    }
}

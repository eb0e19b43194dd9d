//! Arrows point down only.
//!
//! Between crates: `sys` and `sync` are two floors that do not know each
//! other, `core` stands on both, the face stands on `core`. Inside `core`: a
//! module uses only those above it in `MODULES`. And every dependency from
//! outside has its row in the page that says why.

use super::Complaint;
use crate::source::{is_word, line, words};
use crate::tree::{File, Tree};

/// Each crate of the house and those it may stand on.
const CRATES: [(&str, &[&str]); 6] = [
    ("procession-sys", &[]),
    ("procession-sync", &[]),
    ("procession-core", &["procession-sys", "procession-sync"]),
    ("procession-macros", &[]),
    ("procession", &["procession-core", "procession-macros"]),
    ("xtask", &[]),
];

/// The modules of `core` in floors: a module uses those of its own floor and
/// of the floors before it.
const MODULES: [&[&str]; 8] = [
    &["error", "crash", "bytes"],
    &["shm"],
    &["engine"],
    &["primitives"],
    &["ipc"],
    &["process"],
    &["pool"],
    &["manager"],
];

/// The table of everything that shared memory can hold points upwards by
/// design, so that the modules themselves need not.
const TABLE: &str = "kinds";

const CORE: &str = "crates/procession-core/src/";
const REASONS: &str = "docs/design/dependencies.md";

pub fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    let manifests = tree.files.iter().filter(|file| {
        file.path.ends_with("/Cargo.toml")
            && (file.path.starts_with("crates/") || file.path.starts_with("xtask/"))
    });
    for manifest in manifests {
        check_manifest(tree, manifest, complaints);
    }
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        if let Some(inside) = file.path.strip_prefix(CORE) {
            check_module(file, inside, complaints);
        }
    }
}

fn check_manifest(tree: &Tree, manifest: &File, complaints: &mut Vec<Complaint>) {
    let name = manifest
        .text
        .lines()
        .find_map(|line| line.strip_prefix("name = "))
        .map_or("", |name| name.trim_matches('"'));
    let Some((_, below)) = CRATES.iter().find(|(known, _)| *known == name) else {
        complaints.push(Complaint::of(
            &manifest.path,
            format!("crate {name} has no place among the layers of xtask/src/tidy/layers.rs"),
        ));
        return;
    };

    let reasons = tree.file(REASONS).map_or("", |file| &file.text);
    for (number, dependency, is_development) in dependencies(&manifest.text) {
        let is_ours = CRATES.iter().any(|(known, _)| *known == dependency);
        if is_ours {
            // What a layer ships keeps to the layers; its tests may kill and starve processes by way of the system.
            let is_for_tests =
                is_development && (dependency == name || dependency == "procession-sys");
            if !is_for_tests && !below.contains(&dependency) {
                complaints.push(Complaint::at(
                    &manifest.path,
                    number,
                    format!("{name} must not depend on {dependency}"),
                ));
            }
        } else if !has_reason(reasons, dependency, name) {
            complaints.push(Complaint::at(
                &manifest.path,
                number,
                format!("{dependency} has no row for {name} in {REASONS}"),
            ));
        }
    }
}

/// The dependencies of a manifest: line, name, whether for development only.
fn dependencies(manifest: &str) -> Vec<(usize, &str, bool)> {
    let mut found = Vec::new();
    let mut section = "";
    for (number, line) in manifest.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            if let Some((kind, name)) = section.rsplit_once('.')
                && kind.ends_with("dependencies")
            {
                found.push((number + 1, name, kind.ends_with("dev-dependencies")));
            }
        } else if section.ends_with("dependencies") {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with('#') && is_word(line.as_bytes()[0]) {
                found.push((number + 1, name, section.ends_with("dev-dependencies")));
            }
        }
    }
    found
}

/// Whether the table has a row for `dependency` whose second column names
/// `user`.
fn has_reason(reasons: &str, dependency: &str, user: &str) -> bool {
    reasons.lines().any(|line| {
        let mut columns = line.split('|').skip(1);
        let (first, second) = (columns.next(), columns.next());
        first.is_some_and(|first| first.trim() == format!("`{dependency}`"))
            && second.is_some_and(|second| second.contains(&format!("`{user}`")))
    })
}

fn floor(module: &str) -> Option<usize> {
    MODULES.iter().position(|floor| floor.contains(&module))
}

fn check_module(file: &File, inside: &str, complaints: &mut Vec<Complaint>) {
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    if module == "lib" || module == TABLE {
        return;
    }
    let Some(own) = floor(module) else {
        complaints.push(Complaint::of(
            &file.path,
            format!("module {module} has no place among the layers of xtask/src/tidy/layers.rs"),
        ));
        return;
    };

    for (at, used) in crate_paths(&file.code) {
        if floor(used).is_some_and(|used| used > own) {
            complaints.push(Complaint::at(
                &file.path,
                line(&file.code, at),
                format!("{module} must not use {used}, which stands on it"),
            ));
        }
    }
}

/// The first names of all `crate::` paths, those of `crate::{a::b, c}` too.
fn crate_paths(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for at in words(code, "crate::") {
        let start = at + "crate::".len();
        if code[start..].starts_with('{') {
            group(code, start + 1, &mut found);
        } else {
            found.push((start, word(code, start)));
        }
    }
    found
}

/// The first names of the parts of a `{a::b, c::{d, e}}` that opened before
/// `at`.
fn group<'a>(code: &'a str, at: usize, found: &mut Vec<(usize, &'a str)>) {
    let mut depth = 1;
    let mut is_start = true;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' => is_start = true,
            _ if is_word(byte) && depth == 1 && is_start => {
                found.push((offset, word(code, offset)));
                is_start = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn word(code: &str, at: usize) -> &str {
    let rest = &code[at..];
    let length = rest.bytes().take_while(|&byte| is_word(byte)).count();
    &rest[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let reasons = "| `libc` | `procession-sys` | calls |\n";
        let tree = Tree {
            root: ".".into(),
            files: vec![File::new(REASONS, reasons), File::new(path, text)],
        };
        let mut complaints = Vec::new();
        check(&tree, &mut complaints);
        complaints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn crates_depend_downwards() {
        let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
        let check = |name, rest| {
            let path = format!("crates/{name}/Cargo.toml");
            complaints(&path, &manifest(name, rest)).len()
        };
        assert_eq!(
            check(
                "procession-core",
                "[dependencies]\nprocession-sys.workspace = true\n"
            ),
            0
        );
        assert_eq!(
            check(
                "procession-sync",
                "[dependencies]\nprocession-sys.workspace = true\n"
            ),
            1
        );
        assert_eq!(
            check(
                "procession-sys",
                "[dependencies]\n# why\nlibc.workspace = true\n"
            ),
            0
        );
        assert_eq!(
            check(
                "procession-core",
                "[dependencies]\nlibc = { workspace = true }\n"
            ),
            1
        );
        assert_eq!(
            check("procession-core", "[dependencies.libc]\nworkspace = true\n"),
            1
        );
        assert_eq!(
            check(
                "procession-core",
                "[target.'cfg(x)'.dependencies]\nlibc = \"1\"\n"
            ),
            1
        );
        assert_eq!(check("procession-extra", ""), 1);
    }

    #[test]
    fn modules_use_those_below() {
        let in_shm = |text| complaints("crates/procession-core/src/shm/a.rs", text).len();
        assert_eq!(in_shm("use crate::error::Error;\n// crate::pool\n"), 0);
        assert_eq!(in_shm("use crate::pool::Pool;\n"), 1);
        assert_eq!(
            in_shm("use crate::{error::{A, pool}, shm, process::Child};\n"),
            1
        );
        assert_eq!(
            complaints("crates/procession-core/src/other.rs", "").len(),
            1
        );
        assert_eq!(
            complaints("crates/procession-core/src/pool.rs", "use crate::shm;").len(),
            0
        );
    }
}

//! Relative links in Markdown lead somewhere, and their anchors exist.

use std::path::Path;

use super::Complaint;
use crate::tree::{File, Tree};

pub fn check(tree: &Tree, complaints: &mut Vec<Complaint>) {
    for file in tree.files.iter().filter(|file| file.is_markdown()) {
        for (number, target) in targets(&file.text) {
            if let Some(what) = broken(tree, file, &target) {
                complaints.push(Complaint::at(&file.path, number, what));
            }
        }
    }
}

fn broken(tree: &Tree, file: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let resolved = if path.is_empty() {
        file.path.clone()
    } else {
        let Some(resolved) = resolve(&file.path, path) else {
            return Some(format!("link to {target} leaves the repository"));
        };
        resolved
    };
    if !tree.root.join(&resolved).exists() && tree.file(&resolved).is_none() {
        return Some(format!("link to {target}: no such file"));
    }
    let anchor = anchor?;
    let page = tree.file(&resolved).filter(|page| page.is_markdown())?;
    let has_anchor = anchors(&page.text).iter().any(|slug| slug == anchor);
    (!has_anchor).then(|| format!("link to {target}: no such heading"))
}

/// `link` as seen from the file `from`, relative to the root.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in Path::new(link).components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop()?;
            }
            std::path::Component::Normal(part) => parts.push(part.to_str()?),
            std::path::Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

/// The targets of `[text](target)` and `[name]: target`, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            targets.push((number, rest[..end].to_owned()));
        }
        let definition = line.trim_start();
        if definition.starts_with('[')
            && let Some((_, target)) = definition.split_once("]: ")
        {
            let target = target.split_whitespace().next().unwrap_or_default();
            targets.push((number, target.to_owned()));
        }
    }
    targets.retain(|(_, target)| !target.is_empty());
    targets
}

/// The anchors of a page's headings, as the common hosts form them: lower
/// case, punctuation dropped, spaces turned into hyphens, repeats numbered.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let level = line.bytes().take_while(|&byte| byte == b'#').count();
        if level == 0 || !line[level..].starts_with(' ') {
            continue;
        }
        let slug: String = line[level..]
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut anchor = slug.clone();
        let mut repeat = 0;
        while anchors.contains(&anchor) {
            repeat += 1;
            anchor = format!("{slug}-{repeat}");
        }
        anchors.push(anchor);
    }
    anchors
}

/// The numbered lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        (!is_code && !fence).then_some((number + 1, line))
    })
}

/// `line` with `` `code` `` removed.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> usize {
        let tree = Tree {
            root: "no such root".into(),
            files: vec![
                File::new("docs/a.md", "# One thing, well done\n## Twice\n## Twice\n"),
                File::new("docs/b.md", text),
                File::new("src/c.rs", ""),
            ],
        };
        let mut complaints = Vec::new();
        check(&tree, &mut complaints);
        complaints.len()
    }

    #[test]
    fn links_lead_somewhere() {
        assert_eq!(complaints("[a](a.md) [c](../src/c.rs) [w](https://x.y)"), 0);
        assert_eq!(
            complaints("[a](a.md#one-thing-well-done) [t](a.md#twice-1)"),
            0
        );
        assert_eq!(complaints("# Here\n[h](#here)\n\n[r]: a.md\n"), 0);
        assert_eq!(complaints("`[x](none.md)`\n```\n[x](none.md)\n```\n"), 0);
        assert_eq!(complaints("[x](none.md) [y](../../z.md)"), 2);
        assert_eq!(complaints("[x](a.md#none) [y](#none)\n[r]: none.md\n"), 3);
    }
}

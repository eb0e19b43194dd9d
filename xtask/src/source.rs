//! As much of Rust's grammar as the checks need: what is code and what is not.

/// `text` with comments and the contents of string and character literals
/// replaced by spaces. Lines and byte positions stay where they are.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;

    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !continues_word(bytes, at) => match raw_string_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'\'' => match character_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // Only whole literals and comments were replaced, by single-byte spaces.
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    at + rest
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(rest.len())
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"..."` or `r#"..."#`, if that is what starts here.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let found = bytes[open + 1..]
        .windows(close.len())
        .position(|window| window == close.as_slice());
    Some(found.map_or(bytes.len(), |found| open + 1 + found + close.len()))
}

/// The end of a character literal, or `None` for a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        // The escaped character itself may be a quote.
        let rest = bytes.get(at + 3..)?;
        return Some(at + 3 + rest.iter().position(|&b| b == b'\'')? + 1);
    }
    let width = std::str::from_utf8(&bytes[at + 1..(at + 5).min(bytes.len())])
        .map_or_else(|error| error.valid_up_to(), str::len);
    let valid = std::str::from_utf8(&bytes[at + 1..at + 1 + width]).ok()?;
    let length = valid.chars().next()?.len_utf8();
    (bytes.get(at + 1 + length) == Some(&b'\'')).then_some(at + length + 2)
}

fn continues_word(bytes: &[u8], at: usize) -> bool {
    // `br"..."` is a raw string as well.
    let before = at.checked_sub(1).map(|before| bytes[before]);
    match before {
        Some(b'b') => {
            let further = at.checked_sub(2).map(|further| bytes[further]);
            further.is_some_and(is_word)
        }
        Some(byte) => is_word(byte),
        None => false,
    }
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands in `code` with no identifier character at either side.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).filter_map(move |(at, _)| {
        let free_before = at == 0 || !is_word(bytes[at - 1]);
        let free_after = !is_word(word.as_bytes()[word.len() - 1])
            || bytes.get(at + word.len()).is_none_or(|&b| !is_word(b));
        (free_before && free_after).then_some(at)
    })
}

/// The line of a byte position, from 1.
pub fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_moves() {
        let text = "let a = \"libc::x\"; // libc::y\nlet b: &'static str = r#\"libc::\"z\"#; /* a /* b */ c */ libc::w('\"', '\\'');\n";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(words(&code, "libc::").count(), 1);
        assert!(code.contains("&'static str"));
        assert_eq!(line(&code, code.find("libc::").unwrap()), 2);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("mylibc::x libc::y", "libc::").count(), 1);
        assert_eq!(words("shmx shm", "shm").count(), 1);
    }
}

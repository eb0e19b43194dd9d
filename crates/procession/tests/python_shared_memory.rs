//! Rust and every Python from 3.11 on that this machine has hold the two ends of one block, in both directions.
//!
//! The standard library is the oracle: what it writes is read here, what is written here it reads, and both lay the
//! same list out in the same bytes. A Python that attaches leaves the block alone: up to 3.12 its resource tracker
//! would unlink it at exit, so the scripts tell the tracker to forget it. Whatever the tracker complains about on
//! standard error fails the test.

#![expect(
    clippy::disallowed_methods,
    reason = "interpreters are foreign programs"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails and says so"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use procession::{ShareableItem, ShareableList, SharedMemory};

const TIME_LIMIT: Duration = Duration::from_secs(120);

const PRELUDE: &str = r#"
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory, ShareableList

def forget(thing):
    resource_tracker.unregister(getattr(thing, "shm", thing)._name, "shared_memory")
    return thing

def say(*words):
    print(*words, flush=True)

def hear():
    return sys.stdin.readline().rstrip("\n")

arguments = sys.argv[1:]
"#;

/// The interpreters by version, each once.
fn interpreters() -> &'static BTreeMap<String, PathBuf> {
    static FOUND: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let names = [
            "python3",
            "python3.11",
            "python3.12",
            "python3.13",
            "python3.14",
        ];
        let mut candidates: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        let versions = std::env::var_os("PYENV_ROOT")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".pyenv")))
            .map(|root| root.join("versions"));
        if let Some(Ok(entries)) = versions.map(std::fs::read_dir) {
            candidates.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path().join("bin/python3")),
            );
        }

        let found: BTreeMap<String, PathBuf> = candidates
            .into_iter()
            .filter_map(|candidate| Some((version(&candidate)?, candidate)))
            .collect();
        assert!(
            !found.is_empty(),
            "the tests need a Python 3.11 or later on PATH"
        );
        found
    })
}

/// The version of an interpreter that works and is recent enough.
fn version(interpreter: &PathBuf) -> Option<String> {
    let script = "import sys, multiprocessing.shared_memory; \
                  assert sys.version_info >= (3, 11); print(sys.version.split()[0])";
    let output = Command::new(interpreter)
        .args(["-c", script])
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}

/// A script that is running, to talk with line by line.
struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start(interpreter: &PathBuf, script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(interpreter)
            .args(["-c", &format!("{PRELUDE}{script}")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut complaint = String::new();
            let mut errors = self.child.stderr.take().unwrap();
            errors.read_to_string(&mut complaint).unwrap();
            panic!("the script has ended: {complaint}");
        }
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits for a good end, without complaints.
    fn end(mut self) {
        drop(self.input);
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        assert_eq!(rest, "", "lines that nobody asked for");
    }
}

/// Runs a test with each interpreter, under a time limit.
fn with_each(test: impl Fn(&PathBuf)) {
    let (done, watched) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let outcome = watched.recv_timeout(TIME_LIMIT);
        if outcome == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("no end after {TIME_LIMIT:?}");
            std::process::abort();
        }
    });
    for (version, interpreter) in interpreters() {
        println!("with Python {version}");
        test(interpreter);
    }
    drop(done);
    watchdog.join().unwrap();
}

fn unique(what: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("procession-test-{}-{count}-{what}", std::process::id())
}

#[test]
fn python_attaches_to_a_block_from_rust() {
    let script = r#"
block = forget(SharedMemory(name=arguments[0]))
say(block.name, block.size, bytes(block.buf[:6]))
block.buf[6:12] = b"python"
block.close()
"#;
    with_each(|python| {
        let block = SharedMemory::create(None, 12).unwrap();
        block.write(0, b"rust\0\xff").unwrap();
        let mut script = Python::start(python, script, &[block.name()]);
        assert_eq!(
            script.hear(),
            format!(r"{} 12 b'rust\x00\xff'", block.name())
        );
        script.end();

        // The script's end has left the name alone.
        let same = SharedMemory::attach(block.name()).unwrap();
        assert_eq!(same.read(6, 6).unwrap(), b"python");
        block.unlink().unwrap();
    });
}

#[test]
fn rust_attaches_to_a_block_from_python() {
    let script = r#"
block = SharedMemory(create=True, size=10_000)
block.buf[:4] = b"mine"
say(block.name)
hear()
say(bytes(block.buf[-4:]))
# Still there, though others have attached and gone.
SharedMemory(name=block.name).close()
block.close()
block.unlink()
"#;
    with_each(|python| {
        let mut script = Python::start(python, script, &[]);
        let name = script.hear();
        let block = SharedMemory::attach(&name).unwrap();
        assert_eq!(block.size(), 10_000);
        assert_eq!(block.read(0, 5).unwrap(), b"mine\0");
        block.write(9_996, b"ours").unwrap();
        block.close();
        script.say("written");
        assert_eq!(script.hear(), "b'ours'");
        script.end();

        let error = SharedMemory::attach(&name).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
    });
}

#[test]
fn rust_unlinks_what_python_made() {
    let script = r#"
block = forget(SharedMemory(create=True, size=1))
say(block.name)
hear()
try:
    SharedMemory(name=block.name)
except FileNotFoundError:
    say("gone")
"#;
    with_each(|python| {
        let mut script = Python::start(python, script, &[]);
        SharedMemory::attach(&script.hear())
            .unwrap()
            .unlink()
            .unwrap();
        script.say("unlinked");
        assert_eq!(script.hear(), "gone");
        script.end();
    });
}

#[test]
fn names_mean_the_same_in_both() {
    let script = r#"
for name in arguments[1:]:
    block = forget(SharedMemory(name=name))
    say(block.name, block.buf[0])
    block.close()
try:
    SharedMemory(name=arguments[0], create=True, size=1)
except FileExistsError:
    say("taken")
mine = SharedMemory(name="/" + arguments[0] + "-python", create=True, size=1)
mine.buf[0] = 9
say(mine.name)
hear()
mine.close()
mine.unlink()
"#;
    with_each(|python| {
        let name = unique("name");
        let slashed = format!("/{name}");
        let block = SharedMemory::create(Some(&slashed), 1).unwrap();
        block.write(0, &[7]).unwrap();
        let mut script = Python::start(python, script, &[&name, &name, &slashed]);
        assert_eq!(script.hear(), format!("{name} 7"));
        assert_eq!(script.hear(), format!("{slashed} 7"));
        assert_eq!(script.hear(), "taken");

        let theirs = script.hear();
        assert_eq!(theirs, format!("{slashed}-python"));
        for name in [&theirs[..], &theirs[1..]] {
            let block = SharedMemory::attach(name).unwrap();
            assert_eq!((block.name(), block.to_vec()), (name, vec![9]));
        }
        assert!(SharedMemory::create(Some(&theirs), 1).is_err());
        script.say("seen");
        script.end();
        block.unlink().unwrap();
    });
}

fn all_kinds() -> Vec<ShareableItem> {
    vec![
        "howdy".into(),
        b"HoWdY".into(),
        (-273.154).into(),
        i64::MIN.into(),
        ().into(),
        true.into(),
        false.into(),
        "".into(),
        "exactly8".into(),
        b"a longer one, in \x00 more words".into(),
    ]
}

const ALL_KINDS: &str = "['howdy', b'HoWdY', -273.154, -9223372036854775808, None, True, False, '', 'exactly8', \
                         b'a longer one, in \\x00 more words']";

#[test]
fn python_reads_and_changes_a_list_from_rust() {
    let script = r#"
items = forget(ShareableList(name=arguments[0]))
say(list(items))
say(len(items), items.format, items.index(None), items.count("howdy"))
items[0] = 12.5
items[1] = "bytes 8."
items[2] = b"\xff\x00\xfe"
items[3] = None
items[4] = True
items[9] = "shorter"
items.shm.close()
"#;
    with_each(|python| {
        let list = ShareableList::new(all_kinds()).unwrap();
        let format = list.format().unwrap();
        let mut script = Python::start(python, script, &[list.name()]);
        assert_eq!(script.hear(), ALL_KINDS);
        assert_eq!(script.hear(), format!("10 {format} 4 1"));
        script.end();

        let changed = list.to_vec().unwrap();
        assert_eq!(
            changed[..5],
            [
                12.5.into(),
                "bytes 8.".into(),
                b"\xff\x00\xfe".into(),
                ().into(),
                true.into()
            ]
        );
        assert_eq!(changed[9], "shorter".into());
        list.unlink().unwrap();
    });
}

#[test]
fn rust_reads_and_changes_a_list_from_python() {
    let script = r#"
items = ShareableList(eval(arguments[0]))
say(items.shm.name)
hear()
say(list(items))
say(items.format)
items.shm.close()
items.shm.unlink()
"#;
    with_each(|python| {
        let mut script = Python::start(python, script, &[ALL_KINDS]);
        let list = ShareableList::attach(&script.hear()).unwrap();
        assert_eq!(list.to_vec().unwrap(), all_kinds());

        list.set(0, 12.5).unwrap();
        list.set(1, "ünïc").unwrap();
        list.set(2, b"\xff\x00\xfe").unwrap();
        list.set(3, ()).unwrap();
        list.set(4, true).unwrap();
        list.set(5, i64::MAX).unwrap();
        list.set(9, "shorter").unwrap();
        script.say("changed");
        assert_eq!(
            script.hear(),
            "[12.5, 'ünïc', b'\\xff\\x00\\xfe', None, True, 9223372036854775807, False, '', 'exactly8', 'shorter']"
        );
        assert_eq!(script.hear(), list.format().unwrap());
        script.end();
    });
}

#[test]
fn both_lay_a_list_out_in_the_same_bytes() {
    let script = r#"
for items in (eval(arguments[0]), []):
    made = ShareableList(items)
    say(bytes(made.shm.buf).hex())
    made.shm.close()
    made.shm.unlink()
"#;
    let hex = |list: &ShareableList| -> String {
        let bytes = list.shared_memory().to_vec();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    with_each(|python| {
        let list = ShareableList::new(all_kinds()).unwrap();
        let empty = ShareableList::new(Vec::<ShareableItem>::new()).unwrap();
        let mut script = Python::start(python, script, &[ALL_KINDS]);
        assert_eq!(script.hear(), hex(&list));
        assert_eq!(script.hear(), hex(&empty));
        script.end();
        list.unlink().unwrap();
        empty.unlink().unwrap();
    });
}

#[test]
fn the_same_items_fit_in_both() {
    let script = r#"
items = ShareableList(["x" * length for length in range(20)] + [1, None])
for position in range(len(items)):
    for length in range(30):
        try:
            items[position] = b"y" * length
            fits = "fits"
        except ValueError:
            fits = "too long"
        say(fits)
try:
    items[22] = 1
except IndexError:
    say("out of range")
items.shm.close()
items.shm.unlink()
"#;
    with_each(|python| {
        let mut items: Vec<ShareableItem> =
            (0..20).map(|length| "x".repeat(length).into()).collect();
        items.extend([1.into(), ().into()]);
        let list = ShareableList::new(items).unwrap();
        let mut script = Python::start(python, script, &[]);
        for position in 0..list.len() {
            for length in 0..30 {
                let fits = match list.set(position, vec![b'y'; length]) {
                    Ok(()) => "fits",
                    Err(_) => "too long",
                };
                assert_eq!(fits, script.hear(), "{length} bytes at {position}");
            }
        }
        assert!(list.set(22, 1).is_err());
        assert_eq!(script.hear(), "out of range");
        script.end();
        list.unlink().unwrap();
    });
}

#[test]
fn a_long_text_that_is_not_ascii_survives() {
    let script = r#"
items = forget(ShareableList(name=arguments[0]))
say(ascii(items[0]))
items.shm.close()
"#;
    with_each(|python| {
        let text = "日本語テキスト".repeat(3);
        let list = ShareableList::new([text.as_str()]).unwrap();
        let mut script = Python::start(python, script, &[list.name()]);
        let escaped: String = text
            .chars()
            .map(|c| format!("\\u{:04x}", u32::from(c)))
            .collect();
        assert_eq!(script.hear(), format!("'{escaped}'"));
        script.end();
        list.unlink().unwrap();
    });
}

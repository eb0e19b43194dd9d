//! Every example is run, and says what it promises.
//!
//! Examples are programs that cargo has built beside this one, in `target/<profile>/examples`. If somebody runs this test alone, they
//! may be missing, or older than what they are made of: then it has cargo build them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails and says so"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Where the examples are.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let examples = profile.join("examples");
    if !are_fresh(&examples, profile).unwrap_or(false) {
        build(profile);
    }
    examples
});

/// Whether all examples are there and younger than their sources and the
/// library.
fn are_fresh(examples: &Path, profile: &Path) -> std::io::Result<bool> {
    let modified = |path: &Path| fs::metadata(path)?.modified();
    let mut library = std::time::SystemTime::UNIX_EPOCH;
    for built in fs::read_dir(profile.join("deps"))? {
        let built = built?.path();
        let name = built.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("libprocession-") && name.ends_with(".rlib") {
            library = library.max(modified(&built)?);
        }
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rust");
    for source in fs::read_dir(sources)? {
        let source = source?.path();
        let built = modified(&examples.join(source.file_stem().unwrap_or_default()))?;
        if built < library || built < modified(&source)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn build(profile: &Path) {
    let name = profile.file_name().and_then(OsStr::to_str).unwrap();
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--package", "procession", "--examples"])
        .args(["--profile", if name == "debug" { "dev" } else { name }])
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if cfg!(feature = "progress") {
        cargo.args(["--features", "progress"]);
    }
    let status = cargo.status().unwrap();
    assert!(status.success(), "the examples cannot be built: {status}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example is an ordinary program, not a process of the engine's"
)]
fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// What an example has said.
struct Said {
    output: String,
    errors: String,
    status: ExitStatus,
}

/// Runs an example until it and everything that it has started have ended:
/// whatever is left holds the other end of the pipes.
fn run<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> Said {
    let mut child = command(DIRECTORY.join(example))
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + TIME_LIMIT;
    let output = read_to_end(child.stdout.take().unwrap());
    let errors = read_to_end(child.stderr.take().unwrap());
    let status = wait_until(&mut child, deadline).unwrap_or_else(|| {
        child.kill().unwrap();
        panic!("{example} does not end: {:?}", output.recv());
    });
    let rest = |pipe: mpsc::Receiver<String>| {
        let left = deadline.saturating_duration_since(Instant::now());
        pipe.recv_timeout(left)
            .unwrap_or_else(|_| panic!("{example} has left processes behind"))
    };
    Said {
        output: rest(output),
        errors: rest(errors),
        status,
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        // A test that has failed meanwhile does not want it.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

impl Said {
    /// The lines appear in this order, with others between them.
    #[track_caller]
    fn expect(&self, lines: &[&str]) {
        let mut output = self.output.lines();
        for line in lines {
            assert!(
                output.any(|said| said == *line),
                "not said, or not in its place: {line}\n{self}"
            );
        }
    }

    /// A line begins and ends like this.
    #[track_caller]
    fn expect_like(&self, start: &str, end: &str) {
        let is_so = |line: &str| line.starts_with(start) && line.ends_with(end);
        assert!(
            self.output.lines().any(is_so),
            "not said: {start}...{end}\n{self}"
        );
    }

    #[track_caller]
    fn expect_code(&self, code: i32) {
        assert_eq!(self.status.code(), Some(code), "{self}");
    }

    #[track_caller]
    fn expect_error(&self, text: &str) {
        assert!(self.errors.contains(text), "no error: {text}\n{self}");
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            output,
            errors,
            status,
        } = self;
        write!(f, "{status}\noutput:\n{output}\nerrors:\n{errors}")
    }
}

/// Runs an example that ends well and writes nothing to standard error.
#[track_caller]
fn run_quietly(example: &str) -> Said {
    let said = run::<&str>(example, []);
    said.expect_code(0);
    assert_eq!(said.errors, "", "{said}");
    said
}

#[test]
fn globals() {
    run_quietly("globals").expect(&[
        "the child's global list: [1, 2, 3]",
        "the parent's global list: []",
        "through an array: [1, 4, 9, 16]",
        "through a value: 10",
        "through a queue: [1, 2, 3]",
        "through a pipe: [1, 2, 3]",
        "as a result: [1, 2, 3]",
    ]);
}

#[test]
fn values_and_arrays() {
    run_quietly("values_and_arrays").expect(&[
        "count: 4010",
        "totals: [1000, 1000, 1000, 1000]",
        "ratio: 0.0625",
        "accounts: [70, 30]",
        "the middle: [4, 5, 6, 70]",
        "the sum: 261",
        "mirrored: [Point { x: -1.0, y: 2.0 }, Point { x: -3.0, y: 4.0 }]",
    ]);
}

#[test]
fn producer_consumer() {
    let said = run_quietly("producer_consumer");
    for producer in 1..=2 {
        // Those of one producer keep their order; the producers mix.
        let messages =
            [1, 2, 3].map(|number| format!("got message {number} of producer {producer}"));
        said.expect(&messages.each_ref().map(String::as_str));
    }
    said.expect(&[
        "the consumer got 6 messages",
        "3 letters wait",
        "took a",
        "took b",
        "took c",
        "empty: true",
        "waited for another letter: None",
    ]);
    said.expect_like("a third put: ", "");
    said.expect(&["all tasks are done: 4 squares"]);
}

#[test]
fn pipes() {
    let said = run_quietly("pipes");
    said.expect(&["until the end: [3, 2, 1]"]);
    said.expect_like("after the end: ", "the other end is closed");
    said.expect(&[
        "an answer: 10 letters",
        "1000 messages of two senders, all whole: true",
    ]);
}

#[test]
fn process_life() {
    let said = run::<&str>("process_life", []);
    said.expect_code(0);
    said.expect(&[
        "hello, hello from Greeter, a child of MainProcess",
        "Greeter has exit code 0",
        "hi from Spawn, a child of MainProcess",
        "hi from Forkserver, a child of MainProcess",
        "the failing process: exit code 1",
        "joined too early: None, alive: true",
        "after the event: exit code 0",
        "terminated: signal 15",
        "the parent in between: exit code 0",
        "a daemonic child exists: false",
        "an ordinary child exists: false",
        "the ordinary child has finished",
        "bye from Forgotten, a child of MainProcess",
        "a zombie is left: false",
    ]);
    assert_eq!(said.errors, "Error: \"there is no paper in the printer\"\n");
}

#[test]
fn run_types() {
    run_quietly("run_types").expect(&[
        "downloaded https://example.org/index.html: 30 bytes",
        "a method in a process: attention, the factor is 3",
        "a method as a task: 42",
        "a method in starmap: [3, 6, 9, 12]",
        "a closure as a task: 25",
    ]);
}

#[test]
fn pool_basics() {
    let said = run_quietly("pool_basics");
    said.expect_like("workers that leave one CPU free: ", "");
    said.expect(&[
        "apply: 49",
        "apply_async: [1, 4, 9, 16]",
        "the callback saw 144",
        "map: [1, 4, 9, 16, 25, 36]",
        "starmap: [6, 120]",
        "imap: [1, 4, 9]",
    ]);
    said.expect_like("join without close: ", "call close() or terminate() first");
    said.expect_like("apply after close: ", "closed or terminated");
    said.expect(&["equal results: true"]);
    said.expect_like("a serial loop: ", " times as fast");
}

#[test]
fn task_errors() {
    let said = run_quietly("task_errors");
    said.expect_like(
        "map: task task_errors::reciprocal panicked at ",
        ": zero has no reciprocal",
    );
    said.expect(&["1/1 is 1", "1/2 is 0.5"]);
    said.expect_like(
        "1/0 panicked in task_errors.rs:",
        ": zero has no reciprocal",
    );
    said.expect(&[
        "1/4 is 0.25",
        "checked: [Ok(0.5), Err(\"zero has no reciprocal\")]",
        "the good ones: [-1.0, 1.0]",
        "the workers are the same: true",
    ]);
}

#[test]
fn worker_loss() {
    let said = run::<&str>("worker_loss", []);
    said.expect_code(0);
    said.expect(&[
        "1: 10",
        "2: its worker was lost with exit code 7",
        "3: 30",
        "4: its worker was lost with signal 6",
        "5: 50",
        "workers lost: 2",
        "the attempt that worked: 2",
        "timed out after Some(50ms)",
        "the pool still works: [50, 60]",
    ]);
}

#[test]
fn pool_in_a_struct() {
    run_quietly("pool_in_a_struct").expect(&[
        "[     a pool     ]",
        "[  in a struct   ]",
        "[   request 1    ]",
        "[   request 2    ]",
        "[   request 3    ]",
    ]);
}

#[test]
fn queue_in_a_pool() {
    run_quietly("queue_in_a_pool").expect(&[
        "the square of 1 is 1",
        "the square of 2 is 4",
        "the square of 3 is 9",
        "the square of 4 is 16",
        "the total is 30",
        "the answer is 42",
    ]);
}

#[test]
fn missing_init() {
    let said = run_quietly("missing_init");
    said.expect_like(
        "no process: ",
        "call procession::init() first thing in main",
    );
    said.expect_like("no pool: ", "call procession::init() first thing in main");
    assert_eq!(said.output.lines().count(), 2, "{said}");
}

#[test]
fn nested() {
    run_quietly("nested").expect(&[
        "by processes of workers: [Ok(1), Ok(4), Ok(9), Ok(16)]",
        "by a pool of a worker: Ok(385)",
        "a worker knows its name: true, and its parent: Some(\"MainProcess\")",
    ]);
}

#[test]
fn threads() {
    run_quietly("threads").expect(&[
        "lengths: [3, 5, 5]",
        "the captured map: {\"one\": 3, \"seven\": 5, \"three\": 5}",
        "a task panicked: not today",
        "threads left: 0",
    ]);
}

#[test]
fn tour() {
    let said = run::<&str>("tour", []);
    said.expect_code(0);
    said.expect(&[
        "child by Spawn: hello",
        "child by Forkserver: hello",
        "a value at work: good morning, good evening",
        "now it has: signal 9",
        "squares: [0, 1, 4, 9, 16], their sum: 30",
        "two processes under one lock: 2000",
        "a third place: false",
        "the condition is met: true",
        "its holder has died: true",
        "through two queues: [1, 4, 9, 16, 25]",
        "ten tasks are done",
        "ready: true",
        "through a pipe: BOTH WAYS",
        "map: [0, 1, 4, 9, 16, 25, 36, 49]",
        "apply_async: Some(true) 81",
        "a panic: one is too few",
        "a lost worker: signal 6",
        "a task took longer than 50ms",
        "the pool still works: 3",
        "a process that fails: exit code 1",
        "with captured state: [\"hello, Ann\", \"hello, Bob\"]",
        "written by the parent",
        "a list of 3 items: Int(20)",
        "an array takes 800 KB, and none once it is gone: true",
    ]);
    assert!(said.errors.ends_with("Error: \"no luck\"\n"), "{said}");
}

/// A directory of its own, with these files.
fn directory_of(files: &[(&str, &[u8])]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, bytes) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    directory
}

#[test]
fn wordcount_counts_known_files() {
    let directory = directory_of(&[
        ("a.txt", b"three two, three. One! two three"),
        ("b.txt", "THREE na\u{ef}ve\nna\u{ef}ve".as_bytes()),
        ("deep/er/c.txt", b"(four) four four_four four"),
        ("empty.txt", b""),
        // Not UTF-8: the byte is a replacement character, and parts words.
        ("latin-1.txt", b"caf\xe9 caf\xe9 one"),
        ("binary.bin", b"four\0four four four"),
    ]);
    let said = run("wordcount", [directory.path()]);
    said.expect_code(0);
    assert_eq!(said.errors, "");
    said.expect(&[
        "         5  four",
        "         4  three",
        "         2  caf",
        "         2  na\u{ef}ve",
        "         2  one",
        "         2  two",
        "5 files, 90 bytes",
        "17 words, 6 different ones",
        "left out, as they are not text: 1",
    ]);
    said.expect_like("serial loop: ", " s");
    said.expect_like("pool of ", " s");
    said.expect_like("the pool is ", " times as fast as the loop");
    said.expect(&["both have counted the same"]);
}

#[test]
fn wordcount_prints_ten_words_at_most() {
    let text: String = (0..20_u32)
        .map(|n| format!("word{n:02} ").repeat(n as usize + 1))
        .collect();
    let directory = directory_of(&[("words.txt", text.as_bytes())]);
    let said = run("wordcount", [directory.path()]);
    said.expect_code(0);
    let words: Vec<_> = said
        .output
        .lines()
        .take_while(|l| l.starts_with(' '))
        .collect();
    assert_eq!(words.len(), 10, "{said}");
    assert_eq!(words[0], "        20  word19");
    assert_eq!(words[9], "        11  word10");
    said.expect(&["210 words, 20 different ones"]);
}

#[test]
fn wordcount_counts_nothing_in_an_empty_directory() {
    let directory = directory_of(&[]);
    let said = run("wordcount", [directory.path()]);
    said.expect_code(0);
    said.expect(&["0 files, 0 bytes", "both have counted the same"]);
}

#[cfg(unix)]
#[test]
fn wordcount_names_what_it_cannot_read() {
    let directory = directory_of(&[("a.txt", b"one")]);
    let link = directory.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    std::os::unix::fs::symlink(directory.path(), directory.path().join("circle")).unwrap();
    let said = run("wordcount", [directory.path()]);
    said.expect_code(0);
    said.expect_error(&format!("wordcount: cannot read {}: ", link.display()));
    said.expect(&[
        "         1  one",
        "1 files, 3 bytes",
        "left out, as they cannot be read: 1",
    ]);
}

#[test]
fn wordcount_wants_a_directory() {
    let said = run("wordcount", ["/nowhere/at/all"]);
    said.expect_code(2);
    said.expect_error("wordcount: cannot read /nowhere/at/all: No such file or directory");
    let said = run(
        "wordcount",
        [concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
    );
    said.expect_code(2);
    said.expect_error("wordcount: cannot read ");
    let said = run::<&str>("wordcount", []);
    said.expect_code(2);
    said.expect_error("usage: wordcount DIRECTORY");
}

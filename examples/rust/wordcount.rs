//! Counts the words of all files below a directory: with a serial loop, and on
//! a pool.
//!
//! `cargo run --release --features progress --example wordcount -- DIRECTORY`
//!
//! A small file is not worth a task of its own: its name would take longer to
//! travel than its words to be counted. So files go to the workers in batches
//! of about the same number of bytes, and each worker merges the counts of its
//! batch before they travel back. Files are read where they are counted.
//!
//! Bytes that are not UTF-8 count as replacement characters. Files that contain
//! zero bytes are not text and are left out; files that cannot be read are
//! named and left out. The exit code is 1 if the two ways of counting differ,
//! and 2 if the directory cannot be read.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example says what happens"
)]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use procession::Pool;

/// Batches per worker: few enough to cost nothing, and enough for a worker
/// that is done early to take another one.
const BATCHES_PER_WORKER: u64 = 8;

/// How many of the most frequent words are printed.
const TOP: usize = 10;

type Counts = HashMap<String, u64>;

/// One task: some files, and how large they were when they were listed.
type Batch = Vec<PathBuf>;

/// What there is to count.
#[derive(Default)]
struct Survey {
    files: Vec<(PathBuf, u64)>,
    binary: usize,
    unreadable: usize,
}

impl Survey {
    /// Adds all files below `directory`. Links to directories are not
    /// followed, as they may lead in circles.
    ///
    /// Reading each file once before anything is measured also means that
    /// neither way of counting finds a colder disk than the other.
    fn add_directory(&mut self, directory: &Path) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return self.cannot_read(directory, &error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.cannot_read(directory, &error),
            };
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.add_directory(&path),
                Ok(_) => self.add_file(path),
                Err(error) => self.cannot_read(&path, &error),
            }
        }
    }

    fn add_file(&mut self, path: PathBuf) {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            // Pipes, devices, and links to directories.
            Ok(_) => return,
            Err(error) => return self.cannot_read(&path, &error),
        }
        match fs::read(&path) {
            Ok(bytes) if bytes.contains(&0) => self.binary += 1,
            Ok(bytes) => self.files.push((path, bytes.len() as u64)),
            Err(error) => self.cannot_read(&path, &error),
        }
    }

    fn cannot_read(&mut self, path: &Path, error: &std::io::Error) {
        eprintln!("wordcount: cannot read {}: {error}", path.display());
        self.unreadable += 1;
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Neighbours together, until a batch has its share of the bytes.
    fn batches(&self, workers: usize) -> Vec<Batch> {
        let share = self.bytes() / (workers as u64 * BATCHES_PER_WORKER) + 1;
        let (mut batches, mut batch, mut size) = (Vec::new(), Batch::new(), 0);
        for (path, bytes) in &self.files {
            batch.push(path.clone());
            size += bytes;
            if size >= share {
                batches.push(std::mem::take(&mut batch));
                size = 0;
            }
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }
}

/// Adds the words of one text to `counts`.
fn count_words(text: &str, counts: &mut Counts) {
    let words = text.split(|c: char| !c.is_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        *counts.entry(word).or_default() += 1;
    }
}

/// Adds the words of one file to `counts`.
fn count_file(path: &Path, counts: &mut Counts) -> Result<(), String> {
    let bytes =
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    count_words(&String::from_utf8_lossy(&bytes), counts);
    Ok(())
}

/// The task of the pool.
fn count_batch(batch: Batch) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for path in batch {
        count_file(&path, &mut counts)?;
    }
    Ok(counts)
}

fn count_serially(survey: &Survey) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for (path, _) in &survey.files {
        count_file(path, &mut counts)?;
    }
    Ok(counts)
}

/// Merges the counts of each batch as they come, while the workers count the
/// next ones.
fn count_on_a_pool(pool: &Pool, batches: Vec<Batch>) -> Result<Counts, String> {
    let bar = progress::bar(batches.len());
    let mut total = Counts::new();
    for counted in pool.imap_unordered(count_batch, batches) {
        let counts = counted.map_err(|error| error.to_string())??;
        for (word, count) in counts {
            *total.entry(word).or_default() += count;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(total)
}

#[cfg(feature = "progress")]
mod progress {
    use indicatif::{ProgressBar, ProgressStyle};

    /// A bar on the terminal, if standard error is one.
    pub(crate) fn bar(batches: usize) -> ProgressBar {
        let bar = ProgressBar::new(batches as u64);
        let template = "{wide_bar} {pos}/{len} batches, {elapsed}";
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

#[cfg(not(feature = "progress"))]
mod progress {
    /// Nothing to look at.
    pub(crate) struct NoBar;

    pub(crate) fn bar(_: usize) -> NoBar {
        NoBar
    }

    impl NoBar {
        pub(crate) fn inc(&self, _: u64) {}

        pub(crate) fn finish_and_clear(&self) {}
    }
}

fn run(directory: &Path) -> Result<ExitCode, String> {
    let mut survey = Survey::default();
    survey.add_directory(directory);

    let started = Instant::now();
    let serial = count_serially(&survey)?;
    let serial_time = started.elapsed();

    let started = Instant::now();
    let pool = Pool::new().map_err(|error| error.to_string())?;
    let batches = survey.batches(pool.processes());
    let tasks = batches.len();
    let parallel = count_on_a_pool(&pool, batches)?;
    // From the start of the workers to the merged result.
    let parallel_time = started.elapsed();

    let mut words: Vec<_> = parallel.iter().collect();
    words.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), word.as_str()));
    for (word, count) in words.iter().take(TOP) {
        println!("{count:>10}  {word}");
    }
    println!("{} files, {} bytes", survey.files.len(), survey.bytes());
    println!(
        "{} words, {} different ones",
        parallel.values().sum::<u64>(),
        parallel.len()
    );
    if survey.binary > 0 {
        println!("left out, as they are not text: {}", survey.binary);
    }
    if survey.unreadable > 0 {
        println!("left out, as they cannot be read: {}", survey.unreadable);
    }
    println!("serial loop: {}", seconds(serial_time));
    println!(
        "pool of {} workers, {tasks} batches: {}",
        pool.processes(),
        seconds(parallel_time)
    );
    println!(
        "the pool is {:.2} times as fast as the loop",
        serial_time.as_secs_f64() / parallel_time.as_secs_f64()
    );
    if serial != parallel {
        eprintln!("the loop and the pool have counted differently");
        return Ok(ExitCode::from(1));
    }
    println!("both have counted the same");
    Ok(ExitCode::SUCCESS)
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

#[procession::main]
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: wordcount DIRECTORY");
        return ExitCode::from(2);
    };
    if let Err(text) = check(&directory) {
        eprintln!("wordcount: {text}");
        return ExitCode::from(2);
    }
    run(Path::new(&directory)).unwrap_or_else(|text| {
        eprintln!("wordcount: {text}");
        ExitCode::from(1)
    })
}

/// Whether there is a directory to count in.
fn check(directory: &OsStr) -> Result<(), String> {
    let path = Path::new(directory);
    match fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

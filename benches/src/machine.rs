//! What the figures were measured on.

use std::fmt;
use std::fs;
use std::thread::available_parallelism;

/// A description of this machine and build.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) usable_cpus: usize,
    pub(crate) kernel: String,
    pub(crate) memory_gib: u64,
    pub(crate) load: String,
    pub(crate) compiler: &'static str,
}

/// How many CPUs this process may use: the number of workers of each pool.
pub(crate) fn usable_cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Describes the machine; what it cannot find out it calls unknown.
pub(crate) fn describe() -> Machine {
    let field = |path: &str, key: &str| {
        fs::read_to_string(path).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
    };
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let unknown = || "unknown".to_owned();
    let kibibytes = field("/proc/meminfo", "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        usable_cpus: usable_cpus(),
        kernel: line("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown()),
        memory_gib: kibibytes.div_ceil(1 << 20),
        load: line("/proc/loadavg").unwrap_or_else(|_| unknown()),
        compiler: env!("RUSTC_VERSION"),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} usable CPUs of {}, {} GiB, Linux {}, {}, load before {}",
            self.usable_cpus, self.cpu, self.memory_gib, self.kernel, self.compiler, self.load
        )
    }
}

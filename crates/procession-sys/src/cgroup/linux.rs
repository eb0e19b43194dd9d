//! Control groups on Linux, both versions, read below `/sys/fs/cgroup`.
//!
//! A container may see the host's path in `/proc/self/cgroup` while only its own group is mounted: then the directories
//! of the path are missing and the walk upwards ends at the mounted group, which is the right one.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The number of processors that the quotas allow, rounded up.
pub(crate) fn cpu_quota() -> Option<usize> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let version2 = groups(&membership, None).into_iter().filter_map(|group| {
        let text = fs::read_to_string(group.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        whole_cpus(quota.parse().ok()?, period.parse().ok()?)
    });
    let version1 = groups(&membership, Some("cpu"))
        .into_iter()
        .filter_map(|group| {
            whole_cpus(
                number(&group.join("cpu.cfs_quota_us"))?,
                number(&group.join("cpu.cfs_period_us"))?,
            )
        });

    version2.chain(version1).min()
}

/// The number of bytes of memory that the limits allow.
pub(crate) fn memory_limit() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let version2 = groups(&membership, None)
        .into_iter()
        .filter_map(|group| number(&group.join("memory.max")));
    // Version 1 says "no limit" by a number near 2^63.
    let version1 = groups(&membership, Some("memory"))
        .into_iter()
        .filter_map(|group| number(&group.join("memory.limit_in_bytes")))
        .filter(|limit| *limit < 1 << 62);

    version2.chain(version1).min()
}

/// The directories of this process's group and all above it; of version 2, or of version 1's `controller`.
fn groups(membership: &str, controller: Option<&str>) -> Vec<PathBuf> {
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };

        let roots = match controller {
            None if controllers.is_empty() => {
                vec![PathBuf::from(ROOT), Path::new(ROOT).join("unified")]
            }
            Some(name) if controllers.split(',').any(|each| each == name) => {
                vec![
                    Path::new(ROOT).join(controllers),
                    Path::new(ROOT).join(name),
                ]
            }
            _ => continue,
        };

        return roots
            .iter()
            .flat_map(|root| {
                Path::new(path.trim_start_matches('/'))
                    .ancestors()
                    .map(|group| root.join(group))
            })
            .collect();
    }

    Vec::new()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn whole_cpus(quota: u64, period: u64) -> Option<usize> {
    if period == 0 {
        None
    } else {
        usize::try_from(quota.div_ceil(period))
            .ok()
            .map(|cpus| cpus.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::{groups, whole_cpus};
    use std::path::PathBuf;

    #[test]
    fn walks_from_the_group_to_the_root() {
        let two = groups("0::/a/b\n", None);
        assert_eq!(
            two[..3],
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"].map(PathBuf::from)
        );

        let one = groups("4:memory:/x\n3:cpu,cpuacct:/y\n0::/\n", Some("cpu"));
        assert_eq!(one[0], PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/y"));
        assert!(one.contains(&PathBuf::from("/sys/fs/cgroup/cpu/y")));
        assert!(groups("0::/\n", Some("memory")).is_empty());
    }

    #[test]
    fn rounds_quotas_up() {
        assert_eq!(whole_cpus(150_000, 100_000), Some(2));
        assert_eq!(whole_cpus(1_000, 100_000), Some(1));
        assert_eq!(whole_cpus(1, 0), None);
    }
}

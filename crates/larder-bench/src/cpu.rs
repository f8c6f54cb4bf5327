//! CPU time, user and system together: what a busy machine does not change much, unlike wall time.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Ticks per second of the times in `/proc/<pid>/stat`; fixed in Linux's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of this process and all its threads so far.
pub fn own_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU seconds of other processes so far, together, to a hundredth of a second.
///
/// # Errors
/// If one of them is gone.
pub fn seconds_of(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|&pid| seconds(pid)).sum()
}

fn seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    ticks(&text).map(|ticks| ticks as f64 / TICKS_PER_SECOND).context("/proc/<pid>/stat in an unknown form")
}

/// utime and stime, fields 14 and 15 (proc(5)); counted from behind the name, which may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Processes whose parent is `pid`, and `pid` itself.
pub fn family(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(listed.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// If it is gone.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in bytes.
///
/// # Errors
/// If it is gone.
pub fn peak_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, name: &'static str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// The machine in one line: processor, cores, kernel, and how busy it was.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string(Path::new("/proc/loadavg")).unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    format!(
        "{} ({cores} cores), Linux {}, load before the run {}",
        model.map_or("unknown processor", |(_, name)| name),
        kernel.trim(),
        load.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 10 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (cut) S 1"), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(own_seconds() > 0.0);
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(peak_bytes(pid).unwrap() > 100_000);
        assert_eq!(family(pid).first(), Some(&pid));
    }
}

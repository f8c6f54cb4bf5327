//! Whether the process that holds a lease still lives.
//!
//! A lease of a crashed process would run out by itself. On the same machine its death is certain at
//! once, so a restart goes on without waiting.

use std::{fmt, fs, str::FromStr, sync::OnceLock};

/// Names one run of a process on one boot of one machine, unlike any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessName {
    host: String,
    boot: String,
    pid: u32,
    started: u64,
}

impl ProcessName {
    /// This process.
    pub fn current() -> &'static Self {
        static CURRENT: OnceLock<ProcessName> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let pid = std::process::id();
            Self { host: host(), boot: boot(), pid, started: start_ticks(pid).unwrap_or_default() }
        })
    }

    /// Whether this process has certainly ended. False for one that this process could not see: on
    /// another machine, of another boot (two machines may share a name), in another container.
    pub fn is_certainly_dead(&self) -> bool {
        let current = Self::current();
        let visible = self.host == current.host && self.boot == current.boot;
        visible && start_ticks(self.pid) != Some(self.started)
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.host, self.boot, self.pid, self.started)
    }
}

impl FromStr for ProcessName {
    type Err = ();

    /// Reads the text of a name; anything after a further slash (a worker's number) is ignored.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            host: next()?.to_owned(),
            boot: next()?.to_owned(),
            pid: next()?.parse().map_err(|_| ())?,
            started: next()?.parse().map_err(|_| ())?,
        })
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String = name.trim().chars().map(|c| if c == '/' { '-' } else { c }).collect();
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}

/// The kernel's random id of this boot and the namespace of process ids: what makes a process id
/// mean the same process.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id: String = id.trim().chars().filter(|c| *c != '-').take(16).collect();
    let namespace =
        fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    let namespace: String = namespace.chars().filter(char::is_ascii_digit).collect();
    format!("{id}-{namespace}")
}

/// When a process started, in clock ticks after boot (proc(5), `/proc/pid/stat`, field 22): process
/// ids are used again, the pair of both is not.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command, in parentheses, may hold spaces and parentheses itself.
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_whitespace();
    // A zombie has ended; only its parent has not noticed.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_a_name_reads_back() {
        let current = ProcessName::current();
        assert!(!current.is_certainly_dead());
        assert_eq!(format!("{current}/worker-1").parse().as_ref(), Ok(current));
    }

    #[test]
    fn a_process_that_ended_is_certainly_dead_and_a_remote_one_is_not() {
        let current = ProcessName::current().clone();
        let reused = ProcessName { started: current.started + 1, ..current.clone() };
        assert!(reused.is_certainly_dead());
        let remote = ProcessName { host: "elsewhere".to_owned(), ..reused.clone() };
        assert!(!remote.is_certainly_dead());
        let earlier_boot = ProcessName { boot: "another".to_owned(), ..reused };
        assert!(!earlier_boot.is_certainly_dead(), "two machines may share a name");
    }
}

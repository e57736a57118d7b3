//! What the measured processes use: CPU time and memory, from /proc; and this process's limit of open files.
//!
//! Only reads. A process that ended, or another operating system, gives no figures, never an error of the run.

use std::{collections::HashMap, fs};

/// Clock ticks per second in /proc/PID/stat: the kernel's USER_HZ, 100 on every architecture that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and its descendants have used. PostgreSQL, for one, works in children of the process that one knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time since they began, children that have ended included, seconds; a multiple of 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory, KiB. Memory shared between the process and its children counts once for each.
    pub rss_kib: u64,
}

struct Stat {
    name: String,
    parent: u32,
    ticks: u64,
}

/// The fields of /proc/PID/stat that matter here. The name may contain blanks and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    // Counted from the state, which is field 3 of proc(5): the parent is 4, utime, stime, cutime and cstime are 14 to 17.
    let ticks = (11..15).map(|i| fields.get(i)?.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Stat { name, parent: fields.get(1)?.parse().ok()?, ticks })
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The name of a process, if it is there.
pub fn name(pid: u32) -> Option<String> {
    stat(pid).map(|stat| stat.name)
}

/// What each of these processes, with its descendants, has used so far; `None` for one that is gone.
pub fn usage(pids: &[u32]) -> Vec<Option<Usage>> {
    if pids.is_empty() {
        return Vec::new();
    }
    let mut all: HashMap<u32, Stat> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(stat) = stat(pid) {
            all.insert(pid, stat);
        }
    }
    pids.iter()
        .map(|&root| {
            all.get(&root)?;
            let mut usage = Usage::default();
            for (&pid, stat) in &all {
                if descends(pid, root, &all) {
                    usage.cpu_seconds += stat.ticks as f64 / TICKS_PER_SECOND;
                    usage.rss_kib += rss_kib(pid);
                }
            }
            Some(usage)
        })
        .collect()
}

fn descends(mut pid: u32, root: u32, all: &HashMap<u32, Stat>) -> bool {
    // Bounded, because the table was not read at one instant and a reused id could close a circle.
    for _ in 0..64 {
        if pid == root {
            return true;
        }
        match all.get(&pid) {
            Some(stat) => pid = stat.parent,
            None => return false,
        }
    }
    false
}

/// CPU time of this process so far, seconds.
pub fn own_cpu_seconds() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| stat.ticks as f64 / TICKS_PER_SECOND)
}

/// Makes room for `needed` open files; a warning in plain words if there is not enough.
pub fn raise_open_files(needed: u64) -> Option<String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limit.current) {
        return None;
    }
    let wanted = if enough(limit.maximum) { Some(needed) } else { limit.maximum };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: limit.maximum });
    if raised.is_ok() && enough(wanted) {
        return None;
    }
    let most = limit.maximum.map_or("unlimited".to_owned(), |most| most.to_string());
    Some(format!(
        "warning: this load needs {needed} open files and may have {most}; raise the limit (ulimit -n) or ask for fewer connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let text = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 9 0 12345 1000 500";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.ticks), ("a (b) c", 7, 124));
        assert!(parse_stat("42 (short) S 7").is_none());
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn a_process_is_measured_with_its_children_and_one_that_is_gone_is_not() {
        let me = std::process::id();
        let usage = usage(&[me, u32::MAX - 1]);
        assert!(usage[0].unwrap().rss_kib > 100);
        assert_eq!(usage[1], None);
        assert!(name(me).is_some());
    }

    #[test]
    fn descendants_are_found_and_circles_end() {
        let all: HashMap<u32, Stat> = [(2, 1), (3, 2), (4, 5), (5, 4)]
            .map(|(pid, parent)| (pid, Stat { name: String::new(), parent, ticks: 0 }))
            .into();
        assert!(descends(3, 2, &all) && descends(2, 2, &all));
        assert!(!descends(4, 2, &all) && !descends(2, 3, &all));
    }

    #[test]
    fn few_files_need_no_warning() {
        assert_eq!(raise_open_files(1), None);
        assert!(raise_open_files(u64::MAX - 1).is_none_or(|warning| warning.starts_with("warning: ")));
    }
}

//! What the kernel says of this process, under the names that every exporter for Prometheus uses.
//!
//! Read from `/proc` when somebody asks; where there is none, nothing is shown rather than something made up.

use std::fs;

use prometheus_client::metrics::{counter::ConstCounter, gauge::ConstGauge};

use super::{Page, count};

/// What a tick in `/proc` is, in seconds: the kernel shows times in hundredths (`USER_HZ`) on every architecture that this
/// is built for, whatever it counts in itself.
const TICK: f64 = 0.01;

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// After the machine's start.
    started_ticks: u64,
    virtual_bytes: u64,
}

/// Writes what the kernel says now.
pub fn write(page: &mut Page) {
    if let Some(stat) = read("/proc/self/stat").as_deref().and_then(stat) {
        page.of_process("process_cpu_seconds", "CPU time used", ConstCounter::new(seconds(stat.cpu_ticks)));
        page.of_process("process_threads", "Threads", ConstGauge::new(stat.threads));
        page.of_process("process_virtual_memory_bytes", "Address space", ConstGauge::new(stat.virtual_bytes));
        if let Some(boot) = read("/proc/stat").as_deref().and_then(boot_time) {
            let help = "When the process was started, in seconds since 1970";
            page.of_process("process_start_time_seconds", help, ConstGauge::new(boot + seconds(stat.started_ticks)));
        }
    }
    if let Some(resident) = read("/proc/self/status").and_then(|text| kibibytes(&text, "VmRSS:")) {
        page.of_process("process_resident_memory_bytes", "Memory in use", ConstGauge::new(resident));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is for looking.
        let open = count(open.count()).saturating_sub(1);
        page.of_process("process_open_fds", "Open files and sockets", ConstGauge::new(open));
    }
    if let Some(most) = read("/proc/self/limits").as_deref().and_then(most_files) {
        page.of_process("process_max_fds", "The limit of open files and sockets", ConstGauge::new(most));
    }
    let of_group = || read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let of_machine = || read("/proc/meminfo").and_then(|text| kibibytes(&text, "MemTotal:"));
    if let Some(most) = of_group().or_else(of_machine) {
        page.gauge("memory_limit_bytes", "Memory that the node's control group, or else the machine, has for it", most);
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are more than any machine lives for")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 * TICK
}

/// The fields of proc(5)'s `stat` are counted from 1; the second, a name in brackets, may hold anything.
fn stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        started_ticks: field(22)?,
        virtual_bytes: field(23)?,
    })
}

/// A line such as `VmRSS:   1024 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Seconds since 1970.
fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// The soft limit, which is the one that is met.
fn most_files(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text =
            "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 5000 1048576 256 18446744073709551615";
        let known = Stat { cpu_ticks: 300, threads: 9, started_ticks: 5000, virtual_bytes: 1_048_576 };
        assert_eq!(stat(text), Some(known));
        assert_eq!(stat("7 (a) S 1"), None);
    }

    #[test]
    fn limits_and_the_machines_start_are_found_among_others() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax processes  1  2  processes\nMax open files            1024                 524288               files\n";
        assert_eq!(most_files(limits), Some(1024));
        assert_eq!(kibibytes("VmPeak:  9 kB\nVmRSS:\t   512 kB\n", "VmRSS:"), Some(524_288));
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 9\n"), Some(1_700_000_000.0));
    }

    #[test]
    fn this_process_is_shown() {
        if !std::path::Path::new("/proc/self/stat").exists() {
            return;
        }
        let mut page = Page::default();
        write(&mut page);
        let text = page.text().unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
            line.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 1.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.6e9 && value("process_cpu_seconds_total") >= 0.0);
    }
}

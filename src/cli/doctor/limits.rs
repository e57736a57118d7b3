//! What this machine, or container, allows a node: open files, memory, CPU, and the kernel's bounds on connections.
//!
//! Seen from where `carillon doctor` runs, so it says something about nodes that run in the same place.

use rustix::process::{Resource, getrlimit};

use super::report::{Findings, Verdict};
use crate::config::Settings;

/// Files that a node needs besides its clients': databases, logs, listeners, with room.
const OWN_FILES: u64 = 64;
/// Fewer clients than this are a trial, not a service; more is what `ulimit -n` of a service usually allows.
const FEW_CLIENTS: u64 = 10_000;
/// Below this a node is not worth its start.
const NO_CLIENTS: u64 = 100;
/// Memory of an idle session, in KiB, as docs/deployment.md has it.
const SESSION_KIB: u64 = 15;
/// Memory of a node without any.
const NODE_MIB: u64 = 64;
/// Connections that wait to be accepted: what `serve` asks the kernel for.
const BACKLOG: u64 = 4096;
/// What the kernel has if nobody says anything; a node's own connections to others are few.
const FEW_PORTS: u64 = 1024;

/// Everything, from files of the kernel; what is not there is not checked.
pub(super) fn check(found: &Findings, settings: &Settings) {
    open_files(found, settings);
    memory(found);
    processors(found, settings);
    backlog(found);
    ports(found);
    file_table(found);
    tracked(found);
}

fn open_files(found: &Findings, settings: &Settings) {
    const NAME: &str = "limits.open_files";
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current else { return found.ok(NAME, "no limit") };
    let own = OWN_FILES + u64::from(settings.db_connections) * 2;
    let clients = soft.saturating_sub(own);
    let hard = limit.maximum.map_or("none".to_owned(), |hard| hard.to_string());
    let seen = format!("{soft} (hard limit {hard}): room for {clients} clients");
    let verdict = match clients {
        0..NO_CLIENTS => Verdict::Wrong,
        NO_CLIENTS..FEW_CLIENTS => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let mend = "raise it where nodes are started: LimitNOFILE=1048576 (systemd), --ulimit nofile=1048576:1048576 (Docker), \
        ulimit -n";
    found.judged(NAME, verdict, seen, mend);
}

fn memory(found: &Findings) {
    const NAME: &str = "limits.memory";
    let limit = first(&["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    // The older kind writes a huge number for none.
    let limit = limit.and_then(|text| text.parse::<u64>().ok()).filter(|bytes| *bytes < 1 << 60);
    let Some(bytes) = limit else { return found.ok(NAME, "no limit of the container") };
    let mib = bytes / 1024 / 1024;
    let sessions = mib.saturating_sub(NODE_MIB) * 1024 / SESSION_KIB;
    let verdict = if mib < 2 * NODE_MIB { Verdict::Warning } else { Verdict::Ok };
    let mend = "give the container 512 MiB (docs/deployment.md, sizing): beyond its limit it is killed";
    found.judged(NAME, verdict, format!("{mib} MiB: about {sessions} idle sessions"), mend);
}

fn processors(found: &Findings, settings: &Settings) {
    const NAME: &str = "limits.cpu";
    let there = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let quota = first(&["/sys/fs/cgroup/cpu.max"]).and_then(|text| {
        let (quota, period) = text.split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok().filter(|period| *period > 0.0)?)
    });
    let workers = settings.workers;
    match quota {
        Some(quota) if quota < 1.0 => found.warning(
            NAME,
            format!(
                "a quota of {quota:.2} of a core: a node that is held back renews its lease late, and loses its calls"
            ),
            "set a request of CPU, and no limit (docs/deployment.md)",
        ),
        _ if workers > there => found.warning(
            NAME,
            format!("{workers} workers on {there} cores"),
            "CARILLON_WORKERS=1, and one node for each core: a signal that changes threads costs twice",
        ),
        Some(quota) => {
            found.ok(NAME, format!("{there} cores, a quota of {quota:.2}, {workers} of them for connections"))
        }
        None => found.ok(NAME, format!("{there} cores, no quota, {workers} for connections")),
    }
}

fn backlog(found: &Findings) {
    const NAME: &str = "limits.backlog";
    let Some(most) = number("/proc/sys/net/core/somaxconn") else {
        return found.not_checked(NAME, "net.core.somaxconn cannot be read");
    };
    let verdict = if most < BACKLOG { Verdict::Warning } else { Verdict::Ok };
    let mend = "sysctl net.core.somaxconn=4096: when all clients come back at once, the kernel refuses those beyond";
    found.judged(NAME, verdict, format!("net.core.somaxconn is {most}"), mend);
}

fn ports(found: &Findings) {
    const NAME: &str = "limits.ports";
    let range = first(&["/proc/sys/net/ipv4/ip_local_port_range"]).and_then(|text| {
        let mut ends = text.split_whitespace().filter_map(|end| end.parse::<u64>().ok());
        Some((ends.next()?, ends.next()?))
    });
    let Some((first, last)) = range else { return found.not_checked(NAME, "ip_local_port_range cannot be read") };
    let verdict = if last.saturating_sub(first) < FEW_PORTS { Verdict::Warning } else { Verdict::Ok };
    let mend =
        "sysctl net.ipv4.ip_local_port_range='32768 60999': connections to databases and media servers take one each";
    found.judged(NAME, verdict, format!("{first} to {last} for connections to others"), mend);
}

fn file_table(found: &Findings) {
    const NAME: &str = "limits.file_table";
    let Some(most) = number("/proc/sys/fs/file-max") else {
        return found.not_checked(NAME, "fs.file-max cannot be read");
    };
    let used = first(&["/proc/sys/fs/file-nr"]).and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let used = used.unwrap_or(0);
    let verdict = if used > most / 10 * 9 { Verdict::Warning } else { Verdict::Ok };
    let seen = format!("{used} files are open on this machine, of {most} at most");
    found.judged(NAME, verdict, seen, "raise fs.file-max, or see which process holds them (lsof)");
}

fn tracked(found: &Findings) {
    const NAME: &str = "limits.conntrack";
    let folder = "/proc/sys/net/netfilter/nf_conntrack";
    let (Some(most), Some(used)) = (number(&format!("{folder}_max")), number(&format!("{folder}_count"))) else {
        return found.not_checked(NAME, "connections are not tracked here, or it cannot be read");
    };
    let verdict = if used > most / 10 * 9 || most < FEW_CLIENTS { Verdict::Warning } else { Verdict::Ok };
    let mend = "sysctl net.netfilter.nf_conntrack_max: beyond it the firewall drops new connections";
    found.judged(NAME, verdict, format!("{used} connections are tracked, of {most} at most"), mend);
}

/// The text of the first of these files that can be read.
fn first(files: &[&str]) -> Option<String> {
    files.iter().find_map(|file| std::fs::read_to_string(file).ok()).map(|text| text.trim().to_owned())
}

fn number(file: &str) -> Option<u64> {
    first(&[file])?.parse().ok()
}

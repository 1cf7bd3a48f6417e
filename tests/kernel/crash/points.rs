//! The system calls of a run, as strace shows them.

use std::collections::BTreeMap;

/// How many points a test takes unless it is told otherwise.
const SAMPLE: usize = 16;
/// Calls by which a process changes nothing but itself, or that come in no fixed order.
const HARMLESS: [&str; 29] = [
    "brk",
    "clock_nanosleep",
    "clone",
    "clone3",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "getrandom",
    "gettid",
    "geteuid",
    "getpid",
    "getuid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "poll",
    "prctl",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_getaffinity",
    "set_robust_list",
    "sigaltstack",
];
/// From here on topo deals with the machine; what comes before is the start of any program.
const BEGINNING: [&str; 2] = ["/run/topo", "/proc/thread-self/ns/net"];

/// One system call of a run: its name, and which of its occurrences within a thread, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) call: String,
    pub(super) when: usize,
}

/// The calls in a trace from the point on at which topo turns to the kernel.
pub(super) fn points_of(trace: &str) -> Vec<Point> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut points: Vec<Point> = Vec::new();
    let mut begun = false;
    for line in trace.lines() {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else { continue };
        let call = rest.trim_start().split('(').next().unwrap_or_default();
        // Not what has been resumed, and not what is said about signals and ends.
        if call.is_empty() || !call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        begun |= BEGINNING.iter().any(|path| line.contains(path));
        let point = Point { call: call.to_owned(), when: *count };
        if begun && !HARMLESS.contains(&call) && !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

pub(super) fn sample(points: &[Point]) -> Vec<Point> {
    let wanted = std::env::var("TOPO_CRASH_POINTS").ok();
    let size = match wanted.as_deref() {
        Some("all") => points.len(),
        Some(number) => number.parse().expect("TOPO_CRASH_POINTS is `all` or a number"),
        None => SAMPLE,
    };
    let size = size.min(points.len());
    (0..size).map(|n| points[n * points.len() / size].clone()).collect()
}

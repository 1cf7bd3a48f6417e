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

/// The points that a test takes: all, or some that are spread evenly over the run.
pub(super) fn sample(points: &[Point]) -> Vec<Point> {
    let wanted = std::env::var("TOPO_CRASH_POINTS").ok();
    let size = match wanted.as_deref() {
        Some("all") => return points.to_vec(),
        Some(number) => number.parse().expect("TOPO_CRASH_POINTS is `all` or a number"),
        None => SAMPLE,
    };
    let points = without_repetition(points);
    let size = size.min(points.len());
    (0..size).map(|n| points[n * points.len() / size].clone()).collect()
}

/// Leaves so many points of each call. A run that looks at every process of the machine makes the same calls hundreds of times, which
/// would crowd out all others.
fn without_repetition(points: &[Point]) -> Vec<Point> {
    const OF_EACH_CALL: usize = 24;
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for point in points {
        *totals.entry(&point.call).or_default() += 1;
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for point in points {
        let (total, position) = (totals[point.call.as_str()], seen.entry(&point.call).or_default());
        let share = |position: usize| position * OF_EACH_CALL.min(total) / total;
        if share(*position + 1) > share(*position) {
            kept.push(point.clone());
        }
        *position += 1;
    }
    kept
}

/// The middle one of the call's earlier points that have not been chosen yet: the fewer calls a thread must make to come to a point,
/// the more runs do.
pub(super) fn earlier(all: &[Point], chosen: &[Point], missed: &Point) -> Option<Point> {
    let is_earlier = |point: &&Point| point.call == missed.call && point.when < missed.when && !chosen.contains(point);
    let mut left: Vec<&Point> = all.iter().filter(is_earlier).collect();
    left.sort_by_key(|point| point.when);
    left.get(left.len() / 2).copied().cloned()
}

#[test]
fn a_call_that_is_made_often_does_not_crowd_out_others() {
    let point = |call: &str, when| Point { call: call.to_owned(), when };
    let all: Vec<_> = (1..=1000).map(|when| point("fcntl", when)).chain((1..=20).map(|when| point("sendto", when))).collect();
    let kept = without_repetition(&all);
    let of = |call: &str| kept.iter().filter(|point| point.call == call).count();
    assert_eq!((of("fcntl"), of("sendto")), (24, 20));
}

#[test]
fn a_point_that_was_missed_is_made_up_for_by_an_earlier_one() {
    let point = |call: &str, when| Point { call: call.to_owned(), when };
    let all = [point("read", 3), point("sendto", 2), point("sendto", 1), point("sendto", 4), point("sendto", 3)];
    assert_eq!(earlier(&all, &[point("sendto", 4)], &point("sendto", 4)), Some(point("sendto", 2)));
    assert_eq!(earlier(&all, &[point("sendto", 2)], &point("sendto", 2)), Some(point("sendto", 1)));
    assert_eq!(earlier(&all, &[point("sendto", 1)], &point("sendto", 2)), None);
}

//! Killed at a system call, or refused one: nothing is leaked, nothing is lost, and the next run converges.
//!
//! strace runs topo once to see which calls it makes, and then again and again, each time with a SIGKILL or an error at one of
//! them. A test takes a sample, spread evenly over the run; `TOPO_CRASH_POINTS=all` takes every call, a number as many as that:
//!
//! ```sh
//! TOPO_CRASH_POINTS=all cargo test --test kernel crash -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::harness::fingerprint::{difference, fingerprint};
use super::harness::tools::{Outcome, TOPO};
use super::harness::{Feature, in_namespaces, lab, needs, settled_fingerprint, sh, topo};

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
/// From here on topo deals with the kernel; what comes before is the start of any program.
const BEGINNING: &str = "/proc/thread-self/ns/net";
/// Instead of an exit status: `timeout` and strace end by the signal that ended topo.
const KILLED: i32 = -1;
/// The exit status when the program could not even be loaded.
const NOT_LOADED: i32 = 127;
/// What a call is refused with, in turn.
const ERRORS: [&str; 5] = ["ENOBUFS", "ENOMEM", "EPERM", "ENOSPC", "EINTR"];

/// One system call of a run: its name, and which of its occurrences within a thread, from 1.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    call: String,
    when: usize,
}

/// A run of topo that is to be disturbed.
struct Scenario {
    /// Makes what is foreign.
    set_up: &'static str,
    /// The lab that is there before, if any.
    first: Option<String>,
    /// The run.
    arguments: Vec<String>,
    /// What converges afterwards.
    last: String,
    /// The lab's name.
    name: &'static str,
    /// Whether the lab changes what is not its own, so that going back needs its record.
    changes_foreign: bool,
    /// The exit status of an undisturbed run.
    status: i32,
}

impl Scenario {
    fn apply(name: &'static str, yaml: &str) -> Self {
        let file = lab(yaml);
        let arguments = vec!["apply".to_owned(), file.clone()];
        Self { set_up: ":", first: None, arguments, last: file, name, changes_foreign: false, status: 0 }
    }

    fn update(name: &'static str, first: &str, second: &str) -> Self {
        Self { first: Some(lab(first)), ..Self::apply(name, second) }
    }

    fn destroy(name: &'static str, yaml: &str) -> Self {
        let file = lab(yaml);
        Self { arguments: vec!["destroy".to_owned(), file.clone()], ..Self::update(name, yaml, yaml) }
    }

    fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    /// Brings about the state before the run.
    fn prepare(&self) {
        if let Some(first) = &self.first {
            topo(&["apply", first]).ok();
        }
    }

    /// The points at which to disturb the run, in the order in which the run comes to them.
    fn points(&self) -> Vec<Point> {
        self.prepare();
        let trace = lab("");
        strace(&["-o", &trace, "-s", "64"], &self.arguments()).exits(self.status);
        let text = fs::read_to_string(&trace).expect("strace wrote its output");
        destroy_all(self.name);
        let points = points_of(&text);
        assert!(points.len() > 30, "strace is expected to see the run:\n{text}");
        sample(&points)
    }
}

/// The calls in a trace from the point on at which topo turns to the kernel.
fn points_of(trace: &str) -> Vec<Point> {
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
        begun |= line.contains(BEGINNING);
        let point = Point { call: call.to_owned(), when: *count };
        if begun && !HARMLESS.contains(&call) && !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

fn sample(points: &[Point]) -> Vec<Point> {
    let wanted = std::env::var("TOPO_CRASH_POINTS").ok();
    let size = match wanted.as_deref() {
        Some("all") => points.len(),
        Some(number) => number.parse().expect("TOPO_CRASH_POINTS is `all` or a number"),
        None => SAMPLE,
    };
    let size = size.min(points.len());
    (0..size).map(|n| points[n * points.len() / size].clone()).collect()
}

fn strace(options: &[&str], arguments: &[&str]) -> Outcome {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", "strace", "-f"]).args(options).arg(TOPO).args(arguments);
    Outcome::from(&command.stdin(Stdio::null()).output().expect("strace can be run; please install it"))
}

/// Runs topo with something done to one of its calls.
fn disturbed(scenario: &Scenario, point: &Point, what: &str) -> Outcome {
    let Point { call, when } = point;
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}:when={when}"));
    strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], &scenario.arguments())
}

fn destroy_all(name: &str) {
    topo(&["destroy", name]).ok();
}

/// How the run after the disturbed one cleans up.
#[derive(Debug, Clone, Copy)]
enum After {
    ApplyAndDestroy,
    DestroyByFile,
    DestroyByName,
    ForgetAndApply,
    ForgetAndDestroy,
}

const AFTER: [After; 5] =
    [After::ApplyAndDestroy, After::DestroyByName, After::ForgetAndApply, After::DestroyByFile, After::ForgetAndDestroy];

/// Cleans up as a user would; whatever was disturbed, this must work.
fn clean_up(scenario: &Scenario, after: After) -> Result<(), String> {
    let run = |arguments: &[&str], status: i32| -> Result<(), String> {
        let outcome = topo(arguments);
        match outcome.status == status {
            true => Ok(()),
            false => Err(format!("{arguments:?} exits with {}: {}{}", outcome.status, outcome.stdout, outcome.stderr)),
        }
    };
    if matches!(after, After::ForgetAndApply | After::ForgetAndDestroy) && !scenario.changes_foreign {
        let _ = fs::remove_dir_all("/run/topo");
    }
    if matches!(after, After::ApplyAndDestroy | After::ForgetAndApply) {
        run(&["apply", &scenario.last], 0)?;
        run(&["plan", "--detailed-exitcode", &scenario.last], 0)?;
    }
    match after {
        After::ApplyAndDestroy | After::DestroyByFile => run(&["destroy", &scenario.last], 0),
        After::DestroyByName | After::ForgetAndApply | After::ForgetAndDestroy => run(&["destroy", scenario.name], 0),
    }
}

/// A test in which fewer runs die has tested nothing.
const FEWEST_DEATHS: usize = 5;

/// Kills the run at each point, and insists that what follows leaves the machine as it was.
fn killed(scenario: &Scenario) {
    sh(scenario.set_up);
    let before = settled_fingerprint();
    let points = scenario.points();
    let mut problems = Vec::new();
    let mut deaths = 0;
    for (turn, point) in points.iter().enumerate() {
        let after = AFTER[turn % AFTER.len()];
        scenario.prepare();
        let outcome = disturbed(scenario, point, "signal=KILL");
        deaths += usize::from(outcome.status == KILLED);
        let cleaned = clean_up(scenario, after).and_then(|()| restored(&before));
        if let Err(problem) = cleaned {
            problems.push(format!("killed at {} {}, then {after:?}: {problem}", point.call, point.when));
            if !recovered(scenario, &before) {
                break;
            }
        }
    }
    report(&format!("{deaths} of {} runs killed", points.len()), &problems);
    // Which thread makes which call differs from run to run, so that not every point is come to; most labs see most of them.
    assert!(deaths >= points.len().min(FEWEST_DEATHS), "only {deaths} of {} runs were killed", points.len());
}

/// Refuses the run each call, and insists that it says so, undoes what it did, and that the next run converges.
fn refused(scenario: &Scenario) {
    sh(scenario.set_up);
    let before = settled_fingerprint();
    let points = scenario.points();
    let mut problems = Vec::new();
    let mut failures = 0;
    for (turn, point) in points.iter().enumerate() {
        let error = ERRORS[turn % ERRORS.len()];
        scenario.prepare();
        let first = if scenario.first.is_some() { settled_fingerprint() } else { fingerprint() };
        let outcome = disturbed(scenario, point, &format!("error={error}"));
        failures += usize::from(outcome.status != scenario.status);
        let checked = check_refusal(scenario, &outcome, &first)
            .and_then(|()| clean_up(scenario, AFTER[turn % 2]))
            .and_then(|()| restored(&before));
        if let Err(problem) = checked {
            let said = &outcome.stderr;
            problems
                .push(format!("{error} at {} {}: status {}: {problem}\nit said: {said}", point.call, point.when, outcome.status));
            if !recovered(scenario, &before) {
                break;
            }
        }
    }
    report(&format!("{failures} of {} runs failed", points.len()), &problems);
}

/// After a problem: whether the machine is clean enough to try the next point.
fn recovered(scenario: &Scenario, before: &str) -> bool {
    topo(&["destroy", scenario.name]);
    let _ = fs::remove_dir_all("/run/topo");
    fingerprint() == before
}

fn check_refusal(scenario: &Scenario, outcome: &Outcome, first: &str) -> Result<(), String> {
    match outcome.status {
        status if status == scenario.status => Ok(()),
        1 if outcome.stderr.contains("error: ") => {
            let tells = ["not as before", "The network is as the lab says", "Undoing what had been done failed"];
            match tells.iter().any(|text| outcome.stderr.contains(text)) {
                true => Ok(()),
                false => restored_in_time(first),
            }
        }
        NOT_LOADED => Ok(()),
        _ => Err(format!("it did not end as it should: {}", outcome.stdout)),
    }
}

/// Links that were made again need a moment until they have carrier and addresses.
fn restored_in_time(before: &str) -> Result<(), String> {
    for _ in 0..30 {
        if comparable(&fingerprint()) == comparable(before) {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    same(&comparable(before), &comparable(&fingerprint()))
}

/// A fingerprint without what the kernel does not let one put back: which namespace it is that has a name, and in which order
/// and under whose name a bridge lists hardware addresses of its own.
fn comparable(fingerprint: &str) -> String {
    let keep = |line: &&str| !(line.contains("\"mac\":") && line.contains("\"state\":\"permanent\""));
    let name = |line: &str| match line.split_once(" - nsfs ") {
        Some((mount, _)) => mount.split_whitespace().last().unwrap_or_default().to_owned(),
        None => forget_number(line),
    };
    let mut lines: Vec<String> = fingerprint.lines().filter(keep).map(name).collect();
    lines.sort();
    lines.join("\n")
}

fn restored(before: &str) -> Result<(), String> {
    same(before, &fingerprint())
}

/// The number by which a namespace knows another is drawn when it is first needed.
fn forget_number(line: &str) -> String {
    const KEY: &str = "\"link_netnsid\":";
    match line.split_once(KEY) {
        Some((head, tail)) => format!("{head}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.to_owned(),
    }
}

fn same(before: &str, now: &str) -> Result<(), String> {
    if now == before {
        return Ok(());
    }
    let changed = difference(before, now);
    let lines = changed.lines().filter(|line| line.starts_with(['+', '-']) && !line.contains("/proc/sys/net/ipv"));
    // The first lines tell enough; all settings of a link that is left over do not.
    let shown: Vec<String> = lines.take(12).map(|line| line.chars().take(300).collect()).collect();
    Err(format!("the machine is not as it was:\n{}", shown.join("\n")))
}

#[track_caller]
fn report(summary: &str, problems: &[String]) {
    println!("{summary}");
    assert!(problems.is_empty(), "{} points of {summary}:\n{}", problems.len(), problems.join("\n"));
}

const BLOG: &str = "
name: crash
namespaces:
  host: { interfaces: { bridge0: { bridge: { ports: [veth0, veth22] }, addresses: [192.168.10.1/24] } } }
  blue:
    interfaces: { veth1: { addresses: [192.168.10.10/24] } }
    routes: [{ to: default, via: 192.168.10.1 }]
  red:
    interfaces: { veth23: { addresses: [192.168.10.11/24] } }
    routes: [{ to: default, via: 192.168.10.1 }]
  test: {}
links:
  - endpoints: [blue:veth1, host:veth0]
  - endpoints: [red:veth23, host:veth22]
";

/// What BLOG becomes: a namespace less, another more, a link replaced, attributes changed.
const BLOG_LATER: &str = "
name: crash
namespaces:
  host: { interfaces: { bridge0: { bridge: { ports: [veth0, veth33] }, addresses: [192.168.10.2/24], mtu: 1400 } } }
  blue:
    interfaces: { veth1: { addresses: [192.168.10.20/24], mac: 02:00:00:00:00:01 } }
    routes: [{ to: default, via: 192.168.10.2 }]
  green:
    interfaces: { veth33: { addresses: [192.168.10.13/24] } }
  test: { sysctls: { net.ipv4.ip_forward: 1 } }
links:
  - { endpoints: [blue:veth1, host:veth0], mtu: 1400 }
  - endpoints: [green:veth33, host:veth33]
";

const ROUTER: &str = "
name: crash
namespaces:
  r:
    sysctls: { net.ipv4.ip_forward: 1, net.ipv4.conf.default.rp_filter: 2 }
    interfaces:
      a: { addresses: [10.1.0.1/24], sysctls: { ipv4.proxy_arp: 1 } }
      b: { addresses: [10.2.0.1/24, 10.2.0.2/24] }
    routes: [{ to: default, type: prohibit }, { to: 10.3.0.0/24, via: 10.2.0.9 }]
  pa: { interfaces: { eth0: { addresses: [10.1.0.9/24] } }, routes: [{ to: default, via: 10.1.0.1 }] }
  pb: { interfaces: { eth0: { addresses: [10.2.0.9/24] } }, routes: [{ to: default, via: 10.2.0.1 }] }
links:
  - endpoints: [r:a, pa:eth0]
  - endpoints: [r:b, pb:eth0]
";

const ROUTER_LATER: &str = "
name: crash
namespaces:
  r:
    sysctls: { net.ipv6.conf.all.forwarding: 1 }
    interfaces:
      a: { addresses: [10.1.0.1/24] }
      b: { addresses: [10.2.0.2/24, 10.2.0.1/24], up: false }
    routes: [{ to: default, type: blackhole }]
  pa: { interfaces: { eth0: { addresses: [10.1.0.9/24], altnames: [one] } }, routes: [{ to: default, via: 10.1.0.1, mtu: 1300 }] }
  pb: { interfaces: { eth0: { addresses: [10.2.0.8/24] } } }
links:
  - endpoints: [r:a, pa:eth0]
  - endpoints: [r:b, pb:eth0]
";

/// Links that cross namespaces in every direction; `up0` is the machine's own.
const CROSSING: &str = "
name: crash
namespaces:
  host:
    interfaces:
      up0: { external: true }
      mv9: { macvlan: { parent: \"u:eth0\", mode: bridge } }
      vx9: { vxlan: { id: 9, remote: 192.0.2.2, port: 4789, underlay: u } }
  u: { interfaces: { eth0: { addresses: [192.0.2.1/24] } } }
  v: { interfaces: { eth0: { addresses: [192.0.2.2/24] } } }
  m:
    interfaces:
      mv0: { macvlan: { parent: \"host:up0\", mode: bridge }, addresses: [10.0.0.1/24] }
      mv1: { macvlan: { parent: \"u:eth0\", mode: bridge } }
      vx0: { vxlan: { id: 42, remote: 192.0.2.2, port: 4789, underlay: u }, addresses: [10.9.0.1/24] }
      vx1: { vxlan: { id: 43, remote: 192.0.2.2, port: 4790, underlay: host } }
links: [{ endpoints: [u:eth0, v:eth0] }]
";

const UPLINK: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
    ip address add 203.0.113.5/24 dev up0; ip route add 203.0.114.0/24 via 203.0.113.1";

/// What is not the lab's, changed by it.
/// The bridge has an address of its own from the start: the kernel takes carrier from an empty bridge that is given one later, as
/// it must be when it is made again.
const EXTERNAL: &str = "
name: crash
namespaces:
  host:
    sysctls: { net.ipv4.ip_forward: 1, net.ipv4.conf.default.rp_filter: 1 }
    interfaces:
      up0: { external: true, addresses: [192.0.2.10/24], mtu: 1400, txqueuelen: 77 }
      br0: { bridge: { ports: [] }, mac: 02:00:00:00:05:01, addresses: [10.5.0.1/24] }
    routes: [{ to: 198.51.100.0/24, via: 192.0.2.1 }, { to: 198.51.101.0/24, via: 10.5.0.9 }]
";

const EXTERNAL_LATER: &str = "
name: crash
namespaces:
  host:
    sysctls: { net.ipv4.ip_forward: 1 }
    interfaces:
      up0: { external: true, addresses: [192.0.2.11/24], mtu: 1300 }
    routes: [{ to: 198.51.100.0/24, via: 192.0.2.2 }]
";

/// To be refused by the kernel at its end: the uplink is in use by somebody's macvlan in `passthru` mode.
const REFUSED: &str = "
name: crash
namespaces:
  host: { interfaces: { up0: { external: true, txqueuelen: 77, addresses: [192.0.2.10/24] } } }
  a: { interfaces: { eth0: { addresses: [10.0.0.3/24] } }, sysctls: { net.ipv4.ip_forward: 1 } }
  c: { interfaces: { mv0: { macvlan: { parent: \"host:up0\", mode: bridge } }, eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, c:eth0], mtu: 1400 }]
";

const BEFORE_REFUSED: &str = "
name: crash
namespaces:
  host: { interfaces: { up0: { external: true, addresses: [192.0.2.10/24] } } }
  a: { interfaces: { eth0: { addresses: [10.0.0.1/24] }, gone: {} } }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] }, gone: {} } }
links: [{ endpoints: [a:eth0, b:eth0] }, { endpoints: [a:gone, b:gone] }]
";

const OCCUPIED_UPLINK: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
    ip link add owner link up0 type macvlan mode passthru";

fn crossing(scenario: Scenario) -> Scenario {
    Scenario { set_up: UPLINK, ..scenario }
}

fn external(scenario: Scenario) -> Scenario {
    Scenario { set_up: UPLINK, changes_foreign: true, ..scenario }
}

/// A run that fails and goes back; the lab that was there before is what converges afterwards.
fn rollback() -> Scenario {
    let scenario = Scenario::update("crash", BEFORE_REFUSED, REFUSED);
    let last = scenario.first.clone().expect("there is a first lab");
    Scenario { set_up: OCCUPIED_UPLINK, changes_foreign: true, status: 1, last, ..scenario }
}

macro_rules! tests {
    ($($name:ident: $act:ident($scenario:expr) needs $features:expr;)*) => { $(
        #[test]
        fn $name() {
            in_namespaces(|| {
                if needs(&$features) {
                    $act(&$scenario);
                }
            });
        }
    )* };
}

tests! {
    kill_apply_of_a_bridge: killed(Scenario::apply("crash", BLOG)) needs [Feature::Bridge];
    kill_update_of_a_bridge: killed(Scenario::update("crash", BLOG, BLOG_LATER)) needs [Feature::Bridge];
    kill_destroy_of_a_bridge: killed(Scenario::destroy("crash", BLOG)) needs [Feature::Bridge];
    kill_apply_of_a_router: killed(Scenario::apply("crash", ROUTER)) needs [];
    kill_update_of_a_router: killed(Scenario::update("crash", ROUTER, ROUTER_LATER)) needs [Feature::Ipv6];
    kill_apply_across_namespaces: killed(crossing(Scenario::apply("crash", CROSSING))) needs [Feature::Macvlan, Feature::Vxlan];
    kill_destroy_across_namespaces: killed(crossing(Scenario::destroy("crash", CROSSING))) needs [Feature::Macvlan, Feature::Vxlan];
    kill_apply_on_foreign_objects: killed(external(Scenario::apply("crash", EXTERNAL))) needs [Feature::Bridge];
    kill_update_on_foreign_objects: killed(external(Scenario::update("crash", EXTERNAL, EXTERNAL_LATER))) needs [Feature::Bridge];
    kill_destroy_on_foreign_objects: killed(external(Scenario::destroy("crash", EXTERNAL))) needs [Feature::Bridge];
    kill_rollback: killed(rollback()) needs [Feature::Macvlan];
    refuse_apply_of_a_bridge: refused(Scenario::apply("crash", BLOG)) needs [Feature::Bridge];
    refuse_update_of_a_bridge: refused(Scenario::update("crash", BLOG, BLOG_LATER)) needs [Feature::Bridge];
    refuse_update_of_a_router: refused(Scenario::update("crash", ROUTER, ROUTER_LATER)) needs [Feature::Ipv6];
    refuse_apply_across_namespaces: refused(crossing(Scenario::apply("crash", CROSSING))) needs [Feature::Macvlan, Feature::Vxlan];
    refuse_update_on_foreign_objects: refused(external(Scenario::update("crash", EXTERNAL, EXTERNAL_LATER))) needs [Feature::Bridge];
    refuse_destroy_on_foreign_objects: refused(external(Scenario::destroy("crash", EXTERNAL))) needs [Feature::Bridge];
    refuse_rollback: refused(rollback()) needs [Feature::Macvlan];
}

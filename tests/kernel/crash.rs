//! Killed at a system call, or refused one: nothing is leaked, nothing is lost, and the next run converges.
//!
//! strace runs topo once to see which calls it makes, and then again and again, each time with a SIGKILL or an error at one of
//! them. A test takes a sample, spread evenly over the run; `TOPO_CRASH_POINTS=all` takes every call, a number as many as that:
//!
//! ```sh
//! TOPO_CRASH_POINTS=all cargo test --test kernel crash -- --nocapture
//! ```

mod labs;
mod points;

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::harness::fingerprint::{difference, fingerprint};
use super::harness::tools::Outcome;
use super::harness::{Feature, in_namespaces, lab, needs, settled_fingerprint, sh, strace, topo};
use labs::{
    BEFORE_REFUSED, BLOG, BLOG_LATER, CROSSING, DRAGGING, DRAGGING_LATER, ENDANGERED, EXTERNAL, EXTERNAL_LATER, NODES,
    NODES_LATER, OCCUPIED_UPLINK, REFUSED, ROUTER, ROUTER_LATER, UPLINK,
};
use points::{Point, earlier, points_of, sample};

/// Instead of an exit status: `timeout` and strace end by the signal that ended topo.
const KILLED: i32 = -1;
/// The exit status when the program could not even be loaded.
const NOT_LOADED: i32 = 127;
/// What a call is refused with, in turn.
const ERRORS: [&str; 5] = ["ENOBUFS", "ENOMEM", "EPERM", "ENOSPC", "EINTR"];

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

    /// The points at which the run can be disturbed, in the order in which the run comes to them.
    fn points(&self) -> Vec<Point> {
        self.prepare();
        let trace = lab("");
        strace(&["-o", &trace, "-s", "64", "-b", "execve"], &self.arguments()).exits(self.status);
        let text = fs::read_to_string(&trace).expect("strace wrote its output");
        destroy_all(self.name);
        let points = points_of(&text);
        assert!(points.len() > 30, "strace is expected to see the run:\n{text}");
        points
    }
}

/// A run with something done to one of its calls.
struct Disturbed {
    outcome: Outcome,
    /// Whether the run came to that call. Which thread makes which call differs from run to run.
    reached: bool,
}

/// Runs topo with something done to one of its calls.
fn disturb(scenario: &Scenario, point: &Point, what: &str) -> Disturbed {
    let Point { call, when } = point;
    let (calls, inject) = (format!("trace={call}"), format!("inject={call}:{what}:when={when}"));
    let trace = lab("");
    // Inits, which outlive the run, are copies of a process that topo starts.
    let outcome = strace(&["-o", &trace, "-b", "execve", "-e", &calls, "-e", &inject], &scenario.arguments());
    let text = fs::read_to_string(&trace).expect("strace wrote its output");
    fs::remove_file(&trace).expect("the trace is this test's");
    let reached = outcome.status == KILLED || text.contains("(INJECTED)");
    Disturbed { outcome, reached }
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

/// Tries a sample of points. A run that does not come to its point is made up for by one with an earlier occurrence of the call, so
/// that at least three in four of the runs that were asked for are disturbed.
fn at_points(scenario: &Scenario, mut try_point: impl FnMut(usize, &Point) -> (bool, Result<(), String>)) {
    let before = settled_fingerprint();
    let all = scenario.points();
    let mut chosen = sample(&all);
    let wanted = chosen.len();
    let (mut turn, mut reached) = (0, 0);
    let mut problems = Vec::new();
    while let Some(point) = chosen.get(turn).cloned() {
        scenario.prepare();
        let (is_reached, checked) = try_point(turn, &point);
        reached += usize::from(is_reached);
        if !is_reached {
            chosen.extend(earlier(&all, &chosen, &point));
        }
        if let Err(problem) = checked.and_then(|()| restored(&before)) {
            problems.push(format!("{} {}: {problem}", point.call, point.when));
            if !recovered(scenario, &before) {
                break;
            }
        }
        turn += 1;
    }
    let summary = format!("{reached} of {turn} runs disturbed, {wanted} wanted");
    assert!(problems.is_empty(), "{} problems, {summary}:\n{}", problems.len(), problems.join("\n"));
    assert!(reached >= (wanted * 3 / 4).max(1), "{summary}");
}

/// Kills the run at each point, and insists that what follows leaves the machine as it was.
fn killed(scenario: &Scenario) {
    sh(scenario.set_up);
    at_points(scenario, |turn, point| {
        let after = AFTER[turn % AFTER.len()];
        let run = disturb(scenario, point, "signal=KILL");
        let cleaned = clean_up(scenario, after).map_err(|problem| format!("killed, then {after:?}: {problem}"));
        (run.reached, cleaned)
    });
}

/// Refuses the run each call, and insists that it says so, undoes what it did, and that the next run converges.
fn refused(scenario: &Scenario) {
    sh(scenario.set_up);
    let mut failures = 0;
    at_points(scenario, |turn, point| {
        let error = match ERRORS[turn % ERRORS.len()] {
            // By that the kernel says whose namespaces these are, and topo takes to a sandbox.
            "EPERM" if point.call == "ioctl" => "ENOMEM",
            error => error,
        };
        let first = if scenario.first.is_some() { settled_fingerprint() } else { fingerprint() };
        let run = disturb(scenario, point, &format!("error={error}"));
        failures += usize::from(run.outcome.status != scenario.status);
        let checked = check_refusal(scenario, point, &run.outcome, &first).and_then(|()| clean_up(scenario, AFTER[turn % 2]));
        let told = |problem| format!("{error}: status {}: {problem}\nit said: {}", run.outcome.status, run.outcome.stderr);
        (run.reached, checked.map_err(told))
    });
    // Those of a run that fails anyway show in what it leaves.
    assert!(failures > 0 || scenario.status != 0, "no refusal was noticed");
}

/// After a problem: whether the machine is clean enough to try the next point.
fn recovered(scenario: &Scenario, before: &str) -> bool {
    topo(&["destroy", scenario.name]);
    let _ = fs::remove_dir_all("/run/topo");
    fingerprint() == before
}

fn check_refusal(scenario: &Scenario, point: &Point, outcome: &Outcome, first: &str) -> Result<(), String> {
    match outcome.status {
        status if status == scenario.status => Ok(()),
        // Refused in two threads at once, it can be the message itself that does not come through.
        1 if outcome.stderr.contains("error: ") || point.call == "write" => {
            let tells = ["Not all changes could be undone", "The network matches the lab", "Undoing the changes failed"];
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
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let compared = same(&comparable(before), &comparable(&fingerprint()));
        if compared.is_ok() || Instant::now() >= deadline {
            return compared;
        }
        sleep(Duration::from_millis(100));
    }
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

/// The kernel tells up to a second later that the other end of a link that came up has a carrier (`linkwatch`).
fn restored(before: &str) -> Result<(), String> {
    const LINKWATCH: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + LINKWATCH;
    loop {
        let now = fingerprint();
        if now == before || Instant::now() >= deadline {
            return same(before, &now);
        }
        sleep(Duration::from_millis(50));
    }
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

fn crossing(scenario: Scenario) -> Scenario {
    Scenario { set_up: UPLINK, ..scenario }
}

fn external(scenario: Scenario) -> Scenario {
    Scenario { set_up: UPLINK, changes_foreign: true, ..scenario }
}

fn with_side_effects(scenario: Scenario) -> Scenario {
    Scenario { set_up: ENDANGERED, changes_foreign: true, ..scenario }
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
    kill_apply_with_side_effects: killed(with_side_effects(Scenario::apply("crash", DRAGGING))) needs [Feature::Ipv6];
    kill_update_with_side_effects: killed(with_side_effects(Scenario::update("crash", DRAGGING, DRAGGING_LATER))) needs [Feature::Ipv6];
    kill_destroy_with_side_effects: killed(with_side_effects(Scenario::destroy("crash", DRAGGING))) needs [Feature::Ipv6];
    refuse_update_with_side_effects: refused(with_side_effects(Scenario::update("crash", DRAGGING, DRAGGING_LATER))) needs [Feature::Ipv6];
    kill_apply_of_nodes: killed(Scenario::apply("crash", NODES)) needs [];
    kill_update_of_nodes: killed(Scenario::update("crash", NODES, NODES_LATER)) needs [];
    kill_destroy_of_nodes: killed(Scenario::destroy("crash", NODES)) needs [];
    refuse_update_of_nodes: refused(Scenario::update("crash", NODES, NODES_LATER)) needs [];
    kill_rollback: killed(rollback()) needs [Feature::Macvlan];
    refuse_apply_of_a_bridge: refused(Scenario::apply("crash", BLOG)) needs [Feature::Bridge];
    refuse_update_of_a_bridge: refused(Scenario::update("crash", BLOG, BLOG_LATER)) needs [Feature::Bridge];
    refuse_update_of_a_router: refused(Scenario::update("crash", ROUTER, ROUTER_LATER)) needs [Feature::Ipv6];
    refuse_apply_across_namespaces: refused(crossing(Scenario::apply("crash", CROSSING))) needs [Feature::Macvlan, Feature::Vxlan];
    refuse_update_on_foreign_objects: refused(external(Scenario::update("crash", EXTERNAL, EXTERNAL_LATER))) needs [Feature::Bridge];
    refuse_destroy_on_foreign_objects: refused(external(Scenario::destroy("crash", EXTERNAL))) needs [Feature::Bridge];
    refuse_rollback: refused(rollback()) needs [Feature::Macvlan];
}

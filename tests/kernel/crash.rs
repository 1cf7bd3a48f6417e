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
use std::time::Duration;

use super::harness::fingerprint::{difference, fingerprint};
use super::harness::tools::Outcome;
use super::harness::{Feature, in_namespaces, lab, needs, settled_fingerprint, sh, strace, topo};
use labs::{
    BEFORE_REFUSED, BLOG, BLOG_LATER, CROSSING, EXTERNAL, EXTERNAL_LATER, OCCUPIED_UPLINK, REFUSED, ROUTER, ROUTER_LATER, UPLINK,
};
use points::{Point, points_of, sample};

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
        let error = match ERRORS[turn % ERRORS.len()] {
            // By that the kernel says whose namespaces these are, and topo takes to a sandbox.
            "EPERM" if point.call == "ioctl" => "ENOMEM",
            error => error,
        };
        scenario.prepare();
        let first = if scenario.first.is_some() { settled_fingerprint() } else { fingerprint() };
        let outcome = disturbed(scenario, point, &format!("error={error}"));
        failures += usize::from(outcome.status != scenario.status);
        let checked = check_refusal(scenario, point, &outcome, &first)
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

fn check_refusal(scenario: &Scenario, point: &Point, outcome: &Outcome, first: &str) -> Result<(), String> {
    match outcome.status {
        status if status == scenario.status => Ok(()),
        // Refused in two threads at once, it can be the message itself that does not come through.
        1 if outcome.stderr.contains("error: ") || point.call == "write" => {
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

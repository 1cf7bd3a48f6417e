//! Stopped at any moment, by a signal that can be caught or one that cannot: the next apply converges, the next destroy
//! leaves nothing behind.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::TOPO;
use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, lab, needs, ping_ok, settled_fingerprint};

/// A lab whose bridge is in `host`, large enough to be interrupted.
fn large(size: u32) -> String {
    let mut yaml = String::from(
        "name: large\nnamespaces:\n  host: { interfaces: { br0: { bridge: { ports: [\"p*\"] }, addresses: [10.7.0.1/16] } } }\n",
    );
    for n in 1..=size {
        writeln!(
            yaml,
            "  n{n}: {{ interfaces: {{ eth0: {{ addresses: [10.7.1.{n}/16] }} }}, routes: [{{ to: default, via: 10.7.0.1 }}] }}"
        )
        .unwrap();
    }
    yaml.push_str("links:\n");
    for n in 1..=size {
        writeln!(yaml, "  - endpoints: [n{n}:eth0, host:p{n}]").unwrap();
    }
    lab(&yaml)
}

fn start(arguments: &[&str]) -> Child {
    Command::new(TOPO).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// How much of a lab is there: its named namespaces, and the interfaces of the machine.
fn made() -> usize {
    let namespaces = fs::read_dir("/run/netns").map_or(0, Iterator::count);
    // Each interface has a line below the two of the heading.
    let interfaces = fs::read_to_string("/proc/thread-self/net/dev").unwrap().lines().count() - 2;
    namespaces + interfaces
}

/// Waits until a run has come to a point, or has ended before.
fn until(child: &mut Child, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "topo does not get on");
        sleep(Duration::from_micros(200));
    }
}

/// Applies the lab and signals when a part of it is there.
fn stop_in_the_middle(file: &str, part: usize, stop: Signal) -> ExitStatus {
    let mut child = start(&["apply", file]);
    until(&mut child, || made() > part);
    signal(&child, stop);
    let began = Instant::now();
    let ended = child.wait().unwrap();
    // Going back takes its time under emulation; what matters is that it ends.
    assert!(began.elapsed() < Duration::from_secs(60), "topo does not stop");
    ended
}

#[test]
fn signals_stop_between_operations() {
    in_namespaces(|| {
        const TRIES: usize = 10;
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = large(100);
        let nothing = made();
        let stops =
            [(30, Signal::SIGINT, 130), (60, Signal::SIGTERM, 143), (90, Signal::SIGHUP, 129), (120, Signal::SIGQUIT, 131)];
        for (part, stop, status) in stops {
            // On a busy machine topo may be done before it learns of the signal. Then the lab is complete.
            let stopped = (0..TRIES).any(|_| {
                let ended = stop_in_the_middle(&file, nothing + part, stop);
                assert!([Some(status), Some(0)].contains(&ended.code()), "{ended}");
                if ended.code() == Some(0) {
                    assert_no_changes(&file);
                } else {
                    assert_restored(&before);
                }
                destroy(&file);
                assert_restored(&before);
                ended.code() == Some(status)
            });
            assert!(stopped, "{stop} stopped none of {TRIES} runs");
        }
    });
}

#[test]
fn killed_at_any_moment_nothing_is_lost_or_left() {
    in_namespaces(|| {
        const SIZE: usize = 30;
        const STEPS: usize = 12;
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = large(u32::try_from(SIZE).unwrap());
        let nothing = made();
        // A namespace and a port for each, and the bridge.
        let whole = 2 * SIZE + 1;
        let mut killed = 0;
        for step in 0..STEPS {
            let mut child = start(&["apply", &file]);
            until(&mut child, || made() >= nothing + whole * step / STEPS);
            let _ = child.kill();
            killed += usize::from(child.wait().unwrap().signal() == Some(Signal::SIGKILL as i32));
            if step % 2 == 0 {
                apply(&file);
                assert_no_changes(&file);
                ping_ok("n1", "10.7.1.30");
            }
            if step % 3 == 0 {
                let there = made();
                let mut child = start(&["destroy", &file]);
                until(&mut child, || made() <= there - (there - nothing) * step / STEPS);
                let _ = child.kill();
                child.wait().unwrap();
            }
            destroy(if step % 4 < 2 { "large" } else { &file });
            assert_restored(&before);
        }
        assert!(killed * 4 >= STEPS * 3, "only {killed} of {STEPS} runs were killed on their way");
    });
}

#[test]
fn two_at_a_time_wait_for_each_other() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = large(20);
        let children: Vec<_> = (0..3).map(|_| start(&["apply", "--lock-timeout", "100s", &file])).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_no_changes(&file);
        ping_ok("n1", "10.7.1.20");
        destroy("large");
        assert_restored(&before);
    });
}

//! Stopped at any moment, by a signal that can be caught or one that cannot: the next apply converges, the next destroy
//! leaves nothing behind.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::TOPO;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, in_namespaces, lab, needs, ping_ok, settled_fingerprint,
};

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

/// How long an apply of the lab takes here.
fn time_of_apply(file: &str) -> Duration {
    let began = Instant::now();
    apply(file);
    let took = began.elapsed();
    destroy("large");
    took
}

#[test]
fn control_c_stops_between_operations() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = large(100);
        let took = time_of_apply(&file);
        let mut interrupted = 0;
        for (part, stop, status) in [(3, Signal::SIGINT, 130), (2, Signal::SIGTERM, 143), (4, Signal::SIGINT, 130)] {
            let mut child = start(&["apply", &file]);
            sleep(took / part);
            signal(&child, stop);
            let began = Instant::now();
            let ended = child.wait().unwrap();
            // Going back takes its time under emulation; what matters is that it ends.
            assert!(began.elapsed() < Duration::from_secs(60), "topo does not stop");
            if ended.signal() == Some(stop as i32) {
                // On a busy machine the signal comes before topo has begun to do anything, listening included.
                assert_restored(&before);
                continue;
            }
            // Where the machine was faster than expected, the lab is simply done.
            assert!([Some(status), Some(0)].contains(&ended.code()), "{ended}");
            if ended.code() == Some(status) {
                interrupted += 1;
                assert_restored(&before);
            }
            destroy(&file);
            assert_restored(&before);
        }
        assert!(interrupted > 0, "no run was interrupted");
    });
}

#[test]
fn killed_at_any_moment_nothing_is_lost_or_left() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = large(30);
        let took = time_of_apply(&file);
        for step in 0..12 {
            let mut child = start(&["apply", &file]);
            sleep(took * step / 12);
            let _ = child.kill();
            child.wait().unwrap();
            if step % 2 == 0 {
                apply(&file);
                assert_no_changes(&file);
                ping_ok("n1", "10.7.1.30");
            }
            if step % 3 == 0 {
                let mut child = start(&["destroy", &file]);
                sleep(took * step / 24);
                let _ = child.kill();
                child.wait().unwrap();
            }
            destroy(if step % 4 < 2 { "large" } else { &file });
            assert_restored(&before);
        }
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
        eventually("an answer on the bridge", || {
            ping_ok("n1", "10.7.1.20");
            true
        });
        destroy("large");
        assert_restored(&before);
    });
}

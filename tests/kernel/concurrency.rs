//! Several at once: one lab by two, two labs, apply against destroy, and somebody who spoils what is being made.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::fingerprint::{assert_restored, eventually_restored};
use super::harness::tools::TOPO;
use super::harness::{
    Feature, apply, assert_no_changes, command, destroy, eventually, in_namespaces, lab, needs, rounds, settled_fingerprint, sh,
    topo, until_it_listens,
};

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(TOPO);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A lab of `size` namespaces on a bridge in `host`.
fn star(name: &str, size: u32) -> String {
    let mut yaml = format!(
        "name: {name}\nnamespaces:\n  host: {{ interfaces: {{ {name}br: {{ bridge: {{ ports: [\"{name}p*\"] }} }} }} }}\n"
    );
    for n in 1..=size {
        writeln!(yaml, "  {name}{n}: {{ interfaces: {{ eth0: {{ addresses: [10.7.1.{n}/16] }} }} }}").unwrap();
    }
    yaml.push_str("links:\n");
    for n in 1..=size {
        writeln!(yaml, "  - endpoints: [{name}{n}:eth0, host:{name}p{n}]").unwrap();
    }
    lab(&yaml)
}

#[test]
fn who_holds_a_lab_is_named_and_waiting_can_be_interrupted() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: held\nnamespaces: { a: {} }\n");
        let mut holder = start(&["apply", "--ask", &file]);
        eventually("the lock", || std::fs::read_to_string("/run/topo/held.lock").is_ok_and(|text| !text.is_empty()));
        let named = format!("lab `held` is being changed by process {} (topo)", holder.id());
        topo(&["apply", &file]).exits(1).says(&named);
        topo(&["destroy", "held"]).exits(1).says(&named);
        let began = Instant::now();
        topo(&["apply", "--lock-timeout", "300ms", &file]).exits(1).says(&named);
        assert!(began.elapsed() >= Duration::from_millis(300));
        for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let waiter = start(&["apply", "--lock-timeout", "100s", &file]);
            until_it_listens(waiter.id());
            kill(Pid::from_raw(i32::try_from(waiter.id()).unwrap()), signal).unwrap();
            let output = waiter.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{}", said(&output));
        }
        let question = holder.stdin.take();
        kill(Pid::from_raw(i32::try_from(holder.id()).unwrap()), Signal::SIGINT).unwrap();
        assert_eq!(holder.wait().unwrap().code(), Some(130), "asking can be interrupted, too");
        drop(question);
        assert_restored(&before);
    });
}

/// The lock is an flock(2) of the file, whoever holds it.
#[test]
fn a_lab_that_any_program_has_locked_is_not_changed() {
    in_namespaces(|| {
        let file = lab("name: locked\nnamespaces: { a: {} }\n");
        std::fs::create_dir_all("/run/topo").unwrap();
        let lock = std::fs::File::create("/run/topo/locked.lock").unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
        topo(&["apply", &file]).exits(1).says("locked");
        topo(&["plan", "--detailed-exitcode", &file]).exits(2);
        let mut waiter = start(&["apply", "--lock-timeout", "60s", &file]);
        until_it_listens(waiter.id());
        assert!(waiter.try_wait().unwrap().is_none(), "it waits for the lock");
        drop(lock);
        finish(waiter);
        assert_no_changes(&file);
        destroy("locked");
    });
}

#[test]
fn labs_come_and_go_side_by_side() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        // Who makes /run/netns, and who removes it, is decided between them.
        sh("rmdir /run/netns");
        let before = settled_fingerprint();
        let files = [star("x", 3), star("y", 4), star("z", 2)];
        for round in 0..rounds(20) {
            let applied: Vec<_> = files.iter().map(|file| start(&["apply", file])).collect();
            applied.into_iter().for_each(finish);
            for file in &files {
                assert_no_changes(file);
            }
            if round % 2 == 0 {
                let mixed = [start(&["destroy", "x"]), start(&["apply", &files[1]]), start(&["destroy", "z"])];
                mixed.into_iter().for_each(finish);
                finish(start(&["destroy", "y"]));
            } else {
                let destroyed: Vec<_> = ["x", "y", "z"].iter().map(|name| start(&["destroy", name])).collect();
                destroyed.into_iter().for_each(finish);
            }
            assert_restored(&before);
        }
    });
}

#[test]
fn the_same_lab_a_hundred_times_by_two() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: two\nnamespaces: { a: { interfaces: { e: {} } }, b: {} }\nlinks: [{ endpoints: [a:e, b:e] }]\n");
        for round in 0..rounds(100) {
            let timeout = if round % 2 == 0 { "0s" } else { "60s" };
            let runs = [0, 1].map(|_| start(&["apply", "--lock-timeout", timeout, &file]));
            let ends = runs.map(|run| run.wait_with_output().unwrap());
            let done = ends.iter().filter(|end| end.status.success()).count();
            let refused = ends.iter().filter(|end| said(end).contains("is being changed by")).count();
            assert!(done >= 1 && done + refused == 2 && (round % 2 == 0 || done == 2), "{} {}", said(&ends[0]), said(&ends[1]));
            assert_no_changes(&file);
            destroy("two");
        }
        assert_restored(&before);
    });
}

#[test]
fn apply_against_destroy() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = star("x", 5);
        for _ in 0..rounds(20) {
            let runs = [["apply", "--lock-timeout", "60s", &file], ["destroy", "--lock-timeout", "60s", &file]];
            runs.map(|run| start(&run)).into_iter().for_each(finish);
            destroy(&file);
            assert_restored(&before);
        }
    });
}

#[test]
fn links_that_went_by_themselves_need_no_deleting() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        // Of several the plan deletes the group.
        for count in [1, 2, 3] {
            let (mut spaces, mut links, mut gone) = (String::new(), String::new(), String::new());
            for n in 0..count {
                writeln!(spaces, "  gone{n}: {{}}").unwrap();
                writeln!(links, "  - endpoints: [gone{n}:eth0, host:gp{n}]").unwrap();
                writeln!(gone, "ip link del gp{n}").unwrap();
            }
            let file = lab(&format!("name: gone\nnamespaces:\n{spaces}links:\n{links}"));
            apply(&file);
            let mut asking = start(&["destroy", "--ask", &file]);
            let mut plan = BufReader::new(asking.stdout.take().unwrap());
            let mut line = String::new();
            while !line.starts_with("Plan: ") {
                line.clear();
                assert!(plan.read_line(&mut line).unwrap() > 0, "the plan ends with its totals");
            }
            sh(&gone);
            asking.stdin.take().unwrap().write_all(b"yes\n").unwrap();
            finish(asking);
            assert_restored(&before);
        }
    });
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Does one thing to the lab's objects, and returns whether they were there.
fn spoil(dice: &mut Dice) -> bool {
    let n = dice.throw(6) + 1;
    let script = match dice.throw(9) {
        0 => format!("ip link del xp{n}"),
        1 => format!("ip link set xp{n} down"),
        2 => format!("ip link set xp{n} down; ip link set xp{n} name evil{n}"),
        3 => format!("ip link set xp{n} nomaster"),
        4 => "ip link del xbr".to_owned(),
        5 => format!("ip netns del x{n}"),
        6 => format!("umount -n /run/netns/x{n}"),
        7 => format!("ip -n x{n} link set eth0 down name other"),
        _ => format!("ip -n x{n} address flush dev eth0; ip -n x{n} link set eth0 mtu 1300"),
    };
    let mut command = command("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_saboteur_leads_to_an_error_at_worst() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip netns add foreign; ip link add keep0 type bridge; ip link set keep0 alias topo:x up; ip address add 192.0.2.1/24 dev keep0
            ip route add 198.51.100.0/24 via 192.0.2.9; ip link add keep1 type veth peer name eth0 netns foreign");
        let before = settled_fingerprint();
        let file = star("x", 6);
        let (wanted, mut spoilt) = (rounds(100), 0);
        for round in 0..wanted {
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let saboteur = scope.spawn(|| {
                    let mut dice = Dice(round);
                    let mut done = 0;
                    while !over.load(Ordering::SeqCst) {
                        done += u64::from(spoil(&mut dice));
                    }
                    done
                });
                let command = if round % 4 == 3 { ["destroy", &file] } else { ["apply", &file] };
                let outcome = topo(&command);
                over.store(true, Ordering::SeqCst);
                let tells = outcome.status == 0 || outcome.status == 1 && outcome.stderr.contains("error: ");
                assert!(tells && !outcome.stderr.contains("panicked"), "{outcome:?}");
                spoilt += saboteur.join().unwrap();
            });
            apply(&file);
            assert_no_changes(&file);
            if round % 4 == 1 {
                destroy(&file);
                // What the saboteur deleted is cleaned up by the kernel in its own time.
                eventually_restored(&before);
            }
        }
        assert!(spoilt >= wanted, "in {wanted} runs the saboteur did no more than {spoilt} things");
        destroy(&file);
    });
}

/// Both signals come while topo stands still in the middle of its work, so that it has not done what the first one asks for when the
/// second one comes. They are two different ones, since signals of the same number that come together are one.
#[test]
fn a_second_signal_ends_at_once_and_the_next_run_tidies_up() {
    in_namespaces(|| {
        const SIZE: u32 = 200;
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = star("x", SIZE);
        for round in 0..rounds(6) {
            let child = start(&["apply", &file]);
            let process = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let wanted = usize::try_from(round * u64::from(SIZE) / 12).unwrap();
            eventually("some namespaces", || std::fs::read_dir("/run/netns").is_ok_and(|entries| entries.count() > wanted));
            for signal in [Signal::SIGSTOP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCONT] {
                kill(process, signal).unwrap();
            }
            let output = child.wait_with_output().unwrap();
            assert!([Some(130), Some(143)].contains(&output.status.code()), "{}", said(&output));
            assert!(said(&output).contains("Stopped immediately"), "{}", said(&output));
            destroy(&file);
            assert_restored(&before);
        }
    });
}

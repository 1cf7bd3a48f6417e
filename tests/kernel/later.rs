//! What the kernel does after it has accepted a network: duplicate address detection, carriers and the spanning tree of bridges.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::{Outcome, TOPO, command_in, eventually};
use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, ip, lab, needs, settled_fingerprint, sh, topo};

/// Less than a needless wait would take, on slow machines, too.
const SOON: Duration = Duration::from_secs(10);

/// Two connected hosts; the attributes of their addresses.
fn pair(first: &str, second: &str) -> String {
    format!(
        "name: later\nnamespaces:\n  a: {{ interfaces: {{ e0: {{ addresses: [{first}] }} }} }}\n  \
         b: {{ interfaces: {{ e0: {{ addresses: [{second}] }} }} }}\nlinks: [{{ endpoints: [a:e0, b:e0] }}]\n"
    )
}

/// A bridge with the spanning tree and two guests.
fn tree(bridge: &str, routes: &str) -> String {
    format!(
        "name: later\nnamespaces:\n  s:\n    interfaces: {{ br0: {{ bridge: {{ ports: [p1, p2], stp_state: true, {bridge} }}, \
         addresses: [10.0.0.9/24, \"2001:db8::9/64\"] }} }}\n    routes: [{routes}]\n  \
         a: {{ interfaces: {{ e0: {{ addresses: [10.0.0.1/24, \"2001:db8::1/64\"] }} }} }}\n  \
         b: {{ interfaces: {{ e0: {{ addresses: [10.0.0.2/24, \"2001:db8::2/64\"] }} }} }}\n\
         links: [{{ endpoints: [s:p1, a:e0] }}, {{ endpoints: [s:p2, b:e0] }}]\n"
    )
}

/// Runs topo, and interrupts it that long after an address of `s` is there, which is the last thing that it adds.
fn interrupted(arguments: &[&str], address: &str, after: Duration) -> Outcome {
    let mut command = Command::new(TOPO);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("topo can be run");
    let namespace_is_there = || std::fs::exists("/run/netns/s").is_ok_and(|exists| exists);
    eventually("the address", || namespace_is_there() && has_flag("s", address, "tentative"));
    let since = Instant::now();
    eventually("time to pass", || since.elapsed() >= after);
    kill(Pid::from_raw(i32::try_from(child.id()).expect("it is a process ID")), Signal::SIGINT).expect("topo still runs");
    Outcome::from(&child.wait_with_output().expect("topo ends"))
}

/// Insists that the first packet is answered.
#[track_caller]
fn first_ping(namespace: &str, address: &str) {
    let output = command_in(namespace, "ping").args(["-n", "-c", "1", "-W", "2", address]).stdin(Stdio::null()).output();
    Outcome::from(&output.expect("ping can be run")).ok();
}

/// The flags of an address, as `ip` shows them.
fn has_flag(namespace: &str, address: &str, flag: &str) -> bool {
    let shown = ip(&["-n", namespace, "-6", "address", "show"]);
    let links = shown.as_array().into_iter().flatten();
    let mut addresses = links.flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    addresses.any(|info| info["local"] == address && info[flag] == true)
}

fn has_route(namespace: &str, to: &str) -> bool {
    let shown = ip(&["-n", namespace, "-6", "route"]);
    shown.as_array().into_iter().flatten().any(|route| route["dst"] == to && route["protocol"] == "kernel")
}

#[test]
fn the_first_ipv6_packet_after_wait_arrives() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let file = lab(&pair("10.0.0.1/24, \"2001:db8::1/64\"", "10.0.0.2/24, \"2001:db8::2/64\""));
        topo(&["apply", "--wait", &file]).ok().says("The lab is usable");
        first_ping("a", "2001:db8::2");
        first_ping("b", "10.0.0.1");
        assert!(!has_flag("a", "2001:db8::1", "tentative"));
        let start = Instant::now();
        topo(&["apply", "--wait", "60s", &file]).ok().says("No changes.").says("The lab is usable");
        assert!(start.elapsed() < SOON, "a usable lab is not waited for");
    });
}

#[test]
fn wait_does_not_wait_for_what_the_lab_leaves_without_carrier() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let yaml = "name: later\nnamespaces:\n  a: { interfaces: { e0: { addresses: [\"2001:db8::1/64\"] }, br0: { bridge: {} } } }\n  \
                    b: {}\nlinks: [{ endpoints: [a:e0, { interface: b:e0, up: false }] }]\n";
        topo(&["apply", "--wait=5s", &lab(yaml)]).ok();
        assert!(has_flag("a", "2001:db8::1", "tentative"));
    });
}

#[test]
fn after_the_time_wait_tells_what_is_not_ready_and_keeps_the_lab() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let file = lab(&tree("forward_delay: 30s", ""));
        let outcome = topo(&["apply", "--wait=300ms", &file]).exits(1);
        let outcome = outcome.says("the lab is not usable after 300ms").says("link `s:br0` has no carrier");
        outcome.says("port `s:p1` of bridge `br0` is listening").says("The changes were made and are kept.").says(&file);
        assert_no_changes(&file);
        destroy(&file);
    });
}

#[test]
fn a_signal_ends_the_wait_and_keeps_the_lab() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let file = lab(&tree("forward_delay: 30s", ""));
        // The verification takes milliseconds.
        let outcome = interrupted(&["apply", "--wait=60s", &file], "2001:db8::9", Duration::from_secs(3));
        outcome.exits(130).says("interrupted while the lab was not usable yet");
        assert_no_changes(&file);
    });
}

#[test]
fn a_spanning_tree_is_waited_for() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let file = lab(&tree("forward_delay: 2s", ""));
        topo(&["apply", "--wait", &file]).ok();
        for address in ["10.0.0.2", "2001:db8::2", "10.0.0.9", "2001:db8::9"] {
            first_ping("a", address);
        }
        destroy(&file);
        assert_restored(&before);
    });
}

#[test]
fn a_route_from_an_address_behind_a_spanning_tree_is_added_when_that_forwards() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        // 8 s for the spanning tree, more than the 6 s of detection alone.
        let route = "{ to: \"2001:db8:5::/64\", via: \"2001:db8::2\", src: \"2001:db8::9\" }";
        let file = lab(&tree("forward_delay: 4s", route));
        apply(&file);
        assert_no_changes(&file);
        destroy(&file);
    });
}

#[test]
fn a_source_that_never_settles_is_an_error_that_says_what_was_waited_for() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let yaml = "name: later\nnamespaces:\n  a:\n    interfaces: { br0: { bridge: { ports: [p], stp_state: true, forward_delay: 2s }, \
                    addresses: [\"2001:db8::1/64\"], sysctls: { ipv6.router_solicitation_delay: 0 } } }\n    \
                    routes: [{ to: \"2001:db8:5::/64\", via: \"2001:db8::2\", src: \"2001:db8::1\" }]\n  b: {}\n\
                    links: [{ endpoints: [a:p, { interface: b:e0, up: false }] }]\n";
        let outcome = topo(&["apply", &lab(yaml)]).exits(1);
        outcome.says("waited for duplicate address detection (1s) and the spanning tree of `a:br0`");
    });
}

#[test]
fn an_ipv6_address_with_a_peer_is_complete_with_the_route_to_the_peer() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let peer =
            |one: &str, other: &str, rest: &str| format!("{{ address: \"2001:db8:{one}\", peer: \"2001:db8:{other}\"{rest} }}");
        for (length, rest) in [(128, ""), (128, ", nodad: true"), (64, ""), (64, ", nodad: true")] {
            let first = peer(&format!("1::1/{length}"), "2::2", rest);
            let file = lab(&pair(&first, &peer(&format!("2::2/{length}"), "1::1", rest)));
            apply(&file);
            assert!(has_route("a", "2001:db8:2::2") && has_route("b", "2001:db8:1::1"), "{length}{rest}");
            assert_no_changes(&file);
            sh("ip -n a -6 route del 2001:db8:2::2 dev e0");
            apply(&file).says("connected route: missing -> present");
            assert!(has_route("a", "2001:db8:2::2"), "{length}{rest}");
            assert_no_changes(&file);
            destroy(&file);
        }
        assert_restored(&before);
    });
}

#[test]
fn without_detection_the_route_to_a_peer_is_there_at_once() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let address = "{ address: \"2001:db8:1::1/128\", peer: \"2001:db8:2::2\" }";
        let yaml =
            pair(address, "").replacen("addresses:", "sysctls: { ipv6.accept_dad: 0, ipv6.dad_transmits: 20 }, addresses:", 1);
        let file = lab(&yaml);
        let start = Instant::now();
        apply(&file);
        assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
        assert!(has_route("a", "2001:db8:2::2"));
        assert_no_changes(&file);
    });
}

#[test]
fn a_signal_during_the_verification_undoes_the_changes() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let peer = "{ address: \"2001:db8:1::1/128\", peer: \"2001:db8:2::2\" }";
        let file = lab(&tree("forward_delay: 30s", "").replace("\"2001:db8::9/64\"", peer));
        let outcome = interrupted(&["apply", &file], "2001:db8:1::1", Duration::ZERO);
        outcome.exits(130).says("All changes were undone");
        assert_restored(&before);
    });
}

#[test]
fn a_route_to_a_peer_is_not_waited_for_without_carrier() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let down = pair("{ address: \"2001:db8:1::1/128\", peer: \"2001:db8:2::2\" }", "")
            .replace("b:e0]", "{ interface: b:e0, up: false }]")
            .replacen("addresses:", "sysctls: { ipv6.dad_transmits: 20 }, addresses:", 1);
        let file = lab(&down);
        let start = Instant::now();
        apply(&file);
        assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
        assert_no_changes(&file);
    });
}

#[test]
fn an_address_that_another_host_has_is_shown_and_tried_again() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let yaml = pair("\"2001:db8::1/64\"", "{ address: \"2001:db8::2/64\", nodad: true }");
        let file = lab(&yaml);
        topo(&["apply", "--wait", &file]).ok();
        sh("ip -n a -6 address del 2001:db8::1/64 dev e0; ip -n b -6 address add 2001:db8::1/64 dev e0 nodad");
        // The other host is no part of the lab from here on.
        let both = pair(
            "\"2001:db8::1/64\"",
            "{ address: \"2001:db8::2/64\", nodad: true }, { address: \"2001:db8::1/64\", nodad: true }",
        );
        let outcome = topo(&["apply", "--wait", &lab(&both)]).exits(1);
        outcome.says("duplicate address detection of `2001:db8::1` on `a:e0` failed").says("addresses: [\"2001:db8::1/64\"]");
        assert!(has_flag("a", "2001:db8::1", "dadfailed"));
        topo(&["plan", &lab(&both)]).ok().says("dad: failed -> passed  # forces replacement");
        sh("ip -n b -6 address del 2001:db8::1/64 dev e0");
        apply(&file).says("-/+ address 2001:db8::1/64 on e0");
        eventually("the address is usable", || !has_flag("a", "2001:db8::1", "tentative"));
        assert_no_changes(&file);
        destroy(&file);
        assert_restored(&before);
    });
}

//! All that can be seen of a machine's network, as text, to be compared before and after: links with every detail,
//! addresses, routes of all tables, rules, permanent neighbours, forwarding entries, nftables, kernel settings, /run, and mounts
//! below it; for the machine and every named namespace.
//!
//! Only what moves by itself is left out: timers, caches and times of files. So is what the kernel never removes: its rule for VRFs, and the
//! settings that come with their module.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::programs::command;
use super::tools::{PATIENCE, batch, inside, namespaces, vlans};

/// Members of iproute2's JSON that count time.
const TIMERS: [&str; 7] =
    ["message_age_timer", "gc_timer", "hello_timer", "tcn_timer", "topology_change_timer", "hold_timer", "forward_delay_timer"];
/// Settings that count, or are drawn at random.
const MOVING_SETTINGS: [&str; 4] = ["nf_conntrack_count", "tcp_fastopen_key", "stable_secret", "flush"];

/// The fingerprint as it is now.
pub fn fingerprint() -> String {
    let mut out = String::new();
    for namespace in std::iter::once(None).chain(namespaces().iter().map(|name| Some(name.as_str()))) {
        line(&mut out, format_args!("## {}", namespace.unwrap_or("the machine")));
        // An entry under /run/netns may be anything, such as an empty file.
        match namespace {
            Some(name) if !usable(name) => out.push_str("no namespace\n"),
            _ => out.push_str(&inside(namespace, section)),
        }
    }
    out.push_str("## files\n");
    list(&mut out, Path::new("/run"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts.lines().filter(|line| line.contains(" /run")).for_each(|line| out.extend([line, "\n"]));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("a string can be written to");
}

/// The fingerprint once nothing moves any more: duplicate address detection needs a moment after a change, and that a link has
/// lost its carrier is told up to a second later.
pub fn settled_fingerprint() -> String {
    const PAUSE: Duration = Duration::from_millis(400);
    const STILL: Duration = Duration::from_millis(1200);
    let mut last = fingerprint();
    let mut since = Instant::now();
    for _ in 0..30 {
        sleep(PAUSE);
        let now = fingerprint();
        if now != last || now.contains("\"tentative\":true") {
            since = Instant::now();
        } else if since.elapsed() >= STILL {
            return now;
        }
        last = now;
    }
    panic!("the network does not come to rest:\n{last}");
}

fn usable(namespace: &str) -> bool {
    command("ip").args(["-n", namespace, "link"]).output().is_ok_and(|output| output.status.success())
}

/// What is to be seen in the namespace of the calling thread.
fn section() -> String {
    let mut out = String::new();
    let routes = ["route show table all", "rule"];
    let others = ["link", "address", "neighbor show nud permanent", "neighbor show proxy", "nexthop"];
    let mut shown = batch("ip", &[], &[others.as_slice(), &routes].concat());
    shown.extend(batch("ip", &["-6"], &routes));
    shown.extend(batch("bridge", &[], &["link", "fdb show"]));
    shown.push(vlans());
    for (command, mut objects) in shown {
        line(&mut out, format_args!("# {command}"));
        forget_timers(&mut objects);
        // Learnt forwarding entries come and go. Those of multicast groups stand in the order in which they were joined, and the kernel's
        // own routes in that in which their interfaces came up: the order says nothing.
        let is_fdb = command == "fdb show";
        let shown = objects.as_array().into_iter().flatten().filter(|object| !is_rule_of_vrfs(object));
        let shown = shown.filter(|object| !is_fdb || object["state"] == "permanent");
        let mut lines: Vec<String> = shown.map(ToString::to_string).collect();
        let is_unordered = |line: &String| is_fdb || command.starts_with("route") && line.contains("\"protocol\":\"kernel\"");
        lines.sort_by_cached_key(|line| is_unordered(line).then(|| line.clone()));
        for object in &lines {
            line(&mut out, format_args!("{object}"));
        }
    }
    out.push_str("# nft list ruleset\n");
    // A kernel without nftables has no rules.
    let ruleset = command("nft").args(["list", "ruleset"]).output().expect("nft can be run");
    out.push_str(&String::from_utf8_lossy(&ruleset.stdout));
    out.push_str("# settings\n");
    let mut settings = Vec::new();
    read_settings(Path::new("/proc/sys/net"), &mut settings);
    assert!(settings.len() > 100, "the settings below /proc/sys/net cannot be read");
    settings.sort();
    out.extend(settings);
    out
}

/// Whether it is the rule that the kernel adds to a namespace with its first VRF, and never removes.
pub fn is_rule_of_vrfs(object: &Value) -> bool {
    object["priority"] == 1000 && object.get("l3mdev").is_some()
}

fn read_settings(directory: &Path, settings: &mut Vec<String>) {
    for path in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.ends_with("net/vrf") {
            continue;
        }
        if path.is_dir() {
            read_settings(&path, settings);
        } else if !MOVING_SETTINGS.iter().any(|name| path.ends_with(name))
            && let Ok(value) = fs::read_to_string(&path)
        {
            settings.push(format!("{} = {}\n", path.display(), value.trim_end()));
        }
    }
}

fn forget_timers(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !TIMERS.contains(&name.as_str()));
            members.values_mut().for_each(forget_timers);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_timers),
        _ => {}
    }
}

fn list(out: &mut String, directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        line(out, format_args!("{:o} {}:{} {}", metadata.mode(), metadata.uid(), metadata.gid(), path.display()));
        if metadata.is_dir() {
            list(out, &path);
        }
    }
}

/// The lines in which two fingerprints differ, for a message.
pub fn difference(before: &str, after: &str) -> String {
    similar::TextDiff::from_lines(before, after).unified_diff().context_radius(1).to_string()
}

/// Insists that the machine is as it was.
#[track_caller]
pub fn assert_restored(before: &str) {
    let after = fingerprint();
    assert!(after == before, "the machine is not as it was:\n{}", difference(before, &after));
}

/// Insists that the machine is as it was in time, where the kernel does some of the work in its own.
#[track_caller]
pub fn eventually_restored(before: &str) {
    let deadline = Instant::now() + PATIENCE;
    while fingerprint() != before {
        if Instant::now() >= deadline {
            return assert_restored(before);
        }
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_fingerprint_sees_every_sort_of_change_and_only_that() {
    super::in_namespaces(|| {
        super::sh("ip link add br0 type bridge && ip link set br0 up && ip netns add other");
        let before = settled_fingerprint();
        let changes = [
            ("ip link set br0 alias x", "ip link set br0 alias ''"),
            ("ip address add 192.0.2.1/24 dev br0", "ip address del 192.0.2.1/24 dev br0"),
            ("ip rule add fwmark 7 table 7", "ip rule del fwmark 7 table 7"),
            ("ip -n other route add blackhole 192.0.2.0/24", "ip -n other route del blackhole 192.0.2.0/24"),
            ("ip neighbor add 192.0.2.9 lladdr 02:00:00:00:00:09 dev br0", "ip neighbor del 192.0.2.9 dev br0"),
            ("echo 1 > /proc/sys/net/ipv4/conf/br0/proxy_arp", "echo 0 > /proc/sys/net/ipv4/conf/br0/proxy_arp"),
            ("touch /run/netns/x", "rm /run/netns/x"),
        ];
        for (make, undo) in changes {
            super::sh(make);
            assert_ne!(fingerprint(), before, "{make}");
            super::sh(undo);
            assert_restored(&before);
        }
    });
}

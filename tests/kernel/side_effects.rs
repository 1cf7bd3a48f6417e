//! What the kernel does to foreign things in `host` along with the lab's changes: the plan shows it, and it is put back.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::harness::fingerprint::{assert_restored, difference, fingerprint};
use super::harness::tools::{PATIENCE, text};
use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, ip, lab, needs, settled_fingerprint, sh, topo};

/// The value of a sysctl of `host`.
fn value(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

/// Two foreign interfaces.
const PAIR: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up";
/// A namespace of a lab whose creation fails.
const REFUSED: &str = "  a: { sysctls: { net.ipv4.ip_forward: rubbish } }\n";

#[test]
fn settings_of_foreign_interfaces_return_to_their_own_values() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        sh("echo 1 > /proc/sys/net/ipv4/conf/up0/forwarding; echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects
            echo 1 > /proc/sys/net/ipv6/conf/up1/forwarding; echo 2 > /proc/sys/net/ipv4/conf/up1/rp_filter");
        let before = settled_fingerprint();
        let file = |more: &str| {
            lab(&format!(
                "name: side\nnamespaces:\n  host: {{ sysctls: {{ net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1, \
                 net.ipv4.conf.default.rp_filter: 1 }} }}\n{more}"
            ))
        };
        topo(&["plan", &file("")])
            .ok()
            .says("! up1: ipv4.forwarding 0 -> 1 (side effect: `net.ipv4.ip_forward` changes)")
            .says("! up0: ipv6.forwarding 0 -> 1 (side effect: `net.ipv6.conf.all.forwarding` changes)")
            .says("! up0: ipv4.rp_filter 0 -> 1 (side effect: `net.ipv4.conf.default.rp_filter` changes)");
        topo(&["apply", &file(REFUSED)]).exits(1).says("as it was before");
        assert_restored(&before);
        apply(&file(""));
        assert_no_changes(&file(""));
        assert_eq!([value("ipv4/conf/up0/forwarding"), value("ipv6/conf/up0/forwarding")], ["1", "1"]);
        assert_eq!(value("ipv4/conf/up1/rp_filter"), "2");
        // An update that fails leaves what the lab has.
        let applied = settled_fingerprint();
        let other = "name: side\nnamespaces:\n  host: { sysctls: { net.ipv6.conf.all.forwarding: 1 } }\n";
        topo(&["apply", &lab(&format!("{other}{REFUSED}"))]).exits(1).says("as it was before");
        assert_restored(&applied);
        apply(&lab(other));
        assert_eq!(
            ["all/accept_redirects", "up0/forwarding", "up1/forwarding"].map(|path| value(&format!("ipv4/conf/{path}"))),
            ["0", "1", "0"]
        );
        destroy("side");
        assert_restored(&before);
        // Of a new value, too, the machine's own returns.
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/up1/forwarding");
        let before = settled_fingerprint();
        let off = lab("name: side\nnamespaces: { host: { sysctls: { net.ipv4.ip_forward: 0 } } }\n");
        topo(&["plan", &off]).ok().says("! up0: ipv4.forwarding 1 -> 0");
        apply(&off);
        destroy("side");
        assert_restored(&before);
    });
}

/// An external `up0` with these settings, and more lines below `namespaces`.
fn external(settings: &str, more: &str) -> String {
    lab(&format!("name: side\nnamespaces:\n  host: {{ interfaces: {{ up0: {{ external: true, {settings} }} }} }}\n{more}"))
}

#[test]
fn foreign_addresses_beside_those_of_the_lab_stay() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        let before = settled_fingerprint();
        apply(&external("addresses: [192.0.2.10/24, \"2001:db8::10/64\"]", ""));
        sh("ip address add 192.0.2.77/24 dev up0 label up0:x; ip address add 2001:db8::77/64 dev up0 nodad
            ip route add 198.51.100.0/24 via 192.0.2.1 src 192.0.2.77 proto static metric 7 mtu 1300
            ip route add 203.0.113.0/24 via 192.0.2.1; ip -6 route add 2001:db8:1::/48 via 2001:db8::1 src 2001:db8::77
            ip neighbor add 192.0.2.1 lladdr 02:00:00:00:00:01 dev up0; ip neighbor add proxy 192.0.2.200 dev up0");
        let foreign = || {
            let lines = |arguments: &[&str]| text("ip", arguments).replace("linkdown", "");
            let addresses = lines(&["-o", "address", "show", "up0"]);
            let addresses: Vec<_> = addresses.lines().filter(|line| line.contains(".77") || line.contains("::77")).collect();
            let addresses = addresses.join("\n").replace(" secondary", "");
            let routes = lines(&["route", "show"]) + &lines(&["-6", "route", "show", "2001:db8:1::/48"]);
            let routes: Vec<_> = routes.lines().filter(|line| line.contains("via")).map(str::to_owned).collect();
            (addresses, routes, lines(&["neighbor", "show", "nud", "permanent"]), lines(&["neighbor", "show", "proxy"]))
        };
        let expected = foreign();
        let other = "addresses: [192.0.2.11/24, \"2001:db8::11/64\"]";
        topo(&["plan", &external(other, ""), "--json"]).ok().says("\"restored\":\"in plan\"");
        topo(&["plan", &external(other, "")])
            .ok()
            .says(
                "! address 192.0.2.77/24 on up0: removed and added again (side effect: the kernel removes it with 192.0.2.10/24",
            )
            .says(
                "! route 198.51.100.0/24 metric 7: removed and added again (side effect: the IPv4 addresses of `host:up0` change)",
            );
        topo(&["apply", &external(other, REFUSED)]).exits(1).says("as it was before");
        assert_eq!(foreign(), expected, "an update that failed");
        assert_no_changes(&external("addresses: [192.0.2.10/24, \"2001:db8::10/64\"]", ""));
        let elsewhere = "addresses: [192.0.4.10/24]";
        topo(&["apply", &external(elsewhere, REFUSED)]).exits(1).says("as it was before");
        assert_eq!(foreign(), expected, "an update to another subnet that failed");
        let secondary = text("ip", &["-o", "-4", "address", "show", "up0", "secondary"]);
        assert!(secondary.contains(".77") && !secondary.contains(".10"), "the lab's address is the first again: {secondary}");
        apply(&external(other, ""));
        assert_eq!(foreign(), expected, "an update");
        assert_no_changes(&external(other, ""));
        apply(&external("mtu: 1400", ""));
        assert_eq!(foreign(), expected, "no address");
        apply(&external(other, ""));
        destroy("side");
        assert_eq!(foreign(), expected, "the lab has left");
        sh("ip neighbor del 192.0.2.1 dev up0; ip neighbor del proxy 192.0.2.200 dev up0
            ip -6 route del 2001:db8:1::/48; ip address del 192.0.2.77/24 dev up0; ip address del 2001:db8::77/64 dev up0");
        assert_restored(&before);
    });
}

/// Foreign objects on `up0`, of every sort.
const OBJECTS: &str = "ip address add 192.0.2.9/24 dev up0; ip address add 192.0.2.10/24 dev up0; ip address add 2001:db8::9/64 dev up0
    ip route add 198.51.100.0/24 via 192.0.2.1 src 192.0.2.10; ip route add 203.0.113.0/24 nexthop dev up0 nexthop dev up0 via 192.0.2.1
    ip route add 203.0.113.7 via 192.0.2.1 dev up1 onlink table 77
    ip -6 route add 2001:db8:1::/48 via 2001:db8::1; ip -6 route add 2001:db8:2::/48 nexthop via 2001:db8::2 nexthop via 2001:db8::3 weight 3
    ip -6 route add default via fe80::1 dev up0
    ip neighbor add 192.0.2.1 lladdr 02:00:00:00:00:01 dev up0; ip neighbor add 2001:db8::1 lladdr 02:00:00:00:00:01 dev up0 router
    ip neighbor add proxy 192.0.2.200 dev up0; ip neighbor add proxy 2001:db8::200 dev up0";

/// Applies the settings, sees what the plan says, and insists that failures, updates and the end of the lab restore what is foreign.
fn restored_after(settings: &str, says: &[&str]) {
    let before = settled_fingerprint();
    for text in says {
        topo(&["plan", &external(settings, "")]).ok().says(text);
    }
    topo(&["apply", &external(settings, REFUSED)]).exits(1).says("as it was before");
    eventually_as(&before);
    apply(&external(settings, ""));
    assert_no_changes(&external(settings, ""));
    apply(&external("txqueuelen: 77", ""));
    sh("ip link set up0 txqueuelen 1000");
    eventually_as(&before);
    sh("ip link set up0 txqueuelen 77");
    apply(&external(settings, ""));
    destroy("side");
    eventually_as(&before);
}

/// Waits until the machine's network is as it was, apart from the files of topo and the order of forwarding entries.
pub fn eventually_as(before: &str) {
    let lines = |text: &str| {
        let (network, _) = text.split_once("## files").unwrap();
        let mut lines: Vec<_> = network.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join("\n")
    };
    let deadline = Instant::now() + PATIENCE;
    while lines(&fingerprint()) != lines(before) {
        assert!(
            Instant::now() < deadline,
            "the network is not as it was:\n{}",
            difference(&lines(before), &lines(&fingerprint()))
        );
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_a_link_loses_with_its_settings_comes_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        sh(OBJECTS);
        let gone = "removed until the lab leaves (side effect: ";
        restored_after(
            "up: false",
            &[
                &format!("! route 198.51.100.0/24: {gone}`host:up0` goes down)"),
                &format!("! address 2001:db8::9/64 on up0: {gone}`host:up0` goes down)"),
                &format!("! neighbor 192.0.2.1 dev up0: {gone}`host:up0` goes down)"),
            ],
        );
        restored_after(
            "mtu: 1000",
            &[&format!("! address 2001:db8::9/64 on up0: {gone}the mtu of `host:up0` becomes too small for IPv6)")],
        );
        let back = "removed and added again (side effect: the hardware address of `host:up0`, or its use of ARP, may change)";
        restored_after("mac: 02:00:00:00:00:77", &[&format!("! neighbor 192.0.2.1 dev up0: {back}")]);
        restored_after("arp: false", &[&format!("! neighbor 2001:db8::1 dev up0: {back}")]);
    });
}

#[test]
fn what_cannot_be_put_back_is_refused() {
    in_namespaces(|| {
        sh(PAIR);
        let before = settled_fingerprint();
        apply(&external("addresses: [192.0.2.10/24]", ""));
        sh(
            "ip route add 198.51.100.0/24 via 192.0.2.1; ip nexthop add id 7 via 192.0.2.1 dev up0; ip route add 203.0.113.0/24 nhid 7",
        );
        let applied = settled_fingerprint();
        let other = external("addresses: [192.0.3.10/24]", "");
        let lost = "route 198.51.100.0/24: removed for good (side effect: the IPv4 addresses of `host:up0` change)";
        for arguments in [["apply", other.as_str()], ["destroy", "side"]] {
            topo(&arguments).exits(1).says(lost).says("--allow-side-effects");
            assert_restored(&applied);
        }
        let saved = lab("");
        topo(&["plan", &other, "--out", &saved]).ok().says("`topo apply` refuses this without `--allow-side-effects`");
        topo(&["apply", &saved]).exits(1).says(lost);
        topo(&["plan", &other, "--allow-side-effects", "--out", &saved]).ok();
        topo(&["apply", &saved]).ok();
        assert_no_changes(&other);
        topo(&["apply", &external("up: false", "")])
            .exits(1)
            .says("route 203.0.113.0/24: removed for good (side effect: `host:up0` goes down)");
        topo(&["destroy", "side"]).ok();
        sh("ip nexthop flush");
        assert_restored(&before);
    });
}

#[test]
fn what_interfaces_lose_without_ipv6_comes_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        sh(
            "ip address add 2001:db8::9/64 dev up0; ip address add 2001:db8:9::9/64 dev up1; ip -6 route add 2001:db8:1::/48 via 2001:db8::1",
        );
        // A route needs its source to have passed duplicate address detection.
        settled_fingerprint();
        sh(
            "ip -6 route add 2001:db8:2::/48 via 2001:db8:9::1 src 2001:db8:9::9; ip neighbor add 2001:db8::1 lladdr 02:00:00:00:00:01 dev up0",
        );
        let host = |settings: &str, more: &str| lab(&format!("name: side\nnamespaces:\n  host: {{ {settings} }}\n{more}"));
        for settings in [
            "sysctls: { net.ipv6.conf.all.disable_ipv6: 1 }",
            "interfaces: { up0: { external: true, sysctls: { ipv6.disable_ipv6: 1 } } }",
        ] {
            let before = settled_fingerprint();
            let gone = "! address 2001:db8::9/64 on up0: removed until the lab leaves (side effect: `net.ipv6.conf.";
            topo(&["plan", &host(settings, "")]).ok().says(gone);
            topo(&["apply", &host(settings, REFUSED)]).exits(1).says("as it was before");
            eventually_as(&before);
            apply(&host(settings, ""));
            assert_no_changes(&host(settings, ""));
            apply(&host("sysctls: { net.ipv4.ip_forward: 0 }", ""));
            eventually_as(&before);
            apply(&host(settings, ""));
            destroy("side");
            eventually_as(&before);
        }
    });
}

/// A macvlan of somebody else on a bridge of the lab goes with the bridge.
#[test]
fn foreign_links_on_a_link_of_the_lab_are_named_before_they_go() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Macvlan]) {
            return;
        }
        let before = settled_fingerprint();
        let file = lab("name: base\nnamespaces:\n  host: { interfaces: { br0: { bridge: {} } } }\n");
        apply(&file);
        sh("ip link add mv0 link br0 type macvlan mode bridge");
        assert_no_changes(&file);
        let lost = "macvlan mv0: removed for good (side effect: it stands on `br0`, which is removed)";
        topo(&["destroy", &file]).exits(1).says(lost).says("--allow-side-effects");
        let empty = lab("name: base\nnamespaces: {}\n");
        topo(&["plan", &empty]).ok().says(lost);
        topo(&["apply", &empty]).exits(1).says("Nothing was changed");
        assert_no_changes(&file);
        topo(&["destroy", &file, "--allow-side-effects"]).ok().says(lost);
        assert_restored(&before);
    });
}

/// A link is known by its number, whatever its name is when the lab leaves.
#[test]
fn an_external_link_that_was_renamed_gets_its_own_settings_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let rename =
            |from: &str, to: &str| sh(&format!("ip link set {from} down; ip link set {from} name {to}; ip link set {to} up"));
        sh(PAIR);
        sh("ip link set up0 mtu 1300; echo 2 > /proc/sys/net/ipv4/conf/up0/rp_filter; ip link add other type bridge; ip link set up0 master other
            bridge link set dev up0 cost 77");
        let before = settled_fingerprint();
        let file = lab("name: side
namespaces:
  host:
    interfaces:
      up0: { external: true, mtu: 1400, sysctls: { ipv4.rp_filter: 0 }, addresses: [192.0.2.1/24] }
      br9: { bridge: { ports: [up0] } }
");
        apply(&file);
        rename("up0", "up9");
        topo(&["plan", &file]).exits(1).says("up0");
        destroy("side");
        rename("up9", "up0");
        eventually_as(&before);
        // Two links that have changed their names.
        apply(&file);
        rename("up0", "up9");
        rename("up1", "up0");
        rename("up9", "up1");
        destroy("side");
        rename("up0", "up9");
        rename("up1", "up0");
        rename("up9", "up1");
        eventually_as(&before);
    });
}

/// Somebody disables IPv6 while the lab has taken the addresses away: they cannot come back, and the lab still leaves.
#[test]
fn what_the_kernel_refuses_to_put_back_does_not_keep_the_lab() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        sh("ip address add 2001:db8::5/64 dev up0 nodad");
        let file = external("mtu: 1000", "");
        apply(&file);
        sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
        topo(&["destroy", "side"]).ok().says("warning: the kernel refuses to put back").says("2001:db8::5/64");
        assert!(!fs::exists("/run/topo/side.json").unwrap());
        assert_eq!(ip(&["link", "show", "up0"])[0]["mtu"], 1500);
    });
}

/// The port has no carrier, so that the foreign bridge reports it as disabled; and the bridge is deleted while the lab has the port.
#[test]
fn a_port_without_carrier_and_one_whose_bridge_is_gone_come_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link add other type bridge; ip link set up0 master other");
        let before = settled_fingerprint();
        let file = lab(
            "name: side\nnamespaces:\n  host: { interfaces: { up0: { external: true }, br9: { bridge: { ports: [up0] } } } }\n",
        );
        apply(&file);
        destroy("side");
        eventually_as(&before);
        apply(&file);
        sh("ip link del other");
        destroy("side");
        assert!(ip(&["link", "show", "up0"])[0]["master"].is_null());
    });
}

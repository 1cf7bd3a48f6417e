//! Objects of others that the kernel removes with changes of the lab: which of them can be put back, in `host` and in namespaces of the lab.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, in_namespaces, lab, needs, settled_fingerprint, sh, text, topo,
};

/// Two foreign interfaces.
const PAIR: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up";

/// An external `up0` with these settings.
fn external(settings: &str) -> String {
    lab(&format!("name: side\nnamespaces:\n  host: {{ interfaces: {{ up0: {{ external: true, {settings} }} }} }}\n"))
}

/// The routes of both families, sorted, without the state of links.
fn routes() -> Vec<String> {
    let all = text("ip", &["route", "show", "table", "all"]) + &text("ip", &["-6", "route", "show", "table", "all"]);
    let mut lines: Vec<_> =
        all.lines().filter(|line| !line.contains("proto kernel")).map(|line| line.replace(" linkdown", "")).collect();
    lines.sort();
    lines
}

/// A route without a gateway over another interface, or in another table, does not make a gateway reachable.
#[test]
fn a_gateway_is_reached_over_its_own_interface_and_by_its_table() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        let first = external("addresses: [192.0.2.10/24, {address: \"2001:db8::10/64\", nodad: true}]");
        let other = external("addresses: [192.0.3.10/24, {address: \"2001:db8:3::10/64\", nodad: true}]");
        apply(&first);
        sh("ip address add 198.18.0.1/32 dev up1; ip route add default dev up1; ip -6 route add default dev up1
            ip route add 198.51.100.0/24 via 192.0.2.1; ip -6 route add 2001:db8:1::/48 via 2001:db8::1
            ip route add 192.0.2.0/24 dev up0 table 7; ip -6 route add 2001:db8::/64 dev up0 table 7");
        let lost = |route: &str| format!("route {route}: removed for good (side effect: ");
        topo(&["plan", &other]).ok().says(&lost("198.51.100.0/24"));
        sh("ip route del 198.51.100.0/24; ip route add 198.51.100.0/24 via 192.0.2.1 dev up0 table 7");
        // This one is still reached, by the route of its table.
        let before = routes();
        topo(&["apply", &other]).ok().says("! route 198.51.100.0/24 table 7: removed and added again");
        assert_eq!(routes(), before);
        topo(&["destroy", "side"]).ok();
    });
}

/// The source address is not on an interface of the lab.
#[test]
fn a_source_address_that_stays_keeps_its_routes() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        sh("ip address add 198.51.100.7/32 dev lo; ip address add 2001:db8:7::7/128 dev lo");
        let file =
            |last: u8| external(&format!("addresses: [192.0.2.{last}/24, {{address: \"2001:db8::{last}/64\", nodad: true}}]"));
        apply(&file(10));
        sh(
            "ip route add 203.0.113.0/24 via 192.0.2.1 src 198.51.100.7; ip -6 route add 2001:db8:1::/48 via 2001:db8::1 src 2001:db8:7::7",
        );
        let before = routes();
        topo(&["apply", &file(11)]).ok().says("! route 203.0.113.0/24: removed and added again");
        assert_eq!(routes(), before);
        assert_no_changes(&file(11));
        sh("ip route del 203.0.113.0/24; ip -6 route del 2001:db8:1::/48");
        destroy("side");
    });
}

/// A route that expires keeps the rest of its time; what the kernel never resolves, and routes to groups, come back as well.
#[test]
fn routes_that_expire_routes_to_groups_and_unresolved_neighbors_come_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(PAIR);
        sh("ip address add 192.0.2.9/24 dev up0; ip address add 2001:db8::9/64 dev up0 nodad
            ip -6 route add 2001:db8:1::/48 dev up0 expires 600; ip route add multicast 239.1.0.0/16 dev up0
            ip neighbor add 192.0.2.7 lladdr 02:00:00:00:00:07 dev up0 nud noarp
            ip neighbor add 2001:db8::7 lladdr 02:00:00:00:00:07 dev up0 nud noarp");
        let expires = || text("ip", &["-6", "route", "show", "2001:db8:1::/48"]).contains("expires 59");
        let there = || {
            let neighbors = text("ip", &["neighbor", "show", "nud", "noarp", "dev", "up0"]);
            let all = neighbors.contains("192.0.2.7 ") && neighbors.contains("2001:db8::7 ");
            all && expires() && text("ip", &["route", "show"]).contains("multicast 239.1.0.0/16")
        };
        assert!(there());
        let gone = "removed until the lab leaves (side effect: `host:up0` goes down)";
        topo(&["apply", &external("up: false")])
            .ok()
            .says(&format!("! route multicast 239.1.0.0/16: {gone}"))
            .says(&format!("! route 2001:db8:1::/48: {gone}"))
            .says(&format!("! neighbor 192.0.2.7 dev up0: {gone}"))
            .says(&format!("! neighbor 2001:db8::7 dev up0: {gone}"));
        assert!(!there());
        destroy("side");
        eventually("what others had comes back", there);
        apply(&external("mac: 02:00:00:00:00:77"));
        eventually("what others had comes back", there);
        destroy("side");
        eventually("what others had comes back", there);
    });
}

/// What another lab had on a link does not come back when that lab has left meanwhile.
#[test]
fn objects_of_a_lab_that_has_left_stay_away() {
    in_namespaces(|| {
        sh(PAIR);
        sh("ip address add 192.0.2.9/24 dev up0");
        let other = |name: &str| {
            lab(&format!(
                "name: {name}\nnamespaces:\n  host:\n    interfaces: {{ up0: {{ external: true }} }}\n    routes: [{{ to: 198.51.100.0/24, via: 192.0.2.1, dev: up0, onlink: true }}]\n"
            ))
        };
        apply(&other("other"));
        topo(&["apply", &external("up: false")]).ok().says("! route 198.51.100.0/24: removed until the lab leaves");
        destroy("side");
        assert!(text("ip", &["route"]).contains("198.51.100.0/24"), "the other lab still needs it");
        apply(&external("up: false"));
        destroy("other");
        destroy("side");
        assert!(!text("ip", &["route"]).contains("198.51.100.0/24"), "nobody needs it any more");
    });
}

/// A bridge of the lab in `host` takes what others have on it along.
#[test]
fn foreign_objects_and_ports_of_a_bridge_of_the_lab_are_named() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh(PAIR);
        let before = settled_fingerprint();
        let file = lab("name: base\nnamespaces:\n  host: { interfaces: { br0: { bridge: {}, addresses: [192.0.2.1/24] } } }\n");
        apply(&file);
        sh("ip address add 198.51.100.1/24 dev br0; ip route add 203.0.113.0/24 via 192.0.2.9; ip link set up0 master br0");
        assert_no_changes(&file);
        for arguments in [["destroy", file.as_str()], ["destroy", "base"]] {
            topo(&arguments)
                .exits(1)
                .says("address 198.51.100.1/24 on br0: removed for good (side effect: `host:br0` is deleted)")
                .says("route 203.0.113.0/24: removed for good (side effect: `host:br0` is deleted)")
                .says("up0: master br0 -> none (side effect: `br0` is removed)")
                .says("--allow-side-effects");
        }
        assert_no_changes(&file);
        topo(&["destroy", &file, "--allow-side-effects"]).ok();
        assert_restored(&before);
    });
}

const INSIDE: &str = "
name: inner
namespaces:
  a:
    interfaces:
      eth0: { addresses: [ADDRESSES], SETTINGS }
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
";

fn inner(addresses: &str, settings: &str) -> String {
    lab(&INSIDE.replace("ADDRESSES", addresses).replace("SETTINGS", settings))
}

/// A DHCP client, a routing daemon and others have added objects to a namespace of the lab.
#[test]
fn what_others_have_in_a_namespace_of_the_lab_comes_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let plain = inner("10.0.0.1/24, {address: \"2001:db8::1/64\", nodad: true}", "ignore: [neighbors]");
        apply(&plain);
        sh("ip -n a address add 10.0.0.77/24 dev eth0 valid_lft 6000 preferred_lft 6000
            ip -n a address add 2001:db8::77/64 dev eth0 nodad valid_lft 6000 preferred_lft 6000
            ip -n a route add default via 10.0.0.2 src 10.0.0.77 proto dhcp; ip -n a route add 203.0.113.0/24 via 10.0.0.2 proto zebra
            ip -n a -6 route add 2001:db8:1::/48 via 2001:db8::2 proto bird
            ip -n a neighbor add 10.0.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent
            ip -n a neighbor add 2001:db8::7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
        let theirs = || {
            let show = |arguments: &[&str]| text("ip", &[&["-n", "a"], arguments].concat());
            let mut addresses: Vec<_> =
                show(&["-br", "address", "show", "eth0", "dynamic"]).split_whitespace().skip(2).map(str::to_owned).collect();
            addresses.sort();
            let routes = show(&["route"]) + &show(&["-6", "route"]);
            let mut routes: Vec<_> =
                routes.lines().filter(|line| line.contains("via")).map(|line| line.replace(" linkdown", "")).collect();
            routes.sort();
            let mut neighbors: Vec<_> = show(&["neighbor", "show", "nud", "permanent"]).lines().map(str::to_owned).collect();
            neighbors.sort();
            (addresses, routes, neighbors)
        };
        let expected = theirs();
        assert_eq!((expected.0.len(), expected.1.len(), expected.2.len()), (2, 3, 2), "{expected:?}");
        assert_no_changes(&plain);
        let mut last = plain.clone();
        for (addresses, settings) in [
            ("10.0.0.3/24, {address: \"2001:db8::3/64\", nodad: true}", "ignore: [neighbors]"),
            ("10.0.0.3/24, {address: \"2001:db8::3/64\", nodad: true}", "ignore: [neighbors], mac: 02:00:00:00:00:55"),
        ] {
            let file = inner(addresses, settings);
            let failing = lab(&std::fs::read_to_string(&file)
                .unwrap()
                .replace("  b: {}", "  b: {}\n  c: { sysctls: { net.ipv4.ip_forward: rubbish } }"));
            topo(&["apply", &failing]).exits(1).says("as it was before");
            assert_eq!(theirs(), expected, "a failed update to {addresses}, {settings}");
            topo(&["apply", &file]).ok().says("removed and added again");
            assert_eq!(theirs(), expected, "{addresses}, {settings}");
            assert_no_changes(&file);
            last = file;
        }
        let down = lab(&std::fs::read_to_string(&last).unwrap().replace("ignore:", "up: false, ignore:"));
        topo(&["apply", &down])
            .ok()
            .says("! route default: removed until the change is undone (side effect: `a:eth0` goes down)");
        assert_no_changes(&down);
        topo(&["apply", &last]).ok().says("! route default: added again");
        assert_eq!(theirs(), expected, "the link is up again");
        assert_no_changes(&last);
        // A link that the kernel cannot change in place is replaced.
        let queues = lab(&std::fs::read_to_string(&last).unwrap().replace("b:eth0", "b:eth9"));
        topo(&["apply", &queues]).ok().says("-/+ veth eth0");
        eventually("what others had comes back", || theirs() == expected);
        assert_no_changes(&queues);
        topo(&["destroy", "inner"]).ok();
    });
}

//! Objects that look like the lab's and are not: each is a conflict that names it, and stays as it was, byte for byte.

use super::harness::fingerprint::assert_restored;
use super::harness::{Feature, apply, destroy, in_namespaces, ip, lab, needs, settled_fingerprint, sh, topo};

/// The marks of the lab `like`, and those of a lab `other`.
fn marks() -> [(u64, String); 2] {
    ["like", "other"].map(|name| {
        let file = lab(&format!("name: {name}\nnamespaces: {{ host: {{ interfaces: {{ probe: {{ bridge: {{}} }} }} }} }}\n"));
        apply(&file);
        let link = &ip(&["link", "show", "probe"])[0];
        let mark = (link["group"].as_str().unwrap().parse().unwrap(), link["ifalias"].as_str().unwrap().to_owned());
        destroy(&file);
        mark
    })
}

/// Insists that the lab `like` is refused by every command that reads it, with these words, and that destroying by file or by name leaves
/// everything alone.
#[track_caller]
pub(super) fn untouched(why: &str, file: &str, named: &[&str]) {
    let before = settled_fingerprint();
    for command in ["plan", "apply"] {
        let outcome = topo(&[command, file]);
        assert_eq!(outcome.status, 1, "{why}, {command}: {outcome:?}");
        for named in named {
            assert!(outcome.stderr.contains(named), "{why}, {command}: `{named}` is not named in {}", outcome.stderr);
        }
    }
    for target in [file, "like"] {
        let outcome = topo(&["destroy", target]);
        assert_eq!(outcome.status, 0, "{why}: {outcome:?}");
    }
    assert_restored(&before);
}

#[test]
fn a_link_of_any_kind_is_the_labs_by_group_and_alias_only() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Macvlan, Feature::Vxlan]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up");
        let [(group, alias), (other_group, other_alias)] = marks();
        let kinds = [
            ("bridge: { stp_state: true }", "ip link add it type bridge"),
            ("macvlan: { parent: up0, mode: bridge }", "ip link add it link up0 type macvlan mode bridge"),
            ("vxlan: { id: 7, remote: 192.0.2.1, port: 4789 }", "ip link add it type vxlan id 7 remote 192.0.2.1 dstport 4789"),
            ("bridge: {}", "ip link add it type veth peer name that"),
        ];
        for (kind, make) in kinds {
            let file = lab(&format!(
                "name: like\nnamespaces: {{ host: {{ interfaces: {{ up0: {{ external: true }}, it: {{ {kind} }} }} }} }}\n"
            ));
            let disguises = [
                ("the same name", ":".to_owned()),
                ("name and group", format!("ip link set it group {group}")),
                ("name and alias", format!("ip link set it alias {alias}")),
                ("another lab's", format!("ip link set it group {other_group} alias {other_alias}")),
                ("the lab's group, another's alias", format!("ip link set it group {group} alias {other_alias}")),
                ("another's group, the lab's alias", format!("ip link set it group {other_group} alias {alias}")),
            ];
            for (what, disguise) in disguises {
                sh(&format!("{make}; {disguise}"));
                untouched(&format!("{kind}, {what}"), &file, &["host:it"]);
                sh("ip link del it");
            }
        }
    });
}

#[test]
fn an_end_of_a_pair_is_the_labs_by_group_and_alias_only() {
    in_namespaces(|| {
        let [(group, alias), _] = marks();
        let file = lab("name: like\nnamespaces: { a: {} }\nlinks: [{ endpoints: [a:eth0, host:it] }]\n");
        for disguise in [":".to_owned(), format!("ip link set it group {group}"), format!("ip link set it alias {alias}")] {
            sh(&format!("ip link add it type veth peer name that; {disguise}"));
            untouched(&disguise, &file, &["host:it"]);
            sh("ip link del it");
        }
    });
}

#[test]
fn a_namespace_is_the_labs_by_its_own_mark_only() {
    in_namespaces(|| {
        let file = lab("name: like\nnamespaces: { a: {}, b: {} }\n");
        let cases = [
            ("ip netns add a", "ip netns del a"),
            ("ip netns add a; ip -n a link set lo alias topo:other/a", "ip netns del a"),
            ("ip netns add a; ip -n a link set lo alias topo:like/b", "ip netns del a"),
            ("ip netns add a; ip -n a link set lo alias topo:like", "ip netns del a"),
            ("printf topo:other/a > /run/netns/a", "rm /run/netns/a"),
            ("printf 'topo:like/a ' > /run/netns/a", "rm /run/netns/a"),
            ("echo anything > /run/netns/a; chmod 0 /run/netns/a", "rm /run/netns/a"),
            ("printf topo:like/a > /run/x; ln -s ../x /run/netns/a", "rm /run/netns/a /run/x"),
            ("mkdir /run/netns/a", "rmdir /run/netns/a"),
        ];
        for (make, undo) in cases {
            sh(make);
            untouched(make, &file, &["`a`"]);
            sh(undo);
        }
    });
}

#[test]
fn routes_and_addresses_are_the_labs_by_their_protocol_only() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip address add 192.0.2.9/24 dev up0
            ip address add 2001:db8::9/64 dev up0 nodad");
        let with = |what: &str| lab(&format!("name: like\nnamespaces: {{ host: {{ {what} }} }}\n"));
        let external = "interfaces: { up0: { external: true";
        let cases = [
            (
                format!("{external}, addresses: [192.0.2.100/24] }} }}, routes: [{{ to: 198.51.100.0/24, via: 192.0.2.1 }}]"),
                "ip route add 198.51.100.0/24 via 192.0.2.7 proto 117",
                "198.51.100.0/24",
                "ip route del 198.51.100.0/24",
            ),
            (
                format!("{external}, addresses: [192.0.2.100/24] }} }}, routes: [{{ to: 198.51.100.0/24, via: 192.0.2.1 }}]"),
                "ip route add 198.51.100.0/24 via 192.0.2.1 proto static",
                "198.51.100.0/24",
                "ip route del 198.51.100.0/24",
            ),
            (
                format!(
                    "{external}, addresses: [\"2001:db8::100/64\"] }} }}, routes: [{{ to: \"2001:db8:1::/64\", via: \"2001:db8::1\" }}]"
                ),
                "ip route add 2001:db8:1::/64 via 2001:db8::1",
                "2001:db8:1::/64",
                "ip route del 2001:db8:1::/64",
            ),
            (
                format!("{external}, addresses: [203.0.113.1/24] }} }}"),
                "ip address add 203.0.113.1/24 dev up0",
                "203.0.113.1/24",
                "ip address del 203.0.113.1/24 dev up0",
            ),
            (
                format!("{external}, addresses: [\"2001:db8:2::1/64\"] }} }}"),
                "ip address add 2001:db8:2::1/64 dev up0 nodad",
                "2001:db8:2::1/64",
                "ip address del 2001:db8:2::1/64 dev up0",
            ),
            (
                format!("{external}, addresses: [\"2001:db8:2::1/64\"] }} }}"),
                "ip address add 2001:db8:2::1/48 dev up0 nodad",
                "2001:db8:2::1/64",
                "ip address del 2001:db8:2::1/48 dev up0",
            ),
        ];
        for (yaml, make, named, undo) in cases {
            sh(make);
            untouched(make, &with(&yaml), &[named]);
            sh(undo);
        }
    });
}

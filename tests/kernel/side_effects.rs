//! What the kernel does to foreign things in `host` along with the lab's changes: the plan shows it, and it is put back.

use std::fs;

use super::harness::fingerprint::assert_restored;
use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, lab, needs, settled_fingerprint, sh, topo};

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

//! Several labs that change the same things of `host`: the machine's own return with the last of them, whatever the order is, and though
//! one of them is killed on its way.

use super::harness::tools::strace;
use super::harness::{Feature, assert_no_changes, destroy, in_namespaces, lab, needs, settled_fingerprint, sh, topo};
use super::side_effects::eventually_as;

/// A foreign interface with objects that it loses when it goes down, or has no IPv6.
const FOREIGN: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
    ip address add 192.0.2.9/24 dev up0; ip address add 2001:db8::9/64 dev up0 nodad; ip address add 2001:db8:1::9/64 dev up1 nodad
    ip route add 198.51.100.0/24 via 192.0.2.1; ip -6 route add 2001:db8:2::/48 via 2001:db8::1
    ip neighbor add 192.0.2.1 lladdr 02:00:00:00:00:01 dev up0; ip neighbor add 2001:db8::1 lladdr 02:00:00:00:00:01 dev up0";

/// The orders in which three labs leave.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Three labs that declare this of `host`.
fn three(settings: [&str; 3]) -> Vec<(&'static str, String)> {
    let names = ["one", "two", "three"].into_iter().zip(settings);
    names.map(|(name, host)| (name, lab(&format!("name: {name}\nnamespaces: {{ host: {{ {host} }} }}\n")))).collect()
}

/// Lets a lab leave, which is killed at its `turn`-th message the first time.
fn killed(name: &str, turn: usize) {
    let inject = format!("inject=sendto,sendmsg:signal=KILL:when={turn}");
    strace(&["-o", "/dev/null", "-e", "trace=sendto,sendmsg", "-e", &inject], &["destroy", name]);
}

fn check(settings: [&str; 3], orders: &[[usize; 3]]) {
    let before = settled_fingerprint();
    let labs = three(settings);
    for (turn, leaving) in orders.iter().enumerate() {
        for (_, file) in &labs {
            topo(&["apply", file]).ok();
        }
        for (_, file) in &labs {
            assert_no_changes(file);
        }
        let [first, second, third] = leaving.map(|at| labs[at].0);
        // The one that leaves first, and another that leaves last.
        killed(first, turn + 1);
        destroy(first);
        killed(third, turn + 3);
        destroy(second);
        destroy(third);
        eventually_as(&before);
        assert!(labs.iter().all(|(name, _)| !std::fs::exists(format!("/run/topo/{name}.json")).unwrap()));
    }
}

#[test]
fn the_last_lab_that_keeps_something_of_the_machine_away_puts_it_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh(FOREIGN);
        let up0 = |settings: &str| format!("interfaces: {{ up0: {{ external: true, {settings} }} }}");
        let (down, small) = (up0("up: false"), up0("mtu: 1200"));
        let off = "sysctls: { net.ipv6.conf.all.disable_ipv6: 1 }";
        check([&down; 3], &ORDERS[3..]);
        check([&small; 3], &ORDERS[3..]);
        check([off; 3], &ORDERS[3..]);
        check([&down, &small, off], &ORDERS);
        check([off, &up0("up: false, mtu: 1200"), &small], &ORDERS);
    });
}

#[test]
fn labs_share_a_sysctl_under_its_two_names() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; echo 1 > /proc/sys/net/ipv4/conf/up0/forwarding");
        let names = ["sysctls: { net.ipv4.ip_forward: 1 }", "sysctls: { net.ipv4.conf.all.forwarding: 1 }"];
        let before = settled_fingerprint();
        let [one, other] = names.map(|host| lab(&format!("name: one\nnamespaces: {{ host: {{ {host} }} }}\n")));
        topo(&["apply", &one]).ok();
        assert_no_changes(&other);
        topo(&["apply", &other]).ok();
        let off = lab("name: off\nnamespaces: { host: { sysctls: { net.ipv4.ip_forward: 0 } } }\n");
        topo(&["apply", &off]).exits(1).says("lab `one`");
        destroy("one");
        eventually_as(&before);
        check([names[0], names[1], names[0]], &ORDERS[3..]);
    });
}

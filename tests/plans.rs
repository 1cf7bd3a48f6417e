//! What changes from one lab to another: two texts and the plan between them, on the kernel in memory. Each plan is also carried
//! out there, and must leave nothing to do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use topo::apply::{Goal, OnFailure, apply, prepare};
use topo::kernel::Unattended;
use topo::kernel::memory::Memory;
use topo::name::LabName;
use topo::report::text;
use topo::state::State;

fn load(text: &str) -> (LabName, State) {
    let loaded = topo::spec::load(text);
    assert!(loaded.diagnostics.is_empty(), "{}", topo::spec::render(&loaded.diagnostics, "lab", text, topo::spec::Colour::Never));
    let lab = loaded.lab.unwrap();
    let lowered = topo::lower::lower(&lab, &BTreeMap::new());
    let errors: Vec<_> = lowered.problems.iter().filter(|problem| problem.severity == topo::spec::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    (lab.name, lowered.state)
}

fn carry_out(kernel: &mut Memory, goal: &Goal) -> String {
    let (live, plan) = prepare(kernel, goal).unwrap();
    let shown = text::plan(&plan, text::Colour::None);
    if let Err(error) = apply(kernel, goal, &live, &plan, OnFailure::Keep, &mut Unattended) {
        panic!("{shown}\n{error:?}");
    }
    let (_, rest) = prepare(kernel, goal).unwrap();
    assert!(rest.is_empty(), "{shown}\nand then\n{}", text::plan(&rest, text::Colour::None));
    shown
}

/// Applies `from`, then checks the plan that leads from there to `to`.
fn check(from: &str, to: &str, expected: &str) {
    let (name, before) = load(from);
    let (_, after) = load(to);
    let mut kernel = Memory::new(name.clone());
    carry_out(&mut kernel, &Goal::apply(name.clone(), before));
    let shown = carry_out(&mut kernel, &Goal::apply(name, after));
    assert_eq!(shown.trim(), expected.trim());
}

/// A lab of two namespaces and a cable, with further YAML for each interface and for the rest of `a`.
fn pair(a: &str, b: &str, rest_of_a: &str) -> String {
    format!(
        "name: pair\nnamespaces:\n  a:\n    interfaces: {{ eth0: {{ {a} }} }}\n{rest_of_a}  b:\n    interfaces: {{ eth0: {{ {b} }} }}\n\
         links: [{{ endpoints: [a:eth0, b:eth0] }}]\n"
    )
}

#[test]
fn what_the_kernel_can_change_is_changed_in_place() {
    check(
        &pair("mtu: 1400, txqueuelen: 7", "", ""),
        &pair("mac: 02:00:00:00:00:01, altnames: [uplink]", "up: false", ""),
        "
a
  ~ veth eth0
        mac: 02:70:00:00:00:01 -> 02:00:00:00:00:01
        mtu: 1400 -> 1500
        txqueuelen: 7 -> 1000
        altnames: none -> [uplink]

b
  ~ veth eth0
        up: true -> false

Plan: 0 to add, 2 to change, 0 to destroy.
",
    );
}

#[test]
fn a_renamed_interface_is_a_deletion_and_a_creation() {
    check(
        &pair("addresses: [10.0.0.1/24]", "", ""),
        &pair("addresses: [10.0.0.1/24]", "", "")
            .replace("{ eth0: { addresses", "{ lan0: { addresses")
            .replace("a:eth0", "a:lan0"),
        "
a
  - veth eth0
  + veth lan0 peer b:eth0
  - address 10.0.0.1/24 on eth0
  + address 10.0.0.1/24 on lan0

b
-/+ veth eth0
        peer: a:eth0 -> a:lan0  # forces replacement

Plan: 3 to add, 0 to change, 3 to destroy.
",
    );
}

#[test]
fn routes_come_back_when_the_last_address_of_their_link_is_replaced() {
    let routes = "    routes: [{ to: 192.0.2.0/24, via: 10.0.0.9 }]\n";
    check(
        &pair("addresses: [10.0.0.1/24]", "", routes),
        &pair("addresses: [10.0.0.2/24]", "", routes),
        "
a
  - address 10.0.0.1/24 on eth0
  + address 10.0.0.2/24 on eth0
-/+ route 192.0.2.0/24  # the IPv4 addresses of `a:eth0` change

Plan: 2 to add, 0 to change, 2 to destroy.
",
    );
}

#[test]
fn a_further_address_disturbs_nothing() {
    let routes = "    routes: [{ to: 192.0.2.0/24, via: 10.0.0.9 }]\n";
    check(
        &pair("addresses: [10.0.0.1/24]", "", routes),
        &pair("addresses: [10.0.0.1/24, 10.0.0.2/24, \"2001:db8::1/64\"]", "", routes),
        "
a
  + address 10.0.0.2/24 on eth0
  + address 2001:db8::1/64 on eth0

Plan: 2 to add, 0 to change, 0 to destroy.
",
    );
}

#[test]
fn a_route_changes_by_one_message() {
    let routes = |route: &str| format!("    routes: [{route}]\n");
    check(
        &pair("addresses: [10.0.0.1/24]", "", &routes("{ to: 192.0.2.0/24, via: 10.0.0.9 }")),
        &pair(
            "addresses: [10.0.0.1/24]",
            "",
            &routes("{ to: 192.0.2.0/24, nexthops: [{ via: 10.0.0.8 }, { via: 10.0.0.9, weight: 3 }] }"),
        ),
        "
a
  ~ route 192.0.2.0/24
        nexthops: [via 10.0.0.9 dev eth0] -> [via 10.0.0.8 dev eth0 weight 1, via 10.0.0.9 dev eth0 weight 3]

Plan: 0 to add, 1 to change, 0 to destroy.
",
    );
}

#[test]
fn what_stands_on_a_replaced_link_is_replaced_with_it() {
    let lab = |id: u16| {
        format!(
            "name: tower\nnamespaces:\n  a:\n    interfaces:\n      d0: {{ dummy: {{}} }}\n      v0: {{ vlan: {{ parent: d0, id: {id} }} }}\n\
             \x20     m0: {{ macvlan: {{ parent: v0, mode: bridge }}, addresses: [10.0.0.1/24] }}\n"
        )
    };
    check(
        &lab(10),
        &lab(11),
        "
a
-/+ macvlan m0  # the link below, `a:v0`, goes
-/+ vlan v0
        id: 10 -> 11  # forces replacement
-/+ address 10.0.0.1/24 on m0  # `a:m0` is replaced

Plan: 3 to add, 0 to change, 3 to destroy.
",
    );
}

#[test]
fn ports_survive_their_bridge() {
    let lab = |kind: &str| {
        format!("name: ports\nnamespaces:\n  a:\n    interfaces:\n      br0: {{ {kind} }}\n      p0: {{ dummy: {{}} }}\n")
    };
    check(
        &lab("bridge: { ports: [p0], priority: 4096 }"),
        &lab("bridge: { stp_state: true }"),
        "
a
  ~ bridge br0
        stp_state: false -> true
        priority: 4096 -> 32768
  ~ dummy p0
        master: br0 -> none

Plan: 0 to add, 2 to change, 0 to destroy.
",
    );
}

#[test]
fn the_mtu_of_a_bridge_follows_its_ports() {
    let lab = |mtu: &str| {
        format!(
            "name: mtu\nnamespaces:\n  a:\n    interfaces:\n      br0: {{ bridge: {{ ports: [p0] }} }}\n      p0: {{ dummy: {{}}{mtu} }}\n"
        )
    };
    check(
        &lab(", mtu: 1400"),
        &lab(""),
        "
a
  ~ bridge br0
        mtu: 1400 -> 1500
  ~ dummy p0
        mtu: 1400 -> 1500

Plan: 0 to add, 2 to change, 0 to destroy.
",
    );
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    check(
        "name: gone\nnamespaces:\n  a: { interfaces: { d0: { dummy: {}, addresses: [10.0.0.1/24] } } }\n  b: {}\n",
        "name: gone\nnamespaces:\n  b: {}\n",
        "
a
  - namespace a
  - dummy d0
  - address 10.0.0.1/24 on d0

Plan: 0 to add, 0 to change, 3 to destroy.
",
    );
}

#[test]
fn what_everybody_overwrites_is_written_again() {
    let lab = |forward: u8| {
        format!(
            "name: sysctls\nnamespaces:\n  a:\n    interfaces:\n      d0: {{ dummy: {{}}, sysctls: {{ ipv4.forwarding: 0 }} }}\n\
             \x20   sysctls: {{ net.ipv4.ip_forward: {forward} }}\n"
        )
    };
    check(
        &lab(0),
        &lab(1),
        "
a
  ~ sysctl net.ipv4.conf.d0.forwarding  # a setting of all interfaces overwrites it
        value: 0 -> 0
  ~ sysctl net.ipv4.ip_forward
        value: 0 -> 1

Plan: 0 to add, 2 to change, 0 to destroy.
",
    );
}

#[test]
fn a_route_waits_for_its_link_and_that_for_its_parent_whatever_their_namespaces_are_called() {
    let (name, desired) = load(
        "name: order\nnamespaces:\n  lan: { interfaces: { port0: { addresses: [172.29.0.1/21] } } }\n  p: {}\n  n0:\n    interfaces:\n\
         \x20     v0: { vlan: { parent: \"p:eth0\", id: 5 }, addresses: [172.29.0.20/21] }\n    routes: [{ to: default, via: 172.29.0.1 }]\n\
         links: [{ endpoints: [p:eth0, lan:port0] }]\n",
    );
    carry_out(&mut Memory::new(name.clone()), &Goal::apply(name, desired));
}

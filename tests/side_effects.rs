//! Foreign addresses, neighbours and settings of `host` on the kernel in memory, which drops them as Linux does: whichever operation of a
//! plan fails, they are there again, and so they are when the lab has left.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use lab::{Lab, Machine};
use topo::internals::{Neighbor, NeighborKey, OnFailure, Over, State, SysctlKey};

/// A lab with these keys of an external `eth0`, and these sysctls of `host`.
fn file(eth0: &str, sysctls: &str) -> Lab {
    Lab::read(&format!(
        "name: side\nnamespaces: {{ host: {{ sysctls: {{ {sysctls} }}, interfaces: {{ eth0: {{ external: true, {eth0} }} }} }} }}\n"
    ))
}

/// Adds what is foreign.
fn add_foreign(machine: &mut Machine) {
    let (eth0, host) = ("host:eth0".parse().unwrap(), "host".parse().unwrap());
    let network = &mut machine.memory.network;
    for address in ["192.0.2.77/24", "2001:db8::77/64"] {
        network.add_address_to(&eth0, address.parse().unwrap()).unwrap();
    }
    for to in ["192.0.2.200", "2001:db8::200"] {
        let key = NeighborKey { proxy: false, dev: "eth0".parse().unwrap(), to: to.parse().unwrap() };
        let value = Neighbor { lladdr: Some("02:00:00:00:00:01".parse().unwrap()), ..Neighbor::default() };
        network.put_by_hand::<Neighbor>(&host, &key, &value, Over::Nothing).unwrap();
    }
    for (key, value) in [("net.ipv4.conf.eth0.forwarding", "1"), ("net.ipv4.conf.all.accept_redirects", "0")] {
        network.set_sysctl(&host, &SysctlKey::of_namespace(key).unwrap(), value).unwrap();
    }
}

/// The lines of a fingerprint in an order of its own: others' addresses stand where they were added again.
fn sorted(machine: &Machine) -> Vec<String> {
    let mut lines: Vec<_> = machine.fingerprint().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_same(found: &[String], expected: &[String], when: &str) {
    let extra: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    assert!(extra.is_empty() && missing.is_empty(), "{when}\nextra: {extra:#?}\nmissing: {missing:#?}");
}

/// Applies the second lab over the first one, beside what is foreign: with a failure of each operation, and without. Returns the plan.
fn check(first: &Lab, second: &Lab) -> String {
    let mut machine = Machine::with_uplink(&first.name);
    add_foreign(&mut machine);
    let alone = sorted(&machine);
    let mut machine = Machine::with_uplink(&first.name);
    machine.must_apply(first).unwrap();
    add_foreign(&mut machine);
    let before = sorted(&machine);
    for position in 0..100 {
        let mut broken = machine.clone();
        let attempted = broken.memory.attempted();
        broken.memory.fail_at(position, 5);
        match broken.apply(&second.desired, OnFailure::RollBack).unwrap() {
            Err(error) => assert!(error.rolled_back(), "operation {position}: {error:?}"),
            Ok(()) => {
                assert_eq!(broken.memory.attempted() - attempted, position, "every operation has failed once");
                break;
            }
        }
        assert_same(&sorted(&broken), &before, &format!("operation {position} failed"));
    }
    let plan = machine.must_apply(second).unwrap();
    machine.must_destroy(second).unwrap();
    assert_same(&sorted(&machine), &alone, "the lab has left");
    plan
}

const ADDRESS: &str = "addresses: [192.0.2.1/24, \"2001:db8::1/64\"]";

#[test]
fn a_secondary_address_outlives_the_primary_one() {
    for address in ["addresses: [192.0.2.2/24]", "addresses: [192.0.3.1/24]", "mtu: 1400"] {
        let plan = check(&file(ADDRESS, ""), &file(address, ""));
        assert!(plan.contains("! address 192.0.2.77/24 on eth0: removed and added again"), "{plan}");
        assert!(plan.contains("! neighbor 192.0.2.200 dev eth0: removed and added again"), "{plan}");
    }
}

#[test]
fn what_a_link_loses_comes_back_with_it() {
    for (settings, gone) in [("up: false", "goes down"), ("mtu: 1000", "becomes too small for IPv6")] {
        let plan = check(&file("", ""), &file(settings, ""));
        let line = "! address 2001:db8::77/64 on eth0: removed until the lab leaves (side effect: ";
        assert!(plan.contains(line) && plan.contains(gone), "{plan}");
    }
    let plan = check(&file("", ""), &file("mac: 02:00:00:00:00:77", ""));
    assert!(plan.contains("! neighbor 2001:db8::200 dev eth0: removed and added again"), "{plan}");
}

#[test]
fn settings_of_all_interfaces_return_to_those_of_each() {
    let plan = check(&file("", ""), &file("", "net.ipv6.conf.all.disable_ipv6: 1"));
    assert!(plan.contains("! address 2001:db8::77/64 on eth0: removed until the lab leaves"), "{plan}");
    let plan = check(&file("", ""), &file("", "net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1"));
    assert!(plan.contains("! eth0: ipv6.forwarding 0 -> 1"), "{plan}");
    check(&file("", ""), &file("up: false", "net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1"));
}

/// All orders of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Three labs with these keys of `eth0` and sysctls of `host`.
fn three(settings: [(&str, &str); 3]) -> Vec<Lab> {
    let lab =
        |(name, (eth0, sysctls)): (&str, (&str, &str))| Lab { name: name.parse().unwrap(), desired: file(eth0, sysctls).desired };
    ["one", "two", "three"].into_iter().zip(settings).map(lab).collect()
}

/// Lets a lab leave, killed after this number of operations. Returns whether it has left.
fn leave(machine: &mut Machine, lab: &Lab, killed_at: Option<usize>) -> bool {
    machine.act_for(&lab.name);
    if killed_at.is_some_and(|operations| !machine.destroy_until(operations)) {
        return false;
    }
    machine.must_destroy(&Lab { name: lab.name.clone(), desired: State::default() }).unwrap();
    true
}

/// Applies three labs and lets them leave in any order; one of them is killed on its way, and leaves last.
fn check_three(settings: [(&str, &str); 3]) {
    let labs = three(settings);
    for (joining, leaving) in ORDERS.iter().flat_map(|joining| ORDERS.map(|leaving| (joining, leaving))) {
        let mut machine = Machine::with_uplink(&labs[0].name);
        add_foreign(&mut machine);
        let alone = sorted(&machine);
        for lab in joining.map(|at| &labs[at]) {
            machine.act_for(&lab.name);
            machine.must_apply(lab).unwrap();
        }
        let joined = machine;
        let kills =
            [Some(0), Some(1), Some(2)].into_iter().flat_map(|killed| (0..=6).map(move |operations| (killed, operations)));
        for (killed, operations) in kills.filter(|_| *joining == ORDERS[0]).chain([(None, 0)]) {
            {
                let mut machine = joined.clone();
                let mut interrupted = Vec::new();
                for at in leaving {
                    let killed_at = (killed == Some(at)).then_some(operations);
                    if !leave(&mut machine, &labs[at], killed_at) {
                        interrupted.push(at);
                    }
                }
                for at in interrupted {
                    leave(&mut machine, &labs[at], None);
                }
                let when = format!("{settings:?} joined {joining:?}, left {leaving:?}, {killed:?} killed after {operations}");
                assert_same(&sorted(&machine), &alone, &when);
                assert!(machine.records_nothing(), "{when}");
            }
        }
    }
}

#[test]
fn the_last_lab_that_keeps_something_away_puts_it_back() {
    let (down, small, off) = (("up: false", ""), ("mtu: 1000", ""), ("", "net.ipv6.conf.all.disable_ipv6: 1"));
    for same in [down, small, off] {
        check_three([same; 3]);
    }
    check_three([down, small, off]);
    check_three([("up: false, mtu: 1000", ""), small, down]);
    check_three([("", ""), off, small]);
}

#[test]
fn two_names_of_a_sysctl_are_one_sysctl() {
    let names = ["net.ipv4.ip_forward: 1", "net.ipv4.conf.all.forwarding: 1"];
    check_three([("", names[0]), ("", names[1]), ("", "net.ipv4.ip_forward: 1, net.ipv4.conf.all.forwarding: 1")]);
    for (one, other) in [(names[0], names[1]), (names[1], names[0])] {
        let [one, other] = [one, other].map(|sysctls| file("", sysctls));
        let mut machine = Machine::with_uplink(&one.name);
        add_foreign(&mut machine);
        let alone = sorted(&machine);
        machine.must_apply(&one).unwrap();
        assert_eq!(machine.must_apply(&other).unwrap(), "No changes. The network matches the lab.\n");
        machine.must_destroy(&other).unwrap();
        assert_same(&sorted(&machine), &alone, "the lab has left");
    }
}

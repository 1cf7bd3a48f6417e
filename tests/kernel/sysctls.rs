//! What is done in another way when there is much of it.

use std::fmt::Write;
use std::fs;

use super::harness::tools::{inside, rounds};
use super::harness::{apply, bridge, destroy, in_namespaces, ip, lab, sh};
use super::links::lives_and_dies;

/// In each namespace another value, so that one that was written or read elsewhere shows. More files than are opened in /proc.
#[test]
fn settings_arrive_in_each_of_many_namespaces() {
    in_namespaces(|| {
        let limit = |number: u64| number % 200 + 2;
        let count = rounds(200).max(60);
        let mut yaml = "name: many\nnamespaces:\n".to_owned();
        for number in 0..count {
            let limit = limit(number);
            writeln!(yaml, "  n{number}: {{ sysctls: {{ net.ipv4.ip_forward: 1, net.ipv6.conf.default.hop_limit: {limit} }} }}")
                .unwrap();
        }
        lives_and_dies(&yaml, || {
            for number in 0..count {
                let read = |path: &str| fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap();
                let values =
                    inside(Some(&format!("n{number}")), || [read("ipv4/ip_forward"), read("ipv6/conf/default/hop_limit")]);
                assert_eq!(values, ["1\n".to_owned(), format!("{}\n", limit(number))], "n{number}");
            }
        });
    });
}

/// A bridge with this many ports is born without snooping.
const PORTS: usize = 40;

fn wide_bridge(options: &str) -> String {
    let links = (0..PORTS).map(|number| format!("  - endpoints: [a:p{number}, b:e{number}]\n")).collect::<String>();
    format!(
        "name: wide\nnamespaces:\n  a: {{ interfaces: {{ br0: {{ bridge: {{ ports: [\"p*\"]{options} }} }} }} }}\n  b: {{}}\nlinks:\n{links}"
    )
}

fn snooping() -> serde_json::Value {
    ip(&["-n", "a", "link", "show", "br0"])[0]["linkinfo"]["info_data"]["mcast_snooping"].clone()
}

#[test]
fn a_bridge_snoops_once_its_many_ports_are_there() {
    in_namespaces(|| {
        lives_and_dies(&wide_bridge(""), || {
            assert_eq!(snooping(), 1);
            let ports = bridge(&["-n", "a", "link"]);
            let forwards = |port: &&serde_json::Value| port["state"] == "forwarding";
            assert_eq!(ports.as_array().unwrap().iter().filter(forwards).count(), PORTS);
        });
        lives_and_dies(&wide_bridge(", mcast_snooping: false"), || assert_eq!(snooping(), 0));
    });
}

#[test]
fn a_bridge_that_was_left_without_snooping_gets_it() {
    in_namespaces(|| {
        let file = lab(&wide_bridge(""));
        apply(&file);
        inside(Some("a"), || sh("ip link set br0 type bridge mcast_snooping 0"));
        apply(&file).says("mcast_snooping: false -> true");
        assert_eq!(snooping(), 1);
        destroy(&file);
    });
}

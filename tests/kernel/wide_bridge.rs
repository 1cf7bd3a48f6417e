//! Bridges with many ports, which are made without multicast snooping; it is switched on at the end.

use super::harness::tools::inside;
use super::harness::{apply, bridge, destroy, in_namespaces, ip, lab, sh};
use super::links::lives_and_dies;

/// Enough ports for a bridge to be made without snooping.
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

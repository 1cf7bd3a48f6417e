//! The maps of priorities of VLANs.

use super::harness::{Feature, apply, assert_no_changes, in_namespaces, indices, lab, needs, ping_ok, sh, text, topo};
use super::links::{lives_and_dies, options};

fn vlans(maps: &str) -> String {
    format!(
        "name: qos
namespaces:
  a: {{ interfaces: {{ v0: {{ vlan: {{ parent: eth0, id: 10{maps} }}, addresses: [10.0.0.1/24, \"2001:db8::1/64\"] }} }} }}
  b: {{ interfaces: {{ v0: {{ vlan: {{ parent: eth0, id: 10 }}, addresses: [10.0.0.2/24, \"2001:db8::2/64\"] }} }} }}
links: [{{ endpoints: [a:eth0, b:eth0] }}]
"
    )
}

#[test]
fn maps_of_priorities_change_in_place() {
    in_namespaces(|| {
        if !needs(&[Feature::Vlan, Feature::Ipv6]) {
            return;
        }
        lives_and_dies(&vlans(", ingress_qos_map: { 1: 5, 7: 70000 }, egress_qos_map: { 0: 3 }"), || {
            let maps = || {
                let vlan = options("a", "v0");
                let entries = |name: &str| -> Vec<(u64, u64)> {
                    let list = vlan[name].as_array().cloned().unwrap_or_default();
                    list.iter().map(|entry| (entry["from"].as_u64().unwrap(), entry["to"].as_u64().unwrap())).collect()
                };
                (entries("ingress_qos"), entries("egress_qos"))
            };
            assert_eq!(maps(), (vec![(1, 5), (7, 70000)], vec![(0, 3)]));
            let born = indices(Some("a"));
            let file = lab(&vlans(", ingress_qos_map: { 1: 6, 2: 4 }, egress_qos_map: { 8: 1 }"));
            topo(&["plan", &file]).ok().says("ingress_qos_map");
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(maps(), (vec![(1, 6), (2, 4)], vec![(8, 1)]));
            for drift in ["ingress-qos-map 2:0", "ingress-qos-map 5:5", "egress-qos-map 8:2", "egress-qos-map 9:7"] {
                sh(&format!("ip -n a link set v0 type vlan {drift}"));
                topo(&["plan", "--detailed-exitcode", &file]).exits(2);
                apply(&file);
                assert_no_changes(&file);
            }
            let none = lab(&vlans(""));
            apply(&none);
            assert_no_changes(&none);
            assert_eq!((maps(), indices(Some("a"))), ((vec![], vec![]), born));
        });
    });
}

/// The priority of a sent packet is in its tag: a filter of the other end counts it.
#[test]
fn the_tag_has_the_priority_of_the_map() {
    in_namespaces(|| {
        if !needs(&[Feature::Vlan, Feature::Ipv6]) {
            return;
        }
        lives_and_dies(&vlans(", egress_qos_map: { 0: 5 }"), || {
            let count = "tc -n b qdisc add dev eth0 handle ffff: ingress && \
                         tc -n b filter add dev eth0 parent ffff: protocol 802.1q flower vlan_prio 5 action pass";
            sh(count);
            ping_ok("a", "10.0.0.2");
            ping_ok("b", "2001:db8::1");
            let seen = text("tc", &["-n", "b", "-s", "filter", "show", "dev", "eth0", "parent", "ffff:"]);
            let packets = seen.lines().find(|line| line.contains("Sent")).unwrap_or_default().to_owned();
            assert!(!packets.is_empty() && !packets.contains(" 0 pkt"), "{seen}");
        });
    });
}

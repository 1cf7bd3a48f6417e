//! VLANs of bridges and their ports, looked at with `bridge vlan`.

use serde_json::{Value, json};

use super::harness::fingerprint::{assert_restored, eventually_restored};
use super::harness::tools::inside;
use super::harness::{
    Feature, apply, assert_no_changes, bridge, destroy, in_namespaces, indices, lab, needs, ping_fails, ping_ok,
    settled_fingerprint, sh, text, topo, traced,
};
use super::links::lives_and_dies;

/// A switch `s` with the ports p1 to p3, and guests g1 to g3. g3 has untagged addresses, and those of VLANs 10 and 20, too.
/// `{bridge}`, and the VLANs of the ports.
fn switch(bridge: &str, ports: [&str; 3]) -> String {
    let mut text = format!(
        "name: switch\nnamespaces:\n  s:\n    interfaces:\n      br0: {{ mac: 02:00:00:00:00:99, bridge: {{ ports: [p1, p2, p3]{bridge} }} }}\n"
    );
    for (number, vlans) in (1..).zip(ports).filter(|(_, vlans)| !vlans.is_empty()) {
        text += &format!("      p{number}: {{ bridge_port: {{ vlans: {vlans} }} }}\n");
    }
    for number in 1..4 {
        text +=
            &format!("  g{number}:\n    interfaces:\n      eth0: {{ addresses: [10.0.0.{number}/24, 2001:db8::{number}/64] }}\n");
    }
    for vlan in [10, 20] {
        text += &format!(
            "      eth0.{vlan}: {{ vlan: {{ parent: eth0, id: {vlan} }}, addresses: [10.0.{vlan}.3/24, 2001:db8:{vlan}::3/64] }}\n"
        );
    }
    text += "links:\n";
    for number in 1..4 {
        text += &format!("  - endpoints: [s:p{number}, g{number}:eth0]\n");
    }
    text
}

const FILTERING: &str = ", vlan_filtering: true";

/// The VLANs of a port, as `bridge vlan` shows them: `10pu` is the PVID and untagged.
fn vlans(name: &str) -> Vec<String> {
    let shown = bridge(&["-n", "s", "vlan", "show"]);
    let found = shown.as_array().unwrap().iter().find(|link| link["ifname"] == name).map(|link| link["vlans"].clone());
    let words = |vlan: &Value| -> Vec<String> {
        let flags = vlan["flags"].as_array().cloned().unwrap_or_default();
        let flag = |name: &str, short: &'static str| if flags.contains(&json!(name)) { short } else { "" };
        let flags = format!("{}{}", flag("PVID", "p"), flag("Egress Untagged", "u"));
        let first = vlan["vlan"].as_u64().unwrap();
        (first..=vlan["vlanEnd"].as_u64().unwrap_or(first)).map(|id| format!("{id}{flags}")).collect()
    };
    found.iter().flat_map(|vlans| vlans.as_array().unwrap().iter().flat_map(words)).collect()
}

fn required() -> bool {
    needs(&[Feature::BridgeVlanFiltering, Feature::Vlan, Feature::Ipv6])
}

#[test]
fn frames_of_a_vlan_pass_and_others_do_not() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        lives_and_dies(&switch(FILTERING, ["{ pvid: 10 }", "{ pvid: 10 }", "{ tagged: [10, 20] }"]), || {
            assert_eq!([vlans("p1"), vlans("p2")], [["10pu"], ["10pu"]]);
            assert_eq!(vlans("p3"), ["10", "20"]);
            assert_eq!(vlans("br0"), ["1pu"]);
            // Two access ports; the trunk drops untagged frames.
            for to in ["10.0.0.2", "2001:db8::2"] {
                ping_ok("g1", to);
            }
            for to in ["10.0.0.3", "2001:db8::3"] {
                ping_fails("g1", to);
            }
            // An access port and the tagged interface at the trunk.
            sh("ip -n g1 address add 10.0.10.1/24 dev eth0; ip -n g1 address add 2001:db8:10::1/64 dev eth0 nodad
                ip -n g2 address add 10.0.20.2/24 dev eth0; ip -n g2 address add 2001:db8:20::2/64 dev eth0 nodad");
            for to in ["10.0.10.3", "2001:db8:10::3"] {
                ping_ok("g1", to);
            }
            for to in ["10.0.20.3", "2001:db8:20::3"] {
                ping_fails("g2", to);
            }
            // p2 moves to VLAN 20.
            sh("ip -n g1 address del 10.0.10.1/24 dev eth0; ip -n g1 address del 2001:db8:10::1/64 dev eth0");
            let before = indices(Some("s"));
            let file = lab(&switch(FILTERING, ["{ pvid: 10 }", "{ pvid: 20 }", "{ tagged: [10, 20] }"])
                .replace("[10.0.0.2/24, 2001:db8::2/64]", "[10.0.0.2/24, 2001:db8::2/64, 10.0.20.2/24, 2001:db8:20::2/64]"));
            apply(&file).says("bridge_port.vlans");
            assert_eq!(indices(Some("s")), before);
            assert_no_changes(&file);
            for to in ["10.0.20.3", "2001:db8:20::3"] {
                ping_ok("g2", to);
            }
            for to in ["10.0.0.2", "2001:db8::2"] {
                ping_fails("g1", to);
            }
        });
    });
}

#[test]
fn the_bridge_itself_is_in_vlans() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let with = |vlans: &str| {
            let text = switch(&format!("{FILTERING}, vlans: {vlans}"), ["{ pvid: 10 }", "", "{ tagged: [10, 20] }"]);
            let own = "      br0.10: { vlan: { parent: br0, id: 10 }, addresses: [10.0.0.9/24, 2001:db8::9/64] }\n";
            text.replacen("  g1:\n", &format!("{own}  g1:\n"), 1)
        };
        lives_and_dies(&with("{ tagged: [10, 20-22] }"), || {
            assert_eq!(vlans("br0"), ["10", "20", "21", "22"]);
            for to in ["10.0.0.9", "2001:db8::9"] {
                ping_ok("g1", to);
            }
            let file = lab(&with("{ pvid: 1, tagged: [20] }"));
            apply(&file).says("vlans");
            assert_no_changes(&file);
            assert_eq!(vlans("br0"), ["1pu", "20"]);
            ping_fails("g1", "10.0.0.9");
            apply(&lab(&with("{}")));
            assert_eq!(vlans("br0"), [""; 0]);
            let file = lab(&with("{ tagged: [10] }").replace(", vlans: { tagged: [10] }", ""));
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(vlans("br0"), ["1pu"]);
        });
    });
}

#[test]
fn changes_are_made_in_place_and_removed() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let before = settled_fingerprint();
        let mut index = None;
        for (declared, expected) in [
            ("{ tagged: [1-4094] }", None),
            ("{ pvid: 5, tagged: [1-4, 6-4094] }", None),
            ("{ pvid: 1 }", Some(vec!["1pu"])),
            ("{ pvid: 10, tagged: [10-12], untagged: [20-21] }", Some(vec!["10p", "11", "12", "20u", "21u"])),
            ("{ pvid: 20, tagged: [10-12], untagged: [21] }", Some(vec!["10", "11", "12", "20pu", "21u"])),
            ("{}", Some(vec![])),
            ("{ untagged: [7] }", Some(vec!["7u"])),
            ("", Some(vec!["1pu"])),
        ] {
            let file = lab(&switch(FILTERING, [declared, "{ pvid: 10 }", ""]));
            apply(&file);
            assert_no_changes(&file);
            let now = indices(Some("s"))["p1"];
            assert_eq!(*index.get_or_insert(now), now);
            assert_eq!(vlans("p2"), ["10pu"]);
            match expected {
                Some(expected) => assert_eq!(vlans("p1"), expected, "{declared}"),
                None => assert_eq!(vlans("p1").len(), 4094, "{declared}"),
            }
        }
        // Filtering goes and comes. The file says nothing about VLANs then.
        let plain = lab(&switch("", ["", "", ""]));
        apply(&plain);
        assert_no_changes(&plain);
        inside(Some("s"), || sh("bridge vlan add dev p1 vid 77"));
        assert_no_changes(&plain);
        let file = lab(&switch(FILTERING, ["", "{ pvid: 10 }", ""]));
        apply(&file);
        assert_no_changes(&file);
        assert_eq!([vlans("p1"), vlans("p2"), vlans("p3")], [["1pu"], ["10pu"], ["1pu"]]);
        destroy("switch");
        assert_restored(&before);
    });
}

#[test]
fn the_default_vlan_moves_only_what_has_no_vlans_in_the_file() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let with = |default: u16| {
            lab(&switch(&format!("{FILTERING}, vlan_default_pvid: {default}"), ["{ pvid: 1 }", "", "{ pvid: 5, tagged: [9] }"]))
        };
        for (default, shown) in [(1, "1pu"), (5, "5pu"), (0, ""), (9, "9pu"), (1, "1pu"), (0, ""), (1, "1pu")] {
            let file = with(default);
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(vlans("p1"), ["1pu"], "{default}");
            assert_eq!(vlans("p2").concat(), shown);
            assert_eq!(vlans("br0").concat(), shown);
            assert_eq!(vlans("p3"), ["5pu", "9"], "{default}");
        }
        destroy("switch");
    });
}

#[test]
fn what_others_change_is_put_back() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let file = lab(&switch(FILTERING, ["{ pvid: 10 }", "", "{ pvid: 7, tagged: [10, 20-22] }"]));
        apply(&file);
        let all = || ["p1", "p2", "p3", "br0"].map(vlans);
        let before = all();
        assert_eq!(before[2], ["7pu", "10", "20", "21", "22"]);
        for drift in [
            "bridge vlan add dev p1 vid 11",
            "bridge vlan add dev p1 vid 11 pvid",
            "bridge vlan add dev p1 vid 11 pvid untagged; bridge vlan del dev p1 vid 10",
            "bridge vlan del dev p1 vid 10",
            "bridge vlan add dev p1 vid 10 pvid",
            "bridge vlan del dev p3 vid 20-21",
            "bridge vlan add dev p3 vid 21 untagged",
            "bridge vlan add dev p3 vid 100-2000",
            "bridge vlan del dev p2 vid 1",
            "bridge vlan add dev br0 vid 30 self",
            "bridge vlan del dev br0 vid 1 self",
            "ip link set br0 type bridge vlan_default_pvid 9",
            "ip link set br0 type bridge vlan_filtering 0; bridge vlan add dev p1 vid 11",
            "ip link set p1 nomaster",
            "ip link set p1 nomaster; ip link set p1 master br0",
            "ip link del p3",
            "ip link del br0",
        ] {
            inside(Some("s"), || sh(drift));
            topo(&["plan", "--detailed-exitcode", &file]).exits(2);
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(all(), before, "{drift}");
        }
        ping_ok("g3", "10.0.0.3");
        destroy("switch");
    });
}

#[test]
fn a_failed_apply_puts_the_vlans_back() {
    in_namespaces(|| {
        if !needs(&[Feature::BridgeVlanFiltering, Feature::Vlan, Feature::Macvlan]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
            ip link add owner link up0 type macvlan mode passthru");
        apply(&lab(&switch(&format!("{FILTERING}, vlans: {{ tagged: [10] }}"), ["{ pvid: 10 }", "{ tagged: [10-20] }", ""])));
        let all = || ["p1", "p2", "p3", "br0"].map(vlans);
        let (before, vlans_before) = (settled_fingerprint(), all());
        for bridge in [FILTERING, ", vlan_filtering: true, vlan_default_pvid: 5, vlans: {}"] {
            let refused = switch(bridge, ["{ pvid: 20 }", "", "{ tagged: [1-4094] }"])
                .replace("namespaces:\n", "namespaces:\n  host: { interfaces: { up0: { external: true } } }\n  z: { interfaces: { mv0: { macvlan: { parent: host:up0, mode: bridge } } } }\n");
            topo(&["apply", &lab(&refused)]).exits(1).says("z:mv0");
            assert_restored(&before);
            assert_eq!(all(), vlans_before);
        }
        destroy("switch");
    });
}

/// The VLANs were read only because the new file makes the bridge filter.
#[test]
fn a_bridge_that_could_not_begin_to_filter_is_as_it_was() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let with = |bridge: &str, port: &str, last: &str| {
            lab(&format!(
                "name: switch\nnamespaces:\n  s:\n    interfaces:\n      br0: {{ bridge: {{ ports: [p1]{bridge} }} }}\n      p1: {{ {port} }}\n  z: {{ {last} }}\nlinks: [{{ endpoints: [s:p1, z:eth0] }}]\n"
            ))
        };
        let plain = with("", "", "");
        apply(&plain);
        let before = settled_fingerprint();
        // A kernel that cannot filter refuses that, and the others the sysctl.
        let refused = with(FILTERING, "bridge_port: { vlans: { pvid: 10 } }", "sysctls: { net.ipv4.ip_forward: rubbish }");
        topo(&["apply", &refused]).exits(1).says("as it was before");
        assert_restored(&before);
        assert_no_changes(&plain);
        destroy("switch");
    });
}

#[test]
fn vlans_are_mapped_to_tunnels() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let with = |port: &str| {
            switch(FILTERING, ["", "", ""]).replace("  g1:\n", &format!("      p1: {{ bridge_port: {{ {port} }} }}\n  g1:\n"))
        };
        let tunnels = || bridge(&["-n", "s", "vlan", "tunnelshow"]);
        let before = settled_fingerprint();
        for port in [
            "vlan_tunnel: true, vlans: { tagged: [10, 20-22], tunnel_info: [{ vid: 10, id: 1010 }, { vid: 20-22, id: 1020-1022 }] }",
            "vlan_tunnel: true, vlans: { tagged: [10, 20-22], tunnel_info: [{ vid: 10, id: 77 }, { vid: 21, id: 1021 }] }",
            "vlan_tunnel: true, vlans: { tagged: [20-22], tunnel_info: [{ vid: 20-22, id: 1020-1022 }] }",
            "vlans: { tagged: [20-22] }",
            "vlan_tunnel: true, vlans: { pvid: 10, tunnel_info: [{ vid: 10, id: 16777215 }] }",
        ] {
            let file = lab(&with(port));
            apply(&file);
            assert_no_changes(&file);
            if port.contains("tunnel_info") {
                let shown = tunnels();
                inside(Some("s"), || sh("bridge vlan del dev p1 vid 20-22; bridge vlan del dev p1 vid 10"));
                topo(&["plan", "--detailed-exitcode", &file]).exits(2);
                apply(&file);
                assert_no_changes(&file);
                assert_eq!(tunnels(), shown);
            }
        }
        destroy("switch");
        assert_restored(&before);
    });
}

/// The lab takes a port from a foreign bridge, whose other ports have VLANs that are nobody's business.
#[test]
fn a_port_of_a_foreign_bridge_returns_with_its_vlans() {
    in_namespaces(|| {
        if !needs(&[Feature::BridgeVlanFiltering]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
            ip link add foreign type bridge vlan_filtering 1; ip link set foreign up; ip link set up0 master foreign
            ip link set up1 master foreign; bridge vlan add dev up1 vid 50
            bridge vlan add dev up0 vid 30 pvid untagged; bridge vlan add dev up0 vid 40-44; bridge vlan del dev up0 vid 1");
        let (before, shown) = (settled_fingerprint(), text("bridge", &["vlan", "show"]));
        let file = lab("
name: external
namespaces:
  host:
    interfaces:
      br0: { bridge: { ports: [up0], vlan_filtering: true } }
      up0: { external: true, bridge_port: { vlans: { pvid: 9 } } }
");
        apply(&file).says("! up0: bridge_port.vlans");
        assert_no_changes(&file);
        sh("bridge vlan add dev up1 vid 51; bridge vlan add dev foreign vid 52 self");
        assert_no_changes(&file);
        sh("bridge vlan del dev up1 vid 51; bridge vlan del dev foreign vid 52 self");
        destroy("external");
        eventually_restored(&before);
        assert_eq!(text("bridge", &["vlan", "show"]), shown);
    });
}

/// The requests of AF_BRIDGE for links that topo sends, by strace: dumps, and changes.
fn requests(arguments: &[&str]) -> [usize; 2] {
    let trace = traced(&["-e", "trace=sendto,sendmsg,sendmmsg", "-v", "-s", "65536"], arguments);
    // strace knows the number of a message and its bytes, or their names.
    let is_bridge = |message: &&str| message.contains("ifi_family=AF_BRIDGE") || message.contains(", \"\\x07");
    let messages: Vec<_> = trace.split("nlmsg_type=").skip(1).filter(is_bridge).collect();
    let of = |kinds: &[&str]| messages.iter().filter(|message| kinds.iter().any(|kind| message.starts_with(kind))).count();
    [of(&["0x12 ", "RTM_GETLINK,"]), of(&["0x11 ", "0x13 ", "RTM_DELLINK,", "RTM_SETLINK,"])]
}

#[test]
fn vlans_cost_a_message_or_two_and_nothing_without_them() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let cost = |bridge: &str, first: &str| {
            let file = lab(&switch(bridge, [first, "", ""]));
            let [_, changes] = requests(&["apply", &file]);
            let plan = requests(&["plan", &file]);
            destroy("switch");
            (changes, plan)
        };
        assert_eq!(cost("", ""), (0, [0, 0]));
        // A dump of the namespace of the bridge.
        assert_eq!(cost(FILTERING, ""), (0, [1, 0]));
        // One to add.
        assert_eq!(cost(FILTERING, "{ pvid: 1, tagged: [2-4094] }"), (1, [1, 0]));
        // One to add, one to delete.
        assert_eq!(cost(FILTERING, "{ pvid: 10, tagged: [20-29, 40-49] }"), (2, [1, 0]));
    });
}

/// The script of a plan makes the same VLANs.
#[test]
fn a_script_makes_the_same_vlans() {
    in_namespaces(|| {
        if !required() {
            return;
        }
        let file = lab(&switch(
            &format!("{FILTERING}, vlans: {{ tagged: [10] }}"),
            ["{ pvid: 10 }", "", "{ pvid: 7, tagged: [10, 20-22] }"],
        ));
        let script =
            lab(&topo(&["plan", "--as", "ip", &file]).ok().says("bridge -n s vlan add dev p1 vid 10 pvid untagged").stdout);
        sh(&format!("sh {script}"));
        assert_no_changes(&file);
        destroy("switch");
    });
}

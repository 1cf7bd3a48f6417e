//! Options of the ports of bridges, looked at with `ip -d link` and `bridge -d link`.

use serde_json::{Value, json};

use super::harness::fingerprint::{assert_restored, eventually_restored};
use super::harness::tools::inside;
use super::harness::{
    Feature, apply, assert_no_changes, bridge, destroy, in_namespaces, ip, kernel_at_least, lab, needs, ping_fails, ping_ok,
    settled_fingerprint, sh, text, topo, traced,
};
use super::links::lives_and_dies;

/// A switch with three guests; `{bridge}`, and the options of the ports of the first two.
fn switch(bridge: &str, first: &str, second: &str) -> String {
    let section = |port: &str, options: &str| match options {
        "" => String::new(),
        options => format!("      {port}: {{ bridge_port: {{ {options} }} }}\n"),
    };
    let guest = |number: u8| {
        format!("  g{number}: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.{number}/24, 2001:db8::{number}/64] }} }} }}\n")
    };
    let guests: String = (1..4).map(guest).collect();
    let links: String = (1..4).map(|number| format!("  - endpoints: [s:p{number}, g{number}:eth0]\n")).collect();
    format!(
        "name: switch\nnamespaces:\n  s:\n    interfaces:\n      br0: {{ bridge: {{ ports: [p1, p2, p3]{bridge} }} }}\n{}{}{guests}links:\n{links}",
        section("p1", first),
        section("p2", second)
    )
}

/// The options of a port of the switch.
fn port(name: &str) -> Value {
    ip(&["-n", "s", "link", "show", name])[0]["linkinfo"]["info_slave_data"].clone()
}

/// What of a port does not change with time, or with the order in which ports join.
fn settled(port: &Value) -> Vec<(&str, &Value)> {
    const MOVING: [&str; 9] = [
        "id",
        "no",
        "designated_port",
        "bridge_id",
        "root_id",
        "hold_timer",
        "message_age_timer",
        "forward_delay_timer",
        "topology_change_ack",
    ];
    let members = port.as_object().expect("a port has options").iter().map(|(name, value)| (name.as_str(), value));
    members.filter(|(name, _)| !MOVING.contains(name)).collect()
}

fn state(name: &str) -> Value {
    bridge(&["-n", "s", "link", "show", "dev", name])[0]["state"].clone()
}

const OPTIONS: &str = "cost: 10, priority: 5, learning: false, flood: false, mcast_flood: false, bcast_flood: false, hairpin: true, \
                       guard: true, root_block: true, fastleave: true, mcast_router: 2, mcast_to_unicast: true, \
                       group_fwd_mask: 0x4000, neigh_suppress: true, vlan_tunnel: true, isolated: true, locked: true, \
                       backup_port: p2";

/// The same as `ip -d link` shows them, with the default of each.
fn shown() -> [(&'static str, Value, Value); 18] {
    let (on, off) = (json!(true), json!(false));
    let becomes_on = |name| (name, on.clone(), off.clone());
    let becomes_off = |name| (name, off.clone(), on.clone());
    [
        ("cost", json!(10), json!(2)),
        ("priority", json!(5), json!(32)),
        becomes_off("learning"),
        becomes_off("flood"),
        becomes_off("mcast_flood"),
        becomes_off("bcast_flood"),
        becomes_on("hairpin"),
        becomes_on("guard"),
        becomes_on("root_block"),
        becomes_on("fastleave"),
        ("multicast_router", json!(2), json!(1)),
        becomes_on("mcast_to_unicast"),
        ("group_fwd_mask", json!("0x4000"), json!("0")),
        becomes_on("neigh_suppress"),
        becomes_on("vlan_tunnel"),
        becomes_on("isolated"),
        becomes_on("locked"),
        ("backup_port", json!("p2"), Value::Null),
    ]
}

#[test]
fn every_option_is_set_and_reset() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file = lab(&switch("", OPTIONS, ""));
        apply(&file);
        assert_no_changes(&file);
        let live = port("p1");
        for (name, set, _) in shown() {
            assert_eq!(live[name], set, "{name}: {live}");
        }
        let file = lab(&switch("", "", "isolated: true"));
        apply(&file).says("bridge_port.cost: 10 -> 2").says("bridge_port.backup_port: p2 -> none");
        assert_no_changes(&file);
        let live = port("p1");
        for (name, _, default) in shown() {
            assert_eq!(live[name], default, "{name}: {live}");
        }
        assert_eq!(port("p2")["isolated"], true);
        // The backup port goes, and the port that is left refers to another one.
        apply(&lab(&switch("", "backup_port: p3", "")));
        let smaller = switch("", "backup_port: p2", "").replace("[p1, p2, p3]", "[p1, p2]");
        apply(&lab(&smaller));
        assert_eq!(port("p1")["backup_port"], "p2");
        apply(&lab(&smaller.replace("[p1, p2]", "[p1]").replace("backup_port: p2", "cost: 3")));
        assert_eq!(port("p1")["backup_port"], Value::Null);
        destroy("switch");
        assert_restored(&before);
    });
}

#[test]
fn options_that_this_kernel_may_lack() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        let file =
            lab(&switch("", "mab: true, locked: true, mcast_max_groups: 7, neigh_vlan_suppress: true, backup_nhid: 9", ""));
        if kernel_at_least(6, 6) {
            apply(&file);
            assert_no_changes(&file);
            let other = lab(&switch("", "", ""));
            apply(&other).says("bridge_port.mcast_max_groups: 7 -> 0").says("bridge_port.backup_nhid: 9 -> 0");
            assert_no_changes(&other);
            destroy("switch");
        } else {
            topo(&["apply", &file]).exits(1).says("s:p1");
        }
        assert_restored(&before);
    });
}

#[test]
fn isolated_ports_reach_only_the_others() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        lives_and_dies(&switch("", "isolated: true", "isolated: true"), || {
            for (from, to) in [("g1", 3), ("g2", 3), ("g3", 1), ("g3", 2)] {
                ping_ok(from, &format!("10.0.0.{to}"));
                ping_ok(from, &format!("2001:db8::{to}"));
            }
            for (from, to) in [("g1", 2), ("g2", 1)] {
                ping_fails(from, &format!("10.0.0.{to}"));
                ping_fails(from, &format!("2001:db8::{to}"));
            }
            apply(&lab(&switch("", "isolated: true", "")));
            ping_ok("g1", "10.0.0.2");
            ping_ok("g2", "2001:db8::1");
        });
    });
}

#[test]
fn the_state_of_a_port() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        for round in 0..5 {
            let listening = lab(&switch(", forward_delay: 0s", "state: listening", "state: forwarding"));
            apply(&listening);
            assert_no_changes(&listening);
            assert_eq!([state("p1"), state("p2"), state("p3")], ["listening", "forwarding", "forwarding"]);
            ping_ok("g2", "10.0.0.3");
            ping_fails("g1", "10.0.0.3");
            if round == 0 {
                // The kernel enables all ports of a bridge that comes up.
                inside(Some("s"), || sh("ip link set br0 down"));
                apply(&listening).says("bridge_port.state: disabled -> listening");
                assert_eq!(state("p1"), "listening");
                inside(Some("s"), || sh("ip link set p1 down"));
                apply(&listening);
                assert_eq!(state("p1"), "listening");
                inside(Some("g1"), || sh("ip link set eth0 down"));
                apply(&listening);
                assert_eq!(state("p1"), "listening");
                let open = lab(&switch(", forward_delay: 0s", "", ""));
                apply(&open).says("bridge_port.state: listening -> forwarding");
                assert_no_changes(&open);
                ping_ok("g1", "10.0.0.3");
                let tree = lab(&switch(", stp_state: true, forward_delay: 2s", "", ""));
                apply(&tree);
                assert_no_changes(&tree);
                // A bridge with the spanning tree cannot have such a short delay.
                apply(&open);
                assert_no_changes(&open);
            }
            destroy("switch");
        }
    });
}

#[test]
fn what_others_change_is_put_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let file = lab(&switch("", OPTIONS, ""));
        apply(&file);
        let (first, second) = (port("p1"), port("p2"));
        for drift in [
            "ip link set p1 type bridge_slave isolated off",
            "ip link set p1 type bridge_slave cost 11 learning on",
            "ip link set p1 type bridge_slave nobackup_port",
            "ip link set p2 type bridge_slave isolated on hairpin on priority 3",
            "ip link set p2 type bridge_slave cost 55",
            "ip link set p2 type bridge_slave state 1",
            "ip link set p2 type bridge_slave backup_port p3",
            "ip link set p1 nomaster",
            "ip link set p2 nomaster",
            "ip link del p1",
        ] {
            inside(Some("s"), || sh(drift));
            topo(&["plan", "--detailed-exitcode", &file]).exits(2);
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(settled(&port("p1")), settled(&first), "{drift}");
            assert_eq!(settled(&port("p2")), settled(&second), "{drift}");
        }
        destroy("switch");
    });
}

/// The external interface `up0` is a port of the lab's bridge.
const EXTERNAL: &str = "
name: external
namespaces:
  host:
    interfaces:
      br0: { bridge: { ports: [up0] } }
      up0: { external: true, bridge_port: { isolated: true, cost: 7, hairpin: true } }
";

#[test]
fn an_external_interface_is_a_port_only_as_long_as_the_lab_lives() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
            ip link add foreign type bridge; ip link set up1 master foreign; ip link set up1 type bridge_slave isolated on cost 9");
        let before = settled_fingerprint();
        let file = lab(EXTERNAL);
        apply(&file);
        assert_no_changes(&file);
        let live = ip(&["link", "show", "up0"])[0]["linkinfo"]["info_slave_data"].clone();
        assert_eq!((&live["isolated"], &live["cost"], &live["hairpin"]), (&true.into(), &7.into(), &true.into()));
        let less = lab(&EXTERNAL.replace("isolated: true, ", ""));
        apply(&less).says("bridge_port.isolated: true -> false");
        // The port of a foreign bridge is nobody's business.
        let foreign = lab("{ name: foreign, namespaces: { host: { interfaces: { up1: { external: true } } } } }");
        topo(&["plan", &foreign]).ok().says("No changes.");
        destroy(&less);
        assert_restored(&before);
    });
}

#[test]
fn a_failed_apply_puts_the_options_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Macvlan]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
            ip link add owner link up0 type macvlan mode passthru");
        apply(&lab(&switch("", "isolated: true, cost: 10, backup_port: p2", "hairpin: true")));
        let before = settled_fingerprint();
        // The kernel refuses the macvlan, which comes late.
        let refused = switch("", "cost: 20, backup_port: p3", "isolated: true, learning: false")
            .replace("namespaces:\n", "namespaces:\n  host: { interfaces: { up0: { external: true } } }\n  z: { interfaces: { mv0: { macvlan: { parent: host:up0, mode: bridge } } } }\n");
        topo(&["apply", &lab(&refused)]).exits(1).says("z:mv0");
        assert_restored(&before);
        destroy("switch");
    });
}

#[test]
fn a_port_without_options_costs_no_message() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let messages = |options: &str| {
            let file = lab(&switch("", options, ""));
            let trace = traced(&["-e", "trace=sendto,sendmsg,sendmmsg", "-v", "-s", "65536"], &["apply", &file]);
            destroy("switch");
            // strace knows the number of that message, or its name.
            trace.matches("nlmsg_type=0x10 ").count() + trace.matches("nlmsg_type=RTM_NEWLINK").count()
        };
        let without = messages("");
        assert!(without > 0, "strace is expected to see the births of links");
        assert_eq!(messages("learning: true, isolated: false, priority: 32"), without);
        assert_eq!(messages(OPTIONS), without + 1);
        assert!(text("ip", &["netns", "list"]).is_empty());
    });
}

/// The lab takes a port from a foreign bridge.
#[test]
fn a_port_of_a_foreign_bridge_returns_with_its_options_and_entries() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
            ip link add foreign type bridge; ip link set foreign up; ip link set up0 master foreign
            ip link set up0 type bridge_slave hairpin on cost 9 learning off
            bridge fdb add 02:00:00:00:00:77 dev up0 master static; bridge fdb add 02:00:00:00:00:78 dev up0 master permanent
            bridge fdb add 02:00:00:00:00:79 dev up0 master static sticky");
        let before = settled_fingerprint();
        let file = lab(EXTERNAL);
        topo(&["plan", &file])
            .ok()
            .says("! up0: bridge_port.cost 9 -> default (side effect: it leaves `foreign`)")
            .says("! forwarding entry 02:00:00:00:00:77 on up0: removed until the lab leaves");
        let refused = EXTERNAL.to_owned() + "  a: { sysctls: { net.ipv4.ip_forward: rubbish } }\n";
        topo(&["apply", &lab(&refused)]).exits(1).says("as it was before");
        eventually_restored(&before);
        apply(&file);
        assert_no_changes(&file);
        topo(&["apply", &lab("{ name: external, namespaces: { a: {} } }")])
            .ok()
            .says("! forwarding entry 02:00:00:00:00:79 on up0: added again");
        apply(&file);
        destroy("external");
        eventually_restored(&before);
    });
}

//! Every kind of link, made, looked at with `ip -d link`, changed and removed.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, in_namespaces, indices, ip, lab, needs, ping_fails, ping_ok, settled_fingerprint,
    sh, topo,
};

/// Applies, insists on a stable result, looks, destroys, and insists that nothing is left.
pub(super) fn lives_and_dies(yaml: &str, look: impl FnOnce()) {
    let before = settled_fingerprint();
    let file = lab(yaml);
    apply(&file);
    assert_no_changes(&file);
    look();
    destroy(&file);
    assert_restored(&before);
}

/// The options that `ip -d link` shows of an interface.
pub(super) fn options(namespace: &str, link: &str) -> serde_json::Value {
    ip(&["-n", namespace, "link", "show", link])[0]["linkinfo"]["info_data"].clone()
}

#[test]
fn macvlans_in_every_mode_and_away_from_their_parent() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        for mode in ["private", "vepa", "bridge", "passthru", "source"] {
            let second = if mode == "passthru" { "" } else { "\n      mv1: { macvlan: { parent: \"below:eth0\", mode: MODE } }" };
            let yaml = format!(
                "name: mv
namespaces:
  below: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.9/24] }} }} }}
  beyond: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.1/24] }} }} }}
  a:
    interfaces:
      mv0: {{ macvlan: {{ parent: \"below:eth0\", mode: MODE }}, addresses: [10.0.0.2/24] }}{second}
links: [{{ endpoints: [below:eth0, beyond:eth0] }}]
"
            );
            lives_and_dies(&yaml.replace("MODE", mode), || {
                assert_eq!(options("a", "mv0")["mode"], mode);
                if mode != "source" {
                    ping_ok("a", "10.0.0.1");
                }
            });
        }
    });
}

const MODES: &str = "name: mode
namespaces:
  a:
    interfaces:
      mv0: { macvlan: { parent: eth0, mode: MODE }, addresses: [10.0.0.2/24], mac: 02:00:00:00:00:02 }
  b: { interfaces: { eth0: { addresses: [10.0.0.1/24], mac: 02:00:00:00:00:01 } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";

#[test]
fn a_macvlan_changes_its_mode_in_place_except_to_and_from_passthru() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        let with = |mode: &str| lab(&MODES.replace("MODE", mode));
        apply(&with("private"));
        let born = indices(Some("a"));
        for mode in ["vepa", "bridge", "source", "private"] {
            apply(&with(mode));
            assert_no_changes(&with(mode));
            assert_eq!(options("a", "mv0")["mode"], mode);
            assert_eq!(indices(Some("a")), born, "{mode}");
        }
        // In `passthru` the link has its parent's hardware address and cannot be given another at creation.
        let passthru = lab(&MODES.replace("MODE", "passthru").replace(", mac: 02:00:00:00:00:02", ""));
        topo(&["plan", &passthru]).ok().says("-/+").says("# forces replacement");
        apply(&passthru);
        assert_no_changes(&passthru);
        assert_eq!(options("a", "mv0")["mode"], "passthru");
        ping_ok("a", "10.0.0.1");
        apply(&with("bridge"));
        assert_eq!(options("a", "mv0")["mode"], "bridge");
    });
}

#[test]
fn a_macvlan_in_source_mode_hears_only_its_list() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        let with = |list: &str| lab(&MODES.replace("MODE", &format!("source, macaddrs: [{list}]")));
        apply(&with("02:00:00:00:00:77"));
        ping_fails("a", "10.0.0.1");
        let born = indices(Some("a"));
        apply(&with("02:00:00:00:00:01"));
        assert_no_changes(&with("02:00:00:00:00:01"));
        ping_ok("a", "10.0.0.1");
        assert_eq!(indices(Some("a")), born);
        sh("ip -n a link set mv0 type macvlan macaddr flush");
        topo(&["plan", "--detailed-exitcode", &with("02:00:00:00:00:01")]).exits(2);
    });
}

#[test]
fn a_macvlan_over_an_external_interface_of_the_machine() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        sh("ip netns add outside; ip link add eth0 type veth peer name port netns outside; ip link set eth0 up
            ip -n outside link set port up; ip -n outside address add 172.29.0.1/21 dev port");
        let yaml = "name: mv
namespaces:
  host: { interfaces: { eth0: { external: true } } }
  ns0: { interfaces: { macvlan0: { macvlan: { parent: \"host:eth0\", mode: bridge }, addresses: [172.29.6.123/21] } } }
";
        lives_and_dies(yaml, || ping_ok("ns0", "172.29.0.1"));
    });
}

/// `below:eth0` is the parent of two ipvlans, and `beyond` the network that it leads to. In the modes of layer 3 the namespace of the
/// parent is a router, so that the ipvlans have addresses of their own network.
const IPVLANS: &str = "name: iv
namespaces:
  below: { interfaces: { eth0: { addresses: [10.0.0.9/24, \"2001:db8::9/64\"] } } }
  beyond:
    interfaces: { eth0: { addresses: [10.0.0.1/24, \"2001:db8::1/64\"] } }
    routes: [{ to: 10.1.0.0/24, via: 10.0.0.9 }, { to: \"2001:db8:1::/64\", via: \"2001:db8::9\" }]
  a:
    interfaces: { iv0: { ipvlan: { parent: \"below:eth0\", OPTIONS }, addresses: [NET2/24, \"NET62/64\"] } }
    routes: [{ to: default, dev: iv0 }, { to: default, family: inet6, dev: iv0 }]
  b:
    interfaces: { iv0: { ipvlan: { parent: \"below:eth0\", OPTIONS }, addresses: [NET3/24, \"NET63/64\"] } }
links: [{ endpoints: [below:eth0, beyond:eth0] }]
";

/// The beginnings of the ipvlans' addresses, of both families.
fn networks(mode: &str) -> [&'static str; 2] {
    if mode == "l2" { ["10.0.0.", "2001:db8::"] } else { ["10.1.0.", "2001:db8:1::"] }
}

fn ipvlans(mode: &str, flags: &str) -> String {
    let [inet, inet6] = networks(mode);
    IPVLANS.replace("OPTIONS", &format!("mode: {mode}, flags: {flags}")).replace("NET6", inet6).replace("NET", inet)
}

#[test]
fn ipvlans_in_every_mode_and_away_from_their_parent() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipvlan, Feature::Ipv6]) {
            return;
        }
        for mode in ["l2", "l3", "l3s"] {
            lives_and_dies(&ipvlans(mode, "bridge"), || {
                assert_eq!(options("a", "iv0")["mode"], mode);
                for (network, beyond) in networks(mode).into_iter().zip(["10.0.0.1", "2001:db8::1"]) {
                    ping_ok("a", beyond);
                    ping_ok("a", &format!("{network}3"));
                    ping_ok("beyond", &format!("{network}2"));
                }
            });
        }
        lives_and_dies(&ipvlans("l2", "private"), || {
            ping_ok("a", "10.0.0.1");
            ping_fails("a", "10.0.0.3");
        });
    });
}

#[test]
fn ipvlans_change_in_place_and_drift_together() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipvlan, Feature::Ipv6]) {
            return;
        }
        apply(&lab(&ipvlans("l2", "bridge")));
        let born = indices(Some("a"));
        for (mode, flags) in [("l3", "private"), ("l3s", "vepa"), ("l2", "private"), ("l3", "bridge"), ("l2", "bridge")] {
            let file = lab(&ipvlans(mode, flags));
            apply(&file);
            assert_no_changes(&file);
            assert_eq!((&options("a", "iv0")["mode"], &options("a", "iv0")[flags]), (&mode.into(), &true.into()));
            assert_eq!(indices(Some("a")), born, "{mode} {flags}");
        }
        ping_ok("a", "10.0.0.1");
        ping_ok("a", "10.0.0.3");
        // What is done to one of them is done to all.
        let file = lab(&ipvlans("l2", "bridge"));
        for drift in ["type ipvlan mode l3", "type ipvlan private", "mtu 1300", "arp off", "down"] {
            sh(&format!("ip -n a link set iv0 {drift}"));
            topo(&["plan", "--detailed-exitcode", &file]).exits(2);
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(indices(Some("a")), born, "{drift}");
        }
        ping_ok("a", "10.0.0.1");
        // The kernel knows no other parent for a living link.
        let other = lab(&ipvlans("l2", "bridge")
            .replace("iv0: { ipvlan: { parent: \"below:eth0\"", "iv0: { ipvlan: { parent: \"below:eth1\"")
            .replace("links: [", "links: [{ endpoints: [below:eth1, beyond:eth1] }, "));
        topo(&["plan", &other]).ok().says("-/+").says("# forces replacement");
        apply(&other);
        assert_no_changes(&other);
    });
}

#[test]
fn a_new_ipvlan_gets_its_flags_beside_foreign_ones() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipvlan]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link add it link up0 type ipvlan mode l2 private");
        let file = lab("name: iv
namespaces:
  host: { interfaces: { up0: { external: true } } }
  a: { interfaces: { iv0: { ipvlan: { parent: \"host:up0\" } } } }
");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!((&options("a", "iv0")["mode"], &options("a", "iv0")["bridge"]), (&"l3".into(), &true.into()));
        destroy("iv");
    });
}

#[test]
fn an_ipvlan_keeps_its_own_mtu_and_follows_its_parents_address() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipvlan, Feature::Bridge]) {
            return;
        }
        let yaml = "name: iv
namespaces:
  below: { interfaces: { br0: { bridge: { ports: [p*] } } } }
  a:
    interfaces:
      iv0: { ipvlan: { parent: \"below:br0\" }, mtu: 1300 }
      iv1: { ipvlan: { parent: \"below:br0\" } }
links: [{ endpoints: [below:p0, a:p0], mtu: 1400 }]
";
        lives_and_dies(yaml, || {
            let link = |name: &str| ip(&["-n", "a", "link", "show", name])[0].clone();
            let mtus = || (link("iv0")["mtu"].clone(), link("iv1")["mtu"].clone());
            assert_eq!(mtus(), (1300.into(), 1400.into()));
            let born = indices(Some("a"));
            let wider = lab(&yaml.replace("mtu: 1400", "mtu: 9000"));
            apply(&wider);
            assert_no_changes(&wider);
            assert_eq!(mtus(), (1300.into(), 9000.into()));
            let addressed = lab(&yaml.replace("br0: {", "br0: { mac: 02:00:00:00:00:77, "));
            apply(&addressed);
            assert_no_changes(&addressed);
            assert_eq!((mtus(), link("iv0")["address"].clone()), ((1300.into(), 1400.into()), "02:00:00:00:00:77".into()));
            assert_eq!(indices(Some("a")), born);
        });
    });
}

#[test]
fn an_ipvtap_shares_a_parent_with_ipvlans() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipvlan, Feature::Ipvtap]) {
            return;
        }
        let yaml = "name: it
namespaces:
  a:
    interfaces:
      t0: { ipvtap: { parent: eth0, mode: l2 }, addresses: [10.0.0.2/24] }
      i0: { ipvlan: { parent: t0, mode: l2 }, addresses: [10.0.0.3/24] }
  b: { interfaces: { eth0: { addresses: [10.0.0.1/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let link = ip(&["-n", "a", "link", "show", "t0"])[0].clone();
            assert_eq!((&link["linkinfo"]["info_kind"], &link["txqlen"]), (&"ipvtap".into(), &500.into()));
            ping_ok("b", "10.0.0.3");
            let born = indices(Some("a"));
            let changed = yaml.replace("mode: l2", "mode: l3, flags: private");
            apply(&lab(&changed));
            assert_no_changes(&lab(&changed));
            assert_eq!((options("a", "t0"), indices(Some("a"))), (options("a", "i0"), born.clone()));
            // Each gets the address of the other.
            let swapped = lab(&changed.replace("0.2/", "0.9/").replace("0.3/", "0.2/").replace("0.9/", "0.3/"));
            apply(&swapped);
            assert_no_changes(&swapped);
            assert_eq!(indices(Some("a")), born);
        });
    });
}

#[test]
fn vlans_keep_their_traffic_apart() {
    in_namespaces(|| {
        if !needs(&[Feature::Vlan]) {
            return;
        }
        let yaml = "name: vlans
namespaces:
  a:
    interfaces:
      eth0.10: { vlan: { parent: eth0, id: 10 }, addresses: [10.10.0.1/24] }
      eth0.20: { vlan: { parent: eth0, id: 20, protocol: 802.1ad }, addresses: [10.20.0.1/24], mtu: 1400 }
  b:
    interfaces:
      eth0.10: { vlan: { parent: eth0, id: 10, gvrp: true }, addresses: [10.10.0.2/24] }
      eth0.20: { vlan: { parent: eth0, id: 20, protocol: 802.1ad }, addresses: [10.20.0.2/24] }
      eth0.30: { vlan: { parent: eth0, id: 30 }, addresses: [10.10.0.3/24] }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            ping_ok("a", "10.10.0.2");
            ping_ok("a", "10.20.0.2");
            let (first, second) = (options("a", "eth0.10"), options("a", "eth0.20"));
            assert_eq!((&first["id"], &first["protocol"]), (&10.into(), &"802.1Q".into()));
            assert_eq!((&second["id"], &second["protocol"]), (&20.into(), &"802.1ad".into()));
            let born = indices(Some("b"));
            let changed = lab(&yaml.replace(", gvrp: true", ""));
            apply(&changed);
            assert_no_changes(&changed);
            assert_eq!(indices(Some("b")), born);
        });
    });
}

#[test]
fn a_vlan_whose_parent_is_elsewhere() {
    in_namespaces(|| {
        if !needs(&[Feature::Vlan]) {
            return;
        }
        let yaml = "name: vlans
namespaces:
  trunk: { interfaces: { eth0: {} } }
  a: { interfaces: { v10: { vlan: { parent: \"trunk:eth0\", id: 10 }, addresses: [10.10.0.1/24] } } }
  b: { interfaces: { v10: { vlan: { parent: eth0, id: 10 }, addresses: [10.10.0.2/24] } } }
links: [{ endpoints: [trunk:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || ping_ok("a", "10.10.0.2"));
    });
}

#[test]
fn a_vxlan_runs_over_the_namespace_of_its_underlay() {
    in_namespaces(|| {
        if !needs(&[Feature::Vxlan]) {
            return;
        }
        let yaml = "name: vx
namespaces:
  under1: { interfaces: { eth0: { addresses: [192.0.2.1/24] } } }
  under2: { interfaces: { eth0: { addresses: [192.0.2.2/24] } } }
  a: { interfaces: { vx0: { vxlan: { id: 42, local: 192.0.2.1, remote: 192.0.2.2, port: 4789, underlay: under1 }, addresses: [10.0.0.1/24] } } }
  b: { interfaces: { vx0: { vxlan: { id: 42, local: 192.0.2.2, remote: 192.0.2.1, port: 4789, parent: \"under2:eth0\" }, addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [under1:eth0, under2:eth0] }]
";
        lives_and_dies(yaml, || {
            ping_ok("a", "10.0.0.2");
            let vxlan = options("a", "vx0");
            assert_eq!((&vxlan["id"], &vxlan["port"], &vxlan["remote"]), (&42.into(), &4789.into(), &"192.0.2.2".into()));
            let born = indices(Some("a"));
            let changed = lab(&yaml.replace("underlay: under1", "underlay: under1, learning: false, ageing: 100s"));
            apply(&changed);
            assert_no_changes(&changed);
            assert_eq!(indices(Some("a")), born);
            assert_eq!(options("a", "vx0")["ageing"], 100);
        });
    });
}

#[test]
fn a_vxlan_over_ipv6() {
    in_namespaces(|| {
        if !needs(&[Feature::Vxlan, Feature::Ipv6]) {
            return;
        }
        let end = |own: u8, other: u8| {
            format!(
                "{{ interfaces: {{ eth0: {{ addresses: [\"2001:db8::{own}/64\"] }}, vx0: {{ vxlan: {{ id: 7, local: \"2001:db8::{own}\", remote: \"2001:db8::{other}\" }}, addresses: [10.0.0.{own}/24] }} }} }}"
            )
        };
        let yaml = format!(
            "name: vx6\nnamespaces:\n  a: {}\n  b: {}\nlinks: [{{ endpoints: [a:eth0, b:eth0] }}]\n",
            end(1, 2),
            end(2, 1)
        );
        lives_and_dies(&yaml, || ping_ok("a", "10.0.0.2"));
    });
}

#[test]
fn a_dummy_holds_addresses_that_answer() {
    in_namespaces(|| {
        if !needs(&[Feature::Dummy]) {
            return;
        }
        let yaml = "name: dum
namespaces:
  a:
    interfaces:
      dummy0: { dummy: {}, addresses: [198.51.100.1, 2001:db8::1], mtu: 9000, mac: 02:00:00:00:00:01 }
      eth0: { addresses: [10.0.0.1/24] }
  b:
    interfaces: { eth0: { addresses: [10.0.0.2/24] } }
    routes: [{ to: 198.51.100.1, via: 10.0.0.1 }]
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            ping_ok("b", "198.51.100.1");
            ping_ok("a", "2001:db8::1");
        });
    });
}

#[test]
fn a_bridge_has_the_options_that_the_lab_gives_it() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let yaml = "name: br
namespaces:
  a:
    interfaces:
      br0:
        bridge:
          stp_state: true
          forward_delay: 4s
          hello_time: 1s
          max_age: 10s
          ageing_time: 60s
          priority: 4096
          group_fwd_mask: 8
          mcast_snooping: false
          mcast_query_interval: 30s
";
        lives_and_dies(yaml, || {
            let bridge = options("a", "br0");
            let shown = ["stp_state", "forward_delay", "hello_time", "max_age", "ageing_time", "priority", "mcast_snooping"];
            let values: Vec<_> = shown.iter().map(|name| bridge[name].as_u64().unwrap()).collect();
            assert_eq!(values, [1, 400, 100, 1000, 6000, 4096, 0]);
        });
    });
}

#[test]
fn a_bridge_that_filters_vlans() {
    in_namespaces(|| {
        if !needs(&[Feature::BridgeVlanFiltering]) {
            return;
        }
        let yaml = "name: brv
namespaces: { a: { interfaces: { br0: { bridge: { vlan_filtering: true, vlan_default_pvid: 7 } } } } }
";
        lives_and_dies(yaml, || {
            let bridge = options("a", "br0");
            assert_eq!((&bridge["vlan_filtering"], &bridge["vlan_default_pvid"]), (&1.into(), &7.into()));
        });
    });
}

#[test]
fn a_veth_pair_within_one_namespace_and_one_that_is_down() {
    in_namespaces(|| {
        let yaml = "name: ends
namespaces:
  a: { interfaces: { x: { mtu: 2000 } } }
  b: {}
links:
  - { endpoints: [a:x, a:y], mtu: 1400 }
  - { endpoints: [a:down0, b:down0], up: false, txqueuelen: 10, numtxqueues: 2, numrxqueues: 3 }
";
        lives_and_dies(yaml, || {
            let link = |name: &str| ip(&["-n", "a", "link", "show", name])[0].clone();
            assert_eq!((&link("x")["mtu"], &link("y")["mtu"]), (&2000.into(), &1400.into()));
            let down = link("down0");
            assert!(!down["flags"].as_array().unwrap().contains(&"UP".into()), "{down}");
            assert_eq!((&down["txqlen"], &down["num_tx_queues"], &down["num_rx_queues"]), (&10.into(), &2.into(), &3.into()));
        });
    });
}

//! VRFs: isolation, ports that join and leave, and what the kernel takes away meanwhile.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, in_namespaces, indices, ip, lab, needs, ping_fails, ping_ok,
    settled_fingerprint, sh, topo,
};
use super::links::lives_and_dies;

/// The router `r` has two customers with the same addresses.
const CUSTOMERS: &str = "name: vrf
namespaces:
  r:
    sysctls: { net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1, net.ipv6.conf.default.accept_dad: 0 }
    interfaces:
      red: { vrf: { table: 10, ports: [red1, red2] }, addresses: [192.0.2.1/32, \"2001:db8:ff::1/128\"] }
      blue: { vrf: { table: 20, ports: [blue1] } }
      red1: { addresses: [10.0.1.1/24, \"2001:db8:1::1/64\"] }
      red2: { addresses: [10.0.2.1/24, \"2001:db8:2::1/64\"] }
      blue1: { addresses: [10.0.1.1/24, \"2001:db8:1::1/64\"] }
      plain: { addresses: [10.0.2.1/24, \"2001:db8:2::1/64\"] }
  red-a: &a
    sysctls: { net.ipv6.conf.default.accept_dad: 0 }
    interfaces: { eth0: { addresses: [10.0.1.10/24, \"2001:db8:1::10/64\"] } }
    routes: [{ to: default, via: 10.0.1.1 }, { to: default, via: \"2001:db8:1::1\" }]
  blue-a: *a
  red-b: &b
    sysctls: { net.ipv6.conf.default.accept_dad: 0 }
    interfaces: { eth0: { addresses: [10.0.2.10/24, \"2001:db8:2::10/64\"] } }
    routes: [{ to: default, via: 10.0.2.1 }, { to: default, via: \"2001:db8:2::1\" }]
  plain-b: *b
links:
  - endpoints: [r:red1, red-a:eth0]
  - endpoints: [r:blue1, blue-a:eth0]
  - endpoints: [r:red2, red-b:eth0]
  - endpoints: [r:plain, plain-b:eth0]
";

fn link(name: &str) -> serde_json::Value {
    ip(&["-n", "r", "link", "show", name])[0].clone()
}

fn has_address(link: &str, address: &str) -> bool {
    let shown = ip(&["-n", "r", "address", "show", "dev", link]);
    shown[0]["addr_info"].as_array().is_some_and(|all| all.iter().any(|one| one["local"] == address))
}

#[test]
fn vrfs_keep_the_same_addresses_apart() {
    in_namespaces(|| {
        if !needs(&[Feature::Vrf, Feature::Ipv6]) {
            return;
        }
        lives_and_dies(CUSTOMERS, || {
            assert_eq!(link("red")["linkinfo"]["info_data"]["table"], 10);
            assert_eq!((&link("red1")["master"], &link("red")["mtu"]), (&"red".into(), &65575.into()));
            for to in ["10.0.2.10", "2001:db8:2::10", "192.0.2.1", "2001:db8:ff::1"] {
                ping_ok("red-a", to);
            }
            // The table of blue has no way there, and `main` must not be asked: it leads to another host with this address.
            sh("ip -n r route add unreachable default metric 4278198272 table 20
                ip -n r -6 route add unreachable default metric 4278198272 table 20");
            for to in ["10.0.2.10", "2001:db8:2::10", "192.0.2.1"] {
                ping_fails("blue-a", to);
            }
            ping_ok("blue-a", "10.0.1.1");
            ping_ok("r", "10.0.2.10");
            // The other host with the address of red-b answers no more; red-b does.
            sh("ip -n plain-b link set eth0 down");
            ping_ok("red-a", "10.0.2.10");
            ping_fails("r", "10.0.2.10");
            sh("ip netns exec r ping -c 1 -W 5 -I red 10.0.2.10 && ip netns exec r ping -6 -c 1 -W 5 -I red 2001:db8:1::10");
            apply(&lab(CUSTOMERS));
            assert_no_changes(&lab(CUSTOMERS));
            // The rule of the kernel is not the lab's.
            assert!(!topo(&["show", "vrf"]).ok().stdout.contains("l3mdev"));
        });
    });
}

const PORT: &str = "name: vrf
namespaces:
  r:
    sysctls: { net.ipv6.conf.default.accept_dad: 0 }
    interfaces:
      red: { vrf: { table: 10, ports: [REDPORTS] } }
      blue: { vrf: { table: 20, ports: [BLUEPORTS] } }
      p0: { addresses: [10.0.0.1/24, 10.0.0.2/24, \"2001:db8::1/64\"] }
    routes:
      - { to: 198.51.100.0/24, via: 10.0.0.9, dev: p0 }
      - { to: 203.0.113.0/24, via: 10.0.0.9, dev: p0, src: 10.0.0.2, table: TABLE }
      - { to: \"2001:db8:1::/64\", via: \"2001:db8::9\", dev: p0 }
    neighbors: [{ to: 10.0.0.77, lladdr: 02:00:00:00:00:77, dev: p0 }]
  x:
    sysctls: { net.ipv6.conf.default.accept_dad: 0 }
    interfaces: { eth0: { addresses: [10.0.0.9/24, \"2001:db8::9/64\"] } }
links: [{ endpoints: [r:p0, x:eth0] }]
";

fn port_of(red: &str, blue: &str, table: &str) -> String {
    PORT.replace("REDPORTS", red).replace("BLUEPORTS", blue).replace("TABLE", table)
}

/// All that is declared of the port is there, in this table.
fn assert_complete(table: &str) {
    assert!(has_address("p0", "10.0.0.1") && has_address("p0", "10.0.0.2") && has_address("p0", "2001:db8::1"));
    for (family, to) in [("-4", "10.0.0.0/24"), ("-6", "2001:db8::/64")] {
        let routes = ip(&["-n", "r", family, "route", "show", "table", table, to]);
        assert_eq!(routes[0]["dev"], "p0", "{to} in {table}: {routes}");
    }
    let neighbors = ip(&["-n", "r", "neighbor", "show", "nud", "permanent", "dev", "p0"]);
    assert_eq!(neighbors[0]["dst"], "10.0.0.77");
    ping_ok("x", "10.0.0.1");
    ping_ok("x", "10.0.0.2");
    ping_ok("x", "2001:db8::1");
}

#[test]
fn a_port_joins_and_leaves_living_vrfs() {
    in_namespaces(|| {
        if !needs(&[Feature::Vrf, Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        apply(&lab(&port_of("", "", "7")));
        let born = indices(Some("r"));
        let ways = [("p0", "", "10"), ("", "p0", "20"), ("", "", "main"), ("p0", "", "10"), ("", "", "main")];
        for (red, blue, table) in ways {
            let file = lab(&port_of(red, blue, table));
            topo(&["plan", &file]).ok().says("the kernel restarts `r:p0`");
            apply(&file);
            assert_no_changes(&file);
            assert_complete(table);
            assert_eq!(indices(Some("r")), born, "in {table}");
        }
        destroy("vrf");
        assert_restored(&before);
    });
}

#[test]
fn what_others_do_to_a_vrf_is_put_right() {
    in_namespaces(|| {
        if !needs(&[Feature::Vrf, Feature::Ipv6]) {
            return;
        }
        let file = lab(&port_of("p0", "", "10"));
        apply(&file);
        let born = indices(Some("r"));
        for drift in [
            "ip -n r link set p0 nomaster",
            "ip -n r link set p0 master blue",
            "ip -n r link set red mtu 1500",
            "ip -n r link set red arp on",
            "ip -n r link set red down",
            "ip -n r route del 10.0.0.0/24 table 10",
            "ip -n r -6 route del 2001:db8::/64 table 10",
            "ip -n r route del table 10 local 10.0.0.1",
            "ip -n r -6 route del table 10 local 2001:db8::1",
            "ip -n r route add 192.0.2.0/24 dev p0 table 10",
        ] {
            sh(drift);
            topo(&["plan", "--detailed-exitcode", &file]).exits(2);
            apply(&file);
            assert_no_changes(&file);
            assert_complete("10");
            assert_eq!(indices(Some("r")), born, "{drift}");
        }
        sh("ip -n r link del red");
        topo(&["plan", "--detailed-exitcode", &file]).exits(2);
        apply(&file);
        assert_no_changes(&file);
        assert_complete("10");
        // The kernel knows no other table for a living VRF.
        let other = lab(&port_of("p0", "", "11").replace("table: 10", "table: 11"));
        topo(&["plan", &other]).ok().says("-/+").says("table: 10 -> 11  # forces replacement");
        apply(&other);
        assert_no_changes(&other);
        assert_complete("11");
        // Without the VRF its port keeps all that is declared.
        let none = port_of("", "", "main").replace("      red: { vrf: { table: 10, ports: [] } }\n", "");
        apply(&lab(&none));
        assert_no_changes(&lab(&none));
        assert_complete("main");
    });
}

#[test]
fn vlans_on_a_port_are_restarted_with_it() {
    in_namespaces(|| {
        if !needs(&[Feature::Vrf, Feature::Vlan, Feature::Ipv6]) {
            return;
        }
        let with = |ports: &str| {
            lab(&format!(
                "name: vrf
namespaces:
  r:
    sysctls: {{ net.ipv6.conf.default.accept_dad: 0 }}
    interfaces:
      red: {{ vrf: {{ table: 10, ports: [{ports}] }} }}
      blue: {{ vrf: {{ table: 10 }} }}
      v7: {{ vlan: {{ parent: p0, id: 7 }}, addresses: [10.0.7.1/24, \"2001:db8:7::1/64\"] }}
      v8: {{ vlan: {{ parent: p0, id: 8 }}, up: false }}
    routes: [{{ to: 192.0.2.0/24, dev: v7 }}, {{ to: \"2001:db8:1::/64\", dev: v7 }}]
links: [{{ endpoints: [r:p0, r:p1] }}]
"
            ))
        };
        apply(&with(""));
        let born = indices(Some("r"));
        for ports in ["p0", "", "p0, v7", "v7", "p0"] {
            apply(&with(ports));
            assert_no_changes(&with(ports));
            assert!(has_address("v7", "2001:db8:7::1"), "{ports}");
            assert_eq!(indices(Some("r")), born, "{ports}");
        }
    });
}

#[test]
fn an_external_port_gets_back_what_it_had() {
    in_namespaces(|| {
        if !needs(&[Feature::Vrf, Feature::Ipv6]) {
            return;
        }
        sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
            ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up
            ip address add 192.0.2.1/24 dev eth0; ip address add 2001:db8::1/64 dev eth0
            ip route add 198.51.100.0/24 via 192.0.2.2; ip -6 route add 2001:db8:1::/64 via 2001:db8::2
            ip neighbor add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0");
        let before = settled_fingerprint();
        let yaml = "name: vrf
namespaces:
  host:
    interfaces:
      red: { vrf: { table: 10, ports: [eth0] } }
      eth0: { external: true, addresses: [10.0.0.1/24, \"2001:db8:5::1/64\"] }
    routes: [{ to: 10.1.0.0/16, via: 10.0.0.2, table: 10 }]
";
        let file = lab(yaml);
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(ip(&["link", "show", "eth0"])[0]["master"], "red");
        let addresses = ip(&["-6", "address", "show", "dev", "eth0"]).to_string();
        assert!(addresses.contains("2001:db8::1") && addresses.contains("2001:db8:5::1"), "{addresses}");
        destroy("vrf");
        eventually("the addresses are usable", || !ip(&["address", "show", "dev", "eth0"]).to_string().contains("tentative"));
        assert_restored(&before);
    });
}

//! Every example does what its first comment says.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, example, in_namespaces, ip, needs, needs_programs, ping_fails,
    ping_ok, settled_fingerprint, sh, text, topo, with_users,
};
use super::impair::tc;
use super::limits::has_control_groups;

/// Applies an example, looks, applies it again, and destroys it.
fn lives_and_dies(name: &str, look: impl FnOnce()) {
    let before = settled_fingerprint();
    let file = example(name);
    apply(&file);
    look();
    apply(&file).says("No changes.");
    assert_no_changes(&file);
    destroy(name);
    assert_restored(&before);
}

#[test]
fn every_example_has_a_test() {
    let tested = [
        "blog",
        "bridge-ports",
        "dhcp",
        "dhcp-client",
        "dual-stack",
        "geneve",
        "impaired-wan",
        "import",
        "ipvlan",
        "leaf-spine",
        "limits",
        "macvlan",
        "namespaces",
        "neighbors",
        "ospf",
        "policy-routing",
        "quickstart",
        "router",
        "star-100",
        "vlan-trunk",
        "vrf",
        "web",
    ];
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(directory).expect("the examples can be read");
    let mut found: Vec<_> =
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, tested, "each example needs a test here (blog: in blog.rs, import: in import.rs)");
}

#[test]
fn quickstart() {
    in_namespaces(|| {
        lives_and_dies("quickstart", || {
            ping_ok("alice", "10.0.0.2");
            ping_ok("bob", "10.0.0.1");
        });
    });
}

#[test]
fn bridge_ports() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        lives_and_dies("bridge-ports", || {
            for to in ["10.0.0.1", "2001:db8::1", "10.0.0.20", "2001:db8::20"] {
                ping_ok("guest1", to);
                ping_ok("guest2", to);
            }
            ping_fails("guest1", "10.0.0.12");
            ping_fails("guest2", "2001:db8::11");
            let port = &ip(&["-n", "switch", "link", "show", "uplink"])[0]["linkinfo"]["info_slave_data"];
            assert_eq!((&port["cost"], &port["priority"], &port["isolated"]), (&10.into(), &8.into(), &false.into()));
        });
    });
}

#[test]
fn vlan_trunk() {
    in_namespaces(|| {
        if !needs(&[Feature::BridgeVlanFiltering, Feature::Vlan, Feature::Ipv6]) {
            return;
        }
        lives_and_dies("vlan-trunk", || {
            for to in ["10.0.10.2", "2001:db8:10::2", "10.0.10.254", "2001:db8:10::254"] {
                ping_ok("office1", to);
            }
            ping_ok("guest1", "10.0.20.2");
            ping_ok("guest1", "10.0.10.1");
            // Without the router, nothing leads from one VLAN to the other.
            sh("ip netns exec router sysctl -q net.ipv4.ip_forward=0");
            ping_fails("guest1", "10.0.10.1");
            sh("ip netns exec router sysctl -q net.ipv4.ip_forward=1");
        });
    });
}

#[test]
fn macvlan() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        lives_and_dies("macvlan", || {
            ping_ok("ns0", "172.29.0.1");
            ping_ok("ns0", "172.29.6.124");
            ping_ok("lan", "172.29.6.123");
            ping_ok("machine", "172.29.0.1");
            ping_fails("machine", "172.29.6.123");
            let link = &ip(&["-n", "ns0", "link", "show", "macvlan0"])[0];
            assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
        });
    });
}

#[test]
fn impaired_wan() {
    in_namespaces(|| {
        if !needs(&[Feature::Netem, Feature::Ipv6]) {
            return;
        }
        lives_and_dies("impaired-wan", || {
            for to in ["10.2.0.10", "2001:db8:2::10"] {
                ping_ok("office1", to);
            }
            let options = &tc("wan2", "line")["options"];
            assert_eq!((&options["delay"]["delay"], &options["rate"]["rate"]), (&0.02.into(), &1_250_000.into()));
        });
    });
}

#[test]
fn ipvlan() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipvlan, Feature::Ipv6]) {
            return;
        }
        lives_and_dies("ipvlan", || {
            for address in ["192.0.2.1", "192.0.2.12", "2001:db8::1", "2001:db8::12"] {
                ping_ok("ns0", address);
            }
            ping_ok("lan", "192.0.2.11");
            ping_ok("machine", "192.0.2.1");
            ping_fails("machine", "192.0.2.11");
            let mac = |namespace: &str, link: &str| ip(&["-n", namespace, "link", "show", link])[0]["address"].clone();
            assert_eq!(mac("ns0", "ipvlan0"), mac("machine", "eth0"));
            assert_eq!(ip(&["-n", "ns0", "link", "show", "ipvlan0"])[0]["linkinfo"]["info_data"]["mode"], "l2");
        });
    });
}

#[test]
fn geneve() {
    in_namespaces(|| {
        if !needs(&[Feature::Geneve, Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        lives_and_dies("geneve", || {
            ping_ok("pc1", "10.0.0.2");
            ping_ok("pc2", "2001:db8::1");
            sh("ip netns exec pc1 ping -n -c 1 -W 5 -M do -s 1422 10.0.0.2");
            // What is not of the LAN takes another way.
            ping_ok("edge1", "203.0.113.2");
            ping_fails("pc1", "203.0.113.2");
            let options = ip(&["-n", "edge1", "link", "show", "gnv0"])[0]["linkinfo"]["info_data"].clone();
            assert_eq!((&options["id"], &options["remote"]), (&42.into(), &"203.0.113.2".into()));
        });
    });
}

#[test]
fn vrf() {
    in_namespaces(|| {
        if !needs(&[Feature::Vrf, Feature::Ipv6]) {
            return;
        }
        lives_and_dies("vrf", || {
            for to in ["10.0.2.10", "2001:db8:2::10"] {
                ping_ok("red-a", to);
                ping_ok("blue-a", to);
            }
            for to in ["10.0.3.10", "2001:db8:3::10"] {
                ping_ok("blue-a", to);
                ping_fails("red-a", to);
            }
            sh("ip netns exec router ping -I red -c 1 -W 5 10.0.1.10");
        });
    });
}

#[test]
fn router() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        lives_and_dies("router", || {
            for from in ["pc1", "pc2"] {
                for to in ["10.2.0.11", "10.2.0.12", "10.1.0.11", "10.1.0.12"] {
                    ping_ok(from, to);
                }
            }
            ping_ok("db", "10.1.0.12");
            let there = text("ip", &["netns", "exec", "pc1", "ping", "-n", "-c", "1", "-W", "5", "10.2.0.11"]);
            assert!(there.contains("ttl=63"), "{there}");
            let refused = ping_fails("pc1", "198.51.100.1");
            assert!(refused.contains("Packet filtered"), "{refused}");
            let unreachable = ping_fails("db", "198.51.100.1");
            assert!(unreachable.contains("Network is unreachable"), "{unreachable}");
        });
    });
}

#[test]
fn dhcp_client() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        lives_and_dies("dhcp-client", || {
            ping_ok("client", "10.99.0.1");
            // As a client of DHCP does, with a lifetime and without.
            sh("ip -n client address add 192.0.2.100/24 dev lan valid_lft 600 preferred_lft 600");
            sh("ip -n client route add default via 192.0.2.1 dev lan");
            sh("ip -n client address add 2001:db8::100/64 dev lan nodad");
            sh("ip -n client link set lan mtu 1400");
            assert_no_changes(&example("dhcp-client"));
            ping_ok("client", "192.0.2.1");
            ping_ok("client", "2001:db8::1");
        });
    });
}

#[test]
fn neighbors() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        lives_and_dies("neighbors", || {
            let mac = |namespace: &str, link: &str| ip(&["-n", namespace, "link", "show", link])[0]["address"].clone();
            for address in ["192.0.2.80", "2001:db8::80"] {
                ping_ok("client", address);
                let found = ip(&["-n", "client", "neighbor", "show", address])[0]["lladdr"].clone();
                assert_eq!(found, mac("router", "lan"), "the router answers for {address}");
            }
            ping_ok("server", "192.0.2.10");
        });
    });
}

#[test]
fn policy_routing() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        lives_and_dies("policy-routing", || {
            for from in ["office", "guest"] {
                ping_ok(from, "198.51.100.80");
                ping_ok(from, "2001:db8:80::80");
            }
            ping_ok("office", "10.2.0.10");
            let through = |to: &str, from: &str, iif: &str| {
                ip(&["-n", "router", "route", "get", to, "from", from, "iif", iif])[0]["dev"].clone()
            };
            assert_eq!(through("198.51.100.80", "10.1.0.10", "lan1"), "wan1");
            assert_eq!(through("198.51.100.80", "10.2.0.10", "lan2"), "wan2");
            assert_eq!(through("2001:db8:80::80", "2001:db8:1::10", "lan1"), "wan1");
            assert_eq!(through("2001:db8:80::80", "2001:db8:2::10", "lan2"), "wan2");
            assert_eq!(through("10.2.0.10", "10.1.0.10", "lan1"), "lan2");
        });
    });
}

#[test]
fn dual_stack() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        lives_and_dies("dual-stack", || {
            for address in ["198.51.100.10", "2001:db8:2::10", "192.0.2.1", "2001:db8:1::1"] {
                ping_ok("client", address);
            }
            for address in ["192.0.2.10", "2001:db8:1::10"] {
                ping_ok("server", address);
            }
        });
    });
}

#[test]
fn leaf_spine() {
    in_namespaces(|| {
        if !needs(&[Feature::Multipath]) {
            return;
        }
        lives_and_dies("leaf-spine", || {
            for from in 1..=3 {
                for to in 1..=3 {
                    ping_ok(&format!("server{from}"), &format!("172.16.{to}.10"));
                }
            }
            let route = &ip(&["-n", "leaf1", "route", "show", "172.16.0.0/16"])[0];
            assert_eq!(route["nexthops"].as_array().map(Vec::len), Some(2), "{route}");
            let through = |port: u16| {
                let port = port.to_string();
                let flow = ["from", "172.16.1.10", "iif", "rack", "ipproto", "tcp", "sport", &port, "dport", "80"];
                ip(&[["-n", "leaf1", "route", "get", "172.16.3.10"].as_slice(), &flow].concat())[0]["dev"].to_string()
            };
            let first = through(1000);
            assert!((1001..1100).any(|port| through(port) != first), "all flows take {first}");
        });
    });
}

#[test]
fn star_100() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        lives_and_dies("star-100", || {
            ping_ok("n001", "10.100.0.100");
            ping_ok("n100", "10.100.0.50");
            let forwarding = || text("bridge", &["-n", "switch", "link"]).matches("state forwarding").count() == 100;
            eventually("forwarding on a hundred ports", forwarding);
        });
    });
}

#[test]
fn namespaces() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        lives_and_dies("namespaces", || {
            let inside = |command: &str| topo(&["exec", "lab", "--", "sh", "-c", command]).ok().stdout;
            assert_eq!(inside("hostname").trim(), "lab.example");
            assert_eq!(inside("cat /proc/1/cmdline | tr -d '\\0'"), "topo: init namespaces/lab");
            for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
                let own = inside(&format!("readlink /proc/self/ns/{kind}"));
                let machines = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
                assert_ne!(own.trim(), machines.to_str().unwrap(), "{kind}");
            }
            assert_eq!(inside("cat /etc/motd"), "Welcome to the lab.\n");
            assert_eq!(inside("cat /etc/resolv.conf"), "search example\nnameserver 10.20.0.2\n");
            assert!(inside("cat /etc/hosts").contains("\n2001:db8:20::2 web.example web\n"));
            topo(&["exec", "lab", "ping", "-c", "1", "-W", "5", "web"]).ok();
            let reaches = || topo(&["exec", "lab", "ping", "-6", "-c", "1", "-W", "1", "web"]).status == 0;
            eventually("IPv6 addresses are ready", reaches);
            assert_eq!(topo(&["exec", "web", "hostname"]).ok().stdout.trim(), "web.example");
        });
    });
}

#[test]
fn limits() {
    with_users(|| {
        if !has_control_groups() {
            return;
        }
        lives_and_dies("limits", || {
            topo(&["exec", "greedy", "--", "sh", "-c", "head -c 100m /dev/zero | tail; exit 3"]).exits(3);
            topo(&["exec", "greedy", "--", "sh", "-c", "for i in $(seq 40); do sleep 1 & done"]).says("Cannot fork");
            ping_ok("greedy", "10.40.0.2");
            // A quarter of a processor.
            let used = || {
                let report: serde_json::Value = serde_json::from_str(&topo(&["ps", "limits", "--json"]).ok().stdout).unwrap();
                report["processes"][0]["cpu_ms"].as_u64().unwrap()
            };
            let (before, begin) = (used(), std::time::Instant::now());
            std::thread::sleep(std::time::Duration::from_secs(2));
            let share = u128::from(used() - before) * 100 / begin.elapsed().as_millis();
            assert!(share <= 35, "it had {share}% of a processor");
        });
    });
}

#[test]
fn web() {
    in_namespaces(|| {
        if !needs_programs(&["python3"]) {
            return;
        }
        lives_and_dies("web", || {
            topo(&["ps", "web"]).ok().says("server  httpd    ready");
            let read = "import urllib.request as u; print(u.urlopen('http://server/', timeout=5).read().decode())";
            topo(&["exec", "client", "--", "python3", "-c", read]).ok().says("Hello from the lab");
            eventually("the request is in the log", || {
                topo(&["logs", "server/httpd"]).ok().stdout.contains("\"GET / HTTP/1.1\" 200")
            });
        });
    });
}

#[test]
fn ospf() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6, Feature::Multipath]) || !needs_programs(&["bird", "birdc"]) {
            return;
        }
        let answer = |to: &str| {
            let ping = ["exec", "left", "--", "ping", "-n", "-c", "1", "-W", "1", to];
            topo(&ping).stdout
        };
        let eventually_by = |ttl: &str| {
            for to in ["10.3.0.10", "2001:db8:3::10"] {
                eventually(&format!("{to} answers with {ttl}"), || answer(to).contains(ttl));
            }
        };
        lives_and_dies("ospf", || {
            for router in ["r1", "r2", "r3"] {
                topo(&["ps", "ospf"]).ok().says(&format!("{router}    bird     ready"));
            }
            eventually_by("ttl=62");
            topo(&["exec", "left", "--", "ping", "-4", "-c", "1", "-W", "5", "right"]).ok();
            for family in ["-4", "-6"] {
                let routes = ip(&["-n", "r1", family, "route", "show", "proto", "bird"]);
                let learned = |to: &str| routes.as_array().is_some_and(|routes| routes.iter().any(|route| route["dst"] == to));
                assert!(learned(if family == "-4" { "10.3.0.0/24" } else { "2001:db8:3::/64" }), "{routes}");
            }
            let neighbors = topo(&["exec", "r1", "--", "birdc", "-s", "/run/bird.ctl", "show", "ospf", "neighbors", "ospf4"]);
            assert_eq!(neighbors.ok().stdout.matches("Full/PtP").count(), 2);
            topo(&["logs", "r1/bird"]).ok().says("start bird -f").says("Started");
            assert_no_changes(&example("ospf"));
            topo(&["exec", "r1", "--", "ip", "link", "set", "r3", "down"]).ok();
            eventually_by("ttl=61");
            topo(&["plan", &example("ospf")]).ok().says("up: false -> true");
            apply(&example("ospf"));
            eventually_by("ttl=62");
        });
    });
}

#[test]
fn dhcp() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) || !needs_programs(&["busybox", "dnsmasq"]) {
            return;
        }
        let leased = || {
            let link = &ip(&["-n", "client", "-4", "address", "show", "lan"])[0];
            link["addr_info"].as_array().is_some_and(|addresses| {
                addresses.iter().any(|address| address["local"].as_str().is_some_and(|local| local.starts_with("192.0.2.")))
            })
        };
        lives_and_dies("dhcp", || {
            topo(&["ps", "dhcp"]).ok().says("client  udhcpc   ready").says("server  dnsmasq  ready");
            assert!(leased(), "the client is ready, and has an address");
            assert_eq!(ip(&["-n", "client", "route", "show", "default"])[0]["gateway"], "192.0.2.1");
            let reaches =
                |family: &str| topo(&["exec", "client", "--", "ping", family, "-c", "1", "-W", "1", "server"]).status == 0;
            eventually("the name server answers, and the server, too", || reaches("-4"));
            eventually("the client has an address of the router advertisement", || reaches("-6"));
            topo(&["logs", "server/dnsmasq"]).ok().says("DHCPACK(lan) 192.0.2.");
            topo(&["exec", "server", "--", "cat", "/run/leases"]).ok().says(" 192.0.2.");
            assert_no_changes(&example("dhcp"));
            topo(&["stop", "client/udhcpc"]).ok();
            assert!(!leased(), "the client has released its address");
            topo(&["start", "client/udhcpc"]).ok();
            assert!(leased(), "the client is ready again, and has an address");
        });
    });
}

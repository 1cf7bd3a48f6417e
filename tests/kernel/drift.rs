//! What others changed by hand is seen by `plan` and put right by `apply`, whatever it is.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, destroy, in_namespaces, indices, ip, lab, needs, ping_ok,
    settled_fingerprint, sh, topo, view,
};

const LAB: &str = "
name: drift
namespaces:
  host:
    interfaces:
      br0: { bridge: { ports: [port], stp_state: false }, addresses: [10.0.0.1/24, 2001:db8::1/64] }
  a:
    sysctls: { net.ipv4.ip_forward: 1 }
    interfaces:
      eth0: { addresses: [10.0.0.2/24, 10.0.0.3/24, 2001:db8::2/64], mac: 02:00:00:00:00:02, altnames: [uplink] }
      eth1: { addresses: [10.1.0.1/24] }
    routes:
      - { to: default, via: 10.0.0.1 }
      - { to: default, via: 2001:db8::1 }
      - { to: 192.0.2.0/24, type: blackhole }
  b:
    interfaces:
      eth0: { addresses: [10.1.0.2/24] }
links:
  - endpoints: [a:eth0, host:port]
  - endpoints: [a:eth1, b:eth0]
";

/// Whether the drift leaves every link as it was, so that the repair must not replace one.
#[derive(Clone, Copy, PartialEq)]
enum Links {
    Stay,
    Suffer,
}

const DRIFTS: &[(&str, Links)] = &[
    ("ip -n a link set eth0 down", Links::Stay),
    ("ip -n a link set lo down", Links::Stay),
    ("ip link set br0 down", Links::Stay),
    ("ip -n a link set eth0 mtu 1400", Links::Stay),
    ("ip -n a link set eth0 address 02:00:00:00:00:99", Links::Stay),
    ("ip -n a link set eth0 txqueuelen 5", Links::Stay),
    ("ip -n a link set eth0 promisc on", Links::Stay),
    ("ip -n a link set eth0 addrgenmode none", Links::Stay),
    ("ip netns exec a sysctl -qw net.ipv4.conf.eth0.forwarding=0", Links::Stay),
    ("ip netns exec a sysctl -qw net.ipv4.conf.eth1.proxy_arp=1", Links::Stay),
    ("ip netns exec a sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.lo.forwarding=0", Links::Stay),
    ("ip netns exec a sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", Links::Stay),
    ("ip netns exec a sysctl -qw net.ipv6.conf.all.disable_ipv6=1", Links::Stay),
    ("ip netns exec a sysctl -qw net.ipv6.conf.all.forwarding=1", Links::Stay),
    ("ip netns exec b sysctl -qw net.ipv4.ip_forward=1", Links::Stay),
    ("ip netns exec b sysctl -qw net.ipv6.conf.eth0.accept_ra=0 net.ipv6.conf.eth0.proxy_ndp=1", Links::Stay),
    ("ip -n a link set eth0 arp off", Links::Stay),
    ("ip -n a link property del dev eth0 altname uplink", Links::Stay),
    ("ip -n a link property add dev eth0 altname another", Links::Stay),
    ("ip -n a address del 10.0.0.2/24 dev eth0", Links::Stay),
    ("ip -n a address flush dev eth0", Links::Stay),
    ("ip -n a -6 address del 2001:db8::2/64 dev eth0", Links::Stay),
    ("ip -n a address add 10.0.0.77/24 dev eth0", Links::Stay),
    ("ip -n a address del 10.1.0.1/24 dev eth1; ip -n a address add 10.1.0.1/24 dev eth1 scope link", Links::Stay),
    ("ip address del 10.0.0.1/24 dev br0", Links::Stay),
    ("ip -n a route del default", Links::Stay),
    ("ip -n a route del 10.1.0.0/24", Links::Stay),
    ("ip -n a route flush table main", Links::Stay),
    ("ip -n a -6 route flush table main", Links::Stay),
    ("ip route del 10.0.0.0/24", Links::Stay),
    ("ip link set br0 alias ''", Links::Stay),
    ("ip link set br0 group default", Links::Stay),
    ("ip -n a -6 route del default", Links::Stay),
    ("ip -n a route replace default via 10.0.0.9", Links::Stay),
    ("ip -n a route replace default via 10.0.0.1 mtu 1300", Links::Stay),
    ("ip -n a route del blackhole 192.0.2.0/24", Links::Stay),
    ("ip -n a route add 198.51.100.0/24 via 10.0.0.1", Links::Stay),
    ("ip -n a route add unreachable 198.51.100.0/24", Links::Stay),
    ("ip -n a -6 route add 2001:db8:5::/64 via 2001:db8::1", Links::Stay),
    ("ip -n a nexthop add id 5 via 10.0.0.1 dev eth0 && ip -n a route add 198.51.100.0/24 nhid 5", Links::Stay),
    ("ip -n a route replace default nhid 5", Links::Stay),
    ("ip link set port nomaster", Links::Stay),
    ("ip link set br0 type bridge stp_state 1", Links::Stay),
    ("ip link set br0 type bridge ageing_time 1000", Links::Stay),
    ("ip -n a link add extra type bridge", Links::Stay),
    ("ip -n a link add extra0 type veth peer name extra1", Links::Stay),
    ("ip netns exec a sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'", Links::Stay),
    ("ip -n a link del eth1", Links::Suffer),
    ("ip link del port", Links::Suffer),
    ("ip link del br0", Links::Suffer),
    ("ip -n a link set eth1 down && ip -n a link set eth1 name other", Links::Suffer),
    ("ip netns del b", Links::Suffer),
    ("ip netns del a", Links::Suffer),
    ("ip netns del a && ip netns del b", Links::Suffer),
];

#[test]
fn every_sort_of_drift_is_seen_and_put_right() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let machine = settled_fingerprint();
        let file = lab(LAB);
        apply(&file);
        ping_ok("a", "10.0.0.1");
        settled_fingerprint();
        let intact = view();
        for (drift, links) in DRIFTS {
            let before = (indices(None), indices(Some("a")), indices(Some("b")));
            sh(drift);
            let plan = topo(&["plan", "--detailed-exitcode", &file]);
            assert_eq!(plan.status, 2, "`{drift}` goes unnoticed\n{}{}", plan.stdout, plan.stderr);
            let outcome = topo(&["apply", &file]);
            assert_eq!(outcome.status, 0, "after `{drift}`: {}{}", outcome.stdout, outcome.stderr);
            assert_no_changes(&file);
            if *links == Links::Stay {
                assert_eq!((indices(None), indices(Some("a")), indices(Some("b"))), before, "after `{drift}`");
            }
            assert_view(&intact, &format!("`{drift}` is not put right"));
        }
        ping_ok("b", "10.1.0.1");
        ping_ok("a", "2001:db8::1");
        destroy("drift");
        assert_restored(&machine);
    });
}

#[test]
fn what_the_kernel_makes_by_itself_is_no_drift() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let file = lab(LAB);
        apply(&file);
        // Neighbours, learnt forwarding entries, link-local addresses and their routes come by themselves.
        ping_ok("a", "10.0.0.1");
        ping_ok("a", "2001:db8::1");
        settled_fingerprint();
        assert_no_changes(&file);
    });
}

#[test]
fn routes_of_daemons_are_theirs() {
    in_namespaces(|| {
        let file = lab("
name: daemons
namespaces:
  a: { interfaces: { eth0: { addresses: [10.0.0.1/24] } } }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
");
        apply(&file);
        sh("ip -n a route add 192.0.2.0/24 via 10.0.0.2 proto bird; ip -n a route add 198.51.100.0/24 via 10.0.0.2 proto ospf");
        assert_no_changes(&file);
    });
}

#[test]
fn a_route_that_the_lab_declares_is_the_labs_whoever_added_it_again() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let with = |routes: &str| {
            lab(&format!(
                "name: again
namespaces:
  a:
    interfaces: {{ eth0: {{ addresses: [10.0.0.1/24, {{ address: \"2001:db8::1/64\", nodad: true }}] }} }}
    routes: [{routes}]
  b: {{ interfaces: {{ eth0: {{}} }} }}
links: [{{ endpoints: [a:eth0, b:eth0] }}]
"
            ))
        };
        let file = with(
            "{ to: 192.0.2.0/24, via: 10.0.0.2 }, { to: 198.51.100.0/24, dev: eth0 }, { to: default, via: \"2001:db8::2\" }",
        );
        apply(&file);
        for protocol in ["static", "bird", "kernel", "ra", "77"] {
            sh(&format!(
                "ip -n a route del 192.0.2.0/24; ip -n a route add 192.0.2.0/24 via 10.0.0.2 proto {protocol}
                 ip -n a -6 route del default; ip -n a -6 route add default via 2001:db8::3 proto {protocol}"
            ));
            apply(&file).says("~ route default (inet6)");
            assert_no_changes(&file);
            let routes = ip(&["-n", "a", "route"]).to_string() + &ip(&["-n", "a", "-6", "route", "show", "default"]).to_string();
            let expected = if protocol == "static" { "static" } else { "boot" };
            assert!(routes.contains(expected) && !routes.contains("2001:db8::3"), "{protocol}: {routes}");
        }
        // They are the lab's also when they leave the file.
        apply(&with(""));
        assert_eq!(ip(&["-n", "a", "route", "show", "192.0.2.0/24"]).as_array().map(Vec::len), Some(0));
        destroy("again");
    });
}

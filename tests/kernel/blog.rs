//! The bridge lab with `host`: what it is for, and what stays of it.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, bridge, destroy, example, in_namespaces, ip, needs, ping_ok,
    settled_fingerprint, sh, text, view,
};

#[test]
fn every_ping_of_the_lab_arrives() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        apply(&example("blog")).says("Plan: ").says("0 to destroy.");
        ping_ok("red", "192.168.10.10");
        ping_ok("blue", "192.168.10.1");
        ping_ok("host", "192.168.10.10");
        ping_ok("host", "192.168.10.11");
        assert_no_changes(&example("blog"));
    });
}

#[test]
fn iproute2_shows_the_lab_by_its_names() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        apply(&example("blog"));
        let names = text("ip", &["netns", "list"]);
        let mut names: Vec<_> = names.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["blue", "red", "test"]);
        let address = &ip(&["-n", "blue", "-4", "address", "show", "veth1"])[0];
        assert_eq!(address["addr_info"][0]["local"], "192.168.10.10");
        assert_eq!(address["addr_info"][0]["prefixlen"], 24);
        let ports = bridge(&["link"]);
        for port in ["veth0", "veth22"] {
            let port = ports.as_array().unwrap().iter().find(|link| link["ifname"] == port).unwrap();
            assert_eq!(port["master"], "bridge0");
            assert_eq!(port["state"], "forwarding");
        }
        let routes = ip(&["-n", "red", "route", "show", "default"]);
        assert_eq!(routes[0]["gateway"], "192.168.10.1");
        assert_eq!(routes[0]["dev"], "veth23");
    });
}

#[test]
fn the_lab_looks_as_if_typed_by_hand() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("for ns in blue red test; do ip netns add $ns; ip -n $ns link set lo up; done
            ip link add bridge0 type bridge
            ip link add veth0 type veth peer name veth1 netns blue
            ip link add veth22 type veth peer name veth23 netns red
            ip link set veth0 master bridge0 up
            ip link set veth22 master bridge0 up
            ip address add 192.168.10.1/24 dev bridge0
            ip link set bridge0 up
            ip -n blue address add 192.168.10.10/24 dev veth1
            ip -n red address add 192.168.10.11/24 dev veth23
            ip -n blue link set veth1 up
            ip -n red link set veth23 up
            ip -n blue route add default via 192.168.10.1
            ip -n red route add default via 192.168.10.1");
        ping_ok("red", "192.168.10.10");
        settled_fingerprint();
        let by_hand = view();
        sh("ip link del bridge0; ip link del veth0; ip link del veth22; for ns in blue red test; do ip netns del $ns; done");
        apply(&example("blog"));
        ping_ok("red", "192.168.10.10");
        assert_view(&by_hand, "by hand and by topo");
    });
}

#[test]
fn destroy_leaves_the_machine_as_it_was() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        apply(&example("blog"));
        destroy(&example("blog")).says("0 to add");
        assert_restored(&before);
        apply(&example("blog"));
        destroy("blog");
        assert_restored(&before);
    });
}

#[test]
fn destroy_leaves_a_used_machine_as_it_was() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip netns add other
            ip -n other link set lo up
            ip link add br-other type bridge ageing_time 5000
            ip link add uplink type veth peer name eth0 netns other
            ip link set uplink master br-other up
            ip -n other link set eth0 up
            ip address add 203.0.113.1/24 dev br-other
            ip link set br-other up
            ip -n other address add 203.0.113.2/24 dev eth0
            ip route add 198.51.100.0/24 via 203.0.113.2 proto static
            ip rule add from 203.0.113.0/24 lookup 100
            ip route add default via 203.0.113.2 table 100
            echo 1 > /proc/sys/net/ipv4/ip_forward
            echo keep > /run/keep");
        let before = settled_fingerprint();
        apply(&example("blog"));
        ping_ok("red", "192.168.10.1");
        apply(&example("blog"));
        destroy(&example("blog"));
        assert_restored(&before);
    });
}

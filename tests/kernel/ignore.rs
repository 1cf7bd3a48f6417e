//! What other programs do in a namespace of a lab: DHCP clients, routing daemons, router advertisements, and what `ignore` lets them do.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt, socket, sockopt,
};

use super::harness::programs::find;
use super::harness::tools::inside;
use super::harness::{
    apply, assert_no_changes, destroy, eventually, in_namespaces, indices, ip, lab, sh, skip, start_inside, text, topo,
};

const PLAIN: &str = "
name: others
namespaces:
  a:
    interfaces:
      eth0: { addresses: [10.0.0.1/24, 2001:db8::1/64] }
    routes: [{ to: 192.0.2.0/24, via: 10.0.0.2 }]
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
";

/// The lab with `ignore` in the namespace and at the interface.
fn ignoring(namespace: &str, interface: &str) -> String {
    let text = PLAIN.replace("  a:\n", &format!("  a:\n    ignore: [{namespace}]\n"));
    text.replace("2001:db8::1/64]", &format!("2001:db8::1/64], ignore: [{interface}]"))
}

/// Does something in namespace `a`, and insists that the lab sees nothing of it.
#[track_caller]
fn unseen(lab: &str, commands: &str) {
    sh(commands);
    assert_no_changes(lab);
}

#[test]
fn limited_lifetimes_and_protocols_of_daemons_are_theirs() {
    in_namespaces(|| {
        let lab = lab(PLAIN);
        apply(&lab).ok();
        unseen(&lab, "ip -n a address add 10.0.0.77/24 dev eth0 valid_lft 600 preferred_lft 600");
        unseen(&lab, "ip -n a address add 172.16.0.7/16 dev eth0 valid_lft 600 preferred_lft 300");
        unseen(&lab, "ip -n a address add 2001:db8::77/64 dev eth0 nodad valid_lft 600 preferred_lft 300");
        for (number, protocol) in ["dhcp", "ra", "zebra", "bird", "keepalived", "ospf", "bgp", "isis"].iter().enumerate() {
            unseen(&lab, &format!("ip -n a route add 203.0.113.{number} via 10.0.0.2 protocol {protocol}"));
            unseen(&lab, &format!("ip -n a -6 route add 2001:db8:1::{number} via 2001:db8::2 protocol {protocol}"));
        }
        unseen(&lab, "ip -n a -6 route add 2001:db8:2::/64 via 2001:db8::2 expires 600");
        unseen(&lab, "ip -n a rule add from 10.9.9.9 lookup 100 protocol zebra");
        unseen(&lab, "ip -n a neighbor add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent protocol zebra");
        apply(&lab).ok();
        assert_eq!(text("ip", &["-n", "a", "address", "show", "dynamic"]).matches("inet").count(), 3);
        assert_eq!(text("ip", &["-n", "a", "route", "show", "protocol", "dhcp"]).lines().count(), 1);
        // Without a protocol and without an end, it was added by hand.
        sh("ip -n a address add 10.0.0.78/24 dev eth0; ip -n a route add 203.0.113.99 via 10.0.0.2");
        sh("ip -n a address add 2001:db8::78/64 dev eth0 nodad preferred_lft 0");
        topo(&["plan", &lab]).ok().says("10.0.0.78/24").says("203.0.113.99").says("2001:db8::78/64").says("3 to destroy");
        destroy(&lab).ok();
    });
}

#[test]
fn what_the_lab_lets_others_do_stays_and_what_it_declares_is_kept() {
    in_namespaces(|| {
        let yaml = ignoring("routes, rules, sysctls", "addresses, neighbors, mtu, mac, altnames, promisc");
        let lab = lab(&yaml);
        apply(&lab).ok();
        unseen(&lab, "ip -n a address add 10.6.0.77/24 dev eth0; ip -n a address add 2001:db8::77/64 dev eth0 nodad");
        unseen(&lab, "ip -n a route add 203.0.113.0/24 via 10.0.0.3; ip -n a route append 192.0.2.0/24 via 10.0.0.3");
        unseen(&lab, "ip -n a route add blackhole 198.51.100.0/24; ip -n a rule add from 10.9.9.9 lookup 100");
        unseen(&lab, "ip -n a neighbor add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent");
        unseen(&lab, "ip -n a link set eth0 mtu 1400 promisc on; ip -n a link set eth0 address 02:00:00:00:00:07");
        unseen(&lab, "ip -n a link property add dev eth0 altname uplink");
        let before = indices(Some("a"));
        sh("ip -n a address del 10.0.0.1/24 dev eth0; ip -n a route flush 192.0.2.0/24; ip -n a address add 10.7.7.7/24 dev lo");
        topo(&["plan", &lab]).ok().says("+ address 10.0.0.1/24").says("+ route 192.0.2.0/24").says("- address 10.7.7.7/24");
        apply(&lab).ok();
        assert_no_changes(&lab);
        assert_eq!(indices(Some("a")), before);
        for kept in ["10.6.0.77/24", "2001:db8::77/64"] {
            assert!(text("ip", &["-n", "a", "address"]).contains(kept), "{kept}");
        }
        destroy(&lab).ok();
    });
}

/// The record tells what the lab added from what others added, even under the same key.
#[test]
fn what_leaves_the_file_is_removed_beside_that_of_others() {
    in_namespaces(|| {
        let yaml = ignoring("routes, sysctls", "addresses");
        apply(&lab(&yaml)).ok();
        sh("ip -n a address add 10.0.0.77/24 dev eth0; ip -n a route append 192.0.2.0/24 via 10.0.0.3");
        let less = yaml.replace("10.0.0.1/24, ", "10.0.0.5/24, ").replace("{ to: 192.0.2.0/24, via: 10.0.0.2 }", "");
        // The primary address of the subnet takes the others along, which DHCP clients give again.
        sh("ip netns exec a sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1");
        topo(&["plan", &lab(&less)]).ok().says("- route 192.0.2.0/24").says("- address 10.0.0.1/24");
        apply(&lab(&less)).ok();
        assert_no_changes(&lab(&less));
        assert!(text("ip", &["-n", "a", "route"]).contains("192.0.2.0/24 via 10.0.0.3"));
        assert!(text("ip", &["-n", "a", "address"]).contains("10.0.0.77/24"));
        destroy(&lab(&less)).ok();
    });
}

/// A failed change leaves what others added, and `host` is as before.
#[test]
fn a_rollback_leaves_what_others_added() {
    in_namespaces(|| {
        let yaml = ignoring("routes", "addresses");
        apply(&lab(&yaml)).ok();
        sh("ip -n a address add 10.5.5.5/24 dev eth0; ip -n a route add 203.0.113.0/24 via 10.0.0.3");
        // Detection of duplicates may end meanwhile.
        let addresses = || text("ip", &["-n", "a", "address"]).replace(" tentative", "");
        let before = [addresses(), text("ip", &["-n", "a", "route"])];
        let wrong = yaml.replace("via: 10.0.0.2 }", "via: 10.0.0.2 }, { to: 10.7.7.0/24, via: 10.99.0.1, dev: eth0 }");
        topo(&["apply", &lab(&wrong)]).exits(1).says("All changes were undone");
        assert_eq!([addresses(), text("ip", &["-n", "a", "route"])], before);
        destroy(&lab(&yaml)).ok();
    });
}

#[test]
fn an_address_of_the_lab_that_expires_is_removed_when_it_leaves_the_file() {
    in_namespaces(|| {
        let limited = PLAIN.replace("[10.0.0.1/24,", "[10.0.0.1/24, { address: 10.0.0.4/24, valid_lft: 1h, preferred_lft: 1h },");
        apply(&lab(&limited)).ok();
        assert_no_changes(&lab(&limited));
        topo(&["plan", &lab(PLAIN)]).ok().says("- address 10.0.0.4/24");
        apply(&lab(PLAIN)).ok();
        assert!(!text("ip", &["-n", "a", "address"]).contains("10.0.0.4"));
        destroy(&lab(PLAIN)).ok();
    });
}

/// busybox's client and server.
#[test]
fn a_dhcp_client_and_the_lab_do_not_disturb_each_other() {
    in_namespaces(|| {
        if find("busybox").is_none() {
            skip("busybox is not installed");
            return;
        }
        let yaml = PLAIN.replace("b: {}", "b: { interfaces: { eth0: { addresses: [192.0.2.1/24] } } }");
        let yaml = yaml.replace("2001:db8::1/64]", "2001:db8::1/64], ignore: [mtu]").replace("192.0.2.0/24", "198.51.100.0/24");
        let lab = lab(&yaml);
        apply(&lab).ok();
        std::fs::write(
            "/run/udhcpd.conf",
            "start 192.0.2.100\nend 192.0.2.110\ninterface eth0\nlease_file /run/leases\npidfile /run/udhcpd.pid\nopt router \
             192.0.2.1\nopt subnet 255.255.255.0\nopt mtu 1400\nopt lease 300\n",
        )
        .unwrap();
        sh("touch /run/leases; printf '%s\\n' '#!/bin/sh' '[ $1 = bound ] || exit 0' \
            'ip address add $ip/24 dev $interface valid_lft $lease preferred_lft $lease' \
            'ip route add default via $router dev $interface protocol dhcp' 'ip link set $interface mtu ${mtu:-1500}' \
            > /run/bound; chmod +x /run/bound");
        let mut server = start_inside("b", "exec busybox udhcpd -f /run/udhcpd.conf");
        let client = "ip netns exec a busybox udhcpc -q -n -f -i eth0 -O mtu -s /run/bound > /run/udhcpc 2>&1";
        eventually("a lease", || {
            super::harness::command("sh").args(["-c", client]).status().is_ok_and(|status| status.success())
        });
        assert!(text("ip", &["-n", "a", "route"]).contains("default via 192.0.2.1"));
        assert!(text("ip", &["-n", "a", "address"]).contains("192.0.2.1"));
        assert_eq!(ip(&["-n", "a", "link", "show", "eth0"])[0]["mtu"], 1400);
        assert_no_changes(&lab);
        apply(&lab).ok();
        assert!(text("ip", &["-n", "a", "route"]).contains("default via 192.0.2.1"));
        server.kill().unwrap();
        server.wait().unwrap();
        destroy(&lab).ok();
    });
}

/// A router advertisement with a prefix whose addresses have no end, and with itself as the default router.
fn advertise() {
    let header = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let prefix = [3, 4, 64, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let network: Ipv6Addr = "2001:db8:5::".parse().unwrap();
    let message = [&header[..], &prefix, &network.octets()].concat();
    inside(Some("b"), || {
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        let raw = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6).unwrap();
        setsockopt(&raw, sockopt::Ipv6MulticastHops, &255).unwrap();
        let all_nodes = SockaddrIn6::from(SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, index));
        // The sender needs its link-local address, which takes a moment.
        eventually("an advertisement", || sendto(raw.as_raw_fd(), &message, &all_nodes, MsgFlags::empty()).is_ok());
    });
}

#[test]
fn what_the_kernel_makes_of_router_advertisements_is_its_own() {
    in_namespaces(|| {
        let lab = lab(&PLAIN.replace("eth0: { addr", "eth0: { sysctls: { ipv6.accept_dad: 0 }, addr"));
        apply(&lab).ok();
        sh("ip -n a link set eth0 down; ip -n a link set eth0 up");
        apply(&lab).ok();
        eventually("an address", || {
            advertise();
            text("ip", &["-n", "a", "-6", "address", "show", "dev", "eth0"]).contains("2001:db8:5:")
        });
        assert!(text("ip", &["-n", "a", "-6", "route", "show", "default"]).contains("proto ra"));
        if super::harness::feature::kernel_at_least(5, 18) {
            assert_no_changes(&lab);
        }
        apply(&lab).ok();
        assert!(text("ip", &["-n", "a", "-6", "route", "show", "default"]).contains("proto ra"));
        destroy(&lab).ok();
    });
}

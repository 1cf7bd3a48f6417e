//! Kernel settings of namespaces and interfaces.

use std::fmt::Write as _;
use std::fs;

use super::harness::tools::inside;
use super::harness::{Feature, in_namespaces, ip, needs, rounds, sh};
use super::links::lives_and_dies;

/// In each namespace another value, so that one that was written or read elsewhere shows. More files than are opened in /proc.
#[test]
fn settings_arrive_in_each_of_many_namespaces() {
    in_namespaces(|| {
        let limit = |number: u64| number % 200 + 2;
        let count = rounds(200).max(60);
        let mut yaml = "name: many\nnamespaces:\n".to_owned();
        for number in 0..count {
            let limit = limit(number);
            writeln!(yaml, "  n{number}: {{ sysctls: {{ net.ipv4.ip_forward: 1, net.ipv6.conf.default.hop_limit: {limit} }} }}")
                .unwrap();
        }
        lives_and_dies(&yaml, || {
            for number in 0..count {
                let read = |path: &str| fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap();
                let values =
                    inside(Some(&format!("n{number}")), || [read("ipv4/ip_forward"), read("ipv6/conf/default/hop_limit")]);
                assert_eq!(values, ["1\n".to_owned(), format!("{}\n", limit(number))], "n{number}");
            }
        });
    });
}

#[test]
fn defaults_for_interfaces_are_in_force_before_they_are_born() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: dflt
namespaces:
  a:
    sysctls: { net.ipv6.conf.default.disable_ipv6: 1, net.ipv4.conf.default.rp_filter: 2 }
    interfaces: { eth0: { addresses: [10.0.0.1/24] } }
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let addresses = ip(&["-n", "a", "address", "show", "eth0"]).to_string();
            assert!(!addresses.contains("inet6"), "{addresses}");
            sh("ip netns exec a sh -c 'test $(cat /proc/sys/net/ipv4/conf/eth0/rp_filter) = 2'");
        });
    });
}

/// Whatever the machine has set for itself. On a machine to throw away, the test sets something first.
#[test]
fn namespaces_begin_with_the_kernels_own_settings() {
    in_namespaces(|| {
        let of_machine = |values: &str| {
            let script = format!("cd /proc/sys/net/ipv4/conf && {values}");
            sh(&format!("nsenter --net=/proc/1/ns/net sh -c '{script}'"));
        };
        let is_ours = std::env::var("TOPO_WHOLE_MACHINE").is_ok_and(|value| value == "1");
        if is_ours {
            of_machine(
                "echo 1 >all/arp_notify && echo 0 >all/shared_media && echo 1 >default/arp_notify && echo 7 >default/medium_id",
            );
        }
        lives_and_dies("name: own\nnamespaces: { a: {}, b: {} }\nlinks: [{ endpoints: [a:e0, b:e0] }]\n", || {
            for namespace in ["a", "b"] {
                for (name, own) in
                    [("arp_notify", "0"), ("shared_media", "1"), ("medium_id", "0"), ("forwarding", "0"), ("rp_filter", "0")]
                {
                    for place in ["all", "default", "lo", "e0"] {
                        let path = format!("/proc/sys/net/ipv4/conf/{place}/{name}");
                        let value = inside(Some(namespace), || fs::read_to_string(&path).unwrap());
                        assert_eq!(value.trim(), own, "{path} in {namespace}");
                    }
                }
            }
        });
        if is_ours {
            of_machine(
                "echo 0 >all/arp_notify && echo 1 >all/shared_media && echo 0 >default/arp_notify && echo 0 >default/medium_id",
            );
        }
    });
}

//! Kernel settings of namespaces and interfaces.

use std::fmt::Write as _;
use std::fs;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::inside;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, in_namespaces, ip, lab, needs, rounds, settled_fingerprint, sh, topo,
};
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
        // What leaves the file goes back to that, too.
        let file = |sysctls: &str| lab(&format!("name: own\nnamespaces: {{ a: {{ {sysctls} }} }}\n"));
        apply(&file("sysctls: { net.ipv4.conf.all.arp_notify: 1, net.ipv4.conf.all.shared_media: 0 }"));
        apply(&file(""));
        assert_eq!([value("a", "ipv4/conf/all/arp_notify"), value("a", "ipv4/conf/all/shared_media")], ["0", "1"]);
        destroy("own");
        if is_ours {
            of_machine(
                "echo 0 >all/arp_notify && echo 1 >all/shared_media && echo 0 >default/arp_notify && echo 0 >default/medium_id",
            );
        }
    });
}

/// The value of a sysctl in a namespace.
fn value(namespace: &str, path: &str) -> String {
    let path = format!("/proc/sys/net/{path}");
    inside(Some(namespace), || fs::read_to_string(&path).unwrap()).trim().to_owned()
}

#[test]
fn what_the_kernel_reads_as_equal_is_equal() {
    in_namespaces(|| {
        let yaml = "name: spelling
namespaces:
  a:
    interfaces: { d0: { dummy: {}, sysctls: { ipv6.stable_secret: \"2001:db8::1\" } } }
    sysctls:
      net.ipv4.ip_local_reserved_ports: \"9000-9010,8080,8081\"
      net.ipv4.conf.all.rp_filter: \"0x2\"
      net.ipv4.conf.default.rp_filter: \"01\"
      net.ipv4.tcp_rmem: \"4096   131072 6291456\"
";
        if !needs(&[Feature::Dummy, Feature::Ipv6]) {
            return;
        }
        lives_and_dies(yaml, || {
            assert_eq!(value("a", "ipv4/ip_local_reserved_ports"), "8080-8081,9000-9010");
            assert_eq!(value("a", "ipv4/conf/d0/rp_filter"), "1");
        });
    });
}

#[test]
fn causes_are_written_before_what_they_change() {
    in_namespaces(|| {
        let lab = |forwarding: u8| {
            lab(&format!(
                "name: causes\nnamespaces:\n  a:\n    sysctls: {{ net.ipv4.ip_forward: {forwarding}, \
                 net.ipv4.conf.all.accept_redirects: 0 }}\n    interfaces:\n      e0: {{ sysctls: {{ ipv4.forwarding: 0 }} }}\n\
                 links: [{{ endpoints: [a:e0, a:e1] }}]\n"
            ))
        };
        for forwarding in [1, 0, 1] {
            apply(&lab(forwarding));
            assert_no_changes(&lab(forwarding));
            assert_eq!(value("a", "ipv4/ip_forward"), forwarding.to_string());
            assert_eq!(value("a", "ipv4/conf/all/accept_redirects"), "0");
            assert_eq!(value("a", "ipv4/conf/e0/forwarding"), "0");
            assert_eq!(value("a", "ipv4/conf/e1/forwarding"), forwarding.to_string());
        }
        destroy(&lab(1));
    });
}

#[test]
fn a_stable_secret_and_the_mode_that_it_sets() {
    in_namespaces(|| {
        if !needs(&[Feature::Dummy, Feature::Ipv6]) {
            return;
        }
        let yaml = |secret: &str| {
            let sysctls = format!("{{ ipv6.addr_gen_mode: 1, ipv6.stable_secret: \"{secret}\" }}");
            lab(&format!(
                "name: secret\nnamespaces: {{ a: {{ interfaces: {{ d0: {{ dummy: {{}}, sysctls: {sysctls} }} }} }} }}\n"
            ))
        };
        for secret in ["2001:db8::1", "2001:db8::2"] {
            apply(&yaml(secret));
            assert_no_changes(&yaml(secret));
            assert_eq!(value("a", "ipv6/conf/d0/addr_gen_mode"), "1");
        }
        destroy(&yaml("::1"));
    });
}

/// Reading it answers EIO, and so does writing it for `all`.
#[test]
fn a_sysctl_that_cannot_be_read_is_in_nobodys_way() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let whole = "sysctls: { net.ipv6.conf.all.stable_secret: \"2001:db8::1\" }";
        let file = lab(&format!("name: unreadable\nnamespaces: {{ a: {{ {whole} }} }}\n"));
        topo(&["apply", &file]).exits(1).says("net.ipv6.conf.all.stable_secret").says("All changes were undone");
        assert_restored(&before);
        topo(&["apply", "--no-rollback", &file]).exits(1);
        topo(&["plan", &file]).ok().says("sysctl net.ipv6.conf.all.stable_secret");
        destroy("unreadable");
        assert_restored(&before);
    });
}

#[test]
fn the_mtu_of_ipv6_outlives_changes_of_the_link() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let file = |mtu: u32| {
            lab(&format!(
                "name: mtu\nnamespaces: {{ a: {{ interfaces: {{ e0: {{ mtu: {mtu}, sysctls: {{ ipv6.mtu: 1300 }} }} }} }} }}\n\
                 links: [{{ endpoints: [a:e0, a:e1], mtu: {mtu} }}]\n"
            ))
        };
        for mtu in [1500, 1400, 9000] {
            apply(&file(mtu));
            assert_no_changes(&file(mtu));
            assert_eq!(value("a", "ipv6/conf/e0/mtu"), "1300");
        }
        sh("ip -n a link set e0 down && ip -n a link set e0 up");
        apply(&file(9000));
        assert_eq!(value("a", "ipv6/conf/e0/mtu"), "1300");
        destroy("mtu");
    });
}

/// New links have the settings of `default` in their namespace, which nobody but the kernel sees.
#[test]
fn a_new_link_has_the_kernels_settings_in_a_namespace_that_somebody_configured() {
    in_namespaces(|| {
        let yaml = "name: new\nnamespaces:\n  a:\n    interfaces: { br0: { bridge: {} } }\n";
        apply(&lab(yaml));
        sh("ip netns exec a sysctl -qw net.ipv4.conf.default.rp_filter=1 net.ipv6.conf.default.accept_ra=0");
        let file =
            lab(&yaml.replace("br0: { bridge: {} }", "br0: { bridge: {} }, br1: { bridge: {}, addresses: [192.0.2.1/24] }"));
        apply(&file);
        assert_no_changes(&file);
        let read = |path: &str| inside(Some("a"), || fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap());
        assert_eq!((read("ipv4/conf/br1/rp_filter"), read("ipv6/conf/br1/accept_ra")), ("0\n".into(), "1\n".into()));
        destroy("new");
    });
}

/// The kernel would refuse the address of a new link, so that the default is put back first; a plan that fails leaves it.
#[test]
fn a_new_link_has_ipv6_where_somebody_disabled_it_by_default() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let file = |links: &str, more: &str| {
            lab(&format!("name: new\nnamespaces:\n  a: {{ {more} interfaces: {{ br0: {{ bridge: {{}} }}{links} }} }}\n"))
        };
        let new = ", br1: { bridge: {}, addresses: [\"2001:db8::1/64\"] }";
        let default = || value("a", "ipv6/conf/default/disable_ipv6");
        apply(&file("", ""));
        sh("ip netns exec a sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
        let before = settled_fingerprint();
        topo(&["plan", &file(new, "")]).ok().says("~ sysctl net.ipv6.conf.default.disable_ipv6  # the lab does not set it");
        let refused = ", br2: { bridge: {}, sysctls: { ipv6.mtu: rubbish } }";
        topo(&["apply", &file(&format!("{new}{refused}"), "")]).exits(1).says("as it was before");
        assert_restored(&before);
        assert_eq!(default(), "1");
        let ignored = "ignore: [sysctls],";
        topo(&["apply", &file(new, ignored)]).exits(1).says("hint: IPv6 is disabled there");
        apply(&file(new, ""));
        assert_no_changes(&file(new, ""));
        assert_eq!(default(), "0");
        destroy("new");
    });
}

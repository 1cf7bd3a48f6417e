//! `--only`: a part of a lab is changed alone, with what it requires.

use super::harness::tools::namespaces;
use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, indices, ip, lab, needs, ping_ok, sh, topo};

const LAB: &str = "
name: parts
namespaces:
  host: { interfaces: { br0: { bridge: { ports: [p1, p2] }, addresses: [10.0.0.254/24] } } }
  a1: { interfaces: { eth0: { addresses: [10.0.0.1/24, '2001:db8::1/64'] } }, sysctls: { net.ipv4.ip_forward: 1 } }
  a2: { interfaces: { eth0: { addresses: [10.0.0.2/24, '2001:db8::2/64'] }, eth1: { addresses: [10.1.0.2/24] } } }
  b: { interfaces: { eth0: { addresses: [10.1.0.3/24] } }, routes: [{ to: default, via: 10.1.0.2 }] }
links:
  - endpoints: [a1:eth0, host:p1]
  - endpoints: [a2:eth0, host:p2]
  - endpoints: [a2:eth1, b:eth0]
";

#[test]
fn a_part_is_made_with_what_it_requires() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let file = lab(LAB);
        let planned = topo(&["plan", "--only", "b", &file]).ok();
        let planned = planned.says("Required by the selection: `a2`, `a2:eth1`.").says("+ namespace a2");
        assert!(!planned.stdout.contains("a1") && !planned.stdout.contains("br0"), "{}", planned.stdout);
        topo(&["apply", "--only", "b", &file]).ok();
        assert_eq!(namespaces(), ["a2", "b"]);
        topo(&["plan", "--detailed-exitcode", "--only", "b", &file]).ok().says("No changes.");
        topo(&["plan", "--detailed-exitcode", &file]).exits(2);
        // A bridge is required by its ports, and the other ports are not.
        let planned = topo(&["plan", "--only", "a1", &file]).ok().says("`host:br0`").says("`host:p1`");
        assert!(!planned.stdout.contains("p2"), "{}", planned.stdout);
        topo(&["apply", "--only", "a*", &file]).ok();
        for to in ["10.0.0.2", "2001:db8::2"] {
            ping_ok("a1", to);
        }
        assert!(
            ip(&["address", "show", "br0"])[0]["addr_info"].as_array().unwrap().iter().all(|address| address["family"] != "inet")
        );
        topo(&["apply", "--only", "host", &file]).ok();
        assert_no_changes(&file);
        destroy("parts");
        assert_eq!(namespaces(), [] as [&str; 0]);
    });
}

#[test]
fn the_rest_stays_as_it_is() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let file = lab(LAB);
        apply(&file);
        sh("ip -n a2 link set eth0 mtu 1400; ip -n a1 link set eth0 mtu 1400; ip -n b address add 10.9.0.1/24 dev eth0; ip -n b route del default
            ip netns exec a2 sh -c 'echo 1 >/proc/sys/net/ipv4/conf/eth1/proxy_arp; echo 1 >/proc/sys/net/ipv4/ip_forward'; ip link set br0 mtu 1300");
        let index = indices(Some("b"))["eth0"];
        topo(&["apply", "--only", "a1", &file]).ok();
        let mtu = |namespace: &str| ip(&["-n", namespace, "link", "show", "eth0"])[0]["mtu"].clone();
        assert_eq!((mtu("a1"), mtu("a2")), (1500.into(), 1400.into()));
        let left = topo(&["plan", &file]).ok();
        left.says("- address 10.9.0.1/24 on eth0").says("+ route default").says("proxy_arp").says("mtu: 1400 -> 1500");
        assert_eq!(indices(Some("b"))["eth0"], index);
        // What leaves the file goes with its namespace; what it was connected to goes along, the rest stays.
        let smaller = lab(&LAB
            .replace("  - endpoints: [a2:eth1, b:eth0]\n", "")
            .replace(", eth1: { addresses: [10.1.0.2/24] }", "")
            .replace(
                "  b: { interfaces: { eth0: { addresses: [10.1.0.3/24] } }, routes: [{ to: default, via: 10.1.0.2 }] }\n",
                "",
            ));
        topo(&["apply", "--only", "b", &smaller]).ok();
        assert_eq!(namespaces(), ["a1", "a2"]);
        assert_eq!(mtu("a2"), 1400);
        assert!(!indices(Some("a2")).contains_key("eth1"));
        apply(&smaller);
        assert_no_changes(&smaller);
        destroy("parts");
    });
}

#[test]
fn a_saved_plan_keeps_the_selection_and_a_wrong_one_is_an_error() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let (file, plan) = (lab(LAB), lab(""));
        topo(&["plan", "--only", "b", "--out", &plan, &file]).ok();
        topo(&["apply", &plan]).ok();
        assert_eq!(namespaces(), ["a2", "b"]);
        topo(&["plan", "--only", "c*", &file]).exits(1).says("no namespace of the lab matches `c*`");
        topo(&["apply", "--only", "c", &file]).exits(1).says("no namespace of the lab matches `c`");
        // What is in the way of the rest is none of its business.
        sh("ip netns add a1");
        topo(&["apply", "--only", "a2", "--only", "b", &file]).ok();
        topo(&["apply", &file]).exits(1).says("`a1` is in the way");
        sh("ip netns delete a1");
        destroy("parts");
    });
}

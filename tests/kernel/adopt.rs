//! Somebody else's link becomes the lab's when the user says so, and only then.

use super::harness::fingerprint::assert_restored;
use super::harness::tools::text;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, in_namespaces, indices, ip, lab, needs, settled_fingerprint, sh, topo,
};

const LAB: &str = "
name: taker
namespaces:
  host: { interfaces: { br0: { bridge: { ports: [p0] }, addresses: [10.0.0.1/24], mtu: 1400 } } }
  a: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, host:p0] }]
";

#[test]
fn a_link_that_is_named_is_taken_over_as_it_is() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        sh(
            "ip link add br0 type bridge; ip link set br0 up alias mine; ip address add 10.0.0.1/24 dev br0; ip link add other type bridge",
        );
        let index = indices(None)["br0"];
        let file = lab(LAB);
        topo(&["plan", &file]).exits(1).says("host:br0");
        topo(&["plan", "--adopt", "host:br0", &file])
            .ok()
            .says("~ bridge br0  # adopted")
            .says("owner: somebody else -> the lab");
        topo(&["apply", "--adopt", "host:br0", &file]).ok();
        assert_eq!(indices(None)["br0"], index, "it is the same link");
        assert_no_changes(&file);
        topo(&["plan", "--detailed-exitcode", "--adopt", "host:br0", &file]).ok();
        destroy(&file);
        sh("ip link del other");
        assert_restored(&before);
    });
}

#[test]
fn a_saved_plan_adopts_what_it_says() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add br0 type bridge");
        let (file, plan) = (lab(LAB), lab(""));
        topo(&["plan", "--adopt", "host:br0", "--out", &plan, &file]).ok();
        topo(&["apply", &plan]).ok();
        assert_no_changes(&file);
    });
}

#[test]
fn what_was_adopted_is_foreign_again_after_a_failure() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Macvlan]) {
            return;
        }
        sh("ip link add br0 type bridge; ip link set br0 up alias mine group 7; ip address add 10.0.0.1/24 dev br0
            ip link add up0 type veth peer name up1; ip link add owner link up0 type macvlan mode passthru");
        let shown = || {
            let mut link = ip(&["address", "show", "br0"])[0].clone();
            // The link-local address comes by itself, and needs a moment.
            let addresses = link["addr_info"].as_array_mut().expect("a list of addresses");
            addresses.retain(|address| address["scope"] != "link");
            link
        };
        let before = shown();
        let refused =
            LAB.replace("  a: {", "  b: { interfaces: { mv0: { macvlan: { parent: \"host:up0\", mode: bridge } } } }\n  a: {");
        let refused = refused.replace("  host: { interfaces: {", "  host: { interfaces: { up0: { external: true },");
        topo(&["apply", "--adopt", "host:br0", &lab(&refused)]).exits(1).says("b:mv0").says("as it was before");
        let after = shown();
        // A bridge that has had ports has no carrier without them; it has had none before.
        for key in ["group", "ifalias", "mtu", "addr_info", "address", "promiscuity"] {
            assert_eq!(after[key], before[key], "{key}");
        }
        assert_eq!(after["ifalias"], "mine");
    });
}

#[test]
fn what_cannot_be_adopted_is_told() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add br9 type bridge");
        let before = settled_fingerprint();
        let file = lab(LAB);
        topo(&["apply", "--adopt", "host:br0", &file]).exits(1).says("`host:br0` cannot be adopted: it does not exist");
        topo(&["apply", "--adopt", "host:br9", &file])
            .exits(1)
            .says("`host:br9` cannot be adopted: the lab declares no such namespace, nor such a link");
        topo(&["apply", "--adopt", "a:eth0", &file]).exits(1).says("`a:eth0` cannot be adopted");
        assert_restored(&before);
        apply(&lab("name: owner\nnamespaces: { host: { interfaces: { br0: { bridge: { ports: [] } } } } }\n"));
        let before = settled_fingerprint();
        topo(&["apply", "--adopt", "host:br0", &file]).exits(1).says("a bridge of the lab `owner`");
        assert_restored(&before);
    });
}

#[test]
fn foreign_routes_keep_their_source_when_its_address_is_taken_over() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh("ip netns add a; ip link add ha type veth peer name eth0 netns a; ip link set ha up; ip -n a link set eth0 up
            ip link add o1 type veth peer name o2; ip link set o1 up; ip link set o2 up
            ip address add 2001:db8::1/64 dev ha nodad; ip address add 192.0.2.1/24 dev ha
            ip -6 route add 2001:dead::/48 via 2001:db8::9 src 2001:db8::1; ip -6 route add 2001:dea2::/48 via fe80::9 dev o1 src 2001:db8::1
            ip route add 198.51.100.0/24 via 192.0.2.9 src 192.0.2.1");
        let routes = || {
            let shown = [
                &["-6", "route", "show", "2001:dead::/48"],
                &["-6", "route", "show", "2001:dea2::/48"],
                &["-4", "route", "show", "198.51.100.0/24"],
            ];
            shown.map(|arguments| text("ip", arguments.as_slice()))
        };
        let before = routes();
        let file = lab(&topo(&["export"]).ok().stdout);
        topo(&["apply", "--adopt", "all", &file]).ok().says("removed and added again");
        assert_eq!(routes(), before);
        assert_no_changes(&file);
    });
}

#[test]
fn a_namespace_is_taken_over_and_given_back_after_a_failure() {
    in_namespaces(|| {
        sh("ip netns add a; ip -n a link set lo alias mine; ip netns add b");
        apply(&lab("name: owner\nnamespaces: { c: {} }\n"));
        let before = settled_fingerprint();
        let file =
            |more: &str| lab(&format!("name: taker\nnamespaces:\n  a: {{ interfaces: {{ lo: {{ up: false }} }}{more} }}\n"));
        topo(&["plan", &file("")]).exits(1).says("--adopt a");
        topo(&["plan", "--adopt", "b", &file("")]).exits(1).says("`b` cannot be adopted: the lab declares no such namespace");
        let refused = file(", sysctls: { net.ipv4.ip_forward: rubbish }");
        topo(&["apply", "--adopt", "a", &refused]).exits(1).says("as it was before");
        assert_restored(&before);
        let others = lab("name: taker\nnamespaces: { c: {} }\n");
        topo(&["apply", "--adopt", "c", &others]).exits(1).says("a namespace of the lab `owner`");
        topo(&["apply", "--adopt", "a", &file("")]).ok().says("~ loopback lo  # adopted");
        assert_no_changes(&file(""));
        destroy("taker");
        assert_eq!(super::harness::tools::namespaces(), ["b", "c"]);
        destroy("owner");
    });
}

#[test]
fn the_other_addresses_of_an_adopted_bridge_stay() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        sh("ip link add br0 type bridge; ip link set br0 up; ip address add 192.0.2.1/24 dev br0; ip address add 192.0.2.2/24 dev br0
            ip address add 192.0.2.3/24 dev br0 label br0:x; ip address add 198.51.100.1/24 dev br0; ip address add 2001:db8::1/64 dev br0
            ip route add 203.0.113.0/24 via 192.0.2.9 src 192.0.2.3");
        let others = || {
            let addresses = ip(&["address", "show", "br0"])[0]["addr_info"].as_array().unwrap().clone();
            let shown = addresses.iter().filter(|address| address["scope"] != "link");
            let mut shown: Vec<_> = shown.map(|address| format!("{} {}", address["local"], address["label"])).collect();
            shown.sort();
            shown.retain(|address| !address.contains("192.0.2.1\"") && !address.contains("192.0.2.100"));
            (shown, text("ip", &["route", "show", "203.0.113.0/24"]))
        };
        let expected = others();
        let file = |address: &str, more: &str| {
            lab(&format!(
                "name: lab\nnamespaces:\n  host: {{ interfaces: {{ br0: {{ bridge: {{}}, addresses: [{address}] }} }} }}\n{more}"
            ))
        };
        let refused = "  a: { sysctls: { net.ipv4.ip_forward: rubbish } }\n";
        topo(&["apply", "--adopt", "host:br0", &file("192.0.2.1/24", refused)]).exits(1).says("as it was before");
        assert_eq!(others(), expected, "an adoption that failed");
        let plan = topo(&["apply", "--adopt", "host:br0", &file("192.0.2.1/24", "")]).ok();
        plan.says("! address 192.0.2.2/24 on br0: removed and added again");
        assert_eq!(others(), expected, "an adoption");
        topo(&["apply", &file("192.0.2.100/24", "")]).ok();
        assert_eq!(others(), expected, "a change of the address");
        topo(&["apply", &file("", "")]).ok();
        assert_eq!(others(), expected, "no address");
        topo(&["destroy", "lab"])
            .exits(1)
            .says("address 192.0.2.2/24 on br0: removed for good (side effect: `host:br0` is deleted)");
        topo(&["destroy", "lab", "--allow-side-effects"]).ok();
    });
}

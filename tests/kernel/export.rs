//! `topo export`: what others made is a lab file that says all of it, and a lab can take it over as it is.

use std::fs;

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, in_namespaces, indices, ip, lab, needs, ping_ok, settled_fingerprint, sh, topo,
};
use super::random::FEATURES;
use super::scripts::{afresh, cases, unknown_words};

/// A network by ip(8): a router between a bridge of the machine and a host.
const BY_HAND: &str = "
    ip netns add router; ip netns add pc; ip -n router link set lo up
    ip link add br0 type bridge; ip link set br0 up; ip address add 10.1.0.254/24 dev br0
    ip link add v0 type veth peer name eth0 netns router; ip link set v0 master br0 up
    ip -n router link set eth0 up
    ip -n router address add 10.1.0.1/24 dev eth0; ip -n router address add 2001:db8:1::1/64 dev eth0 nodad
    ip -n router route add default via 10.1.0.254
    ip -n router link add eth1 type veth peer name eth0 netns pc; ip -n router link set eth1 up; ip -n pc link set eth0 up
    ip -n router address add 10.2.0.1/24 dev eth1; ip -n pc address add 10.2.0.2/24 dev eth0
    ip -n pc route add default via 10.2.0.1
    ip -n router rule add from 10.2.0.0/24 table 100 priority 100; ip -n router route add blackhole 10.9.0.0/16 table 100
    ip -n pc neighbor add 10.2.0.9 lladdr 02:00:00:00:00:09 dev eth0
    ip netns exec router sh -c 'cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 2 >ipv4/conf/eth0/rp_filter
        echo 7 >ipv4/neigh/eth1/ucast_solicit; echo reno >ipv4/tcp_congestion_control; echo 1 >ipv6/conf/all/forwarding'
";

/// Exports everything, and returns the path of the file.
fn export(arguments: &[&str]) -> String {
    lab(&topo(&[&["export"], arguments].concat()).ok().stdout)
}

#[test]
fn a_network_by_hand_is_exported_taken_over_destroyed_and_made_again() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        // The first namespace of ip(8) makes its directory a mount, which stays.
        sh("ip netns add first; ip netns delete first");
        let before = settled_fingerprint();
        sh(BY_HAND);
        let made = settled_fingerprint();
        let file = export(&[]);
        assert_restored(&made);
        let text = fs::read_to_string(&file).unwrap();
        for said in
            ["bridge: { ports: [v0] }", "ipv4.neigh.ucast_solicit: 7", "ipv4.rp_filter: 2", "tcp_congestion_control: reno"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
        topo(&["plan", &file]).exits(1).says("`pc` is in the way: a namespace that topo did not make").says("--adopt pc");
        let plan = topo(&["plan", "--adopt", "all", "--json", &file]).ok();
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
        let fields: Vec<_> =
            plan["changes"].as_array().unwrap().iter().flat_map(|change| change["fields"].as_array().unwrap()).collect();
        assert!(fields.iter().all(|field| field["name"] == "owner") && fields.len() == 5, "{plan:#}");
        let index = indices(Some("router"))["eth1"];
        topo(&["apply", "--adopt", "all", &file]).ok();
        assert_eq!(indices(Some("router"))["eth1"], index, "it is the same link");
        assert_no_changes(&file);
        assert_eq!(ip(&["-n", "pc", "link", "show", "lo"])[0]["ifalias"], "topo:exported/pc");
        topo(&["plan", "--adopt", "none", &file]).exits(1).says("`none` cannot be adopted: the lab declares no such namespace");
        topo(&["show", "exported"]).ok().says("tcp_congestion_control: reno");
        destroy("exported");
        assert_restored(&before);
        apply(&file);
        ping_ok("pc", "10.1.0.1");
        assert_no_changes(&file);
        destroy("exported");
        assert_restored(&before);
    });
}

#[test]
fn what_is_exported_is_chosen_by_name() {
    in_namespaces(|| {
        sh("ip netns add a1; ip netns add a2; ip netns add b; ip -n a1 link add x type veth peer name y netns b");
        apply(&lab("name: other\nnamespaces: { c: {} }\n"));
        let names = |arguments: &[&str]| {
            let outcome = topo(&[&["export", "--json"], arguments].concat()).ok();
            let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
            let namespaces: Vec<_> = report["file"]["namespaces"].as_object().unwrap().keys().cloned().collect();
            (namespaces.join(" "), outcome.stderr)
        };
        assert_eq!(names(&["a1", "b"]).0, "a1 b");
        assert_eq!(names(&["a*"]).0, "a1 a2");
        assert!(names(&["a*"]).1.contains("`a1:x` is left out: its other end is not in the lab"));
        assert_eq!(names(&[]).0, "a1 a2 b");
        assert!(names(&[]).1.contains("`c` is left out: it is a namespace of the lab `other`"));
        topo(&["export", "c"]).exits(1).says("`c` cannot be exported: it is a namespace of the lab `other`");
        topo(&["export", "a1:x"]).exits(1).says("`a1:x` cannot be exported alone");
        topo(&["export", "host:lo"]).exits(1).says("`host:lo` cannot be exported");
        topo(&["export", "host:none"]).exits(1).says("`host:none` cannot be exported");
        topo(&["export", "z*"]).exits(1).says("no namespace matches `z*`");
        topo(&["export", "--name", "other"]).exits(1).says("there is a lab `other` already");
        destroy("other");
    });
}

#[test]
fn what_no_lab_file_can_say_is_listed() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh(
            "ip netns add a; ip link add br0 type bridge; ip link set br0 up; ip address add 10.0.0.1/24 dev br0
            ip link add p0 type veth peer name eth0 netns a; ip link set p0 up master br0; ip route add 10.9.0.0/16 via 10.0.0.9",
        );
        sh("ip netns exec a nft add table inet filter; ip -n a link set lo up; ip -n a nexthop add id 7 blackhole
            ip netns exec a tc qdisc replace dev eth0 root pfifo limit 7");
        let outcome = topo(&["export"]).ok();
        let omitted = [
            "`host 10.9.0.0/16` is left out: a lab cannot take over routes of `host`",
            "`a:eth0 qdisc pfifo` is left out: a lab file has no word for it",
            "`a nftables inet filter` is left out: a lab file has no word for it",
            "`a 1 nexthop objects` is left out",
        ];
        for (text, omitted) in
            [&outcome.stdout, &outcome.stderr].into_iter().flat_map(|text| omitted.map(|omitted| (text, omitted)))
        {
            assert!(text.contains(omitted), "{omitted}: {text}");
        }
    });
}

#[test]
fn what_would_do_harm_is_left_out() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        apply(&lab("name: other\nnamespaces: { host: { interfaces: { obr: { bridge: {} } } } }\n"));
        sh("ip netns add a; touch /run/netns/again /run/netns/me; mount --bind /run/netns/a /run/netns/again
            mount --bind /proc/self/ns/net /run/netns/me
            ip link add p type veth peer name e netns a; ip link set p up master obr
            ip -n a link add 'a*b' type veth peer name x; ip -n a link set x up; ip -n a link set e up
            ip netns exec a sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'");
        let outcome = topo(&["export"]).ok();
        let outcome = outcome
            .says("the namespace `again` is left out: it is another name of `a`")
            .says("the namespace `me` is left out: it is another name of `host`")
            .says("`host:p` is left out: its other end, or the bridge that it is a port of, cannot be in the lab")
            .says("`a:a*b` is left out: no lab file can have its name");
        let file = lab(&outcome.stdout);
        topo(&["validate", &file]).ok();
        topo(&["plan", "--adopt", "all", &lab("name: x\nnamespaces: { me: {} }\n")])
            .exits(1)
            .says("`me` is in the way: a name of the namespace that topo runs in");
        sh("ip -n a link delete x; ip link delete p; umount /run/netns/again /run/netns/me; rm /run/netns/again /run/netns/me
            ip netns exec a sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/disable_ipv6'; ip -n a link add x type veth peer name y
            ip netns exec a sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'");
        let file = lab(&topo(&["export"]).ok().stdout);
        topo(&["apply", "--adopt", "all", &file]).ok();
        // What was born before the default was set keeps its own value.
        let disabled = topo(&["exec", "a", "--", "cat", "/proc/sys/net/ipv6/conf/x/disable_ipv6"]).ok();
        assert_eq!(disabled.stdout, "0\n");
        destroy("exported");
        destroy("other");
    });
}

/// Takes the marks away from everything, so that the lab is nobody's.
const DISOWN: &str = "
    for namespace in $(ip netns list | cut -d ' ' -f 1); do ip -n $namespace link set lo alias ''; done
    for link in $(ip -o link show | cut -d ' ' -f 2 | cut -d : -f 1 | cut -d @ -f 1); do ip link set dev $link alias '' group default; done
    rm -rf /run/topo
";

#[test]
fn every_kind_and_object_is_exported() {
    in_namespaces(|| {
        if !needs(&FEATURES) {
            return;
        }
        let unknown = unknown_words();
        let cases = cases();
        let labs = cases.iter().map(|(title, [_, text])| (title, text));
        let labs = labs.filter(|(_, text)| !unknown.iter().any(|word| text.contains(word)) && !text.contains("namespaces: {}"));
        // What no namespace is connected to is exported by name.
        let labs = labs.filter(|(title, _)| *title != "bridge_port, An external interface is a port of the bridge");
        // What one is connected to becomes the lab's.
        let labs = labs.filter(|(_, text)| !text.contains("host:eth0"));
        // Under emulation, each lab takes seconds.
        let share = if std::env::var_os("TOPO_ROUNDS").is_some() { 8 } else { 1 };
        let mut wrong = Vec::new();
        // An address with a lifetime is that of a DHCP client, and no export's.
        let labs = labs.step_by(share).filter(|(_, text)| !text.contains("valid_lft"));
        for (title, text) in labs {
            let name = text.lines().find_map(|line| line.strip_prefix("name: ")).expect("a lab has a name");
            let renamed = lab(&text.replacen(name, "exported", 1));
            let file = lab(text);
            let outcome = afresh(&format!(
                "apply '{file}'; {DISOWN}
                 topo export >/run/made.yaml; topo apply --quiet --allow-side-effects --adopt all /run/made.yaml
                 topo plan --detailed-exitcode /run/made.yaml; topo plan --detailed-exitcode '{renamed}'; cat /run/made.yaml"
            ));
            if outcome.status != 0 {
                wrong.push(format!("{title}: status {}\n{}{}", outcome.status, outcome.stdout, outcome.stderr));
            }
        }
        assert!(wrong.is_empty(), "{} labs\n{}", wrong.len(), wrong.join("\n"));
    });
}

//! Ifbs: made, changed, damaged and removed, and what is redirected to them.

use super::harness::{Feature, apply, assert_no_changes, in_namespaces, indices, ip, lab, needs, ping_ok, sh, text, topo};
use super::links::lives_and_dies;

const LAB: &str = "name: ifb
namespaces:
  a:
    interfaces:
      eth0: { addresses: [10.0.0.1/24, \"2001:db8::1/64\"] }
      ifb0: { ifb: {}, numtxqueues: 2, mtu: 9000 }
      ifb1: { ifb: {}, up: false }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24, \"2001:db8::2/64\"] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";

#[test]
fn an_ifb_is_made_changed_and_removed() {
    in_namespaces(|| {
        if !needs(&[Feature::Ifb]) {
            return;
        }
        lives_and_dies(LAB, || {
            let link = |name: &str| ip(&["-n", "a", "link", "show", name])[0].clone();
            let first = link("ifb0");
            assert_eq!((&first["linkinfo"]["info_kind"], &first["mtu"]), (&"ifb".into(), &9000.into()));
            assert_eq!((&first["num_tx_queues"], &first["num_rx_queues"], &first["txqlen"]), (&2.into(), &1.into(), &32.into()));
            let flags = first["flags"].as_array().unwrap().clone();
            assert!(flags.contains(&"NOARP".into()) && !flags.contains(&"MULTICAST".into()), "{first}");
            let born = indices(Some("a"));
            let changed = lab(&LAB.replace("mtu: 9000", "txqueuelen: 100, arp: true").replace(", up: false", ""));
            apply(&changed);
            assert_no_changes(&changed);
            assert_eq!((link("ifb0")["txqlen"].clone(), indices(Some("a"))), (100.into(), born.clone()));
            for drift in ["mtu 1300", "arp off", "txqueuelen 7", "down"] {
                sh(&format!("ip -n a link set ifb0 {drift}"));
                topo(&["plan", "--detailed-exitcode", &changed]).exits(2);
                apply(&changed);
                assert_no_changes(&changed);
            }
            assert_eq!(indices(Some("a")), born);
            let wider = lab(&LAB.replace("numtxqueues: 2", "numrxqueues: 3"));
            topo(&["plan", &wider]).ok().says("numtxqueues: 2 -> 1  # forces replacement").says("numrxqueues: 1 -> 3");
            apply(&wider);
            assert_no_changes(&wider);
            assert_eq!((link("ifb0")["num_tx_queues"].clone(), link("ifb0")["num_rx_queues"].clone()), (1.into(), 3.into()));
            // Another one with other queues in its place is seen.
            sh("ip -n a link delete ifb1 && ip -n a link add ifb1 numtxqueues 4 type ifb");
            topo(&["plan", "--detailed-exitcode", &wider]).exits(2).says("numtxqueues: 4 -> 1");
            apply(&wider);
            assert_no_changes(&wider);
        });
    });
}

#[test]
fn an_ifb_gets_what_is_redirected_to_it() {
    in_namespaces(|| {
        if !needs(&[Feature::Ifb, Feature::Ipv6]) {
            return;
        }
        lives_and_dies(LAB, || {
            let redirect = "tc -n a qdisc add dev eth0 handle ffff: ingress && \
                            tc -n a filter add dev eth0 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ifb0";
            sh(redirect);
            ping_ok("a", "10.0.0.2");
            ping_ok("b", "2001:db8::1");
            let statistics = text("ip", &["-n", "a", "-s", "-j", "link", "show", "ifb0"]);
            let statistics: serde_json::Value = serde_json::from_str(&statistics).unwrap();
            assert!(statistics[0]["stats64"]["tx"]["packets"].as_u64().unwrap() > 1, "{statistics}");
            // What is down drops it.
            sh("ip -n a link set ifb0 down");
            super::harness::ping_fails("a", "10.0.0.2");
            let file = lab(LAB);
            apply(&file);
            ping_ok("a", "10.0.0.2");
        });
    });
}

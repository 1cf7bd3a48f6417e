//! Impairment by netem: every option, its effect, drift, and whose qdiscs are in `host`.

use std::time::Instant;

use serde_json::Value;

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, command, destroy, in_namespaces, lab, needs, ping_ok, settled_fingerprint, sh, text, topo,
};

/// The root qdisc of an interface, as tc(8) shows it.
pub fn tc(namespace: &str, dev: &str) -> Value {
    let shown = text("tc", &["-j", "-n", namespace, "qdisc", "show", "dev", dev, "root"]);
    serde_json::from_str::<Value>(&shown).expect("tc prints JSON")[0].clone()
}

/// A pair whose first end is impaired.
fn pair(impair: &str) -> String {
    lab(&format!(
        "name: impaired
namespaces:
  a: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.1/24, \"2001:db8::1/64\"]{impair} }} }} }}
  b: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.2/24, \"2001:db8::2/64\"] }} }} }}
links: [{{ endpoints: [a:eth0, b:eth0] }}]
"
    ))
}

fn with(options: &str) -> String {
    pair(&format!(", impair: {{ {options} }}"))
}

/// The index and the times of a round trip to the other end, in milliseconds.
fn round_trips(to: &str, count: u32) -> Vec<f64> {
    let mut ping = command("ip");
    ping.args(["netns", "exec", "a", "ping", "-i", "0.02", "-W", "1", "-c", &count.to_string(), to]);
    let output = String::from_utf8(ping.output().unwrap().stdout).unwrap();
    let times = output.lines().filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok());
    times.collect()
}

#[test]
fn every_option_is_set_changed_and_removed() {
    in_namespaces(|| {
        if !needs(&[Feature::Netem, Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        apply(&pair(""));
        assert_eq!(tc("a", "eth0")["kind"], "noqueue");
        for (options, path, expected) in [
            ("delay: 10ms", "/delay/delay", 0.01.into()),
            ("delay: 10ms, jitter: 5ms, delay_correlation: 50%", "/delay/jitter", 0.005.into()),
            ("delay: 10ms, jitter: 5ms, delay_correlation: 50%, loss: 12.5%", "/loss-random/loss", 0.125.into()),
            ("loss: 25%, loss_correlation: 75%, ecn: true", "/ecn", true.into()),
            ("loss: { p: 50%, r: 25%, h: 75%, k: 12.5% }", "/loss-gemodel/r", 0.25.into()),
            ("duplicate: 25%, duplicate_correlation: 50%", "/duplicate/duplicate", 0.25.into()),
            ("corrupt: 25%, corrupt_correlation: 50%", "/corrupt/corrupt", 0.25.into()),
            ("delay: 1ms, reorder: 25%, reorder_correlation: 50%, gap: 5", "/gap", 5.into()),
            ("delay: 1ms, rate: 8mbit, limit: 77", "/rate/rate", 1_000_000.into()),
            ("rate: 100gbit, queue: 10ms", "/rate/rate", 12_500_000_000_u64.into()),
            ("limit: 5", "/limit", Value::Null),
        ] {
            let file = with(options);
            let index = text("ip", &["-n", "a", "-br", "link", "show", "eth0"]);
            apply(&file);
            assert_no_changes(&file);
            let shown = tc("a", "eth0");
            let found = shown["options"].pointer(path).cloned().unwrap_or_default();
            assert_eq!(found, if expected.is_null() { 5.into() } else { expected }, "{options}: {shown}");
            assert_eq!((&shown["kind"], &shown["handle"]), (&"netem".into(), &"746f:".into()));
            assert_eq!(text("ip", &["-n", "a", "-br", "link", "show", "eth0"]), index);
        }
        let shaped = with("delay: 10ms, jitter: 2ms, distribution: paretonormal");
        apply(&shaped);
        assert_no_changes(&shaped);
        assert_eq!(tc("a", "eth0")["handle"], "7472:");
        apply(&pair(""));
        assert_eq!(tc("a", "eth0")["kind"], "noqueue");
        destroy("impaired");
        assert_restored(&before);
    });
}

#[test]
fn packets_are_delayed_lost_and_slowed_down() {
    in_namespaces(|| {
        if !needs(&[Feature::Netem, Feature::Ipv6]) {
            return;
        }
        apply(&with("delay: 300ms"));
        for to in ["10.0.0.2", "2001:db8::2"] {
            ping_ok("a", to);
            let times = round_trips(to, 3);
            assert!(times.len() == 3 && times.iter().all(|time| (300.0..2000.0).contains(time)), "{times:?}");
        }
        apply(&with("loss: 50%, limit: 10000"));
        for to in ["10.0.0.2", "2001:db8::2"] {
            // 100 of 200, with a deviation of 7.
            assert!((60..140).contains(&round_trips(to, 200).len()));
        }
        // 64 kbit/s: 20 packets of 1,042 bytes take 2.6 seconds.
        apply(&with("rate: 64kbit"));
        let began = Instant::now();
        sh("ip netns exec a ping -q -i 0.01 -s 1000 -c 20 -w 30 10.0.0.2");
        assert!(began.elapsed().as_secs_f64() > 2.0, "{:?}", began.elapsed());
        destroy("impaired");
    });
}

#[test]
fn what_others_change_is_seen_and_put_right() {
    in_namespaces(|| {
        if !needs(&[Feature::Netem]) {
            return;
        }
        let before = settled_fingerprint();
        let file = with("delay: 10ms, loss: 1%");
        apply(&file);
        for (damage, seen) in [
            ("tc -n a qdisc del dev eth0 root", "+ qdisc netem on eth0"),
            ("tc -n a qdisc change dev eth0 root handle 746f: netem delay 20ms loss 1% limit 8334", "delay: 20ms -> 10ms"),
            ("tc -n a qdisc replace dev eth0 root netem delay 10ms loss 5% limit 8334", "loss: 5% -> 1%"),
            ("tc -n a qdisc replace dev eth0 root pfifo limit 5", "kind: pfifo -> netem"),
            (
                "tc -n a qdisc del dev eth0 root; tc -n a qdisc add dev eth0 root handle 746f: bfifo limit 5000",
                "kind: bfifo -> netem",
            ),
            ("tc -n b qdisc add dev eth0 root netem delay 1s", "- qdisc netem on eth0"),
        ] {
            sh(damage);
            topo(&["plan", "--detailed-exitcode", &file]).exits(2).says(seen);
            apply(&file);
            assert_no_changes(&file);
        }
        // What the lab file has no word for, and does not name, is left alone.
        sh("tc -n b qdisc add dev eth0 root pfifo limit 5");
        assert_no_changes(&file);
        destroy("impaired");
        assert_restored(&before);
    });
}

#[test]
fn a_failed_apply_puts_it_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Netem]) {
            return;
        }
        let refused = "a: { sysctls: { net.ipv4.ip_forward: rubbish } }";
        let text_of = |impair: &str, more: &str| {
            lab(&format!("name: back\nnamespaces:\n  z: {{ interfaces: {{ br0: {{ bridge: {{}}{impair} }} }} }}\n  {more}\n"))
        };
        apply(&text_of(", impair: { delay: 10ms, jitter: 1ms, distribution: normal }", ""));
        let intact = tc("z", "br0");
        for impair in ["", ", impair: { delay: 20ms }", ", impair: { loss: 1% }"] {
            topo(&["apply", &text_of(impair, refused)]).exits(1).says("as it was before");
            assert_eq!(tc("z", "br0"), intact);
        }
        destroy("back");
    });
}

#[test]
fn in_host_only_ones_of_the_lab_are_touched() {
    in_namespaces(|| {
        if !needs(&[Feature::Netem]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up");
        let before = settled_fingerprint();
        let file = |impair: &str| {
            lab(&format!("name: inhost\nnamespaces: {{ host: {{ interfaces: {{ up0: {{ external: true{impair} }} }} }} }}\n"))
        };
        let root = || text("tc", &["qdisc", "show", "dev", "up0", "root"]);
        apply(&file(", impair: { delay: 1ms }"));
        assert!(root().contains("netem 746f:"));
        apply(&file(""));
        assert!(root().contains("noqueue"));
        apply(&file(", impair: { delay: 1ms }"));
        destroy("inhost");
        assert_restored(&before);
        for foreign in ["netem delay 1ms limit 1250", "netem delay 7ms", "pfifo limit 5"] {
            sh(&format!("tc qdisc add dev up0 root {foreign}"));
            let intact = root();
            topo(&["apply", &file(", impair: { delay: 1ms }")]).exits(1).says("a qdisc that topo did not make");
            apply(&file(""));
            destroy("inhost");
            assert_eq!(root(), intact);
            sh("tc qdisc del dev up0 root");
        }
    });
}

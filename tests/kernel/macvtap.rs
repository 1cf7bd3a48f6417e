//! Macvtaps: made, changed, damaged and removed, beside macvlans and away from their parent.

use super::harness::{
    Feature, apply, assert_no_changes, in_namespaces, indices, ip, kernel_at_least, lab, needs, ping_ok, sh, topo,
};
use super::links::{lives_and_dies, options};

fn taps(options: &str) -> String {
    format!(
        "name: mt
namespaces:
  below: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.9/24] }} }} }}
  beyond: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.1/24, \"2001:db8::1/64\"] }} }} }}
  a:
    interfaces:
      t0: {{ macvtap: {{ parent: \"below:eth0\", {options} }}, mac: 02:00:00:00:00:05, addresses: [10.0.0.2/24, \"2001:db8::2/64\"] }}
links: [{{ endpoints: [below:eth0, {{ interface: beyond:eth0, mac: 02:00:00:00:00:01 }}] }}]
"
    )
}

#[test]
fn macvtaps_in_every_mode() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvtap, Feature::Ipv6]) {
            return;
        }
        for mode in ["private", "vepa", "bridge", "passthru", "source"] {
            let yaml = taps(&format!("mode: {mode}"));
            let yaml = if mode == "passthru" { yaml.replace(" mac: 02:00:00:00:00:05,", "") } else { yaml };
            lives_and_dies(&yaml, || {
                let link = ip(&["-n", "a", "link", "show", "t0"])[0].clone();
                assert_eq!((&link["linkinfo"]["info_kind"], &link["txqlen"]), (&"macvtap".into(), &500.into()));
                assert_eq!(options("a", "t0")["mode"], mode);
            });
        }
    });
}

#[test]
fn a_macvtap_changes_in_place() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvtap]) {
            return;
        }
        lives_and_dies(&taps("mode: bridge"), || {
            let born = indices(Some("a"));
            for options in [
                "mode: vepa, bcqueuelen: 50",
                "mode: source, macaddrs: [02:00:00:00:00:01, 02:00:00:00:00:02]",
                "mode: source, macaddrs: [02:00:00:00:00:03, 02:00:00:00:00:01]",
                "mode: private",
            ] {
                let file = lab(&taps(options));
                apply(&file);
                assert_no_changes(&file);
                assert_eq!(indices(Some("a")), born, "{options}");
            }
            let file = lab(&taps("mode: source, macaddrs: [02:00:00:00:00:01]"));
            apply(&file);
            for drift in
                ["type macvtap macaddr flush", "type macvtap macaddr add 02:00:00:00:00:09", "type macvtap mode vepa", "down"]
            {
                sh(&format!("ip -n a link set t0 {drift}"));
                topo(&["plan", "--detailed-exitcode", &file]).exits(2);
                apply(&file);
                assert_no_changes(&file);
                assert_eq!(indices(Some("a")), born, "{drift}");
            }
            let alone = lab(&taps("mode: passthru, nopromisc: true").replace(" mac: 02:00:00:00:00:05,", ""));
            topo(&["plan", &alone]).ok().says("# forces replacement");
            apply(&alone);
            assert_no_changes(&alone);
            assert_eq!(options("a", "t0")["nopromisc"], true);
        });
    });
}

#[test]
fn a_macvtap_shares_a_parent_with_macvlans() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvtap, Feature::Macvlan, Feature::Ipv6]) {
            return;
        }
        let yaml = "name: mt
namespaces:
  a:
    interfaces:
      t0: { macvtap: { parent: eth0, mode: bridge }, addresses: [10.0.0.2/24] }
      m0: { macvlan: { parent: t0, mode: bridge }, addresses: [10.0.1.3/24, \"2001:db8::3/64\"] }
  b: { interfaces: { eth0: { addresses: [10.0.0.1/24, 10.0.1.1/24, \"2001:db8::1/64\"] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            assert_eq!(ip(&["-n", "a", "link", "show", "m0"])[0]["link"], "eth0");
            ping_ok("b", "10.0.1.3");
            ping_ok("b", "2001:db8::3");
            // Until a program opens the device of the tap, the kernel keeps its frames.
            ping_ok("b", "10.0.0.2");
        });
    });
}

#[test]
fn the_limit_of_broadcasts_is_that_of_all_on_the_parent() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvtap, Feature::Macvlan]) || !kernel_at_least(6, 6) {
            return;
        }
        let yaml = "name: mt
namespaces:
  a:
    interfaces:
      t0: { macvtap: { parent: eth0, bclim: -1 } }
      m0: { macvlan: { parent: eth0, bclim: -1 } }
      eth0: {}
links: [{ endpoints: [a:eth0, a:eth1] }]
";
        lives_and_dies(yaml, || {
            let born = indices(Some("a"));
            for changed in [
                yaml.replace(", bclim: -1", ""),
                yaml.replace("-1", "0"),
                yaml.replace("      t0: { macvtap: { parent: eth0, bclim: -1 } }\n", "      t0: { macvlan: { parent: eth0 } }\n")
                    .replace("m0: { macvlan: { parent: eth0, bclim: -1 } }", "x0: { macvtap: { parent: eth0 } }"),
            ] {
                let file = lab(&changed);
                apply(&file);
                assert_no_changes(&file);
                assert!(changed.contains("x0") || indices(Some("a")) == born);
            }
        });
    });
}

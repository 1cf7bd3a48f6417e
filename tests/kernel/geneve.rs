//! Geneves: made, changed, damaged and removed, and what goes through them.

use super::harness::{Feature, apply, assert_no_changes, in_namespaces, indices, ip, lab, needs, ping_fails, ping_ok, sh, topo};
use super::links::{lives_and_dies, options};

/// Two nodes with a geneve between them, over the addresses `PREFIX1` and `PREFIX2`, with these options.
fn tunnel(prefix: &str, length: u8, more: &str) -> String {
    let end = |own: u8, other: u8| {
        format!(
            "{{ interfaces: {{ eth0: {{ addresses: [\"{prefix}{own}/{length}\"] }}, \
             g0: {{ geneve: {{ id: 42, remote: \"{prefix}{other}\"{more} }}, \
             addresses: [10.0.0.{own}/24, \"fd00::{own}/64\"] }} }} }}"
        )
    };
    format!("name: gnv\nnamespaces:\n  a: {}\n  b: {}\nlinks: [{{ endpoints: [a:eth0, b:eth0] }}]\n", end(1, 2), end(2, 1))
}

fn mtu(namespace: &str) -> serde_json::Value {
    ip(&["-n", namespace, "link", "show", "g0"])[0]["mtu"].clone()
}

#[test]
fn a_geneve_over_ipv4() {
    in_namespaces(|| {
        if !needs(&[Feature::Geneve, Feature::Ipv6]) {
            return;
        }
        let yaml = tunnel("192.0.2.", 24, ", udpcsum: true, ttl: 9, tos: 16, df: set");
        lives_and_dies(&yaml, || {
            ping_ok("a", "10.0.0.2");
            ping_ok("b", "fd00::1");
            let geneve = options("a", "g0");
            assert_eq!((&geneve["id"], &geneve["remote"], &geneve["port"]), (&42.into(), &"192.0.2.2".into(), &6081.into()));
            assert_eq!((&geneve["ttl"], &geneve["df"], &geneve["udp_csum"]), (&9.into(), &"set".into(), &true.into()));
            assert_eq!(mtu("a"), 1450);
        });
    });
}

#[test]
fn a_geneve_over_ipv6() {
    in_namespaces(|| {
        if !needs(&[Feature::Geneve, Feature::Ipv6]) {
            return;
        }
        let yaml = tunnel("2001:db8::", 64, ", flowlabel: 77, udp6zerocsumtx: true, udp6zerocsumrx: true, ttl: inherit");
        lives_and_dies(&yaml, || {
            ping_ok("a", "10.0.0.2");
            ping_ok("b", "fd00::1");
            assert_eq!((&options("a", "g0")["remote6"], mtu("a")), (&"2001:db8::2".into(), 1430.into()));
            let strict = lab(&yaml.replace(", udp6zerocsumtx: true, udp6zerocsumrx: true", ""));
            topo(&["plan", &strict]).ok().says("# forces replacement");
            apply(&strict);
            assert_no_changes(&strict);
            ping_ok("a", "10.0.0.2");
        });
    });
}

#[test]
fn a_geneve_changes_in_place() {
    in_namespaces(|| {
        if !needs(&[Feature::Geneve]) {
            return;
        }
        let yaml = tunnel("192.0.2.", 24, "");
        lives_and_dies(&yaml, || {
            let born = indices(Some("a"));
            for more in [", ttl: inherit", ", ttl: 7, tos: 4, df: inherit", ", df: set", ", tos: 1", ""] {
                let file = lab(&tunnel("192.0.2.", 24, more));
                apply(&file);
                assert_no_changes(&file);
                assert_eq!(indices(Some("a")), born, "{more}");
                ping_ok("a", "10.0.0.2");
            }
            // Another end, and its mtu stays although the route to it has another one.
            let elsewhere = lab(&yaml
                .replace("remote: \"192.0.2.2\"", "remote: \"192.0.2.9\"")
                .replace("a:eth0, b:eth0] }", "a:eth0, b:eth0], mtu: 1400 }"));
            topo(&["plan", &elsewhere]).ok().says("remote: 192.0.2.2 -> 192.0.2.9");
            apply(&elsewhere);
            assert_no_changes(&elsewhere);
            assert_eq!((mtu("a"), indices(Some("a"))), (1450.into(), born.clone()));
            ping_fails("a", "10.0.0.2");
            let file = lab(&yaml);
            apply(&file);
            for drift in ["type geneve id 42 remote 192.0.2.7", "type geneve id 42 remote 192.0.2.2 ttl 3", "mtu 1300", "down"] {
                sh(&format!("ip -n a link set g0 {drift}"));
                topo(&["plan", "--detailed-exitcode", &file]).exits(2);
                apply(&file);
                assert_no_changes(&file);
                assert_eq!(indices(Some("a")), born, "{drift}");
            }
            ping_ok("a", "10.0.0.2");
            for other in [
                yaml.replace("id: 42", "id: 43"),
                yaml.replace("id: 42", "id: 42, port: 6082"),
                yaml.replace("id: 42", "id: 42, udpcsum: true"),
            ] {
                let file = lab(&other);
                topo(&["plan", &file]).ok().says("# forces replacement");
                apply(&file);
                assert_no_changes(&file);
                ping_ok("a", "10.0.0.2");
            }
        });
    });
}

#[test]
fn geneves_of_two_networks_are_apart_and_one_is_external() {
    in_namespaces(|| {
        if !needs(&[Feature::Geneve]) {
            return;
        }
        let end = |own: u8, other: u8| {
            format!(
                "{{ interfaces: {{ eth0: {{ addresses: [192.0.2.{own}/24] }}, \
                 g0: {{ geneve: {{ id: 1, remote: 192.0.2.{other} }}, addresses: [10.1.0.{own}/24] }}, \
                 g1: {{ geneve: {{ id: {own}0, remote: 192.0.2.{other} }}, addresses: [10.2.0.{own}/24] }}, \
                 g2: {{ geneve: {{ external: true, port: 6082 }} }} }} }}"
            )
        };
        let yaml = format!(
            "name: gnv\nnamespaces:\n  a: {}\n  b: {}\nlinks: [{{ endpoints: [a:eth0, b:eth0] }}]\n",
            end(1, 2),
            end(2, 1)
        );
        lives_and_dies(&yaml, || {
            ping_ok("a", "10.1.0.2");
            ping_fails("a", "10.2.0.2");
            assert_eq!(options("a", "g2")["external"], true);
        });
    });
}

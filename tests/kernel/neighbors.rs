//! Neighbours and proxies: every option, what the kernel does to them, drift, and whose they are in `host`.

use serde_json::Value;

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, destroy, eventually, in_namespaces, ip, lab, needs, ping_ok,
    settled_fingerprint, sh, text, topo, view,
};
use super::links::lives_and_dies;
use super::lookalike::untouched;

const MAC: &str = "lladdr: 02:00:00:00:00:07";

/// A lab with these neighbours in namespace `a`.
fn with(neighbors: &[String]) -> String {
    changed(neighbors, "addresses: [10.0.0.1/24, \"2001:db8::1/64\"]", "addresses: [10.0.0.2/24]")
}

/// The same with these settings of the two ends.
fn changed(neighbors: &[String], a: &str, b: &str) -> String {
    let a = format!("  a:\n    interfaces: {{ eth0: {{ {a} }} }}\n    neighbors: [{}]\n", neighbors.join(", "));
    let b = format!("  b: {{ interfaces: {{ eth0: {{ {b} }} }} }}\nlinks: [{{ endpoints: [a:eth0, b:eth0] }}]\n");
    lab(&format!("name: neighbors\nnamespaces:\n{a}{b}"))
}

fn entry(to: &str, rest: &str) -> String {
    format!("{{ to: \"{to}\", dev: eth0, {rest} }}")
}

/// One of each sort, of both families.
fn all() -> Vec<String> {
    let sorts = |subnet: &str| {
        let at = |host: u8| format!("{subnet}{host}");
        [
            entry(&at(7), MAC),
            entry(&at(8), &format!("{MAC}, nud: noarp")),
            entry(&at(9), &format!("{MAC}, nud: reachable")),
            entry(&at(12), "managed: true"),
            entry(&at(11), "proxy: true"),
        ]
    };
    sorts("10.0.0.").into_iter().chain(sorts("2001:db8::")).collect()
}

/// What ip-neighbour(8) shows with these options of entries and proxies of both families, proxies of both families twice.
fn shown(options: &[&str]) -> String {
    let asked = [["-4", "nud", "all"].as_slice(), &["-6", "nud", "all"], &["-4", "proxy"], &["-6", "proxy"]];
    let shown = asked.map(|asked| text("ip", &[&asked[..1], options, &["neighbor", "show"], &asked[1..]].concat()));
    shown.concat()
}

/// The neighbours of a namespace that topo made, as words of ip-neighbour(8), sorted. States that follow each other by themselves
/// are one, and what managed entries have found does not matter.
fn neighbors_of(namespace: &str) -> Vec<String> {
    let shown = shown(&["-d", "-n", namespace]);
    let mut lines: Vec<String> = Vec::new();
    for line in shown.lines().filter(|line| line.contains("proto 116") && line.contains(" dev ")) {
        let line = line.replace(" proto 116", "");
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let Some(managed) = words.iter().position(|word| *word == "managed") {
            words.drain(3..managed);
            words.truncate(4);
        }
        let ageing = |word: &str| if ["STALE", "DELAY", "PROBE"].contains(&word) { "REACHABLE" } else { word }.to_owned();
        lines.push(words.into_iter().map(ageing).collect::<Vec<_>>().join(" "));
    }
    lines.sort();
    lines.dedup();
    lines
}

#[test]
fn every_option() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: neighbors
namespaces:
  a:
    interfaces: { eth0: { addresses: [10.0.0.1/24, \"2001:db8::1/64\"] } }
    neighbors:
      - { to: 10.0.0.3, dev: eth0, lladdr: 02:00:00:00:00:03 }
      - { to: 10.0.0.4, dev: eth0, lladdr: 02:00:00:00:00:04, nud: noarp, router: true }
      - { to: 10.0.0.5, dev: eth0, lladdr: 02:00:00:00:00:05, nud: reachable, extern_learn: true }
      - { to: 10.0.0.6, dev: eth0, lladdr: 02:00:00:00:00:06, nud: stale }
      - { to: 10.0.0.7, dev: eth0, managed: true }
      - { to: 10.0.0.8, dev: eth0, proxy: true }
      - { to: \"2001:db8::3\", dev: eth0, lladdr: 02:00:00:00:00:03, nud: permanent, router: true, extern_learn: true }
      - { to: \"2001:db8::4\", dev: eth0, lladdr: 02:00:00:00:00:04, nud: noarp }
      - { to: \"fe80::5\", dev: eth0, lladdr: 02:00:00:00:00:05, nud: reachable, router: true }
      - { to: \"2001:db8::8\", dev: eth0, proxy: true }
      - { to: \"2001:db8::9\", dev: eth0, proxy: true, router: true }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let expected = [
                "10.0.0.3 dev eth0 lladdr 02:00:00:00:00:03 PERMANENT",
                "10.0.0.4 dev eth0 lladdr 02:00:00:00:00:04 router NOARP",
                "10.0.0.5 dev eth0 lladdr 02:00:00:00:00:05 extern_learn REACHABLE",
                "10.0.0.6 dev eth0 lladdr 02:00:00:00:00:06 REACHABLE",
                "10.0.0.7 dev eth0 managed",
                "10.0.0.8 dev eth0 proxy",
                "2001:db8::3 dev eth0 lladdr 02:00:00:00:00:03 router extern_learn PERMANENT",
                "2001:db8::4 dev eth0 lladdr 02:00:00:00:00:04 NOARP",
                "2001:db8::8 dev eth0 proxy",
                "2001:db8::9 dev eth0 router proxy",
                "fe80::5 dev eth0 lladdr 02:00:00:00:00:05 router REACHABLE",
            ];
            let sorted = |line: &str| {
                let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
                words[1..].sort();
                words.join(" ")
            };
            // Versions of ip-neighbour(8) write the flags in different orders.
            let found: Vec<_> = neighbors_of("a").iter().map(|line| sorted(line)).collect();
            assert_eq!(found, expected.map(sorted));
        });
    });
}

#[test]
fn attributes_change_in_place() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let at = |rest: &str| [entry("10.0.0.7", rest), entry("10.0.0.9", "proxy: true")];
        apply(&with(&at(MAC)));
        for rest in [
            "lladdr: 02:00:00:00:00:08",
            "lladdr: 02:00:00:00:00:08, router: true",
            "lladdr: 02:00:00:00:00:08, router: true, extern_learn: true",
            "lladdr: 02:00:00:00:00:08, nud: noarp",
            "lladdr: 02:00:00:00:00:09, nud: stale",
            "managed: true",
            "lladdr: 02:00:00:00:00:09, nud: reachable",
            MAC,
        ] {
            let file = with(&at(rest));
            topo(&["plan", &file]).says("0 to add, 1 to change, 0 to destroy");
            apply(&file);
            assert_no_changes(&file);
        }
        assert_eq!(neighbors_of("a"), ["10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 PERMANENT", "10.0.0.9 dev eth0 proxy"]);
        destroy("neighbors");
        assert_restored(&before);
    });
}

/// What the kernel learns meanwhile is not in the way, and neither drift nor anybody's.
#[test]
fn entries_that_the_kernel_learns_are_replaced_where_the_lab_has_its_own() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let plain = with(&[]);
        apply(&plain);
        ping_ok("a", "10.0.0.2");
        assert!(text("ip", &["-n", "a", "neighbor", "show", "10.0.0.2"]).contains("lladdr"));
        assert_no_changes(&plain);
        let file = with(&[entry("10.0.0.2", MAC)]);
        topo(&["plan", &file]).says("+ neighbor 10.0.0.2 dev eth0");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(neighbors_of("a"), ["10.0.0.2 dev eth0 lladdr 02:00:00:00:00:07 PERMANENT"]);
        apply(&plain);
        ping_ok("a", "10.0.0.2");
        // An entry that ages does so without being drift.
        let mac = ip(&["-n", "b", "link", "show", "eth0"])[0]["address"].as_str().unwrap().to_owned();
        let file = with(&[entry("10.0.0.2", &format!("lladdr: \"{mac}\", nud: stale"))]);
        apply(&file);
        ping_ok("a", "10.0.0.2");
        assert_no_changes(&file);
        sh("ip -n a neighbor change 10.0.0.2 dev eth0 nud probe");
        assert_no_changes(&file);
        destroy("neighbors");
        assert_restored(&before);
    });
}

const DRIFTS: &[&str] = &[
    "ip -n a neighbor del 10.0.0.7 dev eth0",
    "ip -n a neighbor del 10.0.0.8 dev eth0",
    "ip -n a neighbor del 10.0.0.9 dev eth0",
    "ip -n a neighbor del 10.0.0.12 dev eth0",
    "ip -n a neighbor del 2001:db8::7 dev eth0",
    "ip -n a neighbor del 2001:db8::9 dev eth0",
    "ip -n a neighbor del proxy 10.0.0.11 dev eth0",
    "ip -n a neighbor del proxy 2001:db8::11 dev eth0",
    "ip -n a neighbor replace 10.0.0.7 dev eth0 lladdr 02:00:00:00:00:99",
    "ip -n a neighbor replace 10.0.0.9 dev eth0 lladdr 02:00:00:00:00:99 nud reachable",
    "ip -n a neighbor replace 10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 nud noarp",
    "ip -n a neighbor replace 10.0.0.9 dev eth0 lladdr 02:00:00:00:00:07 nud permanent",
    "ip -n a neighbor replace 2001:db8::7 dev eth0 lladdr 02:00:00:00:00:07 router",
    "ip -n a neighbor replace 10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 extern_learn",
    "ip -n a neighbor replace 10.0.0.12 dev eth0 lladdr 02:00:00:00:00:07 nud permanent",
    "ip -n a neighbor replace proxy 2001:db8::11 dev eth0 router",
    "ip -n a neighbor add 10.0.0.99 dev eth0 lladdr 02:00:00:00:00:07",
    "ip -n a neighbor add 2001:db8::99 dev eth0 lladdr 02:00:00:00:00:07 router",
    "ip -n a neighbor add 127.0.0.9 dev lo lladdr 02:00:00:00:00:07",
    "ip -n a neighbor add proxy 10.0.0.99 dev eth0",
    "ip -n a neighbor add proxy 2001:db8::99 dev lo",
    "ip -n a neighbor add 10.0.0.99 dev eth0 lladdr 02:00:00:00:00:07 nud stale protocol 116",
    "ip -n a neighbor flush dev eth0 nud all",
    "ip -n a link set eth0 down",
    "ip -n a link set eth0 address 02:00:00:00:00:55",
    "ip -n a link set eth0 arp off; ip -n a link set eth0 arp on",
    "ip -n a link set eth0 mtu 1000",
    "ip -n a address del 10.0.0.1/24 dev eth0",
    "ip -n a link del eth0",
];

#[test]
fn every_sort_of_drift_is_seen_and_put_right() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let machine = settled_fingerprint();
        let file = changed(
            &all(),
            "mac: 02:00:00:00:00:01, addresses: [10.0.0.1/24, { address: \"2001:db8::1/64\", nodad: true }]",
            "addresses: [10.0.0.2/24]",
        );
        apply(&file);
        let intact = neighbors_of("a");
        assert_eq!(intact.len(), 10, "{intact:#?}");
        for drift in DRIFTS {
            sh(drift);
            assert_eq!(topo(&["plan", "--detailed-exitcode", &file]).status, 2, "`{drift}` goes unnoticed");
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(neighbors_of("a"), intact, "`{drift}` is not put right");
        }
        apply(&with(&[]));
        assert_eq!(neighbors_of("a"), Vec::<String>::new(), "neighbours that the file no longer names go");
        destroy("neighbors");
        assert_restored(&machine);
    });
}

/// Daemons maintain entries of their own.
#[test]
fn entries_of_daemons_are_left_alone() {
    in_namespaces(|| {
        let plain = with(&[]);
        apply(&plain);
        sh("ip -n a neighbor add 10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 extern_learn protocol zebra");
        assert_no_changes(&plain);
        // What the lab declares in its own namespace is the lab's.
        let declared = with(&[entry("10.0.0.7", MAC)]);
        apply(&declared);
        assert_no_changes(&declared);
        destroy("neighbors");
    });
}

/// What the kernel drops along with changes of links is added again in the same apply.
#[test]
fn entries_come_back_after_changes_of_their_link() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let machine = settled_fingerprint();
        let all = all();
        let plain = |a: &str| format!("addresses: [10.0.0.1/24, {{ address: \"2001:db8::1/64\", nodad: true }}]{a}");
        let other = "addresses: [10.0.0.2/24]";
        apply(&changed(&all, &plain(""), other));
        let intact = neighbors_of("a");
        for (a, b) in [
            (plain(", mac: 02:00:00:00:00:01"), other),
            (plain(", mac: 02:00:00:00:00:02, up: false"), other),
            (plain(", mac: 02:00:00:00:00:02"), other),
            (plain(", arp: false"), other),
            (plain(""), other),
            (plain("").replace("10.0.0.1", "10.0.1.1"), other),
            (plain("").replace("10.0.0.1/24, ", ""), other),
        ] {
            let file = changed(&all, &a, b);
            apply(&file);
            assert_eq!(neighbors_of("a"), intact, "{a} / {b}");
            assert_no_changes(&file);
        }
        destroy("neighbors");
        assert_restored(&machine);
    });
}

#[test]
fn neighbours_on_bridges() {
    in_namespaces(|| {
        let machine = settled_fingerprint();
        let with = |ports: &str, mac: &str| {
            lab(&format!(
                "name: bridges
namespaces:
  a:
    interfaces:
      br0: {{ bridge: {{ ports: [{ports}] }}, addresses: [10.1.0.1/24] }}
      br1: {{ bridge: {{}}, addresses: [10.2.0.1/24] }}
      eth0: {{ {mac} }}
    neighbors:
      - {{ to: 10.1.0.7, dev: br0, {MAC} }}
      - {{ to: 10.2.0.7, dev: br1, {MAC}, nud: reachable }}
  b: {{ interfaces: {{ eth0: {{}}, eth1: {{}} }} }}
links: [{{ endpoints: [a:eth0, b:eth0] }}, {{ endpoints: [a:eth1, b:eth1] }}]
"
            ))
        };
        apply(&with("", ""));
        let intact = neighbors_of("a");
        assert_eq!(intact.len(), 2);
        for (ports, mac) in [("eth1", ""), ("eth1", "mac: 02:00:00:00:00:01"), ("", "mac: 02:00:00:00:00:02"), ("eth1", "")] {
            let file = with(ports, mac);
            apply(&file);
            assert_eq!(neighbors_of("a"), intact, "{ports} {mac}");
            assert_no_changes(&file);
        }
        destroy("bridges");
        assert_restored(&machine);
    });
}

/// They outlive their namespace, so that a new one may have those of a namespace that is long gone.
#[test]
fn proxies_without_an_interface_are_left_alone() {
    in_namespaces(|| {
        let plain = with(&[]);
        apply(&plain);
        sh("ip -n a neighbor add proxy 10.0.0.99");
        assert_no_changes(&plain);
        sh("ip -n a neighbor del proxy 10.0.0.99");
        destroy("neighbors");
    });
}

fn in_host(name: &str, neighbors: &str) -> String {
    let interfaces = "interfaces: { up0: { external: true } }";
    lab(&format!("name: {name}\nnamespaces: {{ host: {{ {interfaces}, neighbors: [{neighbors}] }} }}\n"))
}

/// The addresses of neighbours in `host` with the lab's protocol.
fn mine() -> Vec<String> {
    let shown = shown(&["-N"]);
    let lines = shown.lines().filter(|line| line.contains("proto 116") && line.contains(" dev "));
    let mut found: Vec<String> = lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn neighbours_of_the_lab_in_host_are_known_by_their_protocol() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip address add 10.0.0.1/24 dev up0
            ip neighbor add 10.0.0.50 dev up0 lladdr 02:00:00:00:00:50; ip neighbor add proxy 10.0.0.51 dev up0
            ip neighbor add 10.0.0.60 dev up0 lladdr 02:00:00:00:00:60 nud stale");
        let before = settled_fingerprint();
        let entry = |to: &str| format!("{{ to: \"{to}\", dev: up0, {MAC} }}");
        let file = in_host(
            "one",
            &[entry("10.0.0.7"), entry("2001:db8::7"), "{ to: 10.0.0.9, dev: up0, proxy: true }".into()].join(", "),
        );
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(mine(), ["10.0.0.7", "10.0.0.9", "2001:db8::7"]);
        // Another lab has neighbours beside these, one of them where the kernel has learnt an entry.
        let other = in_host("two", &entry("10.0.0.60"));
        apply(&other);
        assert_no_changes(&file);
        assert_no_changes(&other);
        // What the lab no longer declares goes, and what differs is changed.
        let different =
            in_host("one", &format!("{{ to: 10.0.0.7, dev: up0, lladdr: 02:00:00:00:00:08 }}, {}", entry("10.0.0.8")));
        topo(&["plan", &different]).says("lladdr: 02:00:00:00:00:07 -> 02:00:00:00:00:08");
        apply(&different);
        assert_no_changes(&different);
        assert_eq!(mine(), ["10.0.0.60", "10.0.0.7", "10.0.0.8"]);
        sh("ip neighbor del 10.0.0.8 dev up0");
        assert_eq!(topo(&["plan", "--detailed-exitcode", &different]).status, 2);
        apply(&different);
        destroy("two");
        assert_no_changes(&different);
        destroy(&different);
        assert_restored(&before);
        // By name, with the record alone.
        apply(&file);
        destroy("one");
        assert_restored(&before);
    });
}

#[test]
fn foreign_neighbours_are_neither_taken_nor_removed() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up");
        let entry = format!("{{ to: 10.0.0.7, dev: up0, {MAC} }}");
        for (foreign, declared, what) in [
            ("10.0.0.7 dev up0 lladdr 02:00:00:00:00:07", entry.as_str(), "10.0.0.7 dev up0"),
            ("10.0.0.7 dev up0 lladdr 02:00:00:00:00:08", &entry, "10.0.0.7 dev up0"),
            ("10.0.0.7 dev up0 lladdr 02:00:00:00:00:07 protocol 117", &entry, "(protocol 117)"),
            ("proxy 10.0.0.7 dev up0", "{ to: 10.0.0.7, dev: up0, proxy: true }", "proxy 10.0.0.7 dev up0"),
        ] {
            sh(&format!("ip neighbor add {foreign}"));
            untouched(foreign, &in_host("like", declared), &[what, "a neighbor that topo did not make"]);
            sh(&format!("ip neighbor del {foreign}"));
        }
    });
}

#[test]
fn a_failed_apply_puts_neighbours_back() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip address add 10.0.0.1/24 dev up0
            ip neighbor add 10.0.0.50 dev up0 lladdr 02:00:00:00:00:50");
        let before = settled_fingerprint();
        let with = |neighbors: &str, more: &str| {
            let on = |dev: &str| neighbors.replace("DEV", dev);
            lab(&format!(
                "name: back
namespaces:
  host: {{ interfaces: {{ up0: {{ external: true }} }}, neighbors: [{}] }}
  a: {{ interfaces: {{ br0: {{ bridge: {{}} }} }}, neighbors: [{}] }}
  z: {{ {more} }}
",
                on("up0"),
                on("br0")
            ))
        };
        let refused = "sysctls: { net.ipv4.ip_forward: rubbish }";
        let one = format!("{{ to: 10.0.0.7, dev: DEV, {MAC} }}");
        let two = "{ to: 10.0.0.8, dev: DEV, proxy: true }".to_owned();
        topo(&["apply", &with(&one, refused)]).exits(1).says("as it was before");
        assert_restored(&before);
        apply(&with(&format!("{one}, {two}"), ""));
        settled_fingerprint();
        let intact = view();
        for neighbors in [one.clone(), two, one.replace("02:00:00:00:00:07", "02:00:00:00:00:08"), String::new()] {
            topo(&["apply", &with(&neighbors, refused)]).exits(1).says("as it was before");
            assert_view(&intact, &neighbors);
        }
        destroy("back");
        assert_restored(&before);
    });
}

#[test]
fn a_proxy_answers_for_others() {
    in_namespaces(|| {
        let file = lab("name: answers
namespaces:
  a:
    sysctls: { net.ipv4.ip_forward: 1 }
    interfaces: { eth0: { addresses: [10.0.0.1/24] }, br0: { bridge: {}, addresses: [10.9.0.1/32] } }
    routes: [{ to: 10.0.0.9, dev: br0 }]
    neighbors: [{ to: 10.0.0.9, dev: eth0, proxy: true }]
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
");
        apply(&file);
        sh("ip netns exec b ping -c 1 -W 1 10.0.0.9 || true");
        let mac = ip(&["-n", "a", "link", "show", "eth0"])[0]["address"].clone();
        let found = || -> Value { ip(&["-n", "b", "neighbor", "show", "10.0.0.9"])[0]["lladdr"].clone() };
        eventually("the proxy has answered", || found() == mac);
        destroy("answers");
    });
}

#[test]
fn what_a_lost_carrier_costs_is_put_after_the_loss() {
    in_namespaces(|| {
        // The second end is down: the kernel notices up to a second later that the first has no carrier.
        let file = changed(&all(), "addresses: [10.0.0.1/24, \"2001:db8::1/64\"]", "up: false");
        apply(&file);
        let is_noticed =
            || !["UNKNOWN", "UP"].contains(&ip(&["-n", "a", "link", "show", "eth0"])[0]["operstate"].as_str().unwrap());
        eventually("the kernel has noticed that the link has no carrier", is_noticed);
        assert_no_changes(&file);
        destroy("neighbors");
    });
}

use crate::lower::tests::lowered;

/// The warnings about a lab without errors.
fn warnings(yaml: &str) -> Vec<String> {
    lowered(yaml).problems.into_iter().map(|problem| problem.message).collect()
}

#[track_caller]
fn silent(yaml: &str) {
    assert_eq!(warnings(yaml), [""; 0]);
}

/// Two bridges with two veth pairs between them; `b1` and `b2` are their options, `ports` those of the ports of the first.
fn two_bridges(b1: &str, b2: &str, ports: &str) -> String {
    format!(
        "namespaces:
  s1: {{ interfaces: {{ b: {{ bridge: {{ ports: ['p*'] {b1} }} }}, p1: {{ {ports} }}, p2: {{ {ports} }} }} }}
  s2: {{ interfaces: {{ b: {{ bridge: {{ ports: ['p*'] {b2} }} }} }} }}
links: [{{ endpoints: [s1:p1, s2:p1] }}, {{ endpoints: [s1:p2, s2:p2] }}]"
    )
}

#[test]
fn a_loop_is_one_without_a_spanning_tree_on_any_bridge() {
    let warning = "the bridges `s1:b` and `s2:b` are connected in a loop without a spanning tree: broadcasts circulate for ever";
    assert_eq!(warnings(&two_bridges("", "", "")), [warning]);
    silent(&two_bridges(", stp_state: true", ", stp_state: true", ""));
    silent(&two_bridges(", stp_state: true", "", ""));
    silent(&two_bridges("", ", stp_state: true", ""));
}

#[test]
fn a_port_that_does_not_pass_all_frames_closes_no_loop() {
    for option in ["isolated: true", "bcast_flood: false", "locked: true"] {
        silent(&two_bridges("", "", &format!("bridge_port: {{ {option} }}")));
    }
    silent(&two_bridges(", forward_delay: 0s", "", "bridge_port: { state: listening }"));
    silent(&two_bridges("", "", "up: false"));
    silent(&two_bridges(", vlan_filtering: true", "", ""));
    assert_eq!(warnings(&two_bridges("", "", "bridge_port: { learning: false }")).len(), 1);
}

#[test]
fn a_tree_of_bridges_is_no_loop() {
    silent(
        "namespaces:
  s1: { interfaces: { b: { bridge: { ports: ['p*'] } } } }
  s2: { interfaces: { b: { bridge: { ports: ['p*'] } } } }
  s3: { interfaces: { b: { bridge: { ports: ['p*'] } } } }
links: [{ endpoints: [s1:p1, s2:p1] }, { endpoints: [s1:p2, s3:p1] }]",
    );
}

#[test]
fn tags_on_one_trunk_are_separate_wires() {
    let bridges = |ports: &str| {
        let of = |namespace: &str| {
            format!(
                "  {namespace}: {{ interfaces: {{ e.1: {{ vlan: {{ parent: e, id: 1 }} }}, e.2: {{ vlan: {{ parent: e, id: 2 }} }},
    b: {{ bridge: {{ ports: [{ports}] }} }} }} }}\n"
            )
        };
        format!("namespaces:\n{}{}links: [{{ endpoints: [a:e, b:e] }}]", of("a"), of("b"))
    };
    silent(&bridges("e.1"));
    assert_eq!(warnings(&bridges("e.1, e.2")).len(), 1);
}

#[test]
fn what_is_usual_on_separate_links_is_no_warning() {
    silent(
        "namespaces:
  node:
    interfaces:
      c1: { mac: 'ee:ee:ee:ee:ee:ee', addresses: ['fe80::1/64', 169.254.1.1/32] }
      c2: { mac: 'ee:ee:ee:ee:ee:ee', addresses: ['fe80::1/64', 169.254.1.1/32] }
      d1: { dummy: {}, mac: 'ee:ee:ee:ee:ee:ee', addresses: [10.0.0.1/24] }
      d2: { dummy: {}, addresses: [10.0.0.1/24] }
  p1: { interfaces: { e0: { addresses: [10.0.0.1/24] } } }
  p2: { interfaces: { e0: { addresses: [10.0.0.1/24] } } }
links: [{ endpoints: [node:c1, p1:e0] }, { endpoints: [node:c2, p2:e0] }]",
    );
}

#[test]
fn addresses_that_belong_together_may_be_the_same() {
    silent(
        "namespaces:
  sw:
    interfaces:
      b: { bridge: { ports: [p1, p2] }, mac: 02:00:00:00:00:01 }
      p1: { mac: 02:00:00:00:00:01 }
      p2: { mac: 02:00:00:00:00:01 }
  a: { interfaces: { e0.5: { vlan: { parent: e0, id: 5 }, mac: 02:00:00:00:00:02 }, e0: { mac: 02:00:00:00:00:02 } } }
  b: { interfaces: { v: { macvlan: { parent: e0, mode: passthru } }, e0: { mac: 02:00:00:00:00:03 } } }
links: [{ endpoints: [sw:p1, a:e0] }, { endpoints: [sw:p2, b:e0] }]",
    );
}

/// A switch with two stations that have the same address; `bridge` are the options of the bridge, `station` the rest of a station.
fn two_stations(bridge: &str, port: &str, station: &str) -> String {
    format!(
        "namespaces:
  sw: {{ interfaces: {{ b: {{ bridge: {{ ports: ['p*'] {bridge} }} }}, p1: {{ {port} }} }} }}
  a: {{ interfaces: {{ e0: {{ addresses: [10.0.0.1/24] {station} }} }} }}
  b: {{ interfaces: {{ e0: {{ addresses: [10.0.0.1/24] {station} }} }} }}
links: [{{ endpoints: [a:e0, sw:p1] }}, {{ endpoints: [b:e0, sw:p2] }}]"
    )
}

#[test]
fn segments_end_where_frames_do() {
    assert_eq!(warnings(&two_stations("", "", "")), ["`a:e0` and `b:e0` have the same address `10.0.0.1` on one segment"]);
    silent(&two_stations(", vlan_filtering: true", "", ""));
    silent(&two_stations("", "bridge_port: { neigh_suppress: true }", ""));
    silent(&two_stations("", "up: false", ""));
    silent(&two_stations("", "", ", up: false"));
}

#[test]
fn ipvlans_are_on_the_segment_of_their_parent_in_layer_2_alone() {
    let ipvlan = |mode: &str| {
        format!(
            "namespaces:
  a: {{ interfaces: {{ e0: {{ addresses: [10.0.0.1/24] }} }} }}
  b: {{ interfaces: {{ i: {{ ipvlan: {{ parent: e0, mode: {mode} }}, addresses: [10.0.0.1/24] }} }} }}
links: [{{ endpoints: [a:e0, b:e0] }}]"
        )
    };
    assert_eq!(warnings(&ipvlan("l2")).len(), 1);
    silent(&ipvlan("l3"));
}

#[test]
fn a_tag_that_a_port_takes_off_does_not_pass_its_bridge() {
    silent(
        "namespaces:
  sw: { interfaces: { b: { bridge: { ports: [p1, p2] } }, p1.5: { vlan: { parent: p1, id: 5 } } } }
  a: { interfaces: { e0.5: { vlan: { parent: e0, id: 5 }, addresses: [10.0.0.1/24] } } }
  b: { interfaces: { e0.5: { vlan: { parent: e0, id: 5 }, addresses: [10.0.0.1/24] } } }
links: [{ endpoints: [a:e0, sw:p1] }, { endpoints: [b:e0, sw:p2] }]",
    );
}

#[test]
fn tunnels_whose_ends_are_clear_join_segments() {
    let tunnel = |id: u32, remote: &str| {
        format!(
            "namespaces:
  a: {{ interfaces: {{ e0: {{ addresses: [10.0.0.1/24] }}, v: {{ vxlan: {{ id: 5, remote: 10.0.0.2 }}, addresses: [10.5.0.1/24] }} }} }}
  b: {{ interfaces: {{ e0: {{ addresses: [10.0.0.2/24] }}, v: {{ vxlan: {{ id: {id}, remote: {remote} }}, addresses: [10.5.0.1/24] }} }} }}
links: [{{ endpoints: [a:e0, b:e0] }}]"
        )
    };
    assert_eq!(warnings(&tunnel(5, "10.0.0.1")), ["`a:v` and `b:v` have the same address `10.5.0.1` on one segment"]);
    silent(&tunnel(6, "10.0.0.1"));
    silent(&tunnel(5, "10.0.0.9"));
}

/// Stations on two connected bridges.
fn stations(number: u32) -> String {
    let mut text =
        "namespaces:\n  sw: { interfaces: { b1: { bridge: { ports: ['p0*', t1] } }, b2: { bridge: { ports: ['p1*', t2] } } } }\n"
            .to_owned();
    for n in 0..number {
        text += &format!("  n{n}: {{ interfaces: {{ e: {{ addresses: [10.0.{}.{}/16] }} }} }}\n", n / 250, n % 250 + 1);
    }
    text += "links:\n  - { endpoints: [sw:t1, sw:t2] }\n";
    (0..number).fold(text, |text, n| text + &format!("  - {{ endpoints: [n{n}:e, sw:p{}-{n}] }}\n", n % 2))
}

#[test]
fn a_table_of_neighbours_has_a_limit() {
    silent(&stations(1025));
    let warning = "`n0` may have 1025 IPv4 neighbours, as 1025 other namespaces may have, but the neighbour table of the machine holds 1024";
    assert_eq!(warnings(&stations(1026)), [warning]);
}

#[test]
fn work_grows_with_the_file() {
    let bridges: String = (0..500).map(|n| format!("b{n}: {{ bridge: {{ ports: ['x{n}-*'] }} }}, ")).collect();
    let ends: String = (0..499).map(|n| format!("{{ endpoints: [s:x{n}-a, s:x{}-b] }}, ", n + 1)).collect();
    let twice: String = (0..499).map(|n| format!("{{ endpoints: [s:x{n}-c, s:x{}-d] }}, ", n + 1)).collect();
    let yaml = format!("namespaces: {{ s: {{ interfaces: {{ {bridges} }} }} }}\nlinks: [{ends} {twice}]");
    assert_eq!(warnings(&yaml).len(), 1);
}

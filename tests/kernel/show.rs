//! `topo show`, `topo diff` and `topo list` beside what the kernel has.

use super::harness::{
    Feature, User, apply, assert_no_changes, assert_view, destroy, example, in_namespaces, lab, needs, needs_programs,
    settled_view, sh, topo, with_users,
};

const PAIR: &str = "name: pair\n\
    namespaces:\n\
    \x20 a:\n\
    \x20   interfaces:\n\
    \x20     eth0:\n\
    \x20       addresses: [10.0.0.1/24]\n\
    \x20       mac: 02:00:00:00:00:0a\n\
    \x20   routes:\n\
    \x20     - { to: default, via: 10.0.0.2 }\n\
    \x20   sysctls:\n\
    \x20     net.ipv4.ip_forward: 1\n\
    \x20 b:\n\
    \x20   interfaces:\n\
    \x20     eth0:\n\
    \x20       addresses: [10.0.0.2/24]\n\
    links:\n\
    \x20 - endpoints: [a:eth0, b:eth0]\n";

/// Applies a lab; what is shown of it plans to no change, and makes the same network once more.
fn is_recreated(file: &str, name: &str) {
    apply(file);
    let before = settled_view();
    for argument in [file, name] {
        let shown = topo(&["show", argument]).ok();
        assert_eq!(shown.stderr, "", "{}", shown.stdout);
        let copy = lab(&shown.stdout);
        assert_no_changes(&copy);
        assert_eq!(topo(&["diff", "--exit-code", &copy]).ok().stdout, "");
        is_valid(&topo(&["show", argument, "--json"]).ok().stdout, "show");
        destroy(name);
        apply(&copy);
        assert_no_changes(file);
        assert_view(&before, &shown.stdout);
    }
    destroy(name);
}

/// Insists that JSON is what its schema says.
#[track_caller]
fn is_valid(json: &str, schema: &str) {
    let path = format!("{}/schemas/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value = serde_json::from_str(json).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}\n{json}");
}

/// A test for each example, with what the kernel needs for it.
macro_rules! examples {
    ($($test:ident: $name:literal [$($feature:ident),*])*) => {
        $(
            #[test]
            fn $test() {
                in_namespaces(|| {
                    if needs(&[$(Feature::$feature),*]) {
                        is_recreated(&example($name), $name);
                    }
                });
            }
        )*
    };
}

examples! {
    blog_is_recreated: "blog" [Bridge]
    bridge_ports_are_recreated: "bridge-ports" [Bridge, Ipv6]
    dual_stack_is_recreated: "dual-stack" [Ipv6]
    geneve_is_recreated: "geneve" [Geneve, Bridge, Ipv6]
    impaired_wan_is_recreated: "impaired-wan" [Netem, Ipv6]
    ipvlan_is_recreated: "ipvlan" [Ipvlan, Ipv6]
    leaf_spine_is_recreated: "leaf-spine" [Multipath]
    macvlan_is_recreated: "macvlan" [Macvlan]
    namespaces_are_recreated: "namespaces" [Ipv6]
    neighbors_are_recreated: "neighbors" [Ipv6]
    policy_routing_is_recreated: "policy-routing" [Ipv6]
    quickstart_is_recreated: "quickstart" []
    router_is_recreated: "router" [Bridge]
    star_100_is_recreated: "star-100" [Bridge]
    vlan_trunk_is_recreated: "vlan-trunk" [BridgeVlanFiltering, Vlan, Ipv6]
    vrf_is_recreated: "vrf" [Vrf, Ipv6]
}

#[test]
fn web_is_recreated() {
    in_namespaces(|| {
        if needs(&[Feature::Ipv6]) && needs_programs(&["python3"]) {
            is_recreated(&example("web"), "web");
        }
    });
}

#[test]
fn what_a_file_would_be_refused_for_is_left_out() {
    in_namespaces(|| {
        let file = lab(PAIR);
        apply(&file);
        sh(
            "ip -n b address add 192.0.2.9/24 dev eth0 valid_lft 1000 preferred_lft 1000; ip -n b route add default via 192.0.2.1",
        );
        let shown = topo(&["show", "pair"]).ok().says("is left out: gateway `192.0.2.1` is not reachable");
        assert_eq!(shown.stdout.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>(), PAIR);
        topo(&["validate", &lab(&shown.stdout)]).ok();
    });
}

#[test]
fn the_shown_lab_is_the_file_that_made_it() {
    in_namespaces(|| {
        let file = lab(PAIR);
        apply(&file);
        for argument in [&file, "pair"] {
            assert_eq!(topo(&["show", argument]).ok().stdout, PAIR);
        }
        let report: serde_json::Value = serde_json::from_str(&topo(&["show", "pair", "--json"]).ok().stdout).unwrap();
        assert_eq!(
            (&report["lab"], &report["sandbox"], &report["omitted"]),
            (&"pair".into(), &().into(), &serde_json::json!([]))
        );
        assert_eq!(report["file"]["namespaces"]["a"]["sysctls"], serde_json::json!({ "net.ipv4.ip_forward": 1 }));
        destroy("pair");
        topo(&["show", "pair"]).exits(1).says("there is no lab `pair`");
    });
}

#[test]
fn a_table_has_the_links_with_their_states() {
    in_namespaces(|| {
        apply(&lab(PAIR));
        sh("ip -n b link set eth0 down");
        assert_eq!(
            topo(&["show", "pair", "--brief"]).ok().stdout,
            "NAMESPACE  INTERFACE  KIND  STATE       CONNECTED  ADDRESSES\n\
             a          eth0       veth  no-carrier  b:eth0     10.0.0.1/24\n\
             b          eth0       veth  down        a:eth0     10.0.0.2/24\n"
        );
    });
}

#[test]
fn what_others_changed_is_shown_and_differs_from_the_file() {
    in_namespaces(|| {
        let file = lab(PAIR);
        apply(&file);
        assert_eq!(topo(&["diff", "--exit-code", &file]).ok().stdout, "");
        sh("ip -n a link set eth0 mtu 1400; ip -n b address add 10.9.9.9/24 dev eth0");
        let outcome = topo(&["diff", "--exit-code", &file]).exits(2);
        for line in
            ["-        mtu: 1400\n", "-        addresses: [10.0.0.2/24, 10.9.9.9/24]\n", "+        addresses: [10.0.0.2/24]\n"]
        {
            assert!(outcome.stdout.contains(line), "{}", outcome.stdout);
        }
        topo(&["diff", &file]).ok();
        assert!(!outcome.stdout.contains('\u{1b}'));
        topo(&["diff", &file, "--color=always"]).ok().says("\u{1b}[");
        let shown = topo(&["show", &file]).ok().says("mtu: 1400").says("10.9.9.9/24");
        assert_no_changes(&lab(&shown.stdout));
        apply(&file);
        assert_eq!(topo(&["diff", "--exit-code", &file]).ok().stdout, "");
    });
}

#[test]
fn what_no_file_can_say_is_a_comment_and_a_warning() {
    in_namespaces(|| {
        apply(&lab(PAIR));
        sh("ip netns add other; ip -n a link add x0 type veth peer name x0 netns other; ip -n a address add 10.7.0.1/24 dev x0");
        let shown = topo(&["show", "pair"]).ok();
        let line = "`a:x0` is left out: its other end is not in the lab";
        assert_eq!(shown.stdout, format!("# {line}\n{PAIR}"));
        assert_eq!(shown.stderr, format!("warning: {line}\n"));
        let report: serde_json::Value = serde_json::from_str(&topo(&["show", "pair", "--json"]).ok().stdout).unwrap();
        assert_eq!(report["omitted"][0]["what"], "a:x0");
    });
}

#[test]
fn a_saved_plan_is_shown_as_it_was_planned() {
    in_namespaces(|| {
        let (file, plan) = (lab(PAIR), lab(""));
        for option in [None, Some("--json"), Some("--color=always")] {
            let planned = topo(&[&["plan", &file, "--out", &plan], option.as_slice()].concat()).ok();
            let shown = topo(&[&["show", &plan], option.as_slice()].concat()).ok();
            assert_eq!(shown.stdout, planned.stdout);
        }
        topo(&["show", &plan, "--brief"]).exits(1).says("a saved plan has no table of links");
    });
}

#[test]
fn what_a_lab_changes_of_host_is_shown() {
    in_namespaces(|| {
        sh("ip link add eth0 type veth peer name far; ip link set eth0 up");
        let text = "name: used\n\
            namespaces:\n\
            \x20 host:\n\
            \x20   interfaces:\n\
            \x20     eth0:\n\
            \x20       external: true\n\
            \x20       addresses: [192.0.2.1/24]\n\
            \x20       mtu: 1400\n\
            \x20   routes:\n\
            \x20     - { to: 198.51.100.0/24, via: 192.0.2.2 }\n\
            \x20   sysctls:\n\
            \x20     net.ipv4.ip_forward: 1\n";
        let file = lab(text);
        apply(&file);
        for argument in [&file, "used"] {
            let shown = topo(&["show", argument]).ok();
            assert_eq!(shown.stdout, text);
            assert_no_changes(&lab(&shown.stdout));
        }
        destroy("used");
    });
}

#[test]
fn a_list_counts_the_links_and_tells_the_age() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let json = user.topo(&["list", "--json"]).ok().stdout;
        is_valid(&json, "list");
        let list: serde_json::Value = serde_json::from_str(&json).unwrap();
        let pair = &list["labs"][0];
        assert_eq!(
            (&pair["link_count"], &pair["namespaces"], &pair["links"]),
            (&2.into(), &serde_json::json!(["a", "b"]), &serde_json::json!([]))
        );
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let created = pair["created"].as_u64().unwrap();
        assert!((now - 100..=now).contains(&created), "{json}");
        assert!(pair["age_seconds"].as_u64().unwrap() < 100, "{json}");
        let table = user.topo(&["list"]).ok().stdout;
        let rows: Vec<Vec<_>> = table.lines().take(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["LAB", "SANDBOX", "NAMESPACES", "LINKS", "IN", "HOST", "AGE"]);
        assert_eq!(rows[1][..5], ["pair", "default", "2", "2", "0"]);
        assert_eq!(user.topo(&["show", "pair"]).ok().stdout, PAIR);
        user.topo(&["exec", "a", "--", "ip", "link", "set", "eth0", "mtu", "1400"]).ok();
        user.topo(&["diff", "--exit-code", &file]).exits(2).says("-        mtu: 1400");
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}

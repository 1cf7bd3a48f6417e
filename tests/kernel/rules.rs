//! Rules of policy routing: every selector and action, their order, drift, and whose they are in `host`.

use serde_json::Value;

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, destroy, in_namespaces, ip, lab, needs, settled_fingerprint, sh, text, topo,
    traced, view,
};
use super::links::lives_and_dies;
use super::lookalike::untouched;

/// A lab with these rules in namespace `a`.
fn with(rules: &[&str]) -> String {
    let interfaces = "    interfaces: { eth0: { addresses: [10.0.0.1/24, 192.0.2.1/24] } }\n";
    let others = "  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }\nlinks: [{ endpoints: [a:eth0, b:eth0] }]\n";
    lab(&format!("name: rules\nnamespaces:\n  a:\n{interfaces}    rules: [{}]\n{others}", rules.join(", ")))
}

/// The rules of a family in namespace `a` without the kernel's own, as ip-rule(8) writes them, without their protocol.
fn rules_of_a(family: &str) -> Vec<String> {
    let shown = text("ip", &["-n", "a", family, "rule"]);
    let own = |line: &&str| !["0:", "32766:", "32767:"].contains(&line.split_whitespace().next().unwrap_or_default());
    let words = |line: &str| line.replace(" proto boot", "").split_whitespace().collect::<Vec<_>>().join(" ");
    shown.lines().filter(own).map(words).collect()
}

fn rules_of_host() -> Vec<Value> {
    ip(&["-N", "rule"]).as_array().unwrap().clone()
}

#[test]
fn every_selector_and_action() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: rules
namespaces:
  a:
    interfaces: { eth0: { addresses: [10.0.0.1/24] } }
    rules:
      - { from: 10.0.0.0/24, to: 192.0.2.1, table: 100 }
      - { table: 101 }
      - { to: \"2001:db8::/32\", table: 102 }
      - { priority: 5, not: true, from: 10.1.0.0/16, table: local }
      - { priority: 6, fwmark: 7, table: 7 }
      - { priority: 7, fwmark: 0x10/0xf0, table: 7 }
      - { priority: 8, fwmark: 0/0xf00, table: 7 }
      - { priority: 9, iif: eth0, oif: lo, table: 7 }
      - { priority: 10, tos: 0x10, table: 7 }
      - { priority: 11, ipproto: tcp, sport: 1000-2000, dport: 80, table: 7 }
      - { priority: 12, uidrange: 0, table: 7 }
      - { priority: 13, tun_id: 77, table: 7 }
      - { priority: 14, l3mdev: true }
      - { priority: 15, table: 4000000000, suppress_prefixlength: 8, suppress_ifgroup: 9 }
      - { priority: 16, goto: 32766 }
      - { priority: 17, type: nop }
      - { priority: 18, from: 10.2.0.0/16, type: blackhole }
      - { priority: 19, from: 10.3.0.0/16, type: unreachable }
      - { priority: 20, from: 10.4.0.0/16, type: prohibit }
      - { priority: 21, l3mdev: true, type: unreachable }
      - { priority: 5, family: inet6, tos: 0xb8, ipproto: icmpv6, type: prohibit }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let expected = [
                "5: not from 10.1.0.0/16 lookup local",
                "6: from all fwmark 0x7 lookup 7",
                "7: from all fwmark 0x10/0xf0 lookup 7",
                "8: from all fwmark 0/0xf00 lookup 7",
                "9: from all iif eth0 oif lo lookup 7",
                "10: from all tos 0x10 lookup 7",
                "11: from all ipproto tcp sport 1000-2000 dport 80 lookup 7",
                "12: from all uidrange 0-0 lookup 7",
                "13: from all tun_id 77 lookup 7",
                "14: from all lookup [l3mdev-table]",
                "15: from all lookup 4000000000 suppress_prefixlength 8 suppress_ifgroup 9",
                "16: from all goto 32766",
                "17: from all nop",
                "18: from 10.2.0.0/16 blackhole",
                "19: from 10.3.0.0/16 unreachable",
                "20: from 10.4.0.0/16 prohibit",
                "21: from all l3mdev unreachable",
                "10000: from 10.0.0.0/24 to 192.0.2.1 lookup 100",
                "10001: from all lookup 101",
            ];
            let found = rules_of_a("-4");
            let numbers = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
            };
            assert_eq!(numbers(&found), numbers(&expected.map(str::to_owned)), "{found:#?}");
            // Versions of ip-rule(8) write the parts in different orders.
            for (found, expected) in found.iter().zip(expected) {
                let mut missing = expected.split_whitespace().filter(|word| !found.contains(*word));
                assert_eq!(missing.next(), None, "{found} is expected to be {expected}");
            }
            let six = rules_of_a("-6");
            assert_eq!(six.len(), 2, "{six:?}");
            assert!(six[0].starts_with("5:") && six[0].contains("prohibit") && six[0].contains("icmp"), "{six:?}");
            assert_eq!(six[1], "10000: from all to 2001:db8::/32 lookup 102");
        });
    });
}

/// The kernel would accept a second one.
#[test]
fn a_rule_like_one_of_the_kernel_is_there_once() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let before = settled_fingerprint();
        let rules = |family: &str| ip(&["-n", "a", family, "rule"]).as_array().map_or(0, Vec::len);
        let own = "{ from: 10.1.0.0/16, table: 7 }";
        apply(&with(&[own]));
        let born = [rules("-4"), rules("-6")];
        destroy("rules");
        let file = with(&[own, "{ priority: 0, table: local }", "{ priority: 32766, table: main, family: inet6 }"]);
        apply(&file);
        assert_eq!([rules("-4"), rules("-6")], born);
        assert_no_changes(&file);
        sh("ip -n a -6 rule del pref 32766");
        topo(&["plan", &file]).ok().says("+ rule 32766");
        apply(&file);
        assert_no_changes(&file);
        // Who no longer declares it does not take it away.
        apply(&with(&[own]));
        assert_eq!([rules("-4"), rules("-6")], born);
        destroy("rules");
        assert_restored(&before);
    });
}

#[test]
fn packets_take_the_table_of_their_rule() {
    in_namespaces(|| {
        let file = lab("name: chosen
namespaces:
  a:
    interfaces: { eth0: { addresses: [10.0.0.1/24, 10.0.0.7/24] } }
    rules:
      - { fwmark: 0x10/0xf0, table: 2 }
      - { from: 10.0.0.7, type: prohibit }
      - { ipproto: udp, dport: 53, table: 3 }
    routes:
      - { to: default, via: 10.0.0.2 }
      - { to: default, via: 10.0.0.3, table: 2 }
      - { to: default, via: 10.0.0.4, table: 3 }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
");
        apply(&file);
        let gateway = |flow: &[&str]| {
            let found = ip(&[&["-n", "a", "route", "get", "198.51.100.1"], flow].concat());
            found[0]["gateway"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(gateway(&[]), "10.0.0.2");
        assert_eq!(gateway(&["mark", "0x1f"]), "10.0.0.3");
        assert_eq!(gateway(&["ipproto", "udp", "dport", "53"]), "10.0.0.4");
        sh("ip -n a route get 198.51.100.1 from 10.0.0.7 2>&1 | grep -q 'Permission denied'");
        destroy("chosen");
    });
}

#[test]
fn the_new_rule_is_there_before_the_old_one_goes() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        apply(&with(&["{ priority: 7, from: 10.1.0.0/16, table: 1 }", "{ from: 10.2.0.0/16, table: 2 }"]));
        for rules in [
            ["{ priority: 7, from: 10.1.0.0/16, table: 3 }", "{ from: 10.2.0.0/16, table: 2 }"].as_slice(),
            &["{ priority: 7, from: 10.1.0.0/17, table: 3 }", "{ from: 10.2.0.0/16, table: 2 }"],
            &["{ priority: 7, not: true, from: 10.1.0.0/17, table: 3 }", "{ from: 10.2.0.0/16, table: 2 }"],
            &["{ priority: 7, from: 10.1.0.0/17, goto: 10000 }", "{ from: 10.2.0.0/16, table: 2 }"],
            &["{ priority: 7, from: 10.1.0.0/17, goto: 32766 }", "{ from: 10.2.0.0/16, table: 2 }"],
            &["{ priority: 7, table: 3 }", "{ from: 10.3.0.0/16, table: 3 }", "{ from: 10.2.0.0/16, table: 2 }"],
            &["{ priority: 7, from: 10.1.0.0/16, table: 3 }", "{ from: 10.2.0.0/16, table: 2 }"],
        ] {
            let file = with(rules);
            let trace = traced(&["-v", "-s", "4096", "-e", "trace=sendto,sendmsg,sendmmsg"], &["apply", &file]);
            // By name, or by number where strace does not know the socket.
            let messages = |name: &str, number: &str| {
                let mut found: Vec<_> = trace.match_indices(&format!("nlmsg_type={name}")).map(|(at, _)| at).collect();
                found.extend(trace.match_indices(&format!("nlmsg_type={number} ")).map(|(at, _)| at));
                found
            };
            let last_new = messages("RTM_NEWRULE", "0x20").into_iter().max().expect("a rule is added");
            let first_gone = messages("RTM_DELRULE", "0x21").into_iter().min().expect("a rule is removed");
            assert!(last_new < first_gone, "{rules:?}\n{trace}");
            assert_no_changes(&file);
        }
        destroy("rules");
        assert_restored(&before);
    });
}

#[test]
fn rules_of_one_priority_keep_the_order_of_the_file() {
    in_namespaces(|| {
        let rule = |number: u8| format!("{{ priority: 7, from: 10.{number}.0.0/16, table: 5 }}");
        let general = "{ priority: 7, table: 5 }".to_owned();
        let shown = |rules: &[&String]| -> Vec<String> {
            let word = |rule: &str, key: &str| Some(rule.split_once(key)?.1.split([',', ' ']).next()?.to_owned());
            let from = |rule: &str| word(rule, "from: ").unwrap_or_else(|| "all".to_owned());
            let line = |rule: &&String| format!("7: from {} lookup {}", from(rule), word(rule, "table: ").unwrap());
            rules.iter().map(line).collect()
        };
        let [one, two, three] = [rule(1), rule(2), rule(3)];
        let altered = two.replace("table: 5", "table: 6");
        for rules in [
            [&one, &two, &three].as_slice(),
            &[&three, &two, &one],
            &[&two, &one],
            &[&two, &general, &one],
            &[&two, &one],
            &[&one, &general],
            &[&two, &general],
            &[&altered, &general],
            &[&one, &two, &general],
            &[&one, &two],
            &[&general, &one, &two],
            &[&general],
            &[&one],
        ] {
            let file = with(&rules.iter().map(|rule| rule.as_str()).collect::<Vec<_>>());
            apply(&file);
            assert_eq!(rules_of_a("-4"), shown(rules));
            assert_no_changes(&file);
        }
        destroy("rules");
    });
}

const DRIFTS: &[&str] = &[
    "ip -n a rule del pref 10000",
    "ip -n a rule del pref 7 && ip -n a rule add pref 7 from 10.1.0.0/16 table 9",
    "ip -n a rule add pref 7 from 10.1.0.0/16 table 9",
    "ip -n a rule del pref 7 from 10.1.0.0/16 && ip -n a rule add pref 7 from 10.1.0.0/16 table 1",
    "ip -n a rule add pref 6 blackhole",
    "ip -n a rule add from 192.0.2.0/24 table 9",
    "ip -n a rule add pref 9 realms 4/5 table 9",
    "ip -n a rule add not pref 9 from 10.1.0.0/16 iif nowhere oif nowhere fwmark 1/3 tos 0x10 ipproto tcp sport 1-2 dport 3 table 9",
    "ip -n a rule add pref 9 lookup main suppress_prefixlength 0 suppress_ifgroup 3",
    "ip -n a rule add pref 9 goto 10",
    "ip -n a rule add pref 9 goto 10000",
    "ip -n a rule add pref 9 protocol static table 9",
    "ip -n a -6 rule add pref 9 table 9",
    "ip -n a -6 rule del pref 10000",
    "ip -n a rule flush && ip -n a rule add pref 32766 table main && ip -n a rule add pref 32767 table default",
];

#[test]
fn every_sort_of_drift_is_seen_and_put_right() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let machine = settled_fingerprint();
        let file = with(&[
            "{ priority: 7, from: 10.1.0.0/16, table: 1 }",
            "{ priority: 7, from: 10.2.0.0/16, table: 1 }",
            "{ fwmark: 5, table: 1 }",
            "{ family: inet6, table: 1 }",
        ]);
        apply(&file);
        let rules = || (rules_of_a("-4"), rules_of_a("-6"));
        let intact = rules();
        for drift in DRIFTS {
            sh(drift);
            assert_eq!(topo(&["plan", "--detailed-exitcode", &file]).status, 2, "`{drift}` goes unnoticed");
            apply(&file);
            assert_no_changes(&file);
            assert_eq!(rules(), intact, "`{drift}` is not put right");
        }
        apply(&with(&[]));
        assert_eq!(rules(), (Vec::new(), Vec::new()), "rules that the file no longer names go");
        destroy("rules");
        assert_restored(&machine);
    });
}

/// Kernels and daemons have rules of their own.
#[test]
fn the_rules_of_the_kernel_are_its_own_unless_the_file_names_them() {
    in_namespaces(|| {
        let plain = with(&[]);
        apply(&plain);
        // Who knows why: it is neither put back nor removed.
        for change in ["del pref 32767", "add pref 32767 table default", "add pref 9 protocol zebra table 9"] {
            sh(&format!("ip -n a rule {change}"));
            assert_no_changes(&plain);
        }
        let named = with(&["{ priority: 0, table: local }", "{ priority: 32767, table: default }"]);
        assert_no_changes(&named);
        sh("ip -n a rule del pref 32767");
        topo(&["plan", &named]).says("+ rule 32767 from all table 253");
        apply(&named);
        assert_no_changes(&named);
        assert_no_changes(&plain);
        // What the file names is the lab's, whoever added it.
        assert_no_changes(&with(&["{ priority: 9, table: 9 }"]));
        destroy("rules");
    });
}

#[test]
fn a_rule_keeps_the_name_of_an_interface_that_comes_and_goes() {
    in_namespaces(|| {
        let file = with(&["{ priority: 7, iif: eth0, table: 1 }", "{ priority: 8, oif: eth0, table: 1 }"]);
        apply(&file);
        sh("ip -n a link del eth0");
        let plan = topo(&["plan", &file]);
        assert!(!plan.stdout.contains(" rule "), "{}", plan.stdout);
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(rules_of_a("-4"), ["7: from all iif eth0 lookup 1", "8: from all oif eth0 lookup 1"]);
        destroy("rules");
    });
}

fn in_host(name: &str, rules: &str) -> String {
    lab(&format!("name: {name}\nnamespaces: {{ host: {{ rules: [{rules}] }} }}\n"))
}

#[test]
fn rules_of_the_lab_in_host_are_known_by_their_protocol() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        sh("ip rule add pref 50 from 192.0.2.0/24 table 50; ip rule add pref 100 from 10.9.0.0/16 table 9
            ip rule add pref 70 protocol 116 table 70");
        let before = settled_fingerprint();
        let six = "{ priority: 100, family: inet6, iif: nowhere, table: 5 }";
        let file = in_host("one", &format!("{{ priority: 100, from: 10.1.0.0/16, table: 5 }}, {six}"));
        apply(&file);
        assert_no_changes(&file);
        let mine = |rules: Vec<Value>| -> Vec<u64> {
            let of_lab = rules.into_iter().filter(|rule| rule["protocol"] == "116" && rule["priority"] != 70);
            of_lab.filter_map(|rule| rule["priority"].as_u64()).collect()
        };
        assert_eq!(mine(rules_of_host()), [100]);
        // Another lab has rules beside these.
        let other = in_host("two", "{ priority: 100, from: 10.2.0.0/16, table: 5 }");
        apply(&other);
        assert_no_changes(&file);
        assert_no_changes(&other);
        // What the lab no longer declares goes, and so does what is changed.
        let changed =
            in_host("one", &format!("{{ priority: 100, from: 10.1.0.0/16, table: 6 }}, {{ priority: 101, table: 5 }}, {six}"));
        topo(&["plan", &changed]).says("table: 5 -> 6");
        apply(&changed);
        assert_no_changes(&changed);
        assert_eq!(mine(rules_of_host()), [100, 100, 101]);
        sh("ip rule del pref 101");
        assert_eq!(topo(&["plan", "--detailed-exitcode", &changed]).status, 2);
        apply(&changed);
        destroy("two");
        assert_no_changes(&changed);
        destroy(&changed);
        assert_restored(&before);
        // By name, with the record alone.
        apply(&file);
        destroy("one");
        assert_restored(&before);
    });
}

#[test]
fn foreign_rules_are_neither_taken_nor_removed() {
    in_namespaces(|| {
        for (foreign, declared, what) in [
            ("pref 100 from 10.1.0.0/16 table 5", "{ priority: 100, from: 10.1.0.0/16, table: 5 }", "100 from 10.1.0.0/16"),
            ("pref 100 from 10.1.0.0/16 table 6", "{ priority: 100, from: 10.1.0.0/16, table: 5 }", "100 from 10.1.0.0/16"),
            ("pref 100 protocol 117 table 5", "{ priority: 100, table: 5 }", "(protocol 117)"),
            ("pref 99 nop", "{ priority: 0, table: local }", "0 from all"),
        ] {
            sh(&format!("ip rule add {foreign}"));
            untouched(foreign, &in_host("like", declared), &[what, "a rule that topo did not make"]);
            sh(&format!("ip rule del {foreign}"));
        }
    });
}

/// `--adopt` takes over links and their addresses.
#[test]
fn a_foreign_rule_cannot_be_adopted() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; ip rule add pref 100 iif up0 table 5");
        let before = settled_fingerprint();
        let file = lab("name: adopt
namespaces:
  host:
    interfaces: { up0: {}, up1: {} }
    rules: [{ priority: 100, iif: up0, table: 5 }]
links: [{ endpoints: [host:up0, host:up1] }]
");
        let adopting = ["apply", "--adopt", "host:up0", "--adopt", "host:up1", &file];
        topo(&adopting).exits(1).says("rule").says("100 iif up0");
        assert_restored(&before);
        sh("ip rule del pref 100");
        topo(&adopting).ok();
        assert_no_changes(&file);
        destroy("adopt");
    });
}

#[test]
fn a_failed_apply_puts_rules_back() {
    in_namespaces(|| {
        sh("ip rule add pref 50 table 50");
        let before = settled_fingerprint();
        let with = |rules: &str, more: &str| {
            lab(&format!(
                "name: back\nnamespaces:\n  host: {{ rules: [{rules}] }}\n  a: {{ rules: [{rules}] }}\n  z: {{ {more} }}\n"
            ))
        };
        let refused = "sysctls: { net.ipv4.ip_forward: rubbish }";
        let [one, two] = ["{ priority: 7, to: 10.1.0.0/16, table: 1 }", "{ priority: 7, to: 10.2.0.0/16, table: 2 }"];
        topo(&["apply", &with(one, refused)]).exits(1).says("as it was before");
        assert_restored(&before);
        apply(&with(&format!("{one}, {two}"), ""));
        settled_fingerprint();
        let intact = view();
        for rules in
            [format!("{two}, {one}"), two.to_owned(), "{ priority: 7, to: 10.1.0.0/16, table: 3 }".to_owned(), String::new()]
        {
            topo(&["apply", &with(&rules, refused)]).exits(1).says("as it was before");
            assert_view(&intact, &rules);
        }
        destroy("back");
        assert_restored(&before);
    });
}

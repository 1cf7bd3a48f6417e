//! Nodes: namespaces of all kinds, names, clocks and files of their own; how they change, are damaged, and end.

use std::fs;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::Outcome;
use super::harness::{
    User, apply, assert_no_changes, destroy, eventually, in_namespaces, lab, settled_fingerprint, sh, topo, with_users,
};

/// Tests run at the same time, and see the processes of others: each has a name for its lab.
const LAB: &str = r#"
name: NAME
namespaces:
  a:
    isolation: [pid, mount, uts, ipc, time]
    hostname: a.lab
    domainname: example
    time: { boottime: 24h, monotonic: -1s }
    files:
      /etc/motd: { content: "hi\n" }
      /etc/topo-test/sub/some.conf: { content: "x = 1\n", mode: "0640" }
      /tmp/own: { content: "tmp" }
  b: { hostname: b.lab }
  c: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
"#;

/// Runs a script in a node.
fn run(node: &str, script: &str) -> Outcome {
    topo(&["exec", node, "--", "sh", "-c", script])
}

fn says(node: &str, script: &str) -> String {
    run(node, script).ok().stdout.trim_end().to_owned()
}

/// The PIDs of the inits of a lab.
fn inits(lab: &str) -> Vec<i32> {
    let is_init = |process: &i32| {
        let title = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        title.starts_with(&format!("topo: init {lab}/"))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_init).collect()
}

fn init_of(lab: &str, node: &str) -> i32 {
    let title = |process: &i32| fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let expected = format!("topo: init {lab}/{node}");
    inits(lab).into_iter().find(|process| title(process).trim_end_matches('\0') == expected).expect("the init runs")
}

#[test]
fn a_node_has_what_its_file_says_and_the_machine_is_untouched() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let machine = fs::read("/etc/hostname").ok();
        let file = lab(&LAB.replace("NAME", "nodes0"));
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "hostname; cat /proc/sys/kernel/domainname"), "a.lab\nexample");
        assert_eq!(says("b", "hostname"), "b.lab");
        assert_eq!(
            says("a", "cat /etc/motd /etc/topo-test/sub/some.conf; stat -c %a /etc/topo-test/sub/some.conf"),
            "hi\nx = 1\n640"
        );
        // The shell counts by itself: the processes of a pipeline may or may not have begun.
        assert_eq!(says("a", "ls -A /tmp; ls -A /run; cat /proc/1/comm; set -- /proc/[0-9]*; echo $#"), "own\ntopo-init\n2");
        let uptime = says("a", "cut -d. -f1 /proc/uptime").parse::<u64>().unwrap();
        let machines = fs::read_to_string("/proc/uptime").unwrap().split('.').next().unwrap().parse::<u64>().unwrap();
        assert!((86_390..86_410).contains(&(uptime - machines)), "{uptime} {machines}");
        for kind in ["pid", "mnt", "uts", "ipc", "time", "net", "user", "cgroup"] {
            let own = says("a", &format!("readlink /proc/self/ns/{kind}"));
            let machine = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert_eq!(own == machine.to_str().unwrap(), matches!(kind, "user" | "cgroup"), "{kind}");
        }
        says("a", "echo changed > /etc/hostname; touch /etc/topo-test/new; sed -i s/1/2/ /etc/topo-test/sub/some.conf");
        assert_eq!(machine, fs::read("/etc/hostname").ok());
        assert!(!fs::exists("/etc/topo-test").unwrap() && !fs::exists("/tmp/own").unwrap());
        destroy("nodes0");
        assert_eq!(inits("nodes0").len(), 0);
        assert_restored(&before);
    });
}

#[test]
fn names_and_files_change_in_place_and_isolation_by_replacement() {
    in_namespaces(|| {
        apply(&lab(&LAB.replace("NAME", "nodes1")));
        let init = init_of("nodes1", "a");
        says("a", "readlink /proc/self/ns/pid > /tmp/note");
        let changed = LAB
            .replace("NAME", "nodes1")
            .replace("a.lab", "z.lab")
            .replace("hi", "hello")
            .replace("\n      /tmp/own: { content: \"tmp\" }", "");
        let file = lab(&changed.replace("    domainname: example\n", ""));
        apply(&file).says("hostname: a.lab -> z.lab").says("~ file /etc/motd").says("- file /tmp/own");
        assert_no_changes(&file);
        assert_eq!(init, init_of("nodes1", "a"), "it is the same init");
        assert_eq!(
            says("a", "hostname; cat /proc/sys/kernel/domainname; cat /etc/motd; ls -A /tmp"),
            "z.lab\n(none)\nhello\nnote"
        );
        let file = lab(&changed.replace("pid, mount, uts", "mount, uts, pid, cgroup"));
        apply(&file).says("-/+ node  # isolation forces replacement").says("-/+ file /etc/motd  # the node is replaced");
        assert_ne!(init, init_of("nodes1", "a"));
        assert_no_changes(&file);
        // The node goes, and its network stays.
        let file = lab("name: nodes1\nnamespaces: { a: {}, b: {}, c: {} }\nlinks: [{ endpoints: [a:eth0, b:eth0] }]\n");
        apply(&file).says("- node").says("Plan: 0 to add, 0 to change, 4 to destroy.");
        assert_eq!(inits("nodes1").len(), 0);
        assert_no_changes(&file);
        destroy("nodes1");
    });
}

#[test]
fn what_the_machine_has_comes_back_when_a_file_leaves_the_lab() {
    in_namespaces(|| {
        let machine = fs::read_to_string("/etc/passwd").unwrap();
        let with = |files: &str| lab(&format!("name: nodes2\nnamespaces: {{ a: {{ isolation: [mount, pid], {files} }} }}\n"));
        apply(&with(
            "files: { /etc/passwd: { content: none }, /etc/deep/er/file: { content: new }, /var/topo-test: { content: v } }",
        ));
        assert_eq!(says("a", "cat /etc/passwd /etc/deep/er/file /var/topo-test"), "nonenewv");
        let file = with("");
        apply(&file).says("Plan: 0 to add, 0 to change, 3 to destroy.");
        assert_eq!(says("a", "cat /etc/passwd"), machine.trim_end());
        assert_eq!(says("a", "ls -d /etc/deep /var/topo-test 2>&1 | grep -c cannot"), "2");
        assert_no_changes(&file);
        assert_eq!(machine, fs::read_to_string("/etc/passwd").unwrap());
        destroy("nodes2");
    });
}

#[test]
fn changes_inside_are_drift_and_put_right() {
    in_namespaces(|| {
        let file = lab(&LAB.replace("NAME", "nodes3"));
        apply(&file);
        says("a", "hostname foo; echo x > /etc/motd; rm /etc/topo-test/sub/some.conf; chmod 600 /tmp/own");
        let plan = topo(&["plan", "--detailed-exitcode", &file]).exits(2);
        let plan = plan.says("hostname: foo -> a.lab").says("~ file /etc/motd").says("+ file /etc/topo-test/sub/some.conf");
        plan.says("mode: 0600 -> 0644");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "hostname; cat /etc/motd /etc/topo-test/sub/some.conf"), "a.lab\nhi\nx = 1");
        destroy("nodes3");
    });
}

#[test]
fn a_killed_init_takes_its_node_along_and_is_started_again() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab(&LAB.replace("NAME", "nodes4"));
        apply(&file);
        sh(&format!("kill -9 {}", init_of("nodes4", "a")));
        eventually("the init ends", || inits("nodes4").len() == 1);
        topo(&["plan", &file]).ok().says("-/+ node  # its init has ended").says("+ file /etc/motd");
        apply(&file);
        assert_no_changes(&file);
        // Gone for good, and nothing but the socket is left of it.
        sh(&format!("kill -9 {}", init_of("nodes4", "a")));
        eventually("the init ends", || inits("nodes4").len() == 1);
        destroy("nodes4");
        assert_restored(&before);
    });
}

#[test]
fn a_node_whose_namespace_lost_its_name_is_replaced() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab(&LAB.replace("NAME", "nodes5"));
        apply(&file);
        sh("ip netns delete a");
        topo(&["plan", &file]).ok().says("+ namespace a").says("-/+ node  # its network namespace is gone");
        apply(&file);
        assert_no_changes(&file);
        sh("ip netns delete a");
        destroy("nodes5");
        assert_eq!(inits("nodes5").len(), 0);
        assert_restored(&before);
    });
}

#[test]
fn an_init_whose_socket_is_gone_is_found_by_its_title() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab(&LAB.replace("NAME", "nodes6"));
        apply(&file);
        sh("rm -r /run/topo/nodes");
        topo(&["plan", &file]).ok().says("-/+ node  # the socket of its init is gone");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(inits("nodes6").len(), 2);
        sh("rm -r /run/topo/nodes");
        destroy("nodes6");
        assert_eq!(inits("nodes6").len(), 0);
        assert_restored(&before);
    });
}

#[test]
fn processes_of_a_node_end_with_it_even_if_they_ignore_signals() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        apply(&lab(&LAB.replace("NAME", "nodes7")));
        says(
            "a",
            "(trap '' TERM HUP; while :; do sleep 0.1; done) > /dev/null 2>&1 < /dev/null & setsid -f sleep 1000 > /dev/null 2>&1",
        );
        let outcome = destroy("nodes7");
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
        assert_restored(&before);
    });
}

#[test]
fn a_command_in_a_node_has_its_status_signals_and_directory() {
    in_namespaces(|| {
        apply(&lab(&LAB.replace("NAME", "nodes8")));
        run("a", "exit 7").exits(7);
        run("a", "kill -TERM $$").exits(143);
        topo(&["exec", "a", "--", "no-such-command"]).exits(127).says("command not found");
        topo(&["exec", "a", "--", "/etc/motd"]).exits(126);
        std::env::set_current_dir("/usr/share").unwrap();
        assert_eq!(says("a", "pwd"), "/usr/share");
        let all = topo(&["exec", "--all", "--", "hostname"]).ok().stdout;
        assert!(all.contains("a: a.lab\n") && all.contains("b: b.lab\n"), "{all}");
        destroy("nodes8");
    });
}

#[test]
fn a_failed_apply_takes_back_its_nodes_and_restores_those_before() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let refused = LAB.replace("NAME", "nodes9").replace("/tmp/own", "/topo-no-such-directory/own");
        topo(&["apply", &lab(&refused)]).exits(1).says("/topo-no-such-directory/own").says("All changes were undone");
        assert_restored(&before);
        let file = lab(&LAB.replace("NAME", "nodes9"));
        apply(&file);
        let replaced = refused.replace("pid, mount, uts", "pid, mount, cgroup, uts");
        topo(&["apply", &lab(&replaced)]).exits(1).says("All changes were undone");
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /etc/motd"), "hi");
        destroy("nodes9");
        assert_restored(&before);
    });
}

#[test]
fn a_user_namespace_owns_the_network_of_its_node() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: nodes10\nnamespaces: { a: { isolation: full }, b: { isolation: [user] }, c: {} }\n\
                        links: [{ endpoints: [a:eth0, b:eth0] }, { endpoints: [a:eth1, c:eth0] }]\n");
        apply(&file);
        assert_no_changes(&file);
        assert_ne!(says("a", "readlink /proc/self/ns/user"), fs::read_link("/proc/self/ns/user").unwrap().to_str().unwrap());
        // Its root rules the network.
        assert_eq!(says("b", "id -u; ip link set eth0 mtu 1400 && cat /sys/class/net/eth0/mtu"), "0\n1400");
        apply(&file).says("mtu: 1400 -> 1500");
        let other = "name: nodes10\nnamespaces: { a: { isolation: [pid] }, b: {}, c: {} }\n";
        topo(&["plan", &lab(other)]).exits(1).says("cannot lose a user namespace while `a` exists");
        topo(&["plan", &lab(&other.replace("c: {}", "c: { isolation: [user] }"))]).exits(1).says("cannot get a user namespace");
        destroy("nodes10");
        assert_eq!(inits("nodes10").len(), 0);
        assert_restored(&before);
    });
}

#[test]
fn nodes_live_in_a_sandbox_of_an_ordinary_user() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", &LAB.replace("NAME", "nodes11"));
        user.topo(&["apply", &file]).ok();
        user.topo(&["plan", "--detailed-exitcode", &file]).ok();
        let outcome = user.topo(&["exec", "a", "--", "sh", "-c", "hostname; cat /etc/motd; cat /proc/1/comm"]).ok();
        assert_eq!(outcome.stdout, "a.lab\nhi\ntopo-init\n");
        user.topo(&["sandbox", "stop", "default"]).ok();
        user.assert_nothing_left();
        user.topo(&["apply", &file]).ok();
        user.topo(&["destroy", "nodes11"]).ok().says("Stopped sandbox `default`");
        user.assert_nothing_left();
    });
}

//! Processes of nodes: they start in order, are watched, changed, restarted and ended, and their logs can be read.

use std::fs;

use serde_json::Value;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::Outcome;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, in_namespaces, lab, needs, settled_fingerprint, sh, topo,
};

/// Tests run at the same time, and see the processes of others: each has a name for its lab.
const LAB: &str = r#"
name: NAME
namespaces:
  a:
    files: { /etc/topo-test.conf: { content: "one\n" } }
    processes:
      prepare: { command: "echo prepared; mkdir /run/prepared", oneshot: true }
      server: { command: "test -d /run/prepared || exit 9; rm -f /run/up; touch /run/up; exec sleep 1000", after: [prepare], ready: { file: /run/up, timeout: 2s }, restart: on-failure, restart_on: [/etc/topo-test.conf] }
      reader: { command: "trap 'echo again' HUP; while :; do sleep 1000 & wait; done", env: { A: b }, reload_on: [/etc/topo-test.conf], stop: { timeout: 200ms } }
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
"#;

fn of(name: &str) -> String {
    LAB.replace("NAME", name)
}

/// Returns the processes of a lab, as `topo ps` lists them.
fn ps(name: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(&topo(&["ps", name, "--json"]).ok().stdout).unwrap();
    report["processes"].as_array().unwrap().clone()
}

fn process(name: &str, process: &str) -> Value {
    ps(name).into_iter().find(|row| row["process"] == process).expect("the process is declared")
}

fn states(name: &str) -> Vec<String> {
    ps(name).iter().map(|row| format!("{} {}", row["process"].as_str().unwrap(), row["state"].as_str().unwrap())).collect()
}

fn logs(target: &str) -> Outcome {
    topo(&["logs", target]).ok()
}

#[test]
fn processes_start_in_order_and_end_with_the_lab() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab(&of("procs0"));
        apply(&file).says("+ process server");
        assert_no_changes(&file);
        assert_eq!(states("procs0"), ["prepare exited", "reader running", "server ready"]);
        logs("a/prepare").says("prepared\n").says("exited with status 0");
        let server = process("procs0", "server");
        let pid = server["pid"].as_i64().unwrap();
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap(), "sleep\x001000\0");
        let inside = topo(&["exec", "a", "--", "cat", &format!("/proc/{}/cmdline", server["pid_inside"])]).ok();
        assert_eq!(inside.stdout, "sleep\x001000\0");
        topo(&["ps", "procs0"]).ok().says("NODE  PROCESS  STATE").says("a     server   ready");
        destroy("procs0");
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
        assert_restored(&before);
    });
}

#[test]
fn a_changed_definition_or_file_restarts_or_reloads() {
    in_namespaces(|| {
        apply(&lab(&of("procs1")));
        let [server, reader] = ["server", "reader"].map(|name| process("procs1", name)["pid"].clone());
        let file = lab(&of("procs1").replace(r"one\n", r"two\n"));
        let outcome = apply(&file).says("-/+ process server  # `/etc/topo-test.conf` changes");
        outcome.says("  ~ process reader  # `/etc/topo-test.conf` changes");
        assert_no_changes(&file);
        assert_ne!(server, process("procs1", "server")["pid"]);
        assert_eq!(reader, process("procs1", "reader")["pid"]);
        eventually("it has read the file", || logs("a/reader").stdout.contains("again"));
        // In place: what topo does with a process. By a restart: what the process is.
        let changed = of("procs1").replace(r"one\n", r"two\n").replace("timeout: 200ms", "timeout: 300ms");
        apply(&lab(&changed)).says("stop: { timeout: 200ms } -> { timeout: 300ms }");
        assert_eq!(reader, process("procs1", "reader")["pid"]);
        let file = lab(&changed.replace("{ A: b }", "{ A: c }"));
        apply(&file).says("-/+ process reader  # env forces replacement");
        assert_ne!(reader, process("procs1", "reader")["pid"]);
        let without = lab(&of("procs1").replace("      server:", "      other:"));
        apply(&without).says("- process server").says("+ process other");
        assert_eq!(states("procs1"), ["other ready", "prepare exited", "reader running"]);
        assert_no_changes(&without);
        destroy("procs1");
    });
}

/// The file goes in the same plan: there is nothing to read again.
#[test]
fn a_process_that_no_longer_depends_on_a_file_goes_on() {
    in_namespaces(|| {
        apply(&lab(&of("procs10")));
        let reader = process("procs10", "reader")["pid"].clone();
        let without =
            of("procs10").replace("reload_on: [/etc/topo-test.conf], ", "").replace(", restart_on: [/etc/topo-test.conf]", "");
        let without = without.replace("    files: { /etc/topo-test.conf: { content: \"one\\n\" } }\n", "");
        assert!(!without.contains("topo-test.conf"));
        let file = lab(&without);
        apply(&file).says("- file /etc/topo-test.conf");
        assert_no_changes(&file);
        assert_eq!(reader, process("procs10", "reader")["pid"]);
        assert!(!logs("a/reader").stdout.contains("reload with"));
        destroy("procs10");
    });
}

#[test]
fn a_process_that_ends_is_restarted_or_drift() {
    in_namespaces(|| {
        let file = lab(&of("procs2"));
        apply(&file);
        let kill = |name: &str| sh(&format!("kill -9 {}", process("procs2", name)["pid"]));
        kill("server");
        eventually("it runs again", || process("procs2", "server")["restarts"] == 1);
        eventually("it is ready again", || process("procs2", "server")["state"] == "ready");
        assert_no_changes(&file);
        kill("reader");
        eventually("it has failed", || process("procs2", "reader")["state"] == "failed");
        topo(&["plan", &file]).ok().says("-/+ process reader  # it was killed by SIGKILL");
        apply(&file);
        assert_no_changes(&file);
        destroy("procs2");
    });
}

#[test]
fn a_process_that_fails_undoes_the_apply_and_shows_its_log() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let failing = of("procs3").replace("echo prepared;", "echo about to fail; exit 3;");
        let outcome =
            topo(&["apply", &lab(&failing)]).exits(1).says("cannot start process `prepare` of `a`: it exited with status 3");
        outcome.says("    about to fail\n").says("All changes were undone");
        assert_restored(&before);
        let file = lab(&of("procs3"));
        apply(&file);
        let missing = of("procs3").replace("exec sleep 1000", "exec sleep 1000x").replace("file: /run/up", "file: /run/other");
        topo(&["apply", &lab(&missing)]).exits(1).says("process `server`").says("All changes were undone");
        assert_no_changes(&file);
        assert_eq!(states("procs3"), ["prepare exited", "reader running", "server ready"]);
        destroy("procs3");
        assert_restored(&before);
    });
}

#[test]
fn users_start_stop_and_restart_single_processes() {
    in_namespaces(|| {
        let file = lab(&of("procs4"));
        apply(&file);
        topo(&["stop", "a/server"]).ok().says("Stopped `a/server`.");
        assert_eq!(process("procs4", "server")["state"], "stopped");
        topo(&["plan", &file]).ok().says("-/+ process server  # it was stopped");
        topo(&["start", "a/server"]).ok().says("Started `a/server`.");
        assert_no_changes(&file);
        let pid = process("procs4", "reader")["pid"].clone();
        topo(&["restart", "a/reader", "a/server"]).ok().says("Restarted `a/reader`.").says("Restarted `a/server`.");
        assert_ne!(pid, process("procs4", "reader")["pid"]);
        topo(&["restart", "a/nothing"]).exits(1).says("no process `nothing`");
        let pid = process("procs4", "reader")["pid"].clone();
        topo(&["restart", "a/reader", "a/nothing"]).exits(1).says("no process `nothing`");
        assert_eq!(pid, process("procs4", "reader")["pid"], "all or none");
        topo(&["restart", "b/x"]).exits(1).says("there is no node `b` with an init");
        topo(&["restart", "a"]).exits(1).says("NODE/PROCESS");
        let last = topo(&["logs", "a/reader", "-n", "1"]).ok().stdout;
        assert_eq!(last.lines().count(), 1, "{last}");
        sh("kill -9 $(pgrep -fx 'topo: init procs4/a')");
        let outcome = topo(&["ps", "procs4"]).ok();
        outcome.says("the init of `a` has ended").says("topo apply");
        logs("a/reader").says("start /bin/sh");
        destroy("procs4");
    });
}

#[test]
fn processes_start_when_their_addresses_can_be_used() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let file = lab("
name: procs5
namespaces:
  a:
    processes:
      # Succeeds if no address is being checked for duplicates.
      look: { command: \"ip -6 -o address show dev eth0 tentative | grep 2001:db8 && exit 1; exit 0\", oneshot: true }
  b: {}
links:
  - endpoints: [{ interface: \"a:eth0\", addresses: [2001:db8::1/64] }, { interface: \"b:eth0\", addresses: [2001:db8::2/64] }]
");
        apply(&file);
        assert_no_changes(&file);
        destroy("procs5");
    });
}

#[test]
fn the_failure_of_what_comes_before_is_explained() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let failing = of("procs6").replace("echo prepared;", "echo about to fail; exit 3;").replace("prepare", "zero");
        let outcome = topo(&["apply", &lab(&failing)]).exits(1).says("which exited with status 3");
        outcome.says("    about to fail\n").says("All changes were undone");
        assert_restored(&before);
    });
}

#[test]
fn processes_come_and_go_while_the_node_stays() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let with =
            |processes: &str| lab(&format!("name: procs7\nnamespaces: {{ a: {{ hostname: a, isolation: full{processes} }} }}\n"));
        let (without, with) = (with(""), with(", processes: { x: { command: [sleep, '1000'] } }"));
        for _ in 0..2 {
            apply(&without);
            apply(&with);
            assert_no_changes(&with);
            logs("a/x").says("start sleep 1000");
        }
        topo(&["logs", "a/y"]).exits(1).says("no process `y`");
        destroy("procs7");
        assert_restored(&before);
    });
}

#[test]
fn a_lab_is_usable_when_its_processes_are_ready() {
    in_namespaces(|| {
        let file = |command: &str| {
            let restart = "{ policy: always, delay: 1h, max_delay: 1h }";
            lab(&format!(
                "name: procs8\nnamespaces: {{ a: {{ processes: {{ x: {{ command: {command}, restart: {restart} }} }} }} }}\n"
            ))
        };
        let ending = file("\"sleep 2; exit 1\"");
        apply(&ending);
        eventually("it waits for its restart", || process("procs8", "x")["state"] == "backoff");
        topo(&["apply", "--wait=100ms", &ending]).exits(1).says("process `x` of `a` is not ready: backoff");
        topo(&["apply", "--wait", &file("[sleep, '1000']")]).ok().says("The lab is usable");
        destroy("procs8");
    });
}

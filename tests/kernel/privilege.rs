//! Few privileges are enough, and the others are given up before a lab file is looked into.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::harness::fingerprint::assert_restored;
use super::harness::tools::{Outcome, TOPO, ip};
use super::harness::{Feature, command, eventually, example, in_namespaces, lab, needs, settled_fingerprint, sh, topo};

/// The numbers of a process's permitted capabilities.
fn capabilities(process: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("CapPrm:")).unwrap();
    let set = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    (0..64).filter(|bit| set >> bit & 1 == 1).collect()
}

#[test]
fn only_what_is_needed_is_kept() {
    in_namespaces(|| {
        const KILL: u32 = 5;
        const NET_BIND_SERVICE: u32 = 10;
        const NET_ADMIN: u32 = 12;
        const SYS_PTRACE: u32 = 19;
        const SYS_ADMIN: u32 = 21;
        let before = settled_fingerprint();
        let file = lab("name: caps\nnamespaces: { a: {} }\n");
        for (arguments, kept) in [
            (["apply", "--ask"].as_slice(), [NET_BIND_SERVICE, NET_ADMIN, SYS_PTRACE, SYS_ADMIN].as_slice()),
            (&["destroy", "--ask", "--kill"], &[KILL, NET_BIND_SERVICE, NET_ADMIN, SYS_PTRACE, SYS_ADMIN]),
        ] {
            let mut command = Command::new(TOPO);
            command.args(arguments).arg(&file).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            eventually("fewer capabilities", || capabilities(child.id()) == kept);
            child.stdin.take().unwrap().write_all(b"yes\n").unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_restored(&before);
    });
}

#[test]
fn two_capabilities_are_enough() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        for subcommand in ["apply", "plan", "destroy"] {
            let mut restricted = command("setpriv");
            restricted.args(["--bounding-set=-all,+net_admin,+sys_admin", TOPO, subcommand]).arg(example("blog"));
            let output = restricted.output().expect("setpriv can be run");
            assert!(output.status.success(), "{subcommand}: {}", String::from_utf8_lossy(&output.stderr));
        }
        assert_restored(&before);
    });
}

#[test]
fn without_privileges_nothing_changes_and_the_remedy_is_told() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        for without in [["--bounding-set=-all"].as_slice(), &["--bounding-set=-all", "--inh-caps=-all"]] {
            let mut restricted = command("setpriv");
            let output = restricted.args(without).args([TOPO, "apply"]).arg(example("quickstart")).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && stderr.contains("hint: ") && stderr.contains("sudo"), "{stderr}");
            assert_restored(&before);
        }
    });
}

/// The kernel asks for CAP_NET_BIND_SERVICE over the namespace of a vxlan, which root of a user namespace has in its own.
#[test]
fn a_vxlan_listens_on_a_port_below_1024() {
    in_namespaces(|| {
        if !needs(&[Feature::Vxlan]) {
            return;
        }
        let before = settled_fingerprint();
        let file =
            lab("name: low\nnamespaces:\n  va: { interfaces: { v: { vxlan: { id: 9, remote: 10.0.0.1, port: 443 } } } }\n  \
             host: { interfaces: { w: { vxlan: { id: 8, remote: 10.0.0.1, port: 53 } } } }\n");
        topo(&["apply", &file]).ok();
        assert_eq!(ip(&["-n", "va", "link", "show", "v"])[0]["linkinfo"]["info_data"]["port"], 443);
        topo(&["plan", "--detailed-exitcode", &file]).ok();
        topo(&["destroy", &file]).ok();
        assert_restored(&before);
        let mut restricted = command("setpriv");
        restricted.args(["--bounding-set=-net_bind_service", TOPO, "apply"]).arg(&file);
        let outcome = Outcome::from(&restricted.output().unwrap()).exits(1);
        outcome.says("hint: a port below 1024 needs CAP_NET_BIND_SERVICE").says("the network is as it was before");
        assert_restored(&before);
    });
}

#[test]
fn a_namespace_of_an_outer_owner_is_foreign_and_does_not_disturb() {
    in_namespaces(|| {
        sh("ip netns add outer && ip netns add a");
        let (file, free) = (lab("name: inner\nnamespaces: { a: {} }\n"), lab("name: inner\nnamespaces: { b: {}, c: {} }\n"));
        let inner = |arguments: &[&str]| {
            let mut command = command("unshare");
            // Root of this user namespace is root there, too, so /run is its own.
            Outcome::from(&command.args(["-Urnm", "--propagation", "slave", "sh", "-ec", &script(arguments)]).output().unwrap())
        };
        inner(&["plan", &free]).ok().says("Plan: 2 to add");
        inner(&["list"]).ok().says("No labs.");
        inner(&["apply", &file])
            .exits(1)
            .says("`a` is in the way: a namespace of another user namespace")
            .says("hint: choose another");
        let all = [vec!["apply", &free], vec!["plan", "--detailed-exitcode", &free], vec!["list"], vec!["destroy", "inner"]];
        let all = all.iter().map(|arguments| script(arguments)).collect::<Vec<_>>().join("\n");
        let output = command("unshare").args(["-Urnm", "--propagation", "slave", "sh", "-ec", &all]).output().unwrap();
        Outcome::from(&output).ok().says("No changes").says("inner  -        2").says("0 added, 0 changed, 2 destroyed");
        sh("ip netns del outer && ip netns del a");
    });
}

fn script(arguments: &[&str]) -> String {
    format!("{TOPO} {}", arguments.join(" "))
}

//! Few privileges are enough, and the others are given up before a lab file is looked into.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::harness::fingerprint::assert_restored;
use super::harness::tools::TOPO;
use super::harness::{Feature, command, eventually, example, in_namespaces, lab, needs, settled_fingerprint};

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

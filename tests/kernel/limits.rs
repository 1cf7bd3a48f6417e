//! Limits of nodes: control groups of version 2. They need root of the machine, and a kernel whose controllers version 1 does not use.

use std::fs;
use std::path::{Path, PathBuf};

use super::harness::feature::skip;
use super::harness::fingerprint::assert_restored;
use super::harness::{
    User, apply, assert_no_changes, destroy, eventually, in_namespaces, lab, settled_fingerprint, sh, topo, with_users,
};

const LAB: &str = r#"
name: NAME
namespaces:
  a:
    limits: { memory: 64MiB, pids: 16, cpu: 0.5 }
    processes: { main: { command: [sleep, "1000"] } }
  b: { isolation: full }
"#;

fn of(name: &str) -> String {
    LAB.replace("NAME", name)
}

/// Mounts the control groups of version 2. Returns whether they have the controllers; otherwise says what is skipped.
#[track_caller]
pub fn has_control_groups() -> bool {
    if !nix::unistd::geteuid().is_root() {
        skip("only root of the machine can mount control groups");
        return false;
    }
    sh("mount -t cgroup2 none /sys/fs/cgroup");
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    let has_all = ["memory", "pids", "cpu"].iter().all(|word| controllers.split_whitespace().any(|found| found == *word));
    if !has_all {
        skip("control groups of version 2 lack controllers here");
    }
    has_all
}

/// Returns the directories of a lab's control groups.
fn groups(base: &Path, lab: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(base.join("topo")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{lab}:")));
    found
}

fn read(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file)).unwrap().trim_end().to_owned()
}

#[test]
fn limits_hold_change_in_place_and_leave_nothing() {
    with_users(|| {
        if !has_control_groups() {
            return;
        }
        let before = settled_fingerprint();
        let file = lab(&of("limits0"));
        apply(&file).says("+ node isolation [pid, mount] limits { memory: 64MiB, pids: 16, cpu: 0.5 }");
        assert_no_changes(&file);
        let base = Path::new("/sys/fs/cgroup");
        let [group] = &groups(base, "limits0")[..] else { panic!("one node has limits") };
        let limits = || ["memory.max", "pids.max", "cpu.max"].map(|file| read(group, file));
        assert_eq!(limits(), ["67108864", "16", "50000 100000"]);
        let init = read(group, "cgroup.procs").lines().next().unwrap().to_owned();
        // Commands are limited, too. The kernel kills what needs more memory, and refuses more processes.
        let inside = topo(&["exec", "a", "cat", "/proc/self/cgroup"]).ok().stdout;
        assert!(inside.contains(&format!("/topo/{}", group.file_name().unwrap().to_str().unwrap())), "{inside}");
        topo(&["exec", "a", "--", "sh", "-c", "head -c 100m /dev/zero | tail; exit 3"]).exits(3);
        assert!(!read(group, "memory.events").contains("oom_kill 0"));
        topo(&["exec", "a", "--", "sh", "-c", "for i in $(seq 20); do sleep 5 & done"]).says("Cannot fork");
        assert_no_changes(&file);
        // In place.
        let changed = of("limits0").replace("memory: 64MiB, pids: 16", "memory: 80MiB");
        let file = lab(&changed);
        apply(&file).says("limits: { memory: 64MiB, pids: 16, cpu: 0.5 } -> { memory: 80MiB, cpu: 0.5 }");
        assert_eq!(limits(), ["83886080", "max", "50000 100000"]);
        assert_eq!(read(group, "cgroup.procs").lines().next(), Some(init.as_str()), "it is the same init");
        // Drift.
        fs::write(group.join("memory.max"), "max").unwrap();
        topo(&["plan", &file]).ok().says("limits: { cpu: 0.5 } -> { memory: 80MiB, cpu: 0.5 }");
        apply(&file);
        assert_eq!(limits()[0], "83886080");
        // Without limits there is no group.
        let file = lab(&changed.replace("limits: { memory: 80MiB, cpu: 0.5 }", "hostname: a"));
        apply(&file).says("limits: { memory: 80MiB, cpu: 0.5 } -> none  # forces replacement");
        assert!(groups(base, "limits0").is_empty());
        apply(&lab(&of("limits0")));
        destroy("limits0");
        assert!(groups(base, "limits0").is_empty());
        assert_restored(&before);
    });
}

#[test]
fn the_kernel_kills_a_process_that_needs_too_much_memory_and_the_node_lives_on() {
    with_users(|| {
        if !has_control_groups() {
            return;
        }
        let greedy = r#"greedy: { command: "until test -e /run/begin; do sleep 0.05; done; head -c 100m /dev/zero | tail" }"#;
        let file = lab(&of("limits5").replace("main: {", &format!("{greedy}, main: {{")));
        apply(&file);
        let [group] = &groups(Path::new("/sys/fs/cgroup"), "limits5")[..] else { panic!("one node has limits") };
        let init = read(group, "cgroup.procs").lines().next().unwrap().to_owned();
        topo(&["exec", "a", "touch", "/run/begin"]).ok();
        eventually("the end of the process", || topo(&["ps", "limits5"]).ok().stdout.contains("exited with status 137"));
        assert!(!read(group, "memory.events").contains("oom_kill 0"));
        assert_eq!(read(group, "cgroup.procs").lines().next(), Some(init.as_str()), "the init lives on");
        topo(&["ps", "limits5"]).ok().says("main     running");
        topo(&["plan", &file]).ok().says("-/+ process greedy  # it exited with status 137");
        destroy("limits5");
        assert!(groups(Path::new("/sys/fs/cgroup"), "limits5").is_empty());
    });
}

#[test]
fn what_a_killed_init_leaves_is_removed() {
    with_users(|| {
        if !has_control_groups() {
            return;
        }
        let file = lab(&of("limits1"));
        apply(&file);
        let [group] = &groups(Path::new("/sys/fs/cgroup"), "limits1")[..] else { panic!("one node has limits") };
        let init = read(group, "cgroup.procs").lines().next().unwrap().to_owned();
        sh(&format!("kill -9 {init}"));
        topo(&["plan", &file]).ok().says("-/+ node  # its init has ended");
        apply(&file);
        assert_no_changes(&file);
        destroy("limits1");
        assert!(groups(Path::new("/sys/fs/cgroup"), "limits1").is_empty());
    });
}

#[test]
fn an_ordinary_user_needs_a_delegated_group() {
    with_users(|| {
        let user = User::new();
        let Some(number) = user.needs_number() else { return };
        if !has_control_groups() {
            return;
        }
        let file = user.file("lab.yaml", &of("limits2"));
        user.topo(&["apply", &file]).exits(1).says("no control group is delegated to this user; run topo by `systemd-run --user");
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu").unwrap();
        let base = PathBuf::from(format!("/sys/fs/cgroup/test-{number}"));
        fs::create_dir_all(base.join("session")).unwrap();
        for path in [base.clone(), base.join("cgroup.procs"), base.join("cgroup.subtree_control"), base.join("session")] {
            user.give(&path);
        }
        let join = |group: &Path| fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        join(&base.join("session"));
        user.topo(&["apply", &file]).ok();
        user.topo(&["plan", "--detailed-exitcode", &file]).ok();
        assert_eq!(groups(&base, "limits2").len(), 1);
        user.topo(&["exec", "a", "true"]).ok();
        join(Path::new("/sys/fs/cgroup"));
        user.topo(&["exec", "a", "true"]).exits(126).says("may not move into its control group");
        user.topo(&["destroy", &file]).ok();
        assert!(!base.join("topo").exists());
        fs::remove_dir(base.join("session")).unwrap();
        fs::remove_dir(base).unwrap();
    });
}

#[test]
fn without_control_groups_an_error_says_so() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        topo(&["apply", &lab(&of("limits3"))]).exits(1).says("cannot start node `a`: cannot limit the node: ");
        assert_restored(&before);
    });
}

#[test]
fn a_node_can_see_its_own_control_groups() {
    with_users(|| {
        if !nix::unistd::geteuid().is_root() {
            return skip("only root of the machine can mount control groups");
        }
        sh("mount -t cgroup2 none /sys/fs/cgroup");
        apply(&lab("name: limits4\nnamespaces: { b: { isolation: full } }"));
        let seen = topo(&[
            "exec",
            "b",
            "--",
            "sh",
            "-c",
            "grep ^0: /proc/self/cgroup; findmnt -no FSTYPE,SOURCE /sys/fs/cgroup | tail -n 1",
        ])
        .ok();
        assert_eq!(seen.stdout, "0::/\ncgroup2 cgroup2\n");
        destroy("limits4");
    });
}

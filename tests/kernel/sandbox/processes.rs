//! What runs in a sandbox ends with it, and has the rights of the user to files, and those of root to the network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::harness::{Feature, User, eventually, needs, with_users};
use super::PAIR;

/// Starts processes that nobody waits for: in a namespace, in `host`, and in namespaces within. Returns their numbers.
fn start_daemons(user: &User) -> Vec<u32> {
    let script = user.file("daemon", "#!/bin/sh\n[ \"$2\" ] && trap '' TERM\necho $$ >> \"$1\"\nwhile :; do sleep 100; done\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let list = user.file("numbers", "");
    for (target, prefix, stubborn) in [
        ("a", "", ""),
        ("host", "", "stubborn"),
        ("b", "unshare -n", ""),
        ("a", "unshare -Urnm", ""),
        ("b", "unshare -Ur unshare -Urn", ""),
    ] {
        let daemon = format!("setsid {prefix} {script} {list} {stubborn} </dev/null >/dev/null 2>&1 &");
        user.topo(&["exec", target, "--", "sh", "-c", &daemon]).ok();
    }
    let read = || fs::read_to_string(&list).unwrap().lines().map(|line| line.parse().unwrap()).collect::<Vec<u32>>();
    eventually("five processes", || read().len() == 5);
    read()
}

fn assert_ended(processes: &[u32]) {
    let runs = |process: &&u32| {
        let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        Path::new(&format!("/proc/{process}/ns/net")).exists() && !state.contains(") Z ")
    };
    let left: Vec<_> = processes.iter().filter(runs).collect();
    assert!(left.is_empty(), "processes {left:?} of {processes:?} are left");
}

#[test]
fn the_end_of_a_sandbox_ends_what_runs_in_it() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        for end in ["stop", "destroy", "directory"] {
            user.topo(&["apply", &file]).ok();
            let processes = start_daemons(&user);
            match end {
                "stop" => drop(user.topo(&["sandbox", "stop", "default"]).ok().says("and")),
                "destroy" => drop(user.topo(&["destroy", "pair"]).ok().says("Stopped sandbox `default` and")),
                _ => {
                    let keeper = user.keepers()[0];
                    fs::remove_dir_all(user.runtime().join("topo")).unwrap();
                    let ended = || fs::read_to_string(format!("/proc/{keeper}/stat")).map_or(true, |stat| stat.contains(") Z "));
                    eventually("the end of the sandbox", ended);
                }
            }
            assert_ended(&processes);
            user.assert_nothing_left();
        }
    });
}

#[test]
fn a_script_in_the_sandbox_survives_its_own_destroy() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let script = format!("{} destroy pair && echo survived", user.program().display());
        user.topo(&["exec", "host", "--", "sh", "-c", &script]).ok().says("survived");
        user.assert_nothing_left();
    });
}

#[test]
fn permissions_of_files_hold_in_a_sandbox() {
    with_users(|| {
        let user = User::new();
        let (file, secret) = (user.file("lab.yaml", PAIR), user.file("secret.yaml", PAIR));
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        user.topo(&["plan", &secret]).exits(1).says("cannot read").says("permission denied");
        user.topo(&["apply", &secret]).exits(1).says("permission denied");
        user.assert_nothing_left();
        user.topo(&["apply", &file]).ok();
        for command in [["cat", &secret].as_slice(), &["sh", "-c", &format!("echo > {secret}")]] {
            for target in ["a", "host"] {
                let outcome = user.topo(&[&["exec", target, "--"], command].concat());
                assert!(outcome.status != 0 && outcome.stderr.to_lowercase().contains("permission denied"), "{}", outcome.stderr);
            }
        }
        // What is the user's own, and what belongs to the sandbox, remains writable.
        let script = format!("echo >> {file} && touch /run/mine && echo 1 > /proc/sys/net/ipv4/ip_forward && chmod 600 {secret}");
        user.topo(&["exec", "host", "--", "sh", "-c", &script]).ok();
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}

/// Root of the sandbox has CAP_NET_BIND_SERVICE over the namespaces of the sandbox, which is all that the kernel asks for.
#[test]
fn a_vxlan_of_a_user_listens_on_a_port_below_1024() {
    with_users(|| {
        if !needs(&[Feature::Vxlan]) {
            return;
        }
        let user = User::new();
        let vxlan = "name: low\nnamespaces:\n  va: { interfaces: { v: { vxlan: { id: 9, remote: 10.0.0.1, port: 443 } } } }\n";
        let file = user.file("lab.yaml", vxlan);
        user.topo(&["apply", &file]).ok();
        user.topo(&["exec", "va", "--", "ip", "-d", "link", "show", "v"]).ok().says("dstport 443");
        user.topo(&["destroy", "low"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn nodes_end_with_the_keeper_of_their_sandbox() {
    with_users(|| {
        let user = User::new();
        let lab =
            "name: orphans\nnamespaces: { a: { processes: { main: { command: [sleep, '98765'] } } }, b: { isolation: full } }\n";
        user.topo(&["apply", &user.file("lab.yaml", lab)]).ok();
        let left = || {
            let entries = fs::read_dir("/proc").unwrap().flatten();
            let titles = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
            titles.filter(|title| title.starts_with("topo: init orphans/") || title == "sleep\x0098765\0").count()
        };
        assert_eq!(left(), 3);
        for keeper in user.keepers() {
            kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
        }
        eventually("they have ended", || left() == 0);
        user.topo(&["sandbox", "stop", "default"]).ok();
        user.assert_nothing_left();
    });
}

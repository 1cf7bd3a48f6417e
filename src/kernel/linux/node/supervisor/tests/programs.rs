use std::os::unix::fs::PermissionsExt;

use super::*;

/// Puts a process that cannot be started, and returns why.
fn refused(node: &mut Node, key: &str, value: Value) -> String {
    let mut spec = json!({ "command": ["true"] });
    spec[key] = value;
    node.put("p", spec);
    assert_eq!(node.state("p"), State::Failed);
    assert!(node.log("p").contains(&node.reason("p")));
    node.reason("p")
}

#[test]
fn why_a_program_cannot_be_started_is_said() {
    let mut node = Node::new();
    let script = |text: &str, mode: u32| {
        let path = node.path(&format!("script-{mode:o}"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (unreadable, without_interpreter) = (script("#!/bin/sh\n", 0o644), script("#!/no/such/shell\n", 0o755));
    let directory = node.path("");
    for (key, value, reason) in [
        ("command", json!(["no-such-program"]), "cannot find the command `no-such-program`".to_owned()),
        ("command", json!(["/no/such/program"]), "cannot find the command `/no/such/program`".to_owned()),
        ("command", json!([unreadable]), format!("cannot execute `{unreadable}`: Permission denied (os error 13)")),
        ("command", json!([directory]), format!("cannot execute `{directory}`: Permission denied (os error 13)")),
        ("command", json!([without_interpreter]), format!("cannot find the interpreter of `{without_interpreter}`")),
        (
            "cwd",
            json!("/no/such"),
            "cannot change to the directory `/no/such`: No such file or directory (os error 2)".to_owned(),
        ),
        ("user", json!("no-such-user"), "needs the user `no-such-user`, who is not in /etc/passwd of the node".to_owned()),
    ] {
        assert_eq!(refused(&mut node, key, value), reason);
    }
    node.put("o", json!({ "command": ["no-such-program"], "oneshot": true, "restart": "on-failure" }));
    assert_eq!(node.state("o"), State::Failed, "a repetition would not help");
    node.put("r", json!({ "command": ["no-such-program"], "restart": "always" }));
    assert_eq!((node.state("r"), node.reason("r")), (State::Backoff, "cannot find the command `no-such-program`".to_owned()));
}

/// Runs a script and returns what it writes.
fn output(script: &str, mut keys: Value) -> String {
    let mut node = Node::new();
    keys["command"] = json!(script);
    node.put("p", keys);
    node.until_state("p", State::Exited);
    node.output("p")
}

#[test]
fn a_process_has_its_environment_directory_and_input() {
    let script = "pwd; echo $A $OF_NODE $TOPO_PROCESS ${#INVOCATION_ID}; cat; umask";
    let text = "line\n".repeat(30_000);
    let found = output(script, json!({ "env": { "A": "b" }, "cwd": "/proc", "stdin": text }));
    assert_eq!(found, format!("/proc\nb yes p 32\n{text}0022\n"));
    assert_eq!(output("cat; pwd", json!({})), "/\n");
}

#[test]
fn a_process_leads_a_session_with_default_signals_and_no_other_descriptors() {
    // Descriptor 3 is that of the directory itself, which `ls` opens.
    let script = "ls /proc/self/fd | tr '\\n' ' '; set -- $(sed 's/.*) //' /proc/$$/stat); test $3 = $4 -a $3 = $$ && echo leads; \
                  grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let file = File::open("/").unwrap();
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    blocked.thread_block().unwrap();
    let found = output(script, json!({}));
    blocked.thread_unblock().unwrap();
    let (before, ignored) = found.rsplit_once('\t').unwrap();
    assert_eq!(before, "0 1 2 3 leads\nSigBlk:\t0000000000000000\nSigIgn:");
    // The C library keeps the signals 32 and 33 for itself.
    assert_eq!(u64::from_str_radix(ignored.trim(), 16).unwrap() & !(0b11 << 31), 0);
}

#[test]
fn a_user_brings_groups_and_variables() {
    if !has_all_users() {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        assert_eq!(output("id -u; id -g", json!({ "user": format!("{user}:{group}") })), format!("{user}\n{group}\n"));
        return;
    }
    let found =
        output("id -u; id -g; echo $HOME; cat < /dev/stdin", json!({ "user": "nobody", "cwd": "/tmp", "env": { "HOME": "/x" } }));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!(found, format!("{}\n{}\n/x\n", nobody.uid, nobody.gid));
    assert_eq!(output("id -G; echo $USER", json!({ "user": "1234567:7" })), "7\n\n");
}

#[test]
fn a_process_keeps_the_capabilities_of_its_list() {
    let script = "sed -n 's/^Cap\\(Prm\\|Eff\\|Bnd\\):\\t//p' /proc/self/status | tr '\\n' ' '";
    if !nix::unistd::geteuid().is_root() {
        // Without any, the system forbids to drop them from the bounding set.
        let mut node = Node::new();
        assert!(refused(&mut node, "capabilities", json!("none")).starts_with("cannot set the capabilities"));
        return;
    }
    let mask = |bits: u64| format!("{bits:016x}");
    let (bind, none) = (mask(1 << 10), mask(0));
    let kept = json!(["NET_BIND_SERVICE"]);
    assert_eq!(output(script, json!({ "capabilities": "none" })), format!("{none} {none} {none} \n"));
    assert_eq!(output(script, json!({ "capabilities": kept })), format!("{bind} {bind} {bind} \n"));
    if has_all_users() {
        assert_eq!(output(script, json!({ "capabilities": kept, "user": "nobody" })), format!("{bind} {bind} {bind} \n"));
    }
}

use super::*;

fn trapping(signal: &str, action: &str) -> Value {
    json!({
        "command": format!("trap '{action}' {signal}; echo ready; while :; do sleep 1000 & wait $!; done"),
        "ready": { "log": "ready" },
    })
}

#[test]
fn a_process_that_ignores_the_signal_is_killed_with_all_that_it_started() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "trap '' TERM; sleep 1000 & echo $! ready; while :; do sleep 1000; done", "ready": { "log": "ready" } }));
    node.until_state("p", State::Ready);
    let child = node.output("p").split(' ').next().unwrap().parse().map(Pid::from_raw).unwrap();
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    node.turn();
    assert_eq!((node.state("p"), node.settled("p")), (State::Stopping, Settled::Waiting));
    assert!(!is_gone(child));
    node.pass(Duration::from_secs(5));
    node.until_state("p", State::Stopped);
    assert_eq!(node.settled("p"), Settled::Done);
    assert!(node.log("p").contains("] kill, because it did not end within 5s\n"), "{}", node.log("p"));
    assert!(node.supervisor.next_deadline().is_none());
    node.until("the child is gone", |_| is_gone(child));
}

#[test]
fn a_process_is_asked_to_end_with_its_signal() {
    let mut node = Node::new();
    let mut definition = trapping("INT", "echo end; exit 0");
    definition["stop"] = json!({ "signal": "INT" });
    node.put("p", definition);
    node.until_state("p", State::Ready);
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    // The shell lets its `sleep` ignore SIGINT.
    let killed = |node: &mut Node, ends| {
        node.until("it has ended", |node| node.output("p").matches("end\n").count() == ends);
        node.pass(Duration::from_secs(5));
    };
    killed(&mut node, 1);
    node.until_state("p", State::Stopped);
    node.supervisor.start(&name("p"), node.now()).unwrap();
    node.until_state("p", State::Ready);
    node.supervisor.start(&name("p"), node.now()).unwrap();
    assert_eq!(node.state("p"), State::Ready, "it runs");
    let pid = node.pid("p");
    node.supervisor.restart(&name("p"), node.now()).unwrap();
    killed(&mut node, 2);
    node.until("it runs again", |node| node.state("p") == State::Ready && node.pid("p") != pid);
}

#[test]
fn a_process_reloads_without_a_restart() {
    let mut node = Node::new();
    node.put("p", trapping("HUP", "echo reloaded"));
    node.until_state("p", State::Ready);
    let pid = node.pid("p");
    node.supervisor.reload(&name("p")).unwrap();
    node.until("it has reloaded", |node| node.output("p").contains("reloaded"));
    assert_eq!((node.state("p"), node.pid("p")), (State::Ready, pid));
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    assert_eq!(node.supervisor.reload(&name("p")), Err(RequestError::NotRunning(name("p"))));
    assert_eq!(node.supervisor.reload(&name("q")), Err(RequestError::Unknown(name("q"))));
}

#[test]
fn a_changed_definition_restarts_only_if_it_must() {
    let mut node = Node::new();
    let with = |key: &str, value: Value| {
        let mut spec = json!({ "command": "trap 'echo old; exit' TERM; while :; do sleep 1000 & wait $!; done" });
        spec[key] = value;
        spec
    };
    node.put("p", with("restart", json!("no")));
    let pid = node.pid("p");
    for spec in [with("restart", json!("always")), with("stop", json!({ "timeout": "50s" })), with("after", json!([]))] {
        node.put("p", spec);
        assert_eq!((node.pid("p"), node.state("p")), (pid, State::Running));
    }
    let file = node.path("ready");
    node.put("p", with("ready", json!({ "file": file })));
    assert_eq!((node.pid("p"), node.state("p"), node.settled("p")), (pid, State::Starting, Settled::Waiting));
    File::create(file).unwrap();
    node.until_state("p", State::Ready);
    node.put("p", json!({ "command": ["sleep", "1000"] }));
    assert_eq!(node.status("p").definition.command[0], "/bin/sh", "the old one runs until it has ended");
    node.until_state("p", State::Running);
    assert_ne!(node.pid("p"), pid);
    assert_eq!(node.status("p").definition.command, ["sleep", "1000"]);
    assert_eq!(node.status("p").restarts, 0, "that was no failure");
}

#[test]
fn a_put_starts_what_was_stopped_or_has_ended() {
    let mut node = Node::new();
    node.put("p", json!({ "command": ["sleep", "1000"] }));
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    node.put("p", json!({ "command": ["sleep", "1001"] }));
    node.until_state("p", State::Running);
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    node.until_state("p", State::Stopped);
    node.put("p", json!({ "command": ["sleep", "1001"] }));
    node.until_state("p", State::Running);
    nix::sys::signal::kill(Pid::from_raw(node.pid("p")), Signal::SIGKILL).unwrap();
    node.until_state("p", State::Failed);
    node.put("p", json!({ "command": ["sleep", "1001"] }));
    node.until_state("p", State::Running);
}

#[test]
fn what_hides_from_the_search_is_found_by_its_parent() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "setsid env -i sh -c 'echo $$; exec sleep 1000' & wait" }));
    node.until("the child runs", |node| node.output("p").ends_with('\n'));
    let child = node.output("p").trim().parse().map(Pid::from_raw).unwrap();
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    node.until("the child is gone", |_| is_gone(child));
}

#[test]
fn a_daemon_that_forks_away_is_found_and_ended() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "setsid sh -c 'echo $$; exec sleep 1000' & exit 0" }));
    node.until_state("p", State::Exited);
    node.until("the daemon runs", |node| node.output("p").ends_with('\n'));
    let daemon = node.output("p").trim().parse().map(Pid::from_raw).unwrap();
    assert!(!is_gone(daemon));
    node.supervisor.remove(&name("p"), node.now()).unwrap();
    node.until("it is removed", |node| node.supervisor.status(node.now()).is_empty());
    node.until("the daemon is gone", |_| is_gone(daemon));
    assert!(!std::path::Path::new(&node.path("p.log")).exists(), "its log is gone");
    assert_eq!(node.supervisor.remove(&name("p"), node.now()), Err(RequestError::Unknown(name("p"))));
}

#[test]
fn processes_end_before_those_that_they_come_after() {
    let mut node = Node::new();
    node.put("a", json!({ "command": ["sleep", "1000"] }));
    node.put("b", json!({ "command": "trap '' TERM; echo ready; exec sleep 1000", "after": ["a"], "ready": { "log": "ready" } }));
    node.put("c", json!({ "command": ["sleep", "1000"], "after": ["b"] }));
    node.until_state("c", State::Running);
    node.supervisor.shut_down(node.now());
    node.until_state("c", State::Stopped);
    assert_eq!((node.state("a"), node.state("b")), (State::Running, State::Stopping));
    node.pass(Duration::from_secs(6));
    node.until("all have ended", |node| node.supervisor.is_down());
    node.put("d", json!({ "command": ["true"] }));
    node.turn();
    assert_eq!(node.state("d"), State::Stopped, "nothing is started any more");
}

#[test]
fn a_status_is_plain_data() {
    let mut node = Node::new();
    node.put("p", json!({ "command": ["false"] }));
    node.until_state("p", State::Failed);
    node.pass(Duration::from_secs(7));
    let status = node.status("p");
    assert!(status.age >= 7000 && status.pid.is_none());
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<ProcessStatus>(&text).unwrap(), status);
    let settled = node.settled("p");
    assert_eq!(serde_json::from_value::<Settled>(serde_json::to_value(&settled).unwrap()).unwrap(), settled);
}

#[test]
fn what_waits_for_a_restart_does_not_hold_up_the_end() {
    let mut node = Node::new();
    let (ready, restart) =
        (json!({ "file": node.path("never") }), json!({ "policy": "always", "delay": "1h", "max_delay": "1h" }));
    node.put("failing", json!({ "command": "exit 3", "ready": ready, "restart": restart }));
    node.put("after", json!({ "command": ["true"], "after": ["failing"] }));
    node.put("last", json!({ "command": ["true"], "after": ["after"] }));
    node.until_state("failing", State::Backoff);
    node.supervisor.shut_down(node.now());
    assert!(node.supervisor.is_down());
}

#[test]
fn a_changed_file_is_unread_until_the_process_reads_it() {
    let mut node = Node::new();
    let definition = json!({ "command": "trap 'echo again' HUP; while :; do sleep 0.01; done", "reload_on": ["/etc/x"] });
    node.put("p", definition.clone());
    node.put("q", json!({ "command": ["sleep", "1000"] }));
    node.supervisor.file_changed("/etc/y");
    let unread = |node: &Node, process: &str| node.status(process).unread.into_iter().collect::<Vec<_>>();
    assert!(unread(&node, "p").is_empty());
    node.supervisor.file_changed("/etc/x");
    assert_eq!((unread(&node, "p"), unread(&node, "q")), (vec!["/etc/x".to_owned()], vec![]));
    node.supervisor.reload(&name("p")).unwrap();
    assert!(unread(&node, "p").is_empty());
    node.supervisor.file_changed("/etc/x");
    let mut independent = definition.clone();
    independent.as_object_mut().unwrap().remove("reload_on");
    node.put("p", independent);
    assert!(unread(&node, "p").is_empty(), "it no longer depends on the file");
    node.put("p", definition);
    node.supervisor.file_changed("/etc/x");
    node.supervisor.restart(&name("p"), node.now()).unwrap();
    node.until_state("p", State::Running);
    assert!(unread(&node, "p").is_empty(), "it reads its files when it starts");
}

#[test]
fn what_is_being_removed_is_not_brought_back_by_a_user() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "trap '' TERM; echo up; while :; do sleep 0.01; done", "stop": { "timeout": "60s" } }));
    node.until("it runs", |node| node.output("p") == "up\n");
    node.supervisor.remove(&name("p"), node.now()).unwrap();
    node.supervisor.restart(&name("p"), node.now()).unwrap();
    node.pass(Duration::from_secs(61));
    node.until("it is removed", |node| node.supervisor.status(node.now()).is_empty());
}

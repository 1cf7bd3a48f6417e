use super::*;

#[test]
fn delays_double_up_to_the_limit() {
    let mut node = Node::new();
    let restart = json!({ "policy": "on-failure", "delay": "100s", "max_delay": "300s", "limit": 4 });
    node.put("p", json!({ "command": "exit 3", "restart": restart }));
    for (restarts, delay) in [(1, 100), (2, 200), (3, 300), (4, 300)] {
        node.until_state("p", State::Backoff);
        assert_eq!(node.status("p").restarts, restarts);
        assert_eq!(node.status("p").last_end, Some(crate::resource::node::process::End::Status(3)));
        node.pass(Duration::from_secs(delay - 60));
        assert_eq!(node.state("p"), State::Backoff, "after {restarts} restarts");
        node.pass(Duration::from_secs(60));
    }
    node.until_state("p", State::Failed);
    assert_eq!(node.reason("p"), "exited with status 3; restarted 4 times in vain");
    assert_eq!(node.log("p").matches("] exited with status 3\n").count(), 5);
    node.supervisor.start(&name("p"), node.now()).unwrap();
    node.until_state("p", State::Backoff);
    node.pass(Duration::from_secs(50));
    assert_eq!(node.state("p"), State::Backoff, "a request starts with the first delay again");
}

#[test]
fn a_process_that_ran_for_long_begins_with_the_first_delay() {
    let mut node = Node::new();
    node.put("p", json!({ "command": ["sleep", "1000"], "restart": { "policy": "always", "delay": "10s", "max_delay": "100s", "limit": 1 } }));
    for round in 1..4 {
        node.pass(Duration::from_secs(101));
        nix::sys::signal::kill(Pid::from_raw(node.pid("p")), Signal::SIGKILL).unwrap();
        node.until_state("p", State::Backoff);
        assert_eq!(node.reason("p"), "was killed by SIGKILL");
        node.pass(Duration::from_secs(11));
        node.until_state("p", State::Running);
        node.pass(Duration::from_millis(60));
        assert_eq!((node.status("p").restarts, node.settled("p")), (round, Settled::Done));
    }
}

#[test]
fn the_policy_decides_which_ends_lead_to_a_restart() {
    let mut node = Node::new();
    let with = |policy: &str, status: u32| json!({ "command": format!("exit {status}"), "restart": { "policy": policy, "delay": "1h", "max_delay": "1h" } });
    node.put("no-0", json!({ "command": ["true"] }));
    node.put("no-1", json!({ "command": ["false"] }));
    node.put("failure-0", with("on-failure", 0));
    node.put("failure-1", with("on-failure", 1));
    node.put("always-0", with("always", 0));
    for (process, state) in [
        ("no-0", State::Exited),
        ("no-1", State::Failed),
        ("failure-0", State::Exited),
        ("failure-1", State::Backoff),
        ("always-0", State::Backoff),
    ] {
        node.until_state(process, state);
    }
}

#[test]
fn restarts_do_not_extend_the_time_to_become_ready() {
    let mut node = Node::new();
    let restart = json!({ "policy": "always", "delay": "4s", "max_delay": "4s" });
    node.put("p", json!({ "command": "exit 1", "ready": { "tcp": 1, "timeout": "10s" }, "restart": restart }));
    for _ in 0..2 {
        node.until_state("p", State::Backoff);
        assert_eq!(node.settled("p"), Settled::Waiting);
        node.pass(Duration::from_secs(5));
    }
    node.until_state("p", State::Backoff);
    node.pass(Duration::from_secs(1));
    node.turn();
    assert_eq!(node.reason("p"), "exited with status 1 before it was ready");
    assert_ne!(node.state("p"), State::Failed, "it is tried for ever");
}

#[test]
fn a_oneshot_is_done_when_it_succeeds() {
    let mut node = Node::new();
    let file = node.path("file");
    let definition = json!({ "command": format!("echo run; test -e {file}"), "oneshot": true, "restart": "on-failure" });
    node.put("p", definition.clone());
    node.put("failing", json!({ "command": "echo why >&2; exit 7", "oneshot": true }));
    node.put("after", json!({ "command": ["true"], "after": ["failing"] }));
    node.put("last", json!({ "command": ["true"], "after": ["after"] }));
    node.until("it is repeated", |node| node.status("p").restarts > 0);
    assert_eq!(node.settled("p"), Settled::Waiting);
    File::create(file).unwrap();
    node.until_state("p", State::Exited);
    assert_eq!(node.settled("p"), Settled::Done);
    node.until_state("failing", State::Failed);
    assert_eq!(node.settled("failing"), Settled::Failed { reason: "exited with status 7".into(), log: vec!["why".into()] });
    assert_eq!(node.state("after"), State::Waiting);
    let reason = "comes after `after`, which comes after `failing`, which exited with status 7".into();
    assert_eq!(node.settled("last"), Settled::Failed { reason, log: vec!["why".into()] });
    let before = node.output("p");
    node.put("p", definition);
    node.turn();
    assert_eq!((node.state("p"), node.output("p")), (State::Exited, before), "it has run with this definition");
    node.put("p", json!({ "command": ["echo", "other"], "oneshot": true }));
    node.until("it runs with another one", |node| node.output("p").ends_with("other\n"));
}

#[test]
fn a_oneshot_that_never_succeeds_has_failed_some_time() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "exit 3", "oneshot": true, "restart": "on-failure" }));
    for restarts in 1..=8 {
        node.until_state("p", State::Backoff);
        assert_eq!((node.status("p").restarts, node.settled("p")), (restarts, Settled::Waiting));
        node.pass(Duration::from_secs(30));
    }
    node.until_state("p", State::Failed);
    assert_eq!(node.reason("p"), "exited with status 3; restarted 8 times in vain");
}

#[test]
fn a_daemon_that_exits_at_once_is_explained() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "echo started" }));
    node.until_state("p", State::Exited);
    let Settled::Failed { reason, log } = node.settled("p") else { panic!("it does not run") };
    assert!(reason.starts_with("exited with status 0; a daemon must stay in the foreground"), "{reason}");
    assert_eq!(log, ["started"]);
}

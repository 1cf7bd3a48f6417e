use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn a_log_is_bounded_and_the_process_goes_on() {
    let mut node = Node::new();
    let go = node.path("go");
    let script = format!(
        "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo first; while ! test -e {go}; do sleep 0.01; done; echo second; exec sleep 1000"
    );
    node.put("p", json!({ "command": script }));
    // The loop is busy until much was written.
    let begin = Instant::now();
    while !node.output("p").ends_with("first\n") {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    node.pass(Duration::from_secs(2));
    let size = |file: &str| std::fs::metadata(node.path(file)).unwrap().size();
    assert_eq!((size("p.log"), size("p.log.1")), (0, log::LIMIT));
    let copy = std::fs::read_to_string(node.path("p.log.1")).unwrap();
    assert!(copy.starts_with('x') && copy.ends_with("x\nfirst\n"));
    File::create(go).unwrap();
    node.until("it goes on at the start", |node| node.log("p") == "second\n");
    assert_eq!(std::fs::metadata(node.path("p.log")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_text_is_found_though_the_log_is_moved() {
    let mut node = Node::new();
    let script = "echo is ready; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo first; exec sleep 1000";
    let go = node.path("go");
    node.put(
        "q",
        json!({ "command": format!("while ! test -e {go}; do sleep 0.01; done; {script}"), "ready": { "log": "is ready" } }),
    );
    node.supervisor.tick(node.now());
    File::create(go).unwrap();
    // The loop is busy until much was written.
    let begin = Instant::now();
    while !node.output("q").ends_with("first\n") {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    node.pass(Duration::from_secs(2));
    node.until_state("q", State::Ready);
}

#[test]
fn lines_of_topo_begin_at_the_start_of_a_line() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "printf 'no newline'; exit 1" }));
    node.until_state("p", State::Failed);
    let log = node.log("p");
    let [start, line, end] = log.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {log}") };
    assert!(start.starts_with(log::MARK) && start.contains("] start /bin/sh -c printf"), "{start}");
    assert_eq!(line, "no newline");
    assert!(end.starts_with(log::MARK) && end.ends_with("] exited with status 1"), "{end}");
    assert_eq!(node.settled("p"), Settled::Failed { reason: "exited with status 1".into(), log: vec!["no newline".into()] });
}

#[test]
fn a_log_that_is_a_link_is_not_followed() {
    let mut node = Node::new();
    let target = node.path("target");
    std::os::unix::fs::symlink(&target, node.path("p.log")).unwrap();
    node.put("p", json!({ "command": ["true"] }));
    assert!(node.reason("p").starts_with("cannot open the log: "), "{}", node.reason("p"));
    assert!(!std::path::Path::new(&target).exists());
}

#[test]
fn a_failure_is_explained_by_the_log_since_the_last_start() {
    let mut node = Node::new();
    let said = node.path("said");
    node.put("p", json!({ "command": format!("test -e {said} && echo second || echo first; touch {said}; exit 1") }));
    node.until_state("p", State::Failed);
    node.supervisor.start(&name("p"), node.now()).unwrap();
    node.until_state("p", State::Failed);
    assert_eq!(node.settled("p"), Settled::Failed { reason: "exited with status 1".into(), log: vec!["second".into()] });
}

#[test]
fn the_size_of_a_log_is_checked_as_often_as_it_grows() {
    let now = Instant::now();
    let mut check = run::LogCheck::begin(0, now);
    let mut delay = |size: u64| {
        check.checked(size, now);
        (check.due - now).as_millis()
    };
    assert_eq!([1 << 20, 2 << 20].map(&mut delay), [10, 10], "it grows fast");
    assert_eq!([1, 1, 1].map(|more| delay((2 << 20) + more)), [20, 40, 80], "it hardly grows");
    assert_eq!((0..9).map(|_| delay((2 << 20) + 1)).last(), Some(1000));
    assert_eq!(delay(3 << 20), 10);
}

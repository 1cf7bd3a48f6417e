#![allow(clippy::needless_pass_by_value, reason = "definitions are written where they are used")]

use serde_json::json;

use super::*;
use crate::name::NamespaceName;
use crate::yaml::{Path, Problems};

fn read(processes: Value) -> Result<BTreeMap<ProcessName, ProcessSpec>, String> {
    serde_json::from_value(processes).map_err(|error| error.to_string())
}

fn lowered(processes: Value) -> (BTreeMap<ProcessName, Process>, Vec<String>) {
    let files = ["/etc/a".to_owned(), "/etc/b".to_owned()].into();
    let node: NamespaceName = "r1".parse().unwrap();
    let root = Path::root().then(&node);
    let site = Site { path: root.clone().then(Process::LIST), node: &node, files_path: root.then("files"), files: &files };
    let mut problems = Problems::default();
    let lowered = lower(&read(processes).unwrap(), &site, &mut problems);
    (lowered, problems.collected.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
}

/// The definition of a process `p` of a valid file.
fn process(spec: Value) -> Process {
    let (mut processes, problems) = lowered(json!({ "p": spec, "o": { "command": ["true"] } }));
    assert_eq!(problems, [""; 0]);
    processes.remove(&"p".parse::<ProcessName>().unwrap()).unwrap()
}

/// The problems of a process `p`, without the beginning of their paths.
fn problems(mut spec: Value) -> Vec<String> {
    if let Some(keys) = spec.as_object_mut()
        && !keys.contains_key("command")
    {
        keys.insert("command".into(), json!(["true"]));
    }
    let (processes, problems) = lowered(json!({ "p": spec, "o": { "command": ["true"] } }));
    assert_eq!(processes.len(), 1, "a process with a problem is left out");
    problems.into_iter().map(|problem| problem.trim_start_matches("r1/processes/p/").to_owned()).collect()
}

/// Processes that together have every key, and every form of it.
fn samples() -> Vec<Value> {
    let with = |key: &str, value: Value| json!({ "command": ["a", "b c", ""], key: value });
    let ready = [
        json!({ "notify": true }),
        json!({ "tcp": "80" }),
        json!({ "udp": "10.0.0.1:53", "timeout": "5s" }),
        json!({ "tcp": "[2001:db8::1]:80", "interval": "1s" }),
        json!({ "unix": "/run/x" }),
        json!({ "unix": "@x" }),
        json!({ "file": "/run/x" }),
        json!({ "log": "is ready" }),
        json!({ "exec": "test -e /x" }),
        json!({ "exec": ["test", "-e", "/x"] }),
    ];
    let restart = [
        json!("on-failure"),
        json!("always"),
        json!({ "policy": "always", "delay": "40s" }),
        json!({ "policy": "always", "max_delay": "40s" }),
        json!({ "policy": "on-failure", "delay": "1ms", "max_delay": "1ms", "limit": 3 }),
    ];
    let others = [
        ("env", json!({ "A": "b" })),
        ("cwd", json!("/tmp")),
        ("user", json!("daemon:1")),
        ("after", json!(["o"])),
        ("stop", json!({ "signal": "INT" })),
        ("stop", json!({ "timeout": "0s" })),
        ("reload", json!({ "signal": "USR1" })),
        ("oneshot", json!(true)),
        ("capabilities", json!("none")),
        ("capabilities", json!(["NET_BIND_SERVICE", "NET_RAW"])),
        ("stdin", json!("a\nb")),
        ("reload_on", json!(["/etc/a"])),
        ("restart_on", json!(["/etc/a", "/etc/b"])),
    ];
    let all = ready.map(|ready| ("ready", ready)).into_iter().chain(restart.map(|restart| ("restart", restart))).chain(others);
    all.map(|(key, value)| with(key, value)).chain([json!({ "command": "a b" }), json!({ "command": ["a"] })]).collect()
}

#[test]
fn a_process_is_read_back_as_it_is_written() {
    for sample in samples() {
        let process = process(sample.clone());
        assert_eq!(serde_json::to_value(raise(&process)).unwrap(), sample);
    }
}

#[test]
fn a_definition_goes_to_the_init_and_back_as_json() {
    for sample in samples() {
        let process = process(sample);
        let text = serde_json::to_string(&process).unwrap();
        assert_eq!(serde_json::from_str::<Process>(&text).unwrap(), process, "{text}");
    }
}

#[test]
fn defaults_are_filled_in_and_not_shown() {
    let process = process(json!({ "command": ["a"], "stdin": null }));
    assert_eq!((process.cwd.as_str(), process.stdin.as_deref(), process.reload), ("/", None, Signal::HUP));
    assert_eq!(process.stop, Stop { signal: Signal::TERM, timeout: Duration::seconds(5) });
    assert_eq!(process.show(), [("command".to_owned(), json!(["a"]))]);
}

#[test]
fn other_spellings_have_the_same_meaning() {
    let one = json!({ "command": "x", "restart": { "policy": "no" }, "stop": { "signal": "SIGTERM" }, "reload": { "signal": "HUP" },
        "ready": { "tcp": 80, "timeout": "30000ms" }, "capabilities": ["cap_net_raw", "NET_ADMIN"], "user": 7 });
    let other = json!({ "command": ["/bin/sh", "-c", "x"], "ready": { "tcp": "80" }, "capabilities": ["NET_ADMIN", "NET_RAW"],
        "user": "7" });
    assert_eq!(process(one), process(other));
}

#[test]
fn signals_have_names_and_capabilities_numbers() {
    let process = process(json!({ "command": "a", "stop": { "signal": "SIGINT" }, "capabilities": ["CAP_SYS_ADMIN"] }));
    assert_eq!(process.stop.signal.name(), "INT");
    assert_eq!(process.capabilities.unwrap().first().unwrap().number(), 21);
}

#[test]
fn values_that_do_not_exist_are_refused() {
    for (spec, words) in [
        (json!({ "command": "a", "stop": { "signal": "TREM" } }), "`TREM` is not a signal; write its name, such as `TERM`"),
        (json!({ "command": "a", "stop": { "signal": 15 } }), "write its name"),
        (json!({ "command": "a", "capabilities": ["NET_BIND"] }), "is not a capability"),
        (json!({ "command": "a", "capabilities": "all" }), "or `none`"),
        (json!({ "command": "a", "ready": { "tcp": 0 } }), "out of range (1 to 65535)"),
        (json!({ "command": "a", "ready": { "tcp": "x:1" } }), "is not a port"),
        (json!({ "command": "a", "restart": "sometimes" }), "on-failure"),
        (json!({ "command": "a", "user": "" }), "is not a user"),
        (json!({ "command": "a", "user": "4294967295" }), "is not a user"),
        (json!({ "command": "a", "user": "a:" }), "is not a user"),
        (json!({ "command": "a", "stdin": 7 }), "a text, in quotes"),
        (json!({ "command": 7 }), "a list, or a text for the shell"),
        (json!({ "comand": "a" }), "unknown field"),
        (json!({}), "missing field `command`"),
    ] {
        let error = read(json!({ "p": spec })).unwrap_err();
        assert!(error.contains(words), "{spec}: {error}");
    }
    assert!(read(json!({ ".p": { "command": "a" } })).is_err());
}

#[test]
fn all_problems_of_a_process_are_found() {
    let found = problems(json!({
        "command": [""], "env": { "A=": "", "NOTIFY_SOCKET": "x" }, "cwd": "tmp", "after": ["p", "q", "o", "o"],
        "reload_on": ["x", "/etc/c", "/etc/a"], "restart_on": ["/etc/a", "/etc/b", "/etc/b"], "stop": { "signal": "CONT" },
        "ready": { "tcp": 80, "udp": 80, "timeout": "0s", "interval": "1ms" },
        "restart": { "policy": "no", "delay": "2s", "max_delay": "1s", "limit": 0 },
    }));
    let expected = [
        "env/A=: `A=` is not the name of a variable",
        "env/NOTIFY_SOCKET: `NOTIFY_SOCKET` is set by topo",
        "after/0: `p` cannot come after itself",
        "after/1: `r1` has no process `q`",
        "after/3: duplicate process `o`",
        "reload_on/0: `x` is not an absolute path",
        "reload_on/1: `/etc/c` is not one of the `files` or `binds` of `r1`",
        "restart_on/0: `/etc/a` is in `reload_on`, too",
        "restart_on/2: duplicate file `/etc/b`",
        "ready/udp: a process is ready under one condition only",
        "ready/timeout: a timeout of 0 leaves no time to become ready",
        "ready/interval: interval 1ms is too short (at least 10ms)",
        "command: the command is empty",
        "restart/delay: the policy `no` cannot have `delay`",
        "restart/max_delay: the policy `no` cannot have `max_delay`",
        "restart/limit: the policy `no` cannot have `limit`",
        "restart/max_delay: `max_delay` 1s is shorter than `delay` 2s",
        "restart/limit: limit is out of range (at least 1)",
        "stop/signal: `CONT` does not end a process",
        "cwd: `tmp` is not an absolute path",
    ];
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), expected.map(str::to_owned).iter().collect::<BTreeSet<_>>(), "{found:#?}");
}

#[test]
fn a_oneshot_is_ready_when_it_has_succeeded() {
    let found = problems(json!({ "oneshot": true, "ready": { "tcp": 80 }, "restart": "always", "reload_on": ["/etc/a"],
        "reload": { "signal": "HUP" } }));
    assert_eq!(
        found,
        [
            "ready: a `oneshot` is ready when it has succeeded",
            "restart: a `oneshot` runs once, and cannot have the restart policy `always`",
            "reload: a `oneshot` does not reload",
            "reload_on: a `oneshot` does not reload",
        ]
    );
    process(json!({ "command": ["a"], "oneshot": true, "restart": "on-failure", "restart_on": ["/etc/a"] }));
}

#[test]
fn a_condition_must_be_given_and_be_possible() {
    for (ready, message) in [
        (json!({}), "ready: no condition is given"),
        (json!({ "timeout": "5s" }), "ready: no condition is given"),
        (json!({ "notify": false }), "ready/notify: `notify` can only be `true`"),
        (json!({ "unix": "x" }), "ready/unix: `x` is not an absolute path"),
        (json!({ "unix": "@" }), "ready/unix: `@` is not an absolute path"),
        (json!({ "file": "x" }), "ready/file: `x` is not an absolute path"),
        (json!({ "log": "a\nb" }), "ready/log: the text must be a part of a line"),
        (json!({ "log": "" }), "ready/log: the text must be a part of a line"),
        (json!({ "exec": " " }), "ready/exec: the command is empty"),
        (json!({ "exec": ["a\u{0}"] }), "ready/exec: the text contains a zero byte"),
    ] {
        assert_eq!(problems(json!({ "ready": ready })), [message]);
    }
}

#[test]
fn processes_that_wait_for_each_other_are_refused() {
    let process = |after: &[&str]| json!({ "command": ["a"], "after": after });
    let (_, problems) = lowered(json!({
        "a": process(&["c"]), "b": process(&["d", "c"]), "c": process(&["b"]), "d": process(&[]), "e": process(&["b"]),
        "x": process(&["y"]), "y": process(&["x"]),
    }));
    assert_eq!(
        problems,
        [
            "r1/processes/c/after/0: circular order of processes: `c` comes after `b`, which comes after `c`",
            "r1/processes/x/after/0: circular order of processes: `x` comes after `y`, which comes after `x`",
        ]
    );
}

#[test]
fn what_a_process_has_for_life_forces_a_restart() {
    let live = process(json!({ "command": ["a"], "ready": { "tcp": 80 }, "restart": "always" }));
    let restarts = |spec: Value| process(spec).needs_restart(&live);
    for (key, value) in [("ready", json!({ "tcp": 81 })), ("restart", json!("no")), ("stop", json!({ "timeout": "1s" }))] {
        assert!(!restarts(json!({ "command": ["a"], key: value })), "{key}");
    }
    for (key, value) in
        [("env", json!({ "A": "b" })), ("user", json!(7)), ("stdin", json!("")), ("ready", json!({ "notify": true }))]
    {
        assert!(restarts(json!({ "command": ["a"], key: value })), "{key}");
    }
    assert!(restarts(json!({ "command": ["b"] })));
    let changes = process(json!({ "command": ["a", "b"], "ready": { "tcp": 80 } })).compare(&live);
    let command = FieldChange { forces_replacement: true, ..FieldChange::new("command", json!(["a"]), json!(["a", "b"])) };
    assert_eq!(changes, [command, FieldChange::new("restart", json!("always"), Value::Null)]);
    assert_eq!(live.compare(&live), []);
}

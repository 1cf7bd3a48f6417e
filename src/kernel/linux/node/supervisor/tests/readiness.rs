use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use super::*;

fn sleeper(ready: Value) -> Value {
    json!({ "command": ["sleep", "1000"], "ready": ready })
}

#[test]
fn a_process_starts_when_those_before_it_are_ready() {
    let mut node = Node::new();
    let file = node.path("ready");
    node.put("c", json!({ "command": ["sleep", "1000"], "after": ["b"] }));
    node.put("b", json!({ "command": ["true"], "oneshot": true, "after": ["a"] }));
    assert_eq!((node.state("b"), node.state("c")), (State::Waiting, State::Waiting), "`a` does not exist yet");
    node.put("a", sleeper(json!({ "file": file })));
    node.turn();
    assert_eq!((node.state("a"), node.state("b")), (State::Starting, State::Waiting));
    assert_eq!(node.settled("c"), Settled::Waiting);
    File::create(&file).unwrap();
    node.until_state("c", State::Running);
    assert_eq!((node.state("a"), node.state("b")), (State::Ready, State::Exited));
    assert_eq!(["a", "b"].map(|process| node.settled(process)), [Settled::Done, Settled::Done]);
    // Without a condition, it must have run for a moment.
    node.pass(Duration::from_millis(60));
    assert_eq!(node.settled("c"), Settled::Done);
}

#[test]
fn sockets_make_a_process_ready() {
    let mut node = Node::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) = ((tcp.local_addr().unwrap(), tcp), (udp.local_addr().unwrap(), udp));
    node.put("tcp", sleeper(json!({ "tcp": tcp.0.port() })));
    node.put("tcp-address", sleeper(json!({ "tcp": tcp.0.to_string() })));
    node.put("tcp-other", sleeper(json!({ "tcp": format!("127.0.0.2:{}", tcp.0.port()) })));
    node.put("udp", sleeper(json!({ "udp": udp.0.port() })));
    let path = node.path("socket");
    node.put("unix", sleeper(json!({ "unix": path })));
    node.turn();
    let _unix = UnixListener::bind(&path).unwrap();
    let abstract_name = format!("topo-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
    node.put("abstract", sleeper(json!({ "unix": format!("@{abstract_name}") })));
    for process in ["tcp", "tcp-address", "udp", "unix", "abstract"] {
        node.until_state(process, State::Ready);
    }
    assert_eq!(node.state("tcp-other"), State::Starting);
}

#[test]
fn a_line_of_the_log_makes_a_process_ready() {
    let mut node = Node::new();
    let go = node.path("go");
    let script = format!("echo one; printf two; while ! test -e {go}; do sleep 0.01; done; echo ' is ready'; exec sleep 1000");
    node.put("p", json!({ "command": script, "ready": { "log": "two is ready", "interval": "10ms" } }));
    node.until("it writes", |node| node.output("p").contains("two"));
    // The command itself is in the log, too.
    assert_eq!(node.state("p"), State::Starting);
    File::create(go).unwrap();
    node.until_state("p", State::Ready);
    assert_eq!(node.output("p"), "one\ntwo is ready\n");
}

#[test]
fn a_command_makes_a_process_ready_when_it_succeeds() {
    let mut node = Node::new();
    let (file, user) = (node.path("file"), nix::unistd::geteuid().to_string());
    let ready = json!({ "exec": format!("test $A = b && test -e {file}"), "interval": "10ms" });
    node.put("p", json!({ "command": ["sleep", "1000"], "env": { "A": "b" }, "ready": ready, "user": user }));
    let missing = |node: &Node| node.supervisor.entries[&name("p")].run.as_ref().unwrap().probe.as_ref().unwrap().missing.clone();
    node.until("it is checked", |node| missing(node) == "the command of `exec` exited with status 1");
    assert_eq!(node.state("p"), State::Starting);
    File::create(file).unwrap();
    node.until_state("p", State::Ready);
}

#[test]
fn a_command_that_hangs_is_killed_and_started_again() {
    let mut node = Node::new();
    let file = node.path("second");
    let script = format!("test -e {file} && exit; touch {file}; exec sleep 1000");
    node.put("p", json!({ "command": ["sleep", "1000"], "ready": { "exec": script, "timeout": "1h" } }));
    node.until("the command runs", |_| std::path::Path::new(&file).exists());
    node.pass(Duration::from_secs(11));
    node.until_state("p", State::Ready);
}

/// Sends a notice as the process would.
fn notify(pid: i32, notice: &str) {
    // Empty for a moment after execve(2) has closed the descriptors of the old program.
    let begin = Instant::now();
    let address = loop {
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        match environment.split('\0').find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET=@")) {
            Some(address) => break SocketAddr::from_abstract_name(address).unwrap(),
            None => assert!(begin.elapsed() < PATIENCE),
        }
    };
    UnixDatagram::unbound().unwrap().send_to_addr(notice.as_bytes(), &address).unwrap();
}

#[test]
fn a_process_notifies_that_it_is_ready() {
    let mut node = Node::new();
    node.put("p", sleeper(json!({ "notify": true })));
    let pid = node.pid("p");
    notify(pid, "STATUS=loading\nX=1");
    node.until("the message arrives", |node| node.status("p").message.as_deref() == Some("loading"));
    assert_eq!(node.state("p"), State::Starting);
    notify(pid, "READY=1\nSTATUS=serving");
    node.until_state("p", State::Ready);
    assert_eq!(node.status("p").message.as_deref(), Some("serving"));
}

#[test]
fn a_process_of_its_own_can_take_the_place_of_the_main_one() {
    let mut node = Node::new();
    node.put("p", json!({ "command": "sleep 1000 & echo $!; sleep 1001 & wait", "ready": { "notify": true } }));
    node.until("it writes", |node| node.output("p").ends_with('\n'));
    let (shell, child) = (node.pid("p"), node.output("p").trim().parse::<i32>().unwrap());
    let stranger = std::process::id();
    notify(shell, &format!("MAINPID={stranger}\nREADY=1"));
    node.until_state("p", State::Ready);
    assert_eq!(node.pid("p"), shell, "a process that does not belong to it is not taken");
    notify(shell, &format!("MAINPID={child}"));
    node.until("the child is the main process", |node| node.pid("p") == child);
    node.supervisor.stop(&name("p"), node.now()).unwrap();
    node.until_state("p", State::Stopped);
    waitpid(Pid::from_raw(shell), None).unwrap();
}

#[test]
fn a_process_that_is_not_ready_in_time_is_ended() {
    let mut node = Node::new();
    let spec = |restart: &str| json!({ "command": "echo hello; exec sleep 1000", "ready": { "tcp": 1, "timeout": "20s" }, "restart": restart });
    node.put("p", spec("no"));
    node.put("q", spec("on-failure"));
    node.put("r", json!({ "command": ["true"], "after": ["p"] }));
    node.until("they write", |node| node.output("p") == "hello\n" && node.output("q") == "hello\n");
    node.pass(Duration::from_secs(19));
    assert_eq!((node.state("p"), node.settled("r")), (State::Starting, Settled::Waiting));
    node.pass(Duration::from_secs(2));
    node.until_state("p", State::Failed);
    let Settled::Failed { reason, log } = node.settled("p") else { panic!("it has failed") };
    assert_eq!(reason, "was not ready within 20s: nothing listens on TCP port 1");
    assert_eq!(log, ["hello"]);
    assert_eq!(node.settled("r"), Settled::Failed { reason: format!("comes after `p`, which {reason}"), log });
    node.until("it is tried again", |node| node.state("q") == State::Starting && node.status("q").restarts == 1);
    assert!(node.reason("q").starts_with("was not ready"));
    node.put("q", spec("on-failure"));
    assert_eq!((node.state("q"), node.settled("q")), (State::Starting, Settled::Waiting), "a request gives it its time again");
    node.pass(Duration::from_secs(21));
    assert!(node.reason("q").starts_with("was not ready"));
}

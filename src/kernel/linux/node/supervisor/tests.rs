//! A supervisor in the process of the test: the children are those of the test, which waits for each by its PID.

#![allow(clippy::needless_pass_by_value, reason = "definitions are written where they are used")]

mod logs;
mod programs;
mod readiness;
mod requests;
mod restarts;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::*;
use crate::name::NamespaceName;
use crate::resource::node::process::{Site, State, lower};
use crate::yaml::{Path, Problems};

/// More than any step of a test takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a supervisor, a directory, and a clock that can be put forward.
struct Node {
    supervisor: Supervisor,
    directory: PathBuf,
    skew: Duration,
}

fn name(text: &str) -> ProcessName {
    text.parse().unwrap()
}

impl Node {
    fn new() -> Self {
        let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("topo-supervisor-XXXXXX")).unwrap();
        let path = std::env::var("PATH").unwrap();
        let environment = [("PATH", path.as_str()), ("OF_NODE", "yes")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let logs = Logs { directory: File::open(&directory).unwrap().into(), node: ".".into() };
        Self { supervisor: Supervisor::new(Settings::new(logs, environment.into())), directory, skew: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        Instant::now() + self.skew
    }

    fn path(&self, file: &str) -> String {
        self.directory.join(file).to_str().unwrap().to_owned()
    }

    fn put(&mut self, process: &str, spec: Value) {
        let definition = definition(process, spec);
        self.supervisor.put(&name(process), definition, self.now());
    }

    fn status(&self, process: &str) -> ProcessStatus {
        let statuses = self.supervisor.status(self.now());
        statuses.into_iter().find(|status| status.name == name(process)).unwrap()
    }

    fn state(&self, process: &str) -> State {
        self.status(process).state
    }

    fn pid(&self, process: &str) -> i32 {
        self.status(process).pid.unwrap()
    }

    fn settled(&self, process: &str) -> Settled {
        self.supervisor.settled(&name(process))
    }

    /// Why the process failed.
    fn reason(&self, process: &str) -> String {
        match self.settled(process) {
            Settled::Failed { reason, .. } => reason,
            other => panic!("`{process}` has not failed, but is {other:?}"),
        }
    }

    fn log(&self, process: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(&format!("{process}.log"))).unwrap_or_default()).into_owned()
    }

    /// What the process wrote, without the lines of topo.
    fn output(&self, process: &str) -> String {
        self.log(process).lines().filter(|line| !line.starts_with(log::MARK)).map(|line| format!("{line}\n")).collect()
    }

    /// One round of the loop of an init.
    fn turn(&mut self) {
        for pid in self.supervisor.children() {
            let status = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                // An init reaps what was not started by itself, too.
                Err(Errno::ECHILD) if is_gone(pid) => WaitStatus::Signaled(pid, Signal::SIGKILL, false),
                Err(Errno::ECHILD) => continue,
                other => other.unwrap(),
            };
            self.supervisor.child_ended(status, self.now());
        }
        let names: Vec<ProcessName> = self.supervisor.descriptors().map(|(name, _)| name.clone()).collect();
        for name in names {
            self.supervisor.readable(&name, self.now());
        }
        if self.supervisor.next_deadline().is_some_and(|deadline| deadline <= self.now()) {
            self.supervisor.tick(self.now());
        }
    }

    /// Runs the loop until the condition holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            let states: Vec<_> =
                self.supervisor.status(self.now()).into_iter().map(|status| (status.name, status.state)).collect();
            assert!(begin.elapsed() < PATIENCE, "never: {what}; states {states:?}");
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn until_state(&mut self, process: &str, state: State) {
        self.until(&format!("{process} is {state}"), |node| node.state(process) == state);
    }

    /// Puts the clock forward and does what is due then.
    fn pass(&mut self, time: Duration) {
        self.skew += time;
        self.turn();
    }
}

/// The definition of a process of a lab file, in which all that it comes after exists.
fn definition(process: &str, spec: Value) -> Process {
    let mut specs = json!({});
    for after in spec["after"].as_array().into_iter().flatten() {
        specs[after.as_str().unwrap()] = json!({ "command": ["true"] });
    }
    specs[process] = spec;
    let node: NamespaceName = "node".parse().unwrap();
    let site = Site { path: Path::root(), node: &node, files_path: Path::root(), files: &["/etc/x".to_owned()].into() };
    let mut problems = Problems::default();
    let mut lowered = lower(&serde_json::from_value(specs).unwrap(), &site, &mut problems);
    assert_eq!(problems.collected, []);
    lowered.remove(&name(process)).unwrap()
}

/// Whether the process has ended. If the test has the PID 1, nobody reaps it.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// Whether programs can run as any user: for root, but not for that of a user namespace with one user.
fn has_all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let count = map.split_whitespace().nth(2).unwrap().parse::<u32>().unwrap();
    nix::unistd::geteuid().is_root() && count > 1
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.supervisor.entries.values().filter_map(|entry| entry.run.as_ref()).for_each(run::Run::kill);
        } else {
            self.supervisor.shut_down(self.now());
            self.pass(Duration::from_secs(3600));
            self.until("all has ended", |node| node.supervisor.is_down());
            std::fs::remove_dir_all(&self.directory).unwrap();
        }
    }
}

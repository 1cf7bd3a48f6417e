//! Runs topo and the programs that show what the kernel has.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::programs::{command, missing_in, path_of};

/// The binary under test.
pub const TOPO: &str = env!("CARGO_BIN_EXE_topo");

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status; 124 when it was killed because it hung.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl From<&Output> for Outcome {
    fn from(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Outcome {
    /// Insists on exit status 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Insists on an exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "unexpected exit status\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Insists on a text among what was printed on either.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(found, "`{text}` is not in\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// Runs topo; a run that hangs ends after two minutes with status 124.
pub fn topo(arguments: &[&str]) -> Outcome {
    let mut command = command("timeout");
    command.args(["--kill-after=5", "120", TOPO]).args(arguments).env_remove("NO_COLOR").stdin(Stdio::null());
    Outcome::from(&command.output().expect("timeout can be run"))
}

/// Runs topo under strace(1) with these options, which may have it disturb calls; a run that hangs ends after two minutes with status 124.
pub fn strace(options: &[&str], arguments: &[&str]) -> Outcome {
    let mut command = command("timeout");
    command.args(["--kill-after=5", "120"]).arg(path_of("strace")).arg("-f").args(options).arg(TOPO).args(arguments);
    Outcome::from(&command.stdin(Stdio::null()).output().expect("timeout can be run"))
}

/// What strace(1) with these options writes of a run of topo, which must succeed.
#[track_caller]
pub fn traced(options: &[&str], arguments: &[&str]) -> String {
    let file = lab("");
    strace(&[&["-o", &file], options].concat(), arguments).ok();
    std::fs::read_to_string(&file).expect("strace wrote its output")
}

/// Applies a lab file, which must succeed.
#[track_caller]
pub fn apply(lab: &str) -> Outcome {
    topo(&["apply", lab]).ok()
}

/// Destroys a lab by file or name, which must succeed.
#[track_caller]
pub fn destroy(lab: &str) -> Outcome {
    topo(&["destroy", lab]).ok()
}

/// Insists that the live network is what the lab says.
#[track_caller]
pub fn assert_no_changes(lab: &str) {
    topo(&["plan", "--detailed-exitcode", lab]).ok().says("No changes.");
}

/// Writes a lab into a file of its own and returns its path.
pub fn lab(yaml: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("lab-{}-{}.yaml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&directory).expect("the target directory can be written to");
    let path = directory.join(name);
    fs::write(&path, yaml).expect("the target directory can be written to");
    path.to_str().expect("the target directory's path is UTF-8").to_owned()
}

/// The path of an example.
pub fn example(name: &str) -> String {
    format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a shell script, which must succeed.
#[track_caller]
pub fn sh(script: &str) {
    let output = command("sh").args(["-ec", script]).stdin(Stdio::null()).output().expect("sh can be run");
    let outcome = Outcome::from(&output);
    assert_eq!(outcome.status, 0, "`{script}` failed: {}{}{}", outcome.stdout, outcome.stderr, missing_in(script));
}

/// What a program prints; it must succeed.
#[track_caller]
pub fn text(program: &str, arguments: &[&str]) -> String {
    let output = command(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let outcome = Outcome::from(&output);
    assert_eq!(outcome.status, 0, "{program} {arguments:?} failed: {}", outcome.stderr);
    outcome.stdout
}

#[track_caller]
fn json(program: &str, arguments: &[&str]) -> Value {
    let output = text(program, &[&["-j", "-d"], arguments].concat());
    if output.trim().is_empty() {
        return Value::Array(Vec::new());
    }
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{program} {arguments:?} printed no JSON ({error}): {output}"))
}

/// What `ip -j -d` shows.
#[track_caller]
pub fn ip(arguments: &[&str]) -> Value {
    json("ip", arguments)
}

/// What `bridge -j -d` shows.
#[track_caller]
pub fn bridge(arguments: &[&str]) -> Value {
    json("bridge", arguments)
}

/// What several commands of `ip -j -d` or `bridge -j -d` show, each with the command, from one run of the program.
#[track_caller]
pub fn batch(program: &str, options: &[&str], commands: &[&'static str]) -> Vec<(&'static str, Value)> {
    let mut command = command(program);
    command.args(["-j", "-d"]).args(options).args(["-batch", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip can be run");
    let lines: String = commands.iter().map(|command| format!("{command}\n")).collect();
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("ip reads its commands");
    let outcome = Outcome::from(&child.wait_with_output().expect("ip ends"));
    assert_eq!(outcome.status, 0, "{program} {options:?} {commands:?} failed: {}", outcome.stderr);
    let mut values = serde_json::Deserializer::from_str(&outcome.stdout).into_iter::<Value>();
    let mut next = || values.next().map_or(Value::Null, |value| value.expect("JSON"));
    commands.iter().map(|command| (*command, next())).collect()
}

/// What `bridge -j vlan show` shows, as [`batch`] does. A kernel that cannot filter by VLAN refuses what `-d` asks for.
#[track_caller]
pub fn vlans() -> (&'static str, Value) {
    let output = text("bridge", &["-j", "vlan", "show"]);
    let shown = if output.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&output).expect("JSON") };
    ("vlan show", shown)
}

/// Runs something in a named namespace (`None`: the machine's own), on a thread that entered it. Programs started there are
/// there too.
pub fn inside<T: Send>(namespace: Option<&str>, run: impl FnOnce() -> T + Send) -> T {
    let Some(name) = namespace else { return run() };
    let enter = || {
        let entry = fs::File::open(format!("/run/netns/{name}")).expect("the namespace can be opened");
        nix::sched::setns(entry, nix::sched::CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
        run()
    };
    std::thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The names that `ip netns list` shows, sorted.
pub fn namespaces() -> Vec<String> {
    let list = text("ip", &["netns", "list"]);
    let mut names: Vec<_> = list.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
    names.sort_unstable();
    names
}

/// The number of every link in a namespace (`None`: the machine's own), by name.
pub fn indices(namespace: Option<&str>) -> BTreeMap<String, u64> {
    let links = match namespace {
        Some(namespace) => ip(&["-n", namespace, "link"]),
        None => ip(&["link"]),
    };
    let entry = |link: &Value| Some((link["ifname"].as_str()?.to_owned(), link["ifindex"].as_u64()?));
    links.as_array().expect("ip shows a list").iter().filter_map(entry).collect()
}

/// How often a race is run: `usual` times, or as often as `TOPO_ROUNDS` says where that is less, for slow machines.
pub fn rounds(usual: u64) -> u64 {
    let wanted = std::env::var("TOPO_ROUNDS").ok().map(|number| number.parse().expect("TOPO_ROUNDS is a number"));
    wanted.map_or(usual, |wanted: u64| wanted.clamp(1, usual))
}

/// Waits until a run of topo heeds signals: it has begun the thread that waits for them. That there is a handler (`SigCgt` of
/// proc_pid_status(5)) does not tell; for a moment it does not yet know whom to call.
#[track_caller]
pub fn until_it_listens(process: u32) {
    eventually("a thread that waits for signals", || {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        threads
            .map(|thread| std::fs::read_to_string(thread.path().join("comm")))
            .any(|name| name.is_ok_and(|name| name == "signals\n"))
    });
}

/// How long a test waits for what takes a moment. The kernel tells of a link's carrier late on a machine whose processors are busy, or
/// whose other namespaces change; only a failure takes as long as this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_or(|| format!("{what} did not come about within {PATIENCE:?}"), condition);
}

/// Waits until something is so, and fails with a message that is made then.
#[track_caller]
pub fn eventually_or(message: impl Fn() -> String, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", message());
        sleep(Duration::from_millis(5));
    }
}

/// A program that is to run in a namespace (`host`: the machine's own).
#[track_caller]
pub fn command_in(namespace: &str, program: &str) -> Command {
    if namespace == "host" {
        return command(program);
    }
    let mut inside = command("ip");
    inside.args(["netns", "exec", namespace]).arg(path_of(program));
    inside
}

/// Starts a shell script in a namespace, and waits until it runs there. It ends with the test, and nobody waits for its output.
#[track_caller]
pub fn start_inside(namespace: &str, script: &str) -> Child {
    let mut command = command_in(namespace, "sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: a single system call between fork and exec.
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?)) };
    let child = command.spawn().expect("ip can be run");
    let process = format!("/proc/{}", child.id());
    let here = fs::read_link("/proc/self/ns/net").expect("/proc is mounted");
    eventually("the process inside", || {
        let entered = fs::read_link(format!("{process}/ns/net")).is_ok_and(|there| there != here);
        entered && fs::read(format!("{process}/cmdline")).is_ok_and(|line| !line.windows(7).any(|part| part == b"\0netns\0"))
    });
    child
}

#[track_caller]
fn ping(namespace: &str, address: &str, wait: &str) -> Outcome {
    let mut command = command_in(namespace, "ping");
    command.args(["-n", "-c", "1", "-W", wait, address]);
    Outcome::from(&command.stdin(Stdio::null()).output().expect("ping can be run"))
}

/// Insists that an address answers in time: a new link needs a moment for neighbour discovery.
#[track_caller]
pub fn ping_ok(namespace: &str, address: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let outcome = ping(namespace, address, "1");
        if outcome.status == 0 {
            return;
        }
        let late = Instant::now() >= deadline;
        assert!(!late, "{namespace} cannot reach {address}: {}{}", outcome.stdout, outcome.stderr);
        sleep(Duration::from_millis(50));
    }
}

/// Insists that an address does not answer; returns what ping says.
#[track_caller]
pub fn ping_fails(namespace: &str, address: &str) -> String {
    let outcome = ping(namespace, address, "1");
    assert_ne!(outcome.status, 0, "{namespace} reaches {address}, and should not: {}", outcome.stdout);
    outcome.stdout + &outcome.stderr
}

//! Ordinary users, without any privilege: those that root makes up for a test, or the one who runs it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::feature::skip;
use super::programs;
use super::tools::{Outcome, TOPO};

/// Who a program is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// A user of this number, which nobody else has.
    MadeUp(u32),
    /// The one who runs the tests.
    Own,
    /// The same, whose privileges in a user namespace are taken away.
    Deprived,
}

/// A user, with a home and a runtime directory of its own.
#[derive(Debug)]
pub struct User {
    identity: Identity,
    /// Where its files are.
    pub home: PathBuf,
    topo: PathBuf,
}

impl User {
    /// One more user.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let identity = match geteuid().is_root() {
            false => Identity::Own,
            true if can_be_anybody() => Identity::MadeUp(4_000_000 + std::process::id() * 8 + count),
            true => Identity::Deprived,
        };
        let place = if geteuid().is_root() { Path::new("/tmp") } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let home = place.join(format!("user-{}-{count}", std::process::id()));
        let topo = if geteuid().is_root() { show_everybody(Path::new(TOPO)) } else { TOPO.into() };
        let user = Self { identity, home, topo };
        user.make_directory(&user.home);
        user.make_directory(&user.runtime());
        user
    }

    /// Its runtime directory.
    pub fn runtime(&self) -> PathBuf {
        self.home.join("run")
    }

    /// Its number, where it has one of its own.
    pub fn number(&self) -> Option<u32> {
        match self.identity {
            Identity::MadeUp(number) => Some(number),
            Identity::Own | Identity::Deprived => None,
        }
    }

    /// The number of a user whom root has made up. Where the test is run by an ordinary user, says that what follows is skipped.
    #[track_caller]
    pub fn needs_number(&self) -> Option<u32> {
        let number = self.number();
        if number.is_none() {
            skip("only root can make up other users");
        }
        number
    }

    /// The program under test, where this user may run it.
    pub fn program(&self) -> &Path {
        &self.topo
    }

    /// Makes a directory that is this user's alone.
    pub fn make_directory(&self, path: &Path) {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        self.give(path);
    }

    /// Makes a file this user's.
    pub fn give(&self, path: &Path) {
        if let Some(number) = self.number() {
            chown(path, Some(number), Some(number)).unwrap();
        }
    }

    /// Writes a file of this user's and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        fs::write(&path, text).unwrap();
        self.give(&path);
        path.to_str().unwrap().to_owned()
    }

    /// A program as this user starts it, with nothing in the environment but what every session has.
    #[track_caller]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = match program.as_ref().to_str() {
            Some(name) if !name.contains('/') => programs::path_of(name),
            _ => program.as_ref().to_owned(),
        };
        let mut command = match self.identity {
            Identity::Own => Command::new(program),
            Identity::MadeUp(number) => {
                let mut command = programs::command("setpriv");
                command.args([format!("--reuid={number}"), format!("--regid={number}")]);
                command.args(["--clear-groups", "--inh-caps=-all", "--"]).arg(program);
                command
            }
            Identity::Deprived => {
                let mut command = programs::command("setpriv");
                command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(program);
                command
            }
        };
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin").env("HOME", &self.home);
        command.env("XDG_RUNTIME_DIR", self.runtime()).env("TERM", "xterm").current_dir(&self.home).stdin(Stdio::null());
        command
    }

    /// topo, not yet started.
    pub fn topo_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("timeout");
        command.args(["--foreground", "--kill-after=5", "120"]).arg(&self.topo).args(arguments);
        command
    }

    /// Runs topo; a run that hangs ends after two minutes with status 124.
    pub fn topo(&self, arguments: &[&str]) -> Outcome {
        Outcome::from(&self.topo_command(arguments).output().expect("timeout can be run"))
    }

    /// Insists that an address answers in time: a new link needs a moment.
    #[track_caller]
    pub fn assert_reaches(&self, namespace: &str, address: &str) {
        let ping = ["exec", namespace, "--", "ping", "-n", "-c", "1", "-W", "1", address];
        super::eventually("an answer", || self.topo(&ping).status == 0);
    }

    /// Starts topo itself, whose number is then the child's.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(&self.topo);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("topo can be run")
    }

    /// The numbers of the keepers that lead this user's sandboxes, as its records have them.
    pub fn keepers(&self) -> Vec<i32> {
        let entries = fs::read_dir(self.runtime().join("topo")).into_iter().flatten().flatten();
        let records = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("record-"));
        let first = |text: String| text.split_whitespace().next()?.parse().ok();
        records.filter_map(|record| first(fs::read_to_string(record.path()).ok()?)).collect()
    }

    /// The processes that are this user's keepers and guards of uplinks, whether anybody knows them or not.
    pub fn sandbox_processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(number) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let status = read("status");
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            let owner = field("Uid:").split_whitespace().next().unwrap_or_default();
            let is_own = self.number().is_none_or(|number| number.to_string() == owner);
            let name = field("Name:");
            if is_own && name.starts_with("topo-") && !field("State:").starts_with('Z') {
                found.push(number);
            }
        }
        found
    }

    /// Insists that no process and no file of any sandbox is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        if self.number().is_some() {
            super::eventually("the end of all keepers", || self.sandbox_processes().is_empty());
        }
        self.assert_files_gone();
    }

    /// Insists that nothing is written down any more.
    #[track_caller]
    pub fn assert_files_gone(&self) {
        let left: Vec<_> = fs::read_dir(self.runtime()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for User {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        let left = if self.number().is_some() { self.sandbox_processes() } else { self.keepers() };
        for process in left {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Whether this user namespace has users besides its root.
fn can_be_anybody() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| line.split_whitespace().nth(2).is_some_and(|length| length.len() > 5))
}

/// Shows a file in a place that all users can get at, whatever its directory allows.
fn show_everybody(file: &Path) -> PathBuf {
    let shown = Path::new("/tmp/bin").join(file.file_name().unwrap());
    if !shown.exists() {
        fs::create_dir_all("/tmp/bin").unwrap();
        fs::write(&shown, "").unwrap();
        mount(Some(file), &shown, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }
    shown
}

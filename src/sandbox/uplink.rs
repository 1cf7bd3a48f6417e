//! Connects a sandbox to the outside with pasta(1) or slirp4netns(1), which forward the traffic of `host` through ordinary sockets.
//!
//! A supervisor process outside the sandbox starts the program, and ends it when the sandbox ends.

mod program;

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;

use super::directory::DirectoryError;
use super::lock::{SandboxFile, SandboxLock};
use super::pid_file::PidFile;
use crate::kernel::linux::process::{self, Process};
use crate::kernel::linux::{inet6, isolate};

pub use program::Program;

/// The first arguments with which the program runs as a supervisor; the holder's PID and start time follow, and the program.
pub const ARGUMENTS: [&str; 2] = ["sandbox", "uplink"];
/// The first arguments with which the program sets up an uplink in the sandbox in which it is started.
pub const SET_UP_ARGUMENTS: [&str; 2] = ["sandbox", "set-up-uplink"];
/// The argument that says that the machine reaches the outside over IPv6.
const INET6: &str = "inet6";
/// The name of the supervisor process.
const SUPERVISOR: &CStr = c"topo-uplink";
/// The interface in the sandbox.
const INTERFACE: &str = "uplink";
/// The device through which a program provides an interface.
const TUN: &str = "/dev/net/tun";
/// How long the program may take until the sandbox has a default route.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take from the first default route to that of the other family.
const FAMILY_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval between two checks for the default routes.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Why a sandbox cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// No program is installed.
    #[error("no program for the uplink is installed")]
    Missing,
    /// The only installed program is a release that does not work.
    #[error("the installed pasta is too old: it breaks TCP connections, above all those of masqueraded namespaces")]
    Outdated,
    /// The device that all programs need cannot be used.
    #[error("cannot use `{TUN}`, which the uplink needs")]
    Device(#[source] io::Error),
    /// The program failed.
    #[error("{program} failed to connect the sandbox{}", .message.as_ref().map(|message| format!(": {message}")).unwrap_or_default())]
    Failed {
        /// The program.
        program: Program,
        /// The last line that it wrote to standard error.
        message: Option<String>,
    },
    /// The program cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: Program,
        /// Why.
        source: io::Error,
    },
    /// The PID file cannot be written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The running uplink of a sandbox.
///
/// # Errors
/// If its PID file cannot be read.
pub fn find(lock: &SandboxLock) -> Result<Option<Program>, DirectoryError> {
    Ok(find_supervisor(lock)?.map(|(program, _)| program))
}

fn find_supervisor(lock: &SandboxLock) -> Result<Option<(Program, Process)>, DirectoryError> {
    let Some((pid_file, _)) = lock.read(SandboxFile::Uplink)? else { return Ok(None) };
    let process = pid_file.process().map_err(lock.error(SandboxFile::Uplink))?;
    Ok(pid_file.program.as_deref().and_then(Program::from_name).zip(process))
}

/// Whether a process is the program of an uplink. It ends with the sandbox.
pub(super) fn is_program(process: i32) -> bool {
    let name = |process| std::fs::read(format!("/proc/{process}/comm")).ok();
    process::parent(process).and_then(name).is_some_and(|name| name.trim_ascii_end() == SUPERVISOR.to_bytes())
}

/// An uplink that was started.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// The program.
    pub program: Program,
    /// Whether it was not running before.
    pub is_new: bool,
    /// Whether the machine reaches the outside over IPv6.
    inet6: bool,
}

impl Opened {
    /// The arguments with which this program sets up an uplink in the sandbox in which it is started.
    pub fn arguments(self) -> [&'static str; 4] {
        let [first, second] = SET_UP_ARGUMENTS;
        [first, second, self.program.name(), if self.inet6 { INET6 } else { "" }]
    }

    /// Parses what follows the first [two](SET_UP_ARGUMENTS) of these arguments.
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [program, families] = arguments else { return None };
        Some(Self { program: Program::from_name(program)?, is_new: true, inet6: families == INET6 })
    }

    /// Sets up the calling process's sandbox for the uplink: IPv6 if the program leaves that to others, and last the name server. Does
    /// nothing if the sandbox has that name server: an earlier command that started the uplink may have been killed before this.
    ///
    /// # Errors
    /// If that fails.
    pub fn set_up(self) -> io::Result<()> {
        let name_server = self.program.name_server();
        if isolate::uses_name_server(name_server) {
            return Ok(());
        }
        if let Some((address, gateway)) = self.program.inet6().filter(|_| self.inet6) {
            inet6::configure(INTERFACE, address, gateway)?;
        }
        isolate::use_name_server(name_server)
    }
}

/// A supervisor that is ended, and its PID file removed, unless the uplink becomes usable.
struct Starting<'l> {
    lock: &'l SandboxLock,
    supervisor: Process,
    is_usable: bool,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if !self.is_usable {
            let _ = self.supervisor.signal(Signal::SIGTERM);
            let _ = self.lock.remove(SandboxFile::Uplink);
        }
    }
}

/// Starts the uplink of a sandbox, unless it is running, and waits until it is usable. Call it before joining the sandbox.
///
/// # Errors
/// If the program is missing or fails.
pub fn open(lock: &SandboxLock, holder: &Process, wanted: Option<Program>) -> Result<Opened, UplinkError> {
    let found = find_supervisor(lock)?;
    let is_new = found.is_none();
    let (program, supervisor, stderr) = match found {
        Some((program, supervisor)) => (program, supervisor, None),
        None => {
            let program = wanted.map_or_else(Program::choose, Ok)?;
            lock.remove(SandboxFile::Uplink)?;
            let (supervisor, stderr) = start_new(holder, program)?;
            (program, supervisor, Some(stderr))
        }
    };
    let mut starting = Starting { lock, supervisor, is_usable: false };
    let failed = |source| UplinkError::Start { program, source };
    if is_new {
        let number = starting.supervisor.number();
        let pid_file = PidFile { program: Some(program.name().to_owned()), ..PidFile::of(number).map_err(failed)? };
        // Written at once: a later command finds the supervisor if this process is killed.
        lock.write(SandboxFile::Uplink, &pid_file)?;
    }
    let opened = wait(&starting.supervisor, holder, program, stderr)?;
    starting.is_usable = true;
    Ok(Opened { is_new, ..opened })
}

/// Starts an uplink that ends with the holder. Returns it with its supervisor, a child of the caller.
///
/// # Errors
/// If the program is missing or fails.
pub(super) fn connect(holder: &Process, wanted: Option<Program>) -> Result<(Opened, Process), UplinkError> {
    let program = wanted.map_or_else(Program::choose, Ok)?;
    let (supervisor, stderr) = start_new(holder, program)?;
    match wait(&supervisor, holder, program, Some(stderr)) {
        Ok(opened) => Ok((opened, supervisor)),
        Err(error) => {
            let _ = supervisor.signal(Signal::SIGTERM);
            Err(error)
        }
    }
}

/// Waits until an uplink is usable. `stderr` is the program's standard error, if the caller has started it.
fn wait(supervisor: &Process, holder: &Process, program: Program, stderr: Option<OwnedFd>) -> Result<Opened, UplinkError> {
    let machine = Families::of("self");
    let inet6 = machine.inet6;
    // slirp4netns always provides IPv4, and leaves IPv6 to `Opened::set_up`.
    let families = if program.inet6().is_none() { machine } else { Families { inet: true, inet6: false } };
    match is_ready(supervisor, holder, &families).map_err(|source| UplinkError::Start { program, source })? {
        true => Ok(Opened { program, is_new: true, inet6 }),
        false => Err(UplinkError::Failed { program, message: stderr.and_then(|stderr| last_line(stderr.into())) }),
    }
}

/// Starts the supervisor with a file for the program's standard error.
fn start_new(holder: &Process, program: Program) -> Result<(Process, OwnedFd), UplinkError> {
    if !program.is_installed() {
        return Err(UplinkError::Missing);
    }
    File::options().read(true).write(true).open(TUN).map_err(UplinkError::Device)?;
    let failed = |source| UplinkError::Start { program, source };
    let stderr = memfd_create(c"uplink", MFdFlags::MFD_CLOEXEC).map_err(|error| failed(error.into()))?;
    let supervisor = start(holder, program, &stderr).map_err(failed)?;
    Ok((supervisor, stderr))
}

/// Waits until the sandbox has the default routes. Returns false if the program ends or takes too long.
fn is_ready(supervisor: &Process, holder: &Process, wanted: &Families) -> io::Result<bool> {
    let (start, mut first) = (Instant::now(), None);
    loop {
        let has_ended = supervisor.has_ended(POLL_INTERVAL)?;
        let found = Families::of(holder.number());
        if has_ended || start.elapsed() > START_TIMEOUT {
            return Ok(false);
        }
        if found.inet || found.inet6 {
            let first: &Instant = first.get_or_insert_with(Instant::now);
            if (found.inet >= wanted.inet && found.inet6 >= wanted.inet6) || first.elapsed() > FAMILY_TIMEOUT {
                return Ok(true);
            }
        }
    }
}

/// Starts the supervisor.
fn start(holder: &Process, program: Program, stderr: &OwnedFd) -> io::Result<Process> {
    let mut command = Command::new("/proc/self/exe");
    let (pid, start_time) = (holder.number().to_string(), process::began(holder.number())?.to_string());
    command.arg0("topo").args(ARGUMENTS).args([&pid, &start_time, program.name()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.try_clone()?);
    Process::open(i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?)
}

/// The address families for which a network namespace has a default route.
struct Families {
    inet: bool,
    inet6: bool,
}

impl Families {
    /// Those of a process's network namespace.
    fn of(process: impl std::fmt::Display) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/net/{file}")).unwrap_or_default();
        let inet = read("route").lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
        // Destination, prefix length, source, its length, gateway, metric, references, uses, flags, interface. `lo` has a route that
        // rejects everything.
        let inet6 = read("ipv6_route").lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.first().is_some_and(|to| to.bytes().all(|digit| digit == b'0'))
                && words.get(1) == Some(&"00")
                && words.last() != Some(&"lo")
        });
        Self { inet, inet6 }
    }
}

fn last_line(mut file: File) -> Option<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// Runs as the supervisor: starts the program, and ends it when the sandbox ends.
///
/// # Errors
/// If the program cannot be started.
pub fn supervise(arguments: &[String]) -> io::Result<()> {
    let [pid, start_time, program] = arguments else { return Ok(()) };
    let (Ok(pid), Ok(start_time), Some(program)) = (pid.parse(), start_time.parse::<u64>(), Program::from_name(program)) else {
        return Ok(());
    };
    process::close_from(3)?;
    nix::unistd::setsid()?;
    nix::sys::prctl::set_name(SUPERVISOR)?;
    let holder = Process::open(pid)?;
    if process::began(pid)? != start_time {
        return Ok(());
    }
    let mut command = Command::new(program.name());
    process::die_with_starter(&mut command);
    let mut running = command.args(program.arguments(pid)).current_dir(Path::new("/")).spawn()?;
    let child = Process::open(i32::try_from(running.id()).map_err(io::Error::other)?)?;
    process::forget_code();
    loop {
        let mut either = [PollFd::new(holder.as_fd(), PollFlags::POLLIN), PollFd::new(child.as_fd(), PollFlags::POLLIN)];
        if poll(&mut either, PollTimeout::NONE).is_ok() {
            break;
        }
    }
    let _ = running.kill();
    running.wait().map(drop)
}

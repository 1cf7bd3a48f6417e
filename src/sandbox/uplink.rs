//! Connects a sandbox to the outside with pasta(1) or slirp4netns(1), which forward the traffic of `host` through ordinary sockets.
//!
//! A supervisor process outside the sandbox starts the program, and ends it when the sandbox ends.

use std::fmt;
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

/// The first arguments with which the program runs as a supervisor; the holder's PID and start time follow, and the program.
pub const ARGUMENTS: [&str; 2] = ["sandbox", "uplink"];
/// The device through which a program provides an interface.
const TUN: &str = "/dev/net/tun";
/// How long the program may take until the sandbox has a default route.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between two checks for the default route.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A program that connects a sandbox to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Part of passt. IPv4 and IPv6 with the machine's own addresses.
    Pasta,
    /// IPv4 only, in 10.0.2.0/24.
    Slirp4netns,
}

impl Program {
    /// All programs, in order of preference.
    pub const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    /// The name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// The address at which it forwards DNS queries to the machine's name server.
    pub fn name_server(self) -> &'static str {
        match self {
            Self::Pasta => "169.254.1.1",
            Self::Slirp4netns => "10.0.2.3",
        }
    }

    /// The arguments that connect a holder's sandbox. The machine cannot be reached from the sandbox, and vice versa.
    fn arguments(self, holder: i32) -> Vec<String> {
        let holder = holder.to_string();
        let words: Vec<&str> = match self {
            Self::Pasta => {
                let mut words = vec!["--config-net", "--foreground", "--quiet", "--no-map-gw", "--dns-forward"];
                words.extend([self.name_server(), "--ns-ifname", "uplink"]);
                words.extend(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
                if nix::unistd::geteuid().is_root() {
                    // By default it runs as nobody, who may not enter root's sandbox.
                    words.extend(["--runas", "0:0"]);
                }
                words.push(&holder);
                words
            }
            Self::Slirp4netns => vec!["--configure", "--mtu=65520", "--disable-host-loopback", &holder, "uplink"],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    fn is_installed(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(self.name()).is_file())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a sandbox cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// No program is installed.
    #[error("no program for the uplink is installed")]
    Missing,
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

/// The preferred program that is installed.
///
/// # Errors
/// If none is.
fn installed() -> Result<Program, UplinkError> {
    Program::ALL.into_iter().find(|program| program.is_installed()).ok_or(UplinkError::Missing)
}

/// The running uplink of a sandbox.
///
/// # Errors
/// If its PID file cannot be read.
pub fn find(lock: &SandboxLock) -> Result<Option<Program>, DirectoryError> {
    let Some((pid_file, _)) = lock.read(SandboxFile::Uplink)? else { return Ok(None) };
    let is_running = pid_file.process().map_err(lock.error(SandboxFile::Uplink))?.is_some();
    Ok(pid_file.program.as_deref().and_then(Program::from_name).filter(|_| is_running))
}

/// Starts the uplink of a sandbox, unless it is running. Returns the program if it was started. Call it before joining the sandbox.
///
/// # Errors
/// If the program is missing or fails.
pub fn open(lock: &SandboxLock, holder: &Process, wanted: Option<Program>) -> Result<Option<Program>, UplinkError> {
    if find(lock)?.is_some() {
        return Ok(None);
    }
    lock.remove(SandboxFile::Uplink)?;
    let program = wanted.map_or_else(installed, Ok)?;
    if !program.is_installed() {
        return Err(UplinkError::Missing);
    }
    File::options().read(true).write(true).open(TUN).map_err(UplinkError::Device)?;
    let failed = |source| UplinkError::Start { program, source };
    let stderr = memfd_create(c"uplink", MFdFlags::MFD_CLOEXEC).map_err(|error| failed(error.into()))?;
    let supervisor = start(holder, program, &stderr).map_err(failed)?;
    let start = Instant::now();
    loop {
        let has_ended = supervisor.has_ended(POLL_INTERVAL).map_err(failed)?;
        if !has_ended && has_default_route(holder.number()) {
            break;
        }
        if has_ended || start.elapsed() > START_TIMEOUT {
            let _ = supervisor.signal(Signal::SIGTERM);
            return Err(UplinkError::Failed { program, message: last_line(stderr.into()) });
        }
    }
    let pid_file = PidFile { program: Some(program.name().to_owned()), ..PidFile::of(supervisor.number()).map_err(failed)? };
    lock.write(SandboxFile::Uplink, &pid_file)?;
    Ok(Some(program))
}

/// Starts the supervisor.
fn start(holder: &Process, program: Program, stderr: &OwnedFd) -> io::Result<Process> {
    let mut command = Command::new("/proc/self/exe");
    let (pid, start_time) = (holder.number().to_string(), process::began(holder.number())?.to_string());
    command.arg0("topo").args(ARGUMENTS).args([&pid, &start_time, program.name()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.try_clone()?);
    Process::open(i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?)
}

/// Whether a process's network namespace has a default route.
fn has_default_route(process: i32) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/net/{file}")).unwrap_or_default();
    let inet = read("route").lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let unspecified = "0".repeat(32);
    let is_default = |line: &str| line.starts_with(&format!("{unspecified} 00 ")) && !line.ends_with(" lo");
    inet || read("ipv6_route").lines().any(is_default)
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
    nix::sys::prctl::set_name(c"topo-uplink")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_found_by_its_name() {
        for program in Program::ALL {
            assert_eq!(Program::from_name(program.name()), Some(program));
            assert!(program.arguments(12).contains(&"12".to_owned()));
        }
    }
}

//! The way out of a sandbox: pasta(1) or slirp4netns(1), which carry what `host` sends over ordinary sockets of the user's.
//!
//! A second small process, outside of the sandbox, starts the program, and ends it with the sandbox.

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

use super::directory::{DirectoryError, File as Entry, Held};
use super::record::Record;
use crate::kernel::linux::process::{self, Process};

/// The first arguments that make the program the guard of an uplink; the keeper's number and beginning follow, and the program.
pub const ARGUMENTS: [&str; 2] = ["sandbox", "uplink"];
/// The device by which a program is the other end of an interface.
const TUN: &str = "/dev/net/tun";
/// How long the program may take until there is a way out.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// A program that is a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Of passt: IPv4 and IPv6 with the machine's own addresses.
    Pasta,
    /// IPv4 behind 10.0.2.0/24.
    Slirp4netns,
}

impl Program {
    /// All of them, the better first.
    pub const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Where it answers to queries for names, which it passes on to the machine's name server.
    pub fn name_server(self) -> &'static str {
        match self {
            Self::Pasta => "169.254.1.1",
            Self::Slirp4netns => "10.0.2.3",
        }
    }

    /// Connects what it runs with the sandbox of a keeper; nothing of the machine itself can be reached, nor the sandbox from
    /// there.
    fn arguments(self, keeper: i32) -> Vec<String> {
        let keeper = keeper.to_string();
        let words: Vec<&str> = match self {
            Self::Pasta => {
                let mut words = vec!["--config-net", "--foreground", "--quiet", "--no-map-gw", "--dns-forward"];
                words.extend([self.name_server(), "--ns-ifname", "uplink"]);
                words.extend(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
                if nix::unistd::geteuid().is_root() {
                    // It would become nobody, who may not enter root's sandbox.
                    words.extend(["--runas", "0:0"]);
                }
                words.push(&keeper);
                words
            }
            Self::Slirp4netns => vec!["--configure", "--mtu=65520", "--disable-host-loopback", &keeper, "uplink"],
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

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// No program is there.
    #[error("no program for an uplink is installed")]
    Missing,
    /// A device that all of them need cannot be used.
    #[error("cannot use `{TUN}`, which an uplink needs")]
    Device(#[source] io::Error),
    /// The program failed.
    #[error("{program} gives the sandbox no uplink{}", .said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Failed {
        /// The program.
        program: Program,
        /// What it complained about.
        said: Option<String>,
    },
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: Program,
        /// Why.
        source: io::Error,
    },
    /// It could not be written down.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The first program that is installed.
///
/// # Errors
/// When none is.
pub fn installed() -> Result<Program, UplinkError> {
    Program::ALL.into_iter().find(|program| program.is_installed()).ok_or(UplinkError::Missing)
}

/// The uplink that a sandbox has.
pub fn find(held: &Held) -> Result<Option<Program>, DirectoryError> {
    let Some((record, _)) = held.read(Entry::Uplink)? else { return Ok(None) };
    let alive = record.find().map_err(held.failed(Entry::Uplink))?.is_some();
    Ok(record.program.as_deref().and_then(Program::from_name).filter(|_| alive))
}

/// Gives a sandbox an uplink, unless it has one. Must be called from outside of it. Returns the program if it was started.
///
/// # Errors
/// When the program is missing or fails.
pub fn open(held: &Held, keeper: &Process, wanted: Option<Program>) -> Result<Option<Program>, UplinkError> {
    if find(held)?.is_some() {
        return Ok(None);
    }
    held.remove(Entry::Uplink)?;
    let program = wanted.map_or_else(installed, Ok)?;
    if !program.is_installed() {
        return Err(UplinkError::Missing);
    }
    File::options().read(true).write(true).open(TUN).map_err(UplinkError::Device)?;
    let failed = |source| UplinkError::Start { program, source };
    let said = memfd_create(c"uplink", MFdFlags::MFD_CLOEXEC).map_err(|error| failed(error.into()))?;
    let guard = start(keeper, program, &said).map_err(failed)?;
    let began = Instant::now();
    loop {
        let gone = guard.has_ended(PAUSE).map_err(failed)?;
        if !gone && leads_out(keeper.number()) {
            break;
        }
        if gone || began.elapsed() > PATIENCE {
            let _ = guard.signal(Signal::SIGTERM);
            return Err(UplinkError::Failed { program, said: last_line(said.into()) });
        }
    }
    let record = Record { program: Some(program.name().to_owned()), ..Record::of(guard.number()).map_err(failed)? };
    held.write(Entry::Uplink, &record)?;
    Ok(Some(program))
}

fn start(keeper: &Process, program: Program, said: &OwnedFd) -> io::Result<Process> {
    let mut command = Command::new("/proc/self/exe");
    let (number, began) = (keeper.number().to_string(), process::began(keeper.number())?.to_string());
    command.arg0("topo").args(ARGUMENTS).args([&number, &began, program.name()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    Process::open(i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?)
}

/// Whether a process's network namespace has a default route.
fn leads_out(process: i32) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/net/{file}")).unwrap_or_default();
    let inet = read("route").lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let unspecified = "0".repeat(32);
    let leads = |line: &str| line.starts_with(&format!("{unspecified} 00 ")) && !line.ends_with(" lo");
    inet || read("ipv6_route").lines().any(leads)
}

fn last_line(mut file: File) -> Option<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// Is the guard: runs the program until it ends by itself, or the sandbox does.
pub fn guard(arguments: &[String]) -> io::Result<()> {
    let [number, began, program] = arguments else { return Ok(()) };
    let (Ok(number), Ok(began), Some(program)) = (number.parse(), began.parse::<u64>(), Program::from_name(program)) else {
        return Ok(());
    };
    process::close_from(3)?;
    nix::unistd::setsid()?;
    nix::sys::prctl::set_name(c"topo-uplink")?;
    let keeper = Process::open(number)?;
    if process::began(number)? != began {
        return Ok(());
    }
    let mut command = Command::new(program.name());
    process::die_with_starter(&mut command);
    let mut running = command.args(program.arguments(number)).current_dir(Path::new("/")).spawn()?;
    let child = Process::open(i32::try_from(running.id()).map_err(io::Error::other)?)?;
    process::forget_code();
    loop {
        let mut either = [PollFd::new(keeper.as_fd(), PollFlags::POLLIN), PollFd::new(child.as_fd(), PollFlags::POLLIN)];
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
    fn programs_are_told_by_their_names() {
        for program in Program::ALL {
            assert_eq!(Program::from_name(program.name()), Some(program));
            assert!(program.arguments(12).contains(&"12".to_owned()));
        }
    }
}

//! Creates a sandbox: starts this program again as the [`holder`], and maps its user and group IDs from outside.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::holder;
use super::lock::SandboxLock;
use super::restriction::{self, Restriction};
use crate::kernel::linux::isolate::{self, Step};
use crate::kernel::linux::process::Process;
use crate::name::SandboxName;

/// How long the holder may take for a step.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a sandbox cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The holder cannot be started, or communication with it fails.
    #[error("cannot start the sandbox's holder process")]
    Holder(#[source] io::Error),
    /// The holder exited too early.
    #[error("the sandbox's holder process exited before the sandbox was ready")]
    Ended,
    /// The system refuses a step.
    #[error("cannot {}", .step.phrase())]
    Refused {
        /// The step.
        step: Step,
        /// Why.
        source: io::Error,
        /// The restriction that causes this, if it is known.
        restriction: Option<Restriction>,
    },
}

/// What kind of sandbox to create.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// One that exists until its PID file is removed, for the holder of the lock.
    Registered(&'a SandboxLock),
    /// One that ends with the caller, and that no other process can find.
    Temporary,
    /// One that ends with the caller, with a PID namespace, and that only processes in it can find. The caller must be a child subreaper,
    /// prctl(2).
    ThrowAway(&'a SandboxName),
}

impl Kind<'_> {
    /// The first line that the holder reads.
    fn line(self) -> String {
        match self {
            Self::Registered(lock) => lock.name().to_string(),
            Self::Temporary => String::new(),
            Self::ThrowAway(name) => format!("{}{name}", holder::THROW_AWAY),
        }
    }
}

/// A holder whose sandbox is ready.
#[derive(Debug)]
pub struct Holder {
    /// The process, a child of the caller.
    pub process: Process,
    /// A temporary or throw-away sandbox ends when this is closed. Other holders ignore it.
    socket: UnixStream,
}

impl Holder {
    /// Ends a temporary or throw-away sandbox, and returns when its processes have exited.
    pub fn end(self) {
        drop(self.socket);
        reap(self.process.number());
    }
}

/// Waits for the exit of a child process.
pub(super) fn reap(child: i32) {
    while waitpid(Pid::from_raw(child), None) == Err(nix::errno::Errno::EINTR) {}
}

/// Creates a sandbox and its PID file.
///
/// # Errors
/// If the system does not allow it.
pub fn start(kind: Kind<'_>) -> Result<Holder, StartError> {
    let (parent, child) = UnixStream::pair().map_err(StartError::Holder)?;
    let mut process = spawn(child, kind).map_err(StartError::Holder)?;
    parent.set_read_timeout(Some(STEP_TIMEOUT)).map_err(StartError::Holder)?;
    let mut answers = BufReader::new(parent.try_clone().map_err(StartError::Holder)?);
    writeln!(&parent, "{}", kind.line()).map_err(lost)?;
    expect(&mut answers, "left")?;
    isolate::map(process.number()).map_err(|error| refused(Step::Map, error))?;
    writeln!(&parent, "mapped").map_err(lost)?;
    if matches!(kind, Kind::ThrowAway(_)) {
        process = follow(&process, &parent, &mut answers)?;
    }
    expect(&mut answers, "ready")?;
    Ok(Holder { process, socket: parent })
}

/// Opens the process as which the holder continues in its PID namespace. It is a child of the caller as soon as the first one has exited.
fn follow(first: &Process, parent: &UnixStream, answers: &mut impl BufRead) -> Result<Process, StartError> {
    let line = answer(answers)?;
    let number = line.parse().map_err(|_| unexpected(&line))?;
    let process = Process::open(number).map_err(StartError::Holder)?;
    reap(first.number());
    let mut parent = parent;
    writeln!(parent, "opened").map_err(lost)?;
    Ok(process)
}

fn spawn(socket: UnixStream, kind: Kind<'_>) -> io::Result<Process> {
    // This works even if the program's file was replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("topo").args(holder::ARGUMENTS).env_clear();
    let (directory, lock) = match kind {
        Kind::Registered(lock) => (Stdio::from(lock.directory().as_fd().try_clone_to_owned()?), Stdio::from(lock.duplicate()?)),
        Kind::Temporary | Kind::ThrowAway(_) => (Stdio::null(), Stdio::null()),
    };
    command.stdin(OwnedFd::from(socket)).stdout(directory).stderr(lock);
    let holder = command.spawn()?;
    // This process does not wait for the child before opening it, so the number cannot be reused.
    Process::open(i32::try_from(holder.id()).map_err(io::Error::other)?)
}

/// Explains why the socket cannot be used.
fn lost(error: io::Error) -> StartError {
    match error.kind() {
        // If the holder is killed, the socket is closed.
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => StartError::Ended,
        _ => StartError::Holder(error),
    }
}

/// Explains an answer other than the one that the holder's step has.
fn unexpected(line: &str) -> StartError {
    match parse_failure(line) {
        Some((step, error)) => refused(step, error),
        None => StartError::Holder(io::Error::other("unexpected answer")),
    }
}

/// Reads a line from the holder.
fn answer(answers: &mut impl BufRead) -> Result<String, StartError> {
    let mut line = String::new();
    match answers.read_line(&mut line).map_err(lost)? {
        0 => Err(StartError::Ended),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn expect(answers: &mut impl BufRead, word: &str) -> Result<(), StartError> {
    let line = answer(answers)?;
    if line == word { Ok(()) } else { Err(unexpected(&line)) }
}

fn parse_failure(line: &str) -> Option<(Step, io::Error)> {
    let (phrase, number) = line.strip_prefix("failed ")?.rsplit_once(' ')?;
    let step = Step::ALL.into_iter().find(|step| step.phrase() == phrase)?;
    let error = match number.parse().ok()? {
        0 => io::Error::other("unknown error"),
        number => io::Error::from_raw_os_error(number),
    };
    Some((step, error))
}

fn refused(step: Step, source: io::Error) -> StartError {
    let restriction = restriction::find(step, &source);
    StartError::Refused { step, source, restriction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_the_holder_reports_are_parsed() {
        for step in Step::ALL {
            let (found, error) = parse_failure(&format!("failed {} 28", step.phrase())).unwrap();
            assert_eq!((found, error.raw_os_error()), (step, Some(28)));
        }
        assert!(parse_failure("failed something 1").is_none() && parse_failure("ready").is_none());
    }
}

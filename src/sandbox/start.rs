//! Creates a sandbox: starts this program again as the [`holder`], and maps its user and group IDs from outside.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::holder;
use super::lock::SandboxLock;
use super::restriction::{self, Restriction};
use crate::kernel::linux::isolate::{self, Step};
use crate::kernel::linux::process::Process;

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

/// A holder whose sandbox is ready.
#[derive(Debug)]
pub struct Holder {
    /// The process.
    pub process: Process,
    child: Child,
    /// A temporary sandbox ends when this is closed. Other holders ignore it.
    socket: UnixStream,
}

impl Holder {
    /// Ends a temporary sandbox.
    pub fn end(mut self) {
        drop(self.socket);
        let _ = self.child.wait();
    }
}

/// Creates a sandbox and its PID file; without a lock, a temporary sandbox.
///
/// # Errors
/// If the system does not allow it.
pub fn start(lock: Option<&SandboxLock>) -> Result<Holder, StartError> {
    let (parent, child) = UnixStream::pair().map_err(StartError::Holder)?;
    let (process, child) = spawn(child, lock).map_err(StartError::Holder)?;
    let lost = |error: io::Error| match error.kind() {
        // If the holder is killed, the socket is closed.
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => StartError::Ended,
        _ => StartError::Holder(error),
    };
    parent.set_read_timeout(Some(STEP_TIMEOUT)).map_err(StartError::Holder)?;
    let mut answers = BufReader::new(parent.try_clone().map_err(StartError::Holder)?);
    let name = lock.map_or("", |lock| lock.name().as_str());
    writeln!(&parent, "{name}").map_err(lost)?;
    expect(&mut answers, "left").map_err(|unexpected| unexpected.into_error(lost))?;
    isolate::map(process.number()).map_err(|error| refused(Step::Map, error))?;
    writeln!(&parent, "mapped").map_err(lost)?;
    expect(&mut answers, "ready").map_err(|unexpected| unexpected.into_error(lost))?;
    Ok(Holder { process, child, socket: parent })
}

fn spawn(socket: UnixStream, lock: Option<&SandboxLock>) -> io::Result<(Process, Child)> {
    // This works even if the program's file was replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("topo").args(holder::ARGUMENTS).env_clear();
    let (directory, lock) = match lock {
        Some(lock) => (Stdio::from(lock.directory().as_fd().try_clone_to_owned()?), Stdio::from(lock.duplicate()?)),
        None => (Stdio::null(), Stdio::null()),
    };
    command.stdin(OwnedFd::from(socket)).stdout(directory).stderr(lock);
    let holder = command.spawn()?;
    // This process does not wait for the child before opening it, so the number cannot be reused.
    Ok((Process::open(i32::try_from(holder.id()).map_err(io::Error::other)?)?, holder))
}

/// What the holder sent instead of the expected word.
enum Unexpected {
    Failed(StartError),
    Lost(io::Error),
}

impl Unexpected {
    fn into_error(self, lost: impl Fn(io::Error) -> StartError) -> StartError {
        match self {
            Self::Failed(error) => error,
            Self::Lost(error) => lost(error),
        }
    }
}

fn expect(answers: &mut impl BufRead, word: &str) -> Result<(), Unexpected> {
    let mut line = String::new();
    if answers.read_line(&mut line).map_err(Unexpected::Lost)? == 0 {
        return Err(Unexpected::Lost(io::ErrorKind::UnexpectedEof.into()));
    }
    let line = line.trim_end();
    if line == word {
        return Ok(());
    }
    Err(parse_failure(line).map_or_else(
        || Unexpected::Lost(io::Error::other("unexpected answer")),
        |(step, error)| Unexpected::Failed(refused(step, error)),
    ))
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

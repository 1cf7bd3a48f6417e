//! Makes a sandbox: starts this program again as its [`keeper`], and maps its ids from outside.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::directory::Held;
use super::keeper;
use super::obstacle::{self, Obstacle};
use crate::kernel::linux::isolate::{self, Step};
use crate::kernel::linux::process::Process;

/// How long the keeper may take for a step.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keeper could not be started or spoken to.
    #[error("cannot start the sandbox's keeper")]
    Keeper(#[source] io::Error),
    /// The keeper ended before it was done.
    #[error("the sandbox's keeper ended before the sandbox was made")]
    Ended,
    /// The system refused a step.
    #[error("cannot {}", .step.phrase())]
    Refused {
        /// The step.
        step: Step,
        /// Why.
        source: io::Error,
        /// What stands in the way, as far as that can be told.
        obstacle: Option<Obstacle>,
    },
}

/// A keeper that has made its sandbox.
#[derive(Debug)]
pub struct Keeper {
    /// The process.
    pub process: Process,
    child: Child,
    /// A sandbox without a name ends when this is closed; to one that has a name it means nothing.
    lifeline: UnixStream,
}

impl Keeper {
    /// Ends a sandbox without a name.
    pub fn end(mut self) {
        drop(self.lifeline);
        let _ = self.child.wait();
    }
}

/// Makes a sandbox, and its record if it is to have one.
///
/// # Errors
/// When the system forbids it.
pub fn start(held: Option<&Held>) -> Result<Keeper, StartError> {
    let (parent, child) = UnixStream::pair().map_err(StartError::Keeper)?;
    let (process, child) = spawn(child, held).map_err(StartError::Keeper)?;
    let lost = |error: io::Error| match error.kind() {
        // A keeper that was killed leaves a closed socket.
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => StartError::Ended,
        _ => StartError::Keeper(error),
    };
    parent.set_read_timeout(Some(PATIENCE)).map_err(StartError::Keeper)?;
    let mut answers = BufReader::new(parent.try_clone().map_err(StartError::Keeper)?);
    let name = held.map_or("", |held| held.name().as_str());
    writeln!(&parent, "{name}").map_err(lost)?;
    expect(&mut answers, "left").map_err(|failed| failed.unwrap_or(lost))?;
    isolate::map(process.number()).map_err(|error| refused(Step::Map, error))?;
    writeln!(&parent, "mapped").map_err(lost)?;
    expect(&mut answers, "ready").map_err(|failed| failed.unwrap_or(lost))?;
    Ok(Keeper { process, child, lifeline: parent })
}

fn spawn(socket: UnixStream, held: Option<&Held>) -> io::Result<(Process, Child)> {
    // What runs is this very program, whatever has become of its file.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("topo").args(keeper::ARGUMENTS).env_clear();
    let directory = match held {
        Some(held) => {
            use std::os::fd::AsFd;
            Stdio::from(held.directory().as_fd().try_clone_to_owned()?)
        }
        None => Stdio::null(),
    };
    command.stdin(OwnedFd::from(socket)).stdout(directory).stderr(Stdio::null());
    let keeper = command.spawn()?;
    // Not waited for: its number stays its own until this process ends.
    Ok((Process::open(i32::try_from(keeper.id()).map_err(io::Error::other)?)?, keeper))
}

/// What the keeper said instead of what was expected.
enum Unexpected {
    Failed(StartError),
    Lost(io::Error),
}

impl Unexpected {
    fn unwrap_or(self, lost: impl Fn(io::Error) -> StartError) -> StartError {
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
    Err(failure(line).map_or_else(
        || Unexpected::Lost(io::Error::other("it does not say what was expected")),
        |(step, error)| Unexpected::Failed(refused(step, error)),
    ))
}

fn failure(line: &str) -> Option<(Step, io::Error)> {
    let (phrase, number) = line.strip_prefix("failed ")?.rsplit_once(' ')?;
    let step = Step::ALL.into_iter().find(|step| step.phrase() == phrase)?;
    let error = match number.parse().ok()? {
        0 => io::Error::other("it is not known why"),
        number => io::Error::from_raw_os_error(number),
    };
    Some((step, error))
}

fn refused(step: Step, source: io::Error) -> StartError {
    let obstacle = obstacle::find(step, &source);
    StartError::Refused { step, source, obstacle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_keeper_says_of_a_failure_is_understood() {
        for step in Step::ALL {
            let (found, error) = failure(&format!("failed {} 28", step.phrase())).unwrap();
            assert_eq!((found, error.raw_os_error()), (step, Some(28)));
        }
        assert!(failure("failed something 1").is_none() && failure("ready").is_none());
    }
}

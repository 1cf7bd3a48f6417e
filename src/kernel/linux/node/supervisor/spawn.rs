//! Starts a program: own session, no descriptors but the standard ones, default signals, user, capabilities, working directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, chdir, setgid, setgroups, setsid, setuid};

use super::capability::Capabilities;
use super::identity::{Identity, LookUpError};

/// `PATH` if neither the node nor the process has one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be started.
pub(super) struct Launch<'l> {
    pub command: &'l [String],
    /// The whole environment.
    pub environment: &'l BTreeMap<String, String>,
    pub cwd: &'l str,
    /// `None` keeps the user.
    pub identity: Option<&'l Identity>,
    /// `None` keeps all.
    pub capabilities: Option<Capabilities>,
    /// `None` is /dev/null.
    pub stdin: Option<&'l str>,
    /// Standard output and error; `None` is /dev/null.
    pub output: Option<File>,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    #[error("cannot find the command `{0}`")]
    NotFound(String),
    #[error("cannot find the interpreter of `{0}`")]
    Interpreter(String),
    #[error("cannot execute `{0}`")]
    Execute(String, #[source] io::Error),
    #[error("{0}")]
    Step(String, #[source] io::Error),
    #[error(transparent)]
    LookUp(#[from] LookUpError),
}

impl SpawnError {
    /// Returns the error with its causes, as one text.
    pub(super) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// A step between fork(2) and execve(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Session,
    Signals,
    Capabilities,
    User,
    Directory,
    Descriptors,
}

impl Step {
    const ALL: [Self; 6] = [Self::Session, Self::Signals, Self::Capabilities, Self::User, Self::Directory, Self::Descriptors];

    fn describe(self, launch: &Launch<'_>) -> String {
        match self {
            Self::Session => "cannot create a session".to_owned(),
            Self::Signals => "cannot reset the signals".to_owned(),
            Self::Capabilities => "cannot set the capabilities; the node may have less".to_owned(),
            Self::User => {
                let (uid, gid) = launch.identity.map_or((0, 0), |identity| (identity.uid, identity.gid));
                format!("cannot become user {uid} with group {gid}; a sandbox of an ordinary user may not have them")
            }
            Self::Directory => format!("cannot change to the directory `{}`", launch.cwd),
            Self::Descriptors => "cannot close descriptors".to_owned(),
        }
    }
}

/// Starts the program. Returns its PID after execve(2) has succeeded.
pub(super) fn spawn(launch: &Launch<'_>) -> Result<Pid, SpawnError> {
    let prepare = |error| SpawnError::Step("cannot prepare the process".to_owned(), error);
    let (mut failed_step, report) = io::pipe().map_err(prepare)?;
    let mut command = command(launch).map_err(prepare)?;
    let child =
        Child { report, identity: launch.identity.map(Ids::from), capabilities: launch.capabilities, cwd: launch.cwd.to_owned() };
    // SAFETY: between fork and exec, `prepare` makes system calls only, and does not allocate.
    unsafe { command.pre_exec(move || child.prepare()) };
    let spawned = command.spawn();
    // Closes the writing end, which the closure owns.
    drop(command);
    match spawned {
        Ok(child) => Ok(Pid::from_raw(i32::try_from(child.id()).map_err(|error| prepare(io::Error::other(error)))?)),
        Err(error) => {
            let mut number = [0];
            let step = failed_step
                .read(&mut number)
                .ok()
                .filter(|count| *count == 1)
                .and_then(|_| Step::ALL.get(usize::from(number[0])));
            Err(match step {
                Some(step) => SpawnError::Step(step.describe(launch), error),
                None => explain(launch, error),
            })
        }
    }
}

/// Explains a failure of execve(2).
fn explain(launch: &Launch<'_>, error: io::Error) -> SpawnError {
    let program = launch.command.first().cloned().unwrap_or_default();
    match (error.kind(), exists(launch, &program)) {
        // The search in PATH also fails so if it meets a directory that the user cannot read.
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, false) => SpawnError::NotFound(program),
        (io::ErrorKind::NotFound, true) => SpawnError::Interpreter(program),
        _ => SpawnError::Execute(program, error),
    }
}

/// Returns whether the program exists, as far as the init can see.
fn exists(launch: &Launch<'_>, program: &str) -> bool {
    if program.contains('/') {
        return Path::new(launch.cwd).join(program).exists();
    }
    let path = launch.environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    path.split(':').any(|directory| Path::new(launch.cwd).join(directory).join(program).exists())
}

fn command(launch: &Launch<'_>) -> io::Result<Command> {
    let [program, arguments @ ..] = launch.command else { return Err(io::Error::other("the command is empty")) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", DEFAULT_PATH).envs(launch.environment);
    command.stdin(match launch.stdin {
        Some(text) => input(text)?.into(),
        None => Stdio::null(),
    });
    match &launch.output {
        Some(file) => command.stdout(file.try_clone()?).stderr(file.try_clone()?),
        None => command.stdout(Stdio::null()).stderr(Stdio::null()),
    };
    Ok(command)
}

/// Returns a file in memory with the text: unlike a pipe, it takes any text at once.
fn input(text: &str) -> io::Result<File> {
    use std::io::Seek;
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// The user and the groups, as the system calls take them.
struct Ids {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl From<&Identity> for Ids {
    fn from(identity: &Identity) -> Self {
        let groups = [identity.gid].iter().chain(&identity.groups).copied().map(Gid::from_raw).collect();
        Self { uid: Uid::from_raw(identity.uid), gid: Gid::from_raw(identity.gid), groups }
    }
}

/// What the child does between fork and exec.
struct Child {
    /// Where it writes the step that failed.
    report: PipeWriter,
    identity: Option<Ids>,
    capabilities: Option<Capabilities>,
    cwd: String,
}

impl Child {
    fn prepare(&self) -> io::Result<()> {
        self.step(Step::Session, || {
            umask(Mode::S_IWGRP | Mode::S_IWOTH);
            Ok(setsid().map(drop)?)
        })?;
        self.step(Step::Signals, reset_signals)?;
        self.step(Step::Capabilities, || {
            self.capabilities
                .map_or(Ok(()), |kept| kept.limit_bounding_set().and_then(|()| Capabilities::keep_over_change_of_user()))
        })?;
        self.step(Step::User, || self.become_user())?;
        self.step(Step::Capabilities, || self.capabilities.map_or(Ok(()), Capabilities::set))?;
        self.step(Step::Directory, || Ok(chdir(self.cwd.as_str())?))?;
        self.step(Step::Descriptors, close_descriptors_on_exec)
    }

    fn step(&self, step: Step, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        act().inspect_err(|_| {
            // One byte fits. Without it, the error is reported as that of the command.
            let _ = (&self.report).write(&[step as u8]);
        })
    }

    fn become_user(&self) -> io::Result<()> {
        let Some(Ids { uid, gid, groups }) = &self.identity else { return Ok(()) };
        let is_same = (*uid, *gid) == (Uid::effective(), Gid::effective());
        match setgroups(groups) {
            // A user namespace of an ordinary user has no other groups.
            Err(Errno::EPERM) if is_same => {}
            other => other?,
        }
        setgid(*gid)?;
        Ok(setuid(*uid)?)
    }
}

/// Sets all signals to their defaults and unblocks them.
fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // Fails for SIGKILL, SIGSTOP and those that the C library keeps for itself.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Lets execve(2) close all other descriptors. All that the init opens are closed anyway; this is for those that it was started with.
fn close_descriptors_on_exec() -> io::Result<()> {
    // SAFETY: close_range(2) takes numbers. With this flag it closes nothing yet.
    let done = Errno::result(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) });
    match done {
        // The flag came with Linux 5.11.
        Err(Errno::EINVAL | Errno::ENOSYS) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_their_numbers() {
        assert!(Step::ALL.iter().enumerate().all(|(number, step)| *step as usize == number));
    }
}

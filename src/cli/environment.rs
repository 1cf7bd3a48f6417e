//! Decides where a command runs: on the machine if the process may change the machine's network, otherwise in a sandbox.

use std::io::ErrorKind;

use super::elsewhere::{Elsewhere, Sought};
use super::error::{self, Failure};
use super::output::Output;
use super::uplink::{self, Uplink};
use crate::kernel::linux::{labs, privilege};
use crate::name::SandboxName;
use crate::runtime::records;
use crate::sandbox::directory::DirectoryError;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::start::{self, Kind, StartError};
use crate::sandbox::{self, Found, Sandbox, SandboxError};

/// Names the sandbox if the option `--sandbox` does not.
pub const VARIABLE: &str = "TOPO_SANDBOX";

/// How a command uses the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Not at all, or the command enters environments itself.
    None,
    /// It reads. Without a sandbox, it sees a temporary, empty one.
    Read,
    /// It changes what exists.
    Write {
        /// Whether the sandbox continues to run without labs.
        keep_sandbox: bool,
    },
    /// It creates things, first of all the sandbox if there is none.
    Create {
        /// The program that connects the sandbox to the outside, if one is to do so.
        uplink: Option<Uplink>,
    },
    /// It runs another program in an existing environment.
    Enter,
}

/// Where this process works.
pub enum Environment {
    /// The network in which the process was started.
    Machine,
    /// A sandbox.
    Sandbox {
        /// The sandbox, joined.
        sandbox: Sandbox,
        /// Whether it stops when it has no labs left.
        stop_if_empty: bool,
        /// What to tell the user at the end, if the sandbox continues to run.
        notice: Option<String>,
    },
}

/// The sandbox that the user chose by option or environment variable.
pub fn chosen_sandbox(option: Option<&SandboxName>) -> Result<Option<SandboxName>, Failure> {
    if let Some(name) = option {
        return Ok(Some(name.clone()));
    }
    match std::env::var(VARIABLE) {
        Ok(name) if !name.is_empty() => {
            let invalid = |error| Failure::with_cause(format!("`{VARIABLE}` is not a valid sandbox name"), error);
            name.parse::<SandboxName>().map(Some).map_err(invalid)
        }
        _ => Ok(None),
    }
}

/// Whether this process may change the machine's own network.
///
/// # Errors
/// If that cannot be determined. Assuming "no" would put the lab into the wrong environment.
pub fn may_change_machine() -> Result<bool, Failure> {
    privilege::is_ours_to_change().map_err(|error| {
        let kind = error.kind();
        Failure::with_cause("cannot determine whether this process may change the machine's network", error)
            .hint("use `--sandbox` to run in a sandbox")
            .blame_proc(kind)
    })
}

/// Enters the environment of a command, which may look for something in it. Call it before starting any thread. Returns the other
/// environments, too.
pub fn enter(
    option: Option<&SandboxName>,
    access: Access,
    sought: Option<&Sought>,
    output: &mut Output,
) -> Result<(Environment, Elsewhere), Failure> {
    if access == Access::None {
        return Ok((Environment::Machine, Elsewhere::nowhere()));
    }
    let chosen = chosen_sandbox(option)?;
    // What a user creates in a sandbox of choice may be in others as well.
    let hints = chosen.is_none() || matches!(access, Access::Write { .. } | Access::Enter);
    let name = match chosen {
        Some(name) => name,
        None if !may_change_machine()? => sandbox::DEFAULT.parse().expect("the default is a valid name"),
        None if matches!(access, Access::Create { uplink: Some(_) }) => {
            return Err(Failure::new("`--uplink` needs a sandbox, but root works on the machine itself")
                .hint("add `--sandbox` to run in a sandbox"));
        }
        None => return Ok((Environment::Machine, Elsewhere::outside())),
    };
    loop {
        let Joined { sandbox: joined, notice, elsewhere } = match access {
            Access::Create { uplink } => join_or_create(&name, uplink, hints, output)?,
            Access::None | Access::Read | Access::Write { .. } | Access::Enter => {
                join_existing(&name, access, hints, sought, output)?
            }
        };
        match joined {
            // It ended after it was found. Look again.
            Err(SandboxError::Ended(_)) => {}
            joined => {
                let sandbox = joined.map_err(explain)?;
                let stop_if_empty = matches!(access, Access::Create { .. } | Access::Write { keep_sandbox: false });
                let stop_if_empty = stop_if_empty && !sandbox.is_throw_away();
                return Ok((Environment::Sandbox { sandbox, stop_if_empty, notice }, elsewhere));
            }
        }
    }
}

/// A sandbox or the reason why it cannot be joined, a notice for the user, and the other environments.
struct Joined {
    sandbox: Result<Sandbox, SandboxError>,
    notice: Option<String>,
    elsewhere: Elsewhere,
}

/// The environments other than a sandbox that is joined next, for a command that gives hints.
fn elsewhere(name: &SandboxName, lock: Option<&SandboxLock>, hints: bool) -> Elsewhere {
    if hints { Elsewhere::than(name, lock) } else { Elsewhere::nowhere() }
}

fn report_dead(name: &SandboxName, output: &mut Output) {
    output.message(&format!("Sandbox `{name}` and everything in it is gone: its holder process was killed."));
}

/// Joins a sandbox if it is running; otherwise creates a temporary one, except for [`Access::Enter`].
fn join_existing(
    name: &SandboxName,
    access: Access,
    hints: bool,
    sought: Option<&Sought>,
    output: &mut Output,
) -> Result<Joined, Failure> {
    let lock = SandboxLock::acquire(name).map_err(explain_directory)?;
    let found = lock.as_ref().map(sandbox::find_or_clean_up).transpose().map_err(explain_directory)?.flatten();
    match found {
        Some(Found::Running(holder, pid_file)) => {
            let uses = matches!(access, Access::Write { .. } | Access::Read);
            let elsewhere = elsewhere(name, lock.as_ref(), hints);
            let sandbox = Sandbox::join(name.clone(), holder, pid_file, uses);
            return Ok(Joined { sandbox, notice: None, elsewhere });
        }
        Some(Found::Dead) => report_dead(name, output),
        None => {}
    }
    if access == Access::Enter {
        let option = if name.as_str() == sandbox::DEFAULT { String::new() } else { format!(" --sandbox={name}") };
        let found = sought.and_then(|sought| elsewhere(name, lock.as_ref(), hints).before_joining().hint(sought));
        let hint = found.unwrap_or_else(|| format!("create it with `topo apply{option} LAB`"));
        return Err(Failure::new(format!("there is no sandbox `{name}`")).hint(hint));
    }
    let elsewhere = elsewhere(name, lock.as_ref(), hints);
    Ok(Joined { sandbox: Sandbox::temporary(name.clone()), notice: None, elsewhere })
}

/// Joins a sandbox. Creates it if it is not running.
fn join_or_create(name: &SandboxName, uplink: Option<Uplink>, hints: bool, output: &mut Output) -> Result<Joined, Failure> {
    let lock = SandboxLock::acquire_or_create(name).map_err(explain_directory)?;
    let found = sandbox::find_or_clean_up(&lock).map_err(explain_directory)?;
    if matches!(found, Some(Found::Dead)) {
        report_dead(name, output);
    }
    let (holder, pid_file, created) = match found {
        Some(Found::Running(holder, pid_file)) => (holder, pid_file, false),
        Some(Found::Dead) | None => {
            let started = start::start(Kind::Registered(&lock)).map_err(|error| explain(error.into()))?;
            match sandbox::find(&lock).map_err(explain_directory)? {
                Some(Found::Running(holder, pid_file)) if holder.number() == started.process.number() => (holder, pid_file, true),
                _ => return Err(explain(StartError::Ended.into())),
            }
        }
    };
    let opened = uplink.map(|wanted| uplink::start(&lock, &holder, wanted, created, output)).transpose()?;
    let elsewhere = elsewhere(name, Some(&lock), hints);
    let sandbox = Sandbox::join(name.clone(), holder, pid_file, true);
    if let (Ok(_), Some(opened)) = (&sandbox, opened) {
        let message = || format!("cannot set up the uplink that {} provides", opened.program);
        opened.set_up().map_err(|error| Failure::with_cause(message(), error))?;
    }
    let notice = match (created, opened) {
        (_, Some(opened)) if opened.is_new => {
            Some(format!("Sandbox `{name}` is connected to the outside by {}.", opened.program))
        }
        (true, _) => Some(format!("Created sandbox `{name}`. It is not connected to the outside; `--uplink` does that.")),
        (false, _) => None,
    };
    Ok(Joined { sandbox, notice, elsewhere })
}

fn explain_directory(error: DirectoryError) -> Failure {
    let kind = error::kind(&error);
    let is_refused = matches!(error, DirectoryError::Unsafe { .. })
        || kind.is_some_and(|kind| matches!(kind, ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied));
    let failure = Failure::new(error);
    match kind {
        _ if is_refused => failure.hint("set XDG_RUNTIME_DIR to a directory that only you can write to"),
        Some(kind) => failure.blame_proc(kind),
        None => failure,
    }
}

/// Adds the restriction that the system has and how to lift it.
pub fn explain(error: SandboxError) -> Failure {
    let restriction = match &error {
        SandboxError::Start(StartError::Refused { restriction, .. }) => restriction.clone(),
        SandboxError::Start(_)
        | SandboxError::Directory(_)
        | SandboxError::Join { .. }
        | SandboxError::Ended(_)
        | SandboxError::Stop { .. } => None,
    };
    if let SandboxError::Directory(error) = error {
        return explain_directory(error);
    }
    let kind = error::kind(&error);
    let failure = Failure::new(error);
    let mut failure = match kind {
        Some(kind) => failure.blame_proc(kind),
        None => failure,
    };
    if let Some(restriction) = restriction {
        let cause = restriction.cause;
        failure.notes.push(format!("This needs a sandbox, which the system does not allow: {cause}."));
        failure = failure.hint(restriction.hint);
    }
    failure
}

/// The processes that ended with a sandbox, for the message that it was stopped.
pub fn processes_in_it(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " and 1 process in it".to_owned(),
        count => format!(" and {count} processes in it"),
    }
}

impl Environment {
    /// The sandbox's name.
    pub fn sandbox(&self) -> Option<&SandboxName> {
        match self {
            Self::Machine => None,
            Self::Sandbox { sandbox, .. } => Some(sandbox.name()),
        }
    }

    /// Leaves the environment. Stops the sandbox if it is to stop without labs and has none left.
    pub fn leave(self, output: &mut Output) -> Result<(), Failure> {
        let Self::Sandbox { sandbox, stop_if_empty, notice } = self else { return Ok(()) };
        let name = sandbox.name().clone();
        if sandbox.has_ended() {
            let lost = format!("sandbox `{name}` and everything in it ended while the command was running");
            return Err(Failure::new(lost).hint("run the command again"));
        }
        if !stop_if_empty || !sandbox.is_in_use() {
            sandbox.leave();
            return Ok(());
        }
        let Some(lock) = SandboxLock::acquire(&name).map_err(explain_directory)? else { return Ok(()) };
        // If the labs cannot be listed, there may be some.
        let is_empty = || records::labs().is_ok_and(|labs| labs.is_empty()) && !labs::any().unwrap_or(true);
        let stopped = sandbox.stop_if(&lock, is_empty).map_err(explain)?;
        match (notice, stopped) {
            (Some(notice), None) => output.message(&notice),
            (None, Some(ended)) => {
                output.message(&format!("Stopped sandbox `{name}`{}: it has no labs left.", processes_in_it(ended)));
            }
            // A sandbox that was created and stopped by the same command is not worth mentioning.
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(())
    }
}

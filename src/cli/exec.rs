//! `topo exec` and `topo shell`: a command inside of a namespace, in the place of this process, so that its terminal, its signals
//! and its exit status are its own.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::error::Failure;
use super::output::Output;
use super::place::Place;
use super::{ExecArguments, ShellArguments, exec_all, shell};
use crate::kernel::linux::inside::{self, EnterError};
use crate::kernel::plain;
use crate::name::NamespaceName;
use crate::yaml::suggest;

/// topo itself failed, env(1).
pub const OWN: u8 = 125;
/// The command is there and cannot be run.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;

pub fn run(arguments: &ExecArguments, place: &Place, output: &mut Output) -> Result<u8, Failure> {
    if arguments.all {
        return exec_all::run(arguments, place, output);
    }
    let Some(target) = &arguments.target else {
        return Err(Failure::new("no namespace is named").hint("`topo exec NAMESPACE -- COMMAND`, or `--all`"));
    };
    let (program, rest) = arguments.command.split_first().expect("clap wants a command");
    let namespace = enter(target, output)?;
    let mut command = Command::new(program);
    command.args(rest);
    replace(command, &namespace, place)
}

pub fn run_shell(arguments: &ShellArguments, place: &Place, output: &mut Output) -> Result<u8, Failure> {
    let namespace = enter(&arguments.namespace, output)?;
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| OsString::from("/bin/sh"));
    replace(shell::command(&shell, &namespace).map_err(Failure::new)?, &namespace, place)
}

/// Enters a namespace by its name.
fn enter(name: &str, output: &mut Output) -> Result<NamespaceName, Failure> {
    let name: NamespaceName = name.parse().map_err(Failure::new)?;
    if name.is_host() {
        return Ok(name);
    }
    let unbound = inside::enter(&name).map_err(|error| unknown(&name, error))?;
    for unbound in unbound {
        output.tell(&format!("warning: cannot put a file over `{}`: {}", unbound.path.display(), plain(&unbound.error)));
    }
    Ok(name)
}

fn unknown(name: &NamespaceName, error: EnterError) -> Failure {
    let hint = match &error {
        EnterError::Missing { known, .. } => {
            let known = known.iter().map(NamespaceName::as_str).chain([crate::name::HOST]);
            Some(match suggest::closest(name.as_str(), known.clone()) {
                Some(closest) => format!("did you mean `{closest}`?"),
                None => format!("there are {}", suggest::list(known)),
            })
        }
        EnterError::NoNamespace { .. } | EnterError::Refused { .. } => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Becomes the command; returns only if that fails.
fn replace(mut command: Command, namespace: &NamespaceName, place: &Place) -> Result<u8, Failure> {
    command.env("TOPO_NAMESPACE", namespace.as_str());
    if let Some(sandbox) = place.sandbox() {
        // A topo that is run there finds the sandbox that it is in.
        command.env("TOPO_SANDBOX", sandbox.as_str());
    }
    let error = command.exec();
    let program = command.get_program().to_string_lossy().into_owned();
    if error.kind() == ErrorKind::NotFound || is_nowhere(command.get_program()) {
        let why = if program.contains('/') { plain(&error) } else { "there is no such command in PATH".to_owned() };
        return Err(Failure { code: NOT_FOUND, ..Failure::new(format!("cannot run `{program}`: {why}")) });
    }
    Err(Failure { code: NOT_EXECUTABLE, ..Failure::new(format!("cannot run `{program}`: {}", plain(&error))) })
}

/// Whether a command's name is in no directory of PATH; execvp(3) says `permission denied` then, if one of them cannot be looked
/// into.
fn is_nowhere(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    !program.as_bytes().contains(&b'/') && !std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

//! `topo sandbox`: which there are, and their end; and the processes that sandboxes live by.

use std::process::ExitCode;

use super::error::Failure;
use super::output::Output;
use super::{SandboxCommand, list, place};
use crate::name::{SandboxName, escape};
use crate::sandbox::directory::Held;
use crate::sandbox::{self, Found, SandboxError, keeper, obstacle, uplink};
use crate::yaml::suggest;

/// Is one of the processes that a sandbox lives by, if the program was started as one. Before anything else, which would only take
/// memory.
pub fn attend() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let begin = [arguments.next()?, arguments.next()?];
    if begin.iter().eq(keeper::ARGUMENTS.iter()) {
        keeper::run();
        return Some(ExitCode::SUCCESS);
    }
    if begin.iter().eq(uplink::ARGUMENTS.iter()) {
        let rest: Vec<_> = arguments.filter_map(|argument| argument.into_string().ok()).collect();
        return Some(match uplink::guard(&rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Read by the process that asked for the uplink.
                eprintln!("{}", crate::kernel::plain(&error));
                ExitCode::FAILURE
            }
        });
    }
    None
}

pub fn run(command: &SandboxCommand, output: &mut Output) -> Result<u8, Failure> {
    match command {
        SandboxCommand::List(arguments) => list::sandboxes(arguments, output),
        SandboxCommand::Stop { name } => stop(name, output),
        SandboxCommand::Profile => {
            output.print(&obstacle::profile(&obstacle::program()))?;
            Ok(0)
        }
    }
}

fn stop(name: &SandboxName, output: &mut Output) -> Result<u8, Failure> {
    let missing = || {
        let known = sandbox::list::all().unwrap_or_default();
        let failure = Failure::new(format!("there is no sandbox `{name}`"));
        match suggest::closest(name.as_str(), known.iter().map(|listed| listed.name.as_str())) {
            Some(closest) => failure.hint(format!("did you mean `{}`?", escape(closest))),
            None => failure,
        }
    };
    let refused = |error: SandboxError| place::explain(error);
    let held = Held::take(name).map_err(|error| refused(error.into()))?.ok_or_else(missing)?;
    match sandbox::find_or_clear(&held).map_err(|error| refused(error.into()))? {
        Some(Found::Alive(keeper, record)) => {
            drop(record);
            let ended = sandbox::stop(&held, &keeper).map_err(refused)?;
            let with = match ended {
                0 => String::new(),
                1 => ", and a process in it".to_owned(),
                more => format!(", and {more} processes in it"),
            };
            output.tell(&format!("Stopped the sandbox `{name}`{with}."));
        }
        Some(Found::Gone) => output.tell(&format!("The sandbox `{name}` had gone already.")),
        None => {
            drop(held);
            return Err(missing());
        }
    }
    Ok(0)
}

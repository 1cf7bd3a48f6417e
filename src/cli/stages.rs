//! Runs this program in a throw-away sandbox, once for each stage of a command.

use std::ffi::OsStr;
use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::environment;
use super::error::Failure;
use super::foreground::{Exit, Foreground};
use crate::sandbox::throw_away::ThrowAway;

/// A sandbox in which this program is run.
pub struct Stages<'a> {
    /// The sandbox, entered.
    pub sandbox: &'a ThrowAway,
    /// The signals and the terminal.
    pub foreground: &'a Foreground,
}

impl Stages<'_> {
    /// Runs this program with these arguments. Returns how it ended.
    pub fn run<'t>(&self, arguments: impl IntoIterator<Item = &'t OsStr>) -> Result<Exit, Failure> {
        self.run_with(arguments, |_| {})
    }

    /// The same, after the process was prepared.
    pub fn run_with<'t>(
        &self,
        arguments: impl IntoIterator<Item = &'t OsStr>,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Exit, Failure> {
        let run = || -> io::Result<Exit> {
            let mut command = self.sandbox.command()?;
            command.env(environment::VARIABLE, self.sandbox.name().as_str());
            command.args(arguments);
            prepare(&mut command);
            self.foreground.run(&mut command)
        };
        let exit = run().map_err(|error| Failure::with_cause("cannot start a process in the sandbox", error))?;
        // The kernel kills all processes of a sandbox that ends.
        match exit == Exit::Signal(Signal::SIGKILL) && self.sandbox.has_ended() {
            true => Err(Failure::new("the sandbox and everything in it is gone: its holder process was killed")),
            false => Ok(exit),
        }
    }
}

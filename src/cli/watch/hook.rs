//! The command of `topo watch --exec`.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::name::LabName;

/// Runs a command for each event, without waiting for its end.
pub(super) struct Hook {
    command: String,
    lab: LabName,
    children: Vec<Child>,
}

impl Hook {
    pub(super) fn new(command: &str, lab: &LabName) -> Self {
        Self { command: command.to_owned(), lab: lab.clone(), children: Vec::new() }
    }

    /// Starts the command with the event on its standard input. Its output is that of this process, and if it cannot be started, that is
    /// told there, too.
    pub(super) fn run(&mut self, event: &Value) {
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let mut command = Command::new("sh");
        command.args(["-c", &self.command]).env("TOPO_LAB", self.lab.as_str()).stdin(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "warning: cannot run `sh`: {error}");
                return;
            }
        };
        let text = format!("{event}\n");
        if let Some(mut stdin) = child.stdin.take() {
            // A long event fills the pipe of a command that does not read it.
            std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        }
        self.children.push(child);
    }
}

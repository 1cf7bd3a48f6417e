//! Writes plans and JSON to standard output, everything else to standard error; decides whether to use colour.

use std::io::{self, IsTerminal, Write};

use super::error::Failure;
use crate::diff::Action;
use crate::name::escape;
use crate::report::text::Colour;
use crate::spec;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Standard output and standard error.
pub struct Output {
    when: When,
    stdout: io::Stdout,
    stderr: io::Stderr,
}

impl Output {
    /// Uses colour as the user asked.
    pub fn new(when: When) -> Self {
        Self { when, stdout: io::stdout(), stderr: io::stderr() }
    }

    /// The option `--color` with the user's choice, for another process of topo.
    pub fn color_option(&self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self.when).expect("all values have names");
        format!("--color={}", value.get_name())
    }

    fn colour(&self, terminal: bool) -> Colour {
        let wanted = match self.when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let is_unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
                terminal && is_unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        if wanted { Colour::Ansi } else { Colour::None }
    }

    /// Whether standard output is a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout.is_terminal()
    }

    /// The colour of standard output.
    pub fn stdout_colour(&self) -> Colour {
        self.colour(self.stdout.is_terminal())
    }

    /// The colour of standard error.
    pub fn stderr_colour(&self) -> Colour {
        self.colour(self.stderr.is_terminal())
    }

    /// The same for the diagnostics of lab files.
    pub fn diagnostic_colour(&self) -> spec::Colour {
        match self.stderr_colour() {
            Colour::Ansi => spec::Colour::Always,
            Colour::None => spec::Colour::Never,
        }
    }

    /// Prints to standard output. If its reader has exited, the text is dropped, and the command goes on.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        match self.write(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Failure::new),
        }
    }

    /// Prints output of another program. If the reader has exited, the program ends without a message.
    pub fn forward(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reported()),
            other => other.map_err(Failure::new),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Whether standard error is a terminal that can remove a line.
    pub fn has_terminal(&self) -> bool {
        self.stderr.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Replaces the current line of the terminal, which the next message overwrites.
    pub fn progress(&mut self, text: &str) {
        let _ = write!(self.stderr, "\r\u{1b}[K{text}");
        let _ = self.stderr.flush();
    }

    /// Prints a line to standard error.
    pub fn message(&mut self, text: &str) {
        let _ = writeln!(self.stderr, "{text}");
    }

    /// Prints a warning.
    pub fn warning(&mut self, text: &str) {
        self.message(&format!("warning: {text}"));
    }

    /// Prints hints, one a line.
    pub fn hint(&mut self, text: &str) {
        for line in text.lines() {
            self.message(&format!("hint: {}", escape(line)));
        }
    }

    /// Prints an error with its causes, notes and hint.
    pub fn failure(&mut self, failure: &Failure) {
        let colour = self.stderr_colour();
        if failure.excerpt.is_empty() {
            for line in failure.chain().iter().flat_map(|chain| chain.lines()) {
                self.message(&format!("{} {}", colour.paint(Action::Delete, "error:"), escape(line)));
            }
        } else {
            self.message(failure.excerpt.trim_end());
            if !failure.notes.is_empty() {
                self.message("");
            }
        }
        for note in &failure.notes {
            self.message(&escape(note));
        }
        if let Some(hint) = &failure.hint {
            self.hint(hint);
        }
    }
}

//! `topo logs`: shows what a process of a node has written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::control::{Target, find_process};
use crate::cli::elsewhere::Sought;
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run};
use crate::kernel::linux::node::{Nodes, logs};
use crate::name::LabName;

/// Show what a process of a node has written
#[derive(Debug, Args)]
#[command(after_help = "\
Standard output and standard error of the process, and what topo says of it.
The log is kept while the node exists, at most 2 MiB of it.

Examples:
  topo logs r1/bgpd             All of it
  topo logs r1/bgpd -n 20 -f    The last 20 lines, and what comes")]
pub struct LogsArgs {
    /// The node and the process
    #[arg(value_name = "NODE/PROCESS")]
    process: Target,
    /// Show what is written from now on, too, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Show only the last lines
    #[arg(short = 'n', long, value_name = "NUMBER")]
    lines: Option<usize>,
}

/// The time between two looks for more.
const INTERVAL: Duration = Duration::from_millis(200);

impl Run for LogsArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn sought(&self) -> Option<Sought> {
        Some(Sought::Namespace(self.process.node.clone()))
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        // A log outlives the init of its node, until the next apply.
        let path = match self.left_behind() {
            Some(path) => path,
            None => self.path_in(&find_process(&self.process, context)?.0),
        };
        let failed = |error: io::Error| Failure::with_cause(format!("cannot read the log of `{}`", self.process), error);
        let mut text = Vec::new();
        // The older half, if the log has become long.
        for path in [path.with_extension("log.1"), path.clone()] {
            match std::fs::read(path) {
                Ok(part) => text.extend(part),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        context.output.forward(last_lines(&text, self.lines))?;
        if self.follow {
            follow(&path, context).map_err(|error| match error {
                Stopped::Read(error) => failed(error),
                Stopped::Write(failure) => failure,
            })?;
        }
        Ok(0)
    }
}

impl LogsArgs {
    fn path_in(&self, lab: &LabName) -> PathBuf {
        logs::path(lab, &self.process.node, &self.process.process)
    }

    /// Returns the path of the log if it exists.
    fn left_behind(&self) -> Option<PathBuf> {
        let labs = Nodes::labs_with(&self.process.node).ok()?.into_iter().filter_map(|nodes| nodes.lab());
        labs.map(|lab| self.path_in(&lab)).find(|path| path.exists())
    }
}

/// Why following a log ends early.
enum Stopped {
    /// It cannot be read.
    Read(io::Error),
    /// It cannot be printed.
    Write(Failure),
}

/// Prints what is appended to a log, until the log is gone.
fn follow(path: &Path, context: &mut Context<'_>) -> Result<(), Stopped> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Stopped::Read)?,
    };
    let mut position = file.seek(SeekFrom::End(0)).map_err(Stopped::Read)?;
    loop {
        let status = file.metadata().map_err(Stopped::Read)?;
        if status.len() < position {
            // The older half has been moved away.
            position = 0;
        }
        file.seek(SeekFrom::Start(position)).map_err(Stopped::Read)?;
        let mut more = Vec::new();
        file.read_to_end(&mut more).map_err(Stopped::Read)?;
        position += more.len() as u64;
        context.output.forward(&more).map_err(Stopped::Write)?;
        if status.nlink() == 0 {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Returns the last lines of a text; all without a number.
fn last_lines(text: &[u8], number: Option<usize>) -> &[u8] {
    let Some(number) = number else { return text };
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    match number.checked_sub(1) {
        None => &[],
        Some(skipped) => ends.nth(skipped).map_or(text, |at| &text[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = b"one\ntwo\nthree\n";
        let last = |number| std::str::from_utf8(last_lines(text, number)).unwrap();
        assert_eq!(last(None), "one\ntwo\nthree\n");
        assert_eq!(
            [Some(0), Some(1), Some(2), Some(3), Some(9)].map(last),
            ["", "three\n", "two\nthree\n", "one\ntwo\nthree\n", "one\ntwo\nthree\n"]
        );
        assert_eq!(last_lines(b"a\nb", Some(1)), b"b");
        assert_eq!(last_lines(b"", Some(1)), b"");
    }
}

//! PID files: identify a process so that it is found later, and never another process with the same number.

use std::fmt;
use std::io;

use crate::kernel::linux::process::{self, Process};
use crate::runtime::records::boot_id;

/// The content of a PID file. The process may have exited since it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PidFile {
    /// The process's number.
    pub pid: i32,
    /// When the process started, in clock ticks since boot.
    pub start_time: u64,
    /// The machine's boot ID: numbers are reused after a boot.
    pub boot_id: String,
    /// The inode of the PID namespace in which the number is valid.
    pub pid_namespace: u64,
    /// The program that the process runs, if that is not always the same.
    pub program: Option<String>,
}

impl PidFile {
    /// Describes a running process.
    ///
    /// # Errors
    /// If the process has exited.
    pub fn of(pid: i32) -> io::Result<Self> {
        let (start_time, boot_id) = (process::began(pid)?, boot_id()?);
        Ok(Self { pid, start_time, boot_id, pid_namespace: own_pid_namespace()?, program: None })
    }

    /// Finds the process; returns `None` if it has exited.
    ///
    /// # Errors
    /// If that cannot be determined. Do not treat the process as exited in that case.
    pub fn process(&self) -> io::Result<Option<Process>> {
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        if own_pid_namespace()? != self.pid_namespace {
            let message = "the process is in another PID namespace; if that no longer exists, remove the file";
            return Err(io::Error::other(message));
        }
        // Opened first, and compared then: the process that is compared is the one that is open.
        let Some(process) = Process::find(self.pid)? else { return Ok(None) };
        match process::began(self.pid) {
            _ if process.is_ending()? => Ok(None),
            Ok(start_time) => Ok((start_time == self.start_time).then_some(process)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (pid, start_time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (boot_id, pid_namespace) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Self { pid, start_time, boot_id, pid_namespace, program: words.next().map(str::to_owned) })
    }
}

impl fmt::Display for PidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.pid, self.start_time, self.boot_id, self.pid_namespace)?;
        self.program.iter().try_for_each(|program| write!(f, " {program}"))
    }
}

/// The inode of this process's PID namespace.
fn own_pid_namespace() -> io::Result<u64> {
    process::identity("/proc/self/ns/pid").map(|(_, inode)| inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files_round_trip() {
        let file = PidFile { pid: 12, start_time: 345, boot_id: "a-b".into(), pid_namespace: 7, program: None };
        assert_eq!(PidFile::parse(&format!("{file}\n")), Some(file.clone()));
        let file = PidFile { program: Some("pasta".into()), ..file };
        assert_eq!(PidFile::parse(&file.to_string()), Some(file));
        for text in ["", "12", "12 345", "12 345 a-b", "x 345 a-b 7"] {
            assert_eq!(PidFile::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_pid_file_finds_its_own_process_and_no_other() {
        let own = PidFile::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.process().unwrap().is_some());
        assert!(PidFile { start_time: own.start_time + 1, ..own.clone() }.process().unwrap().is_none());
        assert!(PidFile { boot_id: "another".into(), ..own.clone() }.process().unwrap().is_none());
        assert!(PidFile { pid_namespace: own.pid_namespace + 1, ..own }.process().is_err());
    }
}

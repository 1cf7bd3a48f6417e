//! The log of a process: what it writes to its standard output and error, and lines of topo.
//!
//! The process writes to the file itself, which is open for appending; there is no pipe that could fill up, and it keeps its log when the
//! init is busy. A file of more than [`LIMIT`] bytes is copied to `NAME.log.1`, and emptied. The process goes on at the new end because
//! it appends. What it writes between the last read and the truncation, a few microseconds, is lost: neither a file of tmpfs nor the
//! descriptor of a process can be exchanged. Between two checks, a process can write more than the limit; the copy has the end of that.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::resource::node::process::ProcessName;
use crate::value::timestamp;

/// The size at which a log is moved to its copy, in bytes. The two together have twice that.
pub(super) const LIMIT: u64 = 1 << 20;
/// The first word of topo's line about a start.
pub(super) const START: &str = "start";
/// How lines of topo begin.
pub(super) const MARK: &str = "[topo ";
/// How many bytes at the end of a log [`Log::tail`] looks at.
const TAIL: u64 = 4096;

/// The logs of a node.
pub struct Logs {
    /// The directory of the lab's logs.
    pub directory: OwnedFd,
    /// The name of the node's directory in it.
    pub node: String,
}

impl Logs {
    /// Creates the node's directory if it does not exist.
    ///
    /// # Errors
    /// Fails if it cannot be created.
    fn create(&self) -> io::Result<()> {
        match mkdirat(&self.directory, self.node.as_str(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The log of a process.
pub(super) struct Log<'l> {
    pub logs: &'l Logs,
    pub name: &'l ProcessName,
}

impl Log<'_> {
    fn open(&self, suffix: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let path = self.path(suffix);
        let open = || openat(&self.logs.directory, path.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let opened = match open() {
            Err(Errno::ENOENT) if flags.contains(OFlag::O_CREAT) => {
                self.logs.create()?;
                open()
            }
            other => other,
        };
        Ok(opened?.into())
    }

    /// Opens it for appending, as standard output.
    pub(super) fn open_for_output(&self) -> io::Result<File> {
        self.open("", OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT)
    }

    /// Adds a line of topo. If that fails, the line is missing; the process is more important.
    pub(super) fn note(&self, text: impl fmt::Display) {
        let write = || -> io::Result<()> {
            let mut file = self.open("", OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT)?;
            let size = file.metadata()?.len();
            let mut last = [b'\n'];
            if size > 0 {
                file.read_at(&mut last, size - 1)?;
            }
            let separator = if last == *b"\n" { "" } else { "\n" };
            // One write, so that no line of the process comes in between.
            file.write_all(
                format!(
                    "{separator}{MARK}{}] {text}\n",
                    timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
                )
                .as_bytes(),
            )
        };
        let _ = write();
    }

    /// Removes it and its copy, and the directory if there is no other log. What cannot be removed goes with the node.
    pub(super) fn remove(&self) {
        for suffix in ["", ".1"] {
            let _ = unlinkat(&self.logs.directory, self.path(suffix).as_str(), UnlinkatFlags::NoRemoveDir);
        }
        let _ = unlinkat(&self.logs.directory, self.logs.node.as_str(), UnlinkatFlags::RemoveDir);
    }

    /// Returns its path in the directory of the lab's logs.
    pub(super) fn path(&self, suffix: &str) -> String {
        format!("{}/{}.log{suffix}", self.logs.node, self.name)
    }

    /// Returns the size in bytes; 0 if there is no log.
    pub(super) fn size(&self) -> u64 {
        self.open("", OFlag::O_RDONLY).and_then(|file| Ok(file.metadata()?.len())).unwrap_or_default()
    }

    /// Returns the last lines of the process since its last start, without those of topo.
    pub(super) fn tail(&self, lines: usize) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = self.open("", OFlag::O_RDONLY)?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let is_start = |line: &&str| line.starts_with(MARK) && line.contains(&format!("] {START} "));
        let since = text.lines().collect::<Vec<_>>();
        let begin = since.iter().rposition(is_start).unwrap_or_default();
        let own: Vec<&str> = since[begin..].iter().copied().filter(|line| !line.starts_with(MARK) && !line.is_empty()).collect();
        own[own.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// Moves it to its copy if it is larger than the limit. Returns whether it was.
    pub(super) fn bound(&self) -> io::Result<bool> {
        let mut file = self.open("", OFlag::O_RDWR)?;
        let size = file.metadata()?.len();
        if size <= LIMIT {
            return Ok(false);
        }
        let mut copy = || -> io::Result<()> {
            let mut copy = self.open(".1", OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC)?;
            file.seek(SeekFrom::Start(size.saturating_sub(LIMIT)))?;
            io::copy(&mut (&file).take(LIMIT), &mut copy)?;
            // The process may have written in the meantime. That is little, or it would never end.
            io::copy(&mut (&file).take(LIMIT), &mut copy)?;
            Ok(())
        };
        // If the disk is full, the copy is incomplete; the log must be emptied all the same.
        let copied = copy();
        file.set_len(0)?;
        copied.map(|()| true)
    }

    /// Looks for a text from an offset on. Returns where the next search has to begin, or `None` if the text was found.
    pub(super) fn search(&self, text: &str, from: u64) -> io::Result<Option<u64>> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut file = self.open("", OFlag::O_RDONLY)?;
        let size = file.metadata()?.len();
        // A log that is shorter was moved to its copy.
        let mut at = if size < from { 0 } else { from };
        file.seek(SeekFrom::Start(at))?;
        // What is written in the meantime is for the next search: the process can write faster than this reads.
        let mut file = file.take((size - at).min(LIMIT));
        let overlap = text.len() - 1;
        let mut window: Vec<u8> = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = file.read(&mut buffer)?;
            window.extend(&buffer[..count]);
            if window.windows(text.len()).any(|part| part == text.as_bytes()) {
                return Ok(None);
            }
            let surplus = window.len().saturating_sub(overlap);
            window.drain(..surplus);
            at += surplus as u64;
            if count == 0 {
                return Ok(Some(at));
            }
        }
    }
}

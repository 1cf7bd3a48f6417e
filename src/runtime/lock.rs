//! Locks: one `flock` per lab, so that only one process at a time changes it. The kernel releases it when the process exits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use super::directory_lock::DirectoryLock;
use super::{DIRECTORY, DirectoryError, unlock};
use crate::name::{LabName, escape};

/// Interval between two attempts to lock.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often to try again after an unexpected error.
const ATTEMPTS: u32 = 3;

/// Why a lab cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has the lock.
    #[error("lab `{lab}` is being changed by {process}")]
    Locked {
        /// The lab.
        lab: LabName,
        /// The other process, as it describes itself.
        process: String,
    },
    /// The user asked to stop waiting.
    #[error("interrupted while waiting for another process that changes lab `{lab}`; nothing was changed")]
    Interrupted {
        /// The lab.
        lab: LabName,
    },
    /// The lock file cannot be used.
    #[error("cannot lock lab `{lab}`")]
    Io {
        /// The lab.
        lab: LabName,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Returns whether a process changes the lab now. Does not lock, not even for a moment. Where that cannot be found out, nobody does.
pub fn is_held(lab: &LabName) -> bool {
    let Ok(status) = std::fs::metadata(Path::new(DIRECTORY).join(format!("{lab}.lock"))) else { return false };
    let number = format!("{:02x}:{:02x}:{}", major(status.dev()), minor(status.dev()), status.ino());
    // The fields of a line, proc_locks(5): number, FLOCK, ADVISORY, WRITE, PID, device and inode.
    let is_lock = |line: &str| line.contains(" FLOCK ") && line.split_whitespace().any(|field| field == number);
    std::fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.lines().any(is_lock))
}

/// A locked lab: no other process may change it until the value is dropped.
pub struct LabLock {
    /// `None` only while the value is dropped.
    file: Option<Flock<File>>,
    path: PathBuf,
    /// Declared last, because it must be released after the file is removed.
    _directory: DirectoryLock,
}

impl LabLock {
    /// Locks a lab. Waits up to `timeout` for another process, or until `stop` returns true.
    ///
    /// # Errors
    /// If another process keeps the lock, or the directory cannot be used or is unsafe.
    pub fn acquire(lab: &LabName, timeout: Duration, stop: impl Fn() -> bool) -> Result<Self, LockError> {
        let io = |source| LockError::Io { lab: lab.clone(), source };
        let path = Path::new(DIRECTORY).join(format!("{lab}.lock"));
        let deadline = Instant::now() + timeout;
        let mut failures = 0;
        loop {
            let directory = DirectoryLock::acquire()?;
            let file = match open(&path) {
                // Somebody has removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result.map_err(io)?,
            };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => {
                    let mut lock = Self { file: Some(file), path: path.clone(), _directory: directory };
                    // The previous owner may have removed the file. Then a lock on it has no effect.
                    if lock.is_valid().map_err(io)? {
                        lock.write_pid().map_err(io)?;
                        return Ok(lock);
                    }
                }
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    if stop() {
                        return Err(LockError::Interrupted { lab: lab.clone() });
                    }
                    if Instant::now() >= deadline {
                        return Err(LockError::Locked { lab: lab.clone(), process: describe_owner(&mut file) });
                    }
                    std::thread::sleep(POLL_INTERVAL);
                }
                Err((_, Errno::EINTR)) => {}
                // Most such errors are temporary, and giving up would leave the new file behind.
                Err(_) if failures < ATTEMPTS => failures += 1,
                Err((_, error)) => return Err(io(error.into())),
            }
        }
    }

    /// Returns a duplicate of the descriptor. The lab stays locked as long as it is open, unless this value is dropped.
    ///
    /// # Errors
    /// If there are no more descriptors.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        file.as_fd().try_clone_to_owned()
    }

    /// Whether the locked file still has its name.
    fn is_valid(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        super::is_same_file(&self.path, file)
    }

    fn write_pid(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())
    }
}

impl Drop for LabLock {
    fn drop(&mut self) {
        // Removed while the lock is held, so that no other process can have locked the same file meanwhile.
        let _ = std::fs::remove_file(&self.path);
        self.file.take().and_then(unlock);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)?;
    super::check_file(&file).map(|()| file)
}

/// Describes the process that has written its PID to a lock file.
fn describe_owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(process)) => {
            let command = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            match command.trim() {
                "" => format!("process {process}"),
                command => format!("process {process} ({})", escape(command)),
            }
        }
        _ => "another process".to_owned(),
    }
}

//! One `flock` for each lab, so that changes to it come one after another. Death releases it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::presence::{self, Presence};
use super::{DIRECTORY, DirectoryError};
use crate::name::{LabName, escape};

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// How often to try again when the system fails to lock at all.
const ATTEMPTS: u32 = 3;

/// Why a lab could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("lab `{lab}` is being changed by {holder}")]
    Held {
        /// The lab.
        lab: LabName,
        /// Who, as far as it says so itself.
        holder: String,
    },
    /// The user asked to stop waiting.
    #[error("interrupted while lab `{lab}` was being changed by another process; nothing was changed")]
    Interrupted {
        /// The lab.
        lab: LabName,
    },
    /// The directory or the file cannot be used.
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

/// A lab that only this process may change, until the value is dropped.
pub struct Lock {
    /// Always there until the value is dropped.
    file: Option<Flock<File>>,
    path: PathBuf,
    /// Given up after the file is gone.
    _presence: Presence,
}

impl Lock {
    /// Locks a lab; waits up to `timeout` for another process to be done, unless `stop` says that waiting is to end.
    ///
    /// # Errors
    /// When another process keeps the lock, or the directory cannot be used or trusted.
    pub fn take(lab: &LabName, timeout: Duration, stop: impl Fn() -> bool) -> Result<Self, LockError> {
        let io = |source| LockError::Io { lab: lab.clone(), source };
        let path = Path::new(DIRECTORY).join(format!("{lab}.lock"));
        let deadline = Instant::now() + timeout;
        let mut failures = 0;
        loop {
            let presence = Presence::take()?;
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(nix::libc::O_NOFOLLOW)
                .open(&path);
            let file = match opened {
                // Somebody has removed the directory by hand.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(io)?,
            };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => {
                    let mut lock = Self { file: Some(file), path: path.clone(), _presence: presence };
                    // A lock on a file that its last holder has removed meanwhile locks nobody out.
                    if lock.is_current().map_err(io)? {
                        lock.sign().map_err(io)?;
                        return Ok(lock);
                    }
                }
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    if stop() {
                        return Err(LockError::Interrupted { lab: lab.clone() });
                    }
                    if Instant::now() >= deadline {
                        return Err(LockError::Held { lab: lab.clone(), holder: holder(&mut file) });
                    }
                    std::thread::sleep(PAUSE);
                }
                Err((_, Errno::EINTR)) => {}
                // The file that was made for it would be left behind; most such failures pass.
                Err(_) if failures < ATTEMPTS => failures += 1,
                Err((_, error)) => return Err(io(error.into())),
            }
        }
    }

    fn is_current(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        super::leads_to(&self.path, file)
    }

    fn sign(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still held, so that nobody can have locked the same file in between.
        let _ = std::fs::remove_file(&self.path);
        self.file.take().and_then(presence::release);
    }
}

fn holder(file: &mut File) -> String {
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

//! Where a user's sandboxes are written down: `topo` in `$XDG_RUNTIME_DIR` or `/run/user/UID`, else `/tmp/topo-UID`.
//!
//! The directory is the user's alone, and opened without following a symbolic link; its files are opened through it. One lock
//! for each sandbox, held for moments only, keeps two first commands from making two.

use std::fs::File as OpenFile;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::record::Record;
use crate::name::SandboxName;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It, or a file in it, cannot be made, read or removed.
    #[error("cannot use `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not to be trusted.
    #[error("`{}` {problem}", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What is kept for each sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// Which process the keeper is.
    Record,
    /// Which process looks after the way out.
    Uplink,
    /// Locked while a sandbox is looked for, made or ended.
    Lock,
    /// A record that is being written.
    Unfinished,
}

impl File {
    /// Its name; what it begins with cannot be part of a sandbox's name that follows.
    pub fn name(self, sandbox: &SandboxName) -> String {
        let prefix = match self {
            Self::Record => RECORD,
            Self::Uplink => "uplink-",
            Self::Lock => "lock-",
            Self::Unfinished => "new-",
        };
        format!("{prefix}{sandbox}")
    }
}

const RECORD: &str = "record-";
/// Far more than a record needs.
const LENGTH: u64 = 1024;

/// The directory, open.
#[derive(Debug)]
pub struct Directory {
    handle: OwnedFd,
    path: PathBuf,
    parent: OwnedFd,
    leaf: String,
}

impl Directory {
    /// Opens the directory; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or is not the user's alone.
    pub fn open() -> Result<Option<Self>, DirectoryError> {
        let (parent, place, leaf) = parent()?;
        let path = place.join(&leaf);
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let refuse = |problem| Err(DirectoryError::Unsafe { path: path.clone(), problem });
        let handle = match openat(&parent, leaf.as_str(), flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENOTDIR) => return refuse("is not a directory"),
            Err(Errno::EACCES) => return refuse("belongs to another user"),
            Err(error) => return Err(DirectoryError::Io { path, source: error.into() }),
        };
        let status = fstat(&handle).map_err(|error| DirectoryError::Io { path: path.clone(), source: error.into() })?;
        if status.st_uid != nix::unistd::geteuid().as_raw() {
            return refuse("belongs to another user");
        }
        if status.st_mode & 0o077 != 0 {
            return refuse("is open to other users");
        }
        Ok(Some(Self { handle, path, parent, leaf }))
    }

    fn create() -> Result<(), DirectoryError> {
        let (parent, place, leaf) = parent()?;
        match mkdirat(&parent, leaf.as_str(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(DirectoryError::Io { path: place.join(leaf), source: error.into() }),
        }
    }

    /// The names of the sandboxes that are written down, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<SandboxName>, DirectoryError> {
        let failed = |error: Errno| DirectoryError::Io { path: self.path.clone(), source: error.into() };
        let mut names = Vec::new();
        let mut entries = Dir::openat(&self.handle, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        for entry in entries.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_str().ok().and_then(|name| name.strip_prefix(RECORD)?.parse().ok());
            names.extend(name);
        }
        names.sort();
        Ok(names)
    }
}

/// The directory around ours, where it is, and how ours is called in it.
fn parent() -> Result<(OwnedFd, PathBuf, String), DirectoryError> {
    let user = user();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    for path in given.into_iter().chain([PathBuf::from(format!("/run/user/{user}"))]) {
        if let Some(handle) = open_own(&path) {
            return Ok((handle, path, "topo".to_owned()));
        }
    }
    let path = PathBuf::from("/tmp");
    let failed = |error: Errno| DirectoryError::Io { path: "/tmp".into(), source: error.into() };
    let handle = open(&path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty()).map_err(failed)?;
    let mode = fstat(&handle).map_err(failed)?.st_mode;
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(DirectoryError::Unsafe { path, problem: "lets every user rename what belongs to others" });
    }
    Ok((handle, path, format!("topo-{user}")))
}

/// A directory that belongs to the user, and that nobody else can write to.
fn open_own(path: &Path) -> Option<OwnedFd> {
    let handle = open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty()).ok()?;
    let status = fstat(&handle).ok()?;
    (status.st_uid == nix::unistd::geteuid().as_raw() && status.st_mode & 0o022 == 0).then_some(handle)
}

/// The user's number, outside of the user namespace that a sandbox is.
fn user() -> u32 {
    let own = nix::unistd::geteuid().as_raw();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    outside(&map, own).unwrap_or(own)
}

/// What an id is outside, by a map of user_namespaces(7).
fn outside(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, outside, length) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = id.checked_sub(first).filter(|offset| *offset < length)?;
        outside.checked_add(offset)
    })
}

/// A sandbox that nobody else looks for, makes or ends until the value is dropped.
#[derive(Debug)]
pub struct Held {
    directory: Directory,
    name: SandboxName,
    /// Always there until the value is dropped.
    lock: Option<Flock<OpenFile>>,
}

impl Held {
    /// Waits for the sandbox's lock; `None` when nothing is written down anywhere.
    ///
    /// # Errors
    /// When the directory cannot be used or trusted.
    pub fn take(name: &SandboxName) -> Result<Option<Self>, DirectoryError> {
        Self::take_in(name, Directory::open)
    }

    /// The same, with the directory made if there is none.
    ///
    /// # Errors
    /// When the directory cannot be made, used or trusted.
    pub fn take_or_create(name: &SandboxName) -> Result<Self, DirectoryError> {
        let open = || {
            Directory::create()?;
            Directory::open()
        };
        loop {
            // Whoever leaves last may remove it at once.
            if let Some(held) = Self::take_in(name, open)? {
                return Ok(held);
            }
        }
    }

    fn take_in(
        name: &SandboxName,
        open: impl Fn() -> Result<Option<Directory>, DirectoryError>,
    ) -> Result<Option<Self>, DirectoryError> {
        loop {
            let Some(directory) = open()? else { return Ok(None) };
            let path = directory.path.join(File::Lock.name(name));
            let failed = |error: Errno| DirectoryError::Io { path: path.clone(), source: error.into() };
            let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = match openat(&directory, File::Lock.name(name).as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(file) => OpenFile::from(file),
                // The directory has been removed meanwhile.
                Err(Errno::ENOENT) => continue,
                Err(error) => return Err(failed(error)),
            };
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(lock) => {
                    let held = Self { directory, name: name.clone(), lock: Some(lock) };
                    // A lock on a file that its last holder has removed meanwhile locks nobody out.
                    if held.is_valid() {
                        return Ok(Some(held));
                    }
                    held.let_go();
                }
                Err((_, Errno::EINTR)) => {}
                Err((_, error)) => return Err(failed(error)),
            }
        }
    }

    fn is_valid(&self) -> bool {
        let Some(Ok(held)) = self.lock.as_ref().map(|lock| lock.metadata()) else { return false };
        let named = fstatat(&self.directory, File::Lock.name(&self.name).as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        named.is_ok_and(|named| (named.st_dev, named.st_ino) == (held.dev(), held.ino()))
    }

    /// Gives up a lock that is none.
    fn let_go(mut self) {
        let _ = self.lock.take().and_then(release);
    }

    /// The sandbox's name.
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// What to make of an error with one of the sandbox's files.
    pub(super) fn failed(&self, file: File) -> impl Fn(io::Error) -> DirectoryError + use<> {
        let path = self.directory.path.join(file.name(&self.name));
        move |source| DirectoryError::Io { path: path.clone(), source }
    }

    /// Reads one of the sandbox's files; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is no such file.
    pub fn read(&self, file: File) -> Result<Option<(Record, OpenFile)>, DirectoryError> {
        let failed = self.failed(file);
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = match openat(&self.directory, file.name(&self.name).as_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => OpenFile::from(other.map_err(|error| failed(error.into()))?),
        };
        let mut text = String::new();
        (&opened).take(LENGTH).read_to_string(&mut text).map_err(&failed)?;
        let record = Record::parse(&text).ok_or_else(|| {
            failed(io::Error::other("it is no record of a process; remove it, which ends the sandbox if there is one"))
        })?;
        Ok(Some((record, opened)))
    }

    /// Writes one of the sandbox's files, which must not be there.
    ///
    /// # Errors
    /// When it is there, or cannot be written.
    pub fn write(&self, file: File, record: &Record) -> Result<(), DirectoryError> {
        write(self.directory.as_fd(), &self.name, file, record).map(drop).map_err(self.failed(file))
    }

    /// Removes one of the sandbox's files, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: File) -> Result<(), DirectoryError> {
        match unlinkat(&self.directory, file.name(&self.name).as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.failed(file)(error.into())),
        }
    }

    /// The directory, for the keeper.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        // Removed while it is still held, so that nobody can have locked the same file in between.
        let _ = unlinkat(&self.directory, File::Lock.name(&self.name).as_str(), UnlinkatFlags::NoRemoveDir);
        release(lock);
        // Fails while anything is in it.
        let _ = unlinkat(&self.directory.parent, self.directory.leaf.as_str(), UnlinkatFlags::RemoveDir);
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Unlocks without the panic by which dropping answers an error; then the end of the process unlocks.
pub(super) fn release(held: Flock<OpenFile>) -> Option<OpenFile> {
    held.unlock().map_err(|(held, _)| std::mem::forget(held)).ok()
}

/// Writes a file that must not be there: as a whole, or not at all.
pub(super) fn write(directory: BorrowedFd<'_>, name: &SandboxName, file: File, record: &Record) -> io::Result<OpenFile> {
    use std::io::Write;
    let (unfinished, finished) = (File::Unfinished.name(name), file.name(name));
    // What a process that was killed had begun to write.
    let _ = unlinkat(directory, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut written = OpenFile::from(openat(directory, unfinished.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    writeln!(written, "{record}")?;
    let linked = nix::unistd::linkat(directory, unfinished.as_str(), directory, finished.as_str(), AtFlags::empty());
    let _ = unlinkat(directory, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
    linked?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_outside_is_read_from_the_map() {
        assert_eq!(outside("         0       1000          1\n", 0), Some(1000));
        assert_eq!(outside("0 0 4294967295\n", 1000), Some(1000));
        assert_eq!(outside("0 1000 1\n1 100000 65536\n", 2), Some(100_001));
        assert_eq!(outside("0 1000 1\n", 7), None);
    }

    #[test]
    fn no_name_makes_one_file_look_like_another() {
        let (name, other): (SandboxName, SandboxName) = ("a".parse().unwrap(), "lock-a".parse().unwrap());
        assert_eq!(File::Record.name(&other), "record-lock-a");
        assert_ne!(File::Lock.name(&name), File::Record.name(&other));
    }
}

//! Reads and writes records: /run/topo/LAB.json, valid until the next boot, replaced atomically.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::{DIRECTORY, DirectoryError, check_existing, check_file};
use crate::kernel::linux::procfs::BOOT_ID;
use crate::kernel::plain;
use crate::name::LabName;
use crate::record::{Others, Record};

/// The largest record that is read, in bytes: ten times that of a lab of ten thousand namespaces.
const SIZE_LIMIT: u64 = 64 << 20;

/// The content of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordFile {
    /// The boot for which the record is valid. /run may survive a reboot; the state of the kernel does not.
    boot_id: String,
    record: Record,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a record.
    #[error("`{}` is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file cannot be written.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn path(lab: &LabName) -> PathBuf {
    PathBuf::from(format!("{DIRECTORY}/{lab}.json"))
}

/// The ID of the current boot.
///
/// # Errors
/// If /proc cannot be read, or hides it.
pub fn boot_id() -> io::Result<String> {
    let failed = |kind, cause: &str| io::Error::new(kind, format!("cannot read `{BOOT_ID}`: {cause}"));
    let text = std::fs::read_to_string(BOOT_ID).map_err(|error| failed(error.kind(), &plain(&error)))?;
    match text.trim() {
        "" => Err(failed(io::ErrorKind::NotFound, "it is empty")),
        text => Ok(text.to_owned()),
    }
}

/// Reads the lab's record. It is empty if there is no file, or one from an earlier boot.
///
/// # Errors
/// If the file cannot be read. Nothing should be changed then, because its content is unknown.
pub fn read(lab: &LabName) -> Result<Record, RecordError> {
    check_existing()?;
    let path = path(lab);
    let failed = |source| RecordError::Read { path: path.clone(), source };
    let file = match OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(error) => return Err(failed(error)),
    };
    check_file(&file).map_err(failed)?;
    let mut text = String::new();
    file.take(SIZE_LIMIT).read_to_string(&mut text).map_err(failed)?;
    let damaged = |source| RecordError::Damaged { path: path.clone(), source };
    let file: RecordFile = serde_json::from_str(&text).map_err(damaged)?;
    let is_valid = file.boot_id == boot_id().map_err(failed)?;
    Ok(if is_valid { file.record } else { Record::default() })
}

/// Replaces the lab's record, and waits until it is on disk. An empty one is removed.
fn write(lab: &LabName, record: &Record) -> Result<(), RecordError> {
    let path = path(lab);
    let failed = |source| RecordError::Write { path: path.clone(), source };
    if record.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    replace(&path, lab, record).map_err(failed)
}

/// Replaces the lab's record if it has changed, and waits until it is on disk. If that fails, restores the old one.
///
/// # Errors
/// If the old one cannot be replaced, or the new one may not be on disk.
pub fn write_if_changed(lab: &LabName, old: &Record, new: &Record) -> Result<(), RecordError> {
    if old == new {
        return Ok(());
    }
    write(lab, new).inspect_err(|_| drop(write(lab, old)))
}

fn replace(path: &std::path::Path, lab: &LabName, record: &Record) -> io::Result<()> {
    let text = serde_json::to_string(&RecordFile { boot_id: boot_id()?, record: record.clone() })?;
    // The lab is locked, so no other process writes this file.
    remove_unfinished(lab)?;
    let temporary = unfinished(lab);
    let directory = File::open(DIRECTORY)?;
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))?;
    directory.sync_all()
}

fn unfinished(lab: &LabName) -> PathBuf {
    PathBuf::from(format!("{DIRECTORY}/{lab}.json.new"))
}

/// Removes a partly written record of a process that was killed. The lab must be locked.
///
/// # Errors
/// If it cannot be removed.
pub fn discard_unfinished(lab: &LabName) -> Result<(), RecordError> {
    remove_unfinished(lab).map_err(|source| RecordError::Write { path: unfinished(lab), source })
}

fn remove_unfinished(lab: &LabName) -> io::Result<()> {
    match std::fs::remove_file(unfinished(lab)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the records of all other labs. One that cannot be read is left out; its own lab reports that.
///
/// # Errors
/// If the directory is not safe to use.
pub fn others(lab: &LabName) -> Result<Others, RecordError> {
    let others = labs()?.into_iter().filter(|other| other != lab);
    Ok(Others::new(others.filter_map(|other| Some((other.clone(), read(&other).ok()?))).collect()))
}

/// Removes a record that [`read`] does not understand. The lab must be locked.
///
/// # Errors
/// If it cannot be removed.
pub fn forget(lab: &LabName) -> Result<(), RecordError> {
    write(lab, &Record::default())
}

/// The labs that have a record, sorted.
///
/// # Errors
/// If the directory is not safe to use.
pub fn labs() -> Result<Vec<LabName>, DirectoryError> {
    check_existing()?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(mut entries) = Dir::open(DIRECTORY, flags, Mode::empty()) else { return Ok(Vec::new()) };
    let lab = |name: &str| name.strip_suffix(".json")?.parse().ok();
    let mut labs: Vec<_> = entries.iter().flatten().filter_map(|entry| lab(entry.file_name().to_str().ok()?)).collect();
    labs.sort();
    Ok(labs)
}

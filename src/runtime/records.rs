//! Records on disk: /run/topo/LAB.json, valid until the next boot, replaced as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::DIRECTORY;
use crate::name::LabName;
use crate::record::Record;

/// The longest record that is read: that of a lab of ten thousand namespaces is a tenth of it.
const LENGTH: u64 = 64 << 20;

/// A record with what it is valid for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// /run may survive a boot; what is in the kernel does not.
    boot_id: String,
    record: Record,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It could not be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
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

/// What tells this run of the machine from all others.
///
/// # Errors
/// When /proc cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The lab's record; an empty one when there is none, or only one from before the last boot.
///
/// # Errors
/// When there is one that cannot be read. What it says is then not known, so that nothing should be changed.
pub fn read(lab: &LabName) -> Result<Record, RecordError> {
    let path = path(lab);
    let failed = |source| RecordError::Read { path: path.clone(), source };
    let file = match OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(LENGTH).read_to_string(&mut text).map_err(failed)?;
    let written: Written = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
    let valid = written.boot_id == boot_id().map_err(failed)?;
    Ok(if valid { written.record } else { Record::default() })
}

/// Replaces the lab's record, so that it is on disk when this returns; an empty one is removed.
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

/// Replaces the lab's `old` record, which is there, unless the new one is the same, so that it is on disk when this returns; an empty
/// one is removed. If that fails, the old one is there again.
///
/// # Errors
/// When the old one could not be replaced, or when it is not certain that the new one is on disk.
pub fn write_if_changed(lab: &LabName, old: &Record, new: &Record) -> Result<(), RecordError> {
    if old == new {
        return Ok(());
    }
    write(lab, new).inspect_err(|_| drop(write(lab, old)))
}

fn replace(path: &std::path::Path, lab: &LabName, record: &Record) -> io::Result<()> {
    let text = serde_json::to_string(&Written { boot_id: boot_id()?, record: record.clone() })?;
    // The lab's lock is held, so that nobody else writes this file.
    discard_unfinished(lab)?;
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

/// Removes what a run that was killed had begun to write. The lab's lock must be held.
///
/// # Errors
/// When there is something that cannot be removed.
pub fn discard_unfinished(lab: &LabName) -> io::Result<()> {
    match std::fs::remove_file(unfinished(lab)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The labs that something is written down for, sorted.
pub fn labs() -> Vec<LabName> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(mut entries) = Dir::open(DIRECTORY, flags, Mode::empty()) else { return Vec::new() };
    let lab = |name: &str| name.strip_suffix(".json")?.parse().ok();
    let mut labs: Vec<_> = entries.iter().flatten().filter_map(|entry| lab(entry.file_name().to_str().ok()?)).collect();
    labs.sort();
    labs
}

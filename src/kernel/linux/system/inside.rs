//! What a command sees that is started inside of a namespace, as ip-netns(8) has it: a /sys of that namespace, and files of
//! /etc/netns/NAME in the place of those of /etc.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::isolate::mount_sysfs;
use super::netns::{self, Directory, Entry};
use crate::name::NamespaceName;

/// Where ip-netns(8) looks for files of namespaces.
const FILES: &str = "/etc/netns";
const NOTHING: Option<&str> = None;

/// Why a namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// There is none of that name.
    #[error("there is no namespace `{name}`")]
    Missing {
        /// The name.
        name: NamespaceName,
        /// The names that there are.
        known: Vec<NamespaceName>,
    },
    /// What has the name is none.
    #[error("`{name}` is no network namespace, but {what}")]
    NoNamespace {
        /// The name.
        name: NamespaceName,
        /// What it is.
        what: &'static str,
    },
    /// The system refuses.
    #[error("cannot enter namespace `{name}`")]
    Refused {
        /// The name.
        name: NamespaceName,
        /// Why.
        source: io::Error,
    },
}

/// A file of /etc/netns/NAME that could not be put over that of /etc.
#[derive(Debug)]
pub struct Unbound {
    /// The file in /etc.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// The names under /run/netns, sorted.
///
/// # Errors
/// When the directory cannot be read, or others may write to it.
pub fn names() -> io::Result<Vec<NamespaceName>> {
    Directory::open()?.map_or_else(|| Ok(Vec::new()), |directory| directory.names())
}

/// Moves the calling thread into a named namespace, with mounts of its own. Says which files could not be put in place.
///
/// # Errors
/// When there is no such namespace, or the system refuses.
pub fn enter(name: &NamespaceName) -> Result<Vec<Unbound>, EnterError> {
    let refused = |source| EnterError::Refused { name: name.clone(), source };
    let missing = || EnterError::Missing { name: name.clone(), known: names().unwrap_or_default() };
    let directory = Directory::open().map_err(refused)?.ok_or_else(missing)?;
    let namespace = match directory.look(name).map_err(refused)?.ok_or_else(missing)? {
        Entry::Namespace(file) => file,
        Entry::File(_) => return Err(EnterError::NoNamespace { name: name.clone(), what: "a file" }),
        Entry::Other(what) => return Err(EnterError::NoNamespace { name: name.clone(), what }),
    };
    netns::enter(&namespace).map_err(refused)?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| refused(error.into()))?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING).map_err(|error| refused(error.into()))?;
    // Some container runtimes forbid it; then the command sees the network devices of the machine there.
    let _ = mount_sysfs(name.as_str());
    Ok(bind_files(name))
}

fn bind_files(name: &NamespaceName) -> Vec<Unbound> {
    let Ok(entries) = std::fs::read_dir(Path::new(FILES).join(name.as_str())) else { return Vec::new() };
    let mut failed = Vec::new();
    for entry in entries.flatten() {
        let path = Path::new("/etc").join(entry.file_name());
        if let Err(error) = mount(Some(&entry.path()), &path, NOTHING, MsFlags::MS_BIND, NOTHING) {
            failed.push(Unbound { path, error: error.into() });
        }
    }
    failed
}

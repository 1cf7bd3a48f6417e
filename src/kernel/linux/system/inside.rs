//! Enters a namespace to run a command in it, like ip-netns(8): with the /sys of the namespace, and with files of /etc/netns/NAME mounted
//! over those of /etc.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::isolate::mount_sysfs;
use super::netns::{self, Directory, Entry};
use crate::kernel::linux::node::enter::NodeEntry;
use crate::name::NamespaceName;

/// The directory of namespace files of ip-netns(8).
const FILES: &str = "/etc/netns";
const NOTHING: Option<&str> = None;

/// A namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It does not exist.
    #[error("there is no namespace `{name}`")]
    Missing {
        /// The name.
        name: NamespaceName,
        /// The existing names.
        known: Vec<NamespaceName>,
    },
    /// The entry is not a network namespace.
    #[error("`{name}` is not a network namespace, but {what}")]
    NoNamespace {
        /// The name.
        name: NamespaceName,
        /// A description of the entry.
        what: &'static str,
    },
    /// A system call failed.
    #[error("cannot enter namespace `{name}`")]
    Refused {
        /// The name.
        name: NamespaceName,
        /// The cause.
        source: io::Error,
    },
}

/// A file of /etc/netns/NAME that could not be mounted over that of /etc.
#[derive(Debug)]
pub struct Unbound {
    /// The file in /etc.
    pub path: PathBuf,
    /// The cause.
    pub error: io::Error,
}

/// Returns the names under /run/netns, sorted.
///
/// # Errors
/// Fails if the directory cannot be read, or others than its owner can write to it.
pub fn names() -> io::Result<Vec<NamespaceName>> {
    Directory::open()?.map_or_else(|| Ok(Vec::new()), |directory| directory.names())
}

/// How a namespace was entered.
pub enum Entered {
    /// The calling thread is in it, and has mounts of its own, unless they are those of the node. These files could not be mounted.
    Here(Vec<Unbound>),
    /// Only a child can be in the node.
    Child(NodeEntry),
}

/// Moves the calling thread, which must be the only one, into a named namespace and into all other namespaces of the node.
///
/// # Errors
/// Fails if the namespace does not exist, or a system call fails.
pub fn enter(name: &NamespaceName) -> Result<Entered, EnterError> {
    let refused = |source| EnterError::Refused { name: name.clone(), source };
    let missing = || EnterError::Missing { name: name.clone(), known: names().unwrap_or_default() };
    let directory = Directory::open().map_err(refused)?.ok_or_else(missing)?;
    let namespace = match directory.look(name).map_err(refused)?.ok_or_else(missing)? {
        Entry::Namespace(file) => file,
        Entry::File(_) => return Err(EnterError::NoNamespace { name: name.clone(), what: "a file" }),
        Entry::Other(what) => return Err(EnterError::NoNamespace { name: name.clone(), what }),
    };
    match NodeEntry::find(name, &namespace).map_err(refused)? {
        Some(node) if node.needs_child() => return Ok(Entered::Child(node)),
        Some(node) => {
            node.enter().map_err(refused)?;
            if node.has_mounts() {
                return Ok(Entered::Here(Vec::new()));
            }
        }
        None => netns::enter(&namespace).map_err(refused)?,
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| refused(error.into()))?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING).map_err(|error| refused(error.into()))?;
    // Some container runtimes forbid it. Then /sys shows the network devices of the machine.
    let _ = mount_sysfs(name.as_str());
    Ok(Entered::Here(bind_files(name)))
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

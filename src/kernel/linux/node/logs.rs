//! The logs of the processes of nodes: /run/topo/logs/LAB/NODE/PROCESS.log. Only their owner can read them. They are removed with the node.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use super::Nodes;
use crate::name::{LabName, NamespaceName, ProcessName};

/// The directory of all labs.
const DIRECTORY: &str = "/run/topo/logs";

/// Returns the log of a process.
pub fn path(lab: &LabName, node: &NamespaceName, process: &ProcessName) -> PathBuf {
    Path::new(DIRECTORY).join(lab.as_str()).join(node.as_str()).join(format!("{process}.log"))
}

/// Opens the directory of a lab. Creates it if it does not exist.
///
/// # Errors
/// Fails if it cannot be created.
pub fn open_or_create(lab: &LabName) -> io::Result<OwnedFd> {
    let path = Path::new(DIRECTORY).join(lab.as_str());
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    Ok(File::options().read(true).custom_flags(flags).open(path)?.into())
}

/// Removes the logs of a node.
///
/// # Errors
/// Fails if they cannot be removed.
pub fn remove(lab: &LabName, node: &NamespaceName) -> io::Result<()> {
    match std::fs::remove_dir_all(Path::new(DIRECTORY).join(lab.as_str()).join(node.as_str())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the logs of nodes without a socket, and the directories of labs without logs. The caller sees to it that nobody uses them.
pub fn clean_up() {
    let Ok(labs) = std::fs::read_dir(DIRECTORY) else { return };
    for lab in labs.flatten() {
        let name = || lab.file_name().to_str()?.parse().ok();
        for node in std::fs::read_dir(lab.path()).into_iter().flatten().flatten() {
            if name().is_none_or(|lab| !Nodes::has(&lab, &node.file_name())) {
                let _ = std::fs::remove_dir_all(node.path());
            }
        }
        // The inits of a lab with nodes keep the directory open. Fails for those that are not empty.
        if name().is_none_or(|lab| !Nodes::has_any(&lab)) {
            let _ = std::fs::remove_dir(lab.path());
        }
    }
    let _ = std::fs::remove_dir(DIRECTORY);
}

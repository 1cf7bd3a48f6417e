//! The mounts of a node with a mount namespace of its own: /proc, /sys, /tmp, /run and what belongs to its other namespaces.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::protocol::Refusal;
use crate::kernel::linux::system::isolate::{Mount, bind, mount_sysfs, mounts};
use crate::resource::node::isolation::{Isolation, NamespaceKind};

const NOTHING: Option<&str> = None;
/// What file systems of nodes have as their source: whatever is written there is the node's alone.
pub const SOURCE: &str = "topo-node";
/// The file of the resolver, resolv.conf(5).
const RESOLVER: &str = "/etc/resolv.conf";

/// Gives the calling process a copy of the machine's mounts from which nothing propagates to the machine, and without the namespaces
/// that are mounted there: a copy would keep them alive.
///
/// # Errors
/// Fails if the system refuses a mount namespace.
pub fn copy() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    release_namespaces(Path::new("/"));
    Ok(())
}

/// Unmounts the namespaces that are mounted at a path or below it: they would be kept alive.
pub fn release_namespaces(path: &Path) {
    let is_namespace = |mounted: &Mount| mounted.kind == "nsfs" && mounted.path.starts_with(path);
    for mounted in mounts().into_iter().filter(is_namespace) {
        // One that is below another one is gone with it.
        let _ = umount2(&mounted.path, MntFlags::MNT_DETACH);
    }
}

/// Mounts what a new node needs.
///
/// # Errors
/// Returns the mount that the system refused.
pub fn set_up(isolation: &Isolation) -> Result<(), Refusal> {
    let has = |kind| isolation.has(kind);
    let refused = |path: &str| {
        let step = format!("mount {path}");
        move |error: io::Error| Refusal::new(step, &error)
    };
    let resolver = hidden_resolver();
    if has(NamespaceKind::Pid) {
        make("proc", "/proc", "proc", NOTHING).map_err(refused("/proc"))?;
    }
    // Some container runtimes forbid it. Then /sys shows the network devices of the machine.
    let _ = mount_sysfs(SOURCE);
    if has(NamespaceKind::Cgroup) && is_unified() {
        // The kernel refuses a file system on top of itself. The old mount is one of the node alone.
        let _ = umount2("/sys/fs/cgroup", MntFlags::MNT_DETACH);
        make("cgroup2", "/sys/fs/cgroup", "cgroup2", NOTHING).map_err(refused("/sys/fs/cgroup"))?;
    }
    for (path, options) in [("/tmp", "mode=1777"), ("/run", "mode=755"), ("/dev/shm", "mode=1777")] {
        if Path::new(path).is_dir() {
            mount_tmpfs(path, options).map_err(refused(path))?;
        }
    }
    if has(NamespaceKind::Ipc) && Path::new("/dev/mqueue").is_dir() {
        make("mqueue", "/dev/mqueue", "mqueue", NOTHING).map_err(refused("/dev/mqueue"))?;
    }
    if let Some((file, path)) = resolver {
        restore_resolver(&file, &path).map_err(refused(RESOLVER))?;
    }
    Ok(())
}

fn make(source: &str, target: &str, kind: &str, options: Option<&str>) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some(source), target, Some(kind), flags, options)?)
}

fn mount_tmpfs(path: &str, options: &str) -> io::Result<()> {
    Ok(mount(Some(SOURCE), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))?)
}

/// Returns whether /sys/fs/cgroup is a file system of version 2, cgroups(7).
fn is_unified() -> bool {
    nix::sys::statfs::statfs("/sys/fs/cgroup")
        .is_ok_and(|status| status.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

/// Opens the resolver's file if it is in /run, which the node's own /run hides.
fn hidden_resolver() -> Option<(File, std::path::PathBuf)> {
    let path = std::fs::canonicalize(RESOLVER).ok().filter(|path| path.starts_with("/run"))?;
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(&path).ok()?;
    Some((file, path))
}

fn restore_resolver(file: &File, path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    File::create_new(path)?;
    bind(file, path)
}

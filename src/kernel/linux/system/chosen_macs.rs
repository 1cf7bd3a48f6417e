//! Finds the links whose hardware address somebody has chosen. Rtnetlink does not report that, but sysfs does: `addr_assign_type` in
//! Documentation/ABI/testing/sysfs-class-net.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::name::LinkName;

/// The address was set by a message or an ioctl (NET_ADDR_SET).
const SET: &str = "3";
/// The directory of links in sysfs.
const LINKS: &str = "class/net";

/// Returns the links of the calling thread's network namespace with an address that somebody has chosen.
///
/// # Errors
/// Fails if the system does not allow to mount sysfs, as in some containers.
pub fn in_this_namespace() -> io::Result<Vec<LinkName>> {
    let root = mount_sysfs()?;
    let mut directory = Dir::openat(&root, LINKS, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut found = Vec::new();
    for entry in directory.iter() {
        let name = LinkName::from_kernel(entry?.file_name().to_bytes());
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = format!("{LINKS}/{}/addr_assign_type", name.as_str());
        // The link may have gone meanwhile.
        let Ok(file) = openat(&root, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) else { continue };
        let mut text = String::new();
        File::from(file).read_to_string(&mut text)?;
        if text.trim() == SET {
            found.push(name);
        }
    }
    Ok(found)
}

/// Mounts a sysfs that shows the links of the calling thread's namespace. It has no path, and goes with the descriptor.
fn mount_sysfs() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

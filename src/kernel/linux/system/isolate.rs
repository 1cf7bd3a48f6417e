//! A world of its own for labs: new user, network and mount namespaces around the calling process, with a /run of their own.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;

use super::netns::descriptor_path;

/// What of /run is the world's own: entries of network namespaces, and what topo keeps.
const OWN: [&str; 2] = ["netns", "topo"];
const NOTHING: Option<&str> = None;

/// A step on the way into a world of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Making the namespaces.
    Namespaces,
    /// Mapping the user's number to root's.
    Map,
    /// Keeping mounts from going back to the machine.
    Mounts,
    /// Making /run.
    Run,
    /// Raising `lo`.
    Loopback,
    /// Writing down how the sandbox is found.
    Record,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Namespaces, Self::Map, Self::Mounts, Self::Run, Self::Loopback, Self::Record];

    /// What is being done, to be put after `cannot`.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Namespaces => "make user, network and mount namespaces",
            Self::Map => "map the user to root in the new user namespace",
            Self::Mounts => "separate the mounts from the machine's",
            Self::Run => "mount a new /run",
            Self::Loopback => "raise `lo`",
            Self::Record => "record the sandbox",
        }
    }
}

/// Leaves the machine's user, network and mount namespace for new ones. The caller, who must have a single thread, is nobody
/// there until its ids are mapped.
pub fn leave() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?)
}

/// Maps the ids of a process that has left: all that there are, where the caller may, so that programs can change to users of
/// their own; else the caller's own to root.
pub fn map(process: i32) -> io::Result<()> {
    let all = |map: &str| std::fs::read_to_string(map).map(|text| identity_map(&text));
    let write = |file: &str, text: &str| std::fs::write(format!("/proc/{process}/{file}"), text);
    if super::privilege::may_change_user() {
        let (users, groups) = (all("/proc/self/uid_map")?, all("/proc/self/gid_map")?);
        if write("uid_map", &users).is_ok() {
            return write("gid_map", &groups);
        }
    }
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {} 1\n", nix::unistd::geteuid()))?;
    write("gid_map", &format!("0 {} 1\n", nix::unistd::getegid()))
}

/// The map by which every id that is in a map, user_namespaces(7), stays what it is.
fn identity_map(map: &str) -> String {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace();
        let (inside, length) = (numbers.next()?, numbers.nth(1)?);
        Some(format!("{inside} {inside} {length}\n"))
    };
    map.lines().filter_map(line).collect()
}

/// Makes the new namespaces fit to live in.
///
/// # Errors
/// With the step at which it failed.
pub fn furnish() -> Result<(), (Step, io::Error)> {
    // What is unmounted on the machine goes here, too, so that nothing is kept busy; nothing goes the other way.
    let slave = mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING);
    slave.map_err(|error| (Step::Mounts, error.into()))?;
    cover_run().map_err(|error| (Step::Run, error))?;
    // Some container runtimes forbid it; then /sys shows the network devices of the machine, and nothing else is different.
    let _ = mount_sysfs("topo");
    raise_loopback().map_err(|error| (Step::Loopback, error))
}

/// Puts a new file system on /run, and all that was there back into it except for what is to be the world's own: files of the
/// user, sockets of the desktop, the name server's configuration.
fn cover_run() -> io::Result<()> {
    let run = Path::new("/run");
    let old = open(run, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    if let Ok(mut entries) = Dir::openat(&old, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        names.extend(entries.iter().flatten().map(|entry| entry.file_name().to_owned()));
    }
    mount(Some("topo"), run, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))?;
    for name in names {
        let name = OsStr::from_bytes(name.to_bytes());
        if name != "." && name != ".." && !OWN.iter().any(|own| name == *own) {
            // What vanishes meanwhile, or may not be mounted, is not there.
            let _ = bring_back(&old, name, &run.join(name));
        }
    }
    Ok(())
}

fn bring_back(old: &OwnedFd, name: &OsStr, target: &Path) -> io::Result<()> {
    let entry = openat(old, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let entry = File::from(entry);
    let kind = entry.metadata()?.file_type();
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(readlinkat(old, name)?, target);
    }
    if kind.is_dir() {
        std::fs::create_dir(target)?;
    } else {
        File::create_new(target)?;
    }
    let bound = bind(&entry, target);
    if bound.is_err() {
        let _ = if kind.is_dir() { std::fs::remove_dir(target) } else { std::fs::remove_file(target) };
    }
    bound
}

/// Shows an open file or directory, with what is mounted below it, at another place, too.
fn bind(source: &impl AsRawFd, target: &Path) -> io::Result<()> {
    Ok(mount(Some(descriptor_path(source).as_str()), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?)
}

/// Mounts a /sys that shows the network devices of the caller's network namespace. What was mounted below the old one, such
/// as control groups, is there again.
pub fn mount_sysfs(source: &str) -> io::Result<()> {
    let sys = Path::new("/sys");
    let below: Vec<_> = mounts_below(sys).into_iter().filter_map(|path| Some((open_path(&path).ok()?, path))).collect();
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // A writable one may not stand over one that can only be read.
    if nix::sys::statvfs::statvfs(sys).is_ok_and(|status| status.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY)) {
        flags |= MsFlags::MS_RDONLY;
    }
    mount(Some(source), sys, Some("sysfs"), flags, NOTHING)?;
    for (old, path) in below {
        let _ = bind(&old, &path);
    }
    Ok(())
}

/// Makes an address the only name server, resolv.conf(5), of the sandbox that the caller is in.
pub fn use_name_server(address: &str) -> io::Result<()> {
    let own = Path::new("/run/topo-resolv.conf");
    std::fs::write(own, format!("nameserver {address}\n"))?;
    Ok(mount(Some(own), "/etc/resolv.conf", NOTHING, MsFlags::MS_BIND, NOTHING)?)
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Where something is mounted below a path, without what is mounted below that in turn.
fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = text.lines().filter_map(|line| Some(line.split(' ').nth(4)?.into())).collect();
    found.retain(|mounted| mounted.starts_with(path) && mounted != path);
    found.sort();
    found.dedup_by(|later, earlier| later.starts_with(earlier));
    found
}

/// Raises `lo`, netdevice(7).
fn raise_loopback() -> io::Result<()> {
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    // A kernel without IPv4 still has IPv6.
    let socket = match any {
        Err(Errno::EAFNOSUPPORT) => socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?,
        other => other?,
    };
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed();
    }
    let flags = i16::try_from(libc::IFF_UP).expect("flags have 16 bits");
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: SIOCSIFFLAGS reads a name, which ends with a zero, and flags from an ifreq.
    unsafe { set_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_stays_what_it_is() {
        assert_eq!(identity_map("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(identity_map("0 1000 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
        assert_eq!(identity_map(""), "");
    }
}

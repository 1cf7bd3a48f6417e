//! Creates an isolated network for labs: new user, network and mount namespaces for the calling process, with their own /run, and if
//! wanted a PID namespace with its own /proc.

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
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{ForkResult, fork};

use super::netns::descriptor_path;

/// The directories of /run that the sandbox does not share with the machine: entries of network namespaces, and topo's own files.
const OWN: [&str; 2] = ["netns", "topo"];
/// The directory of /run that a sandbox with a PID namespace does not share either: the PID files in it are of the outer namespace.
pub const SANDBOXES: &str = "topo-sandboxes";
const NOTHING: Option<&str> = None;

/// A step of the creation of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Create the namespaces.
    Namespaces,
    /// Map the user to root.
    Map,
    /// Start the first process of the PID namespace.
    Init,
    /// Stop the propagation of mounts to the machine.
    Mounts,
    /// Mount a /proc of the PID namespace.
    Proc,
    /// Mount a new /run.
    Run,
    /// Bring `lo` up.
    Loopback,
    /// Record how to find the sandbox.
    Record,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 8] =
        [Self::Namespaces, Self::Map, Self::Init, Self::Mounts, Self::Proc, Self::Run, Self::Loopback, Self::Record];

    /// Returns the step as a phrase that follows `cannot`.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Namespaces => "create user, network and mount namespaces",
            Self::Map => "map the user to root in the new user namespace",
            Self::Init => "start the first process of the PID namespace",
            Self::Proc => "mount a /proc for the PID namespace",
            Self::Mounts => "separate the mounts from the machine's",
            Self::Run => "mount a new /run",
            Self::Loopback => "bring `lo` up",
            Self::Record => "record the sandbox",
        }
    }
}

/// Whether the processes of a sandbox have a PID namespace of their own, pid_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// They are in that of the creator.
    Shared,
    /// They are in a new one. The kernel kills all of them when its first process exits.
    Own,
}

/// Moves the calling process, which must have a single thread, into new user, network and mount namespaces. It is user `nobody` there
/// until its IDs are mapped. With [`Processes::Own`], its children will be in a new PID namespace.
pub fn leave(processes: Processes) -> io::Result<()> {
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    Ok(unshare(match processes {
        Processes::Shared => namespaces,
        Processes::Own => namespaces | CloneFlags::CLONE_NEWPID,
    })?)
}

/// Continues as the first process of the new PID namespace. The calling process, which must have a single thread, calls `announce` with
/// the PID that the new process has outside, and exits.
pub fn become_init(announce: impl FnOnce(i32)) -> io::Result<()> {
    // SAFETY: the process has a single thread, so the child finds all locks, such as those of the allocator, released.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(()),
        ForkResult::Parent { child } => {
            announce(child.as_raw());
            // SAFETY: _exit(2) takes a number. The functions that exit(3) calls are those of the child.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Maps the IDs of a process that has called [`leave`]. Maps all IDs if the caller is allowed to, so that programs can change users.
/// Otherwise, maps the caller's own IDs to root.
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

/// Moves the calling process, which must have a single thread, into a new user namespace in which it is root over its own files, and a new
/// mount namespace.
///
/// # Errors
/// Fails if the system refuses it.
pub fn leave_as_root() -> io::Result<()> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    let write = |file: &str, text: &str| std::fs::write(format!("/proc/self/{file}"), text);
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {user} 1\n"))?;
    write("gid_map", &format!("0 {group} 1\n"))
}

/// Returns the map that keeps every ID of a map, user_namespaces(7), unchanged.
fn identity_map(map: &str) -> String {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace();
        let (inside, length) = (numbers.next()?, numbers.nth(1)?);
        Some(format!("{inside} {inside} {length}\n"))
    };
    map.lines().filter_map(line).collect()
}

/// Sets up the new namespaces: mounts, /proc, /run, /sys and `lo`.
///
/// # Errors
/// Returns the step that failed.
pub fn set_up(processes: Processes) -> Result<(), (Step, io::Error)> {
    // Unmounts on the machine propagate into the sandbox, so that no mount stays busy. Nothing propagates the other way.
    let slave = mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING);
    slave.map_err(|error| (Step::Mounts, error.into()))?;
    let own: &[&str] = match processes {
        Processes::Shared => &OWN,
        Processes::Own => {
            mount_proc().map_err(|error| (Step::Proc, error))?;
            &[OWN[0], OWN[1], SANDBOXES]
        }
    };
    cover_run(own).map_err(|error| (Step::Run, error))?;
    // Some container runtimes forbid it. Then /sys shows the network devices of the machine.
    let _ = mount_sysfs("topo");
    bring_loopback_up().map_err(|error| (Step::Loopback, error))
}

/// Mounts a /proc that shows the processes of the caller's PID namespace.
fn mount_proc() -> io::Result<()> {
    let proc = Path::new("/proc");
    Ok(mount(Some("topo"), proc, Some("proc"), flags_over(proc), NOTHING)?)
}

/// The flags for a mount of /proc or /sys over the present one. The kernel refuses a writable one over one that is read-only.
fn flags_over(path: &Path) -> MsFlags {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match statvfs(path).is_ok_and(|status| status.flags().contains(FsFlags::ST_RDONLY)) {
        true => flags | MsFlags::MS_RDONLY,
        false => flags,
    }
}

/// Mounts a new file system on /run, and binds the previous entries into it, except for those in `own`. Programs need them: runtime
/// files of the user, sockets of the desktop, the configuration of the name server.
fn cover_run(own: &[&str]) -> io::Result<()> {
    let run = Path::new("/run");
    let old = open(run, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    if let Ok(mut entries) = Dir::openat(&old, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        names.extend(entries.iter().flatten().map(|entry| entry.file_name().to_owned()));
    }
    mount(Some("topo"), run, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))?;
    for name in names {
        let name = OsStr::from_bytes(name.to_bytes());
        if name != "." && name != ".." && !own.iter().any(|own| name == *own) {
            // Entries that disappear meanwhile or cannot be mounted are omitted.
            let _ = restore_entry(&old, name, &run.join(name));
        }
    }
    Ok(())
}

fn restore_entry(old: &OwnedFd, name: &OsStr, target: &Path) -> io::Result<()> {
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

/// Binds an open file or directory, with the mounts below it, to another path.
pub fn bind(source: &impl AsRawFd, target: &Path) -> io::Result<()> {
    Ok(mount(Some(descriptor_path(source).as_str()), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?)
}

/// Mounts a /sys that shows the network devices of the caller's network namespace. Mounts below the old one, such as control groups, are
/// bound into it.
pub fn mount_sysfs(source: &str) -> io::Result<()> {
    let sys = Path::new("/sys");
    let below: Vec<_> = mounts_below(sys).into_iter().filter_map(|path| Some((open_path(&path).ok()?, path))).collect();
    mount(Some(source), sys, Some("sysfs"), flags_over(sys), NOTHING)?;
    for (old, path) in below {
        let _ = bind(&old, &path);
    }
    Ok(())
}

/// The sandbox's own resolv.conf(5).
const NAME_SERVER: &str = "/run/topo-resolv.conf";

/// Returns whether that is the only name server of the caller's sandbox.
pub fn uses_name_server(address: &str) -> bool {
    let names = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text == format!("nameserver {address}\n"));
    names(NAME_SERVER) && names("/etc/resolv.conf")
}

/// Sets the only name server, resolv.conf(5), of the caller's sandbox.
pub fn use_name_server(address: &str) -> io::Result<()> {
    let own = Path::new(NAME_SERVER);
    std::fs::write(own, format!("nameserver {address}\n"))?;
    Ok(mount(Some(own), "/etc/resolv.conf", NOTHING, MsFlags::MS_BIND, NOTHING)?)
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// A mount.
pub struct Mount {
    /// Its number, unique while it exists.
    pub id: u64,
    /// Whether the mount itself is read-only, whatever its file system is.
    pub is_read_only: bool,
    /// Which directory of the file system is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub path: PathBuf,
    /// The type of its file system.
    pub kind: String,
    /// What is mounted, as whoever mounted it says.
    pub source: String,
}

/// Returns the mounts of the calling process, proc_pid_mountinfo(5); none if /proc is not there.
pub fn mounts() -> Vec<Mount> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(mount_of).collect()
}

fn mount_of(line: &str) -> Option<Mount> {
    let (fields, rest) = line.split_once(" - ")?;
    let mut rest = rest.split(' ').map(str::to_owned);
    let fields: Vec<_> = fields.split(' ').collect();
    let [id, _, _, root, path, options, ..] = fields[..] else { return None };
    Some(Mount {
        id: id.parse().ok()?,
        is_read_only: options.split(',').any(|option| option == "ro"),
        root: unescape(root),
        path: unescape(path),
        kind: rest.next()?,
        source: rest.next()?,
    })
}

/// Replaces the octal numbers of spaces and other signs in a path.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let number = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// Returns the mounts below a path, without those below other ones.
pub fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mounts().into_iter().map(|mounted| mounted.path).collect();
    found.retain(|mounted| mounted.starts_with(path) && mounted != path);
    found.sort();
    found.dedup_by(|later, earlier| later.starts_with(earlier));
    found
}

/// Brings `lo` up, netdevice(7).
fn bring_loopback_up() -> io::Result<()> {
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
    fn mounts_are_parsed() {
        let line = r"36 35 98:0 /mnt1 /a\040b\134 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let found = mount_of(line).unwrap();
        assert_eq!((found.kind.as_str(), found.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(found.path, PathBuf::from("/a b\\"));
        assert_eq!((found.id, found.is_read_only), (36, false));
        assert!(mount_of("7 35 0:1 / /b ro,nosuid - tmpfs x rw").unwrap().is_read_only);
        assert!(mount_of("36 35").is_none());
    }

    #[test]
    fn the_identity_map_keeps_every_id() {
        assert_eq!(identity_map("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(identity_map("0 1000 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
        assert_eq!(identity_map(""), "");
    }
}

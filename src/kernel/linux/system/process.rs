//! Processes by descriptor, pidfd_open(2), so that the reuse of a PID does not lead to the wrong process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::privilege;

/// A process, held by a descriptor.
#[derive(Debug)]
pub struct Process {
    number: i32,
    handle: OwnedFd,
}

impl Process {
    /// Opens the process that has this PID now.
    ///
    /// # Errors
    /// Fails if it does not exist.
    pub fn open(number: i32) -> io::Result<Self> {
        // SAFETY: pidfd_open(2) takes two numbers.
        let descriptor = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) })?;
        let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows it.
        Ok(Self { number, handle: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Returns its PID in the PID namespace of the caller.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Sends it a signal. Succeeds if the process has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let nothing: *const libc::siginfo_t = std::ptr::null();
        let handle = self.handle.as_raw_fd();
        // SAFETY: pidfd_send_signal(2) takes no information for a null pointer.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle, signal as libc::c_int, nothing, 0) };
        match Errno::result(sent) {
            Err(Errno::ESRCH) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Waits at most `timeout` for it to end. Returns whether it has ended.
    pub fn has_ended(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(Errno::EINTR) => {}
                other => return Ok(other? > 0),
            }
        }
    }

    /// Opens the process that has this PID now; `None` if it does not exist.
    ///
    /// # Errors
    /// Fails for any other reason.
    pub fn find(number: i32) -> io::Result<Option<Self>> {
        match Self::open(number) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Returns whether it has ended or is about to end, so that its namespaces will disappear.
    pub fn is_ending(&self) -> io::Result<bool> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.number));
        match (read("stat"), read("status")) {
            (Ok(stat), Ok(status)) => Ok(self.has_ended(Duration::ZERO)? || is_ending(&stat, &status)),
            // The files of a process that has ended cannot be read.
            (Err(_), _) | (_, Err(_)) if self.has_ended(Duration::ZERO)? => Ok(true),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Returns whether one of its namespaces, such as `user`, is that of the caller.
    pub fn shares(&self, namespace: &str) -> io::Result<bool> {
        Ok(identity(&format!("/proc/{}/ns/{namespace}", self.number))? == identity(&format!("/proc/self/ns/{namespace}"))?)
    }

    /// Moves the calling process, which must have a single thread, into its user, network and mount namespaces, setns(2). The working
    /// directory remains the same directory. The permissions of files remain in force for a user for whom they were.
    ///
    /// # Errors
    /// Fails if it has ended, or belongs to another user.
    pub fn join(&self) -> io::Result<()> {
        let mut namespaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        // A process cannot enter its own user namespace.
        if !self.shares("user")? {
            namespaces |= CloneFlags::CLONE_NEWUSER;
        }
        // O_PATH works for directories without read permission, too.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let here = nix::fcntl::open(".", flags, Mode::empty()).map(File::from);
        self.move_into(namespaces)?;
        if let Ok(here) = here {
            return_to(&here)?;
        }
        Ok(())
    }
}

impl Process {
    /// Moves the calling process, which must have a single thread, into its user namespace, and the children that the caller starts from now
    /// on into its PID namespace. The caller's own /proc, mounts and network remain. The permissions of files remain in force as with
    /// [`Self::join`].
    ///
    /// # Errors
    /// Fails if it has ended, or belongs to another user.
    pub fn join_for_children(&self) -> io::Result<()> {
        self.move_into(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)
    }

    /// Moves the calling process into its namespaces of these kinds, setns(2). The permissions of files remain in force for a user for whom
    /// they were.
    ///
    /// # Errors
    /// Fails if it has ended, or belongs to another user.
    pub fn move_into(&self, kinds: CloneFlags) -> io::Result<()> {
        let ignores_permissions = privilege::may_ignore_permissions()?;
        setns(&self.handle, kinds)?;
        if ignores_permissions { Ok(()) } else { privilege::respect_permissions() }
    }

    /// Makes a program start in its namespaces. The caller, which must have a single thread, has called [`Self::join_for_children`].
    ///
    /// # Errors
    /// Fails if no descriptor is left.
    pub fn start_inside(&self, command: &mut Command) -> io::Result<()> {
        let copy = Self { number: self.number, handle: self.handle.try_clone()? };
        // SAFETY: the calling process has a single thread, so the child finds all locks, such as those of the allocator, released.
        unsafe { command.pre_exec(move || copy.join()) };
        Ok(())
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Changes the working directory, by its path if that leads to the same directory here, so that programs can find their path.
fn return_to(directory: &File) -> io::Result<()> {
    let same = |path: &std::path::Path| -> io::Result<bool> {
        let (there, wanted) = (std::fs::metadata(path)?, directory.metadata()?);
        Ok((there.dev(), there.ino()) == (wanted.dev(), wanted.ino()))
    };
    if let Ok(path) = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
        && same(&path).unwrap_or(false)
        && std::env::set_current_dir(&path).is_ok()
    {
        return Ok(());
    }
    Ok(nix::unistd::fchdir(directory)?)
}

/// Returns the identity of the namespace at a path: device and inode.
pub fn identity(path: &str) -> io::Result<(u64, u64)> {
    let status = std::fs::metadata(path)?;
    Ok((status.dev(), status.ino()))
}

/// Returns the identity of an open namespace.
pub fn identity_of(namespace: &File) -> io::Result<(u64, u64)> {
    let status = namespace.metadata()?;
    Ok((status.dev(), status.ino()))
}

/// Returns whether the user namespace of a process is one with this identity, or was created inside of it.
pub fn is_below(number: i32, user_namespace: (u64, u64)) -> bool {
    nix::ioctl_none_bad!(outer, libc::NS_GET_PARENT);
    let mut namespace = File::open(format!("/proc/{number}/ns/user")).ok();
    while let Some(file) = namespace {
        if identity_of(&file).is_ok_and(|identity| identity == user_namespace) {
            return true;
        }
        // SAFETY: NS_GET_PARENT takes no argument; the descriptor is open. The one that it returns is new, and nobody else knows it.
        namespace = unsafe { outer(file.as_raw_fd()).ok().map(|descriptor| File::from_raw_fd(descriptor)) };
    }
    false
}

/// Returns the PIDs of the processes that led to the calling one: its parent, the parent of that, and so on.
pub fn ancestors() -> Vec<i32> {
    let mut found = Vec::new();
    let mut next = Some(nix::unistd::getppid().as_raw());
    while let Some(number) = next.filter(|number| *number > 0 && !found.contains(number)) {
        found.push(number);
        next = parent(number);
    }
    found
}

/// Returns the PID of the parent of a process; `None` if the process has ended.
pub fn parent(number: i32) -> Option<i32> {
    parent_from(&std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?)
}

/// Parses field 4 of proc_pid_stat(5).
fn parent_from(stat: &str) -> Option<i32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Returns whether a process is stopped by a signal: state T in field 3 of proc_pid_stat(5).
pub fn is_stopped(number: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Returns whether no other process is in the process group of this one: field 5 of proc_pid_stat(5).
pub fn is_alone_in_group() -> bool {
    let group = |process: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
    };
    let own = nix::unistd::getpgrp().as_raw();
    numbers("/proc").is_ok_and(|processes| processes.into_iter().filter(|process| group(*process) == Some(own)).count() == 1)
}

/// Returns the start time of a process in clock ticks since boot: field 22 of proc_pid_stat(5).
pub fn began(number: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{number}/stat"))?;
    began_from(&text).ok_or_else(|| io::Error::other(format!("/proc/{number}/stat is not as expected")))
}

/// Returns the signals that this process ignores: `SigIgn` of proc_pid_status(5).
pub fn ignored_signals() -> io::Result<SigSet> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let mask = mask.ok_or_else(|| io::Error::other("/proc/self/status is not as expected"))?;
    Ok(Signal::iterator().filter(|signal| mask & (1 << (*signal as u64 - 1)) != 0).collect())
}

/// Parses field 22. Field 2 is the name of the process in parentheses, and can contain any character.
fn began_from(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

/// Returns whether a process is exiting (PF_EXITING in field 9 of proc_pid_stat(5)), or SIGKILL is pending.
fn is_ending(stat: &str, status: &str) -> bool {
    const EXITING: u64 = 4;
    const KILL: u64 = 1 << (Signal::SIGKILL as u64 - 1);
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
    let pending = |line: &str| {
        let set = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(set.trim(), 16).ok()
    };
    flags.is_some_and(|flags| flags & EXITING != 0) || status.lines().filter_map(pending).any(|set| set & KILL != 0)
}

/// Returns the entries of a directory that are numbers. Does not use the iterator of the standard library, which panics when closing fails.
pub fn numbers(path: &str) -> io::Result<Vec<i32>> {
    let mut directory = Dir::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(directory.iter().flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok()).collect())
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: close_range(2) takes numbers. Callers do not use these descriptors.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })?;
    Ok(())
}

/// Gives up what was inherited: standard input, output and error, the terminal, the working directory and the mask of new files.
pub fn detach() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// Releases the memory of the program's code. The kernel reads it again when it is needed.
pub fn forget_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: the range is a private, executable, read-only mapping of a file according to the kernel. Its pages are those of the file,
        // and the kernel maps them again when they are used.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
}

/// Parses a line of /proc/self/maps, proc_pid_maps(5). Returns the start and the length if it is code from a file.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    if fields.next()? != "r-xp" || !fields.nth(3)?.starts_with('/') {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

/// Makes the kernel reap the children of this process, also those that it adopts as the first process of a PID namespace.
pub fn leave_no_zombies() -> io::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    Ok(())
}

/// Sends TERM to all other processes of a PID namespace, whose first process this one is, and waits at most `grace` for their end.
pub fn end_all_others(grace: Duration) {
    const INTERVAL: Duration = Duration::from_millis(5);
    let all = Pid::from_raw(-1);
    let (start, mut found) = (Instant::now(), kill(all, Signal::SIGTERM));
    // A process that is stopped heeds the signal only afterwards.
    let _ = kill(all, Signal::SIGCONT);
    while found.is_ok() && start.elapsed() < grace {
        std::thread::sleep(INTERVAL);
        found = kill(all, None);
    }
}

/// Makes the kernel kill the started program when the thread that started it ends.
pub fn die_with_starter(command: &mut Command) {
    // SAFETY: the closure makes a single system call between fork and exec.
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let fields: String = (4..30).map(|field| format!(" {field}")).collect();
        assert_eq!(began_from(&format!("12 (a) S 1) S{fields}")), Some(22));
        assert_eq!(began_from("12 (a"), None);
        assert_eq!(parent_from("12 (a) S 1) S 7 12 0"), Some(7));
    }

    #[test]
    fn a_process_that_is_about_to_end_is_recognized() {
        let stat = |flags: u32| format!("12 (a b) S 1 12 12 0 -1 {flags} 0 0");
        let status = |pending: &str| format!("Name:\ta\nSigPnd:\t{pending}\nShdPnd:\t0000000000000000\n");
        assert!(!is_ending(&stat(0x0040_0000), &status("0000000000000001")));
        assert!(is_ending(&stat(0x0040_0004), &status("0000000000000000")));
        assert!(is_ending(&stat(0x0040_0000), &status("0000000000000100")));
        assert!(!is_ending("", ""));
    }

    #[test]
    fn only_code_from_files_is_found() {
        assert_eq!(code("7000-9000 r-xp 00026000 fe:00 326279    /usr/lib/libc.so.6"), Some((0x7000, 0x2000)));
        for line in [
            "7000-9000 r--p 00026000 fe:00 326279 /usr/lib/libc.so.6",
            "7000-9000 rwxp 00026000 fe:00 326279 /usr/lib/libc.so.6",
            "7000-9000 r-xp 00000000 00:00 0 [vdso]",
            "7000-9000 rw-p 00000000 00:00 0",
        ] {
            assert_eq!(code(line), None, "{line}");
        }
        forget_code();
    }

    #[test]
    fn this_process_has_begun_and_not_ended() {
        let number = i32::try_from(std::process::id()).unwrap();
        let process = Process::open(number).unwrap();
        assert!(began(number).unwrap() > 0);
        assert!(!process.has_ended(Duration::ZERO).unwrap());
        assert!(process.shares("user").unwrap());
    }
}

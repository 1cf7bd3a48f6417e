//! Runs a program as a child process that stands for this one: it receives the signals that are sent to this process, it is suspended and
//! continued together with this process, and its exit status becomes that of this process.
//!
//! In a pipeline or a script, both are in the same process group, so that what the terminal sends to the pipeline arrives at the child, too.
//! If this process is alone in the foreground of a terminal, the child gets a process group of its own. For a child in another PID namespace,
//! the group of this process has no number, and shells that control jobs fail without one.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, killpg, raise, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid, getpgrp, tcgetpgrp, tcsetpgrp};

use super::signals::{SIGNALLED, not_ignored};
use crate::kernel::linux::process;

/// The signals that the child receives when they are sent to this process.
const FORWARDED: [Signal; 7] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTSTP];
/// How long a stopped child must remain stopped before this process stops, too. While both are continued, it may still be stopped for a
/// moment after this process has noticed.
const STOP_DELAY: Duration = Duration::from_millis(20);

/// How the child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(u8),
    /// By this signal.
    Signal(Signal),
}

impl Exit {
    /// The exit status as a shell reports it.
    pub fn status(self) -> u8 {
        match self {
            Self::Status(status) => status,
            Self::Signal(signal) => SIGNALLED + signal as u8,
        }
    }
}

/// The signals and the terminal of this process, to be shared with children.
pub struct Foreground {
    signals: SignalFd,
    /// The signals that were blocked before.
    blocked_before: SigSet,
    terminal: Option<Terminal>,
}

impl Foreground {
    /// Starts to receive signals. From now on, they do not end or stop this process.
    ///
    /// # Errors
    /// If the system refuses that.
    pub fn new() -> io::Result<Self> {
        // If it is ignored, the exit status of a child is lost.
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let mut received: SigSet = not_ignored(&FORWARDED)?.into_iter().collect();
        received.add(Signal::SIGCHLD);
        received.add(Signal::SIGCONT);
        let mut blocked = received;
        // So that this process can change the foreground of the terminal while it is in the background.
        blocked.add(Signal::SIGTTOU);
        let blocked_before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let signals = SignalFd::with_flags(&received, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals, blocked_before, terminal: Terminal::open() })
    }

    /// Runs a program, and returns how it ended.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, command: &mut Command) -> io::Result<Exit> {
        if let Some(terminal) = self.terminal.as_ref().filter(|terminal| terminal.is_for_this_process) {
            let file = terminal.file.try_clone()?;
            command.process_group(0);
            // SAFETY: two system calls between fork and exec.
            unsafe { command.pre_exec(move || Ok(tcsetpgrp(&file, getpgrp())?)) };
        }
        let mask = self.blocked_before;
        // SAFETY: a single system call between fork and exec.
        unsafe { command.pre_exec(move || Ok(mask.thread_set_mask()?)) };
        let child = Pid::from_raw(i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?);
        let exit = self.wait(child);
        if let Some(terminal) = &self.terminal {
            terminal.take_back();
        }
        exit
    }

    /// Ends this process if a child was interrupted on the terminal: by the same signal, so that a shell does not go on with its loop.
    pub fn end_if_interrupted(&self, exit: Exit) {
        if exit == Exit::Signal(Signal::SIGINT) && self.terminal.as_ref().is_some_and(|terminal| terminal.is_for_this_process) {
            // SAFETY: no handler is installed.
            let _ = unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) };
            let _ = self.blocked_before.thread_set_mask();
            let _ = raise(Signal::SIGINT);
        }
    }

    fn wait(&self, child: Pid) -> io::Result<Exit> {
        loop {
            match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Exited(_, status)) => return Ok(Exit::Status(u8::try_from(status & 0xff).unwrap_or(u8::MAX))),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal)),
                // Without a terminal, no shell would continue this process when somebody continues the child.
                Ok(WaitStatus::Stopped(..)) if self.terminal.is_some() => stop_with(child),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            match self.signals.read_signal() {
                Ok(Some(received)) => self.receive(&received, child),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn receive(&self, received: &siginfo, child: Pid) {
        let number = i32::try_from(received.ssi_signo).unwrap_or_default();
        // The terminal sends these to the whole process group.
        let is_of_terminal = received.ssi_code == libc::SI_KERNEL;
        match Signal::try_from(number) {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(Signal::SIGCONT) => self.continue_with(child),
            Ok(Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP) if is_of_terminal => {}
            // The child has not been waited for, so its number cannot belong to another process.
            Ok(signal) => drop(kill(child, signal)),
        }
    }

    /// Continues the child after this process was continued, in the foreground if this process is there.
    fn continue_with(&self, child: Pid) {
        // This is also the case for a shell in the place of the child.
        let group = getpgid(Some(child)).ok().filter(|group| *group != getpgrp());
        let Some(group) = group else {
            let _ = kill(child, Signal::SIGCONT);
            return;
        };
        if let Some(terminal) = self.terminal.as_ref().filter(|terminal| terminal.foreground() == Some(getpgrp())) {
            let _ = tcsetpgrp(&terminal.file, group);
        }
        let _ = killpg(group, Signal::SIGCONT);
    }
}

/// Stops this process, so that a shell notices that the child has stopped.
fn stop_with(child: Pid) {
    std::thread::sleep(STOP_DELAY);
    if process::is_stopped(child.as_raw()) {
        let _ = raise(Signal::SIGSTOP);
    }
}

/// The controlling terminal.
struct Terminal {
    file: File,
    /// Whether this process was in the foreground at the beginning, alone in its process group.
    is_for_this_process: bool,
}

impl Terminal {
    /// Opens it, if there is one.
    fn open() -> Option<Self> {
        let file = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let is_in_foreground = tcgetpgrp(&file).is_ok_and(|group| group == getpgrp());
        Some(Self { is_for_this_process: is_in_foreground && process::is_alone_in_group(), file })
    }

    /// The process group in the foreground.
    fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(&self.file).ok()
    }

    /// Moves this process to the foreground, if the process group that is there does not exist any more.
    fn take_back(&self) {
        if self.foreground().is_some_and(|group| killpg(group, None) == Err(Errno::ESRCH)) {
            let _ = tcsetpgrp(&self.file, getpgrp());
        }
    }
}

//! The holder: the process whose namespaces are the sandbox. It creates them, writes its PID file, and exits when that file is
//! removed. So a sandbox ends, too, with all processes in it, if the runtime directory is cleared at the end of a login session.
//!
//! Standard input is a socket to the process that started it, see [`start`](super::start); standard output is the runtime directory;
//! standard error is the locked lock file, so that the sandbox stays locked until its PID file is written, even if the process that
//! started it is killed.
//!
//! The holder of a throw-away sandbox is the first process of a PID namespace, so the kernel kills all processes of the sandbox when the
//! holder exits. It exits when the process that started it closes the socket, or is killed. Its PID file is in the sandbox's own /run, so
//! that nothing of it is left outside.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::prctl;

use super::lock::{self, SandboxFile};
use super::pid_file::PidFile;
use super::{directory, list};
use crate::kernel::linux::isolate::{self, Processes, Step};
use crate::kernel::linux::node::cgroup;
use crate::kernel::linux::process::{self, Process};
use crate::name::SandboxName;

/// The arguments with which the program runs as a holder.
pub const ARGUMENTS: [&str; 2] = ["sandbox", "hold"];

/// In the first line from the process that started the holder, precedes the name of a throw-away sandbox.
pub const THROW_AWAY: &str = "run ";
/// How long the processes of a throw-away sandbox may take to exit after TERM.
const GRACE: Duration = Duration::from_millis(500);

type Failed = (Step, io::Error);

/// What the holder holds.
enum Kind {
    /// A sandbox that ends when its PID file is removed.
    Registered(SandboxName),
    /// A sandbox without a PID file. This and the next one end when the creator closes the socket.
    Temporary,
    /// A sandbox with a PID namespace.
    ThrowAway(SandboxName),
}

impl Kind {
    fn parse(line: &str) -> Self {
        let name = |text: &str| text.parse().ok();
        match line.strip_prefix(THROW_AWAY) {
            Some(rest) => name(rest).map_or(Self::Temporary, Self::ThrowAway),
            None => name(line).map_or(Self::Temporary, Self::Registered),
        }
    }

    fn processes(&self) -> Processes {
        match self {
            Self::Registered(_) | Self::Temporary => Processes::Shared,
            Self::ThrowAway(_) => Processes::Own,
        }
    }
}

/// Runs as the holder until the sandbox ends.
pub fn run() {
    let Ok(Inherited { parent, directory, lock }) = detach() else { return };
    let Ok(mut answers) = parent.try_clone().map(BufReader::new) else { return };
    let mut line = String::new();
    if answers.read_line(&mut line).is_err() {
        return;
    }
    let kind = Kind::parse(line.trim_end());
    match create(&parent, &mut answers, &kind, directory, lock) {
        Ok(Some(watch)) => {
            drop((parent, answers));
            process::forget_code();
            while matches!(watch.read_events(), Err(nix::errno::Errno::EINTR)) {}
            let itself = i32::try_from(std::process::id()).map_err(io::Error::other).and_then(Process::open);
            let _ = itself.and_then(|itself| list::end_processes(&itself, &[]));
            cgroup::clean_up();
        }
        Ok(None) => {
            let is_throw_away = matches!(kind, Kind::ThrowAway(_));
            if is_throw_away {
                process::forget_code();
            }
            while answers.read_line(&mut line).is_ok_and(|length| length > 0) {}
            if is_throw_away {
                process::end_all_others(GRACE);
            }
        }
        Err((step, error)) => {
            let _ = writeln!(&parent, "failed {} {}", step.phrase(), number(&error));
        }
    }
}

/// The error's number, for the process that started this one.
fn number(error: &io::Error) -> i32 {
    let missing = (error.kind() == io::ErrorKind::NotFound).then_some(nix::libc::ENOENT);
    error.raw_os_error().or(missing).unwrap_or_default()
}

/// The file descriptors from the process that started this one.
struct Inherited {
    parent: UnixStream,
    directory: OwnedFd,
    lock: OwnedFd,
}

/// Gives up what was inherited: file descriptors, terminal, working directory.
fn detach() -> io::Result<Inherited> {
    process::close_from(3)?;
    let parent = io::stdin().as_fd().try_clone_to_owned()?;
    let directory = io::stdout().as_fd().try_clone_to_owned()?;
    let lock = io::stderr().as_fd().try_clone_to_owned()?;
    process::detach()?;
    prctl::set_name(c"topo-sandbox")?;
    Ok(Inherited { parent: parent.into(), directory, lock })
}

/// Creates the sandbox. Returns a watch for the removal of the PID file, if that ends the sandbox.
fn create(
    parent: &UnixStream,
    answers: &mut BufReader<UnixStream>,
    kind: &Kind,
    directory: OwnedFd,
    lock: OwnedFd,
) -> Result<Option<Inotify>, Failed> {
    isolate::leave(kind.processes()).map_err(|error| (Step::Namespaces, error))?;
    // The parent, and the commands that join later, must be allowed to access this process.
    let dumpable = prctl::set_dumpable(true).map_err(io::Error::from);
    dumpable.and_then(|()| send(parent, "left")).map_err(|error| (Step::Namespaces, error))?;
    wait_for_answer(answers).map_err(|error| (Step::Map, error))?;
    if kind.processes() == Processes::Own {
        become_init(parent, answers).map_err(|error| (Step::Init, error))?;
    }
    isolate::set_up(kind.processes())?;
    let watch = match kind {
        Kind::Registered(name) => register(name, directory.as_fd()).map(Some),
        Kind::Temporary => Ok(None),
        Kind::ThrowAway(name) => register_inside(name).map(|()| None),
    };
    let watch = watch.map_err(|error| (Step::Record, error))?;
    drop((directory, lock));
    // If the parent was killed meanwhile, the next command finds this sandbox.
    let _ = send(parent, "ready");
    Ok(watch)
}

fn send(mut parent: &UnixStream, word: &str) -> io::Result<()> {
    writeln!(parent, "{word}")
}

fn wait_for_answer(answers: &mut BufReader<UnixStream>) -> io::Result<()> {
    match answers.read_line(&mut String::new())? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Continues as the first process of the PID namespace, after the parent has opened that process.
fn become_init(parent: &UnixStream, answers: &mut BufReader<UnixStream>) -> io::Result<()> {
    isolate::become_init(|child| drop(send(parent, &child.to_string())))?;
    wait_for_answer(answers)?;
    process::leave_no_zombies()
}

/// Writes the PID file, and starts to watch for its removal.
fn register(name: &SandboxName, directory: BorrowedFd<'_>) -> io::Result<Inotify> {
    // Created first, because it may fail, and nothing must be left behind then.
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let written = write_pid_file(name, directory)?;
    // By descriptor: the name may already belong to another file.
    let path = format!("/proc/self/fd/{}", written.as_raw_fd());
    watch.add_watch(path.as_str(), AddWatchFlags::IN_DELETE_SELF)?;
    if nix::sys::stat::fstat(&written)?.st_nlink == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(watch)
}

/// Writes the PID file into the sandbox's own /run.
fn register_inside(name: &SandboxName) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory::INSIDE)?;
    write_pid_file(name, File::open(directory::INSIDE)?.as_fd()).map(drop)
}

fn write_pid_file(name: &SandboxName, directory: BorrowedFd<'_>) -> io::Result<File> {
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    lock::write(directory, name, SandboxFile::Holder, &PidFile::of(own)?)
}

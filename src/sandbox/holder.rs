//! The holder: the process whose namespaces are the sandbox. It creates them, writes its PID file, and exits when that file is
//! removed. So a sandbox ends, too, with all processes in it, if the runtime directory is cleared at the end of a login session.
//!
//! Standard input is a socket to the process that started it, see [`start`](super::start); standard output is the runtime directory;
//! standard error is the locked lock file, so that the sandbox stays locked until its PID file is written, even if the process that
//! started it is killed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::prctl;

use super::list;
use super::lock::{self, SandboxFile};
use super::pid_file::PidFile;
use crate::kernel::linux::isolate::{self, Step};
use crate::kernel::linux::process::{self, Process};
use crate::name::SandboxName;

/// The arguments with which the program runs as a holder.
pub const ARGUMENTS: [&str; 2] = ["sandbox", "hold"];

type Failed = (Step, io::Error);

/// Runs as the holder until the sandbox ends.
pub fn run() {
    let Ok(Inherited { parent, directory, lock }) = detach() else { return };
    let Ok(mut answers) = parent.try_clone().map(BufReader::new) else { return };
    let mut name = String::new();
    if answers.read_line(&mut name).is_err() {
        return;
    }
    // A temporary sandbox has no name.
    let name = name.trim_end().parse::<SandboxName>().ok();
    match create(&parent, &mut answers, name.as_ref(), directory, lock) {
        Ok(Some(watch)) => {
            drop((parent, answers));
            process::forget_code();
            while matches!(watch.read_events(), Err(nix::errno::Errno::EINTR)) {}
            let itself = i32::try_from(std::process::id()).map_err(io::Error::other).and_then(Process::open);
            let _ = itself.and_then(|itself| list::end_processes(&itself, &[]));
        }
        // A temporary sandbox ends when its creator closes the socket.
        Ok(None) => while answers.read_line(&mut String::new()).is_ok_and(|length| length > 0) {},
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
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    prctl::set_name(c"topo-sandbox")?;
    Ok(Inherited { parent: parent.into(), directory, lock })
}

/// Creates the sandbox. Returns a watch for the removal of the PID file, if the sandbox has one.
fn create(
    parent: &UnixStream,
    answers: &mut BufReader<UnixStream>,
    name: Option<&SandboxName>,
    directory: OwnedFd,
    lock: OwnedFd,
) -> Result<Option<Inotify>, Failed> {
    isolate::leave().map_err(|error| (Step::Namespaces, error))?;
    // The parent, and the commands that join later, must be allowed to access this process.
    let dumpable = prctl::set_dumpable(true).map_err(io::Error::from);
    dumpable.and_then(|()| send(parent, "left")).map_err(|error| (Step::Namespaces, error))?;
    let mut answer = String::new();
    match answers.read_line(&mut answer) {
        Ok(length) if length > 0 => {}
        Ok(_) => return Err((Step::Map, io::ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err((Step::Map, error)),
    }
    isolate::set_up()?;
    let watch = name.map(|name| register(name, &directory)).transpose().map_err(|error| (Step::Record, error))?;
    drop((directory, lock));
    // If the parent was killed meanwhile, the next command finds this sandbox.
    let _ = send(parent, "ready");
    Ok(watch)
}

fn send(mut parent: &UnixStream, word: &str) -> io::Result<()> {
    writeln!(parent, "{word}")
}

/// Writes the PID file, and starts to watch for its removal.
fn register(name: &SandboxName, directory: &OwnedFd) -> io::Result<Inotify> {
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    // Created first, because it may fail, and nothing must be left behind then.
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let written = lock::write(directory.as_fd(), name, SandboxFile::Holder, &PidFile::of(own)?)?;
    // By descriptor: the name may already belong to another file.
    let path = format!("/proc/self/fd/{}", written.as_raw_fd());
    watch.add_watch(path.as_str(), AddWatchFlags::IN_DELETE_SELF)?;
    if nix::sys::stat::fstat(&written)?.st_nlink == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(watch)
}

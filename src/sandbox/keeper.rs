//! The process that a sandbox lives by. It makes the sandbox around itself, writes down how it is found, and waits until that
//! is removed: a runtime directory that is cleared at the end of a session takes the sandbox with it.
//!
//! It has its parent on standard input, [`start`](super::start), and the directory of records on standard output.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::prctl;

use super::directory;
use super::record::Record;
use crate::kernel::linux::isolate::{self, Step};
use crate::kernel::linux::process;
use crate::name::SandboxName;

/// The arguments that make the program a keeper.
pub const ARGUMENTS: [&str; 2] = ["sandbox", "keep"];

type Failed = (Step, io::Error);

/// Is the keeper until the sandbox ends.
pub fn run() {
    let Ok((parent, directory)) = settle_down() else { return };
    let Ok(mut answers) = parent.try_clone().map(BufReader::new) else { return };
    let mut name = String::new();
    if answers.read_line(&mut name).is_err() {
        return;
    }
    // A sandbox that only its maker knows has no name.
    let name = name.trim_end().parse::<SandboxName>().ok();
    match make(&parent, &mut answers, name.as_ref(), directory) {
        Ok(Some(watch)) => {
            drop((parent, answers));
            process::forget_code();
            while matches!(watch.read_events(), Err(nix::errno::Errno::EINTR)) {}
        }
        // It ends when its maker does.
        Ok(None) => while answers.read_line(&mut String::new()).is_ok_and(|length| length > 0) {},
        Err((step, error)) => {
            let _ = writeln!(&parent, "failed {} {}", step.phrase(), error.raw_os_error().unwrap_or_default());
        }
    }
}

/// Holds on to nothing of its parent's: descriptors, terminal, directory.
fn settle_down() -> io::Result<(UnixStream, OwnedFd)> {
    process::close_from(3)?;
    let parent = io::stdin().as_fd().try_clone_to_owned()?;
    let directory = io::stdout().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    prctl::set_name(c"topo-sandbox")?;
    Ok((parent.into(), directory))
}

/// Makes the sandbox; returns what tells that its record is gone, if it has one.
fn make(
    parent: &UnixStream,
    answers: &mut BufReader<UnixStream>,
    name: Option<&SandboxName>,
    directory: OwnedFd,
) -> Result<Option<Inotify>, Failed> {
    isolate::leave().map_err(|error| (Step::Namespaces, error))?;
    // Its parent, and all who join later, look at it as at a process of theirs.
    let visible = prctl::set_dumpable(true).map_err(io::Error::from);
    visible.and_then(|()| say(parent, "left")).map_err(|error| (Step::Namespaces, error))?;
    let mut answer = String::new();
    match answers.read_line(&mut answer) {
        Ok(length) if length > 0 => {}
        Ok(_) => return Err((Step::Map, io::ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err((Step::Map, error)),
    }
    isolate::furnish()?;
    let watch = name.map(|name| record(name, &directory)).transpose().map_err(|error| (Step::Record, error))?;
    drop(directory);
    // A parent that has been killed meanwhile leaves a sandbox that the next command finds.
    let _ = say(parent, "ready");
    Ok(watch)
}

fn say(mut parent: &UnixStream, word: &str) -> io::Result<()> {
    writeln!(parent, "{word}")
}

/// Writes the record, and begins to watch for its end.
fn record(name: &SandboxName, directory: &OwnedFd) -> io::Result<Inotify> {
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    // What can be refused comes before anything is left behind.
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let written = directory::write(directory.as_fd(), name, directory::File::Record, &Record::of(own)?)?;
    // By the descriptor: whatever has become of the name, this is the file.
    let path = format!("/proc/self/fd/{}", written.as_raw_fd());
    watch.add_watch(path.as_str(), AddWatchFlags::IN_DELETE_SELF)?;
    if nix::sys::stat::fstat(&written)?.st_nlink == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(watch)
}

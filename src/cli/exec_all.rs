//! `topo exec --all`: a command in every namespace of a lab at the same time, each line of output with the namespace before it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::Pid;

use super::ExecArguments;
use super::error::Failure;
use super::output::Output;
use super::place::Place;
use super::signals;
use crate::kernel::linux::process::Process;
use crate::kernel::linux::{inside, labs, raise_descriptor_limit};
use crate::name::{LabName, NamespaceName};
use crate::yaml::suggest;

/// More namespaces than this, with three descriptors each, may be more than the usual limit of 1024 allows.
const MANY: usize = 300;
/// How long to wait between two looks at signals, in milliseconds.
const PAUSE: u8 = 50;

/// A command that runs in one namespace.
struct Running {
    namespace: NamespaceName,
    child: Child,
    process: Process,
    streams: [Option<Stream>; 2],
    status: Option<u8>,
}

/// What one of its outputs has given.
struct Stream {
    pipe: File,
    /// The beginning of a line.
    rest: Vec<u8>,
}

pub fn run(arguments: &ExecArguments, place: &Place, output: &mut Output) -> Result<u8, Failure> {
    // Commands inherit the limit, and few need more than the usual one.
    if inside::names().map_err(Failure::new)?.len() > MANY {
        raise_descriptor_limit();
    }
    let namespaces = namespaces_of(arguments.target.as_deref())?;
    let signals = signals::relay()?;
    let mut running = Commands(Vec::new());
    for namespace in namespaces {
        running.0.push(start(namespace, arguments, place)?);
    }
    let mut asked_to_end = None;
    while running.0.iter().any(|command| !command.is_done()) {
        for signal in signals.try_iter() {
            match signal {
                Signal::SIGTSTP => running.pause(),
                signal => {
                    running.signal(signal);
                    asked_to_end = Some(signal);
                }
            }
        }
        wait_for_output(&running.0)?;
        for command in &mut running.0 {
            command.advance(output)?;
        }
        // What they have started may hold their outputs open for ever.
        if asked_to_end.is_some() && running.0.iter().all(|command| command.status.is_some()) {
            break;
        }
    }
    let running = std::mem::take(&mut running.0);
    let failed = |command: &Running| command.status.filter(|status| *status != 0);
    for command in &running {
        if let Some(status) = failed(command) {
            output.tell(&format!("{}: exit status {status}", command.namespace));
        }
    }
    let interrupted = || asked_to_end.filter(|_| running.iter().any(|command| !command.is_done()));
    Ok(running.iter().find_map(failed).or_else(|| Some(128 + interrupted()? as u8)).unwrap_or(0))
}

/// Commands that run at the same time. When this process fails, they end.
struct Commands(Vec<Running>);

impl Commands {
    fn signal(&self, signal: Signal) {
        self.0.iter().filter(|command| command.status.is_none()).for_each(|command| command.signal(signal));
    }

    /// Stops them, and this process until it is continued.
    fn pause(&self) {
        self.signal(Signal::SIGTSTP);
        let _ = raise(Signal::SIGSTOP);
        self.signal(Signal::SIGCONT);
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The namespaces of a lab, by its name; without a name, those of the only one that there is.
fn namespaces_of(lab: Option<&str>) -> Result<Vec<NamespaceName>, Failure> {
    let mut labs = labs::find()?;
    let known: Vec<_> = labs.keys().cloned().collect();
    let known = || known.iter().map(LabName::as_str);
    let extent = match lab {
        Some(name) => {
            let name: LabName = name.parse().map_err(Failure::new)?;
            labs.remove(&name).ok_or_else(|| {
                let failure = Failure::new(format!("there is no lab `{name}` here"));
                match suggest::closest(name.as_str(), known()) {
                    Some(closest) => failure.hint(format!("did you mean `{closest}`?")),
                    None => failure,
                }
            })?
        }
        None if labs.len() > 1 => {
            return Err(Failure::new(format!("there are several labs: {}", suggest::list(known())))
                .hint("`topo exec --all LAB -- COMMAND` names one"));
        }
        None => labs.into_values().next().ok_or_else(|| Failure::new("there is no lab here"))?,
    };
    Ok(extent.namespaces)
}

fn start(namespace: NamespaceName, arguments: &ExecArguments, place: &Place) -> Result<Running, Failure> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("topo").args(["exec", namespace.as_str(), "--"]).args(&arguments.command);
    match place.sandbox() {
        // It is there already, and stays there.
        Some(sandbox) => drop(command.env("TOPO_SANDBOX", sandbox.as_str())),
        None => drop(command.env_remove("TOPO_SANDBOX")),
    }
    // A group of its own, so that a signal reaches it once: through this process.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |error: io::Error| Failure::new(format!("cannot start a process: {}", crate::kernel::plain(&error)));
    let mut child = command.spawn().map_err(failed)?;
    let process = i32::try_from(child.id()).map_err(io::Error::other).and_then(Process::open).map_err(failed)?;
    let stream = |pipe: Option<OwnedFd>| pipe.map(|pipe| Stream { pipe: pipe.into(), rest: Vec::new() });
    let streams = [stream(child.stdout.take().map(Into::into)), stream(child.stderr.take().map(Into::into))];
    Ok(Running { namespace, child, process, streams, status: None })
}

fn wait_for_output(running: &[Running]) -> Result<(), Failure> {
    let streams = running.iter().flat_map(|command| command.streams.iter().flatten());
    let mut waited: Vec<_> = streams.map(|stream| PollFd::new(stream.pipe.as_fd(), PollFlags::POLLIN)).collect();
    let ends = running.iter().filter(|command| command.status.is_none());
    waited.extend(ends.map(|command| PollFd::new(command.process.as_fd(), PollFlags::POLLIN)));
    match poll(&mut waited, PollTimeout::from(PAUSE)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(Failure::new(io::Error::from(error))),
    }
}

impl Running {
    fn is_done(&self) -> bool {
        self.status.is_some() && self.streams.iter().all(Option::is_none)
    }

    fn signal(&self, signal: Signal) {
        // Not waited for yet, so that the number is its own.
        let _ = killpg(Pid::from_raw(self.process.number()), signal);
    }

    /// Passes on what has come, and notes the end.
    fn advance(&mut self, output: &mut Output) -> Result<(), Failure> {
        let [stdout, stderr] = &mut self.streams;
        let mut lines = |text: &str| output.print(text);
        drain(stdout, &self.namespace, &mut lines)?;
        drain(stderr, &self.namespace, &mut |text| {
            let _ = io::stderr().write_all(text.as_bytes());
            Ok(())
        })?;
        if self.status.is_none()
            && let Some(status) = self.child.try_wait().map_err(Failure::new)?
        {
            let signal = || u8::try_from(status.signal().unwrap_or_default()).unwrap_or_default();
            self.status = Some(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or_else(|| 128 + signal()));
        }
        Ok(())
    }
}

/// Reads what is there, without waiting, and hands on whole lines; at the end, what is left.
fn drain(
    stream: &mut Option<Stream>,
    namespace: &NamespaceName,
    give: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(open) = stream {
        let mut ready = [PollFd::new(open.pipe.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut ready, PollTimeout::ZERO), Ok(count) if count > 0) {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        let length = match open.pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(Failure::new)?,
        };
        open.rest.extend(&buffer[..length]);
        let end = match (length, open.rest.iter().rposition(|&byte| byte == b'\n')) {
            (0, _) => open.rest.len(),
            (_, Some(last)) => last + 1,
            (_, None) => continue,
        };
        let whole: Vec<u8> = open.rest.drain(..end).collect();
        let text: String = String::from_utf8_lossy(&whole).lines().map(|line| format!("{namespace}: {line}\n")).collect();
        if length == 0 {
            *stream = None;
        }
        give(&text)?;
    }
    Ok(())
}

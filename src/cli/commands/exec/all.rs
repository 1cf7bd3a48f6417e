//! `topo exec --all`: runs a command in every namespace of a lab in parallel, and prefixes each line of output with the namespace.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::Pid;

use crate::cli::Context;
use crate::cli::elsewhere::{Elsewhere, Sought};
use crate::cli::environment::{Environment, VARIABLE};
use crate::cli::error::Failure;
use crate::cli::output::Output;
use crate::cli::signals::{self, SIGNALLED};
use crate::kernel::linux::process::Process;
use crate::kernel::linux::{inside, labs, raise_descriptor_limit};
use crate::name::{LabName, NamespaceName};
use crate::yaml::suggest;

/// With more namespaces than this, at three file descriptors each, the usual limit of 1024 may be too low.
const MANY_NAMESPACES: usize = 300;
/// Interval between two checks for signals, in milliseconds.
const SIGNAL_INTERVAL: u8 = 50;

pub fn run(lab: Option<&str>, command: &[OsString], context: &mut Context<'_>) -> Result<u8, Failure> {
    // The commands inherit the limit, so raise it only if necessary.
    if inside::names().map_err(Failure::new)?.len() > MANY_NAMESPACES {
        raise_descriptor_limit();
    }
    let namespaces = namespaces_of(lab, context.elsewhere)?;
    context.elsewhere.dismiss();
    let signals = signals::forward()?;
    let mut jobs = Jobs(Vec::new());
    for namespace in namespaces {
        jobs.0.push(Job::start(namespace, command, context.environment)?);
    }
    let mut interrupted = None;
    while !jobs.0.iter().all(Job::is_done) {
        for signal in signals.try_iter() {
            if signal == Signal::SIGTSTP {
                jobs.suspend();
            } else {
                jobs.signal(signal);
                interrupted = Some(signal);
            }
        }
        jobs.wait()?;
        for job in &mut jobs.0 {
            job.poll(context.output)?;
        }
        // Background processes of the commands may keep the pipes open forever.
        if interrupted.is_some() && jobs.0.iter().all(|job| job.status.is_some()) {
            break;
        }
    }
    let jobs = std::mem::take(&mut jobs.0);
    Ok(exit_status(&jobs, interrupted, context.output))
}

/// Reports the commands that failed. Returns the first status that is not 0.
fn exit_status(jobs: &[Job], interrupted: Option<Signal>, output: &mut Output) -> u8 {
    let failed = jobs.iter().filter_map(|job| Some((&job.namespace, job.status.filter(|status| *status != 0)?)));
    for (namespace, status) in failed.clone() {
        output.message(&format!("{namespace}: exit status {status}"));
    }
    let interrupted = interrupted.filter(|_| !jobs.iter().all(Job::is_done)).map_or(0, |signal| SIGNALLED + signal as u8);
    failed.map(|(_, status)| status).next().unwrap_or(interrupted)
}

/// The namespaces of a lab; without a name, those of the only lab.
fn namespaces_of(lab: Option<&str>, elsewhere: &Elsewhere) -> Result<Vec<NamespaceName>, Failure> {
    let mut labs = labs::find()?;
    let known: Vec<_> = labs.keys().cloned().collect();
    let known = || known.iter().map(LabName::as_str);
    let extent = match lab {
        Some(name) => {
            let name: LabName = name.parse().map_err(Failure::new)?;
            labs.remove(&name).ok_or_else(|| {
                let failure = Failure::new(format!("there is no lab `{name}`"));
                match elsewhere.hint(&Sought::Lab(name.clone(), Vec::new())) {
                    Some(hint) => failure.hint(hint),
                    None => failure.suggest(name.as_str(), known()),
                }
            })?
        }
        None if labs.len() > 1 => {
            return Err(Failure::new(format!("there are several labs: {}", suggest::list(known())))
                .hint("name one: `topo exec --all LAB -- COMMAND`"));
        }
        None => labs.into_values().next().ok_or_else(|| Failure::new("there is no lab"))?,
    };
    Ok(extent.namespaces)
}

/// Commands that run in parallel. Dropping the value kills them.
struct Jobs(Vec<Job>);

impl Jobs {
    fn signal(&self, signal: Signal) {
        self.0.iter().filter(|job| job.status.is_none()).for_each(|job| job.signal(signal));
    }

    /// Suspends the commands and this process, until this process is continued.
    fn suspend(&self) {
        self.signal(Signal::SIGTSTP);
        let _ = raise(Signal::SIGSTOP);
        self.signal(Signal::SIGCONT);
    }

    /// Waits for output, for the exit of a command, or for the next check for signals.
    fn wait(&self) -> Result<(), Failure> {
        let streams = self.0.iter().flat_map(|job| job.streams.iter().flatten());
        let mut polled: Vec<_> = streams.map(|stream| PollFd::new(stream.pipe.as_fd(), PollFlags::POLLIN)).collect();
        let running = self.0.iter().filter(|job| job.status.is_none());
        polled.extend(running.map(|job| PollFd::new(job.process.as_fd(), PollFlags::POLLIN)));
        match poll(&mut polled, PollTimeout::from(SIGNAL_INTERVAL)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Failure::new(io::Error::from(error))),
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The command in one namespace.
struct Job {
    namespace: NamespaceName,
    child: Child,
    process: Process,
    /// Standard output and standard error; `None` after their end.
    streams: [Option<Stream>; 2],
    status: Option<u8>,
}

impl Job {
    fn start(namespace: NamespaceName, arguments: &[OsString], environment: &Environment) -> Result<Self, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("topo").args(["exec", namespace.as_str(), "--"]).args(arguments);
        match environment.sandbox() {
            // This process has joined the sandbox, and the child inherits that.
            Some(sandbox) => drop(command.env(VARIABLE, sandbox.as_str())),
            None => drop(command.env_remove(VARIABLE)),
        }
        // With a process group of its own, the command receives each signal once: from this process.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: io::Error| Failure::with_cause("cannot start a process", error);
        // If this process is killed, the command is, too.
        // SAFETY: a single system call between fork and exec.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.spawn().map_err(failed)?;
        let process = i32::try_from(child.id()).map_err(io::Error::other).and_then(Process::open).map_err(failed)?;
        let streams = [child.stdout.take().map(Stream::new), child.stderr.take().map(Stream::new)];
        Ok(Self { namespace, child, process, streams, status: None })
    }

    fn is_done(&self) -> bool {
        self.status.is_some() && self.streams.iter().all(Option::is_none)
    }

    fn signal(&self, signal: Signal) {
        // The child has not been waited for, so its number cannot belong to another process.
        let _ = killpg(Pid::from_raw(self.process.number()), signal);
    }

    /// Passes on the output that has arrived, and checks whether the command has exited.
    fn poll(&mut self, output: &mut Output) -> Result<(), Failure> {
        let [stdout, stderr] = &mut self.streams;
        forward_lines(stdout, &self.namespace, &mut |bytes| output.forward(bytes))?;
        forward_lines(stderr, &self.namespace, &mut |bytes| {
            let _ = io::stderr().write_all(bytes);
            Ok(())
        })?;
        if self.status.is_none() {
            self.status = self.child.try_wait().map_err(Failure::new)?.map(shell_status);
        }
        Ok(())
    }
}

/// The exit status as a shell reports it: 128+n for a command that signal n terminated.
fn shell_status(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or_else(|| SIGNALLED + status.signal().and_then(|signal| u8::try_from(signal).ok()).unwrap_or_default())
}

/// One output of a command.
struct Stream {
    pipe: File,
    /// An incomplete last line.
    partial: Vec<u8>,
}

impl Stream {
    fn new(pipe: impl Into<OwnedFd>) -> Self {
        Self { pipe: File::from(pipe.into()), partial: Vec::new() }
    }
}

/// Reads what has arrived, without blocking, and passes on complete lines; at the end of the stream, also an incomplete one.
fn forward_lines(
    stream: &mut Option<Stream>,
    namespace: &NamespaceName,
    write: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(open) = stream {
        let mut ready = [PollFd::new(open.pipe.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut ready, PollTimeout::ZERO), Ok(count) if count > 0) {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        let length = match open.pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(Failure::new)?,
        };
        open.partial.extend(&buffer[..length]);
        let end = match (length, open.partial.iter().rposition(|&byte| byte == b'\n')) {
            (0, _) => open.partial.len(),
            (_, Some(last)) => last + 1,
            (_, None) => continue,
        };
        let lines: Vec<u8> = open.partial.drain(..end).collect();
        if length == 0 {
            *stream = None;
        }
        write(&prefixed(&lines, namespace))?;
    }
    Ok(())
}

/// Puts the name of the namespace before each line. The last one ends, too, so that lines of different namespaces do not join.
fn prefixed(lines: &[u8], namespace: &NamespaceName) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.len() + 64);
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        text.extend(namespace.as_str().as_bytes());
        text.extend(b": ");
        text.extend(line);
    }
    if text.last().is_some_and(|&last| last != b'\n') {
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_passed_on_as_they_are() {
        let namespace: NamespaceName = "a".parse().unwrap();
        let prefixed = |lines: &[u8]| prefixed(lines, &namespace);
        assert_eq!(prefixed(b"one\r\n\xff\x00\n"), b"a: one\r\na: \xff\x00\n");
        assert_eq!(prefixed(b"no end"), b"a: no end\n");
        assert_eq!(prefixed(b""), b"");
    }
}

//! A program that waits outside of a sandbox, and runs only if it is needed after this process has joined the sandbox.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, execve, fork};

use super::process::close_from;

/// This program, not yet started, in the namespaces in which the caller was when it made the value. It never starts if the value is dropped.
pub struct Deferred {
    child: Pid,
    socket: UnixStream,
}

impl Deferred {
    /// Prepares a run of this program with these arguments, and without one variable of the environment. Call it before starting any thread.
    ///
    /// # Errors
    /// Fails if there are no more processes or descriptors.
    pub fn prepare(arguments: &[&str], unset: &str) -> io::Result<Self> {
        let (socket, inner) = UnixStream::pair()?;
        let null = File::options().write(true).open("/dev/null")?;
        let arguments = ["topo"].iter().chain(arguments).map(|text| CString::new(*text)).collect::<Result<Vec<_>, _>>()?;
        let variables = std::env::vars_os().filter(|(name, _)| name != unset).filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_encoded_bytes()).ok()
        });
        let variables: Vec<_> = variables.collect();
        // SAFETY: the process has a single thread, so the child finds all locks, such as those of the allocator, released.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { child, socket }),
            ForkResult::Child => {
                let _ = dup2_stdin(&inner).and_then(|()| dup2_stdout(&inner)).and_then(|()| dup2_stderr(&null));
                // Above all its end of the socket: this process waits until the other one closes its own.
                let _ = close_from(3);
                if io::stdin().read_exact(&mut [0]).is_ok() {
                    let _ = execve(c"/proc/self/exe", &arguments, &variables);
                }
                // SAFETY: _exit(2) takes a number. The functions that exit(3) calls are those of the parent.
                unsafe { nix::libc::_exit(1) }
            }
        }
    }

    /// Runs the program, and returns what it prints.
    ///
    /// # Errors
    /// Fails if the program ended early.
    pub fn output(mut self) -> io::Result<Vec<u8>> {
        self.socket.write_all(b"\n")?;
        let mut output = Vec::new();
        self.socket.read_to_end(&mut output)?;
        Ok(output)
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = waitpid(self.child, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_does_not_run() {
        drop(Deferred::prepare(&["--version"], "TOPO_SANDBOX").unwrap());
    }
}

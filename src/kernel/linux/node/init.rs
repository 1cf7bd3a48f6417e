//! The init of a node: the process that keeps the node's namespaces. In a PID namespace of its own it is PID 1, and reaps.
//!
//! It listens at its socket from the moment when the node is ready: whoever finds the socket finds a whole node. Until then it holds
//! the lab's lock, so that no other command meets a node that is still coming.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{gethostname, sethostname};

use super::protocol::{self, Refusal, Reply, Request};
use super::view::View;
use super::{mounts, title};
use crate::kernel::linux::process;
use crate::name::{LabName, NamespaceName};
use crate::resource::node::Node;
use crate::resource::node::isolation::NamespaceKind;

/// The time that a command may take to send the rest of a request, or to take an answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The time that the processes of a node have to end after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// What becomes an init.
pub struct Embryo {
    /// The lab.
    pub lab: LabName,
    /// The name of the node.
    pub name: NamespaceName,
    /// The node.
    pub node: Node,
    /// The directory of the socket.
    pub directory: OwnedFd,
}

impl Embryo {
    /// Sets up the node from inside of its namespaces, and begins to listen.
    ///
    /// # Errors
    /// Returns the step that the system refused. Nothing is left then.
    pub fn grow(self) -> Result<Init, Refusal> {
        title::set(&title::of(&self.lab, self.name.as_str())).map_err(|error| Refusal::new("use /proc", &error))?;
        let network = process::identity("/proc/self/ns/net").map_err(|error| Refusal::new("use /proc", &error))?;
        let isolation = &self.node.isolation;
        if isolation.has(NamespaceKind::Mount) {
            mounts::set_up(isolation)?;
        }
        if isolation.has(NamespaceKind::Uts) {
            set_names(self.node.hostname.as_deref(), self.node.domainname.as_deref())?;
        }
        let signals = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        let signals = signals.into_iter().collect::<SigSet>();
        let listen = || -> io::Result<(SignalFd, UnixListener)> {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals), None)?;
            let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
            Ok((signals, listen(&self.directory, &self.name)?))
        };
        let (signals, listener) = listen().map_err(|error| Refusal::new("listen", &error))?;
        let is_first = std::process::id() == 1;
        Ok(Init {
            node: self.node,
            network,
            is_first,
            signals,
            listener,
            connections: Vec::new(),
            view: View::default(),
            ends: false,
        })
    }
}

/// Begins to listen in the directory, whatever the mount namespace is.
fn listen(directory: &OwnedFd, name: &NamespaceName) -> io::Result<UnixListener> {
    nix::unistd::fchdir(directory)?;
    // That of an init that has ended.
    match std::fs::remove_file(name.as_str()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(name.as_str());
    nix::sys::stat::umask(mask);
    std::env::set_current_dir("/")?;
    listener
}

/// Sets the host name and the domain name, uts_namespaces(7).
fn set_names(hostname: Option<&str>, domainname: Option<&str>) -> Result<(), Refusal> {
    /// What the kernel itself has for none.
    const NO_DOMAIN: &str = "(none)";
    let refused = |step: &'static str| move |error: io::Error| Refusal::new(step, &error);
    if let Some(name) = hostname {
        sethostname(name).map_err(io::Error::from).map_err(refused("set the host name"))?;
    }
    let name = domainname.unwrap_or(NO_DOMAIN);
    // SAFETY: setdomainname(2) reads as many bytes as it is told from a string that lives until it returns.
    let set = unsafe { nix::libc::setdomainname(name.as_ptr().cast(), name.len()) };
    Errno::result(set).map_err(io::Error::from).map_err(refused("set the domain name"))?;
    Ok(())
}

/// A grown init.
pub struct Init {
    node: Node,
    /// The device and the inode of its network namespace.
    network: (u64, u64),
    /// Whether it is PID 1, so that all processes that it can signal are those of the node.
    is_first: bool,
    signals: SignalFd,
    listener: UnixListener,
    connections: Vec<UnixStream>,
    view: View,
    ends: bool,
}

impl Init {
    /// Serves until the node ends.
    pub fn run(mut self) {
        process::forget_code();
        while !self.ends {
            let waiting: Vec<PollFd<'_>> = [self.signals.as_fd(), self.listener.as_fd()]
                .into_iter()
                .chain(self.connections.iter().map(AsFd::as_fd))
                .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
                .collect();
            let mut waiting = waiting;
            if !matches!(poll(&mut waiting, PollTimeout::NONE), Ok(_) | Err(Errno::EINTR)) {
                break;
            }
            let ready: Vec<bool> = waiting.iter().map(|descriptor| descriptor.any().unwrap_or(true)).collect();
            drop(waiting);
            self.turn(&ready);
        }
        if self.is_first && process::leave_no_zombies().is_ok() {
            reap();
            // The end of PID 1 kills the others.
            process::end_all_others(GRACE);
        }
    }

    /// Handles what has happened. The first two are the signals and the listener.
    fn turn(&mut self, ready: &[bool]) {
        let (own, connections) = ready.split_at(2);
        let connections: Vec<_> = std::mem::take(&mut self.connections).into_iter().zip(connections).collect();
        for (connection, is_ready) in connections {
            if !is_ready || self.serve(&connection) {
                self.connections.push(connection);
            }
        }
        if own[0] {
            self.take_signals();
        }
        if own[1]
            && let Ok((connection, _)) = self.listener.accept()
            && connection.set_read_timeout(Some(TIMEOUT)).is_ok()
            && connection.set_write_timeout(Some(TIMEOUT)).is_ok()
        {
            self.connections.push(connection);
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            self.ends |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        reap();
    }

    /// Answers one request. Returns whether the connection stays open.
    fn serve(&mut self, connection: &UnixStream) -> bool {
        let Ok(Some((request, bytes))) = protocol::receive::<Request>(connection) else { return false };
        let (reply, bytes) = match self.answer(request, &bytes) {
            Ok(answer) => answer,
            Err(refusal) => (Reply::Failed(refusal), Vec::new()),
        };
        protocol::send(connection, &reply, &bytes).is_ok()
    }

    fn answer(&mut self, request: Request, bytes: &[u8]) -> Result<(Reply, Vec<u8>), Refusal> {
        match request {
            Request::Describe => {
                let (files, bytes) = self.view.found();
                return Ok((Reply::Description { node: self.describe(), network: self.network, files }, bytes));
            }
            Request::SetNames { hostname, domainname } => set_names(hostname.as_deref(), domainname.as_deref())?,
            Request::PutFile { path, mode, owner } => self.view.put(&path, mode, owner, bytes)?,
            Request::RemoveFile(path) => self.view.remove(&path)?,
            Request::End => self.ends = true,
        }
        Ok((Reply::Done, Vec::new()))
    }

    /// Returns the node with the names that it has now.
    fn describe(&self) -> Node {
        let mut node = self.node.clone();
        if node.isolation.has(NamespaceKind::Uts) {
            node.hostname = gethostname().ok().map(|name| name.to_string_lossy().into_owned());
            let names = nix::sys::utsname::uname().ok();
            let domain = names.map(|names| names.domainname().to_string_lossy().into_owned());
            node.domainname = domain.filter(|name| !name.is_empty() && name != "(none)");
        }
        node
    }
}

/// Reaps the children that have ended.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

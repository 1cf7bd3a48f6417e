//! The init of a node: the process that keeps the node's namespaces. In a PID namespace of its own it is PID 1, and reaps.
//!
//! It listens at its socket from the moment when the node is ready: whoever finds the socket finds a whole node. Until then it holds
//! the lab's lock, so that no other command meets a node that is still coming.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{gethostname, sethostname};

use super::binds::Binds;
use super::protocol::{self, Refusal, Reply, Request, Verb};
use super::supervisor::{Logs, Settings, Supervisor};
use super::view::View;
use super::{datagram, mounts, title};
use crate::kernel::linux::process;
use crate::name::{LabName, NamespaceName};
use crate::resource::node::Node;
use crate::resource::node::file::NodePath;
use crate::resource::node::isolation::NamespaceKind;
use crate::resource::node::process::{ProcessName, Settled, State};

/// The time that a command may take to send the rest of a request, or to take an answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The time that the declared processes of a node have to end as their definitions say.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// The time without work after which an init gives up memory that it needs only for work.
const IDLE: Duration = Duration::from_secs(2);
/// The time that the other processes of a node have to end after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// What becomes an init.
pub struct NewInit {
    /// The lab.
    pub lab: LabName,
    /// The name of the node.
    pub name: NamespaceName,
    /// The node.
    pub node: Node,
    /// The directory of the socket.
    pub directory: OwnedFd,
    /// The directory of the logs of the lab's nodes.
    pub logs: OwnedFd,
}

impl NewInit {
    /// Sets up the node from inside of its namespaces, and begins to listen.
    ///
    /// # Errors
    /// Returns the step that the system refused. Nothing is left then.
    pub fn start(self) -> Result<Init, Refusal> {
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
        Ok(Init {
            network,
            is_first: std::process::id() == 1,
            signals,
            holder: None,
            listener,
            connections: Vec::new(),
            view: View::default(),
            binds: Binds::default(),
            supervisor: Supervisor::new(Settings::new(
                Logs { directory: self.logs, node: self.name.as_str().to_owned() },
                environment(),
            )),
            ends: false,
            worked: Some(Instant::now()),
            node: self.node,
        })
    }
}

/// Returns the environment of the processes of all nodes, besides the PATH that every process gets.
fn environment() -> BTreeMap<String, String> {
    [("LANG".to_owned(), "C.UTF-8".to_owned())].into()
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

/// A command that is connected.
struct Connection {
    socket: UnixStream,
    /// The process that it waits for.
    awaits: Option<ProcessName>,
    /// The states of the processes that it was told last, if it wants to be told.
    follows: Option<Vec<(ProcessName, State, Option<i32>)>>,
}

/// An init that serves its node.
pub struct Init {
    node: Node,
    /// The device and the inode of its network namespace.
    network: (u64, u64),
    /// Whether it is PID 1, so that all processes that it can signal are those of the node.
    is_first: bool,
    signals: SignalFd,
    /// The holder of the sandbox, with which the node ends.
    holder: Option<OwnedFd>,
    listener: UnixListener,
    connections: Vec<Connection>,
    view: View,
    binds: Binds,
    supervisor: Supervisor,
    ends: bool,
    /// When something happened that it gives up memory after; `None` if it has done that since.
    worked: Option<Instant>,
}

impl Init {
    /// Makes the node end with this process, if there is one.
    pub fn end_with(&mut self, holder: Option<OwnedFd>) {
        self.holder = holder;
    }

    /// Serves until the node ends.
    pub fn run(mut self) {
        while !self.ends && self.turn().is_ok() {}
        if self.is_first {
            self.end_processes();
        }
    }

    /// Waits until something happens, and handles it.
    fn turn(&mut self) -> io::Result<()> {
        let notices: Vec<(ProcessName, BorrowedFd<'_>)> =
            self.supervisor.descriptors().map(|(name, descriptor)| (name.clone(), descriptor)).collect();
        let own = [self.signals.as_fd(), self.listener.as_fd()].into_iter();
        let sockets = self.connections.iter().map(|connection| connection.socket.as_fd());
        let holder = self.holder.iter().map(AsFd::as_fd);
        let all = own.chain(notices.iter().map(|(_, descriptor)| *descriptor)).chain(sockets).chain(holder);
        let mut waiting: Vec<PollFd<'_>> = all.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
        let count = match poll(&mut waiting, self.patience(if self.worked.is_some() { IDLE } else { Duration::MAX })) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        let ready: Vec<bool> = waiting.iter().map(|descriptor| descriptor.any().unwrap_or(true)).collect();
        drop(waiting);
        let notices: Vec<ProcessName> = notices.into_iter().map(|(name, _)| name).collect();
        let (own, rest) = ready.split_at(2);
        let (of_processes, rest) = rest.split_at(notices.len());
        let (of_commands, of_holder) = rest.split_at(self.connections.len());
        self.ends |= of_holder.contains(&true);
        let now = Instant::now();
        let is_due = self.supervisor.next_deadline().is_some_and(|deadline| deadline <= now);
        if count > 0 {
            self.worked = Some(now);
        } else if self.worked.is_some_and(|worked| now.duration_since(worked) >= IDLE) {
            process::forget_code();
            self.worked = None;
        }
        if own[0] {
            self.take_signals(now);
        }
        for (name, _) in notices.iter().zip(of_processes).filter(|(_, is_ready)| **is_ready) {
            self.supervisor.readable(name, now);
        }
        if is_due {
            self.supervisor.tick(now);
        }
        self.serve_all(of_commands, now);
        if own[1] {
            self.accept();
        }
        self.answer_those_who_wait();
        self.tell_those_who_follow();
        Ok(())
    }

    /// Returns how long nothing can happen by itself, at most this time.
    fn patience(&self, limit: Duration) -> PollTimeout {
        let next = self.supervisor.next_deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match next.unwrap_or(Duration::MAX).min(limit) {
            Duration::MAX => PollTimeout::NONE,
            // Not before the deadline: milliseconds are rounded up.
            left => PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX),
        }
    }

    fn accept(&mut self) {
        if let Ok((socket, _)) = self.listener.accept()
            && socket.set_read_timeout(Some(TIMEOUT)).is_ok()
            && socket.set_write_timeout(Some(TIMEOUT)).is_ok()
        {
            self.connections.push(Connection { socket, awaits: None, follows: None });
        }
    }

    fn take_signals(&mut self, now: Instant) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            self.ends |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        self.reap(now);
    }

    /// Reaps the children that have ended.
    fn reap(&mut self, now: Instant) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return,
                Ok(status) => drop(self.supervisor.child_ended(status, now)),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Serves the connections with requests, and closes those that have ended.
    fn serve_all(&mut self, ready: &[bool], now: Instant) {
        let connections: Vec<_> = std::mem::take(&mut self.connections).into_iter().zip(ready).collect();
        for (mut connection, is_ready) in connections {
            if !is_ready || self.serve(&mut connection, now) {
                self.connections.push(connection);
            }
        }
    }

    /// Answers one request. Returns whether the connection stays open.
    fn serve(&mut self, connection: &mut Connection, now: Instant) -> bool {
        let Ok(Some((request, bytes))) = protocol::receive::<Request>(&connection.socket) else { return false };
        match request {
            Request::Await(name) => {
                connection.awaits = Some(name);
                return true;
            }
            Request::Follow => {
                connection.follows = Some(self.supervisor.states());
                return true;
            }
            _ => {}
        }
        let answer = match request {
            Request::PutBind { target, source, readonly } => {
                let done = self.mount((&target, source, readonly), &connection.socket);
                done.map(|()| (Reply::Done, Vec::new()))
            }
            request => self.answer(request, &bytes, now),
        };
        let (reply, bytes) = match answer {
            Ok(answer) => answer,
            Err(refusal) => (Reply::Failed(refusal), Vec::new()),
        };
        protocol::send(&connection.socket, &reply, &bytes).is_ok()
    }

    /// Mounts a bind with the descriptor that follows the request.
    fn mount(&mut self, bind: (&NodePath, String, bool), socket: &UnixStream) -> Result<(), Refusal> {
        let received =
            datagram::receive::<()>(socket.as_fd()).map(|received| received.and_then(|((), tree)| tree.into_iter().next()));
        let tree = received.and_then(|tree| tree.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        let tree = tree.map_err(|error| Refusal::new(format!("mount at {}", bind.0), &error))?;
        self.supervisor.file_changed(bind.0.as_str());
        self.binds.put(&mut self.view, bind, &tree)
    }

    /// Answers those whose process has settled.
    fn answer_those_who_wait(&mut self) {
        let supervisor = &self.supervisor;
        self.connections.retain_mut(|connection| {
            let Some(name) = &connection.awaits else { return true };
            match supervisor.settled(name) {
                Settled::Waiting => true,
                settled => {
                    connection.awaits = None;
                    protocol::send(&connection.socket, &Reply::Settled(settled), &[]).is_ok()
                }
            }
        });
    }

    /// Tells those who want to know that the state of a process has changed.
    fn tell_those_who_follow(&mut self) {
        if self.connections.iter().all(|connection| connection.follows.is_none()) {
            return;
        }
        let states = self.supervisor.states();
        self.connections.retain_mut(|connection| match &mut connection.follows {
            Some(told) if *told != states => {
                told.clone_from(&states);
                protocol::send(&connection.socket, &Reply::Done, &[]).is_ok()
            }
            _ => true,
        });
    }

    fn answer(&mut self, request: Request, bytes: &[u8], now: Instant) -> Result<(Reply, Vec<u8>), Refusal> {
        match request {
            Request::Describe => {
                let (files, bytes) = self.view.found();
                let (node, binds, processes) = (self.describe(), self.binds.found(), self.supervisor.status(now));
                return Ok((Reply::Description { node, network: self.network, files, binds, processes }, bytes));
            }
            Request::SetNames { hostname, domainname } => set_names(hostname.as_deref(), domainname.as_deref())?,
            Request::PutFile { path, mode, owner } => {
                self.supervisor.file_changed(path.as_str());
                self.view.put(&path, mode, owner, bytes)?;
            }
            Request::RemoveFile(path) => {
                self.supervisor.file_changed(path.as_str());
                self.view.remove(&path)?;
            }
            Request::RemoveBind(target) => {
                self.supervisor.file_changed(target.as_str());
                self.binds.remove(&mut self.view, &target)?;
            }
            Request::PutProcess { name, definition, reload } => {
                self.supervisor.put(&name, *definition, now);
                if reload {
                    // One that does not run reads its configuration when it starts.
                    let _ = self.supervisor.reload(&name);
                }
            }
            Request::Process(name, verb) => {
                let done = match verb {
                    Verb::Start => self.supervisor.start(&name, now),
                    Verb::Stop => self.supervisor.stop(&name, now),
                    Verb::Restart => self.supervisor.restart(&name, now),
                    Verb::Remove => self.supervisor.remove(&name, now),
                };
                if let Err(error) = done {
                    return Ok((Reply::Refused(error.to_string()), Vec::new()));
                }
            }
            // Answered elsewhere.
            Request::Await(_) | Request::Follow | Request::PutBind { .. } => {}
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

    /// Ends the processes of the node: the declared ones as their definitions say, the others with SIGTERM, and what is left then, by the end
    /// of PID 1, with SIGKILL.
    fn end_processes(&mut self) {
        self.supervisor.shut_down(Instant::now());
        let deadline = Instant::now() + SHUTDOWN;
        while !self.supervisor.is_down() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            self.wait_for_ends(self.patience(left));
            self.supervisor.tick(Instant::now());
        }
        if process::leave_no_zombies().is_ok() {
            self.reap(Instant::now());
            process::end_all_others(GRACE);
        }
    }

    /// Waits at most this time for a child to end, and reaps it.
    fn wait_for_ends(&mut self, time: PollTimeout) {
        let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], time);
        while let Ok(Some(_)) = self.signals.read_signal() {}
        self.reap(Instant::now());
    }
}

//! Finds inits and talks to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

use super::cgroup::Group;
use super::directory::Nodes;
pub use super::protocol::Verb;
use super::protocol::{self, FoundFile, Reply, Request};
use super::{binds, datagram};
use crate::kernel::Errno;
use crate::kernel::linux::process::{Process, identity, identity_of};
use crate::name::NamespaceName;
use crate::operation::PutPart;
use crate::resource::node::bind::Bind;
use crate::resource::node::file::{File as NodeFile, NodePath};
use crate::resource::node::limits::Limits;
use crate::resource::node::process::{ProcessName, ProcessStatus, Settled};
use crate::resource::node::{Condition, Node, Part, PartKey, Supervised};

/// The time that an init may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which an init that does not listen is killed.
const END: Duration = Duration::from_secs(3);
/// The time that an init has to end its processes.
const SHUTDOWN: Duration = Duration::from_secs(70);

/// An init that listens.
pub struct Client {
    socket: UnixStream,
    process: Process,
}

impl Client {
    /// Connects to the init of a node; `None` if it has ended.
    ///
    /// # Errors
    /// Fails if somebody else listens there, or the system refuses.
    pub fn connect(nodes: &Nodes, node: &NamespaceName) -> io::Result<Option<Self>> {
        let Some(socket) = nodes.connect(node)? else { return Ok(None) };
        let peer = getsockopt(&socket, sockopt::PeerCredentials)?;
        if peer.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("another user listens at its socket"));
        }
        let Some(process) = Process::find(peer.pid())? else { return Ok(None) };
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        Ok(Some(Self { socket, process }))
    }

    /// Returns the process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the process.
    pub fn into_process(self) -> Process {
        self.process
    }

    /// Returns whether the init is in a network namespace.
    ///
    /// # Errors
    /// Fails if the init has ended.
    pub fn is_in(&self, network: &File) -> io::Result<bool> {
        Ok(identity(&format!("/proc/{}/ns/net", self.process.number()))? == identity_of(network)?)
    }

    fn ask(&self, request: &Request, bytes: &[u8]) -> Result<(Reply, Vec<u8>), Errno> {
        self.ask_after(|| protocol::send(&self.socket, request, bytes))
    }

    fn ask_after(&self, send: impl Fn() -> io::Result<()>) -> Result<(Reply, Vec<u8>), Errno> {
        let exchange = || -> io::Result<_> {
            send()?;
            protocol::receive(&self.socket)?.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::ECONNRESET))
        };
        match exchange() {
            Ok((Reply::Failed(refusal), _)) => Err(refusal.into()),
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Errno { number: nix::libc::ETIMEDOUT, message: Some("the node's init does not answer".to_owned()) })
            }
            Err(error) => Err(Errno::from(&error)),
        }
    }

    /// Returns the node and its parts. `place` is the network namespace of its name, if there is one.
    ///
    /// # Errors
    /// Fails if the init does not answer as expected.
    fn describe(&self, place: Option<&File>) -> Result<BTreeMap<PartKey, Part>, Errno> {
        let (reply, bytes) = self.ask(&Request::Describe, &[])?;
        let Reply::Description { mut node, network, files, binds, processes } = reply else { return Err(unexpected()) };
        let place = place.map(identity_of).transpose().map_err(|error| Errno::from(&error))?;
        if place != Some(network) {
            node.condition = Condition::Detached;
        }
        if !node.limits.is_empty() {
            let group = Group::of(&self.process);
            node.limits =
                group.map_or_else(|| Ok(Limits::default()), |group| group.limits()).map_err(|error| Errno::from(&error))?;
        }
        let mut parts = BTreeMap::from([(PartKey::Node, Part::Node(node))]);
        let mut rest = bytes.as_slice();
        for FoundFile { path, mode, owner, length } in files {
            let Some(length) = length else { continue };
            let (content, after) = rest.split_at_checked(length).ok_or_else(unexpected)?;
            rest = after;
            parts.insert(PartKey::File(path), Part::File(NodeFile { content: content.into(), mode, owner }));
        }
        parts.extend(binds.into_iter().map(|found| {
            let (target, bind) = binds::describe(found);
            (PartKey::Bind(target), Part::Bind(bind))
        }));
        parts.extend(processes.into_iter().map(|status| {
            let (name, process) = Supervised::of(status);
            (PartKey::Process(name), Part::Process(Box::new(process)))
        }));
        Ok(parts)
    }

    /// Returns whether a request failed because the init has ended. One whose connection is gone is waited for.
    pub fn has_ended(&self, error: &Errno) -> bool {
        let is_ending = matches!(error.number, nix::libc::ECONNRESET | nix::libc::EPIPE);
        self.process.has_ended(if is_ending { END } else { Duration::ZERO }).unwrap_or(false)
    }

    /// Returns the declared processes of the node.
    ///
    /// # Errors
    /// Fails if the init does not answer as expected.
    pub fn processes(&self) -> Result<Vec<ProcessStatus>, Errno> {
        match self.ask(&Request::Describe, &[])?.0 {
            Reply::Description { processes, .. } => Ok(processes),
            _ => Err(unexpected()),
        }
    }

    /// Does something with a process, without waiting for it. Returns why that is refused, if it is.
    ///
    /// # Errors
    /// Fails if the init does not answer as expected.
    pub fn control(&self, name: &ProcessName, verb: Verb) -> Result<Option<String>, Errno> {
        match self.ask(&Request::Process(name.clone(), verb), &[])?.0 {
            Reply::Done => Ok(None),
            Reply::Refused(why) => Ok(Some(why)),
            _ => Err(unexpected()),
        }
    }

    /// Makes or changes a part. The node itself exists, and only its names and limits can change. A process is not waited for.
    ///
    /// # Errors
    /// Fails if the system refuses it.
    pub fn put(&self, put: &PutPart) -> Result<(), Errno> {
        match (&put.key, &put.part) {
            (PartKey::File(path), Part::File(file)) => {
                let request = Request::PutFile { path: path.clone(), mode: file.mode, owner: file.owner };
                self.ask(&request, &file.content).map(drop)
            }
            (PartKey::Bind(target), Part::Bind(bind)) => self.mount(target, bind),
            (_, Part::Node(node)) => {
                let Node { hostname, domainname, limits, .. } = node.clone();
                self.ask(&Request::SetNames { hostname, domainname }, &[])?;
                match Group::of(&self.process).filter(|_| !limits.is_empty()) {
                    Some(group) => Ok(group.set(limits)?),
                    None => Ok(()),
                }
            }
            (PartKey::Process(name), Part::Process(process)) => {
                let definition = Box::new(process.definition.clone());
                self.ask(&Request::PutProcess { name: name.clone(), definition, reload: put.reload }, &[]).map(drop)
            }
            (_, Part::File(_) | Part::Bind(_) | Part::Process(_)) => Err(unexpected()),
        }
    }

    fn mount(&self, target: &NodePath, bind: &Bind) -> Result<(), Errno> {
        let tree = binds::clone_source(bind)?;
        let request = Request::PutBind { target: target.clone(), source: bind.source.to_string(), readonly: bind.readonly };
        let send = || {
            protocol::send(&self.socket, &request, &[])?;
            datagram::send(self.socket.as_fd(), &(), &[tree.as_fd()])
        };
        self.ask_after(send).map(drop)
    }

    /// Removes a file or a bind, or a process, which is not waited for.
    ///
    /// # Errors
    /// Fails if the system refuses it.
    pub fn remove(&self, key: &PartKey) -> Result<(), Errno> {
        match key {
            PartKey::File(path) => self.ask(&Request::RemoveFile(path.clone()), &[]).map(drop),
            PartKey::Bind(target) => self.ask(&Request::RemoveBind(target.clone()), &[]).map(drop),
            // If it is refused, it is gone already.
            PartKey::Process(name) => self.control(name, Verb::Remove).map(drop),
            PartKey::Node => Err(unexpected()),
        }
    }

    /// Asks to be told when a process begins, ends or becomes ready. The socket becomes readable then, or when the init ends.
    ///
    /// # Errors
    /// Fails if the init does not listen.
    pub fn follow(self) -> io::Result<UnixStream> {
        protocol::send(&self.socket, &Request::Follow, &[])?;
        self.socket.set_nonblocking(true)?;
        Ok(self.socket)
    }

    /// Asks to be told when the last request for a process is done.
    ///
    /// # Errors
    /// Fails if the init does not listen.
    pub fn begin_await(&self, name: &ProcessName) -> Result<(), Errno> {
        protocol::send(&self.socket, &Request::Await(name.clone()), &[]).map_err(|error| Errno::from(&error))
    }

    /// Returns how the last request for a process ended; `None` if it has not after this time.
    ///
    /// # Errors
    /// Fails if the init does not answer as expected.
    pub fn finish_await(&self, time: Duration) -> Result<Option<Settled>, Errno> {
        let failed = |error: io::Error| Errno::from(&error);
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
            other => drop(other.map_err(|error| failed(error.into()))?),
        }
        match protocol::receive(&self.socket).map_err(failed)? {
            Some((Reply::Settled(settled), _)) => Ok(Some(settled)),
            Some(_) => Err(unexpected()),
            None => Err(Errno { number: nix::libc::ECONNRESET, message: Some("the node's init has ended".to_owned()) }),
        }
    }

    /// Begins to end the init, and with it all processes of its PID namespace.
    pub fn begin_end(&self) {
        // One that does not listen is killed.
        let _ = self.socket.set_write_timeout(Some(END)).and_then(|()| self.socket.set_read_timeout(Some(END)));
        let _ = protocol::send(&self.socket, &Request::End, &[]);
    }

    /// Waits until the init has ended. Kills it if it does not end by itself.
    ///
    /// # Errors
    /// Fails if it cannot be killed.
    pub fn finish_end(self) -> io::Result<()> {
        // One that has heard ends its processes as their definitions say.
        let has_heard = matches!(protocol::receive(&self.socket), Ok(Some((Reply::Done, _)) | None));
        if !self.process.has_ended(if has_heard { SHUTDOWN } else { Duration::ZERO })? {
            self.process.signal(nix::sys::signal::Signal::SIGKILL)?;
            if !self.process.has_ended(TIMEOUT)? {
                return Err(io::Error::from_raw_os_error(nix::libc::ETIMEDOUT));
            }
        }
        Ok(())
    }
}

fn unexpected() -> Errno {
    Errno { number: nix::libc::EBADMSG, message: Some("the node's init has given an unexpected answer".to_owned()) }
}

/// Describes a node. `network` is the network namespace of that name, if there is one.
///
/// # Errors
/// Fails if its init does not answer.
pub fn describe(nodes: &Nodes, name: &NamespaceName, network: Option<&File>) -> Result<BTreeMap<PartKey, Part>, Errno> {
    let ended = || {
        let node = Node { condition: Condition::Ended, ..Node::default() };
        BTreeMap::from([(PartKey::Node, Part::Node(node))])
    };
    let failed = |error: io::Error| Errno::from(&error);
    let Some(client) = Client::connect(nodes, name).map_err(failed)? else { return Ok(ended()) };
    match client.describe(network) {
        Err(error) if client.has_ended(&error) => Ok(ended()),
        described => described,
    }
}

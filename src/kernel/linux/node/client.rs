//! Finds inits and talks to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};

use super::directory::Nodes;
use super::protocol::{self, FoundFile, Reply, Request};
use crate::kernel::Errno;
use crate::kernel::linux::process::{Process, identity, identity_of};
use crate::name::NamespaceName;
use crate::operation::PutPart;
use crate::resource::node::file::File as NodeFile;
use crate::resource::node::{Condition, Node, Part, PartKey};

/// The time that an init may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which an init that does not end is killed.
const END: Duration = Duration::from_secs(3);

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
        let exchange = || -> io::Result<_> {
            protocol::send(&self.socket, request, bytes)?;
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
        let Reply::Description { mut node, network, files } = reply else { return Err(unexpected()) };
        let place = place.map(identity_of).transpose().map_err(|error| Errno::from(&error))?;
        if place != Some(network) {
            node.condition = Condition::Detached;
        }
        let mut parts = BTreeMap::from([(PartKey::Node, Part::Node(node))]);
        let mut rest = bytes.as_slice();
        for FoundFile { path, mode, owner, length } in files {
            let Some(length) = length else { continue };
            let (content, after) = rest.split_at_checked(length).ok_or_else(unexpected)?;
            rest = after;
            parts.insert(PartKey::File(path), Part::File(NodeFile { content: content.into(), mode, owner }));
        }
        Ok(parts)
    }

    /// Makes or changes a part. The node itself exists, and only its names can change.
    ///
    /// # Errors
    /// Fails if the system refuses it.
    pub fn put(&self, put: &PutPart) -> Result<(), Errno> {
        match (&put.key, &put.part) {
            (PartKey::File(path), Part::File(file)) => {
                let request = Request::PutFile { path: path.clone(), mode: file.mode, owner: file.owner };
                self.ask(&request, &file.content).map(drop)
            }
            (_, Part::Node(node)) => {
                let Node { hostname, domainname, .. } = node.clone();
                self.ask(&Request::SetNames { hostname, domainname }, &[]).map(drop)
            }
            (PartKey::Node, Part::File(_)) => Err(unexpected()),
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// Fails if the system refuses it.
    pub fn remove(&self, key: &PartKey) -> Result<(), Errno> {
        match key {
            PartKey::File(path) => self.ask(&Request::RemoveFile(path.clone()), &[]).map(drop),
            PartKey::Node => Err(unexpected()),
        }
    }

    /// Begins to end the init, and with it all processes of its PID namespace.
    pub fn begin_end(&self) {
        // One that does not listen is killed.
        let _ = self.socket.set_write_timeout(Some(END));
        let _ = protocol::send(&self.socket, &Request::End, &[]);
    }

    /// Waits until the init has ended. Kills it if it does not end by itself.
    ///
    /// # Errors
    /// Fails if it cannot be killed.
    pub fn finish_end(self) -> io::Result<()> {
        if !self.process.has_ended(END)? {
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
        Err(_) if client.process.has_ended(Duration::ZERO).map_err(failed)? => Ok(ended()),
        described => described,
    }
}

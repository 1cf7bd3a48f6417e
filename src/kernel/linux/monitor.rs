//! Tells which namespaces of a lab somebody has changed: one netlink socket receives the notifications of all of them.
//!
//! The socket is in a network namespace of its own, in which the namespaces of the lab have numbers (nsid): so it gets the notifications
//! of those (NETLINK_LISTEN_ALL_NSID), the machine has no numbers for them afterwards, and nothing of this is left when it is closed.

mod entries;
mod receive;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::Socket as RawSocket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::poll::PollTimeout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use self::entries::Entries;
use super::Linux;
use super::node::Nodes;
use super::node::client::Client;
use super::system::netns;
use super::system::process::identity_of;
use super::wire::{Batch, Socket};
use crate::name::NamespaceName;

/// The groups of rtnetlink(7) with what a lab can contain: links, neighbours, qdiscs, addresses, routes, rules, forwarding database, settings.
const GROUPS: [u32; 13] = [
    nix::libc::RTNLGRP_LINK,
    nix::libc::RTNLGRP_NEIGH,
    nix::libc::RTNLGRP_TC,
    nix::libc::RTNLGRP_IPV4_IFADDR,
    nix::libc::RTNLGRP_IPV4_ROUTE,
    nix::libc::RTNLGRP_IPV4_RULE,
    nix::libc::RTNLGRP_IPV6_IFADDR,
    nix::libc::RTNLGRP_IPV6_ROUTE,
    nix::libc::RTNLGRP_IPV6_RULE,
    nix::libc::RTNLGRP_IPV4_NETCONF,
    nix::libc::RTNLGRP_IPV6_NETCONF,
    nix::libc::RTNLGRP_MDB,
    nix::libc::RTNLGRP_NSID,
];
/// The size of the receive buffer in bytes: room for some ten thousand notifications.
const BUFFER: usize = 8 << 20;

/// Who has changed a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sender {
    /// The PID, in the PID namespace of the process.
    pub pid: u32,
    /// The name of its command, if the process still exists and is in this PID namespace.
    pub command: Option<String>,
}

/// What was received.
#[derive(Debug, Default)]
pub struct Notices {
    /// The namespaces that were changed, with those who did it, as far as the kernel tells.
    pub namespaces: BTreeMap<NamespaceName, BTreeSet<Sender>>,
    /// Whether a namespace was made or removed, or notifications were lost: all must be looked at.
    pub everything: bool,
    /// Whether notifications were lost.
    pub lost: bool,
}

impl Notices {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && !self.everything
    }
}

/// Receives notifications.
pub struct Monitor {
    notifications: RawSocket,
    requests: Socket,
    /// The followed namespaces by their numbers, and their identities.
    numbers: BTreeMap<i32, (NamespaceName, (u64, u64))>,
    next: i32,
    entries: Entries,
    /// The inits of nodes, which tell what becomes of their processes.
    inits: BTreeMap<NamespaceName, UnixStream>,
    /// All of its descriptors.
    ready: Epoll,
}

impl Monitor {
    /// Opens a monitor that follows no namespace yet.
    ///
    /// # Errors
    /// Fails if the system refuses a namespace or a socket.
    pub fn open() -> io::Result<Self> {
        let open = || -> io::Result<(RawSocket, Socket)> {
            netns::enter_new()?;
            let mut notifications = RawSocket::new(NETLINK_ROUTE)?;
            // The kernel passes none to a socket without a port.
            notifications.bind_auto()?;
            notifications.set_listen_all_namespaces(true)?;
            notifications.set_non_blocking(true)?;
            // More than the system's limit needs a capability; without, losses are more frequent.
            let _ = receive::force_buffer(&notifications, BUFFER);
            GROUPS.into_iter().try_for_each(|group| notifications.add_membership(group))?;
            Ok((notifications, Socket::open()?))
        };
        let thread = std::thread::Builder::new().name("monitor".into()).spawn(open)?;
        let (notifications, requests) = thread.join().map_err(|_| io::Error::other("a thread has ended"))??;
        let (entries, ready) = (Entries::open()?, Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: the socket is open until the monitor is dropped, which the borrowed descriptor does not survive.
        let descriptor = unsafe { BorrowedFd::borrow_raw(notifications.as_raw_fd()) };
        ready.add(descriptor, readable())?;
        ready.add(&entries, readable())?;
        Ok(Self { notifications, requests, numbers: BTreeMap::new(), next: 0, entries, inits: BTreeMap::new(), ready })
    }

    /// Follows the namespaces that were observed last, and `host` if it is wanted.
    ///
    /// # Errors
    /// Fails if the kernel refuses a number.
    pub fn follow(&mut self, linux: &Linux, host: bool) -> io::Result<()> {
        let own = linux.namespaces.iter().map(|(name, opened)| (name.clone(), &opened.file));
        let host = host.then(|| (NamespaceName::host(), &linux.host.file));
        let mut wanted = BTreeMap::new();
        for (name, file) in own.chain(host) {
            wanted.insert(identity_of(file)?, (name, file.as_raw_fd()));
        }
        self.numbers.retain(|_, (name, identity)| wanted.get(identity).is_some_and(|(wanted, _)| wanted == name));
        self.numbers.values().for_each(|(_, identity)| drop(wanted.remove(identity)));
        let mut batch = Batch::default();
        for (identity, (name, descriptor)) in wanted {
            let mut message = NsidMessage::default();
            message.attributes = vec![NsidAttribute::Fd(descriptor.cast_unsigned()), NsidAttribute::Id(self.next)];
            batch.push(RouteNetlinkMessage::NewNsId(message), NLM_F_ACK);
            self.numbers.insert(self.next, (name, identity));
            self.next += 1;
        }
        if let Some(refusal) = self.requests.execute(&mut batch)?.into_iter().next() {
            return Err(io::Error::other(refusal.errno.to_string()));
        }
        self.follow_inits(linux)?;
        self.entries.follow()
    }

    fn follow_inits(&mut self, linux: &Linux) -> io::Result<()> {
        self.inits.retain(|name, _| linux.parts.contains_key(name));
        let unknown = linux.parts.keys().filter(|name| !self.inits.contains_key(*name));
        let unknown: Vec<&NamespaceName> = unknown.collect();
        let Some(nodes) = (if unknown.is_empty() { None } else { Nodes::open(&linux.lab)? }) else { return Ok(()) };
        for name in unknown {
            // Without an init there is nothing to follow: that is drift already.
            if let Some(followed) = Client::connect(&nodes, name)?.and_then(|init| init.follow().ok()) {
                self.ready.add(&followed, readable())?;
                self.inits.insert(name.clone(), followed);
            }
        }
        Ok(())
    }

    /// Returns a descriptor that becomes readable when there is something to receive.
    ///
    /// # Errors
    /// Fails if there are no more descriptors.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.ready.0.as_fd().try_clone_to_owned()
    }

    /// Takes what the inits of nodes tell. Those that have ended are not followed any more.
    fn hear_inits(&mut self, notices: &mut Notices) {
        self.inits.retain(|name, socket| {
            let mut bytes = [0; 4096];
            loop {
                match socket.read(&mut bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                    Ok(1..) => drop(notices.namespaces.entry(name.clone()).or_default()),
                    Ok(0) | Err(_) => {
                        notices.namespaces.entry(name.clone()).or_default();
                        return false;
                    }
                }
            }
        });
    }

    /// Receives what has arrived. Does not wait.
    ///
    /// # Errors
    /// Fails if the socket does.
    pub fn receive(&mut self) -> io::Result<Notices> {
        let mut notices = Notices::default();
        // Only this tells a poller of the descriptor that it is not readable any more.
        self.ready.wait(&mut [EpollEvent::empty(); 64], PollTimeout::ZERO)?;
        let numbers = &self.numbers;
        let own = std::process::id();
        notices.lost = receive::all(&self.notifications, |notification| {
            let Some((name, _)) = notification.nsid.and_then(|nsid| numbers.get(&nsid)) else { return };
            if !notification.concerns_labs() {
                return;
            }
            let senders = notices.namespaces.entry(name.clone()).or_default();
            let pid = notification.sender;
            if pid != 0 && pid != own && !senders.iter().any(|sender| sender.pid == pid) {
                senders.insert(Sender { pid, command: command(pid) });
            }
        })?;
        self.hear_inits(&mut notices);
        notices.everything = self.entries.has_changed()? || notices.lost;
        Ok(notices)
    }
}

fn readable() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, 0)
}

/// Returns the name of a process's command, if it exists.
fn command(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(text.trim_end().to_owned())
}

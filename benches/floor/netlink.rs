//! A minimal rtnetlink socket and message builder.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::NetlinkAddr;

pub const RTM_NEWLINK: u16 = 16;
pub const RTM_DELLINK: u16 = 17;
pub const RTM_GETLINK: u16 = 18;
pub const RTM_SETLINK: u16 = 19;
pub const RTM_NEWADDR: u16 = 20;
pub const RTM_GETADDR: u16 = 22;
pub const RTM_NEWROUTE: u16 = 24;
pub const RTM_GETROUTE: u16 = 26;
pub const RTM_GETNEIGH: u16 = 30;
pub const RTM_GETRULE: u16 = 34;
pub const RTM_GETNETCONF: u16 = 82;

pub const CREATE: u16 = 0x400 | 0x200;
pub const DUMP: u16 = 0x300;
pub const ACK: u16 = 4;
const REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

/// The maximum number of bytes of one send. They must fit into the send buffer (net.core.wmem_default, 208 KiB including overhead).
const SEND: usize = 64 * 1024;
/// The size of the receive buffer. The kernel fills at most 32 KiB at a time.
const RECEIVE: usize = 32 * 1024;

/// A batch of messages.
#[derive(Default)]
pub struct Messages {
    bytes: Vec<u8>,
    start: usize,
    /// The offsets where a send may begin.
    starts: Vec<usize>,
}

impl Messages {
    /// Begins a message that may be sent separately from the previous one.
    pub fn begin(&mut self, kind: u16, flags: u16, body: &[u8]) {
        self.starts.push(self.bytes.len());
        self.begin_together(kind, flags, body);
    }

    /// Begins a message that is sent together with the previous one.
    pub fn begin_together(&mut self, kind: u16, flags: u16, body: &[u8]) {
        self.start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(body);
        self.close(self.start, 4);
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("attributes here are short");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.close(self.start, 4);
    }

    /// Adds an attribute with the value written by `fill`.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.attribute(kind | NESTED, &[]);
        fill(self);
        self.close(start, 2);
    }

    /// Adds bytes without an attribute header.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Writes the length of the attribute or message that begins at `start`, and pads.
    fn close(&mut self, start: usize, width: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = u32::try_from(self.bytes.len() - start).expect("messages here are short").to_ne_bytes();
        self.bytes[start..start + width].copy_from_slice(&length[..width]);
    }

    /// Returns the byte ranges of the individual sends.
    fn sends(&self) -> Vec<std::ops::Range<usize>> {
        let mut sends = Vec::new();
        let (mut first, mut last) = (0, 0);
        for cut in self.starts.iter().copied().skip(1).chain([self.bytes.len()]) {
            if cut - first > SEND {
                sends.push(first..last);
                first = last;
            }
            last = cut;
        }
        sends.push(first..last);
        sends.retain(|range| !range.is_empty());
        sends
    }
}

pub struct Socket(OwnedFd);

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointers.
        let descriptor = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe a valid slice.
        let sent = unsafe { libc::send(self.raw(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn receive<'b>(&self, buffer: &'b mut [u8], flags: libc::c_int) -> io::Result<&'b [u8]> {
        // SAFETY: pointer and length describe a valid slice.
        let received = unsafe { libc::recv(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
        usize::try_from(received).map(|received| &buffer[..received]).map_err(|_| io::Error::last_os_error())
    }

    fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends all messages. The kernel executes them before the call returns, and answers only with errors.
    pub fn execute(&self, messages: &Messages) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for range in messages.sends() {
            self.send(&messages.bytes[range])?;
            match self.receive(&mut buffer, libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(answer) => {
                    let code = i32::from_ne_bytes(answer[HEADER..HEADER + 4].try_into().expect("four bytes"));
                    return Err(io::Error::from_raw_os_error(-code));
                }
            }
        }
        Ok(())
    }

    /// Sends one request and counts the messages of the answer.
    pub fn dump(&self, messages: &Messages, buffer: &mut Vec<u8>) -> io::Result<usize> {
        buffer.resize(RECEIVE, 0);
        self.send(&messages.bytes)?;
        let mut count = 0;
        loop {
            let mut rest = self.receive(buffer, 0)?;
            while rest.len() >= HEADER {
                let length = u32::from_ne_bytes(rest[..4].try_into().expect("four bytes")) as usize;
                let kind = u16::from_ne_bytes(rest[4..6].try_into().expect("two bytes"));
                if kind == NLMSG_DONE || kind == NLMSG_ERROR {
                    return Ok(count);
                }
                count += 1;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    /// Subscribes to events about namespaces that have an identifier in this one.
    pub fn listen_for_namespaces(&self) -> io::Result<()> {
        const RTNLGRP_NSID: u32 = 28;
        let address = NetlinkAddr::new(0, 1 << (RTNLGRP_NSID - 1));
        Ok(nix::sys::socket::bind(self.raw(), &address)?)
    }

    /// Waits until the namespace with this identifier is deleted.
    pub fn wait_for_namespace_deletion(&self, number: i32) -> io::Result<()> {
        const RTM_DELNSID: u16 = 89;
        let mut buffer = vec![0; RECEIVE];
        loop {
            let answer = match self.receive(&mut buffer, 0) {
                // The receive buffer overflowed, and events were lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                answer => answer?,
            };
            // Header, padded rtgenmsg, and NETNSA_NSID as the first attribute.
            if answer[4..6] == RTM_DELNSID.to_ne_bytes() && answer.get(24..28) == Some(&number.to_ne_bytes()[..]) {
                return Ok(());
            }
        }
    }
}

/// An `ifinfomsg`.
pub fn link(index: u32, up: bool) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8] = u8::from(up);
    body[12] = u8::from(up);
    body
}

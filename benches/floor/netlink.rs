//! A rtnetlink socket and its messages, by hand: bytes in, bytes out.

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
pub const RTM_GETNETCONF: u16 = 82;

pub const CREATE: u16 = 0x400 | 0x200;
pub const DUMP: u16 = 0x300;
pub const ACK: u16 = 4;
const REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

/// Bytes sent at once, which must fit into the socket's send buffer (net.core.wmem_default, 208 KiB, counted with its overhead).
const SEND: usize = 64 * 1024;
/// What a dump is read into: the kernel fills at most 32 KiB at a time.
const RECEIVE: usize = 32 * 1024;

/// Messages one after another, to be sent together.
#[derive(Default)]
pub struct Messages {
    bytes: Vec<u8>,
    start: usize,
    /// Where a send may begin.
    starts: Vec<usize>,
}

impl Messages {
    /// Begins a message that may be sent apart from those before it.
    pub fn begin(&mut self, kind: u16, flags: u16, body: &[u8]) {
        self.starts.push(self.bytes.len());
        self.begin_together(kind, flags, body);
    }

    /// Begins a message that is sent together with the one before it.
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

    /// An attribute whose value is what `fill` adds.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.attribute(kind | NESTED, &[]);
        fill(self);
        self.close(start, 2);
    }

    /// Bytes within an attribute that are no attribute.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Pads, and writes the length of what began at `start`.
    fn close(&mut self, start: usize, width: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = u32::try_from(self.bytes.len() - start).expect("messages here are short").to_ne_bytes();
        self.bytes[start..start + width].copy_from_slice(&length[..width]);
    }

    /// Ranges of bytes, each to be sent at once.
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
    /// A socket in the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        // SAFETY: socket(2) takes three numbers.
        let descriptor = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and the length are those of a slice.
        let sent = unsafe { libc::send(self.raw(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn receive<'b>(&self, buffer: &'b mut [u8], flags: libc::c_int) -> io::Result<&'b [u8]> {
        // SAFETY: the pointer and the length are those of a slice.
        let received = unsafe { libc::recv(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
        usize::try_from(received).map(|received| &buffer[..received]).map_err(|_| io::Error::last_os_error())
    }

    fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends everything. The kernel has executed what was sent when the call returns, and leaves an answer only for errors.
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

    /// Has the kernel tell when namespaces that this one has numbers for come and go.
    pub fn listen_for_namespaces(&self) -> io::Result<()> {
        const RTNLGRP_NSID: u32 = 28;
        let address = NetlinkAddr::new(0, 1 << (RTNLGRP_NSID - 1));
        Ok(nix::sys::socket::bind(self.raw(), &address)?)
    }

    /// Waits until the namespace with this number has gone.
    pub fn wait_for_namespace_to_go(&self, number: i32) -> io::Result<()> {
        const RTM_DELNSID: u16 = 89;
        let mut buffer = vec![0; RECEIVE];
        loop {
            let answer = match self.receive(&mut buffer, 0) {
                // So many went at once that the kernel could not tell about each.
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

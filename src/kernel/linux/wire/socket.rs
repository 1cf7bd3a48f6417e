//! An rtnetlink socket: batches of requests, whose answers are matched by sequence number, and dumps that are complete or an error.
//!
//! It is synchronous, based on `netlink-sys`. An asynchronous connection sends one message at each poll. Here, many messages are sent in
//! one system call, and the two messages that create and mark a link always in the same one.

mod datagrams;
mod dump;
mod message;

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket as RawSocket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use self::datagrams::Buffer;
pub use self::dump::DumpRequest;
use self::message::{HEADER, Messages, NLMSG_DONE, NLMSG_ERROR};
use crate::kernel::Errno;
use crate::resource::object::wire::Request;

/// The maximum number of messages in one send. Their error answers must fit into the socket's receive buffer.
const BATCH_MESSAGES: usize = 96;
/// The maximum number of bytes in one send, well below the socket's send buffer.
const BATCH_BYTES: usize = 48 * 1024;
/// The failure of a request or dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The kernel refused it, at the start or at the end.
    #[error(transparent)]
    Refused(#[from] Errno),
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The network changed during every attempt.
    #[error("the network kept changing while it was read ({} attempts)", dump::ATTEMPTS)]
    Interrupted,
    /// The kernel sent a malformed message.
    #[error("the kernel sent a malformed message: {0}")]
    Malformed(String),
}

/// Requests that are sent together. The kernel executes them in order, and continues after one that fails.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The offset of each message.
    starts: Vec<usize>,
    /// Messages before which the batch can be divided into separate sends.
    cuts: Vec<usize>,
}

impl Batch {
    /// Adds a request. It may be sent separately from those before it.
    pub fn push(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.cuts.push(self.starts.len());
        self.push_together(message, flags);
    }

    /// Adds a request of an object.
    pub fn push_request(&mut self, request: Request) {
        self.push(request.message, request.flags);
    }

    /// Adds a request by its type and the bytes of its body.
    pub fn push_bytes(&mut self, kind: u16, body: &[u8], flags: u16) {
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        self.cuts.push(self.starts.len());
        self.starts.push(self.bytes.len());
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Adds a request that is sent in the same system call as the one before.
    pub fn push_together(&mut self, message: RouteNetlinkMessage, flags: u16) {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let start = self.bytes.len();
        self.starts.push(start);
        self.bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.bytes[start..]);
    }

    /// Returns the number of requests.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    fn end(&self, message: usize) -> usize {
        self.starts.get(message).copied().unwrap_or(self.bytes.len())
    }

    /// Returns the ranges of messages that are sent together.
    fn sends(&self) -> Vec<std::ops::Range<usize>> {
        let mut sends = Vec::new();
        let mut first = 0;
        let mut last_cut = 0;
        for &cut in self.cuts.iter().chain([&self.starts.len()]) {
            if cut - first > BATCH_MESSAGES || self.end(cut) - self.end(first) > BATCH_BYTES {
                sends.push(first..last_cut);
                first = last_cut;
            }
            last_cut = cut;
        }
        sends.push(first..self.starts.len());
        sends.retain(|range| !range.is_empty());
        sends
    }
}

/// A request of the batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its position in the batch.
    pub message: usize,
    /// The cause.
    pub errno: Errno,
}

/// A socket that belongs to the network namespace of the thread that opened it.
pub struct Socket {
    raw: RawSocket,
    sequence: u32,
    /// Whether the kernel explains the requests that it refuses (NETLINK_EXT_ACK).
    explains: bool,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// Fails if the system has no more descriptors, or no rtnetlink.
    pub fn open() -> io::Result<Self> {
        Ok(Self { raw: RawSocket::new(NETLINK_ROUTE)?, sequence: 0, explains: false })
    }

    /// Opens a socket for netfilter in the calling thread's network namespace.
    ///
    /// # Errors
    /// Fails if the system has no more descriptors, or no netfilter.
    pub fn open_netfilter() -> io::Result<Self> {
        Ok(Self { raw: RawSocket::new(NETLINK_NETFILTER)?, sequence: 0, explains: false })
    }

    /// Sends the batch and waits until it is executed. Only the last request of a send has NLM_F_ACK; the kernel always reports errors.
    ///
    /// # Errors
    /// Fails if the socket fails. Then it is unknown which requests were executed.
    pub fn execute(&mut self, batch: &mut Batch) -> io::Result<Vec<Refusal>> {
        if !self.explains {
            self.raw.set_ext_ack(true)?;
            self.explains = true;
        }
        let mut refusals = Vec::new();
        for range in batch.sends() {
            let first_sequence = self.sequence.wrapping_add(1);
            for (offset, message) in range.clone().enumerate() {
                let start = batch.starts[message];
                let sequence = first_sequence.wrapping_add(u32::try_from(offset).unwrap_or(0));
                batch.bytes[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
                self.sequence = sequence;
            }
            let last = batch.starts[range.end - 1];
            let flags = u16::from_ne_bytes([batch.bytes[last + 6], batch.bytes[last + 7]]) | NLM_F_ACK;
            batch.bytes[last + 6..last + 8].copy_from_slice(&flags.to_ne_bytes());
            let bytes = &batch.bytes[batch.starts[range.start]..batch.end(range.end)];
            retry(|| self.raw.send(bytes, 0))?;
            self.collect(first_sequence, &range, &mut refusals)?;
        }
        Ok(refusals)
    }

    fn collect(&mut self, first: u32, range: &std::ops::Range<usize>, refusals: &mut Vec<Refusal>) -> io::Result<()> {
        let last = self.sequence;
        let mut buffer = Buffer::take();
        loop {
            for message in self.receive(&mut buffer)? {
                let message = message.map_err(io::Error::other)?;
                let offset = message.sequence.wrapping_sub(first) as usize;
                if message.kind != NLMSG_ERROR || offset >= range.len() {
                    continue;
                }
                if let Some(errno) = message.errno() {
                    refusals.push(Refusal { message: range.start + offset, errno });
                }
                if message.sequence == last {
                    return Ok(());
                }
            }
        }
    }

    /// Sends one request and passes the type and body of every answer to `each`.
    ///
    /// # Errors
    /// Fails if the kernel refuses it, or an answer is malformed.
    pub fn get(
        &mut self,
        request: RouteNetlinkMessage,
        each: impl FnMut(u16, &[u8]) -> Result<(), String>,
    ) -> Result<(), DumpError> {
        let mut batch = Batch::default();
        batch.push(request, NLM_F_ACK);
        self.exchange(&mut batch, each)
    }

    /// Sends one request, given by its type and body, and passes the type and body of every answer to `each`.
    ///
    /// # Errors
    /// Fails if the kernel refuses it, or an answer is malformed.
    pub fn ask(&mut self, kind: u16, body: &[u8], each: impl FnMut(u16, &[u8]) -> Result<(), String>) -> Result<(), DumpError> {
        let mut batch = Batch::default();
        batch.push_bytes(kind, body, NLM_F_ACK);
        self.exchange(&mut batch, each)
    }

    /// The same for a request of a list (NLM_F_DUMP).
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn list(&mut self, kind: u16, body: &[u8], each: impl FnMut(u16, &[u8]) -> Result<(), String>) -> Result<(), DumpError> {
        let mut batch = Batch::default();
        batch.push_bytes(kind, body, NLM_F_DUMP);
        self.exchange(&mut batch, each)
    }

    fn exchange(&mut self, batch: &mut Batch, each: impl FnMut(u16, &[u8]) -> Result<(), String>) -> Result<(), DumpError> {
        self.send_one(&mut batch.bytes)?;
        self.read_answers(each)
    }

    /// Passes the answers to the last request to `each`, up to the final one.
    fn read_answers(&mut self, mut each: impl FnMut(u16, &[u8]) -> Result<(), String>) -> Result<(), DumpError> {
        let sequence = self.sequence;
        let mut buffer = Buffer::take();
        loop {
            for message in self.receive(&mut buffer)? {
                let message = message.map_err(DumpError::Malformed)?;
                if message.sequence != sequence {
                    continue;
                }
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => return message.errno().map_or(Ok(()), |errno| Err(errno.into())),
                    kind => each(kind, message.body).map_err(DumpError::Malformed)?,
                }
            }
        }
    }

    fn send_one(&mut self, message: &mut [u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        message[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        retry(|| self.raw.send(message, 0)).map(drop)
    }

    fn receive<'b>(&self, buffer: &'b mut Buffer) -> io::Result<Messages<'b>> {
        let received = retry(|| self.raw.recv(&mut buffer.whole(), nix::libc::MSG_TRUNC))?;
        let received = buffer.whole().get(..received).ok_or_else(|| io::Error::other("a netlink message was truncated"))?;
        Ok(Messages(received))
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_belong_together_are_sent_together() {
        let mut batch = Batch::default();
        for _ in 0..500 {
            batch.push(RouteNetlinkMessage::GetLink(netlink_packet_route::link::LinkMessage::default()), 0);
            batch.push_together(RouteNetlinkMessage::GetLink(netlink_packet_route::link::LinkMessage::default()), 0);
        }
        let sends = batch.sends();
        assert!(
            sends.len() > 1
                && sends.iter().all(|range| range.start % 2 == 0 && range.end % 2 == 0 && range.len() <= BATCH_MESSAGES)
        );
        assert_eq!(sends.iter().map(ExactSizeIterator::len).sum::<usize>(), batch.len());
    }
}

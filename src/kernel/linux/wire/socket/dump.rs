//! Dumps, several of which are requested in one system call.
//!
//! A socket has one dump at a time: the kernel refuses the next request with EBUSY, unless the answer of the dump before was complete in
//! its first datagram. Some dumps of a kernel end with a datagram of their own, even if their table is small. This is noticed, and such
//! a dump is the last of its send from then on.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;

use nix::libc;

use super::datagrams::{Buffer, Lost};
use super::message::{Message, Messages, NLMSG_DONE, NLMSG_ERROR};
use super::{Batch, DumpError, Socket, retry};

/// The maximum number of attempts of a dump that is interrupted by changes.
pub(super) const ATTEMPTS: u32 = 50;
/// The maximum number of dumps in one send. Their first datagrams must fit into the socket's receive buffer, which is 208 KiB by default.
const TOGETHER: usize = 5;

const NLM_F_DUMP_INTR: u16 = 0x10;

/// The encoded request of a dump. It can be sent many times.
pub struct DumpRequest {
    bytes: Vec<u8>,
    /// Whether the end of the dump has come in a datagram of its own.
    ends_late: AtomicBool,
}

impl DumpRequest {
    /// Encodes a request.
    pub fn new(message: RouteNetlinkMessage) -> Self {
        let mut batch = Batch::default();
        batch.push(message, NLM_F_DUMP);
        Self { bytes: batch.bytes, ends_late: AtomicBool::new(false) }
    }

    fn ends_late(&self) -> bool {
        self.ends_late.load(Ordering::Relaxed)
    }
}

/// The failure of one of several dumps: its position among the requests, and the cause.
pub type DumpFailure = (usize, DumpError);

impl Socket {
    /// Dumps a table: passes the type and body of every message to `each`. Calls it with `None` at the beginning of every attempt. A dump
    /// that was interrupted by a change is read to its end, discarded and repeated.
    ///
    /// # Errors
    /// Fails if the kernel refuses it, sends a malformed message, or the network changes during every attempt.
    pub fn dump(
        &mut self,
        request: &DumpRequest,
        mut each: impl FnMut(Option<(u16, &[u8])>) -> Result<(), String>,
    ) -> Result<(), DumpError> {
        self.dump_all(&[request], |_, message| each(message)).map_err(|(_, error)| error)
    }

    /// Dumps several tables, in as few system calls as possible: passes the position of the request with the type and body of every
    /// message to `each`. See [`Self::dump`].
    ///
    /// # Errors
    /// Fails if the kernel refuses one, sends a malformed message, or the network changes during every attempt.
    pub fn dump_all(
        &mut self,
        requests: &[&DumpRequest],
        mut each: impl FnMut(usize, Option<(u16, &[u8])>) -> Result<(), String>,
    ) -> Result<(), DumpFailure> {
        let mut missing: Vec<usize> = (0..requests.len()).collect();
        let (mut attempts, mut most) = (0, TOGETHER);
        while let Some(&first) = missing.first() {
            let mut turn = Turn::choose(requests, &missing, most);
            let sent = turn.begin(self, &mut each).and_then(|()| turn.read(self, &mut each));
            match sent {
                Ok(Ok(())) => {}
                // What is left of the answers has an old sequence number.
                Ok(Err(Lost)) => most = 1,
                Err(failure) => return Err(failure),
            }
            let before = missing.len();
            missing.retain(|position| !turn.has_read(*position));
            attempts = if missing.len() < before { 0 } else { attempts + 1 };
            if attempts == ATTEMPTS {
                return Err((first, DumpError::Interrupted));
            }
        }
        Ok(())
    }
}

/// Dumps that are requested in one send.
struct Turn<'r> {
    dumps: Vec<Running<'r>>,
    /// The sequence number of the first.
    sequence: u32,
}

struct Running<'r> {
    request: &'r DumpRequest,
    position: usize,
    /// Whether a message has come.
    has_begun: bool,
    /// Whether no change interrupted it, and the kernel was not busy.
    is_consistent: bool,
    has_ended: bool,
}

impl<'r> Turn<'r> {
    /// Chooses dumps: those that end at once, and one more.
    fn choose(requests: &[&'r DumpRequest], missing: &[usize], most: usize) -> Self {
        let begin = |&position: &usize| {
            let request = requests[position];
            Running { request, position, has_begun: false, is_consistent: true, has_ended: false }
        };
        let at_once = missing.iter().filter(|position| !requests[**position].ends_late()).take(most);
        let mut dumps: Vec<_> = at_once.map(begin).collect();
        if dumps.len() < most {
            dumps.extend(missing.iter().find(|position| requests[**position].ends_late()).map(begin));
        }
        Self { dumps, sequence: 0 }
    }

    /// Sends the requests.
    fn begin(
        &mut self,
        socket: &mut Socket,
        each: &mut impl FnMut(usize, Option<(u16, &[u8])>) -> Result<(), String>,
    ) -> Result<(), DumpFailure> {
        self.sequence = socket.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(self.dumps.len() * 64);
        for dump in &self.dumps {
            each(dump.position, None).map_err(|error| (dump.position, DumpError::Malformed(error)))?;
            socket.sequence = socket.sequence.wrapping_add(1);
            let start = bytes.len();
            bytes.extend_from_slice(&dump.request.bytes);
            bytes[start + 8..start + 12].copy_from_slice(&socket.sequence.to_ne_bytes());
        }
        retry(|| socket.raw.send(&bytes, 0)).map_err(|error| (self.dumps[0].position, error.into()))?;
        Ok(())
    }

    /// Reads the answers, up to the end of all.
    fn read(
        &mut self,
        socket: &Socket,
        each: &mut impl FnMut(usize, Option<(u16, &[u8])>) -> Result<(), String>,
    ) -> Result<Result<(), Lost>, DumpFailure> {
        let mut buffer = Buffer::take();
        while let Some(running) = self.dumps.iter().find(|dump| !dump.has_ended) {
            let position = running.position;
            let failed = |error: DumpError| (position, error);
            if retry(|| buffer.receive(socket.raw.as_raw_fd())).map_err(|error| failed(error.into()))? == Err(Lost) {
                return Ok(Err(Lost));
            }
            for datagram in buffer.datagrams() {
                for (number, message) in Messages(datagram).enumerate() {
                    let message = message.map_err(|error| failed(DumpError::Malformed(error)))?;
                    let of = message.sequence.wrapping_sub(self.sequence) as usize;
                    if let Some(dump) = self.dumps.get_mut(of) {
                        let position = dump.position;
                        dump.take(&message, number == 0, each).map_err(|error| (position, error))?;
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    fn has_read(&self, position: usize) -> bool {
        self.dumps.iter().any(|dump| dump.position == position && dump.has_ended && dump.is_consistent)
    }
}

impl Running<'_> {
    fn take(
        &mut self,
        message: &Message<'_>,
        is_first: bool,
        each: &mut impl FnMut(usize, Option<(u16, &[u8])>) -> Result<(), String>,
    ) -> Result<(), DumpError> {
        self.is_consistent &= message.flags & NLM_F_DUMP_INTR == 0;
        match message.kind {
            NLMSG_DONE | NLMSG_ERROR => {
                self.has_ended = true;
                if message.kind == NLMSG_DONE && is_first && self.has_begun {
                    self.request.ends_late.store(true, Ordering::Relaxed);
                }
                match message.errno() {
                    Some(busy) if message.kind == NLMSG_ERROR && busy.number == libc::EBUSY => self.is_consistent = false,
                    Some(errno) => return Err(errno.into()),
                    None => {}
                }
                Ok(())
            }
            kind => {
                self.has_begun = true;
                each(self.position, Some((kind, message.body))).map_err(DumpError::Malformed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::address::AddressMessage;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::rule::RuleMessage;

    use super::*;

    fn requests() -> [DumpRequest; 4] {
        let addresses = |family: AddressFamily| {
            let mut message = AddressMessage::default();
            message.header.family = family;
            DumpRequest::new(RouteNetlinkMessage::GetAddress(message))
        };
        [
            DumpRequest::new(RouteNetlinkMessage::GetLink(LinkMessage::default())),
            addresses(AddressFamily::Inet),
            DumpRequest::new(RouteNetlinkMessage::GetRule(RuleMessage::default())),
            addresses(AddressFamily::Inet6),
        ]
    }

    fn count(socket: &mut Socket, requests: &[&DumpRequest]) -> Vec<usize> {
        let mut counts = vec![0; requests.len()];
        let each = |position: usize, message: Option<(u16, &[u8])>| {
            counts[position] = if message.is_some() { counts[position] + 1 } else { 0 };
            Ok(())
        };
        socket.dump_all(requests, each).unwrap();
        counts
    }

    #[test]
    fn dumps_that_are_requested_together_are_as_complete_as_alone() {
        let requests = requests();
        let mut socket = Socket::open().unwrap();
        let alone: Vec<usize> = requests.iter().flat_map(|request| count(&mut socket, &[request])).collect();
        assert!(alone[0] > 0, "every namespace has a loopback");
        // At first, it is unknown which dumps of this kernel end late.
        for request in &requests {
            request.ends_late.store(false, Ordering::Relaxed);
        }
        for _ in 0..3 {
            assert_eq!(count(&mut socket, &requests.each_ref()), alone);
        }
    }

    #[test]
    fn at_most_one_dump_that_ends_late_is_in_a_send_and_comes_last() {
        let requests = requests();
        requests[0].ends_late.store(true, Ordering::Relaxed);
        requests[2].ends_late.store(true, Ordering::Relaxed);
        let chosen = |missing: &[usize], most: usize| -> Vec<usize> {
            let turn = Turn::choose(&requests.each_ref(), missing, most);
            turn.dumps.iter().map(|dump| dump.position).collect()
        };
        assert_eq!(chosen(&[0, 1, 2, 3], TOGETHER), [1, 3, 0]);
        assert_eq!(chosen(&[0, 2], TOGETHER), [0]);
        assert_eq!(chosen(&[0, 1, 2, 3], 1), [1]);
        assert_eq!(chosen(&[2], 1), [2]);
    }

    #[test]
    fn a_dump_with_longer_datagrams_than_expected_is_repeated_with_more_space() {
        let requests = requests();
        let mut socket = Socket::open().unwrap();
        let alone = count(&mut socket, &[&requests[0]]);
        Buffer::expect(32);
        assert_eq!(count(&mut socket, &[&requests[0]]), alone);
    }
}

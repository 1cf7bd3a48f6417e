//! Receives notifications with the number of their namespace, which comes as a control message.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use netlink_sys::Socket as RawSocket;
use nix::errno::Errno;
use nix::libc;

/// The largest datagram of notifications.
const DATAGRAM: usize = 32 * 1024;
/// The length of a message's header, netlink(7).
const HEADER: usize = 16;

/// A notification, without its contents.
pub(super) struct Notification<'a> {
    /// The number of the namespace that it is from.
    pub(super) nsid: Option<i32>,
    /// Its type, rtnetlink(7).
    kind: u16,
    /// The port of the socket whose request it is about; that is usually the PID of its process. 0 for the kernel.
    pub(super) sender: u32,
    body: &'a [u8],
}

impl Notification<'_> {
    /// Returns whether it can be about something that a lab contains. Neighbours that the kernel has learned are not.
    pub(super) fn concerns_labs(&self) -> bool {
        if !matches!(self.kind, libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH) {
            return true;
        }
        // struct ndmsg: family, 3 bytes of padding, index (4), state (2), flags (1).
        let (Some(&family), Some(state), Some(&flags)) = (self.body.first(), self.body.get(8..10), self.body.get(10)) else {
            return false;
        };
        /// Neighbours that somebody has added, and what becomes of those that are deleted.
        const KEPT: u16 = libc::NUD_PERMANENT | libc::NUD_NOARP | libc::NUD_FAILED;
        let state = u16::from_ne_bytes([state[0], state[1]]);
        let is_kept = state & KEPT != 0 || state == 0 || flags & libc::NTF_PROXY != 0;
        libc::c_int::from(family) != libc::AF_BRIDGE && is_kept && !self.is_to_many()
    }

    /// Returns whether it is about a neighbour with a multicast or broadcast address, which the kernel makes as it needs it.
    fn is_to_many(&self) -> bool {
        /// The length of struct ndmsg.
        const START: usize = 12;
        let is_inet = self.body.first().is_some_and(|family| libc::c_int::from(*family) == libc::AF_INET);
        // The first attribute is NDA_DST. 224.0.0.0 and above are no hosts, and neither is ff00::/8.
        let least = if is_inet { 224 } else { 0xff };
        self.body.get(START + 4).is_some_and(|first| *first >= least)
    }
}

/// Makes the receive buffer as large as this, whatever the limit of the system is (SO_RCVBUFFORCE).
pub(super) fn force_buffer(socket: &RawSocket, size: usize) -> io::Result<()> {
    let size = libc::c_int::try_from(size).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the option is a number, and `length` is its length.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, (&raw const size).cast(), length) };
    Ok(Errno::result(set).map(drop)?)
}

/// Passes all notifications that have arrived to `each`. Returns whether some were lost, because they arrived faster than they were received.
pub(super) fn all(socket: &RawSocket, mut each: impl FnMut(&Notification<'_>)) -> io::Result<bool> {
    let mut buffer = vec![0_u8; DATAGRAM];
    let mut lost = false;
    loop {
        match one(socket, &mut buffer) {
            Ok((length, nsid)) => messages(&buffer[..length], nsid, &mut each),
            Err(Errno::EAGAIN) => return Ok(lost),
            Err(Errno::ENOBUFS) => lost = true,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Splits a datagram.
fn messages(mut datagram: &[u8], nsid: Option<i32>, each: &mut impl FnMut(&Notification<'_>)) {
    let number = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    while let Some(header) = datagram.get(..HEADER) {
        let length = number(&header[..4]) as usize;
        let Some(body) = datagram.get(HEADER..length) else { return };
        each(&Notification { nsid, kind: u16::from_ne_bytes([header[4], header[5]]), sender: number(&header[12..]), body });
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// Receives a datagram. Returns its length and the number of its namespace.
fn one(socket: &RawSocket, buffer: &mut [u8]) -> Result<(usize, Option<i32>), Errno> {
    /// `NETLINK_LISTEN_ALL_NSID` as the type of a control message (linux/netlink.h).
    const NSID: libc::c_int = 8;
    // Aligned as struct cmsghdr wants it.
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a struct of numbers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message describes buffers of this length that live until the call returns.
    let received = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    let mut nsid = None;
    // SAFETY: the kernel has written the control messages, and the library's functions stay inside of `msg_controllen`.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(control) = next.as_ref() {
            if control.cmsg_level == libc::SOL_NETLINK && control.cmsg_type == NSID {
                nsid = Some(libc::CMSG_DATA(control).cast::<i32>().read_unaligned());
            }
            next = libc::CMSG_NXTHDR(&raw const message, control);
        }
    }
    let length = usize::try_from(received).map_err(|_| Errno::EBADMSG)?;
    Ok((length.min(buffer.len()), nsid))
}

//! The receive buffer: of one datagram, or of several that are received in one system call.

use std::cell::RefCell;
use std::io;
use std::mem::{take, zeroed};
use std::os::fd::RawFd;

use nix::libc;

/// The maximum size of a datagram of answers (NLMSG_GOODSIZE is below 32 KiB).
const LENGTH: usize = 64 * 1024;
/// The space for each of several datagrams. The kernel allocates the datagrams of a dump as large as the space: small ones are cheaper,
/// and suffice for most namespaces.
const SPACE: usize = 7 * 1024;
/// The maximum number of datagrams to receive at once.
const MOST: usize = LENGTH / SPACE;

thread_local! {
    static STORAGE: RefCell<Storage> = const { RefCell::new(Storage { bytes: Vec::new(), space: SPACE }) };
}

/// Shared by all sockets of the thread, because a lab has a socket for each namespace.
struct Storage {
    bytes: Vec<u8>,
    /// The space for each of several datagrams.
    space: usize,
}

/// The thread's receive buffer, taken for one exchange.
pub(super) struct Buffer {
    storage: Storage,
    /// The lengths of the datagrams, followed by zeros.
    lengths: [usize; MOST],
}

/// Datagrams did not fit into the socket's receive buffer or into this one, and are lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Buffer {
    pub(super) fn take() -> Self {
        let mut storage = STORAGE.with_borrow_mut(|kept| Storage { bytes: take(&mut kept.bytes), space: kept.space });
        if storage.bytes.is_empty() {
            storage.bytes = vec![0; LENGTH];
        }
        Self { storage, lengths: [0; MOST] }
    }

    /// Sets the space for each of several datagrams of this thread.
    #[cfg(test)]
    pub(super) fn expect(space: usize) {
        STORAGE.with_borrow_mut(|kept| kept.space = space);
    }

    /// Returns the buffer for one datagram.
    pub(super) fn whole(&mut self) -> &mut [u8] {
        &mut self.storage.bytes
    }

    /// Waits for a datagram, and receives it and as many others as have arrived and as there is space for.
    ///
    /// # Errors
    /// Fails if the socket fails, or a datagram is longer than the whole buffer.
    pub(super) fn receive(&mut self, socket: RawFd) -> io::Result<Result<(), Lost>> {
        // SAFETY: `mmsghdr` and `iovec` are plain data; zeros mean no name, no control message and no space.
        let (mut headers, mut vectors) = unsafe { (zeroed::<[libc::mmsghdr; MOST]>(), zeroed::<[libc::iovec; MOST]>()) };
        let mut count = 0;
        for (space, (header, vector)) in
            self.storage.bytes.chunks_exact_mut(self.storage.space).zip(headers.iter_mut().zip(&mut vectors))
        {
            *vector = libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() };
            (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (vector, 1);
            count += 1;
        }
        let flags = libc::MSG_WAITFORONE | libc::MSG_TRUNC;
        // SAFETY: the first `count` headers point to vectors, and these to spaces of `self.storage.bytes`; nothing else uses them meanwhile.
        let received = unsafe { libc::recvmmsg(socket, headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
        self.lengths = [0; MOST];
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENOBUFS) { Ok(Err(Lost)) } else { Err(error) };
        };
        for (length, header) in self.lengths.iter_mut().zip(&headers[..received]) {
            *length = header.msg_len as usize;
        }
        match self.lengths.iter().copied().max() {
            Some(longest) if longest > LENGTH => Err(io::Error::other("a netlink message was truncated")),
            Some(longest) if longest > self.storage.space => {
                self.storage.space = longest.next_power_of_two();
                Ok(Err(Lost))
            }
            _ => Ok(Ok(())),
        }
    }

    /// Returns the received datagrams.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let received = self.lengths.iter().take_while(|length| **length > 0);
        self.storage.bytes.chunks_exact(self.storage.space).zip(received).map(|(space, length)| &space[..*length])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Storage { bytes, space } = &mut self.storage;
        STORAGE.set(Storage { bytes: take(bytes), space: *space });
    }
}

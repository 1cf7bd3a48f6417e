//! Messages in JSON with descriptors, over a pair of sockets that keeps messages apart, unix(7), or over a stream on which nothing follows
//! before the answer.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message.
const MESSAGE: usize = 1 << 15;

/// Makes a pair of sockets.
///
/// # Errors
/// Fails if there are no more descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends a message with descriptors, at most three.
///
/// # Errors
/// Fails if nobody can receive it.
pub fn send(socket: BorrowedFd<'_>, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let descriptors: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let rights = if descriptors.is_empty() { &rights[..0] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&text)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives a message and its descriptors; `None` at the end.
///
/// # Errors
/// Fails if the message is malformed.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE];
    let mut space = cmsg_space!([RawFd; 3]);
    let (length, descriptors) = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(message) => {
                let rights = message.cmsgs()?.flat_map(|part| match part {
                    ControlMessageOwned::ScmRights(rights) => rights,
                    _ => Vec::new(),
                });
                // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows them.
                break (message.bytes, rights.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }).collect());
            }
        }
    };
    match bytes.get(..length) {
        None | Some([]) => Ok(None),
        Some(text) => Ok(Some((serde_json::from_slice(text)?, descriptors))),
    }
}

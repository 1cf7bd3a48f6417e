//! The socket on which a process tells that it is ready, sd_notify(3).
//!
//! Its name is an abstract one that the kernel chooses: it belongs to the network namespace of the node, and is reached from any mount
//! namespace and root directory, leaves nothing behind, and cannot be taken by a file of the node.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname, recvmsg,
    setsockopt, socket, sockopt,
};

/// What a process says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notice {
    /// It is ready.
    pub is_ready: bool,
    /// Another process is the main one from now on.
    pub main: Option<i32>,
    /// What it is doing, for people.
    pub message: Option<String>,
}

/// The socket of one process.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: OwnedFd,
    /// The value of `NOTIFY_SOCKET`.
    pub address: String,
}

impl NotifySocket {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let address: UnixAddr = getsockname(socket.as_raw_fd())?;
        let name = address.as_abstract().and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| io::Error::other("the kernel chose an unusual name for a socket"))?;
        let address = format!("@{name}");
        Ok(Self { socket, address })
    }

    /// Returns the next notice; `None` if there is none. Those of other users than root and `uid` say nothing.
    pub(super) fn receive(&self, uid: u32) -> Option<Notice> {
        let mut buffer = [0; 4096];
        loop {
            let mut control = cmsg_space!(UnixCredentials);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            // Descriptors in the message have no room in `control`, and are closed.
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = match recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                Err(Errno::EINTR) => continue,
                other => other.ok()?,
            };
            let sender = message.cmsgs().ok().and_then(|mut messages| {
                messages.find_map(|message| match message {
                    ControlMessageOwned::ScmCredentials(sender) => Some(sender.uid()),
                    _ => None,
                })
            });
            let length = message.bytes;
            let is_trusted = sender.is_some_and(|sender| sender == 0 || sender == uid);
            return Some(if is_trusted { parse(&String::from_utf8_lossy(&buffer[..length])) } else { Notice::default() });
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn parse(text: &str) -> Notice {
    let mut notice = Notice::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "READY" => notice.is_ready = value == "1",
            // The init itself is 1, and numbers below mean groups of processes.
            "MAINPID" => notice.main = value.parse().ok().filter(|pid| *pid > 1),
            "STATUS" => notice.message = Some(value.chars().take(200).collect()),
            _ => {}
        }
    }
    notice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read() {
        let notice = parse("STATUS=working\nX_OTHER=1\nREADY=1\nMAINPID=77\n");
        assert_eq!(notice, Notice { is_ready: true, main: Some(77), message: Some("working".into()) });
        assert_eq!(parse("READY=0\nMAINPID=1\nnothing"), Notice::default());
        assert_eq!(parse("MAINPID=-1"), Notice::default());
    }
}

//! Reads and writes sysctls as files of procfs, on a thread inside the namespace: /proc/sys/net contains the sysctls of the thread's
//! network namespace. Uses a netlink message if there is one.

pub(in crate::kernel::linux) mod all;
pub(in crate::kernel::linux) mod inherited;
mod tree;

use std::io::{self, Read, Write};

use netlink_packet_core::NlasIterator;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::kernel::linux::wire::Socket;
use crate::resource::sysctl::{Sysctl, SysctlKey};

/// The maximum length of a value.
const LENGTH: u64 = 64 * 1024;

/// Reads a sysctl; `None` if this kernel does not have it, or if it has no value: `stable_secret` that was never set (EIO), or one
/// that can only be written (EACCES).
///
/// # Errors
/// Fails if the system refuses to open or read it for another reason.
pub fn read(key: &SysctlKey) -> io::Result<Option<Sysctl>> {
    let mut text = String::new();
    let length = tree::open(key, OFlag::O_RDONLY).and_then(|file| file.take(LENGTH).read_to_string(&mut text));
    match length {
        Ok(_) => Ok(Some(Sysctl::new(&text))),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::EIO | Errno::EACCES | Errno::EPERM) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Reads a sysctl by a netlink message in the socket's namespace; `None` if there is no message for it, or no answer.
pub fn ask(socket: &mut Socket, key: &SysctlKey) -> Option<Sysctl> {
    const RTM_NEWNETCONF: u16 = 80;
    const RTM_GETNETCONF: u16 = 82;
    const NETCONFA_IFINDEX: u16 = 1;
    const NETCONFA_FORWARDING: u16 = 2;
    const NETCONFA_IFINDEX_ALL: i32 = -1;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let family = match key.path() {
        "net/ipv4/ip_forward" => AF_INET,
        "net/ipv6/conf/all/forwarding" => AF_INET6,
        _ => return None,
    };
    let mut request = vec![family, 0, 0, 0];
    request.extend(8_u16.to_ne_bytes());
    request.extend(NETCONFA_IFINDEX.to_ne_bytes());
    request.extend(NETCONFA_IFINDEX_ALL.to_ne_bytes());
    let mut forwarding = None;
    let answer = socket.ask(RTM_GETNETCONF, &request, |kind, body| {
        let attributes = NlasIterator::new(body.get(4..).unwrap_or_default()).flatten();
        let found = attributes.filter(|_| kind == RTM_NEWNETCONF).find(|attribute| attribute.kind() == NETCONFA_FORWARDING);
        forwarding = found.and_then(|attribute| attribute.value().first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)));
        Ok(())
    });
    forwarding.filter(|_| answer.is_ok()).map(|value| Sysctl::new(&value.to_string()))
}

/// Writes a sysctl.
///
/// # Errors
/// Fails if this kernel does not have it, or refuses the value.
pub fn write(key: &SysctlKey, value: &str) -> io::Result<()> {
    let mut file = tree::open(key, OFlag::O_WRONLY | OFlag::O_NOFOLLOW)?;
    // The kernel requires a single write.
    let written = file.write(value.as_bytes())?;
    if written == value.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::EINVAL)) }
}

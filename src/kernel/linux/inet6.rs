//! IPv6 of the machine: whether there is any, and an address and a default route for an interface that another program has made.

use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::procfs::Problem;
use super::wire::{Batch, Socket};

/// Returns why the kernel has no IPv6, and the remedy; `None` if it has.
pub fn problem() -> Option<Problem> {
    let is_there = Path::new("/proc/self/net/if_inet6").exists();
    (!is_there).then(|| why(std::fs::read_to_string("/sys/module/ipv6/parameters/disable").ok().as_deref()))
}

/// Explains the lack by the module's parameter `disable`.
fn why(disable: Option<&str>) -> Problem {
    let (cause, remedy) = match disable {
        Some(text) if text.trim() == "1" => (
            "the kernel was started with `ipv6.disable=1`, so it has no IPv6",
            "remove `ipv6.disable=1` from the kernel's command line and start the machine again; or leave IPv6 out of the lab file",
        ),
        _ => (
            "this kernel has no IPv6",
            "load the kernel module `ipv6` as root (`modprobe ipv6`); or leave IPv6 out of the lab file",
        ),
    };
    Problem { cause: cause.to_owned(), remedy: remedy.to_owned() }
}

/// The prefix length of the address.
const PREFIX_LENGTH: u8 = 64;

/// Adds an address, without duplicate address detection, and a default route through a gateway, in the calling thread's namespace.
///
/// # Errors
/// Fails if the interface does not exist or the kernel refuses one of them.
pub fn configure(interface: &str, address: Ipv6Addr, gateway: Ipv6Addr) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let mut batch = Batch::default();
    batch.push(add_address(index, address), NLM_F_CREATE | NLM_F_REPLACE);
    batch.push(add_default_route(index, gateway), NLM_F_CREATE | NLM_F_REPLACE);
    match Socket::open()?.execute(&mut batch)?.first() {
        Some(refusal) => Err(io::Error::from_raw_os_error(refusal.errno.number)),
        None => Ok(()),
    }
}

fn add_address(index: u32, address: Ipv6Addr) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = PREFIX_LENGTH;
    message.header.index = index;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes.push(AddressAttribute::Address(address.into()));
    RouteNetlinkMessage::NewAddress(message)
}

fn add_default_route(index: u32, gateway: Ipv6Addr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet6(gateway)));
    message.attributes.push(RouteAttribute::Oif(index));
    RouteNetlinkMessage::NewRoute(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_is_explained() {
        assert!(why(Some("1\n")).remedy.contains("command line"));
        assert!(why(Some("0\n")).remedy.contains("modprobe ipv6") && why(None).cause.contains("no IPv6"));
    }
}

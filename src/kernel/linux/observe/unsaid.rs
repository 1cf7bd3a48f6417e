//! Finds what somebody has configured in a namespace and no lab file can say: queueing disciplines, nftables, nexthop objects.
//!
//! The numbers are those of linux/rtnetlink.h, linux/pkt_sched.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.

use netlink_packet_core::NlasIterator;
use nix::libc;

use crate::kernel::linux::wire::{DumpError, Socket};
use crate::resource::link::Ifindex;

/// Something that no lab file can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsaid {
    /// A queueing discipline of this kind that somebody gave an interface, tc(8).
    Qdisc {
        /// The interface.
        link: Ifindex,
        /// Its kind.
        kind: String,
    },
    /// A table of nftables, with its family, nft(8). Those of iptables-nft are such, too.
    Table(String),
    /// So many nexthop objects, `ip nexthop`.
    Nexthops(usize),
}

/// Looks into the namespace of the socket and of the calling thread.
///
/// # Errors
/// Fails if the kernel does not answer. One that lacks any of this has none of it.
pub fn in_this_namespace(socket: &mut Socket) -> Result<Vec<Unsaid>, DumpError> {
    let mut found = if_supported(qdiscs(socket))?;
    found.extend(if_supported(tables())?.into_iter().map(Unsaid::Table));
    let nexthops = if_supported(nexthops(socket))?;
    found.extend((nexthops > 0).then_some(Unsaid::Nexthops(nexthops)));
    Ok(found)
}

/// Returns nothing if the kernel does not know the request, or not the subsystem of netfilter.
fn if_supported<T: Default>(found: Result<T, DumpError>) -> Result<T, DumpError> {
    match found {
        Err(DumpError::Refused(errno)) if matches!(errno.number, libc::EOPNOTSUPP | libc::EINVAL) => Ok(T::default()),
        found => found,
    }
}

/// Finds the queueing disciplines with a handle: those that the kernel makes by itself have none.
fn qdiscs(socket: &mut Socket) -> Result<Vec<Unsaid>, DumpError> {
    const RTM_NEWQDISC: u16 = 36;
    const RTM_GETQDISC: u16 = 38;
    const TCMSG: usize = 20;
    const TCA_KIND: u16 = 1;
    const TC_H_ROOT: u32 = u32::MAX;
    const TC_H_INGRESS: u32 = 0xffff_fff1;
    let mut found = Vec::new();
    socket.list(RTM_GETQDISC, &[0; TCMSG], |kind, body| {
        let word = |at: usize| body.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map(|bytes| u32::from_ne_bytes(*bytes));
        let (Some(link), Some(handle), Some(parent)) = (word(4), word(8), word(12)) else { return Ok(()) };
        if kind == RTM_NEWQDISC && handle != 0 && matches!(parent, TC_H_ROOT | TC_H_INGRESS) {
            let name = attribute(&body[TCMSG..], TCA_KIND).map(|bytes| text(&bytes)).unwrap_or_default();
            found.push(Unsaid::Qdisc { link, kind: name });
        }
        Ok(())
    })?;
    Ok(found)
}

fn nexthops(socket: &mut Socket) -> Result<usize, DumpError> {
    const RTM_NEWNEXTHOP: u16 = 104;
    const RTM_GETNEXTHOP: u16 = 106;
    const NHMSG: usize = 8;
    let mut count = 0;
    socket.list(RTM_GETNEXTHOP, &[0; NHMSG], |kind, _| {
        count += usize::from(kind == RTM_NEWNEXTHOP);
        Ok(())
    })?;
    Ok(count)
}

/// Lists the tables of nftables.
fn tables() -> Result<Vec<String>, DumpError> {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    const NFT_MSG_NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
    const NFT_MSG_GETTABLE: u16 = NFT_MSG_NEWTABLE | 1;
    const NFGENMSG: usize = 4;
    const NFTA_TABLE_NAME: u16 = 1;
    let mut socket = match Socket::open_netfilter() {
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(Vec::new()),
        socket => socket?,
    };
    let mut found = Vec::new();
    socket.list(NFT_MSG_GETTABLE, &[0; NFGENMSG], |kind, body| {
        if let (NFT_MSG_NEWTABLE, Some(family)) = (kind, body.first()) {
            let family = match family {
                1 => "inet",
                2 => "ip",
                3 => "arp",
                5 => "netdev",
                7 => "bridge",
                10 => "ip6",
                _ => "?",
            };
            let name = body.get(NFGENMSG..).and_then(|body| attribute(body, NFTA_TABLE_NAME)).map(|bytes| text(&bytes));
            found.push(format!("{family} {}", name.unwrap_or_default()));
        }
        Ok(())
    })?;
    Ok(found)
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let mut attributes = NlasIterator::new(bytes).flatten();
    attributes.find(|attribute| attribute.kind() == wanted).map(|attribute| attribute.value().to_vec())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

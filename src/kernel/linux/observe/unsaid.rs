//! Finds what somebody has configured in a namespace and no lab file can say: queueing disciplines, nftables, nexthop objects.

use netlink_packet_core::NlasIterator;

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
/// Fails if the kernel does not answer. One that has no nftables has no tables.
pub fn in_this_namespace(socket: &mut Socket) -> Result<Vec<Unsaid>, DumpError> {
    let mut found = qdiscs(socket)?;
    found.extend(tables()?.into_iter().map(Unsaid::Table));
    let nexthops = nexthops(socket)?;
    found.extend((nexthops > 0).then_some(Unsaid::Nexthops(nexthops)));
    Ok(found)
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
    let Ok(mut socket) = Socket::open_netfilter() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let listed = socket.list(NFT_MSG_GETTABLE, &[0; NFGENMSG], |kind, body| {
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
    });
    match listed {
        // Without the module, the subsystem is unknown (EINVAL) or not there.
        Err(_) if found.is_empty() => Ok(found),
        listed => listed.map(|()| found),
    }
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let mut attributes = NlasIterator::new(bytes).flatten();
    attributes.find(|attribute| attribute.kind() == wanted).map(|attribute| attribute.value().to_vec())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

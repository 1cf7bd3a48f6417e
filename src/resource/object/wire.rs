//! Requests of rtnetlink(7), and decoding of the parts of messages, for objects and links.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLA_ALIGNTO, NLA_HEADER_SIZE, NLA_TYPE_MASK};
use netlink_packet_route::RouteNetlinkMessage;

use super::Maker;
use crate::name::LinkName;
use crate::resource::link::Ifindex;

/// IPv4 (AF_INET).
pub const AF_INET: u8 = 2;
/// IPv6 (AF_INET6).
pub const AF_INET6: u8 = 10;
/// The protocol of connected routes and other objects that the kernel adds.
pub const RTPROT_KERNEL: u8 = 2;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The message.
    pub message: RouteNetlinkMessage,
    /// The flags in addition to NLM_F_REQUEST: NLM_F_CREATE, NLM_F_EXCL and the like.
    pub flags: u16,
}

/// A request that lists objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// The request.
    pub request: RouteNetlinkMessage,
    /// The family of the answers; `None` for all. A kernel without the family sends those of other families, which are ignored.
    pub family: Option<u8>,
}

/// The names of the links of one namespace by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Vec<(Ifindex, LinkName)>);

impl Names {
    /// Sorts the names of these links.
    pub fn new(links: impl Iterator<Item = (Ifindex, LinkName)>) -> Self {
        let mut names: Vec<_> = links.collect();
        names.sort_unstable();
        Self(names)
    }

    /// Returns the link with that index.
    pub fn get(&self, index: Ifindex) -> Option<LinkName> {
        self.0.binary_search_by_key(&index, |(index, _)| *index).ok().map(|at| self.0[at].1)
    }

    /// The index of `lo`.
    pub const LOOPBACK: Ifindex = 1;
}

/// Information about objects from messages of other objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The destinations of connected routes, sorted before [`super::Object::arrange`].
    pub connected: Vec<(IpNet, LinkName)>,
    /// IPv6 addresses that duplicate address detection is not finished with, those that the kernel made included.
    pub tentative: Vec<(LinkName, IpAddr)>,
    /// The addresses that local routes lead to, sorted before [`super::Object::arrange`].
    pub local: Vec<(IpAddr, LinkName)>,
}

/// The context of decoding.
pub struct Reading<'a> {
    /// The links of the namespace.
    pub names: &'a Names,
    /// Whether this kernel reports the protocol of addresses (IFA_PROTO, Linux 5.18).
    pub tells_address_makers: bool,
    /// Information about other objects, to be added to.
    pub notes: &'a mut Notes,
}

/// An object as the kernel reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<O: super::Object> {
    /// Its key.
    pub key: O::Key,
    /// The object.
    pub value: O,
    /// The creator.
    pub maker: Maker,
}

/// Decodes a number in native byte order.
///
/// # Errors
/// Fails if there are fewer than four bytes.
pub fn number(bytes: &[u8]) -> Result<u32, String> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| "a truncated number".into())
}

/// Decodes a text, up to the first zero byte.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

/// Decodes an address of four or sixteen bytes.
///
/// # Errors
/// Fails if it has another length.
pub fn ip(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).map_err(|_| "an address of an unknown length")?;
    Ok(Ipv6Addr::from(octets).into())
}

/// Returns the attributes in a message: types without flags, and values (`struct nlattr`). Fast, because a plan of a thousand namespaces
/// decodes several hundred thousand attributes.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((length, kind, value)) = first_attribute(bytes) else {
            bytes = &[];
            return Some(Err("a truncated attribute".into()));
        };
        // The last attribute may lack its padding.
        bytes = bytes.get(length.next_multiple_of(NLA_ALIGNTO)..).unwrap_or_default();
        Some(Ok((kind, value)))
    })
}

/// Returns the first attribute with its length in bytes.
fn first_attribute(bytes: &[u8]) -> Option<(usize, u16, &[u8])> {
    let [l0, l1, k0, k1] = *bytes.first_chunk()?;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    Some((length, u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, bytes.get(NLA_HEADER_SIZE..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_attributes_are_an_error() {
        let all = |bytes: &[u8]| attributes(bytes).collect::<Result<Vec<_>, _>>().map(|all| all.len());
        let whole = [5_u8, 0, 1, 0x80, 7, 0, 0, 0, 5, 0, 2, 0, 9];
        let found: Vec<_> = attributes(&whole).map(Result::unwrap).collect();
        assert_eq!(found, [(1, &[7][..]), (2, &[9][..])]);
        for cut in [1, 3, 4, 9, 12] {
            assert!(all(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(all(&[3, 0, 1, 0]).is_err());
        assert!(all(&[0; 8]).is_err());
        assert_eq!(all(&[]), Ok(0));
    }
}

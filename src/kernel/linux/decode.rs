//! What the kernel reports into resources: links, addresses and routes of one namespace, with numbers still to be resolved.

mod address;
mod link;
mod route;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_ALIGNTO, NLA_HEADER_SIZE, NLA_TYPE_MASK};

pub use address::{RawAddress, address};
pub use link::{RawLink, link};
pub use route::{Connected, RawRoute, connected_route, route, route_protocol};

fn number(bytes: &[u8]) -> Result<u32, String> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| "a number that is cut off".into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

/// The attributes in a message: their types without flags, and their values (`struct nlattr`). A plan of a thousand namespaces goes through
/// some hundred thousand.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((length, kind, value)) = first_attribute(bytes) else {
            bytes = &[];
            return Some(Err("an attribute that is cut off".into()));
        };
        // The last one may lack what fills it up.
        bytes = bytes.get(length.next_multiple_of(NLA_ALIGNTO)..).unwrap_or_default();
        Some(Ok((kind, value)))
    })
}

/// The first attribute with its length in bytes.
fn first_attribute(bytes: &[u8]) -> Option<(usize, u16, &[u8])> {
    let [l0, l1, k0, k1] = *bytes.first_chunk()?;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    Some((length, u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, bytes.get(NLA_HEADER_SIZE..length)?))
}

fn ip(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).map_err(|_| "an address of an unknown length")?;
    Ok(Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_that_are_cut_off_are_an_error() {
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

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = link(&bytes);
            let _ = address(&bytes);
            let _ = connected_route(&bytes);
            if route_protocol(&bytes).is_some() {
                let _ = route(&bytes);
            }
        }
    }
}

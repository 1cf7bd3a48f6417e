//! What the kernel reports into resources: links, addresses and routes of one namespace, with numbers still to be resolved.

mod address;
mod link;
mod route;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};

pub use address::{RawAddress, address};
pub use link::{RawLink, link};
pub use route::{Connected, RawRoute, connected_route, route, route_protocol};

fn number(bytes: &[u8]) -> Result<u32, String> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| "a number that is cut off".into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

/// The attributes in a message: their types without flags, and their values.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), String>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
        Ok((kind, attribute.into_inner().get(NLA_HEADER_SIZE..end).unwrap_or_default()))
    })
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

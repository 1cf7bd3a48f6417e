//! Neighbours in rtnetlink messages: RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH (linux/neighbour.h).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteProtocol, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{LinkAddress, Neighbor, NeighborKey, Nud};
use crate::ownership;
use crate::resource::object::wire::{AF_INET, AF_INET6, Dump, Found, Names, Request, attributes, ip, number};
use crate::resource::object::{At, Maker};

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_PROTOCOL: u16 = 12;
const NDA_FLAGS_EXT: u16 = 15;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;

/// Entries, and proxies, of both families each: the kernel lists one table after the other, and does not lock all networks for it.
pub(super) fn dumps() -> Vec<Dump> {
    let dump = |flags: NeighbourFlags| {
        let mut message = NeighbourMessage::default();
        message.header.flags = flags;
        Dump { request: RouteNetlinkMessage::GetNeighbour(message), family: None }
    };
    vec![dump(NeighbourFlags::empty()), dump(NeighbourFlags::Proxy)]
}

/// Decodes a neighbour. What is not permanent is the kernel's, unless it carries topo's protocol; so is what it has not resolved.
pub(super) fn decode(body: &[u8], names: &Names) -> Result<Option<Found<Neighbor>>, String> {
    let Some(&[family, _, _, _, i0, i1, i2, i3, s0, s1, flags, _]) = body.first_chunk::<12>() else {
        return Err("a truncated neighbour message".into());
    };
    let (index, state) = (u32::from_ne_bytes([i0, i1, i2, i3]), u16::from_ne_bytes([s0, s1]));
    let flags = NeighbourFlags::from_bits_retain(flags);
    let (mut to, mut protocol, mut value) = (None, 0, Neighbor::default());
    for attribute in attributes(&body[12..]) {
        match attribute? {
            (NDA_DST, bytes) => to = Some(ip(bytes)?),
            (NDA_LLADDR, bytes) => value.lladdr = Some(LinkAddress(bytes.to_vec())),
            (NDA_PROTOCOL, bytes) => protocol = bytes.first().copied().unwrap_or(0),
            (NDA_FLAGS_EXT, bytes) => value.managed = number(bytes)? & NeighbourExtFlags::Managed.bits() != 0,
            _ => {}
        }
    }
    let (proxy, dev) = (flags.contains(NeighbourFlags::Proxy), names.get(index));
    // Bridges have neighbours of their own.
    let Some((to, dev)) = to.zip(dev).filter(|_| [AF_INET, AF_INET6].contains(&family)) else { return Ok(None) };
    value.router = flags.contains(NeighbourFlags::Router);
    value.extern_learn = flags.contains(NeighbourFlags::ExtLearned);
    let maker = Maker::of_protocol(protocol);
    if !proxy {
        let Some(nud) = nud(state, value.managed) else { return Ok(None) };
        value.nud = nud;
        let may_be_by_hand = !value.managed && (nud == Nud::Permanent || nud == Nud::Noarp && !to.is_multicast());
        if maker != Maker::Topo && !may_be_by_hand {
            return Ok(None);
        }
        // Of entries that are never resolved, the kernel makes some by itself.
        if nud == Nud::Noarp && maker == Maker::Hand {
            return Ok(Some(Found { key: NeighborKey { proxy, dev, to }, value, maker: Maker::Unknown }));
        }
    }
    if proxy || value.managed {
        value.lladdr = None;
    }
    Ok(Some(Found { key: NeighborKey { proxy, dev, to }, value, maker }))
}

/// The state; `None` when the entry is of no use. That of a managed entry does not matter.
fn nud(state: u16, managed: bool) -> Option<Nud> {
    match state {
        _ if managed => Some(Nud::default()),
        NUD_PERMANENT => Some(Nud::Permanent),
        NUD_NOARP => Some(Nud::Noarp),
        NUD_REACHABLE => Some(Nud::Reachable),
        NUD_STALE | NUD_DELAY | NUD_PROBE => Some(Nud::Stale),
        _ => None,
    }
}

/// The creation of a neighbour. With NLM_F_REPLACE even where there is none: the kernel may have learnt an entry meanwhile.
pub(super) fn put(at: &At<Neighbor>) -> Vec<Request> {
    let (key, value) = (&at.key, &at.value);
    let mut message = message(at);
    let header = &mut message.header;
    header.flags.set(NeighbourFlags::Router, value.router);
    header.flags.set(NeighbourFlags::ExtLearned, value.extern_learn);
    header.state = match value.nud {
        _ if value.managed => NeighbourState::None,
        // Of proxies newer kernels spare these when the carrier is lost.
        _ if key.proxy => NeighbourState::Permanent,
        Nud::Permanent => NeighbourState::Permanent,
        Nud::Noarp => NeighbourState::Noarp,
        Nud::Reachable => NeighbourState::Reachable,
        Nud::Stale => NeighbourState::Stale,
    };
    let list = &mut message.attributes;
    list.extend(value.lladdr.iter().map(|lladdr| NeighbourAttribute::LinkLayerAddress(lladdr.0.clone())));
    list.extend(value.managed.then_some(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed)));
    // In a lab's own namespaces, too: the kernel's entries have none, and an entry that ages could not be told from them.
    list.push(NeighbourAttribute::Protocol(RouteProtocol::Other(ownership::PROTOCOL)));
    vec![Request { message: RouteNetlinkMessage::NewNeighbour(message), flags: NLM_F_CREATE | NLM_F_REPLACE }]
}

/// The deletion of a neighbour.
pub(super) fn remove(at: &At<Neighbor>) -> Vec<Request> {
    vec![Request { message: RouteNetlinkMessage::DelNeighbour(message(at)), flags: 0 }]
}

/// A message that names the neighbour.
fn message(at: &At<Neighbor>) -> NeighbourMessage {
    let key = &at.key;
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: if key.to.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet },
        ifindex: at.index(),
        state: NeighbourState::None,
        flags: if key.proxy { NeighbourFlags::Proxy } else { NeighbourFlags::empty() },
        kind: RouteType::Unspec,
    };
    message.attributes.push(NeighbourAttribute::Destination(key.to.into()));
    message
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;
    use crate::name::NamespaceName;

    const INDEX: u32 = 7;

    fn names() -> Names {
        Names::new([(INDEX, "eth0".parse().unwrap())].into_iter())
    }

    fn at(key: &NeighborKey, value: &Neighbor) -> At<Neighbor> {
        At::new(&NamespaceName::host(), key, value, |_| Some(INDEX))
    }

    fn message_of(request: &Request) -> NeighbourMessage {
        match &request.message {
            RouteNetlinkMessage::NewNeighbour(message) | RouteNetlinkMessage::DelNeighbour(message) => message.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn read(message: &NeighbourMessage) -> Option<Found<Neighbor>> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        decode(&bytes, &names()).unwrap()
    }

    fn key(to: &str) -> NeighborKey {
        NeighborKey { proxy: false, dev: "eth0".parse().unwrap(), to: to.parse().unwrap() }
    }

    fn entry(nud: Nud) -> Neighbor {
        Neighbor { nud, lladdr: "02:00:00:00:00:07".parse().ok(), ..Neighbor::default() }
    }

    fn survives(key: &NeighborKey, value: &Neighbor) {
        let found = read(&message_of(&put(&at(key, value))[0]));
        assert_eq!(found, Some(Found { key: key.clone(), value: value.clone(), maker: Maker::Topo }));
    }

    #[test]
    fn every_attribute_survives_the_wire() {
        let managed = Neighbor { managed: true, ..Neighbor::default() };
        for to in ["10.0.0.7", "2001:db8::7"] {
            let entries = [Nud::Permanent, Nud::Noarp, Nud::Reachable, Nud::Stale].map(entry);
            for value in entries.into_iter().chain([managed.clone()]) {
                survives(&key(to), &value);
                survives(&key(to), &Neighbor { router: true, ..value.clone() });
                survives(&key(to), &Neighbor { extern_learn: true, ..value });
            }
            let proxy = NeighborKey { proxy: true, ..key(to) };
            survives(&proxy, &Neighbor::default());
            survives(&proxy, &Neighbor { router: true, ..Neighbor::default() });
        }
    }

    #[test]
    fn proxies_without_an_interface_are_ignored() {
        let proxy = NeighborKey { proxy: true, ..key("10.0.0.7") };
        let mut message = message_of(&put(&at(&proxy, &Neighbor::default()))[0]);
        message.header.ifindex = 0;
        assert_eq!(read(&message), None);
    }

    #[test]
    fn what_the_kernel_learns_is_its_own() {
        let mut message = message_of(&put(&at(&key("10.0.0.7"), &entry(Nud::Permanent)))[0]);
        message.attributes.retain(|attribute| !matches!(attribute, NeighbourAttribute::Protocol(_)));
        assert_eq!(read(&message).unwrap().maker, Maker::Hand);
        for state in [NeighbourState::Reachable, NeighbourState::Stale] {
            message.header.state = state;
            assert_eq!(read(&message), None);
        }
        message.header.state = NeighbourState::Noarp;
        assert_eq!(read(&message).unwrap().maker, Maker::Unknown);
    }

    #[test]
    fn states_change_by_themselves() {
        let mut message = message_of(&put(&at(&key("10.0.0.7"), &entry(Nud::Reachable)))[0]);
        for (state, nud) in [
            (NeighbourState::Delay, Some(Nud::Stale)),
            (NeighbourState::Probe, Some(Nud::Stale)),
            (NeighbourState::Failed, None),
            (NeighbourState::Incomplete, None),
            (NeighbourState::None, None),
        ] {
            message.header.state = state;
            assert_eq!(read(&message).map(|found| found.value.nud), nud, "{state:?}");
        }
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        message.header.state = NeighbourState::Failed;
        assert!(read(&message).unwrap().value.managed);
    }

    #[test]
    fn bridges_have_entries_of_their_own() {
        let mut message = message_of(&put(&at(&key("10.0.0.7"), &entry(Nud::Permanent)))[0]);
        message.header.family = AddressFamily::Bridge;
        assert_eq!(read(&message), None);
    }

    #[test]
    fn a_deletion_names_the_neighbour_alone() {
        let proxy = NeighborKey { proxy: true, ..key("2001:db8::7") };
        let message = message_of(&remove(&at(&proxy, &Neighbor { router: true, ..Neighbor::default() }))[0]);
        assert_eq!((message.header.flags, message.header.ifindex), (NeighbourFlags::Proxy, INDEX));
        assert_eq!(message.attributes.len(), 1);
    }

    #[test]
    fn truncated_messages_are_an_error() {
        for cut in [0, 11, 13, 17] {
            let message = message_of(&put(&at(&key("10.0.0.7"), &entry(Nud::Permanent)))[0]);
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            assert!(decode(&bytes[..cut], &names()).is_err(), "{cut}");
        }
    }
}

//! Encodes operations as rtnetlink messages.

use std::os::fd::RawFd;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NlasIterator};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage, Prop,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Batch;
use crate::name::{LabName, NamespaceName};
use crate::operation::{LinkChange, LinkHandle, MasterChange, NewLink, NewPeer, PortChange};
use crate::ownership::{self, Mark};
use crate::resource::link::bridge_vlans::VlanChange;
use crate::resource::link::veth::VETH_INFO_PEER;
use crate::resource::link::{FlagBits, Kind, Link, LinkSettings, Queues};
use crate::state::Ifindex;

/// Adds the message that creates a link, or both ends of a pair. `descriptor` returns the descriptor of a namespace, or `None` for the one
/// in which the batch is sent.
pub fn create_link(batch: &mut Batch, lab: &LabName, new: &NewLink, descriptor: impl Fn(&NamespaceName) -> Option<RawFd>) {
    let mut message = end(lab, &new.handle, &new.link, new.up, &descriptor);
    let parent = new.parent.as_ref().map(|parent| parent.index);
    if new.link.kind.parent_attribute().is_none() {
        message.attributes.extend(parent.map(LinkAttribute::Link));
    }
    message.attributes.extend(new.master.as_ref().map(|master| LinkAttribute::Controller(master.index)));
    let data = match &new.peer {
        Some(peer) => peer_data(&end(lab, &peer.handle, &peer.link, false, &descriptor)),
        None => new.link.kind.encode_new(parent),
    };
    message.attributes.push(link_info(new.link.kind.name(), data));
    batch.push(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
}

/// Adds the messages that change the VLANs of a new bridge.
pub fn set_vlans(batch: &mut Batch, new: &NewLink) {
    change_vlans(batch, new.handle.index, new.link.kind.vlan_change().as_ref());
}

/// Adds the messages that change VLANs of a bridge or a port.
fn change_vlans(batch: &mut Batch, index: Ifindex, change: Option<&VlanChange>) {
    for (kind, body) in change.iter().flat_map(|change| change.requests(index)) {
        batch.push_bytes(kind, &body, 0);
    }
}

/// Adds messages that create a link for `host` in the lab's namespace of its parent, under an unused name, and move it to `host` with its
/// name and mark. A link created directly in `host` from there would have no mark until a second send.
pub fn create_link_for_host(batch: &mut Batch, lab: &LabName, new: &NewLink, host: RawFd) {
    let index = new.handle.index;
    let mut creation = end(lab, &new.handle, &new.link, false, |_| None);
    creation.attributes.retain(|attribute| !matches!(attribute, LinkAttribute::IfName(_)));
    creation.attributes.push(LinkAttribute::IfName(format!("topo{index}")));
    let parent = new.parent.as_ref().map(|parent| parent.index);
    if new.link.kind.parent_attribute().is_none() {
        creation.attributes.extend(parent.map(LinkAttribute::Link));
    }
    creation.attributes.push(link_info(new.link.kind.name(), new.link.kind.encode(parent)));
    batch.push(RouteNetlinkMessage::NewLink(creation), NLM_F_CREATE | NLM_F_EXCL);
    // The kernel moves the link first, and applies the rest in `host`.
    let mut change = at(index);
    set_flags(&mut change.header, &LinkSettings { up: new.up.then_some(true), ..LinkSettings::default() });
    let attributes = &mut change.attributes;
    attributes.extend([LinkAttribute::NetNsFd(host), LinkAttribute::IfName(new.handle.id.name.into())]);
    attributes.extend([LinkAttribute::IfAlias(ownership::link_alias(lab)), LinkAttribute::Group(ownership::group(lab))]);
    attributes.extend(new.master.as_ref().map(|master| LinkAttribute::Controller(master.index)));
    batch.push_together(RouteNetlinkMessage::SetLink(change), 0);
}

/// Adds the message that marks a link in `host`, sent together with the one that creates it. For the second end of a pair, also adds the
/// message that sets its master and brings it up.
pub fn mark_link(batch: &mut Batch, lab: &LabName, index: Ifindex, second: Option<&NewPeer>) {
    batch.push_together(alias(index, ownership::link_alias(lab)), 0);
    if let Some(peer) = second.filter(|peer| peer.up || peer.master.is_some()) {
        let mut message = at(index);
        set_flags(&mut message.header, &LinkSettings { up: peer.up.then_some(true), ..LinkSettings::default() });
        message.attributes.extend(peer.master.as_ref().map(|master| LinkAttribute::Controller(master.index)));
        batch.push_together(RouteNetlinkMessage::SetLink(message), 0);
    }
}

/// Adds messages that mark `lo` of a new namespace and bring it up.
pub fn new_namespace(batch: &mut Batch, lab: &LabName, namespace: &NamespaceName) {
    const LOOPBACK: Ifindex = 1;
    batch.push(alias(LOOPBACK, ownership::namespace_mark(lab, namespace)), 0);
    let mut message = at(LOOPBACK);
    set_flags(&mut message.header, &LinkSettings { up: Some(true), ..LinkSettings::default() });
    batch.push_together(RouteNetlinkMessage::SetLink(message), 0);
}

/// Returns a message that sets the alias of a link. It is sent separately, before the link is brought up: a change of a link that is up
/// triggers notifiers, upon which IPv6 walks all routes of the namespace and announces its groups again.
fn alias(index: Ifindex, text: String) -> RouteNetlinkMessage {
    let mut message = at(index);
    message.attributes.push(LinkAttribute::IfAlias(text));
    RouteNetlinkMessage::SetLink(message)
}

fn at(index: Ifindex) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn link_info(kind: &str, data: Vec<u8>) -> LinkAttribute {
    let mut info = vec![LinkInfo::Kind(InfoKind::Other(kind.to_owned()))];
    if !data.is_empty() {
        info.push(LinkInfo::Data(InfoData::Other(data)));
    }
    LinkAttribute::LinkInfo(info)
}

/// Returns nothing if messages of their own have all of the options.
fn port_info(PortChange { options, reference }: &PortChange) -> Option<LinkAttribute> {
    let data = options.encode(reference.as_ref().map(|port| port.index));
    let info = |data| {
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Other(options.master().to_owned())),
            LinkInfo::PortData(InfoPortData::Other(data)),
        ])
    };
    (!data.is_empty()).then(|| info(data))
}

/// Returns the message of one new end, with everything that a creating message can contain.
fn end(
    lab: &LabName,
    handle: &LinkHandle,
    link: &Link,
    up: bool,
    descriptor: impl Fn(&NamespaceName) -> Option<RawFd>,
) -> LinkMessage {
    let mut message = at(handle.index);
    set_flags(&mut message.header, &LinkSettings { up: up.then_some(true), ..link.settings.clone() });
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(handle.id.name.into()));
    attributes.extend(descriptor(&handle.id.namespace).map(LinkAttribute::NetNsFd));
    if let Some(Queues { transmit, receive }) = link.queues {
        attributes.push(LinkAttribute::NumTxQueues(transmit));
        attributes.push(LinkAttribute::NumRxQueues(receive));
    }
    if handle.id.namespace.is_host() {
        attributes.push(LinkAttribute::Group(ownership::group(lab)));
    }
    set_attributes(attributes, &link.settings);
    message
}

fn set_attributes(attributes: &mut Vec<LinkAttribute>, settings: &LinkSettings) {
    attributes.extend(settings.encode().into_iter().map(LinkAttribute::Other));
}

fn set_flags(header: &mut LinkHeader, settings: &LinkSettings) {
    let FlagBits { flags, mask } = settings.flag_bits();
    header.flags.insert(LinkFlags::from_bits_retain(flags));
    header.change_mask.insert(LinkFlags::from_bits_retain(mask));
}

fn peer_data(peer: &LinkMessage) -> Vec<u8> {
    use netlink_packet_core::Emitable;
    let mut body = vec![0; peer.buffer_len()];
    peer.emit(&mut body);
    let attribute = [DefaultNla::new(VETH_INFO_PEER, body)];
    let mut data = vec![0; attribute.as_slice().buffer_len()];
    attribute.as_slice().emit(&mut data);
    data
}

/// Adds the changes to an existing link: at most one message each for the options that come first, for its settings and those of its kind,
/// which share a message if the kernel allows it, for its options as a port, for removed names and for added names. Messages of their own
/// change the VLANs of a bridge or a port.
pub fn change_link(batch: &mut Batch, change: &LinkChange) {
    let index = change.handle.index;
    if let Some(first) = change.kind.as_ref().and_then(Kind::changes_first) {
        let mut message = at(index);
        message.attributes.push(link_info(first.name(), first.encode(None)));
        batch.push(RouteNetlinkMessage::NewLink(message), 0);
    }
    let mut message = at(index);
    set_flags(&mut message.header, &change.settings);
    set_attributes(&mut message.attributes, &change.settings);
    match &change.master {
        MasterChange::Keep => {}
        MasterChange::Enslave(master) => message.attributes.push(LinkAttribute::Controller(master.index)),
        MasterChange::Release => message.attributes.push(LinkAttribute::Controller(0)),
    }
    if let Some(Mark { group, alias }) = &change.mark {
        message.attributes.extend([LinkAttribute::Group(*group), LinkAttribute::IfAlias(alias.clone())]);
    }
    let empty = message.attributes.is_empty() && message.header.change_mask.is_empty();
    match &change.kind {
        // Only RTM_NEWLINK changes the options of the kind.
        Some(kind) => {
            if kind.changes_alone() && !empty {
                batch.push(RouteNetlinkMessage::SetLink(std::mem::replace(&mut message, at(index))), 0);
            }
            let data = kind.encode(None);
            if !data.is_empty() || !message.attributes.is_empty() || !message.header.change_mask.is_empty() {
                message.attributes.push(link_info(kind.name(), data));
                batch.push(RouteNetlinkMessage::NewLink(message), 0);
            }
            change_vlans(batch, index, kind.vlan_change().as_ref());
        }
        None if !empty => batch.push(RouteNetlinkMessage::SetLink(message), 0),
        None => {}
    }
    if let Some(port) = &change.port {
        if let Some(info) = port_info(port) {
            let mut message = at(index);
            message.attributes.push(info);
            batch.push(RouteNetlinkMessage::NewLink(message), 0);
        }
        change_vlans(batch, index, port.options.vlan_change().as_ref());
    }
    for (names, message) in [
        (&change.remove_altnames, RouteNetlinkMessage::DelLinkProp as fn(LinkMessage) -> RouteNetlinkMessage),
        (&change.add_altnames, RouteNetlinkMessage::NewLinkProp),
    ] {
        if !names.is_empty() {
            let mut properties = at(index);
            properties.attributes.push(LinkAttribute::PropList(names.iter().cloned().map(Prop::AltIfName).collect()));
            batch.push(message(properties), 0);
        }
    }
}

/// Adds the message that deletes a link.
pub fn delete_link(batch: &mut Batch, link: &LinkHandle) {
    batch.push(RouteNetlinkMessage::DelLink(at(link.index)), 0);
}

/// Adds the message that deletes all links of the lab's group.
pub fn delete_group(batch: &mut Batch, lab: &LabName) {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(ownership::group(lab)));
    batch.push(RouteNetlinkMessage::DelLink(message), 0);
}

const IFLA_EXT_MASK: u16 = 29;

/// Returns the request for all links, without statistics.
pub fn get_links() -> RouteNetlinkMessage {
    const SKIP_STATISTICS: u32 = 8;
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Other(DefaultNla::new(IFLA_EXT_MASK, SKIP_STATISTICS.to_ne_bytes().to_vec())));
    RouteNetlinkMessage::GetLink(message)
}

/// Returns the request for the VLANs of bridges and their ports.
pub fn get_vlans() -> RouteNetlinkMessage {
    const COMPRESSED_VLANS: u32 = 4;
    let RouteNetlinkMessage::GetLink(mut message) = get_links() else { unreachable!("`get_links` returns this variant") };
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes = vec![LinkAttribute::Other(DefaultNla::new(IFLA_EXT_MASK, COMPRESSED_VLANS.to_ne_bytes().to_vec()))];
    RouteNetlinkMessage::GetLink(message)
}

/// Returns the request for one link.
pub fn get_link(index: Ifindex) -> RouteNetlinkMessage {
    let RouteNetlinkMessage::GetLink(mut message) = get_links() else { unreachable!("`get_links` returns this variant") };
    message.header.index = index;
    RouteNetlinkMessage::GetLink(message)
}

/// Returns the type of the request that removes what the kernel leaves of a foreign object, given the request that adds the object again. An
/// IPv6 route whose source address goes stays without it (`rt6_remove_prefsrc`).
pub fn removal_of_remnant(kind: u16, body: &[u8]) -> Option<u16> {
    const RTM_NEWROUTE: u16 = 24;
    const RTM_DELROUTE: u16 = 25;
    const RTMSG: usize = 12;
    const RTA_PREFSRC: u16 = 7;
    const AF_INET6: u8 = 10;
    let is_route = kind == RTM_NEWROUTE && body.first() == Some(&AF_INET6);
    let mut attributes = NlasIterator::new(body.get(RTMSG..).filter(|_| is_route)?).flatten();
    attributes.any(|attribute| attribute.kind() == RTA_PREFSRC).then_some(RTM_DELROUTE)
}

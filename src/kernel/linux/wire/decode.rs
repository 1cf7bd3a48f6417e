//! Decodes links (RTM_NEWLINK).

use std::collections::BTreeSet;

use crate::name::LinkName;
use crate::resource::link::loopback::Loopback;
use crate::resource::link::{Kind, Link, Port, Queues};
use crate::resource::object::wire::{attributes, number, text};
use crate::resource::sysctl::conf::LinkConf;
use crate::snapshot::FoundLink;
use crate::state::Ifindex;

const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x10000;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
/// Attributes of IFLA_AF_SPEC are families.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;

/// Returns whether a link that is up has lost its carrier, or has come up without one, and the kernel has not dealt with that yet
/// (`linkwatch`). `body` is that of an RTM_NEWLINK.
///
/// # Errors
/// Fails if it is malformed.
pub fn is_losing_carrier(body: &[u8]) -> Result<bool, String> {
    let header: &[u8; 16] = body.first_chunk().ok_or("a truncated link message")?;
    let flags: u32 = number(&header[8..12])?;
    Ok(flags & IFF_RUNNING != 0 && flags & IFF_LOWER_UP == 0)
}

/// Decodes the body of an RTM_NEWLINK.
///
/// # Errors
/// Fails if it is malformed.
pub fn link(body: &[u8]) -> Result<FoundLink, String> {
    let header: &[u8; 16] = body.first_chunk().ok_or("a truncated link message")?;
    let (index, flags) = (number(&header[4..8])?, number(&header[8..12])?);
    let mut raw = FoundLink {
        index,
        name: LinkName::from_kernel(b""),
        link: Link::new(Kind::default()),
        master: None,
        port_reference: None,
        below: None,
        below_nsid: None,
        conf: LinkConf::default(),
        // A change of the carrier shows in IFF_LOWER_UP at once, and in IFF_RUNNING when the kernel has noticed it (`linkwatch`).
        running: flags & IFF_RUNNING != 0 && flags & IFF_LOWER_UP != 0,
        group: 0,
        alias: String::new(),
    };
    let mut queues = Queues { transmit: 1, receive: 1 };
    let (mut altnames, mut parent) = (BTreeSet::new(), None);
    let settings = &mut raw.link.settings;
    for attribute in attributes(&body[16..]) {
        let (attribute, value) = attribute?;
        match attribute {
            IFLA_IFNAME => raw.name = LinkName::from_kernel(value),
            IFLA_LINK => raw.below = Some(number(value)?).filter(|below| *below != 0),
            IFLA_MASTER => raw.master = Some(number(value)?).filter(|master| *master != 0),
            IFLA_LINKINFO => {
                (raw.link.kind, parent) = kind(value)?;
                if let Some((port, reference)) = port(value)? {
                    (raw.link.port, raw.port_reference) = (Some(port), reference);
                }
            }
            IFLA_IFALIAS => raw.alias = text(value),
            IFLA_GROUP => raw.group = number(value)?,
            IFLA_NUM_TX_QUEUES => queues.transmit = number(value)?,
            IFLA_NUM_RX_QUEUES => queues.receive = number(value)?,
            IFLA_LINK_NETNSID => raw.below_nsid = Some(number(value)?.cast_signed()),
            IFLA_AF_SPEC => raw.conf = conf(value, flags & IFF_LOOPBACK != 0)?,
            IFLA_PROP_LIST => {
                for property in attributes(value) {
                    let (property, name) = property?;
                    if property == IFLA_ALT_IFNAME {
                        altnames.insert(text(name));
                    }
                }
            }
            _ => settings.decode(attribute, value),
        }
    }
    settings.decode_flags(flags);
    settings.altnames = Some(altnames);
    // Of such a kind, IFLA_LINK is the index of the link itself, which in the namespace of the parent is that of any link.
    if raw.link.kind.parent_attribute().is_some() {
        raw.below = parent;
    }
    raw.link.queues = Some(queues);
    if raw.name.is_loopback() && raw.index == 1 {
        raw.link.kind = Loopback.into();
    }
    Ok(raw)
}

/// Decodes IFLA_AF_SPEC.
fn conf(families: &[u8], is_loopback: bool) -> Result<LinkConf, String> {
    let mut conf = LinkConf::default();
    for family in attributes(families) {
        match family? {
            (AF_INET, family) => {
                for attribute in attributes(family) {
                    if let (IFLA_INET_CONF, values) = attribute? {
                        conf.add_inet(values, is_loopback);
                    }
                }
            }
            (AF_INET6, family) => {
                for attribute in attributes(family) {
                    if let (IFLA_INET6_CONF, values) = attribute? {
                        conf.add_inet6(values);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(conf)
}

/// Decodes IFLA_LINKINFO. Returns the kind, and the parent's index if it is an attribute of the kind.
fn kind(info: &[u8]) -> Result<(Kind, Option<Ifindex>), String> {
    let (mut name, mut data): (String, &[u8]) = (String::new(), &[]);
    for attribute in attributes(info) {
        match attribute? {
            (IFLA_INFO_KIND, value) => name = text(value),
            (IFLA_INFO_DATA, value) => data = value,
            _ => {}
        }
    }
    let kind = Kind::decode(&name, data).map_err(|error| error.to_string())?;
    let mut parent = None;
    if let Some(wanted) = kind.parent_attribute() {
        for attribute in attributes(data) {
            let (attribute, value) = attribute?;
            if attribute == wanted {
                parent = Some(number(value)?).filter(|parent| *parent != 0);
            }
        }
    }
    Ok((kind, parent))
}

/// The options as a port, and the number of the port that they refer to.
fn port(info: &[u8]) -> Result<Option<(Port, Option<Ifindex>)>, String> {
    let (mut master, mut data): (String, &[u8]) = (String::new(), &[]);
    for attribute in attributes(info) {
        match attribute? {
            (IFLA_INFO_SLAVE_KIND, value) => master = text(value),
            (IFLA_INFO_SLAVE_DATA, value) => data = value,
            _ => {}
        }
    }
    Port::decode(&master, data).map_err(|error| error.to_string())
}

//! Rules in rtnetlink messages: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE (linux/fib_rules.h).

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleHeader, RuleMessage, RulePortRange, RuleUidRange};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Action, Fwmark, IpProtocol, PortRange, Rule, RuleKey, Selector, UidRange};
use crate::ownership;
use crate::resource::object::wire::{AF_INET, AF_INET6, Dump, Found, Request, attributes, ip, number, text};
use crate::resource::object::{At, Maker};

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_SPORT_MASK: u16 = 28;
const FRA_DPORT_MASK: u16 = 29;
const FIB_RULE_INVERT: u32 = 2;
/// `suppress_prefixlen` and `suppress_ifgroup` of a rule that suppresses nothing.
const NONE: u32 = u32::MAX;

/// Protocol of the rules in a lab's own namespaces: as if made by hand (RTPROT_BOOT).
const BY_HAND: RouteProtocol = RouteProtocol::Boot;

/// One dump of all families: the kernel locks no more for it than for one of them.
pub(super) fn dumps() -> Vec<Dump> {
    vec![Dump { request: RouteNetlinkMessage::GetRule(RuleMessage::default()), family: None }]
}

/// What a message says, as its attributes are read.
#[derive(Default)]
struct Draft {
    key: RuleKey,
    value: Rule,
    protocol: u8,
    mark: u32,
    mask: u32,
}

/// Decodes a rule. Those that the kernel makes belong to nobody unless the lab declares them.
pub(super) fn decode(body: &[u8]) -> Result<Option<Found<Rule>>, String> {
    let Some(&[family, to_length, from_length, tos, table, _, _, action, f0, f1, f2, f3]) = body.first_chunk::<12>() else {
        return Err("a truncated rule message".into());
    };
    let action = match action {
        1 => Action::Table,
        2 => Action::Goto,
        3 => Action::Nop,
        6 => Action::Blackhole,
        7 => Action::Unreachable,
        8 => Action::Prohibit,
        _ => return Ok(None),
    };
    // Rules of multicast routing have families of their own.
    if ![AF_INET, AF_INET6].contains(&family) {
        return Ok(None);
    }
    let mut draft = Draft::default();
    draft.key.ipv6 = family == AF_INET6;
    draft.key.selector.not = u32::from_ne_bytes([f0, f1, f2, f3]) & FIB_RULE_INVERT != 0;
    draft.key.selector.tos = (tos != 0).then_some(tos);
    draft.value.action = action;
    draft.value.table = Some(table.into());
    for attribute in attributes(&body[12..]) {
        let (kind, value) = attribute?;
        draft.read(kind, value, (from_length, to_length))?;
    }
    Ok(Some(draft.finish()))
}

impl Draft {
    fn read(&mut self, kind: u16, value: &[u8], (from_length, to_length): (u8, u8)) -> Result<(), String> {
        let (key, rule) = (&mut self.key, &mut self.value);
        let selector = &mut key.selector;
        match kind {
            FRA_SRC => selector.from = Some(prefix(value, from_length)?),
            FRA_DST => selector.to = Some(prefix(value, to_length)?),
            FRA_IIFNAME | FRA_OIFNAME => match (text(value).parse(), kind) {
                (Ok(name), FRA_IIFNAME) => selector.iif = Some(name),
                (Ok(name), _) => selector.oif = Some(name),
                // A name that no link of a lab can have.
                (Err(_), _) => selector.others.push((kind, value.to_vec())),
            },
            FRA_PRIORITY => key.priority = number(value)?,
            FRA_FWMARK => self.mark = number(value)?,
            FRA_FWMASK => self.mask = number(value)?,
            FRA_TUN_ID => selector.tun_id = Some(u64::from_be_bytes(array(value)?)),
            FRA_L3MDEV => selector.l3mdev = array::<1>(value)? != [0],
            FRA_IP_PROTO => selector.ipproto = Some(IpProtocol(array::<1>(value)?[0])),
            FRA_SPORT_RANGE => selector.sport = Some(ports(value)?),
            FRA_DPORT_RANGE => selector.dport = Some(ports(value)?),
            FRA_UID_RANGE => {
                let [first, last] = [0, 4].map(|at| value.get(at..).unwrap_or_default());
                selector.uidrange = Some(UidRange { first: number(first)?, last: number(last)? });
            }
            FRA_TABLE => rule.table = Some(number(value)?),
            FRA_GOTO => rule.goto = Some(number(value)?),
            FRA_SUPPRESS_PREFIXLEN => rule.suppress_prefixlength = Some(number(value)?).filter(|length| *length != NONE),
            FRA_SUPPRESS_IFGROUP => rule.suppress_ifgroup = Some(number(value)?).filter(|group| *group != NONE),
            FRA_PROTOCOL => self.protocol = array::<1>(value)?[0],
            FRA_PAD => {}
            // A single port has a mask of all bits.
            FRA_SPORT_MASK | FRA_DPORT_MASK if array(value) == Ok([0xff; 2]) => {}
            _ => selector.others.push((kind, value.to_vec())),
        }
        Ok(())
    }

    fn finish(mut self) -> Found<Rule> {
        let (key, value) = (&mut self.key, &mut self.value);
        key.selector.fwmark = (self.mask != 0).then_some(Fwmark { value: self.mark, mask: self.mask });
        key.selector.others.sort();
        value.table = value.table.filter(|table| value.action == Action::Table && *table != 0);
        let maker = match Maker::of_protocol(self.protocol) {
            Maker::Kernel => Maker::Unknown,
            // Whoever made it: without it, the namespace would not even reach itself.
            _ if key.is_default(value) => Maker::Unknown,
            maker => maker,
        };
        Found { key: self.key, value: self.value, maker }
    }
}

fn prefix(value: &[u8], length: u8) -> Result<IpNet, String> {
    IpNet::new(ip(value)?, length).map_err(|error| error.to_string())
}

fn ports(value: &[u8]) -> Result<PortRange, String> {
    let [f0, f1, l0, l1] = array(value)?;
    Ok(PortRange { first: u16::from_ne_bytes([f0, f1]), last: u16::from_ne_bytes([l0, l1]) })
}

fn array<const LENGTH: usize>(value: &[u8]) -> Result<[u8; LENGTH], String> {
    value.try_into().map_err(|_| format!("an attribute of {} bytes instead of {LENGTH}", value.len()))
}

/// The creation of a rule. Without NLM_F_EXCL: with it, the kernel refuses a rule beside another one of the same priority and action
/// that differs only in `not`, in the target of `goto`, or by conditions that this one does not have (`rule_exists`).
pub(super) fn put(at: &At<Rule>) -> Vec<Request> {
    vec![Request { message: RouteNetlinkMessage::NewRule(message(at, BY_HAND)), flags: NLM_F_CREATE }]
}

/// The deletion of a rule. Its protocol is left open in a lab's own namespaces, where somebody may have made it.
pub(super) fn remove(at: &At<Rule>) -> Vec<Request> {
    vec![Request { message: RouteNetlinkMessage::DelRule(message(at, RouteProtocol::Unspec)), flags: 0 }]
}

/// The message with the mark of the lab in `host`, and elsewhere the given protocol.
fn message(at: &At<Rule>, protocol: RouteProtocol) -> RuleMessage {
    let mut message = RuleMessage::default();
    let (key, rule) = (&at.key, &at.value);
    let length = |prefix: Option<IpNet>| prefix.map_or(0, |prefix| prefix.prefix_len());
    message.header = RuleHeader {
        family: if key.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet },
        dst_len: length(key.selector.to),
        src_len: length(key.selector.from),
        tos: key.selector.tos.unwrap_or(0),
        // The attribute has the table.
        table: 0,
        action: match rule.action {
            Action::Table => RuleAction::ToTable,
            Action::Goto => RuleAction::Goto,
            Action::Nop => RuleAction::Nop,
            Action::Blackhole => RuleAction::Blackhole,
            Action::Unreachable => RuleAction::Unreachable,
            Action::Prohibit => RuleAction::Prohibit,
        },
        flags: if key.selector.not { RuleFlags::Invert } else { RuleFlags::empty() },
    };
    let list = &mut message.attributes;
    list.push(RuleAttribute::Priority(key.priority));
    select(&key.selector, list);
    list.extend(rule.table.map(RuleAttribute::Table));
    list.extend(rule.goto.map(RuleAttribute::Goto));
    list.extend(rule.suppress_prefixlength.map(RuleAttribute::SuppressPrefixLen));
    list.extend(rule.suppress_ifgroup.map(RuleAttribute::SuppressIfGroup));
    let protocol = if at.namespace.is_host() { RouteProtocol::Other(ownership::PROTOCOL) } else { protocol };
    list.push(RuleAttribute::Protocol(protocol));
    message
}

fn select(selector: &Selector, list: &mut Vec<RuleAttribute>) {
    list.extend(selector.from.map(|prefix| RuleAttribute::Source(prefix.network())));
    list.extend(selector.to.map(|prefix| RuleAttribute::Destination(prefix.network())));
    list.extend(selector.iif.map(|link| RuleAttribute::Iifname(link.into())));
    list.extend(selector.oif.map(|link| RuleAttribute::Oifname(link.into())));
    if let Some(Fwmark { value, mask }) = selector.fwmark {
        list.extend([RuleAttribute::FwMark(value), RuleAttribute::FwMask(mask)]);
    }
    list.extend(selector.ipproto.map(|protocol| RuleAttribute::IpProtocol(protocol.0.into())));
    let range = |ports: PortRange| RulePortRange { start: ports.first, end: ports.last };
    list.extend(selector.sport.map(|ports| RuleAttribute::SourcePortRange(range(ports))));
    list.extend(selector.dport.map(|ports| RuleAttribute::DestinationPortRange(range(ports))));
    let users = |users: UidRange| RuleUidRange { start: users.first, end: users.last };
    list.extend(selector.uidrange.map(|range| RuleAttribute::UidRange(users(range))));
    list.extend(selector.tun_id.map(RuleAttribute::TunId));
    list.extend(selector.l3mdev.then_some(RuleAttribute::L3MDev(true)));
    let others = selector.others.iter().map(|(kind, value)| RuleAttribute::Other(DefaultNla::new(*kind, value.clone())));
    list.extend(others);
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;
    use crate::name::NamespaceName;

    fn at(namespace: &NamespaceName, key: RuleKey, value: Rule) -> At<Rule> {
        At { namespace: namespace.clone(), key, value, indices: Vec::new() }
    }

    fn red() -> NamespaceName {
        "red".parse().unwrap()
    }

    fn body(request: &Request) -> Vec<u8> {
        let (RouteNetlinkMessage::NewRule(message) | RouteNetlinkMessage::DelRule(message)) = &request.message else {
            panic!("{request:?}")
        };
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn rule(table: u32) -> Rule {
        Rule { table: Some(table), ..Rule::default() }
    }

    /// One selector for each attribute, and one that has them all.
    fn selectors() -> Vec<Selector> {
        let whole = Selector {
            not: true,
            from: Some("10.0.0.0/8".parse().unwrap()),
            to: Some("192.0.2.1/32".parse().unwrap()),
            iif: Some("eth0".parse().unwrap()),
            oif: Some("a-long-name-015".parse().unwrap()),
            fwmark: Some(Fwmark { value: 0x10, mask: 0xf0 }),
            tos: Some(0x10),
            ipproto: Some(IpProtocol(6)),
            sport: Some(PortRange { first: 1, last: 65534 }),
            dport: Some(PortRange { first: 80, last: 80 }),
            uidrange: Some(UidRange { first: 0, last: 7 }),
            tun_id: Some(1 << 40),
            l3mdev: true,
            others: vec![(11, vec![1, 0, 2, 0]), (25, vec![4])],
        };
        let none = Selector::default;
        vec![
            none(),
            Selector { not: whole.not, ..none() },
            Selector { from: whole.from, ..none() },
            Selector { to: whole.to, ..none() },
            Selector { iif: whole.iif, ..none() },
            Selector { oif: whole.oif, ..none() },
            Selector { fwmark: whole.fwmark, ..none() },
            Selector { fwmark: Some(Fwmark { value: 0, mask: 1 }), ..none() },
            Selector { tos: whole.tos, ..none() },
            Selector { ipproto: whole.ipproto, ..none() },
            Selector { sport: whole.sport, ..none() },
            Selector { dport: whole.dport, ..none() },
            Selector { uidrange: whole.uidrange, ..none() },
            Selector { tun_id: whole.tun_id, ..none() },
            Selector { l3mdev: whole.l3mdev, ..none() },
            Selector { others: whole.others.clone(), ..none() },
            whole,
        ]
    }

    fn actions() -> Vec<Rule> {
        let named = |action| Rule { action, ..Rule::default() };
        vec![
            rule(7),
            rule(u32::MAX),
            // The table of a VRF.
            Rule::default(),
            Rule { suppress_prefixlength: Some(0), ..rule(254) },
            Rule { suppress_ifgroup: Some(3), ..rule(254) },
            Rule { goto: Some(32766), ..named(Action::Goto) },
            named(Action::Nop),
            named(Action::Blackhole),
            named(Action::Unreachable),
            named(Action::Prohibit),
        ]
    }

    #[test]
    fn every_attribute_survives_the_wire() {
        for selector in selectors() {
            for value in actions() {
                for priority in [0, 7, u32::MAX] {
                    let key = RuleKey { ipv6: false, priority, selector: selector.clone(), ordinal: 0 };
                    for (namespace, maker) in [(red(), Maker::Hand), (NamespaceName::host(), Maker::Topo)] {
                        let requests = put(&at(&namespace, key.clone(), value.clone()));
                        let found = decode(&body(&requests[0])).unwrap().unwrap();
                        assert_eq!(found, Found { key: key.clone(), value: value.clone(), maker });
                    }
                }
            }
        }
    }

    #[test]
    fn ipv6_survives_the_wire() {
        let selector = Selector { from: Some("2001:db8::/32".parse().unwrap()), ..Selector::default() };
        let key = RuleKey { ipv6: true, priority: 7, selector, ordinal: 0 };
        let found = decode(&body(&put(&at(&red(), key.clone(), rule(7)))[0])).unwrap().unwrap();
        assert_eq!((found.key, found.value), (key, rule(7)));
    }

    #[test]
    fn a_deletion_names_every_attribute_and_in_host_the_protocol() {
        for selector in selectors() {
            let key = RuleKey { ipv6: false, priority: 7, selector, ordinal: 3 };
            for (namespace, protocol) in [(red(), 0), (NamespaceName::host(), ownership::PROTOCOL)] {
                let bytes = body(&remove(&at(&namespace, key.clone(), rule(7)))[0]);
                let found = decode(&bytes).unwrap().unwrap();
                assert_eq!(found.key, RuleKey { ordinal: 0, ..key.clone() });
                let named = attributes(&bytes[12..]).map(Result::unwrap).find(|(kind, _)| *kind == FRA_PROTOCOL);
                assert_eq!(named, Some((FRA_PROTOCOL, [protocol].as_slice())));
            }
        }
    }

    /// `struct fib_rule_hdr` with attributes.
    fn message(family: u8, action: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![family, 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0];
        for (kind, value) in attributes {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn what_the_kernel_reports_of_every_rule_is_no_condition() {
        let [table, none, all] = [7, NONE, 0xffff_u32].map(u32::to_ne_bytes);
        let ports = [80_u16.to_ne_bytes(), 80_u16.to_ne_bytes()].concat();
        let reported: [(u16, &[u8]); 7] = [
            (FRA_TABLE, &table),
            (FRA_SUPPRESS_PREFIXLEN, &none),
            (FRA_SUPPRESS_IFGROUP, &none),
            (FRA_PROTOCOL, &[3]),
            (FRA_SPORT_RANGE, &ports),
            (FRA_SPORT_MASK, &0xffff_u16.to_ne_bytes()),
            (FRA_PAD, &all),
        ];
        let found = decode(&message(AF_INET, 1, &reported)).unwrap().unwrap();
        let expected = Selector { sport: Some(PortRange { first: 80, last: 80 }), ..Selector::default() };
        assert_eq!((found.key.selector, found.value), (expected, rule(7)));
    }

    #[test]
    fn the_kernels_rules_are_nobodys() {
        let maker = |family: u8, priority: u32, table: u32, protocol: u8| {
            let [priority, table] = [priority, table].map(u32::to_ne_bytes);
            let list: [(u16, &[u8]); 3] = [(FRA_PRIORITY, &priority), (FRA_TABLE, &table), (FRA_PROTOCOL, &[protocol])];
            decode(&message(family, 1, &list)).unwrap().unwrap().maker
        };
        assert_eq!(maker(AF_INET, 32766, 254, 2), Maker::Unknown);
        assert_eq!(maker(AF_INET, 1000, 7, 2), Maker::Unknown);
        // Deleted and added again by somebody.
        assert_eq!(maker(AF_INET, 32767, 253, 3), Maker::Unknown);
        assert_eq!(maker(AF_INET6, 32767, 253, 3), Maker::Hand);
        assert_eq!(maker(AF_INET, 32766, 253, 3), Maker::Hand);
        assert_eq!(maker(AF_INET, 7, 7, 11), Maker::Daemon(11));
    }

    #[test]
    fn rules_of_other_families_and_actions_are_passed_over() {
        assert_eq!(decode(&message(128, 1, &[])), Ok(None));
        assert_eq!(decode(&message(AF_INET, 4, &[])), Ok(None));
    }

    #[test]
    fn malformed_messages_are_errors() {
        assert!(decode(&[AF_INET; 11]).is_err());
        let short: [(u16, &[u8]); 9] = [
            (FRA_SRC, &[10, 0]),
            (FRA_PRIORITY, &[1]),
            (FRA_FWMARK, &[1]),
            (FRA_TUN_ID, &[1]),
            (FRA_SPORT_RANGE, &[1, 2]),
            (FRA_UID_RANGE, &[1, 2, 3, 4]),
            (FRA_L3MDEV, &[]),
            (FRA_PROTOCOL, &[]),
            (FRA_GOTO, &[]),
        ];
        for attribute in short {
            assert!(decode(&message(AF_INET, 1, &[attribute])).is_err(), "{attribute:?}");
        }
    }
}

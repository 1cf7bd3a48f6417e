//! Rules in the lab file.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{Action, Rule, RuleKey};
use crate::name::{LinkName, escape};
use crate::resource::route::{Family, Table};
use crate::scalar;
use crate::value::Destination;
use crate::value_schema::{NUMBER, range_pattern, value_schema};

/// A rule of policy routing, ip-rule(8).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSpec {
    /// The position among the rules of the family; lower ones are evaluated first. Without it, rules are numbered from 10000 in the
    /// order of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The family of a rule without a prefix; default `inet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Match the packets that the selectors do not match.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
    /// The source prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Destination>,
    /// The destination prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Destination>,
    /// The incoming interface; `lo` for packets of the namespace itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iif: Option<LinkName>,
    /// The interface that the sending socket is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oif: Option<LinkName>,
    /// The firewall mark, with a mask if only some bits matter: `0x10/0xf0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<Fwmark>,
    /// The type of service (TOS), for IPv6 the traffic class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// The IP protocol: a name such as `tcp`, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipproto: Option<IpProtocol>,
    /// The source port, or a range: `1000-2000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<PortRange>,
    /// The destination port, or a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<PortRange>,
    /// The user ID of the sending process, or a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uidrange: Option<UidRange>,
    /// The ID of the tunnel that the packet came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tun_id: Option<u64>,
    /// Match the packets of VRFs, and by default look up the table of the VRF.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub l3mdev: bool,
    /// The table that is looked up, by number or by its name in rt_tables; default `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// Ignore routes of the table whose prefix is not longer than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 128))]
    pub suppress_prefixlength: Option<u32>,
    /// Ignore routes of the table over interfaces of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub suppress_ifgroup: Option<u32>,
    /// Go on with the rule of this priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goto: Option<u32>,
    /// What happens to the packet instead of a look-up.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<RuleType>,
}

/// What a rule does with a packet, other than looking up a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleType {
    /// Nothing: the next rule is evaluated.
    Nop,
    /// Drops it silently.
    Blackhole,
    /// Refuses it: network unreachable.
    Unreachable,
    /// Refuses it: administratively prohibited.
    Prohibit,
}

impl RuleType {
    /// The action.
    pub fn action(self) -> Action {
        match self {
            Self::Nop => Action::Nop,
            Self::Blackhole => Action::Blackhole,
            Self::Unreachable => Action::Unreachable,
            Self::Prohibit => Action::Prohibit,
        }
    }
}

/// Serialises a value as it is written.
macro_rules! written {
    ($($type:ty),+) => {
        $(impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })+
    };
}
written!(Fwmark, IpProtocol, PortRange, UidRange);

value_schema!(Fwmark, "Firewall mark", "A firewall mark, with a mask if only some bits matter: 0 to 0xffffffff.", {
    "type": ["integer", "string"],
    "minimum": 0,
    "maximum": u32::MAX,
    "pattern": format!("^{NUMBER}(/{NUMBER})?$"),
    "patternErrorMessage": "Not a valid mark; write it like `0x10` or `0x10/0xf0`.",
    "examples": ["0x10", "0x10/0xf0"],
});
value_schema!(IpProtocol, "IP protocol", "An IP protocol: a name, or a number from 1 to 255.", {
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": 255,
    "pattern": format!("^({}|{NUMBER})$", IpProtocol::NAMES.map(|(name, _)| name).join("|")),
    "patternErrorMessage": "Unknown protocol; use its number.",
    "examples": IpProtocol::NAMES.map(|(name, _)| name),
});
value_schema!(PortRange, "Ports", "A port, or a range of ports, from 1 to 65534.", {
    "type": ["integer", "string"],
    "minimum": PortRange::LEAST,
    "maximum": PortRange::MOST,
    "pattern": range_pattern(),
    "patternErrorMessage": "Not a valid range; write it like `1000` or `1000-2000`.",
    "examples": [80, "1000-2000"],
});
value_schema!(UidRange, "User IDs", "A user ID, or a range of user IDs, from 0 to 4294967294.", {
    "type": ["integer", "string"],
    "minimum": UidRange::LEAST,
    "maximum": UidRange::MOST,
    "pattern": range_pattern(),
    "patternErrorMessage": "Not a valid range; write it like `1000` or `1000-2000`.",
    "examples": [1000, "1000-2000"],
});

/// A firewall mark (FRA_FWMARK, FRA_FWMASK).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fwmark {
    /// The value of the bits that matter.
    pub value: u32,
    /// The bits that matter.
    pub mask: u32,
}

impl fmt::Display for Fwmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask != u32::MAX {
            write!(f, "/{:#x}", self.mask)?;
        }
        Ok(())
    }
}

impl Fwmark {
    fn new(value: u32, mask: u32) -> Result<Self, String> {
        if mask == 0 {
            return Err("a mask of 0 matches all packets; remove `fwmark`".into());
        }
        if value & !mask != 0 {
            return Err(format!("mark {value:#x} has bits outside of the mask {mask:#x}"));
        }
        Ok(Self { value, mask })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
        let number = |text| number(text).and_then(|number| u32::try_from(number).ok());
        match (number(value), mask.map_or(Some(u32::MAX), number)) {
            (Some(value), Some(mask)) => Self::new(value, mask),
            _ => Err(format!("`{}` is not a valid mark; write it like `0x10` or `0x10/0xf0`", escape(text))),
        }
    }
}
scalar!(
    Fwmark,
    "a firewall mark",
    |number: i128| match u32::try_from(number) {
        Ok(value) => Fwmark::new(value, u32::MAX),
        Err(_) => Err("mark is out of range (0 to 0xffffffff)".to_owned()),
    },
    Fwmark::parse
);

/// A number in decimal, or in hexadecimal after `0x`.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

/// An IP protocol (FRA_IP_PROTO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// The names of /etc/protocols that are used for selecting.
    const NAMES: [(&str, u8); 14] = [
        ("ah", 51),
        ("dccp", 33),
        ("esp", 50),
        ("gre", 47),
        ("icmp", 1),
        ("icmpv6", 58),
        ("igmp", 2),
        ("ipv6-icmp", 58),
        ("ospf", 89),
        ("pim", 103),
        ("sctp", 132),
        ("tcp", 6),
        ("udp", 17),
        ("udplite", 136),
    ];

    fn numbered(number: u64) -> Result<Self, String> {
        let number = u8::try_from(number).ok().filter(|number| *number > 0);
        number.map(Self).ok_or_else(|| "protocol number is out of range (1 to 255)".into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, number)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*number));
        }
        let unknown = || format!("unknown protocol `{}`; use its number", escape(text));
        number(text).ok_or_else(unknown).and_then(Self::numbered)
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}
scalar!(IpProtocol, "an IP protocol", |number: i128| IpProtocol::numbered(u64::try_from(number).unwrap_or(0)), IpProtocol::parse);

macro_rules! range {
    ($(#[$doc:meta])* $name:ident($number:ty) from $least:literal to $most:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The first.
            pub first: $number,
            /// The last, which is the first one or above.
            pub last: $number,
        }

        impl $name {
            const LEAST: $number = $least;
            const MOST: $number = $most;

            fn new(first: u64, last: u64) -> Result<Self, String> {
                let checked = |number: u64| {
                    let fits = <$number>::try_from(number).ok().filter(|number| (Self::LEAST..=Self::MOST).contains(number));
                    fits.ok_or_else(|| format!("{} {number} is out of range ({} to {})", $what, Self::LEAST, Self::MOST))
                };
                if last < first {
                    return Err(format!("the range {first}-{last} is empty"));
                }
                Ok(Self { first: checked(first)?, last: checked(last)? })
            }

            fn parse(text: &str) -> Result<Self, String> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                match (number(first.trim()), number(last.trim())) {
                    (Some(first), Some(last)) => Self::new(first, last),
                    _ => Err(format!("`{}` is not a valid range; write it like `1000` or `1000-2000`", escape(text))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.first)?;
                if self.last != self.first {
                    write!(f, "-{}", self.last)?;
                }
                Ok(())
            }
        }

        scalar!(
            $name,
            "a number or a range",
            |number: i128| match u64::try_from(number) {
                Ok(number) => $name::new(number, number),
                Err(_) => Err(format!("{} is out of range ({} to {})", $what, $name::LEAST, $name::MOST)),
            },
            $name::parse
        );
    };
}
range! {
    /// Ports (FRA_SPORT_RANGE, FRA_DPORT_RANGE); the kernel takes neither 0 nor 65535.
    PortRange(u16) from 1 to 65534, "port"
}
range! {
    /// User IDs (FRA_UID_RANGE).
    UidRange(u32) from 0 to 4_294_967_294, "user ID"
}

pub(super) fn raise(key: &RuleKey, value: &Rule) -> RuleSpec {
    let selector = &key.selector;
    let telling = selector.from.or(selector.to).is_some();
    RuleSpec {
        priority: Some(key.priority),
        family: (key.ipv6 && !telling).then_some(Family::Inet6),
        not: selector.not,
        from: selector.from.map(Destination::Prefix),
        to: selector.to.map(Destination::Prefix),
        iif: selector.iif,
        oif: selector.oif,
        fwmark: selector.fwmark,
        tos: selector.tos,
        ipproto: selector.ipproto,
        sport: selector.sport,
        dport: selector.dport,
        uidrange: selector.uidrange,
        tun_id: selector.tun_id,
        l3mdev: selector.l3mdev,
        table: value.table.map(Table::Number),
        suppress_prefixlength: value.suppress_prefixlength,
        suppress_ifgroup: value.suppress_ifgroup,
        goto: value.goto,
        kind: match value.action {
            Action::Table | Action::Goto => None,
            Action::Nop => Some(RuleType::Nop),
            Action::Blackhole => Some(RuleType::Blackhole),
            Action::Unreachable => Some(RuleType::Unreachable),
            Action::Prohibit => Some(RuleType::Prohibit),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(value: serde_json::Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for (text, shown) in [("0x10", "0x10"), ("16/0xf0", "0x10/0xf0"), ("0/0xf", "0x0/0xf"), ("1/0xffffffff", "0x1")] {
            assert_eq!(Fwmark::parse(text).unwrap().to_string(), shown);
            assert_eq!(Fwmark::parse(shown), Fwmark::parse(text));
        }
        for (text, shown) in [("80", "80"), ("80-80", "80"), ("1-65534", "1-65534"), ("0x10 - 20", "16-20")] {
            assert_eq!(PortRange::parse(text).unwrap().to_string(), shown);
        }
        assert_eq!(UidRange::parse("0-4294967294").unwrap().to_string(), "0-4294967294");
        for number in 1..=u8::MAX {
            assert_eq!(IpProtocol::parse(&IpProtocol(number).to_string()), Ok(IpProtocol(number)));
        }
        assert_eq!(IpProtocol::parse("icmpv6"), IpProtocol::parse("ipv6-icmp"));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in ["", "x", "1/", "/1", "+1", "0x+1", "1/0", "3/1", "0x1ffffffff"] {
            assert!(Fwmark::parse(text).is_err(), "{text}");
        }
        for text in ["", "-", "1-", "-1", "2-1", "0", "65535", "1-2-3"] {
            assert!(PortRange::parse(text).is_err(), "{text}");
        }
        for text in ["", "0", "256", "tcpp"] {
            assert!(IpProtocol::parse(text).is_err(), "{text}");
        }
        assert!(UidRange::parse("4294967295").is_err());
    }

    #[test]
    fn the_item_of_a_rule_is_read_back_as_it_is() {
        let item = serde_json::json!({
            "priority": 7, "not": true, "from": "10.0.0.0/8", "iif": "eth0", "fwmark": "0x10/0xf0", "tos": 16, "ipproto": "tcp",
            "sport": "1-2", "uidrange": "7", "tun_id": 9, "table": 7, "suppress_prefixlength": 0, "suppress_ifgroup": 3,
        });
        let spec: RuleSpec = read(item.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), item);
        for item in [serde_json::json!({ "goto": 7 }), serde_json::json!({ "type": "nop", "family": "inet6" })] {
            let spec: RuleSpec = read(item.clone()).unwrap();
            assert_eq!(serde_json::to_value(&spec).unwrap(), item);
        }
    }
}

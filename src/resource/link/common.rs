//! What every link has, whatever its kind: address, mtu, flags, names, and the link it is a port of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kind::Kind;
use super::loopback::Loopback;
use super::rules::Flags;
use crate::name::LinkName;
use crate::ownership::Mark;
use crate::resource::option::Mutability;
use crate::resource::{FieldChange, owner_change};
use crate::value::Mac;

/// The number of transmit and receive queues (IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES), fixed at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// Transmit queues.
    pub transmit: u32,
    /// Receive queues.
    pub receive: u32,
}

/// The settings of a link. In a desired link `None` means that the lab says nothing; a live link has all of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkSettings {
    /// Hardware address (IFLA_ADDRESS); without one the kernel draws its own, and keeps it.
    pub mac: Option<Mac>,
    /// Largest packet in bytes (IFLA_MTU); without one, what the kernel gives a new link.
    pub mtu: Option<u32>,
    /// Administratively up (IFF_UP).
    pub up: Option<bool>,
    /// Length of the transmit queue in packets (IFLA_TXQLEN), default 1000.
    pub txqueuelen: Option<u32>,
    /// Use ARP; default true (IFF_NOARP is its reverse).
    pub arp: Option<bool>,
    /// Use multicast; default true (IFF_MULTICAST).
    pub multicast: Option<bool>,
    /// Receive all multicast; default false (IFF_ALLMULTI).
    pub allmulti: Option<bool>,
    /// Receive everything; default false (IFF_PROMISC).
    pub promisc: Option<bool>,
    /// Further names (IFLA_ALT_IFNAME).
    pub altnames: Option<BTreeSet<String>>,
    /// The bridge, bond or vrf that this is a port of (IFLA_MASTER).
    pub master: Option<LinkName>,
}

/// Whose mark a link carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Marked {
    /// The lab's; or the link needs none, because it is external or in a namespace of the lab.
    #[default]
    Lab,
    /// What is left of the lab's, one half of which somebody has erased.
    Damaged(Mark),
    /// Somebody else's, on a live link that the lab is to adopt.
    Foreign(Mark),
}

impl Marked {
    /// The name under which a mark that is to be put right is shown.
    pub const FIELD: &str = "mark";

    /// The mark, where it is not the lab's own.
    pub fn other(&self) -> Option<&Mark> {
        match self {
            Self::Lab => None,
            Self::Damaged(mark) | Self::Foreign(mark) => Some(mark),
        }
    }

    fn compare(&self, live: &Self) -> Option<FieldChange> {
        let mark = |before: &str, after: &str| FieldChange::new(Self::FIELD, before.into(), after.into());
        match (self, live) {
            (Self::Lab, Self::Lab) | (Self::Damaged(_), Self::Damaged(_)) | (Self::Foreign(_), Self::Foreign(_)) => None,
            (_, Self::Foreign(_)) => Some(owner_change(true)),
            (Self::Foreign(_), _) => Some(owner_change(false)),
            (Self::Lab, Self::Damaged(_)) => Some(mark("damaged", "whole")),
            (Self::Damaged(_), Self::Lab) => Some(mark("whole", "damaged")),
        }
    }
}

/// A link of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its kind, with the kind's options.
    pub kind: Kind,
    /// What every link has.
    pub settings: LinkSettings,
    /// Queues, where the lab or topo chooses them.
    pub queues: Option<Queues>,
    /// Declared `external`: exists already, is never created or deleted, and what the lab does not say is left alone.
    pub external: bool,
    /// Whose mark it carries, as a live link in `host`.
    pub marked: Marked,
}

impl Link {
    /// A link of that kind of which nothing else is said.
    pub fn new(kind: Kind) -> Self {
        Self { kind, settings: LinkSettings::default(), queues: None, external: false, marked: Marked::Lab }
    }

    /// `lo` as a new namespace of topo's has it.
    pub fn new_loopback() -> Self {
        let settings = LinkSettings {
            mac: Some(Mac([0; 6])),
            mtu: Some(65536),
            up: Some(true),
            txqueuelen: Some(1000),
            arp: Some(true),
            multicast: Some(false),
            allmulti: Some(false),
            promisc: Some(false),
            altnames: Some(BTreeSet::new()),
            master: None,
        };
        Self { settings, ..Self::new(Loopback.into()) }
    }

    /// The settings with the kernel's own values for those that the lab leaves open. On foreign links nothing is filled in:
    /// there absent means untouched. `inherited_mtu` is what the kernel would give a new link of this kind.
    pub fn complete_settings(&self, inherited_mtu: Option<u32>) -> LinkSettings {
        let settings = self.settings.clone();
        if self.external {
            return settings;
        }
        let flags = self.kind.default_flags(Flags::default());
        LinkSettings {
            mtu: settings.mtu.or(inherited_mtu),
            up: settings.up.or(Some(true)),
            txqueuelen: settings.txqueuelen.or(Some(1000)),
            arp: settings.arp.or(flags.arp),
            multicast: settings.multicast.or(flags.multicast),
            allmulti: settings.allmulti.or(Some(false)),
            promisc: settings.promisc.or(Some(false)),
            altnames: settings.altnames.or_else(|| Some(BTreeSet::new())),
            ..settings
        }
    }

    /// Every difference between this desired link and the live one.
    pub fn compare(&self, live: &Self, inherited_mtu: Option<u32>) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        changes.extend(self.marked.compare(&live.marked));
        if !self.external {
            match self.kind.compare(&live.kind) {
                Some(options) => changes.extend(options.into_iter().map(|option| FieldChange {
                    name: option.name.to_owned(),
                    before: option.before.unwrap_or(Value::Null),
                    after: option.after.unwrap_or(Value::Null),
                    forces_replacement: option.mutability == Mutability::Replace,
                })),
                None => changes.push(FieldChange {
                    name: "kind".into(),
                    before: live.kind.name().into(),
                    after: self.kind.name().into(),
                    forces_replacement: true,
                }),
            }
            if let (Some(wanted), Some(queues)) = (self.queues, live.queues)
                && wanted != queues
            {
                let names = [("numtxqueues", wanted.transmit, queues.transmit), ("numrxqueues", wanted.receive, queues.receive)];
                for (name, after, before) in names.into_iter().filter(|(_, after, before)| after != before) {
                    changes.push(FieldChange { forces_replacement: true, ..FieldChange::new(name, json!(before), json!(after)) });
                }
            }
        }
        let wanted = self.complete_settings(inherited_mtu);
        changes.extend(wanted.compare(&live.settings, self.external));
        changes
    }

    /// All that is set, as a lab file would show it, in a fixed order.
    pub fn show(&self) -> Vec<(String, Value)> {
        let mut shown = vec![("kind".to_owned(), if self.external { "external".into() } else { Value::from(self.kind.name()) })];
        if let Some(peer) = self.kind.peer() {
            shown.push(("peer".into(), peer.to_string().into()));
        }
        shown.extend(self.kind.show().into_iter().map(|(name, value)| (name.to_owned(), value)));
        shown.extend(self.settings.show());
        shown
    }
}

/// Combines two settings field by field with a function that is generic in the field's type.
macro_rules! zip_settings {
    ($a:expr, $b:expr, $combine:ident) => {
        zip_settings!(@fields $a, $b, $combine, [mac, mtu, up, txqueuelen, arp, multicast, allmulti, promisc, altnames, master])
    };
    (@fields $a:expr, $b:expr, $combine:ident, [$($field:ident),+]) => {
        LinkSettings { $($field: $combine(&$a.$field, &$b.$field)),+ }
    };
}

impl LinkSettings {
    fn fields(&self) -> [(&'static str, Option<Value>); 10] {
        [
            ("mac", self.mac.map(|mac| mac.to_string().into())),
            ("mtu", self.mtu.map(Value::from)),
            ("up", self.up.map(Value::from)),
            ("txqueuelen", self.txqueuelen.map(Value::from)),
            ("arp", self.arp.map(Value::from)),
            ("multicast", self.multicast.map(Value::from)),
            ("allmulti", self.allmulti.map(Value::from)),
            ("promisc", self.promisc.map(Value::from)),
            ("altnames", self.altnames.as_ref().map(|names| json!(names))),
            ("master", self.master.map(|master| Value::from(String::from(master)))),
        ]
    }

    /// The settings that are set, as a lab file would show them.
    pub fn show(&self) -> impl Iterator<Item = (String, Value)> {
        let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        self.fields().into_iter().filter_map(move |(name, value)| Some((name.to_owned(), value.filter(|value| !empty(value))?)))
    }

    /// Differences of the settings that are set here; of the master also when it is not, except on foreign links.
    fn compare(&self, live: &Self, external: bool) -> Vec<FieldChange> {
        let same = self.mac.is_none_or(|mac| live.mac == Some(mac))
            && self.mtu.is_none_or(|mtu| live.mtu == Some(mtu))
            && self.up.is_none_or(|up| live.up == Some(up))
            && self.txqueuelen.is_none_or(|length| live.txqueuelen == Some(length))
            && self.arp.is_none_or(|arp| live.arp == Some(arp))
            && self.multicast.is_none_or(|multicast| live.multicast == Some(multicast))
            && self.allmulti.is_none_or(|allmulti| live.allmulti == Some(allmulti))
            && self.promisc.is_none_or(|promisc| live.promisc == Some(promisc))
            && self.altnames.as_ref().is_none_or(|names| live.altnames.as_ref() == Some(names))
            && (self.master == live.master || external && self.master.is_none());
        if same {
            return Vec::new();
        }
        let pairs = self.fields().into_iter().zip(live.fields());
        pairs
            .filter(|((name, after), (_, before))| match after {
                Some(_) => before != after,
                None => *name == "master" && before.is_some() && !external,
            })
            .map(|((name, after), (_, before))| {
                FieldChange::new(name, before.unwrap_or(Value::Null), after.unwrap_or(Value::Null))
            })
            .collect()
    }

    /// The settings of `self` that differ from the live ones, nothing else.
    #[must_use]
    pub fn difference(&self, live: &Self) -> Self {
        fn changed<T: Clone + PartialEq>(desired: &Option<T>, live: &Option<T>) -> Option<T> {
            desired.clone().filter(|_| desired != live)
        }
        zip_settings!(self, live, changed)
    }

    /// The settings of `self`, and those of `other` where it has none.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        fn either<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.clone().or_else(|| other.clone())
        }
        zip_settings!(self, other, either)
    }

    /// The live values of those settings that `self` changes.
    #[must_use]
    pub fn touching(&self, live: &Self) -> Self {
        fn touched<T: Clone + PartialEq>(desired: &Option<T>, live: &Option<T>) -> Option<T> {
            live.clone().filter(|_| desired.is_some() && desired != live)
        }
        zip_settings!(self, live, touched)
    }

    /// The settings of `self` that `other` has, too.
    #[must_use]
    pub fn only_those_of(&self, other: &Self) -> Self {
        fn shared<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.clone().filter(|_| other.is_some())
        }
        zip_settings!(self, other, shared)
    }
}

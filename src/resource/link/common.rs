//! [`Link`]: the kind of a link, the settings that every link has, and its ownership mark.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kind::Kind;
use super::loopback::Loopback;
use super::port::Port;
use super::settings::LinkSettings;
use crate::ownership::Mark;
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

impl Queues {
    /// One of each.
    pub const ONE: Self = Self { transmit: 1, receive: 1 };

    /// Returns the numbers that differ from one, with their keys in the lab file.
    fn show(self) -> impl Iterator<Item = (&'static str, u32)> {
        [("numtxqueues", self.transmit), ("numrxqueues", self.receive)].into_iter().filter(|(_, count)| *count != 1)
    }
}

/// The ownership mark of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Marked {
    /// The mark of the lab. Also used for links that need no mark: external ones, and those in namespaces of the lab.
    #[default]
    Lab,
    /// A mark of the lab that lacks the group or the alias.
    Damaged(Mark),
    /// The group and alias of a foreign link that the lab adopts.
    Foreign(Mark),
}

impl Marked {
    /// The name of the attribute in plans.
    pub const FIELD: &str = "mark";

    /// Returns the mark if it is not the complete mark of the lab.
    pub fn other(&self) -> Option<&Mark> {
        match self {
            Self::Lab => None,
            Self::Damaged(mark) | Self::Foreign(mark) => Some(mark),
        }
    }

    /// Returns the change that a plan shows if the mark must be written.
    pub(super) fn compare(&self, live: &Self) -> Option<FieldChange> {
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

/// What a link inherits from other links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inherited {
    /// The mtu of a new link, in bytes.
    pub mtu: Option<u32>,
    /// The path cost as a port of a bridge, if known.
    pub path_cost: Option<u32>,
}

/// A link of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its kind, with the kind's options.
    pub kind: Kind,
    /// The settings that every link has.
    pub settings: LinkSettings,
    /// Its options as a port, if ports of its master have such; those that are not set have the kernel's default.
    pub port: Option<Port>,
    /// The number of queues, if the lab or topo sets it; otherwise that of a new link of the kind.
    pub queues: Option<Queues>,
    /// Whether it is declared as `external`. It is never created or deleted, and only the settings in the lab file are managed.
    pub external: bool,
    /// The ownership mark.
    pub marked: Marked,
}

impl Link {
    /// Returns a link of that kind without settings.
    pub fn new(kind: Kind) -> Self {
        Self { kind, settings: LinkSettings::default(), port: None, queues: None, external: false, marked: Marked::Lab }
    }

    /// Returns an external link with the settings of the lab file.
    pub fn external(settings: LinkSettings) -> Self {
        Self { settings, external: true, ..Self::new(Kind::default()) }
    }

    /// Returns `lo` of a new namespace as topo creates it.
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

    /// Returns the settings, with the kernel's defaults for those that the lab does not set. External links have no defaults: settings
    /// that are not in the lab file are not managed. `inherited_mtu` is the mtu that the kernel would give a new link.
    pub fn complete_settings(&self, inherited_mtu: Option<u32>) -> LinkSettings {
        match self.external {
            true => self.settings.clone(),
            false => self.settings.complete(inherited_mtu, &self.kind),
        }
    }

    /// Returns the number of queues that the link must have, if it is not the machine's choice.
    pub fn wanted_queues(&self) -> Option<Queues> {
        self.queues.or_else(|| self.kind.default_queues().filter(|_| !self.external))
    }

    /// Returns whether this is `lo` exactly as a new namespace has it.
    pub fn is_as_created(&self) -> bool {
        self.kind.is_loopback() && self.delta(&Self::new_loopback(), Inherited::default()).is_empty()
    }

    /// Returns whether the lab adopts the live link.
    pub fn adopts(&self, live: &Self) -> bool {
        self.marked.compare(&live.marked).is_some_and(|field| field.adopts())
    }

    /// Returns all attributes that are set, as in a lab file, in a fixed order.
    pub fn show(&self) -> Vec<(String, Value)> {
        let mut shown = vec![("kind".to_owned(), if self.external { "external".into() } else { Value::from(self.kind.name()) })];
        if let Some(peer) = self.kind.peer() {
            shown.push(("peer".into(), peer.to_string().into()));
        }
        shown.extend(self.kind.show().into_iter().map(|(name, value)| (name.to_owned(), value)));
        shown.extend(self.queues.into_iter().flat_map(Queues::show).map(|(name, count)| (name.to_owned(), count.into())));
        shown.extend(self.settings.show());
        if let Some((port, options)) = self.port.as_ref().and_then(|port| Some((port.name(), port.special()?))) {
            let options = options.show().into_iter().map(|(name, value)| (name.to_owned(), value));
            shown.push((port.to_owned(), Value::Object(options.collect())));
        }
        shown
    }
}

//! [`Link`]: a kind with the settings that every link has, and whose it is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kind::Kind;
use super::loopback::Loopback;
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

    /// What is shown when the mark must be written.
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

    /// A foreign link that the lab names, with the settings that the lab gives it.
    pub fn external(settings: LinkSettings) -> Self {
        Self { settings, external: true, ..Self::new(Kind::default()) }
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
        match self.external {
            true => self.settings.clone(),
            false => self.settings.complete(inherited_mtu, &self.kind),
        }
    }

    /// Whether a new namespace comes with this very link, its `lo`.
    pub fn is_as_created(&self) -> bool {
        self.kind.is_loopback() && self.delta(&Self::new_loopback(), None).is_empty()
    }

    /// Whether this link is a foreign one that the lab adopts.
    pub fn adopts(&self, live: &Self) -> bool {
        self.marked.compare(&live.marked).is_some_and(|field| field.adopts())
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

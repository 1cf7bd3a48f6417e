//! Foreign objects: objects that do not belong to the lab, of `host` or of a namespace of the lab. The kernel may remove them as a side
//! effect of the lab's changes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::wire::{Names, Notes, Reading};
use super::{Awaited, Maker, Object};
use crate::name::{LinkName, NamespaceName};

/// The body of the message in which the kernel reported an object, or that adds it again. It has attributes that topo does not know, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Message(pub Vec<u8>);

/// Bodies of messages by the positions of the objects that they reported, one after the other in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bodies {
    bytes: Vec<u8>,
    /// The position of each object, and the end of its message.
    ends: Vec<(usize, usize)>,
}

impl Bodies {
    /// Adds the message that reported the object at a position, which must be higher than those so far.
    pub fn push(&mut self, position: usize, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        self.ends.push((position, self.bytes.len()));
    }

    /// Adds the messages of a list of objects that begins at a position.
    pub fn append(&mut self, start: usize, others: &Self) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&others.bytes);
        self.ends.extend(others.ends.iter().map(|(position, end)| (start + position, offset + end)));
    }

    /// Returns the message that reported the object at a position, if it was kept.
    pub fn get(&self, position: usize) -> Option<&[u8]> {
        let at = self.ends.binary_search_by_key(&position, |(position, _)| *position).ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        self.bytes.get(start..self.ends[at].1)
    }
}

/// A text that is not the hexadecimal form of a message.
#[derive(Debug, thiserror::Error)]
#[error("not a message in hexadecimal form")]
pub struct NotAMessage;

impl TryFrom<String> for Message {
    type Error = NotAMessage;
    fn try_from(text: String) -> Result<Self, NotAMessage> {
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        bytes.map(Self).ok_or(NotAMessage)
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        let mut text = Self::with_capacity(2 * message.0.len());
        for byte in &message.0 {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// A foreign object.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign<O: Object> {
    /// Its key.
    pub key: O::Key,
    /// The object, as far as topo knows its attributes.
    pub value: O,
    /// Who added it.
    pub maker: Maker,
    /// The message that reported it.
    pub message: Message,
}

impl<O: Object> Foreign<O> {
    /// Decodes a recorded message. Returns `None` if it is malformed, or about a link that no longer exists.
    pub fn decode(message: &Message, names: &Names) -> Option<Self> {
        let mut notes = Notes::default();
        let mut reading = Reading { names, tells_address_makers: true, notes: &mut notes };
        let found = O::decode(&message.0, &mut reading).ok()??;
        let is_known = O::links(&found.key, &found.value).iter().all(Option::is_some);
        is_known.then(|| Self { key: found.key, value: found.value, maker: found.maker, message: message.clone() })
    }

    /// Returns whether this is the IPv6 family.
    pub fn is_ipv6(&self) -> bool {
        self.message.0.first() == Some(&super::wire::AF_INET6)
    }
}

/// Foreign objects by their keys, to look them up.
pub struct ByKey<'a, O: Object>(HashMap<&'a O::Key, Vec<&'a Foreign<O>>>);

impl<'a, O: Object> ByKey<'a, O> {
    /// Takes a list of objects.
    pub fn new(objects: &'a [Foreign<O>]) -> Self {
        let mut by_key: HashMap<_, Vec<_>> = HashMap::new();
        for foreign in objects {
            by_key.entry(&foreign.key).or_default().push(foreign);
        }
        Self(by_key)
    }

    /// Returns whether the list contains the same object, [`Object::is_same`].
    pub fn includes(&self, foreign: &Foreign<O>) -> bool {
        let is_same = |other: &&Foreign<O>| O::is_same((&foreign.key, &foreign.value), (&other.key, &other.value));
        self.0.get(&foreign.key).is_some_and(|others| others.iter().any(is_same))
    }
}

/// A foreign object to be added again.
#[derive(Debug, Clone, PartialEq)]
pub struct Restoration<O: Object> {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The object.
    pub foreign: Foreign<O>,
    /// The body of the request.
    pub request: Message,
    /// The address that must be usable first, [`Object::awaits`].
    pub awaited: Option<Box<Awaited>>,
}

/// What an object contributes to the reachability of gateways, and needs of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// The ways that the kernel finds when it looks up a gateway.
    pub ways: Vec<Way>,
    /// A local address, and its interface.
    pub source: Option<(IpAddr, LinkName)>,
    /// Gateways that must be reachable.
    pub gateways: Vec<Gateway>,
}

/// One next hop of a route, as the kernel looks for gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The destination.
    pub to: IpNet,
    /// The interface.
    pub dev: LinkName,
    /// The table of the route; `None` for the route to the subnet of an address, whose table depends on the VRF of its interface.
    pub table: Option<u32>,
    /// Whether a gateway may be there: the route leads straight to the interface.
    pub is_direct: bool,
}

/// A gateway of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its address.
    pub via: IpAddr,
    /// The interface.
    pub dev: LinkName,
    /// The table of the route.
    pub table: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_text() {
        let message = Message(vec![0, 1, 0xab, 0xff]);
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(text, "\"0001abff\"");
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
        for text in ["\"0\"", "\"0g\"", "\"öö\""] {
            assert!(serde_json::from_str::<Message>(text).is_err(), "{text}");
        }
    }
}

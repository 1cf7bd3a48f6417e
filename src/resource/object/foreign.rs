//! Foreign objects: objects of `host` that do not belong to the lab. The kernel may remove them as a side effect of the lab's changes.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::wire::{Names, Notes, Reading};
use super::{Awaited, Object};
use crate::name::NamespaceName;

/// The body of the message in which the kernel reported an object, or that adds it again. It has attributes that topo does not know, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Message(pub Vec<u8>);

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
        is_known.then(|| Self { key: found.key, value: found.value, message: message.clone() })
    }

    /// Returns whether this is the IPv6 family.
    pub fn is_ipv6(&self) -> bool {
        self.message.0.first() == Some(&super::wire::AF_INET6)
    }
}

/// A foreign object to be added again.
#[derive(Debug, Clone, PartialEq)]
pub struct Restoration<O: Object> {
    /// The namespace, which is `host`.
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
    /// A subnet whose addresses it makes reachable without a gateway.
    pub subnet: Option<IpNet>,
    /// A local address.
    pub source: Option<IpAddr>,
    /// Gateways that must be reachable.
    pub gateways: Vec<IpAddr>,
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

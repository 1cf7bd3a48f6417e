//! What a foreign port loses when the lab takes it from its master.

use serde::{Deserialize, Serialize};

use super::Port;
use super::bridge_vlans::Vlans;
use crate::iproute2::Word;
use crate::name::LinkName;
use crate::resource::object::Message;
use crate::resource::object::wire::{attributes, number};
use crate::words;

/// What a link had as a port of the master from which the lab took it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenPort {
    /// The master.
    pub master: LinkName,
    /// The kernel's name of the kind of the master.
    pub kind: String,
    /// The options that differ from those of a new port (IFLA_INFO_SLAVE_DATA).
    pub options: Message,
    /// Its VLANs, if they differ from those of a new port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlans: Option<Vlans>,
    /// Its static forwarding entries.
    pub entries: Vec<Message>,
}

impl TakenPort {
    /// Returns it after links were renamed. `now` returns their present names.
    #[must_use]
    pub fn renamed(self, now: impl Fn(LinkName) -> LinkName) -> Self {
        Self { master: now(self.master), ..self }
    }

    /// Returns the options as a port.
    pub fn port(&self) -> Option<Port> {
        let (mut port, _) = Port::decode(&self.kind, &self.options.0).ok().flatten()?;
        port.set_vlans(self.vlans.clone());
        Some(port)
    }
}

const AF_BRIDGE: u8 = 7;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;
const NDA_MASTER: u16 = 9;
const NDA_FLAGS_EXT: u16 = 15;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NTF_MASTER: u8 = 0x04;
const NTF_STICKY: u8 = 0x20;

/// Returns the port of a static forwarding entry of a bridge, and the body of the request that adds it (RTM_NEWNEIGH). `None` for other
/// entries, which the bridge learns or adds by itself. `mac` looks up the hardware address of a link.
pub fn static_entry(body: &[u8], mac: impl Fn(u32) -> Option<Vec<u8>>) -> Option<(u32, Message)> {
    let &[family, _, _, _, i0, i1, i2, i3, s0, s1, flags, _] = body.first_chunk::<12>()?;
    let (index, state) = (u32::from_ne_bytes([i0, i1, i2, i3]), u16::from_ne_bytes([s0, s1]));
    let (mut master, mut lladdr, mut request) = (None, Vec::new(), body[..12].to_vec());
    for (attribute, bytes) in attributes(&body[12..]).flatten() {
        match attribute {
            NDA_MASTER => master = number(bytes).ok(),
            NDA_LLADDR => lladdr = bytes.to_vec(),
            _ => {}
        }
        // The others are the kernel's: ages, and what follows from the port.
        if [NDA_LLADDR, NDA_VLAN, NDA_FLAGS_EXT].contains(&attribute) {
            request.extend(u16::try_from(4 + bytes.len()).unwrap_or(u16::MAX).to_ne_bytes());
            request.extend(attribute.to_ne_bytes());
            request.extend(bytes);
            request.resize(request.len().next_multiple_of(4), 0);
        }
    }
    // The bridge adds the port's own address.
    let is_own = state == NUD_PERMANENT && mac(index).is_some_and(|mac| mac == lladdr);
    let is_static = family == AF_BRIDGE && [NUD_NOARP, NUD_PERMANENT].contains(&state) && !is_own;
    let is_port = master.is_some_and(|master| master != index);
    request[10] = flags & NTF_STICKY | NTF_MASTER;
    (is_static && is_port).then_some((index, Message(request)))
}

/// Returns the words of bridge(8) that add a forwarding entry to a port.
pub fn static_entry_words(entry: &Message, port: LinkName) -> Vec<Word> {
    let flags = entry.0.get(10).copied().unwrap_or_default();
    let is_local = entry.0.get(8..10).is_some_and(|state| state == NUD_PERMANENT.to_ne_bytes());
    let mut words = words![entry_title(entry), "dev", port, "master", if is_local { "local" } else { "static" }].to_vec();
    if flags & NTF_STICKY != 0 {
        words.extend(words!["sticky"]);
    }
    let vlan = attributes(entry.0.get(12..).unwrap_or_default()).flatten().find(|(attribute, _)| *attribute == NDA_VLAN);
    if let Some(vlan) = vlan.and_then(|(_, bytes)| bytes.try_into().ok()).map(u16::from_ne_bytes) {
        words.extend(words!["vlan", vlan]);
    }
    words
}

/// Returns the hardware address of a forwarding entry as text.
pub fn entry_title(entry: &Message) -> String {
    let lladdr = attributes(entry.0.get(12..).unwrap_or_default()).flatten().find(|(attribute, _)| *attribute == NDA_LLADDR);
    let octets: Vec<String> = lladdr.into_iter().flat_map(|(_, bytes)| bytes.iter().map(|byte| format!("{byte:02x}"))).collect();
    octets.join(":")
}

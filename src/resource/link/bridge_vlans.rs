//! VLANs of a bridge and of its ports, bridge(8) "bridge vlan".
//!
//! ```yaml
//! eth0: { bridge_port: { vlans: { pvid: 10 } } }                      # an access port
//! eth1: { bridge_port: { vlans: { pvid: 1, tagged: [10, 20-29] } } }  # a trunk with a native VLAN
//! br0: { bridge: { ports: ["eth*"], vlan_filtering: true, vlans: { tagged: [10] } } }
//! ```
//!
//! The list is complete: other VLANs are removed, VLAN 1 included. The kernel has no attribute for it among the options of the bridge or
//! of the port, but messages of their own: RTM_SETLINK and RTM_DELLINK of AF_BRIDGE add and delete VLANs. One message of each contains a
//! whole change.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use netlink_packet_core::DefaultNla;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::iproute2::{Command, Line};
use crate::name::{LinkId, escape};
use crate::resource::link::Ifindex;
use crate::resource::object::wire::{attributes, number};
use crate::resource::option::{Sample, emit};
use crate::value_schema::value_schema;
use crate::{scalar, words};

const LEAST: u16 = 1;
const MOST: u16 = 4094;

/// A VLAN ID: 1 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct VlanId(u16);
value_schema!(VlanId, "VLAN ID", "A VLAN ID, from 1 to 4094.", {
    "type": ["integer", "string"],
    "minimum": LEAST,
    "maximum": MOST,
    "pattern": "^ *[0-9]+ *$",
    "patternErrorMessage": "Not a valid VLAN ID.",
    "examples": [10],
});

impl VlanId {
    fn numbered(number: i128) -> Result<Self, String> {
        let id = u16::try_from(number).ok().filter(|id| (LEAST..=MOST).contains(id));
        id.map(Self).ok_or_else(|| format!("{number} is not a valid VLAN ID; the range is {LEAST} to {MOST}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        match Range::<MOST_OF_VLANS>::parse(text) {
            Ok(range) if text.contains('-') => Err(format!("`{range}` is a range; only one VLAN can be the `pvid`")),
            Ok(range) => Self::numbered(range.first.into()),
            Err(error) => Err(error),
        }
    }
}
scalar!(VlanId, "a VLAN ID", VlanId::numbered, VlanId::parse);

const MOST_OF_VLANS: u32 = MOST as u32;
const MOST_OF_TUNNELS: u32 = (1 << 24) - 1;

/// One ID, or a range of IDs: `10`, `20-29`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range<const MOST: u32> {
    first: u32,
    last: u32,
}
/// VLAN IDs.
pub type VlanRange = Range<MOST_OF_VLANS>;
/// Tunnel IDs.
pub type TunnelRange = Range<MOST_OF_TUNNELS>;

impl<const MOST: u32> Range<MOST> {
    const WHAT: &'static str = if MOST == MOST_OF_VLANS { "VLAN ID" } else { "tunnel ID" };

    fn new(first: i128, last: i128) -> Result<Self, String> {
        let checked = |number: i128| {
            let id = u32::try_from(number).ok().filter(|id| (1..=MOST).contains(id));
            id.ok_or_else(|| format!("{number} is not a valid {}; the range is 1 to {MOST}", Self::WHAT))
        };
        let range = Self { first: checked(first)?, last: checked(last)? };
        if last < first { Err(format!("the range {first}-{last} is empty")) } else { Ok(range) }
    }

    fn numbered(number: i128) -> Result<Self, String> {
        Self::new(number, number)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            let text = text.trim();
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten().map(i128::from)
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) => Self::new(first, last),
            _ => Err(format!("`{}` is not a valid {}; write it like `10` or `20-29`", escape(text), Self::WHAT)),
        }
    }
}

impl<const MOST: u32> fmt::Display for Range<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last == self.first { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

impl<const MOST: u32> Serialize for Range<MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => serializer.serialize_u32(self.first),
            false => serializer.collect_str(self),
        }
    }
}
scalar!(VlanRange, "a VLAN ID or a range", VlanRange::numbered, VlanRange::parse);
scalar!(TunnelRange, "a tunnel ID or a range", TunnelRange::numbered, TunnelRange::parse);

impl<const MOST: u32> JsonSchema for Range<MOST> {
    fn schema_name() -> Cow<'static, str> {
        if MOST == MOST_OF_VLANS { "VlanRange" } else { "TunnelRange" }.into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "title": if MOST == MOST_OF_VLANS { "VLAN IDs" } else { "Tunnel IDs" },
            "description": format!("A {}, or a range, from 1 to {MOST}.", Self::WHAT),
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": MOST,
            "pattern": r"^ *[0-9]+ *(- *[0-9]+ *)?$",
            "patternErrorMessage": "Not a valid range; write it like `10` or `20-29`.",
            "examples": [10, "20-29"],
        })
    }
}

/// VLANs that are mapped to tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TunnelInfo {
    /// VLANs of the port (IFLA_BRIDGE_VLAN_TUNNEL_VID).
    vid: VlanRange,
    /// The tunnel ID of each, as many as VLANs, such as the VNI of a vxlan: 1 to 16777215 (IFLA_BRIDGE_VLAN_TUNNEL_ID).
    id: TunnelRange,
}

/// All VLANs of a bridge or of a port, as in a lab file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// VLAN of untagged frames that come in: 1 to 4094, by default they are dropped (BRIDGE_VLAN_INFO_PVID). Its frames go out
    /// untagged, unless `tagged` contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pvid: Option<VlanId>,
    /// Further VLANs whose frames go out untagged: IDs and ranges (BRIDGE_VLAN_INFO_UNTAGGED).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    untagged: Vec<VlanRange>,
    /// VLANs whose frames go out tagged: IDs and ranges (IFLA_BRIDGE_VLAN_INFO).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tagged: Vec<VlanRange>,
    /// Tunnel IDs of VLANs of a port with `vlan_tunnel: true` (IFLA_BRIDGE_VLAN_TUNNEL_INFO).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tunnel_info: Vec<TunnelInfo>,
}

/// What a bridge or a port does with one VLAN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Member {
    /// Untagged frames that come in belong to it.
    pvid: bool,
    /// Its frames go out untagged.
    untagged: bool,
    /// Its tunnel ID.
    tunnel: Option<u32>,
}

/// The VLANs of a bridge or of a port, with one form for each set of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Vlans(BTreeMap<u16, Member>);

impl JsonSchema for Vlans {
    fn schema_name() -> Cow<'static, str> {
        "Vlans".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

/// Ports and bridges without VLANs, access ports and trunks.
impl Sample for Vlans {
    fn samples() -> Vec<Self> {
        let access = |id| Self(BTreeMap::from([(id, Member { pvid: true, untagged: true, tunnel: None })]));
        let mut trunk = access(1);
        trunk.0.extend((10..=19).chain([30]).map(|id| (id, Member::default())));
        let tagged = Self((1..=20).map(|id| (id, Member { pvid: id == 2, ..Member::default() })).collect());
        vec![access(10), trunk, Self::default(), tagged, access(1)]
    }
}

impl TryFrom<Written> for Vlans {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut members: BTreeMap<u16, Member> = BTreeMap::new();
        for (ranges, untagged) in [(&written.untagged, true), (&written.tagged, false)] {
            for id in ranges.iter().copied().flat_map(VlanRange::ids) {
                if let Some(other) = members.insert(id, Member { untagged, ..Member::default() }) {
                    let lists = if other.untagged == untagged { "is listed twice" } else { "is both untagged and tagged" };
                    return Err(format!("VLAN {id} {lists}"));
                }
            }
        }
        if let Some(VlanId(id)) = written.pvid {
            members.entry(id).or_insert(Member { untagged: true, ..Member::default() }).pvid = true;
        }
        for TunnelInfo { vid, id } in written.tunnel_info {
            if vid.last - vid.first != id.last - id.first {
                return Err(format!("`tunnel_info` has not as many tunnel IDs as VLANs: {vid} and {id}"));
            }
            for (vid, id) in vid.ids().zip(id.first..) {
                let member = members.get_mut(&vid).ok_or_else(|| format!("`tunnel_info` of VLAN {vid}, which is not listed"))?;
                if member.tunnel.replace(id).is_some() {
                    return Err(format!("VLAN {vid} has two tunnel IDs"));
                }
            }
        }
        Ok(Self(members))
    }
}

impl VlanRange {
    fn ids(self) -> impl Iterator<Item = u16> {
        (self.first..=self.last).filter_map(|id| u16::try_from(id).ok())
    }
}

impl From<Vlans> for Written {
    fn from(vlans: Vlans) -> Self {
        let ranges = |wanted: &dyn Fn(&Member) -> bool| {
            let ids = vlans.0.iter().filter(|(_, member)| wanted(member)).map(|(id, _)| u32::from(*id));
            runs(ids.map(|id| (id, ())), |(), ()| true).into_iter().map(|(first, last, ())| VlanRange { first, last }).collect()
        };
        let tunnels = vlans.0.iter().filter_map(|(id, member)| Some((u32::from(*id), member.tunnel?)));
        let tunnels = runs(tunnels, |before, next| before + 1 == next);
        Self {
            pvid: vlans.pvid().map(VlanId),
            untagged: ranges(&|member| member.untagged && !member.pvid),
            tagged: ranges(&|member| !member.untagged),
            tunnel_info: tunnels
                .into_iter()
                .map(|(first, last, last_id)| TunnelInfo {
                    vid: VlanRange { first, last },
                    id: TunnelRange { first: last_id - (last - first), last: last_id },
                })
                .collect(),
        }
    }
}

/// Joins consecutive numbers whose values `continue`. Returns the first and the last number of each run, with the last value.
fn runs<T: Copy>(numbers: impl Iterator<Item = (u32, T)>, continues: impl Fn(T, T) -> bool) -> Vec<(u32, u32, T)> {
    let mut runs: Vec<(u32, u32, T)> = Vec::new();
    for (number, value) in numbers {
        match runs.last_mut() {
            Some((_, last, before)) if *last + 1 == number && continues(*before, value) => (*last, *before) = (number, value),
            _ => runs.push((number, number, value)),
        }
    }
    runs
}

const AF_BRIDGE: u8 = 7;
const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
/// The length of struct ifinfomsg.
const HEADER: usize = 16;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const IFLA_BRIDGE_VLAN_TUNNEL_INFO: u16 = 3;
const IFLA_BRIDGE_VLAN_TUNNEL_ID: u16 = 1;
const IFLA_BRIDGE_VLAN_TUNNEL_VID: u16 = 2;
const IFLA_BRIDGE_VLAN_TUNNEL_FLAGS: u16 = 3;
/// The message is for the bridge itself, linux/if_bridge.h.
const BRIDGE_FLAGS_SELF: u16 = 2;
const PVID: u16 = 2;
const UNTAGGED: u16 = 4;
const RANGE_BEGIN: u16 = 8;
const RANGE_END: u16 = 16;

impl Vlans {
    /// Returns what a new port of a bridge with this default VLAN has, and the bridge itself; 0 is none (IFLA_BR_VLAN_DEFAULT_PVID).
    pub fn of_new(default_pvid: u16) -> Self {
        let member = Member { pvid: true, untagged: true, tunnel: None };
        Self((default_pvid != 0).then_some((default_pvid, member)).into_iter().collect())
    }

    fn pvid(&self) -> Option<u16> {
        self.0.iter().find(|(_, member)| member.pvid).map(|(id, _)| *id)
    }

    /// Returns whether VLANs are mapped to tunnels.
    pub fn has_tunnels(&self) -> bool {
        self.0.values().any(|member| member.tunnel.is_some())
    }

    /// Returns the VLANs without their tunnel IDs.
    #[must_use]
    pub fn without_tunnels(mut self) -> Self {
        for member in self.0.values_mut() {
            member.tunnel = None;
        }
        self
    }

    /// Returns the VLANs after the bridge's default VLAN has changed: the kernel moves those that still have the old one, and gives the new
    /// one to those without, if there was no default VLAN before (`__br_vlan_set_default_pvid`).
    #[must_use]
    pub fn after_new_default(&self, old: u16, new: u16) -> Self {
        let mut vlans = self.clone();
        let has_old = self.0.get(&old).is_some_and(|member| member.pvid && member.untagged);
        let moves = (has_old || old == 0 && new != 0) && !self.0.contains_key(&new);
        if old != new && moves {
            vlans.0.remove(&old);
            if new != 0 {
                for member in vlans.0.values_mut() {
                    member.pvid = false;
                }
                vlans.0.extend(Self::of_new(new).0);
            }
        }
        vlans
    }

    /// Decodes the body of one RTM_NEWLINK of AF_BRIDGE; `None` if it is of a driver with a bridge of its own.
    ///
    /// # Errors
    /// Fails if it is malformed.
    pub fn decode(body: &[u8]) -> Result<Option<(Ifindex, Self)>, String> {
        let header: &[u8; HEADER] = body.first_chunk().ok_or("a truncated link message")?;
        let index = number(&header[4..8])?;
        if header[0] != AF_BRIDGE {
            return Ok(None);
        }
        let (mut members, mut tunnels) = (BTreeMap::new(), Vec::new());
        let (mut begun, mut begun_tunnel) = (None, None);
        for attribute in attributes(&body[HEADER..]) {
            let (IFLA_AF_SPEC, spec) = attribute? else { continue };
            for attribute in attributes(spec) {
                match attribute? {
                    (IFLA_BRIDGE_FLAGS, _) => return Ok(None),
                    (IFLA_BRIDGE_VLAN_INFO, value) => {
                        let [f0, f1, v0, v1] = *value.first_chunk().ok_or("a truncated VLAN")?;
                        let (flags, id) = (u16::from_ne_bytes([f0, f1]), u16::from_ne_bytes([v0, v1]));
                        let member = Member { pvid: flags & PVID != 0, untagged: flags & UNTAGGED != 0, tunnel: None };
                        match flags & (RANGE_BEGIN | RANGE_END) {
                            RANGE_BEGIN => begun = Some(id),
                            RANGE_END => members.extend((begun.take().unwrap_or(id)..=id).map(|id| (id, member))),
                            _ => drop(members.insert(id, member)),
                        }
                    }
                    (IFLA_BRIDGE_VLAN_TUNNEL_INFO, value) => {
                        let (vid, id, flags) = tunnel(value)?;
                        match flags & (RANGE_BEGIN | RANGE_END) {
                            RANGE_BEGIN => begun_tunnel = Some((vid, id)),
                            RANGE_END => {
                                let (first, id) = begun_tunnel.take().unwrap_or((vid, id));
                                tunnels.extend((first..=vid).zip(id..));
                            }
                            _ => tunnels.push((vid, id)),
                        }
                    }
                    _ => {}
                }
            }
        }
        for (vid, id) in tunnels {
            if let Some(member) = members.get_mut(&vid) {
                member.tunnel = Some(id);
            }
        }
        Ok(Some((index, Self(members))))
    }
}

/// Decodes one IFLA_BRIDGE_VLAN_TUNNEL_INFO: the VLAN, the tunnel ID and the flags.
fn tunnel(nest: &[u8]) -> Result<(u16, u32, u16), String> {
    let (mut vid, mut id, mut flags) = (0, 0, 0);
    let short = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)).ok_or("a truncated number");
    for attribute in attributes(nest) {
        match attribute? {
            (IFLA_BRIDGE_VLAN_TUNNEL_ID, value) => id = number(value)?,
            (IFLA_BRIDGE_VLAN_TUNNEL_VID, value) => vid = short(value)?,
            (IFLA_BRIDGE_VLAN_TUNNEL_FLAGS, value) => flags = short(value)?,
            _ => {}
        }
    }
    Ok((vid, id, flags))
}

/// The VLANs that were there before a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Before {
    /// Those of a new port or bridge.
    #[default]
    New,
    /// These.
    Known(Vlans),
    /// They were not read.
    Unknown,
}

impl Before {
    /// Returns the VLANs if they are known. A new port or bridge has the default VLAN.
    pub fn vlans(&self, default_pvid: Option<u16>) -> Option<Vlans> {
        match self {
            Self::New => default_pvid.map(Vlans::of_new),
            Self::Known(vlans) => Some(vlans.clone()),
            Self::Unknown => None,
        }
    }
}

impl Before {
    /// Returns those that were read, if they were.
    pub fn of_live(vlans: Option<Vlans>) -> Self {
        vlans.map_or(Self::Unknown, Self::Known)
    }
}

/// A change of VLANs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanChange {
    /// The VLANs before, if they are known.
    pub before: Option<Vlans>,
    /// The VLANs afterwards.
    pub after: Vlans,
    /// Whether they are those of the bridge itself, and not of a port.
    pub of_bridge: bool,
}

/// One step of a change: consecutive VLANs, and what they become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    first: u32,
    last: u32,
    member: Member,
}

impl Step {
    fn ids(self) -> VlanRange {
        VlanRange { first: self.first, last: self.last }
    }

    /// The tunnel IDs.
    fn tunnels(self) -> Option<TunnelRange> {
        let last = self.member.tunnel?;
        Some(TunnelRange { first: last - (self.last - self.first), last })
    }
}

impl VlanChange {
    /// Returns the VLANs that are added, or get other flags. The `pvid` comes first, so that untagged frames always have a VLAN, and alone,
    /// because the kernel accepts no range of them.
    fn added(&self) -> Vec<Step> {
        let is_same = |id: &u16, member: &Member| {
            let before = self.before.as_ref().and_then(|before| before.0.get(id));
            before.is_some_and(|before| (before.pvid, before.untagged) == (member.pvid, member.untagged))
        };
        let differing = self.after.0.iter().filter(|(id, member)| !is_same(id, member));
        let plain = |member: &Member| Member { tunnel: None, ..*member };
        let members = differing.map(|(id, member)| (u32::from(*id), plain(member)));
        let mut steps = steps(members, |one, other| one == other && !one.pvid);
        steps.sort_by_key(|step| !step.member.pvid);
        steps
    }

    /// Returns the VLANs that are deleted: if those before are unknown, all that are not wanted.
    fn deleted(&self) -> Vec<Step> {
        let was = |id: &u16| self.before.as_ref().is_none_or(|before| before.0.contains_key(id));
        let gone = (LEAST..=MOST).filter(|id| was(id) && !self.after.0.contains_key(id));
        steps(gone.map(|id| (u32::from(id), Member::default())), |_, _| true)
    }

    /// Returns the VLANs whose tunnel IDs are removed or replaced, with the IDs to remove; those of deleted VLANs go with them.
    fn unmapped(&self) -> Vec<Step> {
        let before = self.before.iter().flat_map(|before| &before.0);
        let changed = before.filter(|(id, member)| {
            let after = self.after.0.get(id);
            member.tunnel.is_some() && after.is_some_and(|after| after.tunnel != member.tunnel)
        });
        tunnel_steps(changed.map(|(id, member)| (*id, *member)))
    }

    /// Returns the VLANs that get tunnel IDs.
    fn mapped(&self) -> Vec<Step> {
        let before = |id: &u16| self.before.as_ref().and_then(|before| before.0.get(id)?.tunnel);
        let new = self.after.0.iter().filter(|(id, member)| member.tunnel.is_some() && member.tunnel != before(id));
        tunnel_steps(new.map(|(id, member)| (*id, *member)))
    }

    /// Returns the messages: their types and bodies.
    pub fn requests(&self, index: Ifindex) -> Vec<(u16, Vec<u8>)> {
        let vlans = |steps: Vec<Step>| steps.into_iter().flat_map(Step::vlans).collect::<Vec<_>>();
        let tunnels = |steps: Vec<Step>| steps.into_iter().flat_map(Step::mappings).collect::<Vec<_>>();
        let set = [vlans(self.added()), tunnels(self.mapped())].concat();
        let messages = [(RTM_DELLINK, tunnels(self.unmapped())), (RTM_SETLINK, set), (RTM_DELLINK, vlans(self.deleted()))];
        let messages = messages.into_iter().filter(|(_, entries)| !entries.is_empty());
        messages.map(|(kind, entries)| (kind, self.body(index, entries))).collect()
    }

    fn body(&self, index: Ifindex, entries: Vec<DefaultNla>) -> Vec<u8> {
        let flags = self.of_bridge.then(|| DefaultNla::new(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF.to_ne_bytes().to_vec()));
        let spec: Vec<_> = flags.into_iter().chain(entries).collect();
        let mut body = vec![0; HEADER];
        body[0] = AF_BRIDGE;
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body.extend(emit(&[DefaultNla::new(IFLA_AF_SPEC, emit(&spec))]));
        body
    }

    /// Returns the commands that do the same.
    pub fn say(&self, link: &LinkId) -> Vec<Line> {
        let command = |verb: &str, step: Step| {
            let command = Command::bridge(&link.namespace, words!["vlan", verb, "dev", link.name, "vid", step.ids()]);
            command.and_if(self.of_bridge, "self")
        };
        let tunnel = |verb: &str, step: Step| -> Option<Line> {
            Some(command(verb, step).and(words!["tunnel_info", "id", step.tunnels()?]).into())
        };
        let mut lines: Vec<Line> = self.unmapped().into_iter().filter_map(|step| tunnel("del", step)).collect();
        lines.extend(self.added().into_iter().map(|step| {
            let Member { pvid, untagged, .. } = step.member;
            Line::from(command("add", step).and_if(pvid, "pvid").and_if(untagged, "untagged"))
        }));
        lines.extend(self.mapped().into_iter().filter_map(|step| tunnel("add", step)));
        lines.extend(self.deleted().into_iter().map(|step| Line::from(command("del", step))));
        lines
    }
}

fn steps(members: impl Iterator<Item = (u32, Member)>, continues: impl Fn(Member, Member) -> bool) -> Vec<Step> {
    let runs = runs(members, continues);
    runs.into_iter().map(|(first, last, member)| Step { first, last, member }).collect()
}

/// Joins VLANs whose tunnel IDs are consecutive, too.
fn tunnel_steps(members: impl Iterator<Item = (u16, Member)>) -> Vec<Step> {
    let members = members.map(|(id, member)| (u32::from(id), Member { tunnel: member.tunnel, ..Member::default() }));
    steps(members, |one, other| one.tunnel.map(|id| id + 1) == other.tunnel)
}

impl Step {
    /// Encodes the VLANs: one IFLA_BRIDGE_VLAN_INFO, or two for a range.
    fn vlans(self) -> Vec<DefaultNla> {
        let flags = if self.member.pvid { PVID } else { 0 } | if self.member.untagged { UNTAGGED } else { 0 };
        let info = |flags: u16, id: u32| {
            let id = u16::try_from(id).unwrap_or(0);
            DefaultNla::new(IFLA_BRIDGE_VLAN_INFO, [flags.to_ne_bytes(), id.to_ne_bytes()].concat())
        };
        match self.first == self.last {
            true => vec![info(flags, self.first)],
            false => vec![info(flags | RANGE_BEGIN, self.first), info(flags | RANGE_END, self.last)],
        }
    }

    /// Encodes the tunnel IDs: one IFLA_BRIDGE_VLAN_TUNNEL_INFO, or two for a range.
    fn mappings(self) -> Vec<DefaultNla> {
        let Some(ids) = self.tunnels() else { return Vec::new() };
        let info = |flags: u16, vid: u32, id: u32| {
            let vid = u16::try_from(vid).unwrap_or(0);
            let nest = [
                DefaultNla::new(IFLA_BRIDGE_VLAN_TUNNEL_ID, id.to_ne_bytes().to_vec()),
                DefaultNla::new(IFLA_BRIDGE_VLAN_TUNNEL_VID, vid.to_ne_bytes().to_vec()),
                DefaultNla::new(IFLA_BRIDGE_VLAN_TUNNEL_FLAGS, flags.to_ne_bytes().to_vec()),
            ];
            DefaultNla::new(IFLA_BRIDGE_VLAN_TUNNEL_INFO, emit(&nest))
        };
        match self.first == self.last {
            true => vec![info(0, self.first, ids.first)],
            false => vec![info(RANGE_BEGIN, self.first, ids.first), info(RANGE_END, self.last, ids.last)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Vlans, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    fn vlans(value: Value) -> Vlans {
        read(value).unwrap()
    }

    fn change(before: Option<Value>, after: Value) -> VlanChange {
        VlanChange { before: before.map(vlans), after: vlans(after), of_bridge: false }
    }

    fn say(change: &VlanChange) -> Vec<String> {
        let word = |line: &Line| match line {
            Line::Command(command) => format!("{command:?}"),
            Line::Impossible(what) => what.clone(),
        };
        change.say(&"a:p1".parse().unwrap()).iter().map(word).collect()
    }

    /// Applies the messages to VLANs as the kernel does.
    fn applied(mut live: Vlans, change: &VlanChange) -> Vlans {
        for (kind, body) in change.requests(7) {
            let (index, entries) = Vlans::decode(&body).unwrap().unwrap();
            assert_eq!(index, 7);
            for (id, member) in entries.0 {
                if kind == RTM_DELLINK {
                    live.0.remove(&id);
                } else {
                    if member.pvid {
                        for member in live.0.values_mut() {
                            member.pvid = false;
                        }
                    }
                    live.0.insert(id, member);
                }
            }
        }
        live
    }

    #[test]
    fn each_set_of_vlans_has_one_form() {
        for (written, form) in [
            (json!({ "pvid": 10 }), json!({ "pvid": 10 })),
            (json!({ "pvid": 10, "untagged": [10] }), json!({ "pvid": 10 })),
            (json!({ "pvid": 1, "tagged": [3, 2, "10-12", 4] }), json!({ "pvid": 1, "tagged": ["2-4", "10-12"] })),
            (json!({ "pvid": 1, "tagged": ["1-3"] }), json!({ "pvid": 1, "tagged": ["1-3"] })),
            (json!({ "untagged": ["5 - 6"], "tagged": ["4"] }), json!({ "untagged": ["5-6"], "tagged": [4] })),
            (json!({}), json!({})),
            (
                json!({ "tagged": ["10-12"], "tunnel_info": [{ "vid": 12, "id": 112 }, { "vid": "10-11", "id": "110-111" }] }),
                json!({ "tagged": ["10-12"], "tunnel_info": [{ "vid": "10-12", "id": "110-112" }] }),
            ),
        ] {
            let vlans = vlans(written);
            assert_eq!(serde_json::to_value(&vlans).unwrap(), form);
            assert_eq!(read(form).unwrap(), vlans);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for (written, message) in [
            (json!({ "pvid": 0 }), "0 is not a valid VLAN ID"),
            (json!({ "pvid": 4095 }), "4095 is not a valid VLAN ID"),
            (json!({ "pvid": "10-11" }), "`10-11` is a range"),
            (json!({ "tagged": ["10-5"] }), "the range 10-5 is empty"),
            (json!({ "tagged": ["0-5"] }), "0 is not a valid VLAN ID"),
            (json!({ "tagged": ["5-4095"] }), "4095 is not a valid VLAN ID"),
            (json!({ "tagged": ["ten"] }), "`ten` is not a valid VLAN ID"),
            (json!({ "tagged": ["1-20", 10] }), "VLAN 10 is listed twice"),
            (json!({ "untagged": [10], "tagged": ["1-20"] }), "VLAN 10 is both untagged and tagged"),
            (json!({ "tagged": [10], "tunnel_info": [{ "vid": 11, "id": 11 }] }), "`tunnel_info` of VLAN 11"),
            (json!({ "tagged": [10], "tunnel_info": [{ "vid": 10, "id": "11-12" }] }), "not as many tunnel IDs"),
            (json!({ "tagged": [10], "tunnel_info": [{ "vid": 10, "id": 16_777_216 }] }), "16777216 is not a valid tunnel ID"),
        ] {
            let error = read(written).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn the_messages_lead_from_any_vlans_to_any_others() {
        let all = Vlans::samples();
        for (before, after) in all.iter().flat_map(|before| all.iter().map(move |after| (before, after))) {
            for known in [true, false] {
                let before_known = Some(before.clone()).filter(|_| known);
                let change = VlanChange { before: before_known, after: after.clone(), of_bridge: false };
                assert_eq!(applied(before.clone(), &change), *after);
                assert!(!known || before != after || change.requests(7).is_empty());
            }
        }
    }

    #[test]
    fn thousands_of_vlans_fit_a_few_bytes() {
        let change = change(Some(json!({ "pvid": 1 })), json!({ "pvid": 1, "tagged": ["2-4094"] }));
        let requests = change.requests(7);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].1.len(), HEADER + 4 + 2 * 8);
    }

    #[test]
    fn the_new_pvid_comes_before_the_old_one_goes() {
        let steps = change(Some(json!({ "pvid": 30, "tagged": ["10-12"] })), json!({ "pvid": 20, "tagged": ["10-12", 30] }));
        assert_eq!(say(&steps).len(), 2);
        let ids: Vec<_> = steps.added().iter().map(|step| (step.first, step.member.pvid)).collect();
        assert_eq!(ids, [(20, true), (30, false)]);
        assert_eq!(
            change(Some(json!({ "pvid": 1 })), json!({ "pvid": 10 }))
                .requests(7)
                .iter()
                .map(|(kind, _)| *kind)
                .collect::<Vec<_>>(),
            [RTM_SETLINK, RTM_DELLINK]
        );
    }

    #[test]
    fn messages_for_the_bridge_say_so() {
        let ports = change(None, json!({ "pvid": 10 }));
        let bridge = VlanChange { of_bridge: true, ..ports.clone() };
        let spec = |change: &VlanChange| change.requests(7)[0].1[HEADER + 4..].to_vec();
        assert_eq!(spec(&ports)[..4], [8, 0, 2, 0]);
        assert_eq!(spec(&bridge)[..6], [6, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn tunnels_are_mapped_and_unmapped() {
        let info = |vid: &str, id: &str| json!({ "tagged": ["10-13"], "tunnel_info": [{ "vid": vid, "id": id }] });
        let change = change(Some(info("10-11", "110-111")), info("11-13", "111-113"));
        let ids = |steps: Vec<Step>| {
            steps.iter().map(|step| (step.first, step.last, step.tunnels().unwrap().first)).collect::<Vec<_>>()
        };
        assert_eq!((ids(change.unmapped()), ids(change.mapped())), (vec![(10, 10, 110)], vec![(12, 13, 112)]));
        let written = vlans(info("10-13", "110-113"));
        let new = VlanChange { before: Some(Vlans::default()), after: written.clone(), of_bridge: false };
        assert_eq!(Vlans::decode(&new.requests(7)[0].1).unwrap().unwrap().1, written);
    }

    #[test]
    fn a_new_default_vlan_moves_what_has_the_old_one() {
        let after = |value: Value, old, new| serde_json::to_value(vlans(value).after_new_default(old, new)).unwrap();
        assert_eq!(after(json!({ "pvid": 1, "tagged": [7] }), 1, 5), json!({ "pvid": 5, "tagged": [7] }));
        assert_eq!(after(json!({ "pvid": 1 }), 1, 0), json!({}));
        assert_eq!(after(json!({ "pvid": 1, "tagged": [1] }), 1, 5), json!({ "pvid": 1, "tagged": [1] }));
        assert_eq!(after(json!({ "pvid": 9 }), 1, 5), json!({ "pvid": 9 }));
        assert_eq!(after(json!({ "pvid": 1, "tagged": [5] }), 1, 5), json!({ "pvid": 1, "tagged": [5] }));
        assert_eq!(after(json!({ "pvid": 9 }), 0, 5), json!({ "pvid": 5, "untagged": [9] }));
        assert_eq!(after(json!({ "pvid": 9 }), 9, 9), json!({ "pvid": 9 }));
    }

    #[test]
    fn truncated_messages_are_an_error() {
        let body = change(None, json!({ "pvid": 10, "tagged": ["20-29"] })).requests(7).remove(0).1;
        for cut in [0, 15, 18, 27] {
            assert!(Vlans::decode(&body[..cut]).is_err(), "{cut}");
        }
        let other = [&[0][..], &body[1..]].concat();
        assert_eq!(Vlans::decode(&other).unwrap(), None);
    }
}

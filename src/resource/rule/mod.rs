//! A rule of policy routing, ip-rule(8): which table is looked up for which packets.
//!
//! ```yaml
//! rules:
//!   - { priority: 100, from: 192.0.2.0/24, table: 100 }
//!   - { priority: 200, fwmark: 0x10/0xf0, iif: eth0, table: vpn }
//!   - { priority: 300, to: "2001:db8::/32", type: unreachable }
//! ```

mod commands;
mod lower;
mod order;
mod spec;
mod wire;

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::spec::{Fwmark, IpProtocol, PortRange, RuleSpec, UidRange};
use super::FieldChange;
use super::object::site::{Item, Lowered, Site};
use super::object::wire::{Dump, Found, Reading, Request};
use super::object::{At, Group, Need, Object, Over, Pair, Restoration, Seen, Surroundings, Verdict};
use super::route::{DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE};
use crate::iproute2::Line;
use crate::name::LinkName;
use crate::yaml::Problems;

/// What tells one rule of a namespace from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    /// Whether it is for IPv6.
    pub ipv6: bool,
    /// Rules are evaluated in this order (FRA_PRIORITY).
    pub priority: u32,
    /// The packets that it is for.
    pub selector: Selector,
    /// 0, or the place among live rules that agree in all the rest.
    pub ordinal: u16,
}

impl RuleKey {
    /// The rules that the kernel makes in each namespace: priority and table, by family.
    const DEFAULTS: [(bool, u32, u32); 5] = [
        (false, 0, LOCAL_TABLE),
        (false, 32766, MAIN_TABLE),
        (false, 32767, DEFAULT_TABLE),
        (true, 0, LOCAL_TABLE),
        (true, 32766, MAIN_TABLE),
    ];

    /// Whether the rule is like one that the kernel makes in each namespace.
    fn is_default(&self, rule: &Rule) -> bool {
        let plain = |table| Rule { table: Some(table), order: rule.order, ..Rule::default() };
        let alike = |(ipv6, priority, table): &(bool, u32, u32)| {
            (*ipv6, *priority) == (self.ipv6, self.priority) && *rule == plain(*table)
        };
        self.selector == Selector::default() && Self::DEFAULTS.iter().any(alike)
    }

    /// Whether both are for the same packets at the same priority.
    fn agrees(&self, other: &Self) -> bool {
        (self.ipv6, self.priority, &self.selector) == (other.ipv6, other.priority, &other.selector)
    }
}

impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = &self.selector;
        write!(f, "{}", self.priority)?;
        if self.ipv6 && selector.from.or(selector.to).is_none() {
            f.write_str(" (inet6)")?;
        }
        write!(f, "{selector}")?;
        if self.ordinal != 0 {
            write!(f, " #{}", self.ordinal + 1)?;
        }
        Ok(())
    }
}

/// The packets that a rule is for: those that meet all conditions, or, with `not`, all others.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// Whether the conditions are inverted (FIB_RULE_INVERT).
    pub not: bool,
    /// The source (FRA_SRC); a prefix of length 0 is no condition.
    pub from: Option<IpNet>,
    /// The destination (FRA_DST); a prefix of length 0 is no condition.
    pub to: Option<IpNet>,
    /// The incoming interface (FRA_IIFNAME); the kernel keeps the rule when the interface goes.
    pub iif: Option<LinkName>,
    /// The outgoing interface (FRA_OIFNAME).
    pub oif: Option<LinkName>,
    /// The firewall mark.
    pub fwmark: Option<Fwmark>,
    /// The type of service or traffic class (`tos` of `struct fib_rule_hdr`).
    pub tos: Option<u8>,
    /// The protocol.
    pub ipproto: Option<IpProtocol>,
    /// The source ports.
    pub sport: Option<PortRange>,
    /// The destination ports.
    pub dport: Option<PortRange>,
    /// The users.
    pub uidrange: Option<UidRange>,
    /// The tunnel (FRA_TUN_ID).
    pub tun_id: Option<u64>,
    /// Whether packets of VRFs are meant (FRA_L3MDEV).
    pub l3mdev: bool,
    /// Attributes that the lab file has no word for, as they are: live rules alone have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<(u16, Vec<u8>)>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        let mut add = |word: &str, value: Option<String>| words.extend(value.map(|value| format!("{word} {value}")));
        add("from", self.from.map(prefix));
        add("to", self.to.map(prefix));
        add("iif", self.iif.map(|link| link.to_string()));
        add("oif", self.oif.map(|link| link.to_string()));
        add("fwmark", self.fwmark.map(|mark| mark.to_string()));
        add("tos", self.tos.map(|tos| format!("{tos:#x}")));
        add("ipproto", self.ipproto.map(|protocol| protocol.to_string()));
        add("sport", self.sport.map(|ports| ports.to_string()));
        add("dport", self.dport.map(|ports| ports.to_string()));
        add("uidrange", self.uidrange.map(|users| users.to_string()));
        add("tun_id", self.tun_id.map(|id| id.to_string()));
        words.extend(self.l3mdev.then(|| "l3mdev".to_owned()));
        words.extend(self.others.iter().map(|(kind, _)| format!("attribute {kind}")));
        if words.is_empty() {
            words.push("from all".to_owned());
        }
        let not = if self.not { " not" } else { "" };
        write!(f, "{not} {}", words.join(" "))
    }
}

/// A prefix as ip-rule(8) writes it.
fn prefix(prefix: IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() { prefix.addr().to_string() } else { prefix.to_string() }
}

/// What a rule does with a packet (`action` of `struct fib_rule_hdr`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Looks it up in a table.
    #[default]
    Table,
    /// Goes on with another rule.
    Goto,
    /// Nothing.
    Nop,
    /// Drops it silently.
    Blackhole,
    /// Refuses it: network unreachable.
    Unreachable,
    /// Refuses it: administratively prohibited.
    Prohibit,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Goto => "goto",
            Self::Nop => "nop",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        })
    }
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// The table (FRA_TABLE); `None` with `Action::Table` means that of the packet's VRF.
    pub table: Option<u32>,
    /// The priority of the rule to go on with (FRA_GOTO).
    pub goto: Option<u32>,
    /// Routes with a prefix of this length or a shorter one do not count (FRA_SUPPRESS_PREFIXLEN).
    pub suppress_prefixlength: Option<u32>,
    /// Routes over interfaces of this group do not count (FRA_SUPPRESS_IFGROUP).
    pub suppress_ifgroup: Option<u32>,
    /// The place among the rules of the same family and priority, which the kernel evaluates in the order in which they were added.
    pub order: u16,
}

impl Rule {
    /// Whether both do the same.
    fn does_as(&self, other: &Self) -> bool {
        *self == Self { order: self.order, ..other.clone() }
    }
}

impl Object for Rule {
    const WORD: &'static str = "rule";
    const LIST: &'static str = "rules";
    const NEW: u16 = 32;
    type Key = RuleKey;
    type Spec = RuleSpec;

    fn lower(items: &[Item<'_, RuleSpec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems) {
        lower::lower(items, site, lowered, problems);
    }

    fn raise(key: &RuleKey, value: &Self) -> RuleSpec {
        spec::raise(key, value)
    }

    /// None: messages have the names of interfaces, and the kernel keeps rules whose interface is gone.
    fn links(_: &RuleKey, _: &Self) -> Vec<Option<LinkName>> {
        Vec::new()
    }

    fn needs(_: &RuleKey, _: &Self) -> Vec<Need> {
        Vec::new()
    }

    /// Every difference; the kernel changes nothing in place.
    fn compare(_: &RuleKey, desired: &Self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let mut check = |name: &str, differs: bool, show: &dyn Fn(&Self) -> Value| {
            if differs {
                let change = FieldChange::new(name, show(live), show(desired));
                changes.push(FieldChange { forces_replacement: true, ..change });
            }
        };
        check("type", desired.action != live.action, &|rule| json!(rule.action.to_string()));
        check("table", desired.table != live.table, &|rule| json!(rule.table));
        check("goto", desired.goto != live.goto, &|rule| json!(rule.goto));
        let name = "suppress_prefixlength";
        check(name, desired.suppress_prefixlength != live.suppress_prefixlength, &|rule| json!(rule.suppress_prefixlength));
        check("suppress_ifgroup", desired.suppress_ifgroup != live.suppress_ifgroup, &|rule| json!(rule.suppress_ifgroup));
        changes
    }

    fn show(_: &RuleKey, value: &Self) -> Vec<(&'static str, Value)> {
        let mut shown = Vec::new();
        let mut add = |name: &'static str, value: Option<Value>| shown.extend(value.map(|value| (name, value)));
        let named = !matches!(value.action, Action::Table | Action::Goto);
        add("type", named.then(|| value.action.to_string().into()));
        add("table", value.table.map(Value::from));
        add("suppress_prefixlength", value.suppress_prefixlength.map(Value::from));
        add("suppress_ifgroup", value.suppress_ifgroup.map(Value::from));
        add("goto", value.goto.map(Value::from));
        shown
    }

    fn title(key: &RuleKey, value: &Self) -> String {
        match value.action {
            Action::Table | Action::Goto => key.to_string(),
            action @ (Action::Nop | Action::Blackhole | Action::Unreachable | Action::Prohibit) => format!("{key} {action}"),
        }
    }

    /// A new namespace has the rules of the kernel, so that declared ones need not be added.
    fn settle(group: &Group<'_, Self>, surroundings: &mut Surroundings<'_>) -> Vec<Verdict<Self>> {
        let is_inborn = |pair: &&Pair<'_, Self>| pair.desired.is_some_and(|rule| pair.key.is_default(rule));
        if surroundings.is_new && group.iter().any(|pair| is_inborn(&pair)) {
            let others: Vec<_> = group.iter().filter(|pair| !is_inborn(pair)).cloned().collect();
            return order::settle(&others);
        }
        order::settle(group)
    }

    fn inborn() -> Vec<(RuleKey, Self)> {
        let rule = |(ipv6, priority, table)| {
            (RuleKey { ipv6, priority, ..RuleKey::default() }, Self { table: Some(table), ..Self::default() })
        };
        RuleKey::DEFAULTS.map(rule).into()
    }

    /// Of several rules with one priority, the kernel puts the next one behind the others.
    fn rank(&self) -> i64 {
        self.order.into()
    }

    /// In the kernel's order, since a request to delete a rule deletes the first one that has all the attributes which it names.
    fn removal_rank(&self) -> i64 {
        self.order.into()
    }

    fn dumps() -> Vec<Dump> {
        wire::dumps()
    }

    fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Self>>, String> {
        let _ = reading;
        wire::decode(body)
    }

    fn put(at: &At<Self>, _: &Over<Self>) -> Vec<Request> {
        wire::put(at)
    }

    fn remove(at: &At<Self>) -> Vec<Request> {
        wire::remove(at)
    }

    fn say_put(at: &At<Self>, _: &Over<Self>) -> Vec<Line> {
        commands::put(at)
    }

    fn say_remove(at: &At<Self>) -> Vec<Line> {
        commands::remove(at)
    }

    fn say_again(again: &Restoration<Self>) -> Line {
        commands::again(again)
    }

    fn arrange(objects: &mut Vec<(RuleKey, Self)>, _: &Seen<'_>) {
        order::arrange(objects);
    }

    /// Rules that do different things exist side by side.
    fn is_same(one: (&RuleKey, &Self), other: (&RuleKey, &Self)) -> bool {
        one.0.agrees(other.0) && one.1.does_as(other.1)
    }
}

//! Rules: families, priorities, and what the kernel or ip-rule(8) would not take.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Action, Rule, RuleKey, RuleSpec, Selector};
use crate::name::LinkName;
use crate::resource::object::site::{Item, Lowered, Position, Site};
use crate::resource::route::{Family, MAIN_TABLE, Table};
use crate::value::Destination;
use crate::yaml::problem::whole;
use crate::yaml::{Path, Problems};

/// The priority of the first rule without one: behind that of VRFs (1000), before that of `main` (32766).
const FIRST_PRIORITY: u32 = 10_000;
/// The priority of the kernel's rule for `main`.
const MAIN_PRIORITY: u32 = 32_766;
/// The priority of the kernel's rule for VRFs (FIB_RULE_PREF in drivers/net/vrf.c).
const VRF_PRIORITY: u32 = 1000;
/// The bits of the type of service that IPv4 rules can match (IPTOS_TOS_MASK without the low bits).
const IPV4_TOS: u8 = 0x1c;

/// A rule as written, with what it is checked against.
struct Context<'c> {
    site: &'c Site<'c>,
    spec: &'c RuleSpec,
    position: Position,
    ipv6: bool,
    priority: u32,
}

/// Lowers the rules of a namespace.
pub(super) fn lower(items: &[Item<'_, RuleSpec>], site: &Site<'_>, lowered: &mut Lowered<Rule>, problems: &mut Problems) {
    let priorities = priorities(items);
    let targets: BTreeSet<(bool, u32)> = items.iter().map(|item| is_ipv6(item.spec)).zip(priorities.iter().copied()).collect();
    let mut seen: BTreeMap<RuleKey, Position> = BTreeMap::new();
    let mut orders: BTreeMap<(bool, u32), u16> = BTreeMap::new();
    for (&Item { spec, position }, priority) in items.iter().zip(priorities) {
        let context = Context { site, spec, position, ipv6: is_ipv6(spec), priority };
        let before = problems.count;
        let key = RuleKey { ipv6: context.ipv6, priority, selector: context.selector(problems), ordinal: 0 };
        let rule = context.rule(&targets, problems);
        context.check_priority(problems);
        context.refuse_rule_of_vrfs(&key, problems);
        let Some(mut rule) = rule.filter(|_| problems.count == before) else { continue };
        if let Some(first) = seen.insert(key.clone(), position) {
            context.refuse_second(&key, first, problems);
            continue;
        }
        let order = orders.entry((key.ipv6, priority)).or_default();
        rule.order = *order;
        *order = order.saturating_add(1);
        lowered.add(position, || (key, rule));
    }
}

/// The priorities of all rules: those that the file gives, and for each family free ones from [`FIRST_PRIORITY`] in its order.
fn priorities(items: &[Item<'_, RuleSpec>]) -> Vec<u32> {
    let given = items.iter().filter_map(|item| Some((is_ipv6(item.spec), item.spec.priority?)));
    let taken: BTreeSet<(bool, u32)> = given.collect();
    let mut next = [FIRST_PRIORITY; 2];
    let mut free = |ipv6: bool| {
        let next = &mut next[usize::from(ipv6)];
        while taken.contains(&(ipv6, *next)) {
            *next += 1;
        }
        *next += 1;
        *next - 1
    };
    items.iter().map(|item| item.spec.priority.unwrap_or_else(|| free(is_ipv6(item.spec)))).collect()
}

/// Whether the rule is for IPv6: by its prefixes, or what the file says.
fn is_ipv6(spec: &RuleSpec) -> bool {
    match [spec.from, spec.to].into_iter().find_map(prefix) {
        Some(prefix) => matches!(prefix, IpNet::V6(_)),
        None => spec.family == Some(Family::Inet6),
    }
}

fn prefix(given: Option<Destination>) -> Option<IpNet> {
    match given {
        Some(Destination::Prefix(prefix)) => Some(prefix),
        Some(Destination::Default) | None => None,
    }
}

impl Context<'_> {
    fn path(&self) -> Path {
        self.site.path::<Rule>(self.position)
    }

    fn family(&self) -> &'static str {
        if self.ipv6 { "IPv6" } else { "IPv4" }
    }

    fn refuse_second(&self, key: &RuleKey, first: Position, problems: &mut Problems) {
        let message = format!("duplicate rule `{key}` in `{}`", self.site.namespace);
        let first = self.site.path::<Rule>(first);
        let problem = problems.error(self.path(), message);
        problem.also(first.clone(), "first defined here").needs(whole(self.path())).needs(whole(first));
        problem.hint("use different priorities");
    }

    /// Rules without a priority must not end up behind `main`, where hardly a packet comes.
    fn check_priority(&self, problems: &mut Problems) {
        if self.spec.priority.is_none() && self.priority >= MAIN_PRIORITY {
            let message = format!("no priority from {FIRST_PRIORITY} to {} is free for this rule", MAIN_PRIORITY - 1);
            problems.error(self.path(), message).hint("set `priority`");
        }
    }

    /// The kernel adds its rule for VRFs to a namespace with the first one, and never removes it.
    fn refuse_rule_of_vrfs(&self, key: &RuleKey, problems: &mut Problems) {
        let is_kernels = key.priority == VRF_PRIORITY && key.selector == Selector { l3mdev: true, ..Selector::default() };
        if is_kernels && self.site.interfaces.values().any(|interface| interface.vrf.is_some()) {
            let message = format!("the kernel adds the rule `{key}` by itself, because `{}` has a vrf", self.site.namespace);
            let problem = problems.error(self.path(), message).needs(whole(self.path()));
            problem.hint("remove the rule, or give it another `priority`");
        }
    }

    fn selector(&self, problems: &mut Problems) -> Selector {
        let spec = self.spec;
        self.check_family(problems);
        self.check_tos(problems);
        for (key, name) in [("iif", spec.iif), ("oif", spec.oif)] {
            self.check_interface(key, name, problems);
        }
        if spec.tun_id == Some(0) {
            problems.error(self.path().then("tun_id"), "tunnel ID 0 matches all packets").hint("remove `tun_id`");
        }
        // To the kernel an empty prefix is no condition.
        let condition = |given| prefix(given).filter(|prefix| prefix.prefix_len() > 0);
        Selector {
            not: spec.not,
            from: condition(spec.from),
            to: condition(spec.to),
            iif: spec.iif,
            oif: spec.oif,
            fwmark: spec.fwmark,
            tos: spec.tos.filter(|tos| *tos != 0),
            ipproto: spec.ipproto,
            sport: spec.sport,
            dport: spec.dport,
            uidrange: spec.uidrange,
            tun_id: spec.tun_id,
            l3mdev: spec.l3mdev,
            others: Vec::new(),
        }
    }

    fn check_family(&self, problems: &mut Problems) {
        let spec = self.spec;
        if let (Some(from), Some(to)) = (prefix(spec.from), prefix(spec.to))
            && from.addr().is_ipv4() != to.addr().is_ipv4()
        {
            let problem = problems.error(self.path().then("to"), format!("`{to}` is not of the family of `{from}`"));
            problem.also(self.path().then("from"), "the source").hint("use a rule for each family");
            return;
        }
        let contradicts = |family: Family| (family == Family::Inet6) != self.ipv6;
        if spec.family.is_some_and(contradicts) {
            let message = format!("`family` contradicts the {} prefix", self.family());
            problems.error(self.path().then("family"), message).hint("remove `family`; the prefix implies it");
        }
    }

    fn check_tos(&self, problems: &mut Problems) {
        let Some(tos) = self.spec.tos else { return };
        let path = || self.path().then("tos");
        if tos & 3 != 0 {
            let problem = problems.error(path(), format!("invalid type of service {tos}: the two low bits must be 0"));
            problem.hint("use a multiple of 4, such as `0x10`");
        } else if !self.ipv6 && tos & !IPV4_TOS != 0 {
            let message = format!("type of service {tos:#x} has bits that IPv4 rules cannot match");
            problems.error(path(), message).hint(format!("use bits of {IPV4_TOS:#x}"));
        }
    }

    /// The kernel takes a name that no interface has yet. In a namespace of the lab there will never be one.
    fn check_interface(&self, key: &str, name: Option<LinkName>, problems: &mut Problems) {
        let unknown = name.filter(|name| self.site.owned && !self.site.interfaces.contains_key(name));
        if let Some(name) = unknown {
            self.site.places.unknown_interface(name, self.path().then(key), problems);
        }
    }

    fn rule(&self, targets: &BTreeSet<(bool, u32)>, problems: &mut Problems) -> Option<Rule> {
        let spec = self.spec;
        let table_path = || self.path().then("table");
        let table = Table::resolve(spec.table.as_ref(), self.site.tables, table_path, problems)?;
        let action = match (spec.goto, spec.kind) {
            (_, Some(kind)) => kind.action(),
            (Some(_), None) => Action::Goto,
            (None, None) => Action::Table,
        };
        self.refuse_second_action(action, problems);
        if let (Some(target), Action::Goto) = (spec.goto, action) {
            self.check_target(target, targets, problems);
        }
        let longest = if self.ipv6 { 128 } else { 32 };
        if let Some(length) = spec.suppress_prefixlength.filter(|length| *length > longest) {
            let message = format!("prefix length {length} is out of range (0 to {longest})");
            problems.error(self.path().then("suppress_prefixlength"), message);
        }
        if spec.suppress_ifgroup == Some(u32::MAX) {
            problems.error(self.path().then("suppress_ifgroup"), "group is out of range (0 to 4294967294)");
        }
        // A VRF has a table of its own.
        let implied = (!spec.l3mdev).then_some(MAIN_TABLE);
        Some(Rule {
            action,
            table: if action == Action::Table { spec.table.as_ref().map(|_| table).or(implied) } else { None },
            goto: spec.goto,
            suppress_prefixlength: spec.suppress_prefixlength,
            suppress_ifgroup: spec.suppress_ifgroup,
            order: 0,
        })
    }

    /// A rule does one thing.
    fn refuse_second_action(&self, action: Action, problems: &mut Problems) {
        let spec = self.spec;
        let what = match (spec.kind.is_some(), action) {
            (true, _) => format!("a rule of type `{action}`"),
            (false, Action::Goto) => "a rule with `goto`".to_owned(),
            (false, _) if spec.l3mdev => "a rule with `l3mdev`".to_owned(),
            (false, _) => return,
        };
        let looks_up = action == Action::Table;
        let given = [
            ("table", spec.table.is_some()),
            ("goto", spec.goto.is_some() && action != Action::Goto),
            ("suppress_prefixlength", spec.suppress_prefixlength.is_some() && !looks_up),
            ("suppress_ifgroup", spec.suppress_ifgroup.is_some() && !looks_up),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let problem = problems.error(self.path().then(key), format!("{what} cannot have `{key}`"));
            problem.hint(format!("remove `{key}`"));
        }
    }

    fn check_target(&self, target: u32, targets: &BTreeSet<(bool, u32)>, problems: &mut Problems) {
        let path = || self.path().then("goto");
        let known = |target: u32| {
            let kernels = RuleKey::DEFAULTS.iter().any(|(ipv6, priority, _)| (*ipv6, *priority) == (self.ipv6, target));
            kernels || targets.contains(&(self.ipv6, target))
        };
        if target <= self.priority {
            let message = format!("`goto` {target} does not lead behind the rule itself, which has priority {}", self.priority);
            problems.error(path(), message).hint("name the priority of a later rule");
        } else if self.site.owned && !known(target) {
            let message = format!("no {} rule of `{}` has priority {target}", self.family(), self.site.namespace);
            problems.error(path(), message).needs(whole(self.site.list::<Rule>(self.position)));
        }
    }
}

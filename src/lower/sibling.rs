//! What the kernel refuses to build side by side: links on the same parent, and links whose packets travel in the same namespace.

use std::collections::BTreeMap;

use super::interface::{Interface, Table, find};
use super::mtu;
use crate::name::{LinkId, NamespaceName};
use crate::resource::address::AddressSpec;
use crate::resource::link::kind::with_article;
use crate::resource::link::rules::{Addressing, Among};
use crate::yaml::Path;
use crate::yaml::problem::{Problems, options};

/// Checks the links that have a parent or an underlay: `upper`.
pub(super) fn check(table: &Table<'_>, upper: &[&Interface<'_>], problems: &mut Problems) {
    mtu::check(table, upper, problems);
    check_identities(upper, problems);
    check_namespaces(upper, problems);
    check_sockets(upper, problems);
    let mut by_parent: BTreeMap<LinkId, Vec<&Interface<'_>>> = BTreeMap::new();
    for interface in upper {
        if let Some(parent) = parent(interface) {
            by_parent.entry(parent).or_default().push(interface);
        }
    }
    for (parent, siblings) in by_parent {
        check_sole(&parent, &siblings, problems);
        check_shared_options(&parent, &siblings, problems);
        check_macs(&parent, &siblings, problems);
        check_addresses(&parent, &siblings, problems);
        check_receive_handlers(table, &parent, &siblings, problems);
    }
}

/// The parent that an interface has, not the other end of a pair.
pub(super) fn parent(interface: &Interface<'_>) -> Option<LinkId> {
    interface.link.kind.below(&interface.id.namespace)
}

fn check_namespaces(upper: &[&Interface<'_>], problems: &mut Problems) {
    let hidden = upper.iter().filter(|interface| interface.link.kind.hides_parents_namespace());
    for (interface, parent) in hidden.filter_map(|interface| Some((interface, parent(interface)?))) {
        if parent.namespace != interface.id.namespace {
            let what = with_article(interface.link.kind.name());
            let message = format!("the parent of {what} must be in the same namespace, but this is `{parent}`");
            let problem = problems.error(interface.kind_path("parent"), message);
            problem.hint("the kernel does not report the namespace of the parent");
        }
    }
}

/// Among which links an identity is unique: those of a kind, on a parent or over a namespace.
type Circle<'a> = (&'a str, Option<LinkId>, Option<&'a NamespaceName>);

fn check_identities(upper: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen: BTreeMap<(Circle<'_>, Vec<u32>), &Interface<'_>> = BTreeMap::new();
    for interface in upper {
        let kind = &interface.link.kind;
        let Some(identity) = kind.identity() else { continue };
        let (circle, place) = match (identity.among, parent(interface), kind.underlay_in(&interface.id.namespace)) {
            (Among::Siblings, Some(parent), _) => ((kind.name(), Some(parent.clone()), None), parent.to_string()),
            (Among::Underlay, _, Some(underlay)) => ((kind.name(), None, Some(underlay)), underlay.to_string()),
            // What it refers to does not exist, which is an error of its own.
            (Among::Siblings, None, _) | (Among::Underlay, _, None) => continue,
        };
        if let Some(first) = seen.insert((circle, identity.key), interface) {
            let message = format!("`{}` and `{}` {} `{place}`", first.id, interface.id, identity.relation);
            let problem = problems.error(interface.kind_path(identity.option), message);
            problem.also(first.kind_path(identity.option), "also used here");
            problem.needs_all([*interface, first].map(|link| options(link.kind_root(), identity.options)));
            if let Some(hint) = identity.refusal.hint {
                problem.hint(hint);
            }
        }
    }
}

/// Tunnels that receive on one UDP port must agree in what the kernel keeps with the socket.
fn check_sockets(upper: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen: BTreeMap<(&NamespaceName, u16, usize), &Interface<'_>> = BTreeMap::new();
    let is_checked = |interface: &Interface<'_>| interface.link.kind.socket().is_some_and(|socket| socket.at_creation);
    for interface in upper.iter().filter(|interface| interface.is_up() || is_checked(interface)) {
        let kind = &interface.link.kind;
        let (Some(socket), Some(underlay)) = (kind.socket(), kind.underlay_in(&interface.id.namespace)) else { continue };
        let firsts = [0, 1].into_iter().filter(|family| socket.families[*family]);
        let firsts = firsts.map(|family| *seen.entry((underlay, socket.port, family)).or_insert(interface));
        let differs = firsts.collect::<Vec<_>>().into_iter().find_map(|first| {
            let other = first.link.kind.socket()?;
            if first.link.kind.name() != kind.name() {
                return (first.is_up() && interface.is_up()).then_some((first, "port"));
            }
            let pairs = socket.flags.iter().zip(&other.flags);
            let (flag, _) = pairs.into_iter().find(|(one, other)| one != other)?.0;
            Some((first, *flag))
        });
        if let Some((first, flag)) = differs {
            let (id, port) = (&interface.id, socket.port);
            let receive = format!("`{}` and `{id}` receive on UDP port {port} in `{underlay}`, but", first.id);
            let message = match first.link.kind.name() {
                other if other == kind.name() => format!("{receive} differ in `{flag}`"),
                other => format!("{receive} one is {} and one {}", with_article(other), with_article(kind.name())),
            };
            let problem = problems.error(interface.kind_path(flag), message);
            problem.also(first.kind_path(flag), "the other one");
            problem.hint(match flag {
                "port" => "use another `port` for one of them",
                _ => "set the same for both, or another `port` for one of them",
            });
            problem.needs_all([*interface, first].map(|link| options(link.kind_root(), socket.options)));
        }
    }
}

/// The siblings with the same receive handler as `interface`, without it.
fn others<'t, 'l>(siblings: &[&'t Interface<'l>], interface: &Interface<'_>) -> Vec<&'t Interface<'l>> {
    let handler = |interface: &Interface<'_>| interface.link.kind.receive_handler();
    let same = |other: &&&Interface<'_>| handler(other) == handler(interface) && other.id != interface.id;
    siblings.iter().filter(same).copied().collect()
}

/// Reports, once for a parent, a link that must be the only one of its driver there.
fn check_sole(parent: &LinkId, siblings: &[&Interface<'_>], problems: &mut Problems) {
    for interface in siblings {
        let Some(sole) = interface.link.kind.sole() else { continue };
        let others: Vec<_> = others(siblings, interface).iter().take(3).map(|other| format!("`{}`", other.id)).collect();
        if !others.is_empty() {
            let message = format!("{} must be the only one on `{parent}`, which also carries {}", sole.what, others.join(", "));
            problems.error(interface.kind_path(sole.option), message).hint(sole.hint);
            return;
        }
    }
}

/// Options that the kernel keeps for all siblings together must be the same for all, the kernel's defaults included.
fn check_shared_options(parent: &LinkId, siblings: &[&Interface<'_>], problems: &mut Problems) {
    let mut first: BTreeMap<_, &Interface<'_>> = BTreeMap::new();
    for interface in siblings.iter().filter(|interface| !interface.link.kind.shared_options().is_empty()) {
        let first = *first.entry(interface.link.kind.receive_handler()).or_insert(interface);
        let value = |interface: &Interface<'_>, option: &str| {
            interface.link.kind.complete().show().into_iter().find(|(name, _)| *name == option).map(|(_, value)| value)
        };
        for option in interface.link.kind.shared_options() {
            if value(first, option) != value(interface, option) {
                let message = format!(
                    "`{}` and `{}` must have the same `{option}`, because both are on `{parent}`",
                    first.id, interface.id
                );
                let problem = problems.error(interface.kind_path(option), message);
                problem.also(first.kind_path(option), "also used here");
                problem.needs(interface.option_part(option)).needs(first.option_part(option));
            }
        }
    }
}

fn check_macs(parent: &LinkId, siblings: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for interface in siblings {
        let Some(mac) = interface.link.settings.mac else { continue };
        match interface.link.kind.addressing() {
            Addressing::Own => {}
            Addressing::Parents(what) => {
                let message = format!("{what} takes its MAC address from `{parent}`");
                problems.error(interface.setting_path("mac"), message).hint(format!("set `mac` on `{parent}` instead"));
            }
            Addressing::Distinct => {
                if let Some(first) = seen.insert(mac, *interface) {
                    let message = format!("`{}` and `{}` have the same MAC address on `{parent}`", first.id, interface.id);
                    problems.error(interface.setting_path("mac"), message).also(first.setting_path("mac"), "also used here");
                }
            }
        }
    }
}

/// An address that can be on one of the siblings only, and there once. Of a point-to-point address of IPv4 that is the peer.
fn check_addresses(parent: &LinkId, siblings: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for interface in siblings.iter().filter(|interface| interface.link.kind.has_exclusive_addresses()) {
        let (id, kind) = (&interface.id, &interface.link.kind);
        let addresses = interface.section.into_iter().flat_map(|section| &section.addresses);
        for (index, long) in addresses.map(AddressSpec::long).enumerate() {
            let (address, path) = (long.address, interface.section_path().then("addresses").then(index));
            let ip = long.peer.filter(|_| address.ip().is_ipv4()).unwrap_or(address.ip());
            let Some((first, with, at)) = seen.get(&(kind.receive_handler(), ip)) else {
                seen.insert((kind.receive_handler(), ip), (id, address, path));
                continue;
            };
            let message = match *first == id {
                // That is an error on any link.
                true if *with == address => continue,
                true => format!("`{id}` has the address {ip} twice, which {} cannot", with_article(kind.name())),
                false => format!("`{first}` and `{id}` have the same address {ip}, but both are on `{parent}`"),
            };
            problems.error(path, message).also(Path::clone(at), "also used here").needs(interface.kind_part());
        }
    }
}

/// A link has one receive handler: that of its master, or that of what stands on it.
fn check_receive_handlers(table: &Table<'_>, parent: &LinkId, siblings: &[&Interface<'_>], problems: &mut Problems) {
    let mut handled = siblings.iter().filter(|interface| interface.link.kind.receive_handler().is_some());
    let Some(first) = handled.next() else { return };
    for other in handled.filter(|other| other.link.kind.receive_handler() != first.link.kind.receive_handler()) {
        let carried = format!("the {} `{}`", first.link.kind.name(), first.id);
        let message =
            format!("`{parent}` carries {carried} and cannot also be the parent of {}", with_article(other.link.kind.name()));
        problems.error(other.kind_path("parent"), message).also(first.kind_path("parent"), "also used here");
    }
    let Some(master) = find(table, parent).and_then(|below| below.link.settings.master) else { return };
    let takes_all = |master: &Interface<'_>| master.link.kind.receive_handler().is_some();
    if find(table, &LinkId::new(&parent.namespace, master)).is_some_and(takes_all) {
        let what = with_article(first.link.kind.name());
        let message = format!("`{parent}` is a port of `{master}` and cannot be the parent of {what}");
        let problem = problems.error(first.kind_path("parent"), message);
        problem.hint(format!("use `{}:{master}` as the parent", parent.namespace));
    }
}

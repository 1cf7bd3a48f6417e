//! The settings of an interface: its section in the namespace, the end of the link, and the link as a whole, put together and
//! checked.

use std::collections::BTreeMap;

use super::interface::{Interface, Namespace, Table, all, find};
use crate::name::{LinkName, escape};
use crate::resource::link::kind::with_article;
use crate::resource::link::rules::MtuAround;
use crate::resource::link::{LEAST_MTU, LinkSettings, Queues, for_each_setting};
use crate::value::Mac;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Largest mtu of any link but `lo`.
const MOST_MTU: u32 = 65535;
/// The keys of queues.
const QUEUES: [&str; 2] = ["numtxqueues", "numrxqueues"];
/// Most queues of a link.
const MOST_QUEUES: u32 = 4096;
/// Longest further name, in bytes (ALTIFNAMSIZ less its terminating zero).
const ALTNAME_LENGTH: usize = 127;

macro_rules! define_scalars {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        impl Interface<'_> {
            /// Whether its section, and the end of its link, say something of that name.
            fn says(&self, key: &str) -> [bool; 2] {
                match key {
                    $(stringify!($field) => [
                        self.section.is_some_and(|section| section.$field.is_some()),
                        self.long().is_some_and(|long| long.$field.is_some()),
                    ],)+
                    _ => [false; 2],
                }
            }

            /// Whether the lab sets the setting of that name: the interface, or its link for both ends.
            pub(super) fn declares(&self, key: &str) -> bool {
                match key {
                    $(stringify!($field) => self.link.settings.$field.is_some(),)+
                    _ => false,
                }
            }

            /// What both of them say, the section first, and the settings that both name.
            fn scalars(&self) -> (LinkSettings, Vec<&'static str>) {
                let (mut settings, mut twice) = (LinkSettings::default(), Vec::new());
                $(match (self.section.and_then(|section| section.$field), self.long().and_then(|long| long.$field)) {
                    (Some(value), None) | (None, Some(value)) => settings.$field = Some(value),
                    (None, None) => {}
                    (Some(value), Some(_)) => {
                        settings.$field = Some(value);
                        twice.push(stringify!($field));
                    }
                })+
                (settings, twice)
            }

            /// What the link as a whole says.
            fn link_settings(&self) -> LinkSettings {
                let Some(end) = &self.end else { return LinkSettings::default() };
                LinkSettings {
                    $($($field: { const _: &str = $link; end.spec.$field },)?)+
                    ..LinkSettings::default()
                }
            }
        }
    };
}
for_each_setting!(define_scalars {});

/// Joins and checks the settings of every interface.
pub(super) fn settle(table: &mut Table<'_>, problems: &mut Problems) {
    for namespace in table.values_mut() {
        for interface in namespace.interfaces.values_mut() {
            join(interface, problems);
            check_mtu(interface, problems);
            check_mac(interface, problems);
            check_arp(interface, problems);
            check_kind(interface, problems);
            settle_queues(interface, problems);
        }
        check_altnames(namespace, problems);
    }
    compare_ends(table, problems);
}

impl Interface<'_> {
    /// Where a setting stands that the interface has, in one of the places where it can stand.
    pub(super) fn setting_path(&self, key: &str) -> Path {
        let Some(end) = &self.end else { return self.section_path().then(key) };
        match self.says(key) {
            [true, _] => self.section_path().then(key),
            [false, true] => end.path().then(key),
            [false, false] => super::interface::link_path(end.link).then(key),
        }
    }
}

fn join(interface: &mut Interface<'_>, problems: &mut Problems) {
    let (mut settings, twice) = interface.scalars();
    if let Some(end) = &interface.end {
        for key in twice {
            let problem = problems.error(end.path().then(key), format!("`{key}` of `{}` is set twice", interface.id));
            problem.also(interface.section_path().then(key), "also set here").hint("remove one of the two");
        }
        settings = settings.or(&interface.link_settings());
    }
    settings.altnames = interface.altnames().map(|names| names.cloned().collect());
    interface.link.settings = settings;
}

fn check_mtu(interface: &Interface<'_>, problems: &mut Problems) {
    // A loopback is born with more than any other link can be given.
    let most = interface.link.kind.default_mtu(MtuAround::default()).map_or(MOST_MTU, |default| default.max(MOST_MTU));
    let least = LEAST_MTU.max(*interface.link.kind.mtu_limits().start());
    if let Some(mtu) = interface.link.settings.mtu
        && !(least..=most).contains(&mtu)
    {
        let message = format!("mtu {mtu} is out of range ({least} to {most})");
        problems.error(interface.setting_path("mtu"), message);
    }
}

fn check_mac(interface: &Interface<'_>, problems: &mut Problems) {
    if let Some(Err(error)) = interface.link.settings.mac.map(Mac::usable) {
        problems.error(interface.setting_path("mac"), error.to_string());
    }
}

fn check_arp(interface: &Interface<'_>, problems: &mut Problems) {
    let kind = &interface.link.kind;
    if let (Some(_), Some(option)) = (interface.link.settings.arp, kind.decides_arp()) {
        let message = format!("`arp` of {} follows from its `{option}`", with_article(kind.name()));
        problems.error(interface.setting_path("arp"), message).hint("remove `arp`");
    }
}

fn check_kind(interface: &Interface<'_>, problems: &mut Problems) {
    let invalid = interface.link.kind.validate();
    if invalid.is_empty() {
        return;
    }
    let given = interface.link.kind.show();
    for invalid in invalid {
        let problem = problems.error(interface.kind_path(invalid.key), invalid.message);
        if given.iter().all(|(name, _)| *name != invalid.key) {
            // Some options are only needed without `external`.
            problem.needs(interface.option_part(invalid.key)).needs(interface.option_part("external"));
        }
    }
}

fn check_altnames(namespace: &Namespace<'_>, problems: &mut Problems) {
    let mut seen: BTreeMap<&String, Path> = BTreeMap::new();
    for interface in namespace.interfaces.values() {
        for (index, name) in interface.altnames().into_iter().flatten().enumerate() {
            let path = interface.altname_path(index);
            let shown = escape(name);
            if name.is_empty() {
                problems.error(path, "an alternative name cannot be empty");
            } else if let Some(reason) = unusable_altname(name) {
                problems.error(path, format!("invalid alternative name `{shown}`: {reason}"));
            } else if name.parse().is_ok_and(|name: LinkName| namespace.interfaces.contains_key(&name)) {
                problems
                    .error(path, format!("alternative name `{shown}` is the name of another interface of `{}`", namespace.name));
            } else if let Some(first) = seen.get(name) {
                let message = format!("duplicate alternative name `{shown}` in `{}`", namespace.name);
                problems.error(path, message).also(first.clone(), "also used here");
            } else {
                seen.insert(name, path);
            }
        }
    }
}

fn unusable_altname(name: &str) -> Option<String> {
    if name.len() > ALTNAME_LENGTH {
        return Some(format!("it is {} bytes long, but at most {ALTNAME_LENGTH} are allowed", name.len()));
    }
    let refused = name.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%'));
    match refused {
        Some(' ') => Some("it contains a space".into()),
        Some(character) => Some(format!("it contains `{}`", escape(&character.to_string()))),
        None if matches!(name, "." | "..") => Some("it is the name of a directory entry".into()),
        None => None,
    }
}

/// Checks the queues of a link, at its first end, and those of another interface, which are its own.
fn settle_queues(interface: &mut Interface<'_>, problems: &mut Problems) {
    if let Some(end) = interface.end.as_ref().filter(|end| end.position == 0) {
        let path = super::interface::link_path(end.link);
        check_queues([end.spec.numtxqueues, end.spec.numrxqueues], &path, problems);
    }
    let own = interface.section.map_or([None; 2], |section| [section.numtxqueues, section.numrxqueues]);
    let path = interface.section_path();
    check_queues(own, &path, problems);
    let (is_end, link) = (interface.end.is_some(), &mut interface.link);
    if is_end || link.external || link.kind.is_loopback() {
        for (key, _) in QUEUES.into_iter().zip(own).filter(|(_, count)| count.is_some()) {
            let (message, hint) = match is_end {
                true => {
                    (format!("`{key}` of `{}` is that of its link", interface.id), "set it under `links`, for both endpoints")
                }
                false => (format!("`{key}` of `{}` is fixed, because it exists already", interface.id), "remove it"),
            };
            problems.error(path.clone().then(key), message).hint(hint);
        }
    } else if own.iter().any(Option::is_some) {
        let default = link.kind.default_queues().unwrap_or(Queues::ONE);
        let [transmit, receive] = own;
        link.queues =
            Some(Queues { transmit: transmit.unwrap_or(default.transmit), receive: receive.unwrap_or(default.receive) });
    }
}

fn check_queues(counts: [Option<u32>; 2], path: &Path, problems: &mut Problems) {
    for (key, count) in QUEUES.into_iter().zip(counts) {
        if let Some(count) = count.filter(|count| !(1..=MOST_QUEUES).contains(count)) {
            problems.error(path.clone().then(key), format!("`{key}` {count} is out of range (1 to {MOST_QUEUES})"));
        }
    }
}

/// Ends of a link that take packets of different sizes lose the larger ones.
fn compare_ends(table: &Table<'_>, problems: &mut Problems) {
    for interface in all(table) {
        let (Some(end), Some(peer)) = (&interface.end, interface.link.kind.peer()) else { continue };
        if end.position != 0 {
            continue;
        }
        let Some(other) = find(table, &peer.resolve(&interface.id.namespace)) else { continue };
        let mtu = |interface: &Interface<'_>| interface.link.settings.mtu.unwrap_or(1500);
        let belongs = other.end.as_ref().is_some_and(|other| other.link == end.link);
        if belongs && mtu(interface) != mtu(other) {
            let (given, open) = if interface.link.settings.mtu.is_some() { (interface, other) } else { (other, interface) };
            let message =
                format!("mtu mismatch: `{}` has mtu {}, its peer `{}` has mtu {}", given.id, mtu(given), open.id, mtu(open));
            let problem = problems.warning(given.setting_path("mtu"), message);
            problem.hint("larger packets are lost; set `mtu` on the link instead of on one endpoint");
        }
    }
}

//! Operations as commands of iproute2.

use super::{LinkChange, LinkHandle, MasterChange, NewLink, NewPeer, Operation, PortChange};
use crate::iproute2::{Command, Line, Phrase, Place, Said, Word};
use crate::name::{LabName, LinkId, NamespaceName};
use crate::ownership::{self, Mark};
use crate::resource::link::{Kind, Link, LinkSettings, static_entry_words};
use crate::resource::object::Awaited;
use crate::resource::object::table::{Any, Puts};
use crate::value::Duration;
use crate::words;

/// How long a port may take to get its carrier.
const CARRIER: Duration = Duration::seconds(3);

impl Operation {
    /// Returns the commands that do the same, in their order.
    pub fn say(&self, lab: &LabName) -> Vec<Line> {
        match self {
            Self::CreateNamespace(namespace) => new_namespace(lab, namespace),
            Self::CreateUserNamespace(namespace) => {
                let line = Line::Impossible(format!("give namespace `{namespace}` a user namespace of its own"));
                [line].into_iter().chain(new_namespace(lab, namespace)).collect()
            }
            Self::DeleteNamespace(namespace) => {
                vec![Command::ip(&NamespaceName::host(), words!["netns", "delete", namespace]).into()]
            }
            Self::WriteSysctl { namespace, key, value } => vec![key.say(namespace, value).into()],
            Self::CreateLink(new) => new_link(lab, new),
            Self::ChangeLink(change) => change_link(change),
            Self::DeleteLink(link) => vec![of_link(link, "delete").into()],
            Self::DeleteLinkGroup(_) => {
                vec![Command::ip(&NamespaceName::host(), words!["link", "delete", "group", ownership::group(lab)]).into()]
            }
            Self::Put(put) => say_put(put),
            Self::Remove(object) => object.say(),
            Self::Restore(again) => vec![again.say()],
            Self::RestoreEntry(port, entry) => {
                let LinkId { namespace, name } = &port.id;
                let command = Command::bridge(namespace, words!["fdb", "add"]).and(static_entry_words(entry, *name));
                vec![command.may_fail().into()]
            }
            Self::PutPart(_) | Self::RemovePart(..) => vec![Line::Impossible(self.to_string())],
        }
    }
}

/// Waits for the address that the object needs.
fn say_put(put: &Any<Puts>) -> Vec<Line> {
    let patient = |line| match (line, put.awaited()) {
        (Line::Command(command), Some(awaited)) => command.patiently(patience(awaited)).into(),
        (line, _) => line,
    };
    put.say().into_iter().map(patient).collect()
}

/// Twice the time that the kernel needs, and a second.
fn patience(awaited: &Awaited) -> Duration {
    let total = awaited.time.total();
    Duration(total.0.saturating_mul(2).saturating_add(Duration::seconds(1).0))
}

fn new_namespace(lab: &LabName, namespace: &NamespaceName) -> Vec<Line> {
    let mark = ownership::namespace_mark(lab, namespace);
    vec![
        Command::ip(&NamespaceName::host(), words!["netns", "add", namespace]).into(),
        Command::ip(namespace, words!["link", "set", "dev", "lo", "alias", mark]).into(),
        Command::ip(namespace, words!["link", "set", "dev", "lo", "up"]).into(),
    ]
}

/// A command about an existing link.
fn of_link(link: &LinkHandle, verb: &str) -> Command {
    Command::ip(&link.id.namespace, words!["link", verb, "dev", link.id.name])
}

fn new_link(lab: &LabName, new: &NewLink) -> Vec<Line> {
    let (creating, kind) = (new.creating_namespace(), &new.link.kind);
    let mut command = Command::ip(&creating, words!["link", "add"]);
    let parent = new.parent.as_ref().map(|parent| parent.id.name);
    if kind.parent_attribute().is_none() {
        command = command.and_some("link", parent);
    }
    command = new_end(command, lab, &creating, &new.handle, &new.link);
    command = command.and_some("master", new.master.as_ref().map(|master| master.id.name)).and(words!["type", kind.name()]);
    if kind.parent_attribute().is_some() {
        command = command.and_some("dev", parent);
    }
    let (phrases, mut lines) = sort(kind.say_new(), &new.handle);
    command = phrases.into_iter().fold(command, Command::with);
    if let Some(peer) = &new.peer {
        command = new_end(command.and(words!["peer"]), lab, &creating, &peer.handle, &peer.link);
    }
    lines.push(command.into());
    lines.extend(kind.vlan_change().iter().flat_map(|change| change.say(&new.handle.id)));
    lines.extend(mark_and_raise(lab, &new.handle, new.up));
    if let Some(peer) = &new.peer {
        lines.extend(raise_peer(lab, peer));
    }
    lines
}

/// Adds the words for one new end.
fn new_end(command: Command, lab: &LabName, creating: &NamespaceName, handle: &LinkHandle, link: &Link) -> Command {
    let LinkId { namespace, name } = &handle.id;
    let mut command = command.and(words!["name", name]);
    if namespace != creating {
        let target = if namespace.is_host() { Word::Host } else { Word::Text(namespace.to_string()) };
        command = command.and(words!["netns"].into_iter().chain([target]));
    }
    // A command of its own brings it up.
    let settings = LinkSettings { up: None, ..link.settings.clone() };
    command = settings.say().into_iter().fold(command, Command::with);
    if let Some(queues) = link.queues {
        command = command.and(words!["numtxqueues", queues.transmit, "numrxqueues", queues.receive]);
    }
    command.and_some("group", namespace.is_host().then(|| ownership::group(lab)))
}

/// The kernel ignores an alias at creation.
fn mark_and_raise(lab: &LabName, handle: &LinkHandle, up: bool) -> Option<Line> {
    let alias = handle.id.namespace.is_host().then(|| ownership::link_alias(lab));
    let set = of_link(handle, "set").unless_empty();
    let set = set.and_some("alias", alias.as_ref()).and_if(up, "up");
    (alias.is_some() || up).then(|| set.into())
}

fn raise_peer(lab: &LabName, peer: &NewPeer) -> Option<Line> {
    let master = peer.master.as_ref().map(|master| master.id.name);
    let alias = peer.handle.id.namespace.is_host().then(|| ownership::link_alias(lab));
    let set = of_link(&peer.handle, "set").and_some("alias", alias.as_ref()).and_some("master", master).and_if(peer.up, "up");
    (alias.is_some() || master.is_some() || peer.up).then(|| set.into())
}

fn change_link(change: &LinkChange) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(first) = change.kind.as_ref().and_then(Kind::changes_first) {
        lines.extend(set_options(of_link(&change.handle, "set"), &change.handle, first.name(), first.say()));
    }
    let set = of_link(&change.handle, "set").unless_empty();
    let set = change.settings.say().into_iter().fold(set, Command::with);
    let set = match &change.master {
        MasterChange::Keep => set,
        MasterChange::Enslave(master) => set.and(words!["master", master.id.name]),
        MasterChange::Release => set.and(words!["nomaster"]),
    };
    let set = match &change.mark {
        Some(Mark { group, alias }) => set.and(words!["group", group, "alias", alias]),
        None => set,
    };
    match &change.kind {
        Some(kind) if kind.changes_alone() => {
            lines.push(set.into());
            lines.extend(set_options(of_link(&change.handle, "set").unless_empty(), &change.handle, kind.name(), kind.say()));
        }
        Some(kind) => lines.extend(set_options(set, &change.handle, kind.name(), kind.say())),
        None => lines.push(set.into()),
    }
    lines.extend(change.kind.as_ref().and_then(|kind| kind.vlan_change()).iter().flat_map(|vlans| vlans.say(&change.handle.id)));
    if let Some(port) = &change.port {
        lines.extend(set_port(&change.handle, port));
        lines.extend(port.options.vlan_change().iter().flat_map(|vlans| vlans.say(&change.handle.id)));
    }
    for (verb, names) in [("del", &change.remove_altnames), ("add", &change.add_altnames)] {
        let property = |name: &String| {
            let words = words!["link", "property", verb, "dev", change.handle.id.name, "altname", name];
            Line::from(Command::ip(&change.handle.id.namespace, words))
        };
        lines.extend(names.iter().map(property));
    }
    lines
}

/// Options of the kind `kind`, in the same command as what `set` changes.
fn set_options(set: Command, link: &LinkHandle, kind: &str, options: Vec<Said>) -> Vec<Line> {
    let (phrases, mut lines) = sort(options, link);
    let set = if phrases.is_empty() { set } else { set.and(words!["type", kind]) };
    lines.push(phrases.into_iter().fold(set, Command::with).into());
    lines
}

/// Options of a port; those that only bridge(8) has in commands of their own.
fn set_port(link: &LinkHandle, PortChange { options, .. }: &PortChange) -> Vec<Line> {
    let (phrases, mut lines) = sort(options.say(), link);
    let patient = |command: Command| if options.needs_carrier() { command.patiently(CARRIER) } else { command };
    let of_ip = of_link(link, "set").and(words!["type", format!("{}_slave", options.master())]).unless_empty();
    let mut of_ip = Some(of_ip);
    let flush = |of_ip: &mut Option<Command>| of_ip.take().map(|command| Line::from(patient(command)));
    for phrase in phrases {
        match phrase.place {
            Place::Among | Place::End => of_ip = of_ip.map(|command| command.with(phrase)),
            Place::Before | Place::After => {
                if phrase.place == Place::After {
                    lines.extend(flush(&mut of_ip));
                }
                let set = Command::bridge(&link.id.namespace, words!["link", "set", "dev", link.id.name]).unless_empty();
                lines.push(set.with(phrase).into());
            }
        }
    }
    lines.extend(flush(&mut of_ip));
    lines
}

/// Returns the phrases in their order, and lines for the options that have none.
fn sort(options: Vec<Said>, link: &LinkHandle) -> (Vec<Phrase>, Vec<Line>) {
    let (mut phrases, mut impossible) = (Vec::new(), Vec::new());
    for (name, value, phrase) in options {
        match phrase {
            Some(phrase) => phrases.push(phrase),
            None => impossible.push(Line::Impossible(format!("set `{name}` of `{}` to {value}", link.id))),
        }
    }
    phrases.sort_by_key(|phrase| phrase.place);
    (phrases, impossible)
}

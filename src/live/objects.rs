//! Decides who owns each observed object.

use std::collections::HashSet;

use super::{Endangered, Findings, Judging, SeenLink, named};
use crate::name::{LinkId, LinkName};
use crate::ownership::Obstacle;
use crate::resource::object::table::{self, Container, IntoSorted, Registered, Visit};
use crate::resource::object::wire::Found;
use crate::resource::object::{Excluded, Foreign, Id, Maker, Message, Need, Object, Seen};
use crate::state::ResourceId;

/// The lab's objects with their identities, sorted.
pub(super) struct Listed;

impl Container for Listed {
    type Of<O: Object> = Vec<(Id<O>, O)>;
}

impl IntoSorted for Listed {
    fn drain<O: Object>(list: &mut Self::Of<O>) -> impl Iterator<Item = (Id<O>, O)> {
        list.drain(..)
    }
}

impl Judging<'_> {
    pub(super) fn add_objects(&self, links: &[SeenLink], findings: &mut Findings) {
        table::visit(&mut Add { judging: self, links, findings });
    }
}

struct Add<'a, 'f> {
    judging: &'a Judging<'a>,
    links: &'a [SeenLink],
    findings: &'f mut Findings,
}

/// The owner of an object.
enum Owner<O> {
    /// The lab.
    Lab(O),
    /// Foreign, and in conflict with an object of the lab. The text describes it.
    InTheWay(String),
    /// Foreign, without a conflict.
    Other,
}

impl Visit for Add<'_, '_> {
    fn visit<O: Registered>(&mut self) {
        let found = self.judging.snapshot.objects.of::<O>();
        let mut ours: Vec<(O::Key, O)> = Vec::with_capacity(found.len());
        let endangered = self.judging.endangered(self.links);
        let messages = self.judging.snapshot.messages.of::<O>();
        let mut foreign = Vec::new();
        for (position, found) in found.iter().enumerate() {
            match self.owner(found) {
                Owner::Lab(value) => ours.push((found.key.clone(), value)),
                Owner::InTheWay(what) => {
                    self.findings
                        .foreign
                        .push((ResourceId::object::<O>(self.judging.namespace, &found.key), Obstacle::Other(what)));
                }
                Owner::Other => {
                    self.note_clash::<O>(&found.key);
                    if self.is_endangered(found, endangered)
                        && let Some(message) = messages.get(position)
                    {
                        let (key, value, message) = (found.key.clone(), found.value.clone(), Message(message.to_vec()));
                        foreign.push(Foreign { key, value, maker: found.maker, message });
                    }
                }
            }
        }
        if !foreign.is_empty() {
            *self.judging.foreign_objects(self.findings).present.of_mut::<O>() = foreign;
        }
        if self.ignores_any_of::<O>() {
            self.keep_one_of_each(&mut ours);
        }
        let links = self.links;
        let link = |name: LinkName| named(links, name);
        O::arrange(&mut ours, &Seen { notes: &self.judging.snapshot.notes, link: &link });
        let namespace = self.judging.namespace;
        let list = self.findings.objects.of_mut::<O>();
        list.extend(ours.into_iter().map(|(key, value)| ((namespace.clone(), key), value)));
    }
}

impl Add<'_, '_> {
    fn is_declared<O: Registered>(&self, key: &O::Key) -> bool {
        let declared = self.judging.desired.objects::<O>();
        !declared.is_empty() && declared.contains_key(&(self.judging.namespace.clone(), key.clone()))
    }

    fn owner<O: Registered>(&self, found: &Found<O>) -> Owner<O> {
        if self.judging.is_host {
            return self.owner_in_host(found);
        }
        match found.maker {
            Maker::Topo => Owner::Lab(found.value.clone()),
            Maker::Hand if !found.value.expires() && !self.is_ignored(found) => Owner::Lab(found.value.clone()),
            // Everything in the lab's namespaces that it declares is the lab's, whoever added it again.
            _ if self.is_declared::<O>(&found.key) => Owner::Lab(found.value.clone()),
            Maker::Hand | Maker::Unknown | Maker::Daemon(_) | Maker::Kernel => Owner::Other,
        }
    }

    /// Returns whether others may add such objects to the namespace, or to one of its interfaces.
    fn ignores_any_of<O: Object>(&self) -> bool {
        let ignored = self.judging.ignored;
        ignored.is_some_and(|ignored| ignored.iter().any(|(_, words)| words.iter().any(|word| word.word() == O::LIST)))
    }

    fn is_ignored<O: Object>(&self, found: &Found<O>) -> bool {
        let links = || O::links(&found.key, &found.value).into_iter().flatten();
        self.judging.ignored.is_some_and(|ignored| ignored.includes(O::LIST, links()))
    }

    /// Leaves one object of each key: others may have added a second one to that of the lab, which is the one that is as declared.
    fn keep_one_of_each<O: Registered>(&self, ours: &mut Vec<(O::Key, O)>) {
        let namespace = self.judging.namespace;
        let declared = self.judging.desired.objects::<O>();
        let is_exact = |key: &O::Key, value: &O| {
            let declared = declared.get(&(namespace.clone(), key.clone()));
            declared.is_some_and(|declared| O::compare(key, declared, value).is_empty())
        };
        let exact: HashSet<O::Key> =
            ours.iter().filter(|(key, value)| is_exact(key, value)).map(|(key, _)| key.clone()).collect();
        let mut seen = HashSet::new();
        ours.retain(|(key, value)| (!exact.contains(key) || is_exact(key, value)) && seen.insert(key.clone()));
    }

    fn owner_in_host<O: Registered>(&self, found: &Found<O>) -> Owner<O> {
        let declared = self.is_declared::<O>(&found.key);
        let links = || O::links(&found.key, &found.value).into_iter().flatten();
        let own = |name: LinkName| named(self.links, name).is_some_and(|link| !link.external);
        match found.maker {
            Maker::Topo if declared || links().any(own) => Owner::Lab(found.value.clone()),
            // What the kernel assigns by itself may be declared as it is.
            Maker::Kernel if declared && (links().any(own) || self.is_as_declared(found)) => Owner::Lab(found.value.clone()),
            _ if !declared || links().any(|name| self.is_in_the_way(name)) => Owner::Other,
            maker => {
                let desired = self.judging.desired;
                let adopts = |name| desired.adopts_link(&LinkId::new(self.judging.namespace, name));
                let adopted = if links().any(adopts) { found.value.clone().adopted() } else { None };
                adopted.map_or_else(|| Owner::InTheWay(phrase::<O>(maker)), Owner::Lab)
            }
        }
    }

    /// Returns whether others made the object, and the kernel may remove it. What the kernel made by itself it makes again.
    fn is_endangered<O: Registered>(&self, found: &Found<O>, endangered: Endangered) -> bool {
        let of_others = match found.maker {
            // Those of topo belong to other labs.
            Maker::Hand | Maker::Daemon(_) | Maker::Topo => true,
            Maker::Unknown => self.is_by_hand(found),
            Maker::Kernel => false,
        };
        let is_at_risk = |need: &Need| match need {
            Need::Source(_) => true,
            need => need.link().is_some_and(|link| named(self.links, link).is_some()),
        };
        let on_links = || O::needs(&found.key, &found.value).iter().any(is_at_risk);
        match endangered {
            Endangered::None => false,
            Endangered::OnLinks => of_others && on_links(),
            Endangered::All => of_others,
        }
    }

    fn is_by_hand<O: Registered>(&self, found: &Found<O>) -> bool {
        let mut links = O::links(&found.key, &found.value).into_iter().flatten();
        let link = links.next().and_then(|name| self.judging.snapshot.links.iter().find(|link| link.name == name));
        link.is_some_and(|link| O::is_by_hand(&found.key, &found.value, &link.link))
    }

    fn is_as_declared<O: Registered>(&self, found: &Found<O>) -> bool {
        let declared = self.judging.desired.objects::<O>().get(&(self.judging.namespace.clone(), found.key.clone()));
        declared.is_some_and(|declared| O::compare(&found.key, declared, &found.value).is_empty())
    }

    /// Returns whether a foreign link has the name of a link that the lab declares.
    fn is_in_the_way(&self, name: LinkName) -> bool {
        let declared = self.judging.desired.links.contains_key(&LinkId::new(self.judging.namespace, name));
        declared && named(self.links, name).is_none()
    }

    /// Adds a conflict if an object that is not the lab's excludes an object that the lab declares.
    fn note_clash<O: Registered>(&mut self, key: &O::Key) {
        let (namespace, declared) = (self.judging.namespace, self.judging.desired.objects::<O>());
        let Some(Excluded { keys, because }) = O::excludes(key) else { return };
        let (first, last) = keys.into_inner();
        let next = declared.range((namespace.clone(), first)..).next();
        if let Some(((_, excluded), _)) = next.filter(|((there, key), _)| there == namespace && *key <= last) {
            self.findings.foreign.push((ResourceId::object::<O>(namespace, excluded), Obstacle::Other(because(key))));
        }
    }
}

fn phrase<O: Object>(maker: Maker) -> String {
    let article = if O::WORD.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let protocol = match maker {
        Maker::Daemon(protocol) => format!(" (protocol {protocol})"),
        Maker::Topo | Maker::Hand | Maker::Kernel | Maker::Unknown => String::new(),
    };
    format!("{article} {} that topo did not make{protocol}", O::WORD)
}

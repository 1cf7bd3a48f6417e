//! What happens to objects: the desired beside the live one, and the change that follows.

use std::net::IpAddr;

use super::{Losses, Object};
use crate::name::LinkName;
use crate::resource::link::Link;

/// The context of [`Object::settle`].
pub struct Surroundings<'a> {
    /// Looks up a desired link.
    pub link: &'a dyn Fn(LinkName) -> Option<&'a Link>,
    /// Whether the namespace is created.
    pub is_new: bool,
    /// Returns whether a sysctl disables IPv6 in the namespace or on one of its interfaces.
    pub disables_ipv6: &'a dyn Fn() -> bool,
    /// Returns the length of the longest prefix of a desired address that contains an address, and that the kernel adds a route for.
    pub connected: &'a dyn Fn(IpAddr) -> Option<u8>,
    /// The losses so far. Types that come later in the registry see the additions of earlier ones.
    pub losses: &'a mut Losses,
}

/// A key with the desired and the live object.
#[derive(Clone)]
pub struct Pair<'a, O: Object> {
    /// The key.
    pub key: &'a O::Key,
    /// The desired object.
    pub desired: Option<&'a O>,
    /// The live object.
    pub live: Option<&'a O>,
}

/// The objects of one namespace, sorted by key.
pub type Group<'a, O> = [Pair<'a, O>];

impl<O: Object> Pair<'_, O> {
    /// Compares the object without regard to others; `None` if nothing changes.
    pub fn verdict(&self, losses: &Losses) -> Option<Verdict<O>> {
        match (self.desired, self.live) {
            (Some(_), None) => Some(self.create()),
            (None, Some(_)) => Some(self.delete()),
            (None, None) => None,
            (Some(desired), Some(live)) => {
                let lost = || O::needs(self.key, live).iter().find_map(|need| losses.of(need));
                if let Some(reason) = (!losses.is_empty()).then(lost).flatten() {
                    return Some(self.replace(Replacement::Overwrite, Some(reason)));
                }
                let fields = O::compare(self.key, desired, live);
                match fields.iter().any(|field| field.forces_replacement) {
                    true => Some(self.replace(Replacement::PutFirst, None)),
                    false => (!fields.is_empty()).then(|| self.update()),
                }
            }
        }
    }

    /// Returns a verdict that adds the object.
    pub fn create(&self) -> Verdict<O> {
        self.verdict_of(Fate::Create, None)
    }

    /// Returns a verdict that removes the object.
    pub fn delete(&self) -> Verdict<O> {
        self.verdict_of(Fate::Delete, None)
    }

    /// Returns a verdict that removes the object after all objects have been added.
    pub fn delete_last(&self) -> Verdict<O> {
        self.verdict_of(Fate::DeleteLast, None)
    }

    /// Returns a verdict that changes the object in place.
    pub fn update(&self) -> Verdict<O> {
        self.verdict_of(Fate::Update, None)
    }

    /// Returns a verdict that replaces the object, or adds it again after the kernel has removed it.
    pub fn replace(&self, how: Replacement, reason: Option<String>) -> Verdict<O> {
        self.verdict_of(Fate::Replace(how), reason)
    }

    fn verdict_of(&self, fate: Fate, reason: Option<String>) -> Verdict<O> {
        let side = |object: Option<&O>, present: bool| object.filter(|_| present).cloned();
        let (before, after) =
            (side(self.live, fate != Fate::Create), side(self.desired, !matches!(fate, Fate::Delete | Fate::DeleteLast)));
        Verdict { key: self.key.clone(), fate, before, after, reason }
    }
}

/// The change of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is added.
    Create,
    /// It is changed in place.
    Update,
    /// It is replaced.
    Replace(Replacement),
    /// It is removed at the beginning of the plan.
    Delete,
    /// It is removed after all objects have been added, because others replace it.
    DeleteLast,
}

/// How an object is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// The old one is removed at the beginning of the plan.
    RemoveFirst,
    /// The new one is added before the old one is removed, so that one of them always exists.
    PutFirst,
    /// The kernel removes the old one, before or when the new one is added.
    Overwrite,
}

/// The change of one object, with the reason if it is not obvious.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict<O: Object> {
    /// Its key.
    pub key: O::Key,
    /// The change.
    pub fate: Fate,
    /// The live object; `None` if it is created.
    pub before: Option<O>,
    /// The desired object; `None` if it is deleted.
    pub after: Option<O>,
    /// The reason.
    pub reason: Option<String>,
}

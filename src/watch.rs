//! What `topo watch` has to remember: when to look again, which differences were shown already, and which are fought over. The caller
//! passes the time, as that since any fixed moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::diff::{Attribute, Change};
use crate::name::NamespaceName;
use crate::state::ResourceId;

/// The time without further notifications after which to look.
const QUIET: Duration = Duration::from_millis(100);
/// The longest time from the first notification to a look, however many follow.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// In these namespaces.
    Namespaces(BTreeSet<NamespaceName>),
    /// Everywhere.
    Everything,
}

/// When to look where.
#[derive(Debug, Default)]
pub struct Schedule {
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    scope: Scope,
    first: Duration,
    last: Duration,
    not_before: Duration,
}

impl Schedule {
    /// Asks for a look after a time without further notifications.
    pub fn touch(&mut self, scope: Scope, now: Duration) {
        let pending = self.pending.get_or_insert_with(|| Pending {
            scope: Scope::Namespaces(BTreeSet::new()),
            first: now,
            last: now,
            not_before: now,
        });
        pending.last = now;
        match (&mut pending.scope, scope) {
            (Scope::Namespaces(all), Scope::Namespaces(more)) => all.extend(more),
            (Scope::Namespaces(_), Scope::Everything) => pending.scope = Scope::Everything,
            (Scope::Everything, _) => {}
        }
    }

    /// Asks for a look, but not before this time.
    pub fn postpone(&mut self, scope: Scope, now: Duration, time: Duration) {
        self.touch(scope, now);
        if let Some(pending) = &mut self.pending {
            pending.not_before = pending.not_before.max(now + time);
        }
    }

    /// Returns when to look; `None` if nothing asks for it.
    pub fn due(&self) -> Option<Duration> {
        self.pending.as_ref().map(|pending| (pending.last + QUIET).min(pending.first + PATIENCE).max(pending.not_before))
    }

    /// Returns where to look, and forgets it.
    pub fn take(&mut self) -> Option<Scope> {
        self.pending.take().map(|pending| pending.scope)
    }
}

/// The differences that were found last.
#[derive(Debug, Default)]
pub struct Drift {
    known: BTreeMap<ResourceId, Change>,
}

/// What is new since the last look.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// Differences that were not there, or were others.
    pub appeared: Vec<Change>,
    /// The last differences of resources that do not differ any more.
    pub cleared: Vec<Change>,
}

impl Drift {
    /// Takes the differences of a look. Returns what is new.
    pub fn update(&mut self, changes: &[Change]) -> News {
        let found: BTreeMap<ResourceId, Change> = changes.iter().map(|change| (change.id.clone(), change.clone())).collect();
        let appeared = changes.iter().filter(|change| self.known.get(&change.id) != Some(change)).cloned().collect();
        let cleared = self.known.values().filter(|change| !found.contains_key(&change.id)).cloned().collect();
        self.known = found;
        News { appeared, cleared }
    }

    /// Forgets differences that were put right.
    pub fn forget(&mut self, changes: &[Change]) {
        for change in changes {
            self.known.remove(&change.id);
        }
    }
}

/// So many repairs of one attribute within [`WINDOW`] are a fight.
const HEALS: usize = 3;
const WINDOW: Duration = Duration::from_secs(10);
/// How long an attribute is left alone after a fight, at first. Each further fight doubles the time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The repairs of each attribute: whoever changes it again and again is not fought for ever.
#[derive(Debug, Default)]
pub struct Fights {
    attributes: BTreeMap<Attribute, Fight>,
}

#[derive(Debug)]
struct Fight {
    heals: Vec<Duration>,
    /// How long the next pause is.
    pause: Duration,
    until: Option<Duration>,
}

impl Fights {
    /// Notes that these attributes were repaired. Returns those that are left alone from now on, with the time.
    pub fn healed(&mut self, repaired: impl Iterator<Item = Attribute>, now: Duration) -> Vec<(Attribute, Duration)> {
        let mut begun = Vec::new();
        for attribute in repaired {
            let new = || Fight { heals: Vec::new(), pause: FIRST_PAUSE, until: None };
            let fight = self.attributes.entry(attribute.clone()).or_insert_with(new);
            fight.heals.retain(|heal| now.saturating_sub(*heal) < WINDOW);
            fight.heals.push(now);
            if fight.heals.len() >= HEALS {
                begun.push((attribute, fight.pause));
                fight.until = Some(now + fight.pause);
                fight.pause = (fight.pause * 2).min(LONGEST_PAUSE);
                fight.heals.clear();
            }
        }
        begun
    }

    /// Returns the attributes that are left alone now. Forgets those that nobody has changed for the time of their next pause.
    pub fn left_alone(&mut self, now: Duration) -> BTreeSet<Attribute> {
        self.attributes.retain(|_, fight| {
            let last = fight.until.into_iter().chain(fight.heals.last().copied()).max();
            last.is_none_or(|last| now < last + fight.pause.max(WINDOW))
        });
        let paused = self.attributes.iter().filter(|(_, fight)| fight.until.is_some_and(|until| now < until));
        paused.map(|(attribute, _)| attribute.clone()).collect()
    }

    /// Returns when the next pause ends.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        self.attributes.values().filter_map(|fight| fight.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(names: &[&str]) -> Scope {
        Scope::Namespaces(names.iter().map(|name| name.parse().expect("a valid name")).collect())
    }

    fn attribute() -> Attribute {
        (ResourceId::Namespace("a".parse().expect("a valid name")), "missing".to_owned())
    }

    #[test]
    fn a_look_comes_after_quiet_and_within_patience() {
        let at = Duration::from_millis;
        let mut schedule = Schedule::default();
        assert_eq!(schedule.due(), None);
        schedule.touch(namespaces(&["a"]), at(0));
        assert_eq!(schedule.due(), Some(at(100)));
        schedule.touch(namespaces(&["b"]), at(60));
        assert_eq!(schedule.due(), Some(at(160)));
        schedule.touch(namespaces(&["a"]), at(490));
        assert_eq!(schedule.due(), Some(at(500)));
        assert_eq!(schedule.take(), Some(namespaces(&["a", "b"])));
        assert_eq!((schedule.due(), schedule.take()), (None, None));
        schedule.postpone(namespaces(&["a"]), at(1000), Duration::from_secs(2));
        schedule.touch(Scope::Everything, at(1000));
        assert_eq!(schedule.due(), Some(at(3000)));
        assert_eq!(schedule.take(), Some(Scope::Everything));
    }

    #[test]
    fn pauses_of_fights_grow_and_end() {
        let at = |seconds: u64| Duration::from_secs(1000 + seconds);
        let mut fights = Fights::default();
        let heal = |fights: &mut Fights, second| fights.healed([attribute()].into_iter(), at(second));
        // Slow ones are no fight.
        for second in [0, 9, 18] {
            assert_eq!(heal(&mut fights, second), []);
        }
        assert_eq!(heal(&mut fights, 19), []);
        assert_eq!(heal(&mut fights, 20), [(attribute(), Duration::from_secs(10))]);
        assert_eq!(fights.next(at(20)), Some(at(30)));
        assert_eq!(fights.left_alone(at(29)), BTreeSet::from([attribute()]));
        assert_eq!(fights.left_alone(at(30)), BTreeSet::new());
        heal(&mut fights, 31);
        heal(&mut fights, 32);
        assert_eq!(heal(&mut fights, 33), [(attribute(), Duration::from_secs(20))]);
        // After a long peace, pauses are short again.
        fights.left_alone(at(100));
        heal(&mut fights, 101);
        heal(&mut fights, 102);
        assert_eq!(heal(&mut fights, 103), [(attribute(), Duration::from_secs(10))]);
    }
}

//! The order of rules. The kernel evaluates those of one priority in the order in which they were added, and changes none in place.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fwmark, Rule, RuleKey};
use crate::resource::object::{Group, Pair, Replacement, Verdict};

/// Numbers the rules of each priority in the order in which they were added, numbers those that agree in all selectors, and sorts.
pub(super) fn arrange(objects: &mut [(RuleKey, Rule)]) {
    let mut next: BTreeMap<(bool, u32), u16> = BTreeMap::new();
    for (key, rule) in objects.iter_mut() {
        key.ordinal = 0;
        let order = next.entry((key.ipv6, key.priority)).or_default();
        rule.order = *order;
        *order = order.saturating_add(1);
    }
    objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    for position in 1..objects.len() {
        let (before, key) = (objects[position - 1].0.clone(), &mut objects[position].0);
        if before.agrees(key) {
            key.ordinal = before.ordinal.saturating_add(1);
        }
    }
}

/// What happens to the rules of a namespace. Old ones stay until the new ones are there.
pub(super) fn settle(group: &Group<'_, Rule>) -> Vec<Verdict<Rule>> {
    let mut decided = Vec::new();
    for run in group.chunk_by(|one, next| (one.key.ipv6, one.key.priority) == (next.key.ipv6, next.key.priority)) {
        let unchanged = |pair: &Pair<'_, Rule>| pair.desired.is_some() && pair.desired == pair.live;
        if !run.iter().all(unchanged) {
            decided.extend(Run::new(run).settle().into_iter().map(|(at, change)| (&run[at], change)));
        }
    }
    let grows = decided.iter().any(|(_, change)| !matches!(change, Change::Remove | Change::RemoveFirst));
    decided.into_iter().map(|(pair, change)| change.verdict(pair, grows)).collect()
}

/// What happens to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    /// It does something else; the old one stays until the new one is there.
    Alter,
    /// It does something else; the old one cannot stay so long.
    AlterFirst,
    /// It changes its place among those of its priority.
    Move,
    /// It goes when others are there.
    Remove,
    /// It goes first.
    RemoveFirst,
}

impl Change {
    fn verdict(self, pair: &Pair<'_, Rule>, grows: bool) -> Verdict<Rule> {
        match self {
            Self::Add => pair.create(),
            Self::Alter => pair.replace(Replacement::PutFirst, None),
            Self::AlterFirst => pair.replace(Replacement::RemoveFirst, None),
            Self::Move => {
                let reason = format!("the order of the rules with priority {} changes", pair.key.priority);
                pair.replace(Replacement::RemoveFirst, Some(reason))
            }
            Self::Remove if grows => pair.delete_last(),
            Self::Remove | Self::RemoveFirst => pair.delete(),
        }
    }
}

/// The rules of one family and priority.
struct Run<'a> {
    pairs: &'a [Pair<'a, Rule>],
    /// The live ones in the kernel's order, by their positions in `pairs`.
    live: Vec<usize>,
    /// The place of each pair in that order.
    places: BTreeMap<usize, usize>,
    /// The desired ones in their order, each with the live one that is equal to it.
    desired: Vec<(usize, Option<usize>)>,
}

impl<'a> Run<'a> {
    fn new(pairs: &'a [Pair<'a, Rule>]) -> Self {
        let sorted = |side: fn(&Pair<'a, Rule>) -> Option<&'a Rule>| {
            let mut found: Vec<_> = (0..pairs.len()).filter(|&at| side(&pairs[at]).is_some()).collect();
            found.sort_by_key(|&at| side(&pairs[at]).map(|rule| rule.order));
            found
        };
        let live = sorted(|pair| pair.live);
        let places = live.iter().enumerate().map(|(place, &at)| (at, place)).collect();
        // Rules with the same selectors are adjacent, and a desired one is the first of them.
        let equal = |at: usize| {
            let desired = pairs[at].desired?;
            let mut agreeing = (at..pairs.len()).take_while(|&other| pairs[other].key.agrees(pairs[at].key));
            agreeing.find(|&other| pairs[other].live.is_some_and(|live| live.does_as(desired)))
        };
        let desired = sorted(|pair| pair.desired).into_iter().map(|at| (at, equal(at))).collect();
        Self { pairs, live, places, desired }
    }

    /// The number of desired rules, from the first one, that are there already and can stay, because all others come behind them.
    fn kept(&self) -> usize {
        let mut limit = self.desired.len();
        loop {
            let mut behind = None;
            let in_order = self.desired[..limit].iter().map_while(|(_, equal)| {
                let at = (*equal)?;
                let place = self.places.get(&at).copied();
                (place > std::mem::replace(&mut behind, place)).then_some(at)
            });
            let kept: Vec<usize> = in_order.collect();
            let stay: BTreeSet<usize> = kept.iter().copied().collect();
            let going: Vec<usize> = self.live.iter().copied().filter(|at| !stay.contains(at)).collect();
            // The request to delete a rule that goes must not delete one that stays before it.
            let hits = |goes: usize, stays: usize| self.places[&goes] > self.places[&stays] && self.deletes(goes, stays);
            match kept.iter().position(|&stays| going.iter().any(|&goes| hits(goes, stays))) {
                Some(hit) => limit = hit,
                None => return kept.len(),
            }
        }
    }

    /// Whether a request to delete the one live rule can delete the other one.
    fn deletes(&self, one: usize, other: usize) -> bool {
        let [one, other] = [one, other].map(|at| self.pairs[at].live.map(|rule| (self.pairs[at].key, rule)));
        one.zip(other).is_some_and(|(one, other)| deletes(one, other))
    }

    /// What happens to which pair.
    fn settle(&self) -> Vec<(usize, Change)> {
        let (kept, rest) = self.desired.split_at(self.kept());
        let mut decided = Vec::new();
        // The live ones of which it is known what happens to them.
        let mut done: BTreeSet<usize> = kept.iter().filter_map(|(_, equal)| *equal).collect();
        for &(at, equal) in rest {
            let replaces = self.pairs[at].live.is_some() && !done.contains(&at);
            decided.push((
                at,
                match equal {
                    Some(equal) if equal == at => Change::Move,
                    Some(_) | None if replaces => Change::Alter,
                    Some(_) | None => Change::Add,
                },
            ));
            done.extend(replaces.then_some(at));
            // The same rule comes again behind the others.
            decided.extend(equal.filter(|equal| done.insert(*equal)).map(|equal| (equal, Change::RemoveFirst)));
        }
        decided.extend(self.live.iter().filter(|at| !done.contains(at)).map(|at| (*at, Change::Remove)));
        self.hasten(&mut decided);
        decided
    }

    /// Removes those first that a request to delete another one, which comes first, would delete.
    fn hasten(&self, decided: &mut [(usize, Change)]) {
        let early = |change: Change| matches!(change, Change::Move | Change::AlterFirst | Change::RemoveFirst);
        let late = |change: Change| matches!(change, Change::Alter | Change::Remove);
        let place = |at: usize| self.places.get(&at);
        let is_hit = |decided: &[(usize, Change)], hit: usize| {
            let mut requests = decided.iter().filter(|(at, change)| early(*change) && place(*at) > place(hit));
            requests.any(|(at, _)| self.deletes(*at, hit))
        };
        while let Some(next) = decided.iter().position(|(at, change)| late(*change) && is_hit(decided, *at)) {
            let change = &mut decided[next].1;
            *change = if *change == Change::Alter { Change::AlterFirst } else { Change::RemoveFirst };
        }
    }
}

/// Whether a request to delete the one can delete the other of the same priority: the kernel compares only what the request names,
/// and neither `not` nor the target of `goto` (`rule_find`).
fn deletes((key, rule): (&RuleKey, &Rule), (other_key, other): (&RuleKey, &Rule)) -> bool {
    fn met<T: PartialEq>(named: &Option<T>, other: &Option<T>) -> bool {
        named.is_none() || named == other
    }
    // A value of 0 is not compared.
    let marked = |named: Fwmark, has: Fwmark| named.mask == has.mask && (named.value == 0 || named.value == has.value);
    let (named, has) = (&key.selector, &other_key.selector);
    rule.action == other.action
        && met(&rule.table, &other.table)
        && met(&rule.suppress_prefixlength, &other.suppress_prefixlength)
        && met(&rule.suppress_ifgroup, &other.suppress_ifgroup)
        && met(&named.from, &has.from)
        && met(&named.to, &has.to)
        && met(&named.iif, &has.iif)
        && met(&named.oif, &has.oif)
        && named.fwmark.is_none_or(|named| has.fwmark.is_some_and(|has| marked(named, has)))
        && met(&named.tos, &has.tos)
        && met(&named.ipproto, &has.ipproto)
        && met(&named.sport, &has.sport)
        && met(&named.dport, &has.dport)
        && met(&named.uidrange, &has.uidrange)
        && met(&named.tun_id, &has.tun_id)
        && (!named.l3mdev || has.l3mdev)
        && named.others.iter().all(|attribute| has.others.contains(attribute))
}

#[cfg(test)]
mod tests {
    use super::super::Selector;
    use super::*;
    use crate::resource::object::Fate;

    /// Rules of priority 7: `1` is for 10.1.0.0/16, `*` for all packets; their table is 5, or what follows a colon.
    fn rules(text: &str) -> Vec<(RuleKey, Rule)> {
        let one = |word: &str| {
            let (from, table) = word.split_once(':').unwrap_or((word, "5"));
            let from = (from != "*").then(|| format!("10.{from}.0.0/16").parse().unwrap());
            let key = RuleKey { priority: 7, selector: Selector { from, ..Selector::default() }, ..RuleKey::default() };
            (key, Rule { table: table.parse().ok(), ..Rule::default() })
        };
        let mut rules: Vec<_> = text.split_whitespace().map(one).collect();
        arrange(&mut rules);
        rules
    }

    /// What happens to each rule when the live ones are to become the desired ones.
    fn settled(live: &str, desired: &str) -> Vec<String> {
        let sides = [rules(live), rules(desired)].map(|rules| rules.into_iter().collect::<BTreeMap<_, _>>());
        let keys: BTreeSet<_> = sides.iter().flat_map(BTreeMap::keys).collect();
        let pairs: Vec<_> =
            keys.into_iter().map(|key| Pair { key, desired: sides[1].get(key), live: sides[0].get(key) }).collect();
        let shown = |verdict: Verdict<Rule>| {
            let word = match verdict.fate {
                Fate::Create => "add",
                Fate::Replace(Replacement::PutFirst) => "alter",
                Fate::Replace(Replacement::RemoveFirst) if verdict.reason.is_none() => "alter first",
                Fate::Replace(Replacement::RemoveFirst) => "move",
                Fate::Delete => "remove",
                Fate::DeleteLast => "remove last",
                fate @ (Fate::Update | Fate::Replace(Replacement::Overwrite)) => panic!("{fate:?}"),
            };
            format!("{word} {}", verdict.key)
        };
        let mut all: Vec<_> = settle(&pairs).into_iter().map(shown).collect();
        all.sort();
        all
    }

    #[test]
    fn what_is_in_order_stays() {
        assert_eq!(settled("1 2", "1 2"), [""; 0]);
        assert_eq!(settled("1", "1 2"), ["add 7 from 10.2.0.0/16"]);
        assert_eq!(settled("1 2 3", "1 3"), ["remove 7 from 10.2.0.0/16"]);
        assert_eq!(settled("1 2", "2 1"), ["move 7 from 10.1.0.0/16"]);
        assert_eq!(settled("1", "2 1"), ["add 7 from 10.2.0.0/16", "move 7 from 10.1.0.0/16"]);
    }

    #[test]
    fn the_old_one_stays_until_the_new_one_is_there() {
        assert_eq!(settled("1", "1:6"), ["alter 7 from 10.1.0.0/16"]);
        assert_eq!(settled("1", "2"), ["add 7 from 10.2.0.0/16", "remove last 7 from 10.1.0.0/16"]);
        assert_eq!(settled("1 2", "1:6 2"), ["alter 7 from 10.1.0.0/16", "move 7 from 10.2.0.0/16"]);
    }

    #[test]
    fn a_request_to_delete_a_rule_does_not_hit_another_one() {
        assert_eq!(settled("1 *", "1"), ["move 7 from 10.1.0.0/16", "remove last 7 from all"]);
        assert_eq!(settled("* 1", "1"), ["remove 7 from all"]);
        assert_eq!(settled("1 *:6", "1"), ["remove 7 from all"]);
        assert_eq!(settled("1 *", "2 *"), ["add 7 from 10.2.0.0/16", "move 7 from all", "remove 7 from 10.1.0.0/16"]);
        assert_eq!(settled("1 *", "1:6 *"), ["alter first 7 from 10.1.0.0/16", "move 7 from all"]);
        assert_eq!(settled("1 *", "1:6 *:6"), ["alter 7 from 10.1.0.0/16", "alter 7 from all"]);
        assert_eq!(settled("1 2 *", "1 2"), ["move 7 from 10.1.0.0/16", "move 7 from 10.2.0.0/16", "remove last 7 from all"]);
    }

    /// An apply that was killed leaves both.
    #[test]
    fn of_an_old_and_a_new_rule_the_old_one_goes() {
        assert_eq!(settled("1 1:6", "1:6"), ["remove 7 from 10.1.0.0/16"]);
        assert_eq!(settled("1 1:6", "1"), ["remove 7 from 10.1.0.0/16 #2"]);
        assert_eq!(settled("1 1:6", "1:7"), ["alter 7 from 10.1.0.0/16", "remove last 7 from 10.1.0.0/16 #2"]);
        assert_eq!(settled("1 1", "1"), ["move 7 from 10.1.0.0/16", "remove last 7 from 10.1.0.0/16 #2"]);
    }

    /// Lists of up to three rules, each with another selector.
    fn lists() -> Vec<String> {
        let words = ["1", "1:6", "2", "*", "*:6"];
        let mut lists = vec![String::new()];
        for _ in 0..3 {
            let longer = lists.iter().flat_map(|list| words.map(|word| format!("{list} {word}").trim().to_owned()));
            lists.extend(longer.collect::<Vec<_>>());
        }
        lists
    }

    fn in_order(mut rules: Vec<(RuleKey, Rule)>) -> Vec<(RuleKey, Rule)> {
        rules.sort_by_key(|(_, rule)| rule.order);
        rules
    }

    /// Does to the live rules of one priority what the kernel does.
    fn carried_out(live: &[(RuleKey, Rule)], verdicts: Vec<Verdict<Rule>>) -> Vec<(RuleKey, Rule)> {
        let mut kernel = in_order(live.to_vec());
        let is_late = |fate| matches!(fate, Fate::DeleteLast | Fate::Replace(Replacement::PutFirst));
        let (mut first, mut last, mut put) = (Vec::new(), Vec::new(), Vec::new());
        for Verdict { key, fate, before, after, .. } in verdicts {
            let removals = if is_late(fate) { &mut last } else { &mut first };
            removals.extend(before.map(|rule| (key.clone(), rule)));
            put.extend(after.map(|rule| (key, rule)));
        }
        let delete = |kernel: &mut Vec<(RuleKey, Rule)>, removals| {
            for (key, rule) in in_order(removals) {
                let hit = kernel.iter().position(|(other_key, other)| deletes((&key, &rule), (other_key, other)));
                kernel.remove(hit.expect("there is a rule to delete"));
            }
        };
        delete(&mut kernel, first);
        kernel.extend(in_order(put));
        delete(&mut kernel, last);
        kernel
    }

    #[test]
    fn from_any_rules_to_any_others() {
        let shown = |rules: Vec<(RuleKey, Rule)>| {
            let line = |(key, rule): (RuleKey, Rule)| format!("{} table {:?}", key.selector, rule.table);
            rules.into_iter().map(line).collect::<Vec<_>>()
        };
        let is_valid = |rules: &[(RuleKey, Rule)]| rules.iter().all(|(key, _)| key.ordinal == 0);
        let all: Vec<_> = lists().iter().map(|list| (list.clone(), rules(list))).collect();
        for (from, live) in &all {
            for (to, desired) in all.iter().filter(|(_, desired)| is_valid(desired)) {
                let sides = [live, desired].map(|rules| rules.iter().cloned().collect::<BTreeMap<_, _>>());
                let keys: BTreeSet<_> = sides.iter().flat_map(BTreeMap::keys).collect();
                let pair = |key| Pair { key, desired: sides[1].get(key), live: sides[0].get(key) };
                let verdicts = settle(&keys.into_iter().map(pair).collect::<Vec<_>>());
                let done = carried_out(live, verdicts);
                assert_eq!(shown(done), shown(in_order(desired.clone())), "from `{from}` to `{to}`");
            }
        }
    }
}

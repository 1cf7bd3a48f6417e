//! Impairment: what the kernel would not take, or would not do anything with.

use std::collections::BTreeMap;

use super::netem::{Loss, Netem, Random};
use super::spec::{Bursts, Impairment, LossSpec};
use super::value::Percent;
use super::{Qdisc, QdiscKey};
use crate::name::LinkName;
use crate::resource::object::site::{Item, Lowered, Position, Site};
use crate::value::Duration;
use crate::yaml::problem::whole;
use crate::yaml::{Path, Problems};

/// The longest jitter: the kernel keeps it as a number of nanoseconds with 31 bits (`INT_MAX`).
const LONGEST_JITTER: Duration = Duration(2_147_483);
/// The smallest default of `limit`, which is that of tc-netem(8).
const LEAST_LIMIT: u64 = 1000;
/// The largest number of packets that wait.
const MOST_LIMIT: u32 = i32::MAX.unsigned_abs();
/// The rate that a queue without a rate has room for: 10 Gbit/s in bytes.
const FASTEST: u64 = 1_250_000_000;

/// Lowers what the interfaces of a namespace do to packets. What an interface says overrides what its link says.
pub(super) fn lower(items: &[Item<'_, Impairment>], site: &Site<'_>, lowered: &mut Lowered<Qdisc>, problems: &mut Problems) {
    let mut seen: BTreeMap<LinkName, Position> = BTreeMap::new();
    for &Item { spec, position } in items {
        let Some(dev) = position.link() else { continue };
        let context = Context { site, spec, position };
        let before = problems.count;
        if !position.is_met_again() {
            context.check(problems);
        }
        match seen.get(&dev) {
            Some(_) if position.is_of_link() => continue,
            Some(first) => context.refuse_second(*first, problems),
            None => {}
        }
        seen.insert(dev, position);
        if problems.count == before {
            let mtu = site.interfaces.get(&dev).and_then(|interface| interface.mtu);
            lowered.add(position, || (QdiscKey { dev }, Qdisc::Netem(Box::new(netem(spec, mtu)))));
        }
    }
}

/// Returns the options of netem. `mtu` is that of the interface, if it is known.
pub(super) fn netem(spec: &Impairment, mtu: Option<u32>) -> Netem {
    let percent = Option::unwrap_or_default;
    let random = |share: Option<Percent>, correlation| Random { share: percent(share), correlation: percent(correlation) };
    let loss = match &spec.loss {
        None => Loss::default(),
        Some(LossSpec::Share(share)) => Loss::Random(random(Some(*share), spec.loss_correlation)),
        Some(LossSpec::Bursts(bursts)) => gilbert(bursts),
    };
    let reorder = random(spec.reorder, spec.reorder_correlation);
    Netem {
        delay: spec.delay.unwrap_or(Duration(0)),
        jitter: spec.jitter.unwrap_or(Duration(0)),
        delay_correlation: percent(spec.delay_correlation),
        distribution: spec.distribution.unwrap_or_default(),
        loss,
        duplicate: random(spec.duplicate, spec.duplicate_correlation),
        corrupt: random(spec.corrupt, spec.corrupt_correlation),
        reorder,
        // Without a gap, no packet is reordered.
        gap: spec.gap.unwrap_or(u32::from(reorder.share.0 != 0)),
        rate: spec.rate,
        limit: spec.limit.unwrap_or_else(|| limit(spec, mtu)),
        ecn: spec.ecn,
        seed: spec.seed,
    }
}

fn gilbert(bursts: &Bursts) -> Loss {
    let (p, r) = match (bursts.mean, bursts.run) {
        // In the long run, the share of time in the bad state is p / (p + r).
        (Some(mean), Some(run)) => {
            let good = u64::from(mean.complement().0);
            (Percent::ratio(u64::from(mean.0), good.saturating_mul(run.into())), Percent::ratio(1, run.into()))
        }
        _ => {
            let p = bursts.p.unwrap_or_default();
            (p, bursts.r.unwrap_or(p.complement()))
        }
    };
    Loss::Gilbert { p, r, h: bursts.h.unwrap_or_default(), k: bursts.k.unwrap_or_default() }
}

/// Returns the number of packets that wait at most: those on their way within the delay, and those in the queue.
fn limit(spec: &Impairment, mtu: Option<u32>) -> u32 {
    const SECOND: u64 = 1_000_000;
    let [delay, jitter] = [spec.delay, spec.jitter].map(|duration| duration.map_or(0, |duration| duration.0));
    let on_their_way = delay.saturating_add(jitter);
    let (rate, time) = match (spec.rate, spec.queue) {
        (None, _) => (FASTEST, on_their_way),
        (Some(rate), None) => (rate.0, on_their_way.saturating_add(SECOND)),
        (Some(rate), Some(queue)) => (rate.0, on_their_way.saturating_add(queue.0)),
    };
    let bytes = u128::from(rate) * u128::from(time) / u128::from(SECOND);
    let packets = bytes.div_ceil(u128::from(mtu.unwrap_or(crate::resource::link::contract::ETHERNET_MTU).max(1)));
    let packets = u64::try_from(packets).unwrap_or(u64::MAX);
    let packets = if spec.queue.is_some() { packets.max(1) } else { packets.max(LEAST_LIMIT) };
    u32::try_from(packets).unwrap_or(MOST_LIMIT).min(MOST_LIMIT)
}

/// An impairment as written.
struct Context<'c> {
    site: &'c Site<'c>,
    spec: &'c Impairment,
    position: Position,
}

impl Context<'_> {
    fn path(&self) -> Path {
        self.site.list::<Qdisc>(self.position)
    }

    fn refuse_second(&self, first: Position, problems: &mut Problems) {
        let first = self.site.list::<Qdisc>(first);
        let problem = problems.error(self.path().key(), "the interface is impaired twice");
        problem.also(first.clone().key(), "first here").needs(whole(self.path())).needs(whole(first));
        problem.hint("remove one of the two");
    }

    fn check(&self, problems: &mut Problems) {
        self.check_delay(problems);
        self.check_loss(problems);
        self.check_queue(problems);
        let spec = self.spec;
        let set = |percent: Option<Percent>| percent.is_some_and(|percent| percent.0 != 0);
        for (key, given, other, is_set) in [
            ("loss_correlation", spec.loss_correlation.is_some(), "loss", spec.loss.is_some()),
            ("duplicate_correlation", spec.duplicate_correlation.is_some(), "duplicate", set(spec.duplicate)),
            ("corrupt_correlation", spec.corrupt_correlation.is_some(), "corrupt", set(spec.corrupt)),
            ("reorder_correlation", spec.reorder_correlation.is_some(), "reorder", set(spec.reorder)),
            ("gap", spec.gap.is_some(), "reorder", set(spec.reorder)),
            ("ecn", spec.ecn, "loss", spec.loss.is_some()),
        ] {
            self.require(key, given, other, is_set, problems);
        }
        if spec.gap == Some(0) {
            problems.error(self.path().then("gap"), "a `gap` of 0 reorders no packet; the least is 1");
        }
    }

    fn check_delay(&self, problems: &mut Problems) {
        let spec = self.spec;
        let set = |duration: Option<Duration>| duration.is_some_and(|duration| duration.0 != 0);
        self.require("jitter", spec.jitter.is_some(), "delay", set(spec.delay), problems);
        self.require("delay_correlation", spec.delay_correlation.is_some(), "jitter", set(spec.jitter), problems);
        let is_shaped = spec.distribution.is_some_and(|distribution| distribution.number() != 0);
        self.require("distribution", is_shaped, "jitter", set(spec.jitter), problems);
        self.require("reorder", spec.reorder.is_some(), "delay", set(spec.delay), problems);
        if let Some(jitter) = spec.jitter.filter(|jitter| *jitter > LONGEST_JITTER) {
            problems.error(self.path().then("jitter"), format!("a jitter of {jitter} is longer than 2.147 s"));
        }
    }

    fn check_loss(&self, problems: &mut Problems) {
        let Some(LossSpec::Bursts(bursts)) = &self.spec.loss else { return };
        let path = || self.path().then("loss");
        if self.spec.loss_correlation.is_some() {
            let problem = problems.error(self.path().then("loss_correlation"), "losses in bursts have no correlation");
            problem.also(path(), "in bursts").hint("remove `loss_correlation`");
        }
        let by_mean = bursts.mean.is_some() || bursts.run.is_some();
        let by_model = [bursts.p, bursts.r, bursts.h, bursts.k].iter().any(Option::is_some);
        let message = match (by_mean, by_model) {
            (true, true) => "`mean` and `run` describe the bursts already; `p`, `r`, `h` and `k` do the same",
            (true, false) if bursts.mean.is_none() || bursts.run.is_none() => "losses in bursts need both `mean` and `run`",
            (false, _) if bursts.p.is_none() => "losses in bursts need `mean` and `run`, or `p`",
            _ if bursts.run == Some(0) => "a burst has at least one packet: `run` is 1 or more",
            _ => "",
        };
        if !message.is_empty() {
            problems.error(path(), message);
        } else if let (Some(mean), Some(run)) = (bursts.mean, bursts.run) {
            // A packet at least passes between two bursts.
            let most = Percent::ratio(run.into(), u64::from(run) + 1);
            if mean > most {
                let message = format!("with bursts of {run} packets, at most {most} of the packets can be lost");
                problems.error(path().then("mean"), message);
            }
        }
    }

    fn check_queue(&self, problems: &mut Problems) {
        let spec = self.spec;
        self.require("queue", spec.queue.is_some(), "rate", spec.rate.is_some(), problems);
        if spec.queue.is_some() && spec.limit.is_some() {
            let problem = problems.error(self.path().then("queue"), "`queue` and `limit` both bound the queue");
            problem.also(self.path().then("limit"), "also here").hint("remove one of the two");
        }
        if spec.limit.is_some_and(|limit| limit == 0 || limit > MOST_LIMIT) {
            problems.error(self.path().then("limit"), format!("the range is 1 to {MOST_LIMIT}: with 0, each packet is lost"));
        }
    }

    /// Reports a key that does nothing without another one.
    fn require(&self, key: &'static str, given: bool, other: &str, is_set: bool, problems: &mut Problems) {
        if given && !is_set {
            problems.error(self.path().then(key), format!("`{key}` does nothing without `{other}`"));
        }
    }
}

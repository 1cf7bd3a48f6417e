//! Impairment in the lab file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::netem::{Loss, Netem};
use super::value::{Percent, Rate};
use crate::string_or_map;
use crate::value::Duration;

/// What an interface does to the packets that it sends, tc-netem(8).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    /// The delay of each packet; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How much the delay varies in both directions, at most 2.147 s; default not at all. Packets overtake each other then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,
    /// How much a delay depends on the one before; default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_correlation: Option<Percent>,
    /// How the delay varies: `uniform`, `normal`, `pareto` or `paretonormal`; default `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// The share of packets that are lost; or a map, for losses in bursts. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
    /// How much a loss depends on the one before; default 0%. For losses in bursts, write `loss` as a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_correlation: Option<Percent>,
    /// The share of packets that are sent twice; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Percent>,
    /// How much a duplicate depends on the one before; default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_correlation: Option<Percent>,
    /// The share of packets in which one bit is inverted; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Percent>,
    /// How much a corruption depends on the one before; default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt_correlation: Option<Percent>,
    /// The share of packets that are sent without delay, before those that wait; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Percent>,
    /// How much that depends on the packet before; default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder_correlation: Option<Percent>,
    /// Only each n-th packet can be sent without delay; default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub gap: Option<u32>,
    /// The rate at which packets are sent, in bits per second; default as fast as the interface can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The longest time that a packet waits for its turn at this `rate`, instead of `limit`. What would wait longer is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Duration>,
    /// The largest number of packets that wait, those that are delayed included: 1 to 2147483647. Default as many as are on their way within the
    /// delay at 10 Gbit/s, or within the delay and one second more at the `rate`, and at least 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub limit: Option<u32>,
    /// Mark packets that would be lost as having met congestion, if they allow it (ECN); default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub ecn: bool,
    /// The beginning of the sequence of random numbers, so that the same packets meet the same fate; since Linux 6.6. Default drawn by the
    /// kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Which packets are lost: a share, or a model.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LossSpec {
    /// The share of packets, each lost by chance.
    Share(Percent),
    /// Losses in bursts.
    Bursts(Box<Bursts>),
}
string_or_map!(LossSpec, "a percentage or a map", LossSpec::Share, |bursts| LossSpec::Bursts(Box::new(bursts)));

/// Losses in bursts: `mean` and `run`, or the probabilities of the model of Gilbert and Elliott, `p` and `r` with `h` and `k`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bursts {
    /// The share of packets that are lost in the long run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Percent>,
    /// How many packets are lost one after the other, on average: 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub run: Option<u32>,
    /// The probability of a change from the good to the bad state, for each packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<Percent>,
    /// The probability of a change from the bad to the good state; default the contrary of `p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r: Option<Percent>,
    /// The share of packets that pass in the bad state; default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub h: Option<Percent>,
    /// The share of packets that are lost in the good state; default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<Percent>,
}

/// Returns the keys of the lab file that describe it.
pub(super) fn raise(netem: &Netem) -> Impairment {
    let share = |percent: Percent| (percent.0 != 0).then_some(percent);
    let time = |duration: Duration| (duration.0 != 0).then_some(duration);
    let loss = match netem.loss {
        Loss::Random(random) => share(random.share).map(LossSpec::Share),
        Loss::Gilbert { p, r, h, k } => {
            let bursts = Bursts { p: Some(p), r: Some(r), h: share(h), k: share(k), ..Bursts::default() };
            Some(LossSpec::Bursts(Box::new(bursts)))
        }
    };
    Impairment {
        delay: time(netem.delay),
        jitter: time(netem.jitter),
        delay_correlation: share(netem.delay_correlation),
        distribution: (netem.distribution != Distribution::Uniform).then_some(netem.distribution),
        loss,
        loss_correlation: share(netem.loss.random().correlation),
        duplicate: share(netem.duplicate.share),
        duplicate_correlation: share(netem.duplicate.correlation),
        corrupt: share(netem.corrupt.share),
        corrupt_correlation: share(netem.corrupt.correlation),
        reorder: share(netem.reorder.share),
        reorder_correlation: share(netem.reorder.correlation),
        gap: (netem.gap > 1).then_some(netem.gap),
        rate: netem.rate,
        queue: None,
        limit: Some(netem.limit),
        ecn: netem.ecn,
        seed: netem.seed,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::lower;
    use super::*;

    /// Returns what a lab file with this impairment says.
    pub(in super::super) fn netem(text: &str) -> Netem {
        let file = format!("namespaces: {{ n: {{ interfaces: {{ eth0: {{ dummy: {{}}, impair: {text} }} }} }} }}");
        let loaded = crate::spec::load(&file);
        let lab = loaded.lab.expect("the file is valid");
        let interface = lab.namespaces.values().flat_map(|namespace| namespace.interfaces.values()).next().unwrap();
        lower::netem(&interface.impair[0], None)
    }

    #[test]
    fn what_is_raised_means_the_same() {
        for text in [
            "{}",
            "{ delay: 10ms, jitter: 5ms, delay_correlation: 25%, distribution: paretonormal }",
            "{ loss: 1%, loss_correlation: 50%, ecn: true, seed: 18446744073709551615 }",
            "{ loss: { mean: 2%, run: 5 }, rate: 10mbit, queue: 50ms }",
            "{ loss: { p: 1%, k: 0.1% }, duplicate: 1%, duplicate_correlation: 3%, corrupt: 0.5%, limit: 7 }",
            "{ delay: 1s, reorder: 25%, reorder_correlation: 50%, gap: 5 }",
        ] {
            let first = netem(text);
            let raised = serde_json::to_string(&raise(&first)).unwrap();
            assert_eq!(netem(&raised), first, "{raised}");
        }
    }

    #[test]
    fn bursts_have_the_mean_and_the_length_that_were_asked_for() {
        let Loss::Gilbert { p, r, h, k } = netem("{ loss: { mean: 20%, run: 4 } }").loss else { panic!() };
        assert_eq!([p, r, h, k].map(|percent| percent.to_string()), ["6.25%", "25%", "0%", "0%"]);
    }
}

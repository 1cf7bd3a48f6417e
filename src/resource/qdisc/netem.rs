//! [`Netem`]: what an interface does to the packets that it sends.

use serde_json::{Value, json};

use super::distribution::Distribution;
use super::value::{Percent, Rate};
use crate::resource::FieldChange;
use crate::value::Duration;

/// The options of netem as the kernel keeps them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Netem {
    /// The delay (TCA_NETEM_LATENCY64).
    pub delay: Duration,
    /// How much the delay varies (TCA_NETEM_JITTER64).
    pub jitter: Duration,
    /// How much a delay depends on the one before (TCA_NETEM_CORR).
    pub delay_correlation: Percent,
    /// How the delay varies (TCA_NETEM_DELAY_DIST).
    pub distribution: Distribution,
    /// Which packets are lost.
    pub loss: Loss,
    /// Which packets are sent twice.
    pub duplicate: Random,
    /// Which packets get a wrong bit (TCA_NETEM_CORRUPT).
    pub corrupt: Random,
    /// Which packets are sent without delay (TCA_NETEM_REORDER).
    pub reorder: Random,
    /// Only each n-th packet can be sent without delay; 0 for all.
    pub gap: u32,
    /// The rate at which packets are sent (TCA_NETEM_RATE).
    pub rate: Option<Rate>,
    /// The longest queue in packets, the delayed ones included.
    pub limit: u32,
    /// Mark packets that would be lost, if they can be marked (TCA_NETEM_ECN).
    pub ecn: bool,
    /// The beginning of the sequence of random numbers; `None` for a drawn one (TCA_NETEM_PRNG_SEED).
    pub seed: Option<u64>,
}

/// Something that happens to packets at random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Random {
    /// The share of packets.
    pub share: Percent,
    /// How much it depends on what happened to the packet before.
    pub correlation: Percent,
}

/// Which packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Each by chance.
    Random(Random),
    /// In bursts, by the model of Gilbert and Elliott (NETEM_LOSS_GE).
    Gilbert {
        /// The probability of a change from the good to the bad state, for each packet.
        p: Percent,
        /// The probability of a change from the bad to the good state.
        r: Percent,
        /// The share of packets that pass in the bad state.
        h: Percent,
        /// The share of packets that are lost in the good state.
        k: Percent,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::Random(Random::default())
    }
}

impl Loss {
    /// Returns the random loss; none in bursts.
    pub(super) fn random(self) -> Random {
        match self {
            Self::Random(random) => random,
            Self::Gilbert { .. } => Random::default(),
        }
    }

    fn show(self) -> Value {
        match self {
            Self::Random(random) => random.show(),
            Self::Gilbert { p, r, h, k } => json!(format!("p {p}, r {r}, h {h}, k {k}")),
        }
    }
}

impl Random {
    fn show(self) -> Value {
        let Self { share, correlation } = self;
        match correlation.0 {
            0 => json!(share),
            _ => json!(format!("{share}, correlation {correlation}")),
        }
    }
}

impl Netem {
    /// Returns all attributes with their values, in the order of the lab file.
    fn values(&self) -> [(&'static str, Value); 12] {
        [
            ("delay", json!(self.delay)),
            ("jitter", json!(self.jitter)),
            ("delay_correlation", json!(self.delay_correlation)),
            ("distribution", json!(self.distribution)),
            ("loss", self.loss.show()),
            ("duplicate", self.duplicate.show()),
            ("corrupt", self.corrupt.show()),
            ("reorder", self.reorder.show()),
            ("gap", json!(self.gap)),
            ("rate", json!(self.rate)),
            ("limit", json!(self.limit)),
            ("ecn", json!(self.ecn)),
        ]
    }

    /// Returns the attributes in which the desired one differs from the live one.
    pub(super) fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let pairs = self.values().into_iter().zip(live.values());
        let differing = pairs.filter(|((_, desired), (_, live))| desired != live);
        let mut changes: Vec<_> = differing.map(|((name, desired), (_, live))| FieldChange::new(name, live, desired)).collect();
        if self.seed.is_some() && self.seed != live.seed {
            changes.push(FieldChange::new("seed", json!(live.seed), json!(self.seed)));
        }
        changes
    }

    /// Returns the attributes that are set.
    pub(super) fn show(&self) -> Vec<(&'static str, Value)> {
        let unset = Self::default().values();
        let values = self.values().into_iter().zip(unset).filter(|(value, unset)| value != unset);
        let seed = self.seed.map(|seed| ("seed", json!(seed)));
        values.map(|(value, _)| value).chain(seed).collect()
    }
}

//! Distributions of the delay: tables of quantiles for netem (TCA_NETEM_DELAY_DIST).
//!
//! An entry is the deviation from the mean in units of the jitter, times 8192 (NETEM_DIST_SCALE). netem draws entries at random.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the delay varies with the jitter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Each delay within the jitter is equally likely.
    #[default]
    Uniform,
    /// The normal distribution; the jitter is its standard deviation.
    Normal,
    /// A Pareto distribution with the exponent 3, normalised to the mean and the standard deviation.
    Pareto,
    /// A quarter of the normal and three quarters of the Pareto distribution.
    ParetoNormal,
}

/// The number of entries of a table.
const ENTRIES: u16 = 4096;
/// One standard deviation (NETEM_DIST_SCALE).
const SCALE: f64 = 8192.0;

impl Distribution {
    /// All of them, in the order of [`Self::number`].
    pub(super) const ALL: [Self; 4] = [Self::Uniform, Self::Normal, Self::Pareto, Self::ParetoNormal];

    /// Returns the number that its handles have.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Uniform => 0,
            Self::Normal => 1,
            Self::Pareto => 2,
            Self::ParetoNormal => 3,
        }
    }

    /// Returns the word of tc-netem(8).
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::ParetoNormal => "paretonormal",
        }
    }

    /// Returns the table in native byte order; `None` for the distribution that needs none.
    pub(super) fn table(self) -> Option<&'static [u8]> {
        static TABLES: LazyLock<[Vec<u8>; 3]> =
            LazyLock::new(|| [table(normal), table(pareto), table(|quantile| 0.25 * normal(quantile) + 0.75 * pareto(quantile))]);
        usize::from(self.number()).checked_sub(1).map(|index| TABLES[index].as_slice())
    }
}

fn table(deviation: impl Fn(f64) -> f64) -> Vec<u8> {
    let entry = |index: u16| {
        let quantile = (f64::from(index) + 0.5) / f64::from(ENTRIES);
        let scaled = (deviation(quantile) * SCALE).round().clamp(f64::from(i16::MIN), f64::from(i16::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "it has been clamped")]
        let entry = scaled as i16;
        entry.to_ne_bytes()
    };
    (0..ENTRIES).flat_map(entry).collect()
}

/// Returns the quantile of the standard normal distribution, with an error below 0.00045 (Abramowitz and Stegun 26.2.23).
fn normal(quantile: f64) -> f64 {
    let tail = quantile.min(1.0 - quantile);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 0.010_328_f64.mul_add(t, 0.802_853).mul_add(t, 2.515_517);
    let below = 0.001_308_f64.mul_add(t, 0.189_269).mul_add(t, 1.432_788).mul_add(t, 1.0);
    (t - above / below).copysign(quantile - 0.5)
}

/// Returns the quantile of the Pareto distribution with the exponent 3, with its mean at 0 and its standard deviation 1.
fn pareto(quantile: f64) -> f64 {
    /// The mean, α/(α − 1).
    const MEAN: f64 = 1.5;
    /// The variance, α/((α − 1)²(α − 2)).
    const VARIANCE: f64 = 0.75;
    ((1.0 - quantile).powf(-1.0 / 3.0) - MEAN) / VARIANCE.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(distribution: Distribution) -> Vec<i16> {
        let bytes = distribution.table().unwrap();
        bytes.chunks(2).map(|bytes| i16::from_ne_bytes([bytes[0], bytes[1]])).collect()
    }

    fn mean_and_deviation(entries: &[i16]) -> (f64, f64) {
        let count = f64::from(ENTRIES);
        let mean = entries.iter().map(|entry| f64::from(*entry)).sum::<f64>() / count;
        let variance = entries.iter().map(|entry| (f64::from(*entry) - mean).powi(2)).sum::<f64>() / count;
        (mean / SCALE, variance.sqrt() / SCALE)
    }

    #[test]
    fn tables_have_the_mean_zero_and_a_standard_deviation_of_one() {
        let (mean, deviation) = mean_and_deviation(&entries(Distribution::Normal));
        assert!(mean.abs() < 0.001 && (deviation - 1.0).abs() < 0.01, "{mean} {deviation}");
        // Its long tail is cut off at four times the jitter, where the type of an entry ends.
        let (mean, deviation) = mean_and_deviation(&entries(Distribution::Pareto));
        assert!(mean.abs() < 0.1 && (0.6..1.0).contains(&deviation), "{mean} {deviation}");
        assert_eq!(Distribution::Uniform.table(), None);
    }

    #[test]
    fn entries_ascend_and_a_normal_table_is_symmetric() {
        for distribution in &Distribution::ALL[1..] {
            let entries = entries(*distribution);
            assert!(entries.is_sorted() && entries.len() == usize::from(ENTRIES));
        }
        let entries = entries(Distribution::Normal);
        let mirrored: Vec<i16> = entries.iter().rev().map(|entry| -entry).collect();
        assert_eq!(entries, mirrored);
    }
}

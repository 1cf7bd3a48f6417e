//! Sample values of every option type, so that the random tests cover all options without knowing them.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::name::NamespaceName;
use crate::value::{Duration, Mac};

/// A type with sample values. The `validate` of a table decides which of them are valid for an option.
pub trait Sample: Sized {
    /// Returns the samples.
    fn samples() -> Vec<Self>;
}

/// Returns the samples of an option's type, as in a lab file.
pub fn samples_of<T: Sample + Serialize>(_: &Option<T>) -> Vec<Value> {
    T::samples().iter().filter_map(|value| serde_json::to_value(value).ok()).collect()
}

macro_rules! samples {
    ($($type:ty: [$($value:expr),*];)+) => {
        $(
            impl Sample for $type {
                fn samples() -> Vec<Self> {
                    vec![$($value),*]
                }
            }
        )+
    };
}
samples! {
    bool: [true, false];
    u8: [1, 0, 2, 64];
    u16: [1, 0, 2, 8, 4094];
    u32: [1, 0, 2, 4096];
    i32: [1, 0, -1, 2];
    Duration: [Duration::seconds(2), Duration::seconds(10), Duration::seconds(20), Duration::seconds(300)];
    Mac: [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
    Vec<Mac>: [vec![Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 1])], Vec::new()];
    IpAddr: [[192, 0, 2, 1].into(), [192, 0, 2, 2].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
    [u16; 2]: [[0, 0], [1000, 2000]];
    // The namespaces depend on the lab.
    NamespaceName: [];
}

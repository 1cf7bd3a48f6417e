//! A few values of every type that an option can have, so that tests draw the options of a table without knowing them.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::name::NamespaceName;
use crate::value::{Duration, Mac};

/// A type with values to try. Not all of them are valid for every option; the table's `validate` tells.
pub trait Sample: Sized {
    /// The values.
    fn samples() -> Vec<Self>;
}

/// The values of an option's type, as a lab file would show them.
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
    Duration: [Duration::seconds(2), Duration::seconds(10), Duration::seconds(20), Duration::seconds(300)];
    Mac: [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
    Vec<Mac>: [vec![Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 1])], Vec::new()];
    IpAddr: [[192, 0, 2, 1].into(), [192, 0, 2, 2].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
    [u16; 2]: [[0, 0], [1000, 2000]];
    // Which namespaces there are is the lab's.
    NamespaceName: [];
}

//! The value of a sysctl, and which texts the kernel reads as the same value.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// A value: what reading the sysctl returns, with runs of white space as one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// The text.
    pub value: String,
    /// Whether the interface inherits it from `default`, and the lab does not set it. A new interface needs no write.
    pub inherited: bool,
    /// Whether it is only to stay as it is: it is in a part of the lab that the user did not choose.
    pub kept: bool,
}

impl Sysctl {
    /// A value that the lab sets, or that was read.
    pub fn new(value: &str) -> Self {
        Self { value: value.split_whitespace().collect::<Vec<_>>().join(" "), inherited: false, kept: false }
    }

    /// Returns whether the kernel, which reports `live`, reads this value as the same. Spellings of numbers (`0x2`, `02`), of IPv6
    /// addresses and of lists of ports (`8080,8081`, `8080-8081`) differ.
    pub fn agrees(&self, live: &Self) -> bool {
        self.value == live.value
            || same(&self.value, &live.value, numbers)
            || same(&self.value, &live.value, |text| text.parse::<Ipv6Addr>().ok())
            || same(&self.value, &live.value, ranges)
    }

    /// Returns whether the kernel reads it as a number other than 0.
    pub fn is_on(&self) -> bool {
        !self.agrees(&Self::new("0"))
    }

    /// Returns all attributes that are set.
    pub fn show(&self) -> Vec<(String, serde_json::Value)> {
        vec![("value".into(), self.value.clone().into())]
    }
}

fn same<T: PartialEq>(one: &str, other: &str, read: impl Fn(&str) -> Option<T>) -> bool {
    read(other).is_some_and(|other| read(one).is_some_and(|one| one == other))
}

/// Reads numbers as the kernel does: decimal, hexadecimal with `0x`, octal with `0`.
fn numbers(text: &str) -> Option<Vec<i128>> {
    let number = |word: &str| {
        let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
        let (digits, radix) = match digits.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
            [b'0', _, ..] => (&digits[1..], 8),
            _ => (digits, 10),
        };
        let valid = digits.starts_with(|first: char| first.is_ascii_hexdigit());
        let number = i128::from_str_radix(digits, radix).ok().filter(|_| valid)?;
        Some(if negative { -number } else { number })
    };
    text.split(' ').map(number).collect()
}

/// Reads a list of numbers and ranges below 65536, such as the one of reserved ports (`proc_do_large_bitmap`).
fn ranges(text: &str) -> Option<BTreeSet<u16>> {
    let mut all = BTreeSet::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
        all.extend(number(first)?..=number(last)?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(one: &str, live: &str) -> bool {
        Sysctl::new(one).agrees(&Sysctl::new(live))
    }

    #[test]
    fn spellings_of_a_value_are_the_same() {
        assert!(agree("0x2", "2"));
        assert!(agree("01", "1"));
        assert!(agree("010", "8"));
        assert!(agree("4096  131072\t6291456", "4096\t131072\t6291456"));
        assert!(agree("-01", "-1"));
        assert!(agree("9000-9010,8080,8081", "8080-8081,9000-9010"));
        assert!(agree("2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001"));
    }

    #[test]
    fn other_values_differ() {
        for (one, live) in
            [("1", "2"), ("0x", "0"), ("0x-1", "-1"), ("+1", "1"), ("8080", "8080-8081"), ("reno", "cubic"), ("1", ""), ("", "1")]
        {
            assert!(!agree(one, live), "{one} {live}");
        }
    }
}

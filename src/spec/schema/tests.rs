use std::fmt::Debug;

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::*;
use crate::name::{LabName, LinkId, LinkName, LinkRef};
use crate::resource::link::bridge_port::BackupPort;
use crate::resource::neighbor::LinkAddress;
use crate::resource::node::file::{Mode, NodePath, Owner};
use crate::resource::node::limits::{Cpu, Memory, Pids};
use crate::resource::node::process::{Capability, Port, Signal, User};
use crate::resource::node::time::Offset;
use crate::resource::route::Table;
use crate::resource::rule::{Fwmark, IpProtocol, PortRange, UidRange};
use crate::spec::file::SysctlValue;
use crate::value::{Destination, Duration, InterfaceAddress, Mac};

#[test]
fn null_is_allowed_for_maps_and_lists_only() {
    let schema = schema();
    let interface = &schema["definitions"]["InterfaceSpec"]["properties"];
    assert_eq!(interface["mtu"]["type"], "integer");
    assert_eq!(interface["mac"]["$ref"], "#/definitions/Mac");
    assert_eq!(interface["addresses"]["type"], json!(["array", "null"]));
    assert_eq!(schema["definitions"]["Bridge"]["type"], json!(["object", "null"]));
    assert_eq!(schema["definitions"]["Macvlan"]["type"], "object");
    assert_eq!(schema["definitions"]["LinkSpec"]["properties"]["endpoints"]["type"], "array");
}

/// Texts that look like these, and variations of them.
fn texts(examples: &'static [&'static str], alphabet: &'static str) -> impl Strategy<Value = String> {
    let example = prop::sample::select(examples).prop_map(str::to_owned);
    let part = || prop_oneof![prop::sample::select(examples).prop_map(str::to_owned), alphabet.prop_map(|text| text)];
    let spliced = (part(), any::<prop::sample::Index>(), part()).prop_map(|(first, at, second)| {
        let at = at.index(first.len() + 1);
        let at = (0..=at).rev().find(|at| first.is_char_boundary(*at)).unwrap_or(0);
        let rest = second.char_indices().nth(at).map_or("", |(at, _)| &second[at..]);
        format!("{}{rest}", &first[..at])
    });
    prop_oneof![1 => example, 2 => alphabet.prop_map(|text| text), 4 => spliced]
}

/// Checks that a type's schema accepts all texts that the type reads, and that enough of them are valid for that to mean something.
fn accepts_what_is_read<T: JsonSchema + DeserializeOwned + Debug>(texts: impl Strategy<Value = String>) {
    let validator = jsonschema::validator_for(&schemars::schema_for!(T).to_value()).unwrap();
    let read = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in texts)| {
        let value = Value::from(text);
        if serde_json::from_value::<T>(value.clone()).is_ok() {
            read.set(read.get() + 1);
            prop_assert!(validator.is_valid(&value), "{value}");
        }
    });
    assert!(read.get() > 100, "only {} texts are valid", read.get());
}

/// The same for numbers.
fn accepts_numbers_that_are_read<T: JsonSchema + DeserializeOwned>() {
    let validator = jsonschema::validator_for(&schemars::schema_for!(T).to_value()).unwrap();
    let powers = (0..34).flat_map(|bit| [(1_i64 << bit) - 2, (1 << bit) - 1, 1 << bit, -(1 << bit)]);
    let mut read = 0;
    for value in powers.map(Value::from) {
        if serde_json::from_value::<T>(value.clone()).is_ok() {
            read += 1;
            assert!(validator.is_valid(&value), "{value}");
        }
    }
    assert!(read > 3);
}

#[test]
fn addresses_that_are_read_match_their_patterns() {
    let examples: &[_] = &[
        "10.0.0.1/24",
        "192.168.255.10",
        "255.255.255.255/32",
        "0.0.0.0/0",
        "2001:db8::1/64",
        "::",
        "::1",
        "fe80::",
        "default",
        "1:2:3:4:5:6:7:8/128",
        "::ffff:10.0.0.1/96",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "64:ff9b::192.0.2.33",
        "ABCD:EF01::/032",
        "1:2:3:4:5:6:10.0.0.1",
        "10.0.0.0/08",
    ];
    let alphabet = "[0-9a-fA-F:.]{1,12}(/[0-9]{1,4})?";
    accepts_what_is_read::<InterfaceAddress>(texts(examples, alphabet));
    accepts_what_is_read::<Destination>(texts(examples, alphabet));
    let plain: &[_] = &[
        "10.0.0.1",
        "192.168.255.10",
        "255.255.255.255",
        "0.0.0.0",
        "2001:db8::1",
        "::",
        "::1",
        "1:2:3:4:5:6:7:8",
        "::ffff:10.0.0.1",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "ABCD:EF01::",
        "1:2:3:4:5:6:10.0.0.1",
    ];
    let validator = jsonschema::validator_for(&schemars::schema_for!(IpAddress).to_value()).unwrap();
    let read = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in texts(plain, "[0-9a-f:.]{1,12}"))| {
        if text.parse::<std::net::IpAddr>().is_ok() {
            read.set(read.get() + 1);
            prop_assert!(validator.is_valid(&text.clone().into()), "{text}");
        }
    });
    assert!(read.get() > 100);
    accepts_what_is_read::<Mac>(texts(&["02:00:00:00:00:01", "02-00-00-00-00-0A", "fF:00-00:aa:00:01"], "[0-9a-fA-F:-]{15,18}"));
    accepts_what_is_read::<LinkAddress>(texts(&["02:00:00:00:00:01", "02-00-00-00-00-0A"], "[0-9a-fA-F:-]{15,18}"));
}

#[test]
fn names_that_are_read_match_their_patterns() {
    let examples: &[_] = &["eth0", "r1:eth0", "host:eth0.10", "_a-b", "0123456789abcde", "7", "a:b"];
    accepts_what_is_read::<LabName>(texts(examples, "[a-zA-Z0-9_.:/ -]{1,12}"));
    accepts_what_is_read::<LinkName>(texts(examples, "[a-zA-Z0-9_.:-]{1,12}"));
    accepts_what_is_read::<BackupPort>(texts(examples, "[a-zA-Z0-9_.:-]{1,12}"));
    accepts_what_is_read::<LinkId>(texts(examples, "[a-zA-Z0-9_.:-]{1,12}"));
    accepts_what_is_read::<LinkRef>(texts(examples, "[a-zA-Z0-9_.:-]{1,12}"));
    accepts_what_is_read::<NodePath>(texts(&["/etc/motd", "//a//b", "/a", "/.x"], "/?[a-z./]{1,12}"));
}

#[test]
fn quantities_that_are_read_match_their_patterns() {
    let durations: &[_] = &["10ms", "2.5s", "0s", "007us", "1.000001h", "-10m", "24h"];
    accepts_what_is_read::<Duration>(texts(durations, "-?[0-9.]{1,8}(us|ms|s|m|h)"));
    accepts_what_is_read::<Offset>(texts(durations, "-?[0-9.]{1,8}(us|ms|s|m|h)"));
    accepts_what_is_read::<Memory>(texts(&["256MiB", "64GiB", "08192KiB", "1GiB"], "[0-9]{1,6}(KiB|MiB|GiB)"));
    accepts_what_is_read::<Mode>(texts(&["0644", "755", "07777", "00644"], "[0-9]{2,6}"));
    accepts_what_is_read::<Owner>(texts(&["0:0", "5", "1000:+7"], r"[0-9+:]{1,8}"));
    accepts_numbers_that_are_read::<Pids>();
    accepts_numbers_that_are_read::<Cpu>();
}

#[test]
fn selectors_that_are_read_match_their_patterns() {
    let ranges: &[_] = &["80", "1000-2000", "0x10 - 20", " 7", "1-65534", "0X10"];
    accepts_what_is_read::<PortRange>(texts(ranges, "[0-9x -]{1,6}"));
    accepts_what_is_read::<UidRange>(texts(ranges, "[0-9x -]{1,6}"));
    accepts_what_is_read::<Fwmark>(texts(
        &["0x10", "16/0xf0", "0/0xf", "1/0xffffffff"],
        "(0x)?[0-9a-f]{1,4}(/(0x)?[0-9a-f]{1,4})?",
    ));
    accepts_what_is_read::<IpProtocol>(texts(&["tcp", "udp", "ipv6-icmp", "icmpv6", "0x11", "255"], "(0x)?[0-9a-f]{1,3}"));
    accepts_what_is_read::<Table>(texts(&["main", "local", "7"], "[a-z0-9]{1,5}"));
    accepts_numbers_that_are_read::<PortRange>();
    accepts_numbers_that_are_read::<UidRange>();
    accepts_numbers_that_are_read::<Fwmark>();
    accepts_numbers_that_are_read::<IpProtocol>();
    accepts_numbers_that_are_read::<Table>();
}

#[test]
fn values_of_processes_that_are_read_match_their_patterns() {
    accepts_what_is_read::<Port>(texts(
        &["80", "10.0.0.1:80", "[2001:db8::1]:80", "[fe80::1%3]:65535", "[::]:1"],
        "[0-9.:]{1,9}",
    ));
    accepts_what_is_read::<User>(texts(&["frr", "1000", "frr:frrvty", "0:0", "a.b-c$"], "[!-~]{1,10}"));
    accepts_what_is_read::<Signal>(texts(&["TERM", "SIGHUP", "USR1"], "(SIG)?[A-Z]{3,5}"));
    accepts_what_is_read::<Capability>(texts(&["NET_ADMIN", "cap_net_raw", "Chown", "CAP_bpf"], "[A-Za-z_]{3,12}"));
    accepts_what_is_read::<SysctlValue>(texts(&["1", "1 2 3", "true", "bbr"], "[ -~]{0,12}"));
    accepts_numbers_that_are_read::<Port>();
    accepts_numbers_that_are_read::<User>();
}

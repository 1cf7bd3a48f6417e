//! Whatever a lab file holds, reading it ends, with a state or with problems that can be shown.

#[path = "common/lab.rs"]
mod lab;

use std::fs;
use std::path::Path;

use lab::Reading;
use proptest::prelude::*;

/// Reads a text all the way; what is written about it must be safe to print.
fn read(text: &str) -> bool {
    let Reading { lab, has_errors, shown } = Reading::of(text, "lab.yaml", false);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    assert!(lab.is_some() || has_errors, "nothing was read of {text:?}, and no error says why");
    lab.is_some()
}

/// Every example, and every file that is refused.
fn labs() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = ["examples", "tests/invalid"].map(|directory| fs::read_dir(root.join(directory)).expect("it is there"));
    let paths = directories.into_iter().flatten().map(|entry| entry.expect("readable").path());
    let mut labs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    labs.sort();
    labs.into_iter().map(|path| fs::read_to_string(path).expect("text")).filter(|text| text.len() < 10_000).collect()
}

/// Pieces that lab files are made of, and some that break them.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "name: a\n",
        "namespaces:\n",
        "links:\n",
        "  red:\n",
        "    interfaces:\n",
        "      eth0:\n",
        "      lo:\n",
        "    routes:\n",
        "        addresses:\n",
        "          - ",
        "      - ",
        "  - ",
        "- ",
        "{ ",
        " }",
        "[",
        "]",
        ", ",
        ": ",
        "\n",
        "  ",
        "&a ",
        "*a",
        "<<: ",
        "dummy: {}",
        "bridge: {}",
        "bridge: { ports: ['*'] }",
        "macvlan: { parent: eth0 }",
        "vlan: { parent: eth0, id: 5 }",
        "mtu: 1400",
        "10.0.0.1/24",
        "2001:db8::1/64",
        "fe80::1",
        "to: default",
        "via: 10.0.0.2",
        "dev: eth0",
        "endpoints: [red:eth0, host:eth0]",
        "external: true",
        "sysctls: { net.ipv4.conf.default.rp_filter: 1 }",
        "red",
        "host",
        "default",
        "null",
        "~",
        "\"",
        "'",
        "|",
        ">",
        "\t",
        "\u{1b}[31m",
        "\u{feff}",
        "\u{202e}",
        "é",
        "---\n",
        "...\n",
        "# ",
        "!!str ",
        "? ",
        "0x10",
        "-1",
        "99999999999999999999",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

#[test]
fn every_example_is_a_lab() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("readable")) {
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            assert!(read(&fs::read_to_string(entry.path()).expect("text")), "{}", entry.path().display());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_to_its_end(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn what_looks_like_a_lab_is_read_to_its_end(pieces in proptest::collection::vec(piece(), 0..60)) {
        read(&pieces.concat());
    }

    #[test]
    fn a_lab_with_a_piece_exchanged_is_read_to_its_end(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..20_usize, piece()), 1..4),
    ) {
        let labs = labs();
        let mut text: Vec<char> = labs[which.index(labs.len())].chars().collect();
        for (at, length, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        read(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_lab_with_words_exchanged_is_read_to_its_end(
        which in any::<prop::sample::Index>(),
        swaps in proptest::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..6),
    ) {
        let labs = labs();
        let text = &labs[which.index(labs.len())];
        let mut words: Vec<&str> = text.split_inclusive([' ', ',', '\n']).collect();
        for (one, other) in swaps {
            let (one, other) = (one.index(words.len()), other.index(words.len()));
            words.swap(one, other);
        }
        read(&words.concat());
    }
}

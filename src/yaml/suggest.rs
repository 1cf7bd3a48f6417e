//! "Did you mean": the known word that is closest to an unknown one.

/// Most words of a list that are written out.
const LISTED: usize = 20;

/// The closest of `known`, if any is close enough to have been meant: a third of its letters may differ, and case.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: String = word.chars().take(64).collect::<String>().to_lowercase();
    let length = word.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let limit = (length.max(candidate.len()) / 3).max(1);
        if candidate.len().abs_diff(word.len()) > limit {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        if distance <= limit && distance < length && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// What others call it: words that people know from other programs, and what they may mean here.
const OTHER_WORDS: [(&str, &str); 16] = [
    ("address", "addresses"),
    ("destination", "to"),
    ("device", "dev"),
    ("dst", "to"),
    ("gateway", "via"),
    ("gw", "via"),
    ("hwaddr", "mac"),
    ("interface", "dev"),
    ("interfaces", "ports"),
    ("ip", "addresses"),
    ("ips", "addresses"),
    ("lladdr", "mac"),
    ("members", "ports"),
    ("nexthop", "via"),
    ("stp", "stp_state"),
    ("vni", "id"),
];

/// The known word that was meant, by its spelling or because other programs call it so.
pub fn meant<'k>(word: &str, known: &'k [&'k str]) -> Option<&'k str> {
    let mut others = OTHER_WORDS.iter().filter(|(other, _)| *other == word);
    let known_words = || known.iter().copied();
    let by_meaning = others.find_map(|(_, meant)| known_words().find(|known| known == meant));
    by_meaning.or_else(|| closest(word, known_words()))
}

/// Words as a list: `` `a`, `b` and `c` ``.
pub fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] if words.len() <= LISTED => format!("{} and {last}", most.join(", ")),
        many => format!("{} and {} more", many[..LISTED].join(", "), many.len() - LISTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        assert_eq!(closest("adresses", ["addresses", "routes"]), Some("addresses"));
        assert_eq!(closest("MTU", ["mac", "mtu"]), Some("mtu"));
        assert_eq!(closest("stp-state", ["stp_state"]), Some("stp_state"));
        assert_eq!(closest("gateway", ["via", "dev", "to"]), None);
        assert_eq!(closest("x", ["y"]), None);
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}

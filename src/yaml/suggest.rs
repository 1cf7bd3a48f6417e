//! Suggestions for unknown words ("did you mean"), and lists of known ones.

/// The maximum number of words that [`list`] writes out.
const LIST_LIMIT: usize = 20;

/// Returns the word of `known` that is closest to `word`. Ignores case; up to a third of the letters may differ.
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

/// Terms of other programs, and the keys that they correspond to.
const SYNONYMS: &[(&str, &str)] = &[
    ("address", "addresses"),
    ("destination", "to"),
    ("device", "dev"),
    ("dsfield", "tos"),
    ("dst", "to"),
    ("gateway", "via"),
    ("gw", "via"),
    ("hwaddr", "mac"),
    ("interface", "dev"),
    ("interfaces", "ports"),
    ("ip", "addresses"),
    ("ips", "addresses"),
    ("lladdr", "mac"),
    ("lookup", "table"),
    ("mac", "lladdr"),
    ("mark", "fwmark"),
    ("members", "ports"),
    ("nexthop", "via"),
    ("order", "priority"),
    ("pref", "priority"),
    ("preference", "priority"),
    ("src", "from"),
    ("state", "nud"),
    ("stp", "stp_state"),
    ("vni", "id"),
];

/// Returns the known word that `word` is a synonym or misspelling of.
pub fn suggestion<'k>(word: &str, known: &'k [&'k str]) -> Option<&'k str> {
    let mut synonyms = SYNONYMS.iter().filter(|(other, _)| *other == word);
    let known_words = || known.iter().copied();
    let synonym = synonyms.find_map(|(_, key)| known_words().find(|known| known == key));
    synonym.or_else(|| closest(word, known_words()))
}

/// Formats words as a list: `` `a`, `b` and `c` ``.
pub fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] if words.len() <= LIST_LIMIT => format!("{} and {last}", most.join(", ")),
        many => format!("{} and {} more", many[..LIST_LIMIT].join(", "), many.len() - LIST_LIMIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_recognised_and_a_different_word_is_not() {
        assert_eq!(closest("adresses", ["addresses", "routes"]), Some("addresses"));
        assert_eq!(closest("MTU", ["mac", "mtu"]), Some("mtu"));
        assert_eq!(closest("stp-state", ["stp_state"]), Some("stp_state"));
        assert_eq!(closest("gateway", ["via", "dev", "to"]), None);
        assert_eq!(closest("x", ["y"]), None);
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}

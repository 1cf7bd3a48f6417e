//! Suggestions for unknown words ("did you mean"), and lists of known ones.

use super::words::synonym;

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

/// Returns the known word that `word` is a synonym or misspelling of.
pub fn suggestion<'k>(word: &str, known: &'k [&'k str]) -> Option<&'k str> {
    synonym(word, known).or_else(|| closest(word, known.iter().copied()))
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

//! Every file of `tests/invalid` is refused, or warned about, with the words of the file of the same name that ends in `.stderr`.
//!
//! `UPDATE_EXPECT=1 cargo test --test invalid` writes those files anew; read what changed before it is committed.

#[path = "common/lab.rs"]
mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::Reading;

fn inputs() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    let entries = fs::read_dir(directory).expect("the directory is part of the source");
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    inputs.sort();
    inputs
}

/// All that is said about a file, as `topo validate` says it.
fn shown(path: &Path, coloured: bool) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let name = path.file_name().expect("a file").to_string_lossy();
    Reading::of(&text, &name, coloured).shown
}

#[test]
fn every_problem_is_told_as_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    let inputs = inputs();
    assert!(inputs.len() >= 50, "only {} files found", inputs.len());
    for input in inputs {
        let shown = shown(&input, false);
        assert!(!shown.is_empty(), "{} has no problem", input.display());
        let golden = input.with_extension("stderr");
        if update {
            fs::write(&golden, &shown).expect("writable");
        } else if fs::read_to_string(&golden).unwrap_or_default() != shown {
            wrong.push(format!("--- {} is now:\n{shown}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE_EXPECT=1 accepts this)", wrong.join("\n"));
}

#[test]
fn nothing_but_printable_characters_is_written() {
    for input in inputs() {
        let plain = shown(&input, false);
        let bad = plain
            .chars()
            .find(|c| *c != '\n' && (c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
        assert_eq!(bad, None, "{}", input.display());
        assert!(plain.lines().all(|line| line.chars().count() < 1000), "{}", input.display());
    }
}

#[test]
fn colours_change_nothing_else() {
    for input in inputs() {
        let coloured = shown(&input, true);
        let mut without = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            without.push_str(before);
            rest = after.split_once('m').expect("a colour ends").1;
        }
        without.push_str(rest);
        let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trimmed(&without), trimmed(&shown(&input, false)), "{}", input.display());
    }
}

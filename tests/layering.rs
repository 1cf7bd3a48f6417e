//! Holds the direction of the code: the core decides and does no input or output, the shell acts, and no module names one that
//! stands after it in the pipeline.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The modules of the crate, from the ground up, as src/lib.rs lists them: a module may name those before it and itself, not
/// those after it.
fn order(lib: &str) -> Vec<String> {
    let module = |line: &str| Some(line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')?.to_owned());
    let mut order: Vec<_> = lib.lines().filter_map(module).collect();
    order.push("main".to_owned());
    order
}

/// The first module that may do input and output.
const SHELL: &str = "kernel";

/// Paths that the core must not name: what they begin is input, output, time or the system.
const OUTSIDE: &[&str] = &[
    "tokio",
    "nix",
    "libc",
    "rtnetlink",
    "netlink_sys",
    "netlink_proto",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::io::Stdin",
    "std::io::Stdout",
    "std::io::Stderr",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::time::Instant",
    "std::time::SystemTime",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
];

/// The words and signs of the code, without comments and texts.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => while rest.next().is_some_and(|c| c != '\n') {},
            '/' if rest.peek() == Some(&'*') => {
                let mut last = ' ';
                for c in rest.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            'r' if matches!(rest.peek(), Some('"' | '#')) => skip_raw_text(&mut rest),
            '"' => skip_text(&mut rest),
            '\'' => skip_character(&mut rest),
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                tokens.push(word);
            }
            ':' if rest.next_if_eq(&':').is_some() => tokens.push("::".into()),
            c if c.is_whitespace() => {}
            c => tokens.push(c.into()),
        }
    }
    tokens
}

/// The tokens without the items that are compiled for tests only.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().zip(attribute).all(|(token, wanted)| token == wanted) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its block, or with a semicolon before any.
        let mut depth = 0;
        at += attribute.len();
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(tokens[at - 1].as_str(), "}" | ";") {
                break;
            }
        }
    }
    kept
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_text(rest: &mut Rest) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '"' => return,
            _ => {}
        }
    }
}

fn skip_raw_text(rest: &mut Rest) {
    let mut hashes = 0;
    while rest.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    if rest.next_if_eq(&'"').is_none() {
        return;
    }
    while let Some(c) = rest.next() {
        if c == '"' && (0..hashes).all(|_| rest.next_if_eq(&'#').is_some()) {
            return;
        }
    }
}

/// A character's literal, or the quote of a lifetime.
fn skip_character(rest: &mut Rest) {
    let mut ahead = rest.clone();
    match (ahead.next(), ahead.next()) {
        (Some('\\'), _) => {
            rest.next();
            rest.next();
            while rest.next().is_some_and(|c| c != '\'') {}
        }
        (Some(_), Some('\'')) => drop((rest.next(), rest.next())),
        _ => {}
    }
}

/// Every path that the tokens hold, with the braces of `use` spelt out: `use std::{fs, io}` gives `std::fs` and `std::io`.
fn paths(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    // Words that a path with a leading `::` may follow.
    let keywords = ["use", "as", "in", "dyn", "impl", "mut", "for", "where", "return", "match", "if", "else"];
    while at < tokens.len() {
        if is_word(&tokens[at]) && !keywords.contains(&tokens[at].as_str()) {
            at = path(tokens, at, "", &mut found).max(at + 1);
        } else {
            at += 1;
        }
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads one path from `at`, with what it is under; returns where it ends.
fn path(tokens: &[String], mut at: usize, under: &str, found: &mut Vec<String>) -> usize {
    let mut whole = under.to_owned();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if !whole.is_empty() => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = if is_word(&tokens[at]) { path(tokens, at, &whole, found).max(at + 1) } else { at + 1 };
                }
                return at + 1;
            }
            Some(word) if is_word(word) => {
                whole += word;
                at += 1;
            }
            _ => break,
        }
        match tokens.get(at).map(String::as_str) {
            Some("::") => {
                whole += "::";
                at += 1;
            }
            Some("!") => {
                whole.push('!');
                break;
            }
            _ => break,
        }
    }
    found.push(whole.trim_end_matches("::").to_owned());
    at
}

/// What is wrong with a file of the module `module`, which is `depth` modules below the root of the crate.
fn violations(order: &[String], module: &str, depth: usize, source: &str) -> Vec<String> {
    let rank = |module: &str| order.iter().position(|other| other == module);
    let Some(own) = rank(module) else {
        return vec![format!("`{module}` is no module of src/lib.rs")];
    };
    let core = own < rank(SHELL).expect("the shell is a module");
    let to_the_root = "super::".repeat(depth);
    let mut wrong = Vec::new();
    for path in &paths(&without_tests(&tokens(source))) {
        let below_root = path.strip_prefix("crate::").or_else(|| path.strip_prefix(&to_the_root));
        if let Some(target) = below_root.and_then(|path| path.split("::").next())
            && let Some(other) = rank(target)
            && other > own
        {
            wrong.push(format!("`{module}` names `{path}`, which stands above it"));
        }
        let outside = |outside: &&&str| {
            let rest = path.strip_prefix(**outside);
            // The name of a crate alone may as well be a local one.
            rest.is_some_and(|rest| rest.starts_with("::") || rest.is_empty() && outside.contains([':', '!']))
        };
        if core && let Some(outside) = OUTSIDE.iter().find(outside) {
            wrong.push(format!("`{module}` is of the core and names `{path}` (`{outside}` is for the shell)"));
        }
    }
    wrong
}

/// Every source file below src, by path.
fn sources() -> BTreeMap<String, String> {
    fn walk(directory: &Path, files: &mut BTreeMap<String, String>, root: &Path) {
        for entry in fs::read_dir(directory).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                walk(&path, files, root);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).expect("it is below src");
                let source = fs::read_to_string(&path).expect("src can be read");
                files.insert(relative.to_string_lossy().into_owned(), source);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    walk(&root, &mut files, &root);
    files
}

#[test]
fn the_code_keeps_its_direction() {
    let sources = sources();
    let order = order(&sources["lib.rs"]);
    assert!(order.len() > 10, "src/lib.rs lists its modules, a line each: {order:?}");
    let mut wrong = Vec::new();
    for (file, source) in sources.iter().filter(|(file, _)| *file != "lib.rs") {
        let modules: Vec<_> = file.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
        let found = violations(&order, modules[0], modules.len(), source);
        wrong.extend(found.into_iter().map(|violation| format!("src/{file}: {violation}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The violations of a source in an order made up for the tests of the test.
fn found(module: &str, depth: usize, source: &str) -> Vec<String> {
    let lib = "//! Text.\npub mod state;\npub mod resource;\n\npub mod diff;\npub mod plan;\npub mod kernel;\nmod apply;\npub mod cli;\n";
    violations(&order(lib), module, depth, source)
}

fn found_in(module: &str, source: &str) -> Vec<String> {
    found(module, 1, source)
}

#[test]
fn input_and_output_in_the_core_is_found_however_it_is_written() {
    let bad = [
        "use std::fs;",
        "use std::{collections::BTreeMap, fs::File};",
        "use std::{io, net::{IpAddr, TcpStream}};",
        "fn f() { let _ = std::time::Instant::now(); }",
        "fn f() -> tokio::runtime::Handle { todo!() }",
        "use crate::{name::LinkName}; use nix::{mount::{MsFlags}};",
        "fn f() { println!(\"x\") }",
        "fn f<'a>(x: &'a str) -> char { std::env::var(x); '\"' }",
        "use ::rtnetlink::Handle;",
        "#[cfg(test)]\nmod tests { use std::fs; }\nuse std::fs::File;",
        "#[cfg(test)] mod tests;\nuse std::fs::File;",
    ];
    for source in bad {
        assert_eq!(found_in("plan", source).len(), 1, "{source}: {:?}", found_in("plan", source));
        assert_eq!(found_in("kernel", source), [""; 0], "{source}");
    }
    let good = [
        "use std::net::{IpAddr, Ipv4Addr};",
        "use std::time::Duration;",
        "// use std::fs;\n/* std::env */ const X: &str = \"std::process\"; const Y: &str = r#\"tokio::x \" nix::y\"#;",
        "fn nix() {} mod tokio_like {} fn f() { let fs = 1; }",
        "#[cfg(test)]\nmod tests { use std::fs; fn f() {} }",
        "const QUOTE: char = '\"'; const OTHER: char = '\\''; fn f<'a>() {}",
    ];
    for source in good {
        assert_eq!(found_in("plan", source), [""; 0], "{source}");
    }
}

#[test]
fn an_arrow_upwards_is_found() {
    assert_eq!(found_in("resource", "use crate::plan::Plan;").len(), 1);
    assert_eq!(found_in("diff", "use crate::{state::State, apply};").len(), 1);
    assert_eq!(found_in("diff", "fn f(x: &crate::cli::Options) {}").len(), 1);
    assert_eq!(found_in("plan", "use crate::{state::State, diff::Change};"), [""; 0]);
    assert_eq!(found_in("state", "use super::plan::Plan;").len(), 1);
    assert_eq!(found("resource", 3, "use super::super::super::plan::Plan;").len(), 1);
    assert_eq!(found("resource", 3, "use super::super::plan::Plan;"), [""; 0]);
    assert_eq!(found_in("newcomer", "").len(), 1);
}

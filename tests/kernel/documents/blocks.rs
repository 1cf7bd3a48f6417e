//! Takes a document apart: which files it has, and which commands with what output.

use std::ops::Range;

/// Stands before the fence of a block that a test cannot run; readers do not see it. What follows says why.
const NOT_RUN: &str = "<!-- not run: ";

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The language after the fence.
    pub language: String,
    /// The number of its first line, from 0.
    pub start: usize,
    pub lines: Vec<String>,
    /// Whether it is marked as one that is not run.
    pub is_not_run: bool,
}

/// Who runs a command: `$ ` is the prompt of an ordinary user, `# ` that of root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    User,
    Root,
}

impl Prompt {
    fn text(self) -> &'static str {
        match self {
            Self::User => "$ ",
            Self::Root => "# ",
        }
    }
}

/// Something that a reader does.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a file.
    Write { path: String, text: String },
    /// Runs a script, which must succeed.
    Script { line: usize, text: String },
    /// Runs a command, which prints this.
    Command { prompt: Prompt, line: usize, text: String, shown: Range<usize>, may_fail: bool },
}

/// The fenced blocks of a document.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    let mut before = "";
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                let is_not_run = before.starts_with(NOT_RUN);
                found.push(Block { language: language.to_owned(), start: number + 1, lines: Vec::new(), is_not_run });
                open = true;
            }
            None if open => found.last_mut().expect("a block is open").lines.push(line.to_owned()),
            None => assert!(!line.contains("```"), "line {}: a fence begins its line", number + 1),
        }
        before = line;
    }
    assert!(!open, "the last block is closed");
    found
}

/// What a reader does with a document, in order.
pub fn steps(text: &str) -> Vec<Step> {
    blocks(text).iter().filter(|block| !block.is_not_run).flat_map(steps_of).collect()
}

fn steps_of(block: &Block) -> Vec<Step> {
    let text: String = block.lines.iter().map(|line| format!("{line}\n")).collect();
    if let Some(path) = file_name(&block.lines) {
        return vec![Step::Write { path, text }];
    }
    match block.language.as_str() {
        "console" => commands(block),
        "sh" => vec![Step::Script { line: block.start, text }],
        // Drawings, and what no command printed.
        "text" => Vec::new(),
        other => panic!("line {}: a block of `{other}` names a file in its first line, or is marked `{NOT_RUN}`", block.start),
    }
}

/// The name in a comment that is the first line of a file, or the second one after that of its interpreter.
fn file_name(lines: &[String]) -> Option<String> {
    let is_interpreter = lines.first()?.starts_with("#!");
    let comment = lines.get(usize::from(is_interpreter))?.strip_prefix("# ")?;
    let is_name = comment.contains('.') && comment.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    is_name.then(|| comment.to_owned())
}

/// The commands of a block of a terminal, whose prompt is that of its first line.
fn commands(block: &Block) -> Vec<Step> {
    let first = block.lines.first().map(String::as_str).unwrap_or_default();
    let prompt = [Prompt::User, Prompt::Root].into_iter().find(|prompt| first.starts_with(prompt.text()));
    let prompt = prompt.unwrap_or_else(|| panic!("line {}: a terminal begins with a prompt", block.start));
    let command_at = |index: usize| block.lines.get(index)?.strip_prefix(prompt.text());
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(command) = command_at(index) {
        let line = index;
        let mut text = command.to_owned();
        while text.ends_with('\\') {
            index += 1;
            text += &format!("\n{}", block.lines[index].trim_start_matches("> "));
        }
        let begin = index + 1;
        let end = (begin..block.lines.len()).find(|index| command_at(*index).is_some()).unwrap_or(block.lines.len());
        // A reader sees that it fails: the next command shows its exit status.
        let may_fail = command_at(end) == Some("echo $?");
        let shown = block.start + begin..block.start + end;
        found.push(Step::Command { prompt, line: block.start + line, text, shown, may_fail });
        index = end;
    }
    found
}

#[test]
fn blocks_become_files_scripts_and_commands() {
    let text = "\
Text.

```yaml
# a/lab.yaml
name: a
```

<!-- not run: there is no apt -->
```sh
apt-get install it
```

```console
$ false
$ echo $?
1
# is output
$ one \\
>   two
```

```sh
true # nothing
```
";
    let command =
        |line, text: &str, shown, may_fail| Step::Command { prompt: Prompt::User, line, text: text.to_owned(), shown, may_fail };
    let expected = [
        Step::Write { path: "a/lab.yaml".to_owned(), text: "# a/lab.yaml\nname: a\n".to_owned() },
        command(13, "false", 14..14, true),
        command(14, "echo $?", 15..17, false),
        command(17, "one \\\n  two", 19..19, false),
        Step::Script { line: 22, text: "true # nothing\n".to_owned() },
    ];
    assert_eq!(steps(text), expected);
    assert_eq!(blocks(text).iter().filter(|block| block.is_not_run).count(), 1);
    let script = ["#!/bin/sh", "# setup.sh", "true"].map(str::to_owned);
    assert_eq!(file_name(&script).as_deref(), Some("setup.sh"));
    assert_eq!(file_name(&["# A comment.".to_owned()]), None);
}

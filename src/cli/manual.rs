//! Manual pages from the command definitions: a command's help, as sections of man(7).

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::Cli;

/// The section of the manual: user commands.
const SECTION: &str = "1";
const MANUAL: &str = "User Commands";

/// What `topo --help` leaves out.
const ENVIRONMENT: &str = "\
Environment:
  TOPO_SANDBOX     The sandbox to use, unless `--sandbox` is given
  XDG_RUNTIME_DIR  Where the sandboxes of a user are registered
  NO_COLOR         No colors, unless `--color` is given
  SHELL            The shell that `topo shell` starts

Exit status:
  0    success
  1    error, including wrong usage
  2    there are changes: `plan --detailed-exitcode`, `diff --exit-code`
  130  interrupted (129: hung up, 131: quit, 143: terminated)

The commands `exec`, `shell` and `run` return the status of the command that
they run.";

/// The text of a section, without its heading.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section<'a> {
    title: &'a str,
    lines: Vec<&'a str>,
}

/// The parts of a help text: paragraphs, and sections such as `Examples:`, which consist of indented lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts<'a> {
    paragraphs: Vec<Vec<&'a str>>,
    sections: Vec<Section<'a>>,
}

/// Returns all pages, by the names of their files.
pub fn pages() -> Vec<(String, String)> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, None, &mut pages);
    pages
}

fn add(command: &Command, parent: Option<&Command>, pages: &mut Vec<(String, String)>) {
    pages.push((format!("{}.{SECTION}", name(command)), page(command, parent)));
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        add(subcommand, Some(command), pages);
    }
}

/// Returns a name such as `topo-sandbox-list`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, parent: Option<&Command>) -> String {
    let man = Man::new(command.clone()).section(SECTION);
    // clap_mangen leaves out an empty date, so that what follows is in the wrong places.
    let (title, version) = (name(command).to_uppercase(), env!("CARGO_PKG_VERSION"));
    let mut text = format!(".TH {title} {SECTION} \"\" \"topo {version}\" \"{MANUAL}\"\n").into_bytes();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let help = parts(&help);
    let environment = parts(ENVIRONMENT);
    let written = (|| {
        man.render_name_section(&mut text)?;
        synopsis(command).to_writer(&mut text)?;
        description(command, &help).to_writer(&mut text)?;
        man.render_options_section(&mut text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        sections(&help.sections).to_writer(&mut text)?;
        if parent.is_none() {
            sections(&environment.sections).to_writer(&mut text)?;
            paragraphs(&environment.paragraphs).to_writer(&mut text)?;
        }
        see_also(parent).to_writer(&mut text)
    })();
    written.expect("a vector can be written to");
    // Names in backticks are bold, also in those parts that clap_mangen writes.
    let text = String::from_utf8(text).expect("the parts are UTF-8");
    let mut definitions = 0;
    let is_wanted = |line: &&str| {
        // clap_mangen defines the apostrophe at the beginning of every part.
        definitions += usize::from(line.contains(".ds Aq"));
        !line.contains(".ds Aq") || definitions <= 2
    };
    text.lines().filter(is_wanted).map(|line| embolden(line) + "\n").collect()
}

fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(name), roman(usage.strip_prefix(name).unwrap_or(usage))]);
    roff
}

fn description(command: &Command, help: &Parts<'_>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(format!("{}.", command.get_about().map(ToString::to_string).unwrap_or_default()))]);
    roff.extend([paragraphs(&help.paragraphs)]);
    roff
}

fn paragraphs(paragraphs: &[Vec<&str>]) -> Roff {
    let mut roff = Roff::new();
    for paragraph in paragraphs {
        roff.control("PP", []);
        for line in paragraph {
            roff.text([roman(*line)]);
        }
    }
    roff
}

fn sections(sections: &[Section<'_>]) -> Roff {
    let mut roff = Roff::new();
    for Section { title, lines } in sections {
        roff.control("SH", [title.to_uppercase().as_str()]);
        if lines.iter().any(|line| line.starts_with('#')) {
            roff.control("EX", []);
            for line in lines {
                roff.text([roman(*line)]);
            }
            roff.control("EE", []);
            continue;
        }
        for line in lines {
            match line.split_once("  ") {
                Some((term, meaning)) => {
                    roff.control("TP", []);
                    roff.text([bold(term)]);
                    roff.text([roman(meaning.trim_start())]);
                }
                None if *title == "Examples" => {
                    roff.control("PP", []);
                    roff.text([bold(*line)]);
                }
                None => {
                    roff.control("PP", []);
                    roff.text([roman(*line)]);
                }
            }
        }
    }
    roff
}

fn see_also(parent: Option<&Command>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    match parent {
        Some(parent) => roff.text([bold(name(parent)), roman(format!("({SECTION})"))]),
        None => roff.text([bold("ip-netns"), roman("(8), "), bold("namespaces"), roman("(7), "), bold("netlink"), roman("(7)")]),
    };
    roff
}

/// Splits a help text.
fn parts(help: &str) -> Parts<'_> {
    let mut parts = Parts::default();
    let (mut in_section, mut in_paragraph) = (false, false);
    for line in help.lines() {
        let title = line.strip_suffix(':').filter(|title| !title.is_empty() && !title.contains(['`', ',', '.']));
        match (title, line.strip_prefix("  ")) {
            (Some(title), None) if !in_paragraph => {
                parts.sections.push(Section { title, lines: Vec::new() });
                in_section = true;
            }
            (_, Some(line)) if in_section => parts.sections.last_mut().expect("one has begun").lines.push(line),
            (_, _) if line.is_empty() => (in_section, in_paragraph) = (false, false),
            (_, _) => {
                if !in_paragraph {
                    parts.paragraphs.push(Vec::new());
                }
                parts.paragraphs.last_mut().expect("one has begun").push(line);
                (in_section, in_paragraph) = (false, true);
            }
        }
    }
    parts
}

/// Turns words in backticks into bold ones.
fn embolden(line: &str) -> String {
    let pieces: Vec<_> = line.split('`').collect();
    if line.starts_with('.') || pieces.len().is_multiple_of(2) {
        // An accent of its own would become a quotation mark.
        return line.replace('`', "\\(ga");
    }
    let piece =
        |(position, piece): (usize, &&str)| if position % 2 == 0 { (*piece).to_owned() } else { format!("\\fB{piece}\\fR") };
    pieces.iter().enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_has_paragraphs_and_sections() {
        let help = "One line,\nanother.\n\nExamples:\n  topo a  Does it\n  topo b\n\nMore.\n\nExit status:\n  0  good";
        let section = |title, lines: &[&'static str]| Section { title, lines: lines.to_vec() };
        assert_eq!(
            parts(help),
            Parts {
                paragraphs: vec![vec!["One line,", "another."], vec!["More."]],
                sections: vec![section("Examples", &["topo a  Does it", "topo b"]), section("Exit status", &["0  good"])],
            }
        );
    }

    #[test]
    fn backticks_become_bold() {
        assert_eq!(embolden("see `a\\-b` and `c`"), "see \\fBa\\-b\\fR and \\fBc\\fR");
        assert_eq!(embolden("one ` only"), "one \\(ga only");
    }

    #[test]
    fn every_command_has_a_page_with_examples() {
        for (file, text) in pages() {
            for part in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH EXAMPLES", ".SH \"SEE ALSO\""] {
                assert!(text.contains(part) || part == ".SH OPTIONS", "{file} has no {part}\n{text}");
            }
        }
        let names: Vec<_> = pages().into_iter().map(|(file, _)| file).collect();
        assert!(names.contains(&"topo.1".to_owned()) && names.contains(&"topo-sandbox-list.1".to_owned()), "{names:?}");
        assert!(!names.contains(&"topo-complete.1".to_owned()));
    }
}

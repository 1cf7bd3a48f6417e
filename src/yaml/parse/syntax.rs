//! Turns errors of the YAML parser into diagnostics with hints.

use std::net::Ipv6Addr;

use granit_parser::{ErrorKind, ScanError};

use super::{offset, too_deep};
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::Span;

/// Returns the diagnostic for an error of the parser.
pub(super) fn diagnostic(text: &str, cause: &ScanError) -> Box<Diagnostic> {
    let start = offset(cause.marker());
    let length = text.get(start as usize..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span { start, end: start + u32::try_from(length).unwrap_or_default() };
    let (message, hint) = match unquoted_address(text, start as usize) {
        true => ("unexpected `:`".to_owned(), "quote an IPv6 address that ends with a colon: `\"2001:db8::\"`"),
        false => explain(cause),
    };
    let error = Diagnostic::error(message).at(span);
    Box::new(if hint.is_empty() { error } else { error.hint(hint) })
}

/// Returns whether the text around an offset is an IPv6 address that ends with a colon, which YAML takes for a key.
fn unquoted_address(text: &str, offset: usize) -> bool {
    let is_other = |c: char| c != ':' && !c.is_ascii_hexdigit();
    let Some((before, after)) = text.split_at_checked(offset) else { return false };
    let begin = before.rfind(is_other).map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
    let end = offset + after.find(is_other).unwrap_or(after.len());
    let word = &text[begin..end];
    word.ends_with(':') && word.parse::<Ipv6Addr>().is_ok()
}

/// Returns the message and the hint, which may be empty.
fn explain(error: &ScanError) -> (String, &'static str) {
    let text = |message: &str, hint: &'static str| (message.to_owned(), hint);
    match error.kind() {
        ErrorKind::UnknownAnchor => {
            text("undefined anchor", "define `&name` before the alias `*name`, or quote a string that begins with `*`")
        }
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => text("a tab is not allowed here", "indent with spaces"),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            text("unexpected `:`", "put a nested map on its own lines or in `{…}`, and quote a string that contains `: `")
        }
        ErrorKind::ExpectedBlockMappingKey => text("expected a key", "indent all keys of a map equally"),
        ErrorKind::SimpleKeyExpected => text("missing `:` after the key", "check the line and its indentation"),
        ErrorKind::UnclosedQuotedScalar => text("unterminated quoted string", ""),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("mismatched brackets: `{open}` is closed by `{close}`"), "check that every `[` and `{` is closed")
        }
        ErrorKind::UnclosedFlowCollection { open } => (format!("unclosed `{open}`"), ""),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            text("expected a comma or the end of the list or map", "check that every `[` and `{` is closed")
        }
        ErrorKind::RecursionLimitExceeded => (too_deep(), ""),
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("unexpected character `{}`", escape(&character.to_string())), "")
        }
        _ => (format!("invalid YAML: {}", error.info()), ""),
    }
}

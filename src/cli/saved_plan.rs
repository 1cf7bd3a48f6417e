//! Saved plans: the file that `plan --out` writes and `apply` executes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Failure;
use crate::adoption::Adoption;
use crate::name::NamePattern;

/// Increased when older versions of topo cannot execute what a newer one saves.
const VERSION: u32 = 5;
/// The first key of a saved plan.
const FIRST_KEY: &str = "\"topo_saved_plan\"";
/// Hint for a plan of another version.
const NEW_PLAN: &str = "make a new plan with `topo plan --out`";
/// Hint for a damaged plan.
const NEW_PLAN_NOT_EDIT: &str = "make a new plan with `topo plan --out`; to change a plan, edit the lab file";

/// A plan with the lab that it was made from.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Identifies the format and its version.
    topo_saved_plan: u32,
    /// The lab file's name, for messages.
    pub source: String,
    /// The lab file's text.
    pub lab: String,
    /// Foreign links and namespaces that the lab takes over.
    pub adopt: Vec<Adoption>,
    /// The part of the lab that is changed.
    pub only: Vec<NamePattern>,
    /// Whether the user accepts side effects that cannot be undone.
    pub allow_side_effects: bool,
    /// The plan as JSON.
    pub plan: Value,
    /// The plan as text, without colour.
    pub text: String,
    /// FNV-1a checksum of the other fields, to detect accidental changes.
    checksum: u64,
}

/// Only the version of a saved plan.
#[derive(Deserialize)]
struct Version {
    topo_saved_plan: u32,
}

impl SavedPlan {
    /// Creates a plan to save.
    pub fn new(
        source: String,
        lab: String,
        adopt: Vec<Adoption>,
        only: Vec<NamePattern>,
        allow_side_effects: bool,
        plan: Value,
        text: String,
    ) -> Self {
        let saved = Self { topo_saved_plan: VERSION, source, lab, adopt, only, allow_side_effects, plan, text, checksum: 0 };
        Self { checksum: saved.compute_checksum(), ..saved }
    }

    /// Formats the file.
    pub fn to_text(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map(|text| text + "\n").map_err(Failure::new)
    }

    /// Parses a saved plan; returns `None` if the text is something else, such as a lab file. `shown` is the file's name.
    ///
    /// # Errors
    /// If the plan is damaged or of another version, or if the text is empty.
    pub fn parse(text: &str, shown: &str) -> Result<Option<Self>, Failure> {
        if text.trim().is_empty() {
            return Err(Failure::new(format!("`{shown}` is empty"))
                .hint("a lab file begins with a line such as `name: demo`; `topo plan --out` saves a plan"));
        }
        if !is_saved_plan(text) {
            return Ok(None);
        }
        let damaged = |why: &str| Failure::new(format!("`{shown}` is a damaged plan file: {why}")).hint(NEW_PLAN_NOT_EDIT);
        let explain = |error: serde_json::Error| match error.is_eof() {
            true => damaged("unexpected end of file"),
            false => damaged(&error.to_string()),
        };
        let Version { topo_saved_plan: version } = serde_json::from_str(text).map_err(explain)?;
        if version != VERSION {
            let message = format!("`{shown}` is a saved plan of version {version}; this topo supports only version {VERSION}");
            return Err(Failure::new(message).hint(NEW_PLAN));
        }
        let plan: Self = serde_json::from_str(text).map_err(explain)?;
        match plan.checksum == plan.compute_checksum() {
            true => Ok(Some(plan)),
            false => Err(damaged("its content was changed")),
        }
    }

    fn compute_checksum(&self) -> u64 {
        let adopt = self.adopt.iter().map(ToString::to_string).collect::<Vec<_>>().join("\0");
        let only = self.only.iter().map(|pattern| pattern.0.as_str()).collect::<Vec<_>>().join("\0");
        let parts =
            [&self.source, &self.lab, &adopt, &only, &self.allow_side_effects.to_string(), &self.plan.to_string(), &self.text];
        let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// Whether a text is a saved plan, even a damaged or truncated one. Only its beginning counts, whatever its formatting.
pub fn is_saved_plan(text: &str) -> bool {
    let Some(rest) = text.trim_start().strip_prefix('{') else { return false };
    let rest = rest.trim();
    let is_truncated = rest.len() > 1 && FIRST_KEY.starts_with(rest);
    is_truncated || rest.contains(FIRST_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let plan = SavedPlan::new(
            "lab.yaml".into(),
            "name: a\n".into(),
            Vec::new(),
            Vec::new(),
            false,
            serde_json::json!({ "changes": [] }),
            String::new(),
        );
        plan.to_text().unwrap()
    }

    fn refusal(text: &str) -> String {
        SavedPlan::parse(text, "p").unwrap_err().chain().unwrap()
    }

    #[test]
    fn a_saved_plan_is_read_whatever_its_formatting() {
        assert_eq!(SavedPlan::parse(&text(), "p").unwrap().unwrap().lab, "name: a\n");
        let value: Value = serde_json::from_str(&text()).unwrap();
        assert!(SavedPlan::parse(&serde_json::to_string_pretty(&value).unwrap(), "p").unwrap().is_some());
    }

    #[test]
    fn a_truncated_plan_is_damaged() {
        let text = text();
        for length in 3..text.len() - 2 {
            assert!(refusal(&text[..length]).contains("damaged plan file"), "{}", &text[..length]);
        }
        assert!(refusal(&text[..40]).contains("unexpected end of file"));
    }

    #[test]
    fn an_edited_plan_is_damaged() {
        assert!(refusal(&text().replace("name: a", "name: b")).contains("was changed"));
        assert!(refusal(&text().replace("[]", "[1]")).contains("damaged"));
        assert!(refusal(&text().replace("\"source\"", "\"sauce\"")).contains("damaged"));
    }

    #[test]
    fn another_version_is_refused() {
        assert!(refusal(&text().replace("_plan\":5", "_plan\":7")).contains("version 7"));
        assert!(refusal("{\"topo_saved_plan\":1,\"source\":\"\",\"lab\":\"\",\"adopt\":[],\"plan\":{}}").contains("version 1"));
    }

    #[test]
    fn a_lab_file_is_not_a_plan_and_an_empty_file_is_an_error() {
        assert!(refusal("").contains("empty"));
        assert!(refusal(" \n").contains("empty"));
        assert!(SavedPlan::parse("name: a\n", "p").unwrap().is_none());
        assert!(SavedPlan::parse("{ name: a }", "p").unwrap().is_none());
        assert!(SavedPlan::parse("{", "p").unwrap().is_none());
    }
}

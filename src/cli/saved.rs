//! Saved plans: the file that `plan --out` writes and `apply` is held to, and what is wrong with one that is damaged.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Failure;
use crate::name::LinkId;

/// Grows when an older topo could not carry out what a newer one saves.
const VERSION: u32 = 2;
/// The key that a saved plan begins with.
const MARK: &str = "\"topo_saved_plan\"";
/// What to do about a file that cannot be used.
const REMEDY: &str = "make a new plan with `topo plan --out`; a plan cannot be edited, change the lab file instead";

/// A plan in a file: the lab that it was made from, and what it said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Tells the file from other JSON, and which version of topo can read it.
    topo_saved_plan: u32,
    /// Where the lab was read from, for messages.
    pub source: String,
    /// The lab file's text.
    pub lab: String,
    /// Foreign links that become the lab's.
    pub adopt: Vec<LinkId>,
    /// The plan as JSON.
    pub plan: Value,
    /// Tells by accident changed content from that which was saved: FNV-1a of the rest.
    checksum: u64,
}

impl SavedPlan {
    /// A plan to be saved.
    pub fn new(source: String, lab: String, adopt: Vec<LinkId>, plan: Value) -> Self {
        let saved = Self { topo_saved_plan: VERSION, source, lab, adopt, plan, checksum: 0 };
        Self { checksum: saved.sum(), ..saved }
    }

    /// The file's text.
    pub fn text(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map(|text| text + "\n").map_err(Failure::new)
    }

    fn sum(&self) -> u64 {
        let adopt = self.adopt.iter().map(ToString::to_string).collect::<Vec<_>>().join("\0");
        let parts = [&self.source, &self.lab, &adopt, &self.plan.to_string()];
        let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// The saved plan that a text is, or `None` when it is something else, such as a lab file. `shown` is the file's name.
///
/// # Errors
/// When it was meant to be a saved plan, and is damaged or of another version; or when nothing tells what it was meant to be.
pub fn saved(text: &str, shown: &str) -> Result<Option<SavedPlan>, Failure> {
    if text.trim().is_empty() {
        let hint = "a lab begins with its name, such as `name: demo`; a plan is saved by `topo plan --out`";
        return Err(Failure::new(format!("`{shown}` is empty: neither a lab file nor a saved plan")).hint(hint));
    }
    if !is_meant(text) {
        return Ok(None);
    }
    let damaged = |why: String| Failure::new(format!("`{shown}` is a damaged plan file: {why}")).hint(REMEDY);
    #[derive(Deserialize)]
    struct Version {
        topo_saved_plan: u32,
    }
    let explain = |error: &serde_json::Error| match error.is_eof() {
        true => damaged("it ends too early".into()),
        false => damaged(error.to_string()),
    };
    let Version { topo_saved_plan: version } = serde_json::from_str(text).map_err(|error| explain(&error))?;
    if version != VERSION {
        let message = format!("`{shown}` is a saved plan of version {version}; this topo carries out version {VERSION}");
        return Err(Failure::new(message).hint("make a new plan with `topo plan --out`"));
    }
    let plan: SavedPlan = serde_json::from_str(text).map_err(|error| explain(&error))?;
    match plan.checksum == plan.sum() {
        true => Ok(Some(plan)),
        false => Err(damaged("it was changed after it was saved".into())),
    }
}

/// Whether a text is, or was, a saved plan: its beginning is enough, and how it is laid out does not matter.
pub fn is_meant(text: &str) -> bool {
    let Some(rest) = text.trim_start().strip_prefix('{') else { return false };
    let rest = rest.trim();
    let cut = rest.len() > 1 && MARK.starts_with(rest);
    cut || rest.contains(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let plan = SavedPlan::new("lab.yaml".into(), "name: a\n".into(), Vec::new(), serde_json::json!({ "changes": [] }));
        plan.text().unwrap()
    }

    fn refusal(text: &str) -> String {
        saved(text, "p").unwrap_err().chain().unwrap()
    }

    #[test]
    fn what_was_saved_is_read_back_however_it_is_laid_out() {
        assert_eq!(saved(&text(), "p").unwrap().unwrap().lab, "name: a\n");
        let value: Value = serde_json::from_str(&text()).unwrap();
        assert!(saved(&serde_json::to_string_pretty(&value).unwrap(), "p").unwrap().is_some());
    }

    #[test]
    fn a_plan_that_was_cut_anywhere_is_damaged() {
        let text = text();
        for length in 3..text.len() - 2 {
            assert!(refusal(&text[..length]).contains("damaged plan file"), "{}", &text[..length]);
        }
        assert!(refusal(&text[..40]).contains("ends too early"));
    }

    #[test]
    fn a_plan_that_was_edited_is_damaged() {
        assert!(refusal(&text().replace("name: a", "name: b")).contains("was changed"));
        assert!(refusal(&text().replace("[]", "[1]")).contains("damaged"));
        assert!(refusal(&text().replace("\"source\"", "\"sauce\"")).contains("damaged"));
    }

    #[test]
    fn another_version_is_named() {
        assert!(refusal(&text().replace("_plan\":2", "_plan\":7")).contains("version 7"));
        assert!(refusal("{\"topo_saved_plan\":1,\"source\":\"\",\"lab\":\"\",\"adopt\":[],\"plan\":{}}").contains("version 1"));
    }

    #[test]
    fn an_empty_file_is_neither_and_a_lab_is_a_lab() {
        assert!(refusal("").contains("empty"));
        assert!(refusal(" \n").contains("empty"));
        assert!(saved("name: a\n", "p").unwrap().is_none());
        assert!(saved("{ name: a }", "p").unwrap().is_none());
        assert!(saved("{", "p").unwrap().is_none());
    }
}

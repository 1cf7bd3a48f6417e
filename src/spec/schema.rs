//! The JSON schema of lab files, for completion, descriptions and checks in editors.
//!
//! It is generated from the types, and then made fit for editors:
//!
//! * It is a draft-07 schema, which all editors understand. Next to a `$ref` there are only annotations: validators ignore them, editors
//!   prefer them to those of the definition.
//! * A union of forms becomes one schema ([`union`]), so that a mistake is reported where it is, not at the value that holds it.
//! * Null is allowed where [`super::decode`] reads a missing value as an empty map or list.
//! * Numbers have the limits of their types; a text may look like a number, as it may for topo.
//! * Defaults are in the descriptions. As a keyword, editors would write all of them into the file when a map is completed.
//! * A kind excludes the other kinds ([`kinds`]).
//!
//! The schema of a single value is at its type, see [`crate::value_schema`].

mod kinds;
#[cfg(test)]
mod tests;
mod union;

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::file::LabFile;
use crate::value_schema::IpAddress;

/// The definitions, by name.
type Definitions = Map<String, Value>;

/// The identifier of the schema. It is a name, not a place to load it from.
const ID: &str = "urn:topo:schema:lab";

/// The types of a text in YAML, which can look like a number: topo reads `80` as a text where it expects one.
const TEXT: [&str; 2] = ["string", "number"];

/// Definitions of texts and names.
const TEXTS: [&str; 11] = [
    "AlternativeName",
    "BackupPort",
    "Domain",
    "FilePath",
    "LabName",
    "LinkName",
    "LinkRef",
    "NamePattern",
    "NamespaceName",
    "ProcessName",
    "ResolverOption",
];

/// Definitions of texts that can look like truth values, too: `env: { DEBUG: true }`. For other texts, editors would suggest `true`.
const TEXTS_OR_TRUTHS: [&str; 2] = ["Argument", "EnvironmentValue"];

/// The beginning of references to definitions.
const REFERENCE: &str = "#/definitions/";

/// Returns the schema.
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/definitions".into();
    let mut generator = settings.into_generator();
    generator.subschema_for::<IpAddress>();
    let mut lab = generator.into_root_schema_for::<LabFile>().to_value();
    let Value::Object(mut definitions) = lab["definitions"].take() else { unreachable!("a lab file has types") };
    for part in definitions.values_mut().chain([&mut lab]) {
        tidy(part);
    }
    for name in TEXTS {
        definitions[name]["type"] = json!(TEXT);
    }
    for name in TEXTS_OR_TRUTHS {
        definitions[name]["type"] = json!(["string", "number", "boolean"]);
    }
    allow_null_for_optional_maps(&mut definitions);
    kinds::complete(&mut definitions);
    for name in definitions.keys().cloned().collect::<Vec<_>>() {
        let mut definition = definitions[&name].take();
        union::flatten(&mut definition, &definitions);
        definitions[&name] = definition;
    }
    merge_equals(&mut lab, &mut definitions);
    for (name, definition) in &mut definitions {
        add_title(definition, &title(name));
    }
    assemble(&lab, definitions)
}

/// Puts the parts into the order in which people read them, without definitions that nothing refers to.
fn assemble(lab: &Value, mut definitions: Definitions) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
    schema.insert("$id".into(), ID.into());
    schema.insert("title".into(), "Lab file of topo".into());
    for key in ["description", "type", "required", "properties", "patternProperties", "additionalProperties"] {
        schema.insert(key.into(), lab[key].clone());
    }
    let mut used = BTreeSet::new();
    collect_references(&Value::Object(schema.clone()), &definitions, &mut used);
    definitions.retain(|name, _| used.contains(name));
    definitions.sort_keys();
    schema.insert("definitions".into(), definitions.into());
    Value::Object(schema)
}

fn collect_references(schema: &Value, definitions: &Definitions, used: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(name) = referenced(object)
                && used.insert(name.to_owned())
            {
                collect_references(&definitions[name], definitions, used);
            }
            object.values().for_each(|part| collect_references(part, definitions, used));
        }
        Value::Array(parts) => parts.iter().for_each(|part| collect_references(part, definitions, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the name of the definition that a schema refers to.
fn referenced(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(REFERENCE)
}

/// Refers to one of several equal definitions.
fn merge_equals(lab: &mut Value, definitions: &mut Definitions) {
    let names: Vec<String> = definitions.keys().cloned().collect();
    for (index, name) in names.iter().enumerate() {
        let Some(first) = names[..index].iter().find(|first| definitions[*first] == definitions[name]).cloned() else { continue };
        let (from, to) = (format!("{REFERENCE}{name}"), format!("{REFERENCE}{first}"));
        for part in definitions.values_mut().chain([&mut *lab]) {
            replace_references(part, &from, &to);
        }
    }
}

fn replace_references(schema: &mut Value, from: &str, to: &str) {
    match schema {
        Value::Object(object) => object.values_mut().for_each(|part| replace_references(part, from, to)),
        Value::Array(parts) => parts.iter_mut().for_each(|part| replace_references(part, from, to)),
        Value::String(text) if text == from => to.clone_into(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Tidies a schema and all schemas inside it.
fn tidy(schema: &mut Value) {
    tidy_inner(schema, false);
}

fn tidy_inner(schema: &mut Value, is_form: bool) {
    let Value::Object(object) = schema else { return };
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(default) = object.remove("default") {
        describe_default(object, &default);
    }
    forbid_null(object);
    if object.get("format").is_some_and(|format| format == "ip") {
        object.retain(|key, _| key == "description");
        object.insert("$ref".into(), format!("{REFERENCE}IpAddress").into());
    }
    union::merge_words(object);
    limit_number(object);
    // A form of a union is told from the others by its type.
    let is_plain = |key: &String| matches!(key.as_str(), "type" | "description");
    if !is_form && object.get("type").is_some_and(|name| name == "string") && object.keys().all(is_plain) {
        object.insert("type".into(), json!(TEXT));
    }
    for (key, part) in object {
        match (key.as_str(), part) {
            ("properties" | "patternProperties", Value::Object(values)) => {
                for value in values.values_mut() {
                    tidy_inner(value, false);
                    allow_null_for_list(value);
                }
            }
            ("items" | "additionalProperties", part) => tidy_inner(part, false),
            ("anyOf", Value::Array(forms)) => forms.iter_mut().for_each(|form| tidy_inner(form, true)),
            _ => {}
        }
    }
}

/// Adds a default to a description without one.
fn describe_default(object: &mut Map<String, Value>, default: &Value) {
    let shown = match default {
        Value::Null | Value::Array(_) | Value::Object(_) => return,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => default.to_string(),
    };
    if let Some(Value::String(description)) = object.get_mut("description")
        && !description.to_lowercase().contains("default")
    {
        *description += &format!(" Default: `{shown}`.");
    }
}

/// Replaces the format of a number by its limits.
fn limit_number(object: &mut Map<String, Value>) {
    let most = match object.remove("format").as_ref().and_then(Value::as_str) {
        Some("uint8") => u32::from(u8::MAX),
        Some("uint16") => u32::from(u16::MAX),
        Some("uint32") => u32::MAX,
        _ => return,
    };
    object.entry("maximum").or_insert_with(|| most.into());
}

/// Removes null, which stands for a value that is not set: a lab file leaves out the key. A value with a title describes itself.
fn forbid_null(object: &mut Map<String, Value>) {
    if !object.contains_key("title")
        && let Some(Value::Array(types)) = object.get_mut("type")
        && let [only, Value::String(null)] = types.as_mut_slice()
        && null == "null"
    {
        let only = only.take();
        object.insert("type".into(), only);
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

/// Allows null for a map or a list. A list with a minimum length cannot be empty.
fn allow_null_for_list(value: &mut Value) {
    let Value::Object(object) = value else { return };
    let is_collection = object.get("type").is_some_and(|name| name == "object" || name == "array");
    if is_collection && !object.contains_key("minItems") {
        let name = object["type"].take();
        object.insert("type".into(), json!([name, "null"]));
    }
}

/// Allows null for maps without required keys.
fn allow_null_for_optional_maps(definitions: &mut Definitions) {
    for definition in definitions.values_mut() {
        if definition["type"] == "object" && definition.get("required").is_none() {
            definition["type"] = json!(["object", "null"]);
        }
    }
}

fn add_title(definition: &mut Value, title: &str) {
    let Value::Object(object) = definition else { return };
    if !object.contains_key("title") {
        object.shift_insert(0, "title".into(), title.into());
    }
}

/// Returns a title for a type: `BridgePort` is a `Bridge port`.
fn title(name: &str) -> String {
    const ABBREVIATIONS: [(&str, &str); 5] =
        [("Vxlan", "VXLAN"), ("Vlan", "VLAN"), ("Veth", "veth"), ("Ip", "IP"), ("Nud", "State")];
    let name = name.strip_suffix("Spec").unwrap_or(name);
    let name = name.strip_prefix("Long").unwrap_or(name);
    let mut title = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !title.is_empty() {
            title.push(' ');
            title.push(character.to_ascii_lowercase());
        } else {
            title.push(character);
        }
    }
    for (word, written) in ABBREVIATIONS {
        if let Some(rest) = title.strip_prefix(word)
            && (rest.is_empty() || rest.starts_with(' '))
        {
            return format!("{written}{rest}");
        }
    }
    title
}

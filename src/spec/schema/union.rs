//! Unions of forms as one schema.
//!
//! A validator that finds none of the alternatives of an `anyOf` fulfilled can only say so of the whole value. Where a value is written
//! as a text or as a map, the type decides which form is meant. The keywords of one type do not concern values of the other.

use serde_json::{Map, Value, json};

use super::{Definitions, referenced};

/// Turns the words of an enumeration, each with its meaning, into one list.
pub(super) fn merge_words(object: &mut Map<String, Value>) {
    let Some(Value::Array(words)) = object.get("oneOf") else { return };
    let of = |key: &str| words.iter().map(|word| word[key].clone()).collect::<Vec<_>>();
    let (words, meanings) = (of("const"), of("description"));
    object.remove("oneOf");
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), words.into());
    // Editors show these next to the words.
    object.insert("markdownEnumDescriptions".into(), meanings.into());
}

/// Replaces each union in a schema, and in the schemas inside it, by one schema.
pub(super) fn flatten(schema: &mut Value, definitions: &Definitions) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(|part| flatten(part, definitions));
            if let Some(joined) = join(object, definitions) {
                object.remove("anyOf");
                object.extend(joined);
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| flatten(part, definitions)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the keywords of a union of two forms, the second of which is a map or a list.
fn join(object: &Map<String, Value>, definitions: &Definitions) -> Option<Map<String, Value>> {
    let [scalar, structure] = object.get("anyOf")?.as_array()?.as_slice() else { return None };
    let (short, long) = (resolve(scalar, definitions), resolve(structure, definitions));
    let form = long.get("type")?.as_str().filter(|name| ["object", "array"].contains(name))?;
    let mut joined = Map::new();
    if let Some(words) = short.get("enum") {
        joined.insert("examples".into(), words.clone());
        joined.insert("if".into(), json!({ "type": form }));
        joined.insert("then".into(), without_description(structure));
        joined.insert("else".into(), without_description(scalar));
        return Some(joined);
    }
    let types = match short.get("type")? {
        Value::Array(types) => types.iter().cloned().chain([form.into()]).collect(),
        one => vec![one.clone(), form.into()],
    };
    joined.insert("type".into(), types.into());
    for (key, value) in short.iter().chain(long).filter(|(key, _)| !matches!(key.as_str(), "type" | "title" | "description")) {
        let former = joined.insert(key.clone(), value.clone());
        assert!(former.is_none(), "`{key}` concerns both forms");
    }
    Some(joined)
}

/// Returns a form without its description, if it refers to a definition, which has one.
fn without_description(form: &Value) -> Value {
    let mut form = form.clone();
    if let Value::Object(object) = &mut form
        && object.contains_key("$ref")
    {
        object.remove("description");
    }
    form
}

fn resolve<'s>(schema: &'s Value, definitions: &'s Definitions) -> &'s Map<String, Value> {
    let object = schema.as_object().expect("a form is a schema");
    referenced(object).map_or(object, |name| definitions[name].as_object().expect("a definition is a schema"))
}

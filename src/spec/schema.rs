//! The JSON schema of lab files, for completion and checks in editors.
//!
//! It is generated from the types. Null is allowed exactly where [`super::decode`] reads a missing value as an empty map or list.

use serde_json::{Map, Value, json};

use super::file::LabFile;

/// Returns the schema.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(LabFile).to_value();
    let definitions = schema["$defs"].clone();
    walk(&mut schema, &definitions);
    schema
}

fn walk(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Object(object) => {
            for (key, part) in object {
                if let ("properties" | "patternProperties", Value::Object(values)) = (key.as_str(), &mut *part) {
                    values.values_mut().for_each(|value| set_nullable(value, definitions));
                }
                walk(part, definitions);
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| walk(part, definitions)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Allows null for maps and lists, and forbids it for all other values.
fn set_nullable(value: &mut Value, definitions: &Value) {
    let Value::Object(object) = value else { return };
    object.retain(|key, value| key != "default" || !value.is_null());
    forbid_null(object);
    // A list with a minimum length cannot be empty.
    if is_collection(object, definitions) && !object.contains_key("minItems") {
        allow_null(object);
    }
}

fn forbid_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
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

fn allow_null(object: &mut Map<String, Value>) {
    if let Some(name) = object.get_mut("type") {
        *name = json!([name, "null"]);
    } else if let Some(reference) = object.remove("$ref") {
        object.insert("anyOf".into(), json!([{ "$ref": reference }, { "type": "null" }]));
    }
}

fn is_collection(object: &Map<String, Value>, definitions: &Value) -> bool {
    let is_one = |object: &Map<String, Value>| object.get("type").is_some_and(|name| name == "object" || name == "array");
    let target = object.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"));
    is_one(object) || target.and_then(|name| definitions[name].as_object()).is_some_and(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_allowed_for_maps_and_lists_only() {
        let schema = schema();
        let interface = &schema["$defs"]["InterfaceSpec"]["properties"];
        assert_eq!(interface["mtu"]["type"], "integer");
        assert_eq!(interface["mac"]["$ref"], "#/$defs/Mac");
        assert_eq!(interface["addresses"]["type"], json!(["array", "null"]));
        assert_eq!(interface["bridge"]["anyOf"], json!([{ "$ref": "#/$defs/Bridge" }, { "type": "null" }]));
        assert_eq!(schema["$defs"]["LinkSpec"]["properties"]["endpoints"]["type"], "array");
        assert!(!schema.to_string().contains("\"default\":null"));
    }
}

//! What the schema takes from the tables of kinds, ports and settings.

use serde_json::{Map, Value, json};

use super::{Definitions, describe_default, referenced};
use crate::resource::link::{Kind, LEAST_MTU, Port, for_each_setting};
use crate::spec::file::InterfaceSpec;

/// Other names of keys, as `serde(alias)` gives them: the definition, the other name, the key.
const ALIASES: [(&str, &str, &str); 2] = [("Vxlan", "dev", "parent"), ("Vxlan", "group", "remote")];

/// The definitions with settings of interfaces, and their largest mtu, which is that of `lo`, and that of a veth.
const WITH_SETTINGS: [(&str, u32); 3] = [("InterfaceSpec", 65536), ("LongEndpoint", 65535), ("LinkSpec", 65535)];

macro_rules! list_defaults {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        /// Returns the defaults of settings that all kinds of links share.
        fn defaults_of_settings() -> Vec<(&'static str, Value)> {
            vec![$($((stringify!($field), json!($default)),)?)+]
        }
    };
}
for_each_setting!(list_defaults {});

/// Adds defaults, limits, other names and exclusions.
pub(super) fn complete(definitions: &mut Definitions) {
    let kinds = Kind::registered().into_iter().map(|kind| (kind.name().to_owned(), kind.complete().show()));
    let ports = Port::registered().into_iter().map(|port| (port.name().to_owned(), port.complete().show()));
    for (key, defaults) in kinds.chain(ports) {
        let reference = definitions["InterfaceSpec"]["properties"][&key].as_object().and_then(referenced);
        let name = reference.expect("each kind has a definition").to_owned();
        add_defaults(&mut definitions[&name], defaults);
    }
    for (name, most) in WITH_SETTINGS {
        add_defaults(&mut definitions[name], defaults_of_settings());
        let mtu = definitions[name]["properties"]["mtu"].as_object_mut().expect("it is a setting");
        mtu.insert("minimum".into(), LEAST_MTU.into());
        mtu.insert("maximum".into(), most.into());
        mtu.insert("examples".into(), json!([1500, 9000]));
    }
    for (name, alias, key) in ALIASES {
        let definition = &mut definitions[name];
        let mut property = definition["properties"][key].clone();
        property["description"] = format!("The same as `{key}`.").into();
        // Editors complete the other name alone.
        property["doNotSuggest"] = true.into();
        definition["properties"][alias] = property;
        exclude(definition, alias, &[key]);
    }
    for (index, kind) in InterfaceSpec::KINDS.iter().enumerate() {
        exclude(&mut definitions["InterfaceSpec"], kind, &InterfaceSpec::KINDS[index + 1..]);
    }
    exclude(&mut definitions["FileSpec"], "content", &["source"]);
}

fn add_defaults(definition: &mut Value, defaults: Vec<(&'static str, Value)>) {
    for (key, default) in defaults {
        if let Some(Value::Object(property)) = definition["properties"].as_object_mut().and_then(|keys| keys.get_mut(key)) {
            describe_default(property, &default);
        }
    }
}

/// Forbids keys next to another one, so that a validator reports the keys.
fn exclude(definition: &mut Value, key: &str, others: &[&str]) {
    if others.is_empty() {
        return;
    }
    let forbidden: Map<String, Value> = others.iter().map(|other| ((*other).to_owned(), false.into())).collect();
    definition["dependencies"][key] = json!({ "properties": forbidden });
}

//! Labs of Kathará, as its lab.conf(5) describes them: devices, and the collision domains that their interfaces are in.
//!
//! A device becomes a namespace. A collision domain of two interfaces becomes a link, any other a bridge in `host`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Action, Builder, End, ImportError, Imported, Step, lab_name, left_out, parse_name};
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::projection::Omitted;

/// An interface in a collision domain.
struct Member<'a> {
    device: &'a str,
    number: u32,
    mac: Option<&'a str>,
    place: String,
}

/// What ends the name of the script of a device.
const STARTUP: &str = ".startup";
/// The device of the script that runs on every device, before its own.
const SHARED: &str = "shared";

/// Reads a lab. `beside` are the names of what is in the lab's directory, which is called `directory`.
///
/// # Errors
/// Fails for lines that are none of lab.conf(5), and for names that no lab file can have.
pub fn read(text: &str, beside: &[String], lab: Option<LabName>, directory: &str) -> Result<Imported, ImportError> {
    let mut domains: BTreeMap<&str, Vec<Member<'_>>> = BTreeMap::new();
    let mut own_name = directory;
    let mut devices: Vec<&str> = Vec::new();
    let mut omitted = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("line {}", number + 1);
        let line = line.split_once(" #").map_or(line, |(line, _)| line).trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| ImportError::invalid(&place, "a line is written `KEY=VALUE`"))?;
        let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
        let Some((device, argument)) = key.strip_suffix(']').and_then(|key| key.split_once('[')) else {
            match key {
                "LAB_NAME" => own_name = value,
                key if key.starts_with("LAB_") => {}
                key => omitted.push(left_out(&place, key, "a lab file has no word for it")),
            }
            continue;
        };
        if !devices.contains(&device) {
            devices.push(device);
        }
        let argument = argument.trim_matches(['"', '\'']);
        match argument.parse() {
            Ok(number) => {
                let (domain, mac) = value.split_once('/').map_or((value, None), |(domain, mac)| (domain, Some(mac)));
                domains.entry(domain).or_default().push(Member { device, number, mac, place });
            }
            Err(_) => {
                let reason = match argument {
                    "image" => "a namespace has the programs of the machine; declare what is to run as `processes`",
                    "sysctl" => "declare it as `sysctls`",
                    "exec" => "declare it as a process",
                    _ => "a lab file has no word for it",
                };
                omitted.push(left_out(&place, &format!("{device}[{argument}]"), reason));
            }
        }
    }
    let mut builder = Builder::new(lab.unwrap_or_else(|| lab_name(own_name)));
    for device in &devices {
        builder.add_namespace(&namespace(device, "lab.conf")?);
    }
    for (domain, members) in domains {
        connect(&mut builder, domain, &members)?;
    }
    let mut steps = Vec::new();
    for device in &devices {
        for script in [SHARED, device].map(|name| format!("{name}{STARTUP}")) {
            if beside.contains(&script) {
                let namespace = namespace(device, &script)?;
                steps.push(Step { place: script.clone(), namespace, action: Action::Script(script) });
            }
        }
    }
    omitted.extend(unused(beside, &devices));
    builder.finish(steps, omitted)
}

/// Lists what is in the directory and not used.
fn unused(beside: &[String], devices: &[&str]) -> Vec<Omitted> {
    let of_device = |name: &str| name == SHARED || devices.contains(&name);
    let reason = |name: &str| match name.strip_suffix(STARTUP) {
        Some(device) => (!of_device(device)).then_some("there is no such device in lab.conf"),
        None if of_device(name) => Some("declare its files as `files` or `binds`"),
        None if name.ends_with(".shutdown") => Some("a lab file has no word for it"),
        None if name == "lab.dep" => Some("declare the order of processes as `after`"),
        None => None,
    };
    beside.iter().filter_map(|name| Some(Omitted { what: name.clone(), reason: reason(name)?.to_owned() })).collect()
}

fn namespace(device: &str, place: &str) -> Result<NamespaceName, ImportError> {
    let namespace: NamespaceName = parse_name(device, place)?;
    match namespace.is_host() {
        true => Err(ImportError::invalid(place, "a device cannot be called `host`")),
        false => Ok(namespace),
    }
}

/// Connects the interfaces of a collision domain.
fn connect(builder: &mut Builder, domain: &str, members: &[Member<'_>]) -> Result<(), ImportError> {
    let end = |member: &Member<'_>| -> Result<End, ImportError> {
        let id =
            LinkId::new(&namespace(member.device, &member.place)?, parse_name(&format!("eth{}", member.number), &member.place)?);
        Ok((id, member.mac.map(|mac| ("mac".to_owned(), Value::from(mac))).into_iter().collect()))
    };
    if let [one, other] = members {
        return builder.add_link([end(one)?, end(other)?], None, &one.place);
    }
    let place = members.first().map_or("lab.conf", |member| &member.place);
    let bridge: LinkName = match domain.parse() {
        Ok(name) => name,
        Err(_) => builder.port_name(None, &LinkId::new(&NamespaceName::host(), parse_name("domain", place)?)),
    };
    builder.add_bridge(bridge, None);
    for member in members {
        let end = end(member)?;
        let port = builder.port_name(None, &end.0);
        builder.add_bridge(bridge, Some(port));
        builder.add_link([end, (LinkId::new(&NamespaceName::host(), port), Map::new())], None, &member.place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collision_domains_are_links_and_bridges() {
        let text = "\
LAB_NAME=\"Two routers\"
# comment
r1[0]=\"A\"
r1[1]=B/02:00:00:00:00:01
r2[0]=\"B\"
pc1[0]=A
pc2[0]='A'
r1[image]=\"kathara/frr\"
pc2[0]=A
";
        let error = read(text, &[], None, "x").unwrap_err().to_string();
        assert_eq!(error, "line 9: `pc2:eth0` is the end of two links");
        let text = text.trim_end().rsplit_once('\n').unwrap().0;
        let beside = ["lab.conf", "lab.dep", "r1", "r1.startup", "shared.startup", "r9.startup"].map(str::to_owned);
        let Imported { lab, steps, omitted } = read(text, &beside, None, "x").unwrap();
        let expected = "\
name: Two-routers
namespaces:
  host:
    interfaces:
      A:
        bridge: { ports: [r1-eth0, pc1-eth0, pc2-eth0] }
  pc1: {}
  pc2: {}
  r1: {}
  r2: {}
links:
  - endpoints: [r1:eth0, host:r1-eth0]
  - endpoints: [pc1:eth0, host:pc1-eth0]
  - endpoints: [pc2:eth0, host:pc2-eth0]
  - endpoints:
      - { interface: r1:eth1, mac: 02:00:00:00:00:01 }
      - r2:eth0
";
        assert_eq!(crate::report::yaml::lab(&lab), expected);
        let steps: Vec<_> = steps.iter().map(|step| format!("{} {}", step.namespace, step.place)).collect();
        assert_eq!(
            steps,
            ["r1 shared.startup", "r1 r1.startup", "r2 shared.startup", "pc1 shared.startup", "pc2 shared.startup"]
        );
        let omitted: Vec<_> = omitted.iter().map(|omitted| omitted.what.as_str()).collect();
        assert_eq!(omitted, ["line 8: r1[image]", "lab.dep", "r1", "r9.startup"]);
    }
}

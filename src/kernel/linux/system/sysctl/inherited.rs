//! The settings that a new namespace copies from the machine's initial one, and their way back to the kernel's own values: the same lab
//! is the same network on every machine. By default the kernel copies those of IPv4; `net.core.devconf_inherit_init_net` decides.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};

use netlink_packet_core::NlasIterator;

use crate::kernel::Errno;
use crate::kernel::linux::wire::{Socket, encode};
use crate::resource::sysctl::SysctlKey;
use crate::resource::sysctl::conf::{INET, LinkConf, OF_LOOPBACK, Setting};

/// A copied setting, with the value that the kernel itself would give it.
pub(in crate::kernel::linux) struct Inherited {
    key: SysctlKey,
    value: Cow<'static, str>,
}

/// Finds the settings of `all` and `default` that are not the kernel's own. The calling thread and the socket must be in a new
/// namespace.
///
/// # Errors
/// If a setting that exists cannot be read.
pub(in crate::kernel::linux) fn find(socket: &mut Socket) -> io::Result<Vec<Inherited>> {
    let mut found = Found::default();
    // In the order of the table: `all.forwarding` changes other settings.
    for conf in &INET {
        found.compare("all", conf.name, read("all", conf.name)?, conf.all)?;
    }
    let Loopback { inet: of_loopback, inet6 } = of_loopback(socket);
    for (position, conf) in INET.iter().enumerate() {
        // A new loopback has the values of `default`, but for two.
        let own_of_loopback = OF_LOOPBACK.contains(&conf.name);
        let live = match of_loopback.as_ref().filter(|_| !own_of_loopback) {
            Some(values) => values.get(position).copied(),
            None => read("default", conf.name)?,
        };
        found.compare("default", conf.name, live, conf.default)?;
        if !own_of_loopback {
            found.compare("lo", conf.name, live, conf.default)?;
        }
    }
    found.compare_inet6(&inet6)?;
    Ok(found.0)
}

/// Gives the settings their own values, in the calling thread's namespace.
///
/// # Errors
/// If one cannot be written; the text names it.
pub(in crate::kernel::linux) fn reset(settings: &[Inherited]) -> Result<(), Errno> {
    settings.iter().try_for_each(|Inherited { key, value }| {
        super::write(key, value).map_err(|error| {
            let message = format!("the new namespace copies the machine's `{key}`, and it cannot be set to {value}");
            Errno { message: Some(message), ..Errno::from(&error) }
        })
    })
}

#[derive(Default)]
struct Found(Vec<Inherited>);

impl Found {
    fn compare(&mut self, place: &str, name: &str, live: Option<i32>, own: &'static str) -> io::Result<()> {
        if live.is_some_and(|live| live.to_string() != own) {
            let key = SysctlKey::of_namespace(&format!("net/ipv4/conf/{place}/{name}")).map_err(io::Error::other)?;
            self.0.push(Inherited { key, value: own.into() });
        }
        Ok(())
    }

    /// Compares the IPv6 settings of a loopback, which are those of `default`. The kernel copies some of `all` to both.
    fn compare_inet6(&mut self, conf: &LinkConf) -> io::Result<()> {
        for (setting, _) in &conf.changed {
            let own = |key: &SysctlKey| Setting::of_key(key).map(|setting| setting.default.to_string().into());
            for key in ["all", "default", "lo"].map(|place| setting.of(place)) {
                let live = super::read(&key)?;
                self.0.extend(
                    own(&key).filter(|own| live.is_some_and(|live| live.value != *own)).map(|value| Inherited { key, value }),
                );
            }
        }
        Ok(())
    }
}

/// Reads a setting; `None` if this kernel does not have it.
fn read(place: &str, name: &str) -> io::Result<Option<i32>> {
    let mut text = [0; 16];
    let length = match File::open(format!("/proc/sys/net/ipv4/conf/{place}/{name}")) {
        Ok(mut file) => file.read(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok()))
}

/// The settings of the loopback.
#[derive(Default)]
struct Loopback {
    /// Those of IPv4 in the order of IPV4_DEVCONF_* (IFLA_INET_CONF); `None` if the kernel does not report them.
    inet: Option<Vec<i32>>,
    /// Those of IPv6 that do not have the kernel's value.
    inet6: LinkConf,
}

fn of_loopback(socket: &mut Socket) -> Loopback {
    const LOOPBACK: u32 = 1;
    const IFINFOMSG: usize = 16;
    const IFLA_AF_SPEC: u16 = 26;
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const IFLA_INET_CONF: u16 = 1;
    const IFLA_INET6_CONF: u16 = 2;
    let mut loopback = Loopback::default();
    let nested = |bytes: &[u8], wanted: u16| -> Option<Vec<u8>> {
        let mut attributes = NlasIterator::new(bytes).flatten();
        attributes.find(|attribute| attribute.kind() == wanted).map(|attribute| attribute.value().to_vec())
    };
    let answer = socket.get(encode::get_link(LOOPBACK), |_, body| {
        let families = body.get(IFINFOMSG..).and_then(|attributes| nested(attributes, IFLA_AF_SPEC));
        let conf = |family, conf| nested(&nested(families.as_deref()?, family)?, conf);
        let inet = conf(AF_INET, IFLA_INET_CONF);
        if let Some(values) = conf(AF_INET6, IFLA_INET6_CONF) {
            loopback.inet6.add_inet6(&values);
        }
        loopback.inet = inet.map(|conf| conf.as_chunks().0.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect());
        Ok(())
    });
    if answer.is_ok() { loopback } else { Loopback::default() }
}

//! Restores foreign routes that the kernel drops as a side effect. With the last IPv4 address of an interface, the kernel removes all IPv4
//! routes over it (`fib_disable_ip`), even if the address is only being replaced. Routes that the kernel accepts again are restored.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::route::{RouteFlags, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::kernel::Errno;
use crate::kernel::linux::wire::{Batch, DumpError, DumpRequest, Socket};
use crate::operation::Operation;
use crate::ownership;
use crate::resource::address::Address;
use crate::resource::object::table::{Places, Registered};
use crate::resource::object::wire::{AF_INET, RTPROT_KERNEL};

/// Foreign routes in `host` to restore.
#[derive(Default)]
pub(in crate::kernel::linux) struct ForeignRoutes(Vec<RouteMessage>);

/// Returns whether the kernel can drop foreign routes as a side effect of the operation.
pub(super) fn endangers(operation: &Operation) -> bool {
    let Operation::Remove(object) = operation else { return false };
    let address = Address::of_any::<Places>(object);
    address.is_some_and(|at| at.namespace.is_host() && at.key.ip().is_ipv4())
}

impl ForeignRoutes {
    /// Saves the existing routes. Keeps earlier ones that could not be restored.
    pub(super) fn watch(&mut self, host: &mut Socket) -> Result<(), Errno> {
        let existing = foreign_routes(host)?;
        self.0.retain(|route| !existing.contains(route));
        self.0.extend(existing);
        Ok(())
    }

    /// Adds dropped routes again. Keeps those that the kernel refuses, for example because their gateway is unreachable.
    pub(super) fn restore(&mut self, host: &mut Socket) {
        if self.0.is_empty() {
            return;
        }
        let Ok(existing) = foreign_routes(host) else { return };
        self.0.retain(|route| !existing.contains(route));
        let mut batch = Batch::default();
        for route in &self.0 {
            batch.push(RouteNetlinkMessage::NewRoute(route.clone()), NLM_F_CREATE | NLM_F_EXCL);
        }
        let Ok(refusals) = host.execute(&mut batch) else { return };
        let mut position = 0;
        self.0.retain(|_| {
            position += 1;
            refusals.iter().any(|refusal| refusal.message + 1 == position)
        });
    }
}

fn foreign_routes(host: &mut Socket) -> Result<Vec<RouteMessage>, Errno> {
    let mut routes = Vec::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => routes.clear(),
            Some((_, body)) if body.first() == Some(&AF_INET) => {
                let route = RouteMessage::parse(body).map_err(|error| error.to_string())?;
                routes.extend(is_foreign(&route).then_some(route));
            }
            Some(_) => {}
        }
        Ok(())
    };
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet;
    let outcome = host.dump(&DumpRequest::new(RouteNetlinkMessage::GetRoute(request)), each);
    // Other flags are the state of the interface.
    for route in &mut routes {
        route.header.flags &= RouteFlags::Onlink;
    }
    match outcome {
        Ok(()) => Ok(routes),
        Err(DumpError::Refused(errno)) => Err(errno),
        Err(DumpError::Socket(error)) => Err(Errno::from(&error)),
        Err(error) => Err(Errno::from(&std::io::Error::other(error))),
    }
}

fn is_foreign(route: &RouteMessage) -> bool {
    let managed = matches!(
        route.header.kind,
        RouteType::Unicast
            | RouteType::Local
            | RouteType::BlackHole
            | RouteType::Unreachable
            | RouteType::Prohibit
            | RouteType::Throw
    );
    let cloned = route.header.flags.contains(RouteFlags::Cloned);
    managed && !cloned && ![RTPROT_KERNEL, ownership::PROTOCOL].contains(&route.header.protocol.into())
}

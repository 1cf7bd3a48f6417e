//! Other people's routes that go by the way. With the last IPv4 address of an interface the kernel takes all IPv4 routes over it
//! (`fib_disable_ip`), also when the address is only about to be replaced; those that still can be are put back.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteFlags, RouteMessage};

use super::decode;
use super::encode;
use super::execute::errno;
use super::socket::{Batch, DumpError, Socket};
use crate::kernel::Errno;
use crate::kernel::standing::KERNEL;
use crate::operation::Operation;
use crate::ownership;

const INET: u8 = 2;

/// Routes of others in `host` that should be there.
#[derive(Default)]
pub(super) struct Bystanders(Vec<RouteMessage>);

/// Whether others' routes can go with it.
pub(super) fn endangers(operation: &Operation) -> bool {
    matches!(operation, Operation::DeleteAddress { link, address, .. }
        if link.id.namespace.is_host() && address.ip().is_ipv4())
}

impl Bystanders {
    /// Notes the routes that are there. Those that were there earlier and could not be put back stay noted.
    pub(super) fn watch(&mut self, host: &mut Socket) -> Result<(), Errno> {
        let there = foreign_routes(host)?;
        self.0.retain(|route| !there.contains(route));
        self.0.extend(there);
        Ok(())
    }

    /// Puts back those that have gone; what the kernel refuses, since nothing leads to its gateway now, stays noted.
    pub(super) fn put_back(&mut self, host: &mut Socket) {
        if self.0.is_empty() {
            return;
        }
        let Ok(there) = foreign_routes(host) else { return };
        self.0.retain(|route| !there.contains(route));
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
            Some((_, body)) if body.first() == Some(&INET) => {
                let theirs = decode::route_protocol(body).filter(|protocol| ![KERNEL, ownership::PROTOCOL].contains(protocol));
                if theirs.is_some() {
                    let mut route = RouteMessage::parse(body).map_err(|error| error.to_string())?;
                    // How the interface fares is not the route's own.
                    route.header.flags &= RouteFlags::Onlink;
                    routes.push(route);
                }
            }
            Some(_) => {}
        }
        Ok(())
    };
    match host.dump(&encode::get_routes(INET), each) {
        Ok(()) => Ok(routes),
        Err(DumpError::Refused(errno)) => Err(errno),
        Err(DumpError::Socket(error)) => Err(errno(&error)),
        Err(error) => Err(errno(&std::io::Error::other(error))),
    }
}

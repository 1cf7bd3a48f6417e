//! Waits for duplicate address detection. The kernel refuses a route with a local IPv6 address as its source until duplicate address
//! detection (RFC 4862, section 5.4) is complete.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use nix::libc;

use crate::kernel::Errno;
use crate::kernel::linux::wire::{DumpError, DumpRequest, Socket};
use crate::operation::Operation;
use crate::readiness::MARGIN;
use crate::resource::object::Awaited;
use crate::resource::object::wire::{AF_INET6, attributes, ip, number};
use crate::value;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
/// The first pause between attempts. Each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Returns the address that the operation has to wait for.
pub(super) fn awaited(operation: &Operation) -> Option<&Awaited> {
    match operation {
        Operation::Put(put) => put.awaited(),
        Operation::Restore(again) => again.awaited(),
        _ => None,
    }
}

/// The state of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detection {
    /// Detection is complete, or there is no such address.
    Complete,
    Pending,
    Failed,
}

/// The state of repeated attempts to execute one operation.
pub(super) struct Retries {
    began: Instant,
    pause: Duration,
    /// Whether detection was complete before the last attempt.
    complete: bool,
}

impl Retries {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), pause: FIRST_PAUSE, complete: false }
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// Returns the refusal if it has another cause: detection was complete before the attempt, or addresses cannot be read. Also fails if
    /// detection fails, or takes longer than the lab file makes it.
    pub(super) fn wait(&mut self, socket: &mut Socket, awaited: &Awaited, refusal: Errno) -> Result<(), Errno> {
        if refusal.number != libc::EINVAL {
            return Err(refusal);
        }
        let source = awaited.source;
        match detection(socket, source).map_err(|_| refusal.clone())? {
            // Detection may have completed after the refusal, so one more attempt decides.
            Detection::Complete if std::mem::replace(&mut self.complete, true) => return Err(refusal),
            Detection::Complete => return Ok(()),
            Detection::Failed => {
                let message =
                    format!("duplicate address detection of the source {source} failed: another host on the segment has it");
                return Err(Errno { message: Some(message), ..refusal });
            }
            Detection::Pending => {}
        }
        self.complete = false;
        let limit = value::Duration(awaited.time.total().0.saturating_add(MARGIN.0));
        if self.began.elapsed() > Duration::from_micros(limit.0) {
            let message = format!(
                "the source {source} is still tentative after {limit}; waited for {} (is its link connected?); `nodad: true` \
                 disables detection",
                awaited.time
            );
            return Err(Errno { message: Some(message), ..refusal });
        }
        sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

fn detection(socket: &mut Socket, wanted: IpAddr) -> Result<Detection, DumpError> {
    let mut request = AddressMessage::default();
    request.header.family = AF_INET6.into();
    let mut found = Detection::Complete;
    socket.dump(&DumpRequest::new(RouteNetlinkMessage::GetAddress(request)), |message| {
        if let Some((_, body)) = message {
            let header: &[u8; 8] = body.first_chunk().ok_or("a truncated address message")?;
            let (mut local, mut other, mut flags) = (None, None, u32::from(header[2]));
            for attribute in attributes(&body[8..]) {
                match attribute? {
                    (IFA_LOCAL, value) => local = Some(ip(value)?),
                    (IFA_ADDRESS, value) => other = Some(ip(value)?),
                    (IFA_FLAGS, value) => flags = number(value)?,
                    _ => {}
                }
            }
            if local.or(other) == Some(wanted) {
                found = match (flags & IFA_F_DADFAILED != 0, flags & IFA_F_TENTATIVE != 0) {
                    (true, _) => Detection::Failed,
                    (false, true) => Detection::Pending,
                    (false, false) => Detection::Complete,
                };
            }
        }
        Ok(())
    })?;
    Ok(found)
}

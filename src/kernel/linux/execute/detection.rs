//! Waits for duplicate address detection. The kernel refuses a route with a local IPv6 address as its source until duplicate address
//! detection (RFC 4862, section 5.4) is complete, which takes one to two seconds.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use nix::libc;

use crate::kernel::Errno;
use crate::kernel::linux::wire::{DumpError, Socket};
use crate::operation::Operation;
use crate::resource::object::wire::{AF_INET6, attributes, ip, number};

const IFA_ADDRESS: u16 = 1;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
/// The time limit. Detection takes at most two seconds with the kernel's defaults (MAX_RTR_SOLICITATION_DELAY and RETRANS_TIMER).
const LIMIT: Duration = Duration::from_secs(6);
/// The first pause between attempts. Each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Returns the address that the operation has to wait for.
pub(super) fn awaited(operation: &Operation) -> Option<IpAddr> {
    match operation {
        Operation::Put(put) => put.awaits(),
        _ => None,
    }
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
    /// detection takes too long.
    pub(super) fn wait(&mut self, socket: &mut Socket, source: IpAddr, refusal: Errno) -> Result<(), Errno> {
        if refusal.number != libc::EINVAL {
            return Err(refusal);
        }
        if !is_tentative(socket, source).map_err(|_| refusal.clone())? {
            // Detection may have completed after the refusal, so one more attempt decides.
            return if std::mem::replace(&mut self.complete, true) { Err(refusal) } else { Ok(()) };
        }
        self.complete = false;
        if self.began.elapsed() > LIMIT {
            let seconds = LIMIT.as_secs();
            let message = format!(
                "the source {source} is still tentative after {seconds} s of duplicate address detection (is its link connected?); \
                 `nodad: true` disables it"
            );
            return Err(Errno { message: Some(message), ..refusal });
        }
        sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

fn is_tentative(socket: &mut Socket, wanted: IpAddr) -> Result<bool, DumpError> {
    let mut request = AddressMessage::default();
    request.header.family = AF_INET6.into();
    let mut tentative = false;
    socket.dump(&RouteNetlinkMessage::GetAddress(request), |message| {
        if let Some((_, body)) = message {
            let header: &[u8; 8] = body.first_chunk().ok_or("a truncated address message")?;
            let (mut address, mut flags) = (None, u32::from(header[2]));
            for attribute in attributes(&body[8..]) {
                match attribute? {
                    (IFA_ADDRESS, value) => address = Some(ip(value)?),
                    (IFA_FLAGS, value) => flags = number(value)?,
                    _ => {}
                }
            }
            let pending = flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == IFA_F_TENTATIVE;
            tentative |= pending && address == Some(wanted);
        }
        Ok(())
    })?;
    Ok(tentative)
}

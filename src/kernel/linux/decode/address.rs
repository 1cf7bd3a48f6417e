//! Addresses: RTM_NEWADDR.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{attributes, ip, number, text};
use crate::resource::address::{Address, Lifetime};
use crate::resource::route::Scope;
use crate::state::Ifindex;
use crate::value::{Duration, InterfaceAddress};

/// IFA_PROTO of what the kernel makes by itself: the address of `lo`, from a router's announcement, link-local (linux/if_addr.h).
const KERNEL_ADDRESS_PROTOCOLS: std::ops::RangeInclusive<u8> = 1..=3;

/// An address as one message describes it.
#[derive(Debug, Clone)]
pub struct RawAddress {
    /// The number of its interface.
    pub index: Ifindex,
    /// The address.
    pub address: InterfaceAddress,
    /// Its attributes; `order` is still 0.
    pub attributes: Address,
    /// Who made it (IFA_PROTO); `None` on kernels before 5.18, and for what the user made.
    pub protocol: Option<u8>,
    /// Whether another IPv4 address of its subnet was there before it (IFA_F_SECONDARY).
    pub secondary: bool,
    /// Whether duplicate address detection still goes on (IFA_F_TENTATIVE and not IFA_F_DADFAILED).
    pub tentative: bool,
}

impl RawAddress {
    /// Whether the kernel made it by itself.
    pub fn is_kernels(&self) -> bool {
        let of_loopback = || {
            let (ip, length) = (self.address.ip(), self.address.0.prefix_len());
            (ip, length) == (Ipv4Addr::LOCALHOST.into(), 8) || (ip, length) == (Ipv6Addr::LOCALHOST.into(), 128)
        };
        let protocol = self.protocol.is_some_and(|protocol| KERNEL_ADDRESS_PROTOCOLS.contains(&protocol));
        protocol || self.index == LOOPBACK && of_loopback()
    }

    /// The subnet to which the kernel makes a route for it as long as the interface is up (`fib_add_ifaddr`,
    /// `addrconf_prefix_route`); none for secondary addresses, which share that of the primary one.
    pub fn connects(&self) -> Option<IpNet> {
        let far = self.attributes.peer.unwrap_or(self.address.ip());
        let bare_host = far.is_ipv4() && self.address.0.prefix_len() == 32 && self.attributes.peer.is_none();
        if self.secondary || self.attributes.noprefixroute || bare_host || self.index == LOOPBACK {
            return None;
        }
        let to = IpNet::new(far, self.address.0.prefix_len()).ok()?.trunc();
        // No route leads to 0.0.0.0/8 (`ipv4_is_zeronet`).
        let zero = matches!(to.network(), IpAddr::V4(ip) if ip.octets()[0] == 0);
        (!zero).then_some(to)
    }
}

/// The number of `lo`.
const LOOPBACK: Ifindex = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const FOREVER: u32 = u32::MAX;

/// Decodes the body of an RTM_NEWADDR; `None` for a family that topo does not manage.
///
/// # Errors
/// When it is malformed.
pub fn address(body: &[u8]) -> Result<Option<RawAddress>, String> {
    let header: &[u8; 8] = body.first_chunk().ok_or("an address message that is cut off")?;
    let (prefix_length, index) = (header[1], number(&header[4..8])?);
    let (mut local, mut other, mut protocol, mut flags) = (None, None, None, u32::from(header[2]));
    let mut attributes_of = Address { scope: Some(Scope::from_number(header[3])), ..Address::default() };
    for attribute in attributes(&body[8..]) {
        match attribute? {
            (IFA_LOCAL, value) => local = Some(ip(value)?),
            (IFA_ADDRESS, value) => other = Some(ip(value)?),
            (IFA_LABEL, value) => attributes_of.label = Some(text(value)),
            (IFA_BROADCAST, value) => attributes_of.broadcast = Some(ip(value)?),
            (IFA_FLAGS, value) => flags = number(value)?,
            (IFA_RT_PRIORITY, value) => attributes_of.metric = Some(number(value)?).filter(|metric| *metric != 0),
            (IFA_PROTO, value) => protocol = value.first().copied(),
            (IFA_CACHEINFO, value) if value.len() >= 8 => {
                let (preferred, valid) = (number(value)?, number(&value[4..])?);
                let seconds = |seconds: u32| Duration::seconds(u64::from(seconds));
                if valid != FOREVER || preferred != FOREVER {
                    attributes_of.lifetime = Some(Lifetime { valid: seconds(valid), preferred: seconds(preferred) });
                }
            }
            _ => {}
        }
    }
    let Some(address) = local.or(other) else { return Ok(None) };
    attributes_of.peer = other.filter(|other| *other != address);
    attributes_of.nodad = flags & IFA_F_NODAD != 0 && address.is_ipv6();
    attributes_of.noprefixroute = flags & IFA_F_NOPREFIXROUTE != 0;
    let net = IpNet::new(address, prefix_length).map_err(|error| error.to_string())?;
    let tentative = flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == IFA_F_TENTATIVE;
    let secondary = flags & IFA_F_SECONDARY != 0 && address.is_ipv4();
    Ok(Some(RawAddress { index, address: InterfaceAddress(net), attributes: attributes_of, protocol, secondary, tentative }))
}

//! The messages of one datagram from the kernel.

use netlink_packet_core::NlasIterator;

use crate::kernel::Errno;

/// The length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One message in the buffer.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// Returns the error of an NLMSG_ERROR or NLMSG_DONE, with the kernel's message; `None` for success.
    pub(super) fn errno(&self) -> Option<Errno> {
        let code = self.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
        if code == 0 {
            return None;
        }
        let text = || {
            if self.flags & NLM_F_ACK_TLVS == 0 {
                return None;
            }
            let skip = match (self.kind, self.flags & NLM_F_CAPPED) {
                (NLMSG_DONE, _) => 4,
                (_, 0) => 4 + u32::from_ne_bytes(*self.body.get(4..)?.first_chunk()?) as usize,
                _ => 4 + HEADER,
            };
            let mut attributes = NlasIterator::new(self.body.get(skip..)?).flatten();
            let message = attributes.find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
            let text = message.value().split(|&b| b == 0).next()?;
            Some(String::from_utf8_lossy(text).trim_end_matches('.').to_owned())
        };
        Some(Errno { number: code.saturating_neg(), message: text() })
    }
}

/// An iterator over the messages of one datagram.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parse = |bytes: &'a [u8]| -> Option<(Message<'a>, &'a [u8])> {
            let header: &[u8; HEADER] = bytes.first_chunk()?;
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let message = Message {
                kind: u16::from_ne_bytes([header[4], header[5]]),
                flags: u16::from_ne_bytes([header[6], header[7]]),
                sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
                body: bytes.get(HEADER..length)?,
            };
            Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
        };
        match parse(self.0) {
            Some((message, rest)) => {
                self.0 = rest;
                Some(Ok(message))
            }
            None => {
                self.0 = &[];
                Some(Err("an invalid message length".into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_messages_are_errors_and_never_panic() {
        for length in 0..64_u8 {
            for bytes in [vec![length; 40], vec![0; length.into()], vec![255; length.into()]] {
                for message in Messages(&bytes).flatten() {
                    let _ = message.errno();
                }
            }
        }
        assert!(Messages(&[255; 40]).next().unwrap().is_err());
    }
}

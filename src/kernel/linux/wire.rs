//! rtnetlink(7): sockets, batches of requests, and the messages of links and namespaces. The types of objects encode their own messages.

pub(super) mod decode;
pub(super) mod encode;
mod socket;

pub(super) use socket::{Batch, DumpError, DumpRequest, Refusal, Socket};

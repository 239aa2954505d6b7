//! Raw system calls, each wrapped so that its caller needs no `unsafe`.

pub(crate) mod address;
pub(crate) mod bpf;
pub(crate) mod cmsg;
pub(crate) mod ioctl;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod option;
pub(crate) mod thread;
pub(crate) mod xsk;

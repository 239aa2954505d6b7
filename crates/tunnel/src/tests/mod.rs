//! The datapath as a whole, without a device: frames in, ESP over a wire of vectors, frames out.

mod egress;
mod hostile;
mod ingress;
mod joining;
mod splitting;
mod support;
mod wire;
mod worker;

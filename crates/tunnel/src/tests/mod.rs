//! The datapath as a whole, without a device: frames in, ESP over a wire of vectors, frames out.

mod egress;
mod fragments;
mod hostile;
mod ingress;
mod joining;
mod kinds;
mod opening;
mod splitting;
mod support;
mod twin;
mod wire;
mod worker;

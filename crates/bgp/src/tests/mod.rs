//! Two speakers against each other in virtual time.

mod collision;
mod fsm;
mod net;
mod policy;
mod refresh;
mod robust;

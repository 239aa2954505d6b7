//! Two speakers against each other in virtual time.

mod collision;
mod endings;
mod fsm;
mod graceful;
mod net;
mod policy;
mod refresh;
mod restart;
mod robust;

//! A deterministic world: whole gateways, their datapaths, made-up kernels, and a network between them.
//!
//! Nothing here reads a clock, opens a socket or starts a thread. One seed decides everything: keys, delays, losses,
//! the order in which work comes back. The same seed gives the same trace, octet by octet.
//!
//! | file | subject |
//! | --- | --- |
//! | `world` | the clock, the queue of what happens, and the loop |
//! | `perform` | the effects of a gateway, carried out in the world |
//! | `wire` | outer datagrams between sites, and what arrives |
//! | `traffic` | inner packets: flows of LAN hosts, and where a kernel sends them |
//! | `site` | one gateway with its kernel, datapath and TCP |
//! | `kernel` | links, addresses and routes, with the kernel's notion of a route's identity |
//! | `datapath` | the real `tunnel::Egress` and `tunnel::Ingress`, driven in memory |
//! | `tcp` | BGP's connections: a small real TCP whose segments travel as inner packets through the tunnels |
//! | `net` | delay, loss, duplicates, reordering, NAT boxes, path MTU |
//! | `check` | what must hold after every step |
//! | `packet` | IPv4, UDP and TCP headers |
//! | `file` | the TOML files of the sites, and their secrets |
//! | `ask` | what scenarios ask a gateway and its kernel |
//! | `seeds` | which seeds are played, and how one is played again |

pub(crate) mod ask;
pub(crate) mod check;
pub(crate) mod datapath;
pub(crate) mod file;
pub(crate) mod kernel;
pub(crate) mod net;
pub(crate) mod packet;
pub(crate) mod perform;
pub(crate) mod seeds;
pub(crate) mod site;
pub(crate) mod tcp;
pub(crate) mod traffic;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use file::{File, Link};
pub(crate) use net::{Nat, Weather};
pub(crate) use seeds::over_seeds;
pub(crate) use world::World;

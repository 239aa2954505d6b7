//! Less power for a daemon that has what it needs, nothing of its memory in a core file, and descriptors enough.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// What this program may need of root's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Devices, addresses, routes, marks, socket buffers.
    NetAdmin,
    /// Raw sockets, binding to a device.
    NetRaw,
    /// Ports below 1024: IKE's 500 and BGP's 179.
    NetBindService,
    /// Namespaces of its own (the demonstration only).
    SysAdmin,
}

impl Capability {
    /// What the running daemon keeps.
    pub const DAEMON: [Self; 3] = [Self::NetAdmin, Self::NetRaw, Self::NetBindService];

    fn set(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::NetBindService => CapabilitySet::NET_BIND_SERVICE,
            Self::SysAdmin => CapabilitySet::SYS_ADMIN,
        }
    }
}

/// Has the calling thread this capability in force?
pub fn has(capability: Capability) -> io::Result<bool> {
    Ok(capabilities(None)?.effective.contains(capability.set()))
}

/// Keep of the capabilities held only those named, for good: nothing gives others back, not even a
/// program run by us. What was not held is not gained.
///
/// It is a property of the thread, inherited by threads it starts: call it before starting any.
pub fn keep_only(kept: &[Capability]) -> io::Result<()> {
    let wanted = kept.iter().fold(CapabilitySet::empty(), |set, capability| set | capability.set());
    let held = capabilities(None)?;
    // Needs CAP_SETPCAP, so it comes first; who lacks it has a bounding set that others drew.
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for other in CapabilitySet::all().iter().filter(|one| !wanted.contains(*one)) {
            match remove_capability_from_bounding_set(other) {
                // A number this kernel does not know.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let permitted = held.permitted & wanted;
    set_no_new_privs(true)?;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// No core file of this process, however it ends, and no other process of the same user may read its
/// memory. Also undone by executing another program, so call it early in each.
pub fn no_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// How many descriptors this process may have open: the soft limit of `RLIMIT_NOFILE`, `u64::MAX` for none.
#[must_use]
pub fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raise that to the hard limit, which only root may pass; how many there may be from now on. Many shells and managers leave
/// the soft limit at 1024 for programs that use select(2), which nothing here does. Programs started later inherit it.
///
/// # Errors
/// The kernel refused, and it is what it was.
pub fn raise_descriptors() -> io::Result<u64> {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    Ok(descriptors())
}

/// Leave the pages that hold `secret` out of core files, should one be written after all. The whole pages
/// are left out, with what else lies on them.
pub fn leave_out_of_dumps(secret: &[u8]) -> io::Result<()> {
    crate::sys::memory::dont_dump(secret)
}

//! Network namespaces: made, entered by threads and programs, and gone when their owner is.
//!
//! A network namespace belongs to a thread. Code that must act inside one runs in a thread of its own; the
//! sockets it opens there stay inside wherever they are used.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::netlink::{LinkChange, Netlink, NetlinkError};
use crate::sys::thread::{start_inside, unshare_network};

/// Where the `ip` program keeps named namespaces, and so do we.
const NAMED: &str = "/run/netns";
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace. A named one that this value made is unmounted and unlinked when dropped; a
/// namespace ends with its last descriptor, process and mount.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    mounted: Option<PathBuf>,
}

impl Namespace {
    /// A new and empty namespace without a name. Its loopback interface is off: see [`Self::loopback_up`].
    pub fn anonymous() -> io::Result<Self> {
        let file = in_thread(|| {
            unshare_network()?;
            File::open(OWN)
        })?;
        Ok(Self { file, mounted: None })
    }

    /// A new and empty namespace under a name, which `ip netns exec NAME` and others can enter.
    pub fn named(name: &str) -> io::Result<Self> {
        let path = path_of(name)?;
        prepare_directory(Path::new(NAMED))?;
        OpenOptions::new().write(true).create_new(true).open(&path)?;
        let made = in_thread(|| {
            unshare_network()?;
            mount(OWN, &path, "none", MountFlags::BIND, None)?;
            File::open(OWN)
        });
        match made {
            Ok(file) => Ok(Self { file, mounted: Some(path) }),
            Err(error) => {
                // The mark of a namespace that never was; the error that counts is the first.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// An existing namespace by its name; not removed when dropped.
    pub fn open(name: &str) -> io::Result<Self> {
        Ok(Self { file: File::open(path_of(name)?)?, mounted: None })
    }

    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        Ok(Self { file: File::open(OWN)?, mounted: None })
    }

    /// Remove a named namespace that another process left behind.
    pub fn remove(name: &str) -> io::Result<()> {
        unmount_and_unlink(&path_of(name)?)
    }

    /// Let a named namespace stay when this value is dropped.
    pub fn keep(&mut self) {
        self.mounted = None;
    }

    /// Run `work` inside, in a thread of its own, and wait for its result. A panic inside goes on here.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        in_thread(|| {
            self.enter()?;
            Ok(work())
        })
    }

    /// Start a named thread that lives inside.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<thread::JoinHandle<io::Result<T>>> {
        let inside = Self { file: self.file.try_clone()?, mounted: None };
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            inside.enter()?;
            Ok(work())
        })
    }

    /// Make a program that is about to start do so inside.
    pub fn start_inside<'c>(&self, command: &'c mut Command) -> io::Result<&'c mut Command> {
        start_inside(command, self.file.try_clone()?.into());
        Ok(command)
    }

    /// A netlink socket of this namespace.
    pub fn netlink(&self) -> io::Result<Netlink> {
        self.run(Netlink::open)?
    }

    /// Switch the loopback interface on.
    pub fn loopback_up(&self) -> Result<(), NetlinkError> {
        self.netlink()?.set_link(1, &LinkChange { up: Some(true), ..LinkChange::default() })
    }

    /// Move the calling thread inside, for the rest of its life.
    fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(path) = &self.mounted {
            // Nothing to do about a failure here; the next start finds the name and says so.
            let _ = unmount_and_unlink(path);
        }
    }
}

fn path_of(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(Path::new(NAMED).join(name))
}

/// The directory must be a mount point of its own that shares its mounts, or a namespace mounted there
/// could not be unmounted for programs with mount namespaces of their own. The `ip` program does the same.
fn prepare_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let share = || mount_change(directory, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    if share().is_err() {
        mount(directory, directory, "none", MountFlags::BIND | MountFlags::REC, None)?;
        share()?;
    }
    Ok(())
}

fn unmount_and_unlink(path: &Path) -> io::Result<()> {
    match unmount(path, UnmountFlags::DETACH) {
        // Not mounted: only the mark is left.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    fs::remove_file(path)
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let handle = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

//! What there is when a process has no descriptor left, and how it gets more. The limit is the whole process's, so this is one of
//! its own. As root.

use std::fs::File;

use kernel::netlink::Netlink;
use kernel::netns::Namespace;
use kernel::privilege::{descriptors, raise_descriptors};
use kernel::tun::{Tun, TunError, TunOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const FEW: u64 = 64;

#[test]
fn without_descriptors_a_device_says_what_the_limit_is_and_up_to_the_hard_one_there_are_more() {
    let hard = getrlimit(Resource::Nofile).maximum;
    assert!(hard.is_none_or(|hard| hard > FEW), "there is room to raise");
    setrlimit(Resource::Nofile, Rlimit { current: Some(FEW), maximum: hard }).unwrap();
    let namespace = Namespace::anonymous().unwrap();
    namespace
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let mut held: Vec<File> = Vec::new();
            held.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
            let told = Tun::open(&mut netlink, &TunOptions::new("vti0")).unwrap_err();
            assert!(matches!(told, TunError::Descriptors(FEW)), "{told}");
            assert!(told.to_string().contains("no more than 64 descriptors"), "{told}");
            assert_eq!(raise_descriptors().unwrap(), hard.unwrap_or(u64::MAX));
            assert_eq!(descriptors(), hard.unwrap_or(u64::MAX));
            Tun::open(&mut netlink, &TunOptions::new("vti0")).unwrap().destroy().unwrap();
        })
        .unwrap();
}

//! Nothing is read or written past a packet: each ends where a page ends that may be touched, and begins where one begins.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::ptr;
use std::slice;

use lanes::{Cbc, Gcm, Hash, Hmac, Job, Level};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// Of every kind of page the smallest.
const PAGE: usize = 4096;

/// A page between two that nobody may touch.
struct Guarded(*mut u8);

impl Guarded {
    fn new() -> Self {
        // SAFETY: new pages that nothing else knows; the outer two are taken away again.
        unsafe {
            let all = mmap_anonymous(
                ptr::null_mut(),
                3 * PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
            .unwrap();
            mprotect(all, PAGE, MprotectFlags::empty()).unwrap();
            mprotect(all.byte_add(2 * PAGE), PAGE, MprotectFlags::empty()).unwrap();
            Self(all.byte_add(PAGE).cast())
        }
    }

    /// The page's last octets, or its first.
    fn octets(&mut self, len: usize, last: bool) -> &mut [u8] {
        assert!(len <= PAGE);
        let start = if last { PAGE - len } else { 0 };
        // SAFETY: they are within the page, which lives as long as this.
        unsafe { slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the pages that were mapped; nobody borrows from them any more.
        unsafe { munmap(self.0.byte_sub(PAGE).cast(), 3 * PAGE).unwrap() };
    }
}

/// Every level, with a number of packets for each of its kernels, every length, and where the octets lie.
fn cases() -> impl Iterator<Item = (Level, usize, usize, bool)> {
    let places = |level| (0..300).flat_map(move |len| [(level, len, false), (level, len, true)]);
    Level::available()
        .flat_map(places)
        .flat_map(|(level, len, last)| [(level, 3, len, last), (level, 35, len, last)])
}

fn pages() -> Vec<Guarded> {
    (0..35).map(|_| Guarded::new()).collect()
}

#[test]
fn no_hash_reads_past_a_text() {
    let mut pages = pages();
    for (level, count, len, last) in cases() {
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let mac = Hmac::new(level, hash, b"key");
            let mut codes = [[0; 64]; 35];
            let texts = pages.iter_mut().take(count).map(|page| &*page.octets(len, last));
            let mut jobs: Vec<Job<'_>> =
                texts.zip(&mut codes).map(|(text, code)| Job { text, suffix: Some([1; 4]), code }).collect();
            mac.codes(&mut jobs);
            assert!(codes.iter().take(count).all(|code| *code == codes[0] && *code != [0; 64]));
        }
    }
}

#[test]
fn no_chain_touches_what_is_beside_a_stream() {
    let mut pages = pages();
    for (level, count, len, last) in cases() {
        let cbc = Cbc::new(level, &[7; 32]).unwrap();
        let mut streams: Vec<&mut [u8]> =
            pages.iter_mut().take(count).map(|page| page.octets(len, last)).collect();
        cbc.encrypt(&mut streams);
        streams.iter_mut().for_each(|stream| cbc.decrypt(stream));
        assert!(streams.iter().all(|stream| stream.iter().all(|octet| *octet == 0)));
    }
}

#[test]
fn no_counter_touches_what_is_beside_a_text() {
    let mut pages = pages();
    for (level, count, len, last) in cases() {
        let Some(gcm) = Gcm::new(level, &[7; 32]) else { continue };
        for seal in [true, false] {
            let texts = pages.iter_mut().take(count).map(|page| page.octets(len, last));
            let mut packets: Vec<_> = texts.map(|text| gcm.packet(&[1; 12], &[2; 8], text)).collect();
            if seal {
                gcm.encrypt(&mut packets)
            } else {
                gcm.decrypt(&mut packets)
            }
            assert!(packets.iter().all(|packet| packet.tag() == packets[0].tag()));
        }
        assert!(pages.iter_mut().all(|page| page.octets(len, last).iter().all(|octet| *octet == 0)));
    }
}

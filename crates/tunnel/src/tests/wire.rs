//! Tables replaced under traffic.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::*;
use super::worker::*;
use crate::octets::get32;
use crate::publish::{Publisher, Reader};
use crate::*;

const PUBLISHES: usize = 10_000;

/// Sends without pause until told to stop, at least until something was sent; gives every (SPI, number)
/// it sent.
fn send(mut reader: Reader, stop: &AtomicBool) -> Vec<(u32, u32)> {
    let mut worker = Worker::gcm(ALL);
    let frame = Spec { payload: payload(9000), size: 1300, ..Spec::default() }.frame();
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) || sent.is_empty() {
        worker.table = Table::clone(reader.current());
        assert_eq!(worker.offer(&frame), Handled::Done);
        for run in worker.sent() {
            sent.extend(run.packets().map(|p| (get32(p, 0).unwrap(), get32(p, 4).unwrap())));
        }
        if sent.len() > 2_000_000 {
            break;
        }
    }
    sent
}

#[test]
fn no_number_is_sent_twice_through_ten_thousand_publishes_and_a_hundred_rekeys() {
    let base = Worker::gcm(ALL).table;
    let mut publisher = Publisher::new(base);
    let stop = AtomicBool::new(false);
    let readers = [publisher.reader(), publisher.reader()];
    let sent: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let workers: Vec<_> = readers.map(|reader| scope.spawn(|| send(reader, &stop))).into();
        for round in 0..PUBLISHES {
            let table = publisher.current();
            let mut next = table.edit();
            let mut row = table.tunnel(TUNNEL).unwrap().clone();
            row.mtu = 1400 + (round % 2) as u16;
            if round % 100 == 99 {
                let spi = 0x1000 + round as u32;
                row.outbound[0].sa = sa_pair(suite("aes256gcm16"), spi, esp::Limits::default()).0;
            }
            next.set_tunnel(row);
            publisher.publish(Arc::new(next.build()));
            if round % 64 == 0 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let distinct: HashSet<_> = sent.iter().collect();
    assert_eq!(distinct.len(), sent.len());
    drop(std::mem::take(&mut publisher));
}

#[test]
fn publishing_makes_no_sa_and_frees_retired_ones_with_the_publisher() {
    let worker = Worker::gcm(ALL);
    let sa = Arc::downgrade(&worker.table.tunnel(TUNNEL).unwrap().outbound[0].sa);
    let mut publisher = Publisher::new(worker.table.clone());
    drop(worker);
    let mut reader = publisher.reader();
    let mut next = reader.current().edit();
    next.remove_tunnel(TUNNEL).remove_inbound(SPI);
    publisher.publish(Arc::new(next.build()));
    assert_eq!(sa.strong_count(), 1, "one SA however many tables");
    reader.current();
    assert!(sa.upgrade().is_some(), "the worker did not free it");
    publisher.collect();
    assert!(sa.upgrade().is_none());
}

#[test]
fn a_table_of_ten_thousand_rows_finds_each() {
    const ROWS: u32 = 10_000;
    // SPIs as they are given out: of one remainder for all tunnels of a worker, else at random.
    let spi = |id: u32| 256 + id.wrapping_mul(0x9e37_79b1) % 0x3fff_ff00 * 4;
    let worker = Worker::gcm(ALL);
    let row = worker.table.tunnel(TUNNEL).unwrap().clone();
    let inbound = worker.table.inbound(SPI).unwrap().clone();
    let mut next = Table::new().edit();
    for id in 0..ROWS {
        next.set_tunnel(TunnelRow { id: TunnelId(id), mtu: id as u16, ..row.clone() });
        let (_, sa) = sa_pair(suite("aes256gcm16"), spi(id), esp::Limits::default());
        next.set_inbound(InboundRow { tunnel: TunnelId(id), sa, ..inbound.clone() });
    }
    let table = next.build();
    assert_eq!(table.sizes(), (ROWS as usize, ROWS as usize));
    for id in 0..ROWS {
        assert!(table.tunnel(TunnelId(id)).is_some_and(|row| row.mtu == id as u16), "{id}");
        let found = table.inbound(spi(id)).unwrap();
        assert_eq!((found.tunnel, found.sa.spi()), (TunnelId(id), spi(id)));
        assert!(table.inbound(spi(id) + 1).is_none() && table.inbound(spi(id + ROWS)).is_none());
    }
    assert!(table.tunnel(TunnelId(ROWS)).is_none());
}

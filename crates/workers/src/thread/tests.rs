//! One worker, each of its turns taken by hand. As root.

use std::net::{Ipv4Addr, UdpSocket};

use kernel::netlink::Netlink;
use kernel::netns::Namespace;
use kernel::tun::{Steering, TunOptions};
use tunnel::publish::Publisher;

use super::*;
use crate::counters::Loss;
use crate::joined::Refusals;
use crate::queue::{Heard, Queue};
use crate::tests::stand::{DEVICE, Ends, TUNNEL, device_as, now, table, wire};

const OWN: Ends = Ends { outer: [192, 0, 2, 1], inner: [10, 0, 0, 1], spi: 0x1000 };
const PEER: Ends = Ends { outer: [192, 0, 2, 2], inner: [10, 0, 0, 2], spi: 0x2000 };
/// The queue of data, and that of control packets.
const DATA: usize = 0;
const CONTROL: usize = 1;
const CS6: u32 = 0xc0;

/// Does something with the only worker of a crew, in its namespace. It has a device with a queue for control packets, which it was
/// told of and has not taken up.
fn with_worker(test: impl FnOnce(&mut Worker, &Namespace) + Send) {
    let (left, _right) = wire(OWN, PEER);
    left.run(|| {
        let mut publisher = Publisher::default();
        let one = std::num::NonZeroU32::MIN;
        let mut shares = crate::open(one, &[Ipv4Addr::UNSPECIFIED.into()], None, &mut Vec::new()).unwrap();
        let crew = Arc::new(Crew {
            bells: vec![Bell::new().unwrap()],
            loads: vec![Load::default()],
            refused: Arc::default(),
        });
        let (commands, inbox) = std::sync::mpsc::sync_channel(8);
        let (up, _uplink) = tokio::sync::mpsc::channel(crate::REPORTS);
        let (reader, counters) = (publisher.reader(), Arc::<Counters>::default());
        publisher.publish(Arc::new(table(OWN, PEER, true)));
        let mut worker =
            Worker::new(0, crew, shares.remove(0), reader, now(), inbox, up, Arc::clone(&counters)).unwrap();
        let control = Some(Arc::new(Steering::load().unwrap()));
        let options = TunOptions { control, ..TunOptions::new(DEVICE) };
        let tun = device_as(&mut Netlink::open().unwrap(), OWN, PEER, &options).unwrap();
        let offloads = tun.offloads();
        let (queues, control) = tun.into_all_queues();
        let data = queues.into_iter().map(|tun| Arc::new(Queue::new(tun, false, 0)));
        let queues = data.chain(control.map(|tun| Arc::new(Queue::new(tun, true, 0)))).collect();
        let refusals = Refusals::new(Arc::default());
        let shared = Arc::new(Shared { queues, offloads, refusals });
        commands.send(Command::Attach { tunnel: TUNNEL, shared }).unwrap();
        test(&mut worker, &left);
        assert_eq!(counters.get(Loss::NoSocket), 0);
    })
    .unwrap();
}

/// Has the host send so many datagrams of 100 octets into the tunnel.
fn send(tos: u32, count: usize) {
    let socket = UdpSocket::bind((Ipv4Addr::from(OWN.inner), 0)).unwrap();
    socket2::SockRef::from(&socket).set_tos_v4(tos).unwrap();
    (0..count)
        .for_each(|_| assert_eq!(socket.send_to(&[7; 100], (Ipv4Addr::from(PEER.inner), 9)).unwrap(), 100));
}

/// Frames of [`send`] read from each queue.
fn read(worker: &Worker) -> [u64; 2] {
    const FRAME: u64 = 10 + 20 + 8 + 100;
    [DATA, CONTROL].map(|place| worker.devices[&TUNNEL].seats[place].queue.octets() / FRAME)
}

fn heard(worker: &Worker) -> [Heard; 2] {
    [DATA, CONTROL].map(|place| worker.devices[&TUNNEL].seats[place].heard)
}

/// What epoll says of this queue of the tunnel.
fn ready(place: usize) -> Ready {
    Ready { token: token(TUNNEL, place), readable: true, writable: false, error: false }
}

#[test]
fn a_control_packet_that_comes_while_batches_are_read_waits_for_few_of_them() {
    with_worker(|worker, _| {
        assert!(worker.obey());
        send(0, 4000);
        send(CS6, 3);
        // As if it had come after the wait, which told of others alone: more steps than go between two looks.
        assert!(worker.turn(&[(); 8].map(|()| ready(DATA))));
        let [data, control] = read(worker);
        assert_eq!(control, 3);
        assert!((1000..4000).contains(&data), "and the others had their turn: {data}");
    });
}

#[test]
fn where_the_wait_tells_of_control_packets_they_are_read_before_others() {
    with_worker(|worker, _| {
        assert!(worker.obey());
        send(0, 1);
        send(CS6, 100);
        let mut told = Vec::with_capacity(READY);
        worker.epoll.wait(&mut told, Some(Duration::ZERO)).unwrap();
        assert!(told.iter().any(|one| one.token == URGENT), "{told:?}");
        worker.serve_urgent(Tick(0));
        assert_eq!(read(worker), [0, 32], "so many at a time");
        assert!(worker.turn(&told));
        assert_eq!(read(worker), [1, 64], "once more, and then the others");
    });
}

#[test]
fn queues_that_epoll_refuses_are_read_all_the_same_until_it_takes_them() {
    with_worker(|worker, _| {
        // What is in a set already, it refuses.
        let Command::Attach { tunnel, shared } = worker.inbox.recv().unwrap() else { panic!() };
        let queues = shared.queues.clone();
        worker.attach(tunnel, Device::new(shared));
        worker.epoll.add(&queues[DATA].tun, BELL, Interest::READ).unwrap();
        worker.urgent.epoll.add(&queues[CONTROL].tun, BELL, Interest::READ).unwrap();
        worker.take_up();
        assert_eq!((heard(worker), worker.refused_any), ([Heard::Refused; 2], true));
        send(0, 5);
        send(CS6, 3);
        assert!(worker.turn(&[]));
        assert_eq!((read(worker), worker.refused_any), ([5, 3], true));
        assert_eq!(worker.patience(), Some(AGAIN), "as both are dry");
        send(0, 4000);
        assert!(worker.turn(&[]));
        assert!(read(worker)[DATA] < 4000);
        assert_eq!(worker.patience(), Some(Duration::ZERO), "as there is more");
        (0..50).for_each(|_| assert!(worker.turn(&[])));
        assert_eq!((read(worker), worker.patience()), ([4005, 3], Some(AGAIN)));
        worker.epoll.remove(&queues[DATA].tun).unwrap();
        worker.urgent.epoll.remove(&queues[CONTROL].tun).unwrap();
        assert!(worker.turn(&[]));
        assert_eq!((heard(worker), worker.refused_any), ([Heard::Waited; 2], false));
        worker.detach(TUNNEL);
        assert!(worker.epoll.add(&queues[DATA].tun, BELL, Interest::READ).is_ok(), "and leaves it");
    });
}

#[test]
fn what_a_queue_for_control_packets_brings_counts_with_the_first_when_the_reading_is_given_away() {
    with_worker(|worker, _| {
        assert!(worker.obey());
        send(0, 10);
        send(CS6, 30);
        assert!(worker.turn(&[ready(DATA), Ready { token: URGENT, ..ready(DATA) }]));
        assert_eq!(read(worker), [10, 30]);
        let both: u64 = worker.devices[&TUNNEL].seats.iter().map(|seat| seat.queue.octets()).sum();
        worker.take_readings(1);
        let [reading] = &worker.readings[..] else { panic!("{:?}", worker.readings) };
        assert_eq!((reading.queue, reading.octets), ((TUNNEL, 0), both));
    });
}

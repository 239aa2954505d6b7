//! INFORMATIONAL and what keeps a connection honest: liveness, deletion, pushed configuration, unknown payloads.

use std::time::Duration;

use ike_wire::{
    ConfigAttribute, ConfigAttributeType, ConfigType, Configuration, Delete, ExchangeType, Notify,
    NotifyType, Payload, PayloadType, ProtocolId, UnknownPayload,
};

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);

/// Sends a request of our own making from A, and gives what B answered.
fn ask(world: &mut World, exchange: ExchangeType, payloads: &[Payload]) -> Vec<Payload> {
    let now = world.now;
    let from = world.log.len();
    world.hosts[A].engine.inject(CONN, exchange, payloads, now);
    world.drain(A);
    world.run_for(MOMENT);
    let (_, _, bytes) = world.log[from..].iter().find(|(to, ..)| *to == A).expect("no answer").clone();
    world.hosts[A].engine.look(&bytes)
}

fn notify_of(payloads: &[Payload]) -> &Notify {
    match payloads {
        [Payload::Notify(notify)] => notify,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_that_falls_silent_is_found_out_and_taken_down() {
    let mut world = World::pair_with(1, |_, connection| {
        connection.dpd = Dpd { delay: Duration::from_secs(30), timeout: Duration::from_secs(60) };
    })
    .established();
    world.tap = Some(Box::new(|_, _| false));
    world.run_for(Duration::from_secs(80));
    assert!(world.hosts.iter().all(Host::up));
    world.run_for(Duration::from_secs(20));
    for host in &world.hosts {
        assert_eq!(host.ike_reasons(), [DownReason::PeerSilent]);
        assert_eq!(host.child_reasons(), [DownReason::PeerSilent]);
        assert_eq!(host.engine.held(), 0);
    }
}

#[test]
fn traffic_that_comes_in_counts_as_life() {
    let mut world = World::pair(2).established();
    let sent = |world: &World| world.hosts[A].sent.len();
    let before = sent(&world);
    world.hosts[B].engine.upsert_connection(CONN, connection(B), world.now);
    for _ in 0..20 {
        world.run_for(Duration::from_secs(20));
        for host in [A, B] {
            let spi_in = world.hosts[host].child().spi_in;
            world.report(host, Report::Inbound { spi_in });
        }
    }
    assert_eq!(sent(&world), before, "no question while packets come");
    world.run_for(Duration::from_secs(35));
    assert!(sent(&world) > before);
}

#[test]
fn a_terminated_connection_goes_on_both_sides_and_can_come_back() {
    for side in [A, B] {
        let mut world = World::pair(3).established();
        world.command(side, Command::Terminate { conn: CONN });
        assert!(!world.hosts[side].up(), "told at once");
        world.run_for(MOMENT);
        assert_eq!(world.hosts[side].ike_reasons(), [DownReason::Commanded]);
        assert_eq!(world.hosts[1 - side].ike_reasons(), [DownReason::PeerDeleted]);
        world.dial(1 - side);
        world.run_for(MOMENT);
        world.assert_one_child();
    }
}

#[test]
fn a_lost_answer_is_repeated_byte_for_byte() {
    let mut world = World::pair(4).established();
    let mut lost = 0;
    world.tap = Some(Box::new(move |to, _| {
        lost += u32::from(to == A);
        to != A || lost > 2
    }));
    world.command(A, Command::RekeyChild { conn: CONN });
    let from = world.log.len();
    world.run_for(MOMENT);
    world.assert_one_child();
    let answers: Vec<_> =
        world.log[from..].iter().filter(|(to, ..)| *to == A).map(|(.., bytes)| bytes).collect();
    assert!(answers.len() >= 3);
    assert!(answers[0] == answers[1] && answers[1] == answers[2]);
    assert!(world.hosts[B].engine.counters().get(Counter::Repeated) >= 2);
    assert_eq!(world.hosts[B].count(|event| matches!(event, Event::ChildUp(_))), 2);
}

#[test]
fn pushed_configuration_is_acknowledged_with_empty_attributes() {
    let mut world = World::pair(5).established();
    let attribute = |kind, value: &[u8]| ConfigAttribute { kind, value: value.to_vec() };
    let push = Configuration {
        kind: ConfigType::CFG_SET,
        attributes: vec![
            attribute(ConfigAttributeType::INTERNAL_IP4_SUBNET, &[10, 0, 0, 0, 255, 0, 0, 0]),
            attribute(ConfigAttributeType::UNITY_PFS, &[0, 1]),
        ],
    };
    let answer = ask(&mut world, ExchangeType::INFORMATIONAL, &[Payload::Configuration(push)]);
    let [Payload::Configuration(ack)] = &answer[..] else { panic!("{answer:?}") };
    assert_eq!(ack.kind, ConfigType::CFG_ACK);
    assert_eq!(ack.attributes.len(), 2);
    assert!(ack.attributes.iter().all(|one| one.value.is_empty()));
    world.assert_one_child();
}

#[test]
fn an_unknown_payload_is_passed_over_and_a_critical_one_refused_by_its_number() {
    let mut world = World::pair(6).established();
    let unknown =
        |critical| Payload::Unknown(UnknownPayload { kind: PayloadType(200), critical, data: vec![1, 2, 3] });
    assert!(ask(&mut world, ExchangeType::INFORMATIONAL, &[unknown(false)]).is_empty());
    let answer = ask(&mut world, ExchangeType::INFORMATIONAL, &[unknown(true)]);
    let notify = notify_of(&answer);
    assert_eq!((notify.kind, &notify.data[..]), (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[200][..]));
    world.assert_one_child();
    world.command(B, Command::RekeyChild { conn: CONN });
    world.run_for(MOMENT);
    world.assert_one_child();
}

#[test]
fn unknown_notifies_vendor_ids_and_exchanges_get_an_answer_and_change_nothing() {
    let mut world = World::pair(7).established();
    let odd = [
        Payload::Notify(Notify::new(NotifyType(40_500), vec![1])),
        Payload::Notify(Notify::new(NotifyType(12_345), vec![0, 0, 0, 87])),
        Payload::VendorId(b"CISCO-DELETE-REASON".to_vec()),
    ];
    assert!(ask(&mut world, ExchangeType::INFORMATIONAL, &odd).is_empty());
    let answer = ask(&mut world, ExchangeType(250), &[]);
    assert_eq!(notify_of(&answer).kind, NotifyType::INVALID_SYNTAX);
    world.assert_one_child();
}

#[test]
fn deleting_or_rekeying_a_child_that_is_not_there_is_answered_in_kind() {
    let mut world = World::pair(8).established();
    let delete = Payload::Delete(Delete::esp(vec![0xdead_beef]));
    assert!(ask(&mut world, ExchangeType::INFORMATIONAL, &[delete]).is_empty());
    let rekey = Payload::Notify(Notify::about(ProtocolId::ESP, 0xdead_beef, NotifyType::REKEY_SA));
    let answer = ask(&mut world, ExchangeType::CREATE_CHILD_SA, &[rekey]);
    let notify = notify_of(&answer);
    assert_eq!((notify.kind, notify.child_spi()), (NotifyType::CHILD_SA_NOT_FOUND, Some(0xdead_beef)));
    let answer = ask(&mut world, ExchangeType::CREATE_CHILD_SA, &[]);
    assert_eq!(notify_of(&answer).kind, NotifyType::INVALID_SYNTAX);
    world.assert_one_child();
}

#[test]
fn a_child_the_peer_lost_is_made_anew() {
    let mut world = World::pair(9).established();
    // B forgets it: a Delete that A never learns of.
    let child = world.hosts[B].child().child;
    world.tap = Some(Box::new(|to, _| to != A));
    world.command(B, Command::TerminateChild { child });
    world.run_for(Duration::from_millis(500));
    world.tap = None;
    world.command(A, Command::RekeyChild { conn: CONN });
    world.run_for(Duration::from_secs(60));
    world.dial(A);
    world.run_for(MOMENT);
    world.assert_one_child();
}

#[test]
fn a_new_child_the_peer_makes_from_scratch_outdates_the_old_one() {
    let mut world = World::pair(12).established();
    let old = world.hosts[B].child().spi_in;
    let offer = negotiate::offer_esp(&connection(A).esp_proposals, 0x1234_5678, true);
    let ts = selectors::ts_to_wire(&connection(A).local_ts);
    let request = [
        Payload::SecurityAssociation(offer),
        Payload::Nonce(vec![7; 32]),
        Payload::TsInitiator(ts.clone()),
        Payload::TsResponder(ts),
    ];
    let answer = ask(&mut world, ExchangeType::CREATE_CHILD_SA, &request);
    assert!(matches!(answer.first(), Some(Payload::SecurityAssociation(_))), "{answer:?}");
    assert_eq!(world.hosts[B].children.len(), 2);
    world.run_for(Duration::from_secs(220));
    assert_eq!(world.hosts[B].child().spi_out, 0x1234_5678);
    assert_ne!(world.hosts[B].child().spi_in, old);
}

#[test]
fn an_authentication_failure_told_later_ends_the_ike_sa() {
    let mut world = World::pair(10).established();
    let failed = Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new()));
    let now = world.now;
    world.hosts[A].engine.inject(CONN, ExchangeType::INFORMATIONAL, &[failed], now);
    world.drain(A);
    world.run_for(MOMENT);
    assert_eq!(world.hosts[B].ike_reasons(), [DownReason::PeerLost]);
}

#[test]
fn views_show_what_is_up() {
    let world = World::pair(11).established();
    let ike = &world.hosts[A].engine.ike_status(CONN)[0];
    assert_eq!(ike.state, IkeState::Established);
    assert_eq!(ike.suite.unwrap().to_string(), "aes128-sha256-curve25519");
    assert_eq!(ike.local_id.as_ref().unwrap().to_string(), "192.0.2.1");
    assert!(ike.rekey_at < ike.expires_at && ike.fragmentation);
    assert_eq!(ike.message_ids, (2, 0));
    let child = &world.hosts[A].engine.child_status(CONN)[0];
    assert_eq!(child.state, ChildState::Installed);
    assert_eq!(child.spi_in, world.hosts[A].child().spi_in);
}

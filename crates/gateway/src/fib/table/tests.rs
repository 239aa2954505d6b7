use super::*;
use inet::Prefix;

fn key(prefix: &str) -> Key {
    Key { table: 254, prefix: prefix.parse().unwrap() }
}

fn place(prefix: &str, metric: u32) -> Place {
    Place { key: key(prefix), metric }
}

fn device(ifindex: u32) -> Wish {
    Wish::new(Hop::Device { ifindex, gateway: None, source: None }, "azure".into())
}

fn unreachable() -> Wish {
    Wish::new(Hop::Unreachable, "azure".into())
}

/// A kernel that does what it is told, and holds what it holds.
fn settle(fib: &mut Fib, now: Instant) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        let batch = fib.reconcile(now);
        if batch.is_empty() {
            return all;
        }
        fib.applied(&vec![Applied::Done; batch.len()], now);
        all.extend(batch);
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some point in time")]
    Instant::now()
}

#[test]
fn a_dead_tunnels_prefix_is_replaced_in_one_step_and_comes_back_in_one() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("172.16.0.0/22"), Origin::Bgp, device(7));
    settle(&mut fib, now);
    fib.want(key("172.16.0.0/22"), Origin::Unreachable, unreachable());
    assert!(settle(&mut fib, now).is_empty(), "the learned route still has the key");
    fib.forget(key("172.16.0.0/22"), Origin::Bgp);
    let changes = settle(&mut fib, now);
    assert!(matches!(changes[..], [Change { op: Op::Replace { new: Hop::Unreachable, .. }, .. }]));
}

#[test]
fn a_route_the_kernel_dropped_is_put_back() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Static, device(7));
    settle(&mut fib, now);
    fib.observed(&[]);
    assert!(matches!(settle(&mut fib, now)[..], [Change { op: Op::Add(_), .. }]));
}

#[test]
fn a_stale_route_of_an_earlier_run_is_removed_when_nobody_wants_it() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.observed(&[(place("10.0.0.0/8", 20), Hop::Unreachable)]);
    assert!(matches!(settle(&mut fib, now)[..], [Change { op: Op::Delete(Hop::Unreachable), .. }]));
}

#[test]
fn a_foreign_route_is_left_alone_and_tried_again_later() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
    assert_eq!(fib.reconcile(now).len(), 1);
    fib.applied(&[Applied::Foreign], now);
    assert!(fib.reconcile(now).is_empty());
    assert_eq!(fib.rows().next().unwrap().state, "failed");
    assert_eq!(fib.next_retry(), Some(now + RETRY));
    assert_eq!(fib.reconcile(now + RETRY).len(), 1);
}

#[test]
fn a_wish_changed_while_a_batch_flies_is_not_lost() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
    let batch = fib.reconcile(now);
    fib.forget(key("10.0.0.0/8"), Origin::Bgp);
    assert!(fib.reconcile(now).is_empty(), "one batch at a time");
    fib.applied(&vec![Applied::Done; batch.len()], now);
    assert!(matches!(settle(&mut fib, now)[..], [Change { op: Op::Delete(_), .. }]));
}

#[test]
fn a_batch_is_bounded_and_the_rest_follows() {
    let (mut fib, now) = (Fib::new(20), now());
    for i in 0..1500_u32 {
        let prefix = Prefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + (i << 8)).into(), 24).unwrap();
        fib.want(Key { table: 254, prefix }, Origin::Bgp, device(7));
    }
    assert_eq!(fib.reconcile(now).len(), BATCH);
    fib.applied(&vec![Applied::Done; BATCH], now);
    assert_eq!(settle(&mut fib, now).len(), 1500 - BATCH);
}

#[test]
fn a_route_of_an_earlier_run_with_another_metric_is_swept_by_that_metric() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.observed(&[(place("10.0.0.0/8", 30), Hop::Unreachable)]);
    let changes = settle(&mut fib, now);
    assert!(matches!(changes[..], [Change { metric: 30, op: Op::Delete(_), .. }]), "{changes:?}");
    assert!(settle(&mut fib, now).is_empty(), "once");
}

#[test]
fn another_metric_puts_all_routes_there_before_the_old_ones_go() {
    let (mut fib, now) = (Fib::new(20), now());
    for prefix in ["10.0.0.0/8", "10.1.0.0/16"] {
        fib.want(key(prefix), Origin::Bgp, device(7));
    }
    settle(&mut fib, now);
    assert!(!fib.has_moved());
    fib.set_metric(30);
    assert!(!fib.has_moved(), "nothing is there yet");
    let batch = fib.reconcile(now);
    assert!(batch.iter().all(|change| change.metric == 30 && matches!(change.op, Op::Add(_))), "{batch:?}");
    assert!(!fib.has_moved(), "nothing is confirmed yet");
    fib.applied(&vec![Applied::Done; batch.len()], now);
    assert!(fib.reconcile(now).is_empty() && fib.has_moved() && !fib.is_settled());
    fib.end_move();
    let batch = fib.reconcile(now);
    assert_eq!(batch.len(), 2);
    assert!(batch.iter().all(|change| change.metric == 20 && matches!(change.op, Op::Delete(_))));
    fib.applied(&[Applied::Done, Applied::Done], now);
    assert!(settle(&mut fib, now).is_empty());
    assert!(fib.is_settled() && fib.is_installed(&key("10.0.0.0/8")));
}

#[test]
fn a_metric_changed_while_a_batch_flies_loses_no_route() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
    let batch = fib.reconcile(now);
    fib.set_metric(30);
    fib.applied(&vec![Applied::Done; batch.len()], now);
    let added = settle(&mut fib, now);
    assert!(matches!(added[..], [Change { metric: 30, op: Op::Add(_), .. }]), "{added:?}");
    assert!(fib.has_moved());
    fib.end_move();
    assert!(matches!(settle(&mut fib, now)[..], [Change { metric: 20, op: Op::Delete(_), .. }]));
    // And back again, twice in a row.
    fib.set_metric(20);
    fib.set_metric(30);
    settle(&mut fib, now);
    fib.end_move();
    settle(&mut fib, now);
    assert!(fib.is_settled() && fib.is_installed(&key("10.0.0.0/8")));
}

#[test]
fn another_table_keeps_the_old_place_until_told_and_does_not_wait_for_one_that_is_refused() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
    fib.want(key("10.1.0.0/16"), Origin::Unreachable, unreachable());
    fib.want(key("10.2.0.0/16"), Origin::Static, device(7));
    settle(&mut fib, now);
    fib.transfer(&[Origin::Bgp, Origin::Unreachable], 254, 100);
    let batch = fib.reconcile(now);
    assert!(batch.iter().all(|change| change.key.table == 100), "{batch:?}");
    assert_eq!(batch.len(), 2);
    fib.applied(&[Applied::Done, Applied::Foreign], now);
    assert!(fib.reconcile(now).is_empty() && fib.has_moved());
    fib.end_move();
    let batch = fib.reconcile(now);
    assert!(batch.iter().all(|change| change.key.table == 254 && matches!(change.op, Op::Delete(_))));
    assert_eq!(batch.len(), 2, "the static one stays: {batch:?}");
}

fn closed(ifindex: u32) -> Wish {
    Wish { closed: true, ..device(ifindex) }
}

#[test]
fn what_the_kernel_does_not_take_is_refused_meanwhile_and_comes_when_it_does() {
    let (mut fib, now) = (Fib::new(20), now());
    let key = key("10.0.0.0/8");
    fib.want(key, Origin::Bgp, closed(7));
    assert_eq!(fib.reconcile(now).len(), 1);
    fib.applied(&[Applied::Failed("Invalid argument".into())], now);
    let changes = settle(&mut fib, now);
    assert!(matches!(changes[..], [Change { op: Op::Add(Hop::Unreachable), .. }]), "{changes:?}");
    let row = fib.rows().next().unwrap();
    assert_eq!((row.state, row.why), ("failed", Some("Invalid argument")));
    assert!(!fib.is_installed(&key));
    assert_eq!(fib.next_retry(), Some(now + RETRY));
    // Refused once more, the stand-in stays; in the end it is replaced in one step.
    let later = now + RETRY;
    assert!(matches!(
        fib.reconcile(later)[..],
        [Change { op: Op::Replace { old: Hop::Unreachable, .. }, .. }]
    ));
    fib.applied(&[Applied::Failed("Invalid argument".into())], later);
    assert!(fib.reconcile(later).is_empty());
    fib.retry_at_once(later);
    let changes = settle(&mut fib, later);
    assert!(
        matches!(changes[..], [Change { op: Op::Replace { old: Hop::Unreachable, .. }, .. }]),
        "{changes:?}"
    );
    assert!(fib.is_installed(&key));
    assert_eq!(fib.next_retry(), None);
}

#[test]
fn a_stand_in_that_is_refused_too_is_not_asked_for_again_and_again() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Bgp, closed(7));
    for _ in 0..2 {
        assert_eq!(fib.reconcile(now).len(), 1);
        fib.applied(&[Applied::Failed("no".into())], now);
    }
    assert!(fib.reconcile(now).is_empty());
    assert!(matches!(fib.reconcile(now + RETRY)[..], [Change { op: Op::Add(Hop::Device { .. }), .. }]));
}

#[test]
fn nothing_stands_in_for_a_wish_that_fails_open_nor_beside_another_s_route() {
    for (wish, outcome) in [(device(7), Applied::Failed("no".into())), (closed(7), Applied::Foreign)] {
        let (mut fib, now) = (Fib::new(20), now());
        fib.want(key("10.0.0.0/8"), Origin::Bgp, wish);
        assert_eq!(fib.reconcile(now).len(), 1);
        fib.applied(&[outcome], now);
        assert!(fib.reconcile(now).is_empty());
    }
}

#[test]
fn a_route_that_could_not_be_removed_is_not_forgotten() {
    let (mut fib, now) = (Fib::new(20), now());
    fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
    settle(&mut fib, now);
    fib.forget(key("10.0.0.0/8"), Origin::Bgp);
    assert_eq!(fib.reconcile(now).len(), 1);
    fib.applied(&[Applied::Failed("busy".into())], now);
    assert!(fib.reconcile(now).is_empty());
    assert!(!fib.is_settled(), "it is still there");
    let changes = settle(&mut fib, now + RETRY_REMOVAL);
    assert!(matches!(changes[..], [Change { op: Op::Delete(_), .. }]), "{changes:?}");
    assert!(fib.is_settled());
    assert!(fib.kernel.is_empty(), "nothing is kept of what is gone");
}

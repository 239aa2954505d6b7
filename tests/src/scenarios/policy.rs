//! Policies, and the reasons that are shown.

use crate::sim::{Weather, over_seeds};

use super::pair::{A, B, OUTER_A, OUTER_B, established, file_a, file_b, link_a, link_b, seconds, sites, up};

#[test]
fn a_neighbour_without_a_policy_exchanges_nothing_and_says_why() {
    over_seeds(|seed| {
        let mut a = link_a();
        (a.import, a.export) = ("", "");
        let mut world = established(seed, Weather::BREEZE, a, link_b());
        world.run_for(seconds(10));
        assert_eq!(world.sites[A].kernel.our_hop("10.2.0.0/24"), None);
        assert_eq!(world.sites[B].kernel.our_hop("10.1.0.0/24"), None);
        let why = world.tunnel(A, "t").why.expect("a reason though it is up");
        assert_eq!(why.code, "policy-denies-all", "{why:?}");
        // The same file with policies is absorbed: routes come without a new session.
        world.sites[A].file = file_a(link_a()).text();
        world.command(A, control::Request::Reload);
        world.run_until("routes come", seconds(10), |world| {
            world.sites[A].kernel.our_hop("10.2.0.0/24").is_some()
                && world.sites[B].kernel.our_hop("10.1.0.0/24").is_some()
        });
        assert!(world.tunnel(A, "t").bgp[0].since >= 10, "the session went on");
    });
}

#[test]
fn a_prefix_list_lets_through_what_it_permits() {
    over_seeds(|seed| {
        let (mut a, mut b) = (file_a(link_a()), file_b(link_b()));
        a.links[0].import = "\"in\"";
        a.lists =
            "[prefix_list]\nin = [{ seq = 10, action = \"permit\", prefix = \"10.8.0.0/16\", le = 24 }]\n"
                .to_owned();
        b.networks.extend(["10.8.0.0/16", "10.8.4.0/24", "10.8.4.0/25"].map(str::to_owned));
        let mut world = sites(seed, Weather::BREEZE, &a, &b);
        world.start(B);
        world.start(A);
        up(&mut world, seconds(60));
        world.run_for(seconds(5));
        let kernel = &world.sites[A].kernel;
        assert!(kernel.our_hop("10.8.0.0/16").is_some() && kernel.our_hop("10.8.4.0/24").is_some());
        assert!(kernel.our_hop("10.8.4.0/25").is_none() && kernel.our_hop("10.2.0.0/24").is_none());
    });
}

#[test]
fn a_wrong_secret_is_named_at_both_ends_and_put_right_by_a_reload() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.psk = "wrong".to_owned();
        let mut world = sites(seed, Weather::BREEZE, &file_a(a), &file_b(link_b()));
        world.start(B);
        world.start(A);
        world.run_for(seconds(20));
        let why = world.tunnel(A, "t").why.unwrap();
        assert_eq!(why.code, "authentication-failed", "{why:?}");
        assert!(!world.is_up(B, "t"));
        world.sites[A].file = file_a(link_a()).text();
        world.command(A, control::Request::Reload);
        up(&mut world, seconds(20));
    });
}

#[test]
fn a_peer_that_is_not_there_is_dialled_for_ever_with_growing_pauses() {
    over_seeds(|seed| {
        let mut world = sites(seed, Weather::BREEZE, &file_a(link_a()), &file_b(link_b()));
        world.start(A);
        world.run_for(seconds(600));
        let why = world.tunnel(A, "t").why.unwrap();
        assert_eq!(why.code, "peer-silent", "{why:?}");
        world.start(B);
        up(&mut world, seconds(125));
        assert_ne!(OUTER_A, OUTER_B);
    });
}

//! The reference page and the code name the same keys.

use crate::profile::Profile;
use crate::raw::SECTIONS;

const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// The part of the page under the heading of a section.
fn part(section: &str) -> &'static str {
    let heading = format!("## `[{section}]`");
    let (_, rest) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("the page has no {heading}"));
    rest.split("\n## ").next().unwrap()
}

#[test]
fn every_key_has_a_row_under_its_section() {
    for (section, keys) in SECTIONS {
        let part = part(section);
        for key in *keys {
            assert!(part.contains(&format!("| `{key}` |")), "[{section}] has no row for `{key}`");
        }
    }
}

#[test]
fn every_row_is_a_key() {
    for (section, keys) in SECTIONS {
        for row in part(section).lines().filter_map(|line| line.strip_prefix("| `")) {
            let key = row.split('`').next().unwrap();
            assert!(keys.contains(&key), "[{section}] has a row for `{key}`, which is no key");
        }
    }
}

#[test]
fn every_profile_is_on_the_page_with_its_reasons() {
    for profile in Profile::ALL {
        let defaults = profile.defaults();
        assert!(PAGE.contains(&format!("### `{profile}`")), "{profile}");
        for why in [
            defaults.ike_proposals.why,
            defaults.ike_lifetime.why,
            defaults.dpd_delay.why,
            defaults.dpd_timeout.why,
            defaults.esp_proposals.why,
            defaults.esp_lifetime.why,
            defaults.esp_rekey.why,
            defaults.df.why,
            defaults.accept_rekey_without_pfs.why,
            defaults.mss.why,
            defaults.multihop.why,
            defaults.hold_time.why,
            defaults.keepalive.why,
            defaults.max_prefix.why,
            defaults.max_prefix_out.why,
        ] {
            assert!(PAGE.contains(why), "{profile}: {why}");
        }
    }
}

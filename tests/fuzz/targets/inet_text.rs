//! Prefixes and traffic selectors as people type them.
#![no_main]

use inet::{Prefix, Selector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(prefix) = text.parse::<Prefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
        assert!(prefix.contains(prefix.addr()) && prefix.contains(prefix.last()));
    }
    if let Ok(prefix) = Prefix::parse_strict(text) {
        assert_eq!(text.parse(), Ok(prefix));
    }
    if let Ok(selector) = text.parse::<Selector>() {
        assert!(selector.covers(&selector));
        assert_eq!(selector.intersect(&selector), Some(selector));
        assert_eq!(selector.to_string().parse(), Ok(selector));
    }
});

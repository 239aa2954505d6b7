//! Which of the kernel's announcements are news: what others did, or undid of ours.

use std::collections::BTreeSet;

use gateway::{Change, Op, PROTOCOL};
use inet::Prefix;
use kernel::netlink::{Event, Route};

/// What is expected to be announced, because we did it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    removed: BTreeSet<(u32, Prefix)>,
}

impl Watch {
    /// These changes are ours: their routes go.
    pub(super) fn expect(&mut self, changes: &[Change]) {
        self.removed = changes
            .iter()
            .filter(|change| match change.op {
                Op::Delete(_) | Op::Replace { .. } => true,
                Op::Add(_) => false,
            })
            .map(|change| (change.key.table, change.key.prefix))
            .collect();
    }

    /// All of ours was announced.
    pub(super) fn expect_nothing(&mut self) {
        self.removed.clear();
    }

    /// Must the kernel be read again for this?
    pub(super) fn is_news(&mut self, event: &Event) -> bool {
        match event {
            // Nobody else makes routes with our number.
            Event::RouteAdded(route) => route.protocol != PROTOCOL && concerns_us(route),
            Event::RouteRemoved(route) if route.protocol == PROTOCOL => {
                !self.removed.remove(&(route.table, route.prefix))
            }
            Event::RouteRemoved(route) => concerns_us(route),
            Event::LinkChanged(_)
            | Event::LinkRemoved(_)
            | Event::AddressAdded(_)
            | Event::AddressRemoved(_)
            | Event::Resync => true,
            // Another's rules change how its own packets go; ours are put back without reading.
            Event::RuleAdded(_) | Event::RuleRemoved(_) => false,
        }
    }
}

/// Did a policy rule of ours go? Some programs remove every rule they do not know.
pub(super) fn takes_rule(event: &Event) -> bool {
    matches!(event, Event::RuleRemoved(rule) if rule.protocol == PROTOCOL)
}

/// May routes of ours be gone with it? The kernel says nothing of those it drops with an address, and until they stand
/// again packets leave in clear.
pub(super) fn takes_routes(event: &Event) -> bool {
    match event {
        Event::LinkChanged(link) => !link.up,
        Event::RouteRemoved(route) => route.protocol == PROTOCOL,
        Event::LinkRemoved(_) | Event::AddressRemoved(_) => true,
        Event::RouteAdded(_)
        | Event::AddressAdded(_)
        | Event::RuleAdded(_)
        | Event::RuleRemoved(_)
        | Event::Resync => false,
    }
}

/// The kernel's own routes for local and broadcast addresses come with the addresses, which are announced.
fn concerns_us(route: &Route) -> bool {
    route.table != kernel::netlink::TABLE_LOCAL
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway::{Hop, Key};
    use kernel::netlink::Target;

    fn route(prefix: &str, protocol: u8) -> Route {
        Route::new(prefix.parse().unwrap(), protocol, Target::Unreachable)
    }

    #[test]
    fn our_own_doing_is_no_news_and_its_undoing_by_others_is() {
        let mut watch = Watch::default();
        let ours = || route("10.0.0.0/8", PROTOCOL);
        let key = Key { table: ours().table, prefix: ours().prefix };
        watch.expect(&[Change { key, metric: 20, op: Op::Delete(Hop::Unreachable) }]);
        assert!(!watch.is_news(&Event::RouteAdded(ours())));
        assert!(!watch.is_news(&Event::RouteRemoved(ours())), "we took it away");
        assert!(watch.is_news(&Event::RouteRemoved(ours())), "twice we did not");
        watch.expect_nothing();
        assert!(watch.is_news(&Event::RouteRemoved(ours())));
        assert!(watch.is_news(&Event::RouteAdded(route("0.0.0.0/0", 4))));
        assert!(watch.is_news(&Event::Resync));
    }
}

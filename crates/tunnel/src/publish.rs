//! How a new table reaches the workers, and an old one its end.
//!
//! The publisher keeps what it replaced until no worker holds it, so a table, and with it the last `Arc` of
//! an SA and its keys, is always freed on the publisher's thread and never in the middle of a batch.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::Table;

/// The one who publishes.
pub struct Publisher {
    current: Arc<ArcSwap<Table>>,
    retired: Vec<Arc<Table>>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new(Table::new())
    }
}

impl Publisher {
    /// Publishes a first table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(table)), retired: Vec::new() }
    }

    /// Replaces the table; workers see the new one at their next batch.
    pub fn publish(&mut self, table: Arc<Table>) {
        self.retired.push(self.current.swap(table));
        self.collect();
    }

    /// Frees the retired tables no worker holds any more; answers how many are still held. An idle
    /// worker holds on to one table at most.
    pub fn collect(&mut self) -> usize {
        // A table out of the swap gets no new holders, so a count of one is final.
        self.retired.retain(|table| Arc::strong_count(table) > 1);
        self.retired.len()
    }

    /// The table published last.
    #[must_use]
    pub fn current(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// A reader for one worker.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader(Cache::new(Arc::clone(&self.current)))
    }
}

/// A worker's view. Asked once a batch; costs one atomic load when nothing changed.
#[derive(Clone)]
pub struct Reader(Cache<Arc<ArcSwap<Table>>, Arc<Table>>);

impl Reader {
    /// The newest table, to be used for one batch.
    pub fn current(&mut self) -> &Arc<Table> {
        self.0.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_table_lives_until_its_last_reader_moves_on() {
        let mut publisher = Publisher::default();
        let mut reader = publisher.reader();
        let first = Arc::downgrade(reader.current());
        publisher.publish(Arc::new(Table::new()));
        assert_eq!(publisher.collect(), 1);
        assert!(first.upgrade().is_some());
        reader.current();
        assert_eq!(publisher.collect(), 0);
        assert!(first.upgrade().is_none());
    }
}

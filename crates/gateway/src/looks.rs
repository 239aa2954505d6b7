//! Counts what is looked at, where a test has to show that work does not grow with what is not concerned. Nothing at all
//! in the product.

#[cfg(test)]
std::thread_local! {
    static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// One more tunnel or neighbour was looked at.
#[cfg(test)]
pub(crate) fn count() {
    COUNT.with(|count| count.set(count.get() + 1));
}

#[cfg(not(test))]
pub(crate) const fn count() {}

/// How many were looked at while `act` ran on this thread.
#[cfg(test)]
pub(crate) fn of(act: impl FnOnce()) -> u64 {
    let before = COUNT.with(std::cell::Cell::get);
    act();
    COUNT.with(std::cell::Cell::get) - before
}

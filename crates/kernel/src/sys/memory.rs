//! Advice to the kernel about memory.

use std::io;

/// `madvise(MADV_DONTDUMP)` for every page that holds a part of `bytes`.
pub(crate) fn dont_dump(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let page = rustix::param::page_size();
    let start = bytes.as_ptr().addr();
    let first = start - start % page;
    let len = (start + bytes.len() - first).next_multiple_of(page);
    let address = bytes.as_ptr().with_addr(first);
    // SAFETY: MADV_DONTDUMP changes no content and no access right; the range covers only pages that hold
    // a part of a live slice, so all of it is mapped.
    let code = unsafe { libc::madvise(address.cast_mut().cast(), len, libc::MADV_DONTDUMP) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_may_be_left_out() {
        let bytes = vec![1_u8; 10_000];
        for range in [0..0, 0..1, 1..5000, 9_999..10_000, 0..10_000] {
            dont_dump(&bytes[range]).unwrap();
        }
    }
}

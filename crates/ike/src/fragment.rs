//! Fragments put together again (RFC 7383 section 2.6). Each has passed its own integrity check before it comes here.

use std::collections::BTreeMap;

use ike_wire::{Fragment, MAX_FRAGMENTS, PayloadType};

/// The parts that have come so far of one request and of one answer: with both sides at it at once they come mixed.
#[derive(Default)]
pub(crate) struct Reassembly {
    request: Option<Partial>,
    answer: Option<Partial>,
}

struct Partial {
    message_id: u32,
    total: u16,
    first: PayloadType,
    parts: BTreeMap<u16, Vec<u8>>,
    octets: usize,
}

/// The longest message put together, in octets.
const MAX_OCTETS: usize = 65535;

impl Reassembly {
    /// Takes one part. `Ok(Some(..))`: the message is whole. `Err(())`: the part fits nothing.
    ///
    /// RFC 7383 section 2.6: a larger total for the same message means the sender found its path narrower and
    /// starts over; a smaller one is old and dropped.
    pub(crate) fn add(
        &mut self,
        (response, message_id): (bool, u32),
        place: Fragment,
        first: PayloadType,
        body: Vec<u8>,
    ) -> Result<Option<(PayloadType, Vec<u8>)>, ()> {
        if usize::from(place.total) > MAX_FRAGMENTS {
            return Err(());
        }
        let current = if response { &mut self.answer } else { &mut self.request };
        let same = current.as_ref().is_some_and(|partial| partial.message_id == message_id);
        let partial = match current.take() {
            Some(partial) if same && partial.total > place.total => {
                *current = Some(partial);
                return Err(());
            }
            Some(partial) if same && partial.total == place.total => current.insert(partial),
            Some(_) | None => current.insert(Partial {
                message_id,
                total: place.total,
                first: PayloadType::NONE,
                parts: BTreeMap::new(),
                octets: 0,
            }),
        };
        if partial.parts.contains_key(&place.number) {
            return Ok(None);
        }
        partial.octets += body.len();
        if partial.octets > MAX_OCTETS {
            *current = None;
            return Err(());
        }
        if place.number == 1 {
            partial.first = first;
        }
        partial.parts.insert(place.number, body);
        if partial.parts.len() < usize::from(partial.total) {
            return Ok(None);
        }
        let whole = (partial.first, partial.parts.values().flatten().copied().collect());
        *current = None;
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(reassembly: &mut Reassembly, id: u32, number: u16, total: u16) -> Result<Option<Vec<u8>>, ()> {
        let first = if number == 1 { PayloadType::NOTIFY } else { PayloadType::NONE };
        let body = vec![u8::try_from(number).unwrap(); 3];
        reassembly.add((false, id), Fragment { number, total }, first, body).map(|whole| {
            whole.map(|(first, body)| {
                assert_eq!(first, PayloadType::NOTIFY);
                body
            })
        })
    }

    #[test]
    fn parts_in_any_order_and_twice_make_one_message() {
        let mut reassembly = Reassembly::default();
        assert_eq!(part(&mut reassembly, 1, 3, 3), Ok(None));
        assert_eq!(part(&mut reassembly, 1, 1, 3), Ok(None));
        assert_eq!(part(&mut reassembly, 1, 1, 3), Ok(None));
        assert_eq!(part(&mut reassembly, 1, 2, 3), Ok(Some(vec![1, 1, 1, 2, 2, 2, 3, 3, 3])));
    }

    #[test]
    fn a_larger_total_starts_over_and_a_smaller_one_is_refused() {
        let mut reassembly = Reassembly::default();
        assert_eq!(part(&mut reassembly, 1, 1, 2), Ok(None));
        assert_eq!(part(&mut reassembly, 1, 1, 3), Ok(None));
        assert_eq!(part(&mut reassembly, 1, 2, 2), Err(()));
        assert_eq!(part(&mut reassembly, 1, 2, 3), Ok(None));
        assert_eq!(part(&mut reassembly, 2, 1, 2), Ok(None), "another message takes the place");
        assert!(matches!(part(&mut reassembly, 2, 2, 2), Ok(Some(_))));
    }

    #[test]
    fn a_request_and_an_answer_that_come_mixed_are_both_put_together() {
        let mut reassembly = Reassembly::default();
        let mut add = |response, number| {
            let first = if number == 1 { PayloadType::NOTIFY } else { PayloadType::NONE };
            reassembly.add((response, 1), Fragment { number, total: 2 }, first, vec![u8::from(response); 3])
        };
        assert_eq!((add(false, 1), add(true, 1)), (Ok(None), Ok(None)));
        assert_eq!(add(false, 2), Ok(Some((PayloadType::NOTIFY, vec![0; 6]))));
        assert_eq!(add(true, 2), Ok(Some((PayloadType::NOTIFY, vec![1; 6]))));
    }
}

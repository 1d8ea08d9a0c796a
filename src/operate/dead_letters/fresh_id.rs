//! Derives a new id for a request whose own id is taken; pure.

use super::Position;
use crate::domain::{InvalidId, RequestId};

const LONGEST: usize = 128;

/// Returns the id under which a dead letter is sent as a new request: `order-7` at 1:33 becomes `order-7.r1-33`. An id
/// too long for the mark is cut.
///
/// An id that has such a mark is kept: if the new request is dead-lettered as well, and the redrive is repeated, both
/// dead letters are sent under the same id, and the request runs once.
///
/// # Errors
/// Never in practice: the result is a valid id if `id` is.
pub(super) fn fresh_id(id: &RequestId, position: Position) -> Result<RequestId, InvalidId> {
    if is_marked(id.as_str()) {
        return Ok(id.clone());
    }
    let mark = format!(".r{}-{}", position.partition, position.offset);
    let base = id.as_str().chars();
    let base = base.take(LONGEST.saturating_sub(mark.len()));
    RequestId::try_from(base.collect::<String>() + &mark)
}

pub(super) fn is_marked(id: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let mark = id.rsplit_once(".r").map(|(_, mark)| mark);
    mark.and_then(|mark| mark.split_once('-'))
        .is_some_and(|(partition, offset)| number(partition) && number(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renew(id: &str, partition: i32, offset: i64) -> String {
        let id = RequestId::try_from(id.to_owned()).unwrap();
        let renewed = fresh_id(&id, Position { partition, offset }).unwrap();
        renewed.to_string()
    }

    #[test]
    fn a_new_id_follows_from_the_dead_letter_and_is_kept() {
        assert_eq!(renew("order-7", 1, 33), "order-7.r1-33");
        assert_ne!(renew("order-7", 1, 33), renew("order-7", 1, 34));
        assert_eq!(renew("order-7.r1-33", 0, 5), "order-7.r1-33");
        for own in ["a.rest", "a.r1", "a.r-1", "a.r1-x"] {
            assert_eq!(renew(own, 0, 5), format!("{own}.r0-5"));
        }
    }

    #[test]
    fn a_long_id_is_cut_for_the_mark() {
        let long = "a".repeat(128);

        let renewed = renew(&long, i32::MAX, i64::MAX);

        assert_eq!(renewed.len(), 128);
        assert!(renewed.ends_with("a.r2147483647-9223372036854775807"));
    }
}

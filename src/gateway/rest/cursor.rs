//! Where a page of a list ended, as clients hand it back: opaque to them, and checked when it returns.
//!
//! Holds nothing that its owner has not seen, and no right to anything: who may read the list is asked each time.

use crate::{
    domain::{CallId, Timestamp},
    store::{HistoryOf, Place},
};

/// The version of what is in a cursor. A cursor of another version is refused, and its list begun anew.
const VERSION: &str = "1";
/// The times that both databases can hold: the year -4000 to the year 10000, in milliseconds.
const TIMES: std::ops::RangeInclusive<i64> = -188_395_000_000_000..=253_402_300_800_000;

/// The order of a list of groups is another.
fn kind(of: &HistoryOf) -> &'static str {
    match of {
        HistoryOf::User => "u",
        HistoryOf::Group(_) => "g",
    }
}

/// For the page after `place`.
pub fn write(place: &Place, of: &HistoryOf) -> String {
    write_as(kind(of), place.at, place.call.as_str())
}

/// The same for a list of this kind.
pub fn write_as(kind: &str, at: Timestamp, id: &str) -> String {
    let plain = format!("{VERSION}/{kind}/{}/{id}", at.as_millis());
    plain.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// `None`: it is none that [`write`] gives for this kind of list.
pub fn read(text: &str, of: &HistoryOf) -> Option<Place> {
    let (at, id) = read_as(kind(of), text)?;
    Some(Place { at, call: CallId::new(id).ok()? })
}

/// The same for a list of this kind.
pub fn read_as(kind: &str, text: &str) -> Option<(Timestamp, String)> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let plain = (0..text.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    let plain = String::from_utf8(plain).ok()?;
    let mut parts = plain.splitn(4, '/');
    let known = parts.next()? == VERSION && parts.next()? == kind;
    let at = parts.next()?.parse().ok().filter(|at| TIMES.contains(at))?;
    let id = parts.next()?.to_owned();
    known.then_some((Timestamp::from_millis(at), id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::GroupId;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_for_its_kind_of_list_only() {
        let group = HistoryOf::Group(GroupId::new("team").unwrap());
        for at in [0, 1_790_000_000_123, -5] {
            let place = Place { at: Timestamp::from_millis(at), call: CallId::new("a~b=c+d").unwrap() };
            let cursor = write(&place, &HistoryOf::User);
            assert_eq!(read(&cursor, &HistoryOf::User), Some(place));
            assert_eq!(read(&cursor, &group), None);
        }
    }

    #[test]
    fn what_was_not_given_is_no_cursor() {
        let hex = |plain: &str| plain.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        for plain in ["", "1", "2/u/1/c", "1/u/x/c", "1/u/1/", "1/u/1/a b", "1/u/1/a/b", "1/u/9223372036854775807/c"] {
            assert_eq!(read(&hex(plain), &HistoryOf::User), None, "{plain}");
        }
        for text in ["1", "zz", "üü", "+1", "%00", "31 2"] {
            assert_eq!(read(text, &HistoryOf::User), None, "{text}");
        }
    }
}

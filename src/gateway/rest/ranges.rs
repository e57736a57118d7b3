//! Which part of a file is asked for: RFC 9110, 13 and 14. Pure.
//!
//! One range at a time. Several at once, other units and what cannot be read are answered with the whole, as 14.2 allows.

use std::ops::Range;

use crate::domain::Timestamp;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// Within the file, and not empty.
    Part(Range<u64>),
    /// Nothing of what was asked for is there: 416.
    Outside,
}

/// The value of `Range` for a file of this length.
pub fn wanted(header: Option<&str>, length: u64) -> Wanted {
    let Some(set) = header.and_then(|value| value.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let set = set.trim();
    if set.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.split_once('-') else { return Wanted::Whole };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Wanted::Whole,
        // The last so many bytes.
        (true, false) => match number(last) {
            Some(0) => Wanted::Outside,
            Some(_) if length == 0 => Wanted::Outside,
            Some(suffix) => Wanted::Part(length.saturating_sub(suffix)..length),
            None => Wanted::Whole,
        },
        (false, _) => {
            let Some(first) = number(first) else { return Wanted::Whole };
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match last {
                Some(last) if last < first => Wanted::Whole,
                Some(_) if first >= length => Wanted::Outside,
                Some(last) => Wanted::Part(first..last.saturating_add(1).min(length)),
                None => Wanted::Whole,
            }
        }
    }
}

/// Whether what the client has is of this file: `If-Range` with our tag, or with the very time of its change.
pub fn is_current(if_range: Option<&str>, tag: &str, modified: Timestamp) -> bool {
    match if_range.map(str::trim) {
        None => true,
        // A weak tag never fits: the parts would have to be the same byte for byte.
        Some(value) if value.starts_with('"') || value.starts_with("W/") => value == tag,
        Some(value) => value == http_date(modified),
    }
}

/// Whether one of these tags is this one, as `If-None-Match` compares.
pub fn is_known(if_none_match: Option<&str>, tag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if_none_match.is_some_and(|value| value.split(',').any(|known| known.trim() == "*" || strong(known) == tag))
}

/// As RFC 9110, 5.6.7 writes a time.
pub fn http_date(at: Timestamp) -> String {
    at.to_datetime().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (header, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..10),
            ("bytes=3-5", 3..6),
            ("bytes=3-99", 3..10),
            ("bytes=-4", 6..10),
            ("bytes=-40", 0..10),
            ("bytes= 9-9 ", 9..10),
            ("bytes=0-18446744073709551615", 0..10),
        ] {
            assert_eq!(wanted(Some(header), 10), Wanted::Part(part), "{header}");
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_not_there() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(wanted(Some(header), 10), Wanted::Outside, "{header}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Outside);
        assert_eq!(wanted(Some("bytes=-1"), 0), Wanted::Outside);
    }

    #[test]
    fn several_ranges_other_units_and_nonsense_are_answered_with_the_whole() {
        for header in [
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=+1-2",
            "bytes=1-2x",
            "0-1",
            "bytes=18446744073709551616-",
        ] {
            assert_eq!(wanted(Some(header), 10), Wanted::Whole, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
    }

    #[test]
    fn a_part_is_of_the_same_file_only_by_its_strong_tag_or_its_very_time() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(http_date(at), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert!(is_current(None, "\"a\"", at));
        assert!(is_current(Some("\"a\""), "\"a\"", at));
        assert!(is_current(Some("Tue, 14 Nov 2023 22:13:20 GMT"), "\"a\"", at));
        for other in ["\"b\"", "W/\"a\"", "Tue, 14 Nov 2023 22:13:21 GMT", "a", ""] {
            assert!(!is_current(Some(other), "\"a\"", at), "{other}");
        }
    }

    #[test]
    fn a_tag_is_known_also_weakly_and_among_others() {
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(is_known(Some(value), "\"a\""), "{value}");
        }
        assert!(!is_known(Some("\"b\""), "\"a\"") && !is_known(None, "\"a\""));
    }
}

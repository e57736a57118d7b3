//! The parameters of a request's query, each read by its name; a refusal names it.

use std::fmt::Display;

use actix_web::{HttpRequest, web};

use crate::{domain::Timestamp, wire::Refusal};

/// The query of a request, decoded. Parameters that nobody asks for are ignored.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Of the request.
    pub fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        pairs.map(|pairs| Self(pairs.into_inner())).map_err(|_| Refusal::invalid("the query cannot be read"))
    }

    /// The value as it came. Given twice it is refused: which one is meant is not known.
    fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() { Err(Refusal::invalid(format!("{name} is given twice"))) } else { Ok(value) }
    }

    /// The value, read by `read`; `None`: not given. `wanted` is what a refusal says of it.
    pub fn read<T>(
        &self,
        name: &str,
        wanted: impl Display,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let wrong = || Refusal::invalid(format!("{name} must be {wanted}"));
        self.text(name)?.map(|text| read(text).ok_or_else(wrong)).transpose()
    }

    /// An id of one of our kinds.
    pub fn id<T, E>(&self, name: &str, new: impl FnOnce(&str) -> Result<T, E>) -> Result<Option<T>, Refusal> {
        self.read(name, "an id of 1 to 128 characters", |text| new(text).ok())
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.read(name, "true or false", |text| text.parse().ok())
    }

    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let read = |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok();
        let time = self.read(name, "a time as in RFC 3339 (a + in it is written %2B)", read)?;
        Ok(time.map(|time| Timestamp::from_datetime(time.to_utc())))
    }

    /// A number from `least` to `most`.
    pub fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let read = |text: &str| text.parse().ok().filter(|number| plain(text) && (least..=most).contains(number));
        self.read(name, format_args!("a number from {least} to {most}"), read)
    }
}

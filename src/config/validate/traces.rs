//! Where traces are sent, judged. The names and their meanings are OpenTelemetry's.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Check, given, given_secret, shown};
use crate::{
    config::raw::traces::TraceArgs,
    gateway::auth::Url,
    secret::Secret,
    trace::{Base, ExportSettings, Sampler},
};

/// Where a collector takes traces.
const PATH: &str = "v1/traces";
/// The one way there is.
const PROTOCOL: &str = "http/protobuf";
/// Milliseconds of a request.
const TIMEOUTS: std::ops::RangeInclusive<u64> = 100..=60_000;

impl Check {
    pub(super) fn traces(&mut self, args: TraceArgs) -> Option<ExportSettings> {
        let disabled = self.switch("OTEL_SDK_DISABLED", &args.disabled);
        let wanted = self.one_of("OTEL_TRACES_EXPORTER", &args.exporter, &[("otlp", true), ("none", false)]);
        let protocol = |check: &mut Self, name, value: &str| {
            if value.trim() != PROTOCOL {
                check.wrong(name, format!("is {}: traces are sent by {PROTOCOL} only", shown(value)));
            }
        };
        let endpoint = match given_secret(args.otlp_traces_endpoint) {
            Some(whole) => self.collector("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &whole, false),
            None => given_secret(args.otlp_endpoint)
                .and_then(|base| self.collector("OTEL_EXPORTER_OTLP_ENDPOINT", &base, true)),
        };
        let headers = match given_secret(args.otlp_traces_headers) {
            Some(own) => self.headers("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &own),
            None => given_secret(args.otlp_headers)
                .map(|headers| self.headers("OTEL_EXPORTER_OTLP_HEADERS", &headers))
                .unwrap_or_default(),
        };
        match given(args.otlp_traces_protocol) {
            Some(own) => protocol(self, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &own),
            // Of a collector that is not asked for traces, it says nothing about them.
            None if endpoint.is_some() => protocol(self, "OTEL_EXPORTER_OTLP_PROTOCOL", &args.otlp_protocol),
            None => {}
        }
        let timeout = match given(args.otlp_traces_timeout) {
            Some(own) => self.number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", &own, TIMEOUTS),
            None => self.number("OTEL_EXPORTER_OTLP_TIMEOUT", &args.otlp_timeout, TIMEOUTS),
        };
        let sampler = self.sampler(&args.sampler, given(args.sampler_arg));
        let mut resource = match given(args.resource_attributes) {
            Some(text) => pairs(&text).unwrap_or_else(|| {
                self.wrong("OTEL_RESOURCE_ATTRIBUTES", "is not name=value,name=value, with special characters as %XX");
                Vec::new()
            }),
            None => Vec::new(),
        };
        let name = args.service_name.trim();
        // A name that is given in its own setting wins; the default does not.
        if name != "carillon" || !resource.iter().any(|(given, _)| given == "service.name") {
            resource.retain(|(given, _)| given != "service.name");
            resource.push(("service.name".to_owned(), name.to_owned()));
        }
        let settings =
            ExportSettings { endpoint: endpoint?, headers, timeout: Duration::from_millis(timeout), sampler, resource };
        (wanted && !disabled).then_some(settings)
    }

    /// `is_base`: the address of all that the collector takes, and not of traces alone.
    fn collector(&mut self, name: &str, value: &Secret, is_base: bool) -> Option<Url> {
        let mut text = value.reveal().trim().to_owned();
        if is_base {
            text = format!("{}/{PATH}", text.trim_end_matches('/'));
        }
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.wrong(
                name,
                "is not http://host:port or https://host (its value is not shown: it may hold a password)",
            );
        }
        url
    }

    fn headers(&mut self, name: &str, value: &Secret) -> HeaderMap {
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        let read = pairs(value.reveal()).and_then(|pairs| pairs.into_iter().map(header).collect::<Option<Vec<_>>>());
        if read.is_none() {
            let right = "is not name=value,name=value, with special characters as %XX (its value is not shown)";
            self.wrong(name, right);
        }
        read.unwrap_or_default().into_iter().collect()
    }

    fn sampler(&mut self, name: &str, share: Option<String>) -> Sampler {
        let share = share.map_or(1.0, |text| match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => share,
            _ => {
                self.wrong("OTEL_TRACES_SAMPLER_ARG", format!("is {}: give a share from 0 to 1", shown(&text)));
                1.0
            }
        });
        let of = |base, parent_based| Sampler { base, parent_based };
        let known = [
            ("always_on", of(Base::All, false)),
            ("always_off", of(Base::None, false)),
            ("traceidratio", of(Base::Ratio(share), false)),
            ("parentbased_always_on", of(Base::All, true)),
            ("parentbased_always_off", of(Base::None, true)),
            ("parentbased_traceidratio", of(Base::Ratio(share), true)),
        ];
        self.one_of("OTEL_TRACES_SAMPLER", name, &known)
    }
}

/// `name=value,name=value`, as in W3C Baggage. `None`: it is not that.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let name = name.trim();
            if name.is_empty() { None } else { Some((decoded(name)?, decoded(value.trim())?)) }
        })
        .collect()
}

/// With `%XX` as the byte it stands for; `None`: no text comes of it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_baggage_is() {
        let read = |text: &str| pairs(text).map(|pairs| pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect());
        let good: Option<Vec<String>> = read(" a=1 ,b = x%20y%2Cz,c=, d=e=f,");
        assert_eq!(good.unwrap(), ["a=1", "b=x y,z", "c=", "d=e=f"]);
        for wrong in ["a", "=1", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            assert_eq!(read(wrong), None::<Vec<String>>, "{wrong}");
        }
    }
}
